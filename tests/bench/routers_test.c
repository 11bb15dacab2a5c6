/*
 * `adamoe routers`: its numbers where they are known beforehand, the hidden states of a model, and refusals.
 */
#include "model.h"
#include "layer.h"
#include "program.h"
#include "program/model_folder.h"
#include "router.h"
#include "routers/side_by_side.h"
#include "routers/timed_router.h"
#include "registry.h"

#include <jansson.h>

static json_t *run_json(const char *arguments)
{
    json_error_t error;
    const outcome *got = run("cd '%s' && " ADAMOE " routers %s --repeat 1 --kernel reference --json -",
                             ADAMOE_SOURCE_DIR, arguments);
    json_t *document = json_loads(got->text, 0, &error);
    if (got->code != 0 || document == NULL) {
        fail_msg("routers %s: exit code %d: %s", arguments, got->code, got->text);
    }
    return document;
}

static const json_t *of_router(const json_t *document, const char *name)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(document, "routers"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "router")), name) == 0) {
            return entry;
        }
    }
    fail_msg("no router %s", name);
    return NULL;
}

static double number(const json_t *document, const char *router, const char *key)
{
    const json_t *value = json_object_get(of_router(document, router), key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static bool is_near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(1.0, fabs(b));
}

/* Every router runs, and none is left out. */
static void every_router_is_in_the_table(void **state)
{
    (void)state;
    json_t *document = run_json("--tokens 40");
    size_t count = 0;
    for (const adamoe_router *router; (router = adamoe_router_at(count)) != NULL; ++count) {
        double share = 0.0;
        size_t i;
        const json_t *bin;
        json_array_foreach(json_object_get(of_router(document, router->name), "true_expert_histogram"), i,
                           bin)
        {
            share += json_number_value(bin);
        }
        assert_int_equal(i, 9);
        assert_true(is_near(share, 1.0));
        assert_true(number(document, router->name, "rows") > 0.0);
        assert_true(number(document, router->name, "dense_mixture_error") > 1e-3);
    }
    assert_int_equal(json_array_size(json_object_get(document, "routers")), count);
    json_decref(document);
}

/* tiny: d 64, ff 96, 8 experts, k0 2. */
static void numbers_that_are_known_beforehand(void **state)
{
    (void)state;
    json_t *document = run_json("--tokens 64");
    const double row = 6.0 * 64.0 * 96.0, logit = 2.0 * 64.0;
    static const char *const exact[] = {"top_k", "loss_free", "softmax_expert_choice", "soft_moe", "memoe"};
    for (size_t i = 0; i < 5; ++i) {
        assert_true(number(document, exact[i], "load") == 2.0);
        assert_true(number(document, exact[i], "rows") == 128.0);
    }
    assert_true(number(document, "top_k", "load_deviation") == 0.0);
    assert_true(is_near(number(document, "top_k", "expert_flops_per_token"), 2.0 * row));
    assert_true(is_near(number(document, "top_k", "router_flops_per_token"), 8.0 * logit));
    /* the frozen base is one row more; its gate has eight columns more, and reads four anchors of eight */
    assert_true(is_near(number(document, "memoe", "expert_flops_per_token"), 3.0 * row));
    assert_true(is_near(number(document, "memoe", "router_flops_per_token"), 8.0 * 2.0 * 72.0));
    assert_true(is_near(number(document, "adamoe", "router_flops_per_token"), 16.0 * logit));
    assert_true(is_near(number(document, "null_copies", "router_flops_per_token"), 9.0 * logit));
    assert_true(number(document, "locmoe", "router_flops_per_token") == 0.0);
    /* 16 slots of each expert: logits of all of them, and the mixing of as many */
    assert_true(is_near(number(document, "soft_moe", "router_flops_per_token"), 2.0 * 128.0 * logit));
    assert_true(number(document, "softmax_expert_choice", "largest_over_mean") == 1.0);
    assert_true(is_near(number(document, "softmax_token_choice", "rows") +
                            number(document, "softmax_token_choice", "rejected"),
                        128.0));
    json_decref(document);
}

/* What selects every expert with the softmax as its weights is the mixture itself. */
static void the_mixture_is_no_distance_from_itself(void **state)
{
    (void)state;
    json_t *document = run_json("--tokens 20 --routers top_p,top_k,softmax_token_choice --set top_p.tau=1 "
                                "--set top_k.top_k=8 --set softmax_token_choice.top_k=8");
    assert_true(number(document, "top_p", "dense_mixture_error") < 1e-6);
    assert_true(number(document, "top_k", "dense_mixture_error") < 1e-6);
    assert_true(number(document, "softmax_token_choice", "dense_mixture_error") < 1e-6);
    json_decref(document);
}

/* With one expert for a node and every token at every expert, all rows but those at home cross. */
static void rows_cross_between_nodes(void **state)
{
    (void)state;
    json_t *document = run_json("--tokens 64 --routers top_p,soft_moe --set top_p.tau=1");
    const json_t *nodes = json_object_get(of_router(document, "top_p"), "nodes");
    assert_int_equal(json_array_size(nodes), 3); /* 2, 4 and 8 divide 8 experts */
    for (size_t i = 0; i < 3; ++i) {
        const double count = (double)((size_t)2 << i), rows = 64.0 * 8.0;
        const json_t *at = json_array_get(nodes, i);
        const double crossing = json_number_value(json_object_get(at, "crossing_rows"));
        assert_true(json_number_value(json_object_get(at, "nodes")) == count);
        assert_true(crossing == rows * (count - 1.0) / count);
        assert_true(json_number_value(json_object_get(at, "all_to_all_bytes")) ==
                    2.0 * 4.0 * 64.0 * crossing);
    }
    assert_int_equal(json_array_size(json_object_get(of_router(document, "soft_moe"), "nodes")), 0);
    json_decref(document);
}

/* ------------------------------------------------------------------------------------------------- models */

typedef struct recorded {
    size_t layer;
    float *logits; /* of that layer, when its turn comes */
} recorded;

static void keep_logits(void *context, size_t layer, const adamoe_routing *routing)
{
    recorded *r = context;
    const size_t count = routing->tokens * (routing->experts + routing->null_experts);
    if (layer == r->layer) {
        r->logits = calloc(count, sizeof *r->logits);
        assert_non_null(r->logits);
        memcpy(r->logits, routing->logits, count * sizeof *r->logits);
    }
}

/* The hidden states are those that the model's own router gets, to the bit: it makes the same logits of them. */
static void hidden_states_are_the_models(void **state)
{
    (void)state;
    enum { TOKENS = 12 };
    static const char text_path[] = SOURCE_PATH("datasets/wordnet/corpus.txt");
    adamoe_model_folder folder;
    assert_ok(adamoe_model_folder_open(MODEL_PATH, &folder));
    const adamoe_model *model = adamoe_checkpoint_model(folder.checkpoint);
    size_t size;
    char *text = read_bytes(text_path, &size);
    adamoe_tokens ids = {0};
    assert_ok(adamoe_tokenizer_encode(folder.tokenizer, text, 400, true, &ids));
    assert_true(ids.count >= TOKENS);
    for (size_t layer = 0; layer < model->config.layers; ++layer) {
        const adamoe_layer *moe = &model->block[layer].moe;
        const size_t count = TOKENS * (moe->experts + moe->null_experts);
        recorded r = {.layer = layer};
        const adamoe_observer observer = {&r, keep_logits};
        adamoe_cache *cache = NULL;
        adamoe_subject subject;
        assert_ok(adamoe_cache_create(&model->config, TOKENS, &cache));
        assert_ok(adamoe_model_forward(model, cache, ids.id, TOKENS, &observer, NULL, NULL));
        assert_non_null(r.logits);
        assert_ok(adamoe_subject_of_model(MODEL_PATH, text_path, layer, TOKENS, 8, 1, &subject));
        float *logits = calloc(count, sizeof *logits);
        assert_non_null(logits);
        adamoe_router_logits(moe, subject.x, TOKENS, logits);
        assert_memory_equal(logits, r.logits, count * sizeof *logits);
        free(logits);
        free(r.logits);
        adamoe_subject_free(&subject);
        adamoe_cache_free(cache);
    }
    adamoe_tokens_free(&ids);
    free(text);
    adamoe_model_folder_close(&folder);
}

static void models_run(void **state)
{
    (void)state;
    json_t *document = run_json("--model datasets/tiny-mixtral-top2 --layer 1 --tokens 24");
    assert_true(number(document, "top_k", "load") == 2.0);
    json_decref(document);
}

/* A dense model's copies: whatever is chosen, normalised weights give the layer itself. */
static void a_dense_model_becomes_copies(void **state)
{
    (void)state;
    SKIP_WITHOUT(SHARED_PATH("stories260K"));
    json_t *document = run_json("--model '" SHARED_PATH(
        "stories260K") "' --layer 2 --tokens 30 --experts 4 --routers top_k,softmax_token_choice");
    assert_true(number(document, "top_k", "dense_mixture_error") < 1e-6);
    assert_true(number(document, "softmax_token_choice", "dense_mixture_error") > 1e-3);
    json_decref(document);
}

/* ------------------------------------------------------------------------------------------- fast routing */

enum { MANY_TOKENS = 96, FEW_TOKENS = 20 }; /* the definition's layer is slow */

/* The logits of the original, with one of token 3 raised and one of token 5 moved by what changes no choice. */
static const adamoe_kernel *original;
static float raised = 0.0f;

static adamoe_status multiply_wrongly(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                                      size_t count, float *y)
{
    ADAMOE_TRY(original->multiply(prepared, run, x, count, y));
    const size_t ids = 8; /* top_k on the preset tiny */
    size_t least = 0;
    for (size_t e = 1; count > 5 && e < ids; ++e) {
        least = y[3 * ids + e] < y[3 * ids + least] ? e : least;
    }
    if (count > 5) {
        y[3 * ids + least] += raised;
        y[5 * ids] += 0x1p-20f;
    }
    return adamoe_ok();
}

/* Soft MoE's slots by a kernel are the definition's, and y is that of the experts and the definition's base. */
static void look_at(adamoe_timed_router *router, const adamoe_layer *layer)
{
    const adamoe_router_call *call = &router->setup->call;
    double seconds, *work = calloc(adamoe_layer_work(layer), sizeof *work);
    float *y = calloc(call->tokens * call->hidden_size, sizeof *y);
    adamoe_routed defined;
    assert_true(router->kernel_made_logits && work != NULL && y != NULL);
    assert_ok(adamoe_timed_router_run(router, &seconds));
    assert_ok(adamoe_router_run(router->setup->router, call, &defined));
    assert_true((defined.inputs == NULL) == (router->routed.inputs == NULL));
    for (size_t i = 0; defined.inputs != NULL && i < defined.plan->inputs * call->hidden_size; ++i) {
        assert_true(fabs((double)router->routed.inputs[i] - (double)defined.inputs[i]) < 1e-5);
    }
    adamoe_layer_forward(layer, adamoe_float32_operands,
                         defined.inputs == NULL ? call->hidden_states : defined.inputs, defined.plan, y,
                         work);
    for (size_t i = 0; i < call->tokens * call->hidden_size; ++i) {
        const double expected = (double)y[i] + (defined.after == NULL ? 0.0 : (double)defined.after[i]);
        assert_true(fabs((double)router->y[i] - expected) < 1e-4 * fmax(1.0, fabs(expected)));
    }
    adamoe_routed_free(&defined);
    free(work);
    free(y);
}

/* What a kernel's logits make of the tokens, against the definition's. */
static void compare_with(const adamoe_kernel *kernel, const char *name, bool looks, size_t *otherwise,
                         double *difference)
{
    const adamoe_machine_options one = {.threads = 1};
    adamoe_machine machine;
    adamoe_subject subject;
    adamoe_router_setup setup;
    adamoe_timed_router router;
    adamoe_prepared *prepared = NULL;
    double seconds;
    assert_ok(adamoe_machine_open(&one, &machine));
    assert_ok(adamoe_subject_of_preset(&adamoe_presets[0], looks ? FEW_TOKENS : MANY_TOKENS, 7, &subject));
    subject.tokens.layer = &subject.layer;
    assert_ok(kernel->prepare(&machine.host, &subject.layer, machine.placement, &prepared));
    assert_ok(adamoe_router_setup_create(adamoe_router_find(name), &subject.tokens, &setup));
    assert_ok(adamoe_timed_router_open(&setup, kernel, &machine, prepared, &router));
    assert_ok(adamoe_timed_router_route(&router, &seconds));
    assert_ok(adamoe_timed_router_compare(&router, otherwise, difference));
    if (looks) {
        look_at(&router, &subject.layer);
    }
    adamoe_timed_router_close(&router);
    adamoe_router_setup_free(&setup);
    kernel->release(prepared);
    adamoe_subject_free(&subject);
    adamoe_machine_close(&machine);
}

/* A token whose least logit becomes its largest is counted, one whose logit moves by nothing is not. */
static void tokens_routed_otherwise_are_counted(void **state)
{
    (void)state;
    adamoe_registry *registry = NULL;
    size_t otherwise;
    double difference;
    assert_ok(adamoe_registry_create(&registry));
    original = adamoe_registry_default(registry);
    adamoe_kernel wrong = *original;
    wrong.multiply = multiply_wrongly;
    compare_with(original, "top_k", false, &otherwise, &difference);
    assert_int_equal(otherwise, 0);
    assert_true(difference > 0.0 && difference < 1e-5);
    compare_with(&wrong, "top_k", false, &otherwise, &difference);
    assert_int_equal(otherwise, 0);
    raised = 100.0f;
    compare_with(&wrong, "top_k", false, &otherwise, &difference);
    assert_int_equal(otherwise, 1);
    assert_true(difference > 99.0 && difference < 101.0);
    adamoe_registry_free(registry);
}

/* By the logits of the fastest kernel every router selects what it does by those in double: on these tokens no two of
 * what a router compares are as near as the logits differ. */
static void fast_routing_selects_the_same(void **state)
{
    (void)state;
    json_error_t error;
    const outcome *got =
        run("cd '%s' && " ADAMOE " routers --tokens 512 --seed 3 --repeat 1 --json -", ADAMOE_SOURCE_DIR);
    json_t *fast = json_loads(got->text, 0, &error);
    assert_true(got->code == 0 && fast != NULL);
    for (size_t i = 0; adamoe_router_at(i) != NULL; ++i) {
        const char *name = adamoe_router_at(i)->name;
        const json_t *made = json_object_get(of_router(fast, name), "kernel_made_logits");
        assert_true(json_is_true(made) == (strncmp(name, "locmoe", 6) != 0));
        assert_true(number(fast, name, "tokens_routed_otherwise") == 0.0);
        assert_true(number(fast, name, "largest_logit_difference") < 1e-5);
    }
    json_decref(fast);
}

static void slots_and_bases_by_a_kernel(void **state)
{
    (void)state;
    adamoe_registry *registry = NULL;
    size_t otherwise;
    double difference;
    assert_ok(adamoe_registry_create(&registry));
    const adamoe_kernel *kernel = adamoe_registry_default(registry);
    compare_with(kernel, "soft_moe", true, &otherwise, &difference);
    compare_with(kernel, "memoe", true, &otherwise, &difference);
    compare_with(kernel, "moe_plus_plus", true, &otherwise, &difference);
    adamoe_registry_free(registry);
}

/* `bench --router`: a benchmark for each, with the counters that the others have, on the same tokens. */
static void bench_takes_routers(void **state)
{
    (void)state;
    const char *const base = ADAMOE " bench --threads 1 --benchmark_repetitions=2 --kernel reference";
    json_error_t error;
    const outcome *got = run("%s --router adamoe,soft_moe,memoe --tokens 24 --json -", base);
    json_t *document = json_loads(got->text, 0, &error);
    if (got->code != 0 || document == NULL) {
        fail_msg("exit code %d: %s", got->code, got->text);
    }
    static const char *const names[] = {"adamoe", "soft_moe", "memoe"};
    size_t found = 0, i;
    const json_t *entry;
    json_array_foreach(json_object_get(document, "benchmarks"), i, entry)
    {
        char name[128];
        const double time = json_number_value(json_object_get(entry, "real_time"));
        const double routing = json_number_value(json_object_get(entry, "routing_seconds"));
        const double experts = json_number_value(json_object_get(entry, "experts_seconds"));
        if (strcmp(json_string_value(json_object_get(entry, "run_type")), "iteration") != 0) {
            continue;
        }
        (void)snprintf(name, sizeof name, "layer/tiny/reference/tokens:24/routing:%s/threads:1",
                       names[found / 2]);
        assert_string_equal(json_string_value(json_object_get(entry, "name")), name);
        assert_true(routing > 0.0 && experts > 0.0);
        assert_true(fabs(time * 1e-9 - routing - experts) < 1e-6 * time * 1e-9);
        assert_true(is_near(json_number_value(json_object_get(entry, "routing_share")),
                            routing / (routing + experts)));
        const double rows = json_number_value(json_object_get(entry, "expert_rows"));
        assert_true(is_near(json_number_value(json_object_get(entry, "load")), rows / 24.0));
        const double base_rows = found / 2 == 2 ? 24.0 : 0.0; /* memoe's frozen expert, for every token */
        assert_true(is_near(json_number_value(json_object_get(entry, "executed_flops")),
                            (rows + base_rows) * 6.0 * 64.0 * 96.0));
        ++found;
    }
    assert_int_equal(found, 6);
    json_decref(document);
    expect(run("%s --router adamoe,best", base), 2, "--router: `best' is not one of: adamoe, ");
    expect(run("%s --router adamoe,adamoe", base), 2, "--router: adamoe is given twice");
    expect(run("%s --router adamoe --hot", base), 2,
           "--router goes without --saved, --train, --routing, --hot");
    got = run("%s --router locmoe,top_p --tokens 8", base);
    expect(got, 0, "layer/tiny/reference/tokens:8/threads:1");
    expect(got, 0, "\n  locmoe ");
}

static void refusals(void **state)
{
    (void)state;
    expect(run(ADAMOE " routers --routers top_p,best"), 2,
           "--routers: `best' is not one of: adamoe, top_k, ");
    expect(run(ADAMOE " routers --set top_p"), 2, "--set: `top_p' is not ROUTER.PARAMETER=VALUE");
    expect(run(ADAMOE " routers --set top_p.tau=2 --tokens 4"), 2,
           "adamoe routers: --set: tau: 2 is not a number within (0, 1]");
    expect(run(ADAMOE " routers --set top_p.epsilon=1 --tokens 4"), 2,
           "epsilon: router top_p has no such parameter");
    expect(run(ADAMOE " routers --top-k 9 --tokens 4"), 2, "--top-k: 9, the layer has 8 experts");
    expect(run(ADAMOE " routers --model %s --preset tiny", MODEL), 2, "--model and --preset are two layers");
    expect(run(ADAMOE " routers --model %s --layer 99 --text %s", MODEL, QUESTIONS), 2,
           "--layer: 99, the model has ");
    expect(run(ADAMOE " routers --model %s --text /absent --tokens 4", MODEL), 2, "/absent: ");
    expect(run(ADAMOE " routers --model %s --text %s --tokens 60000", MODEL, QUESTIONS), 2,
           "--tokens: 60000, the model's context is ");
    /* one router that cannot run leaves the others */
    const outcome *got =
        run(ADAMOE " routers --routers locmoe,top_k --set locmoe.nodes=3 --tokens 4 --repeat 1");
    expect(got, 0, "cannot: nodes: 3 do not divide 8 experts");
    expect(got, 0, "\ntop_k ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_router_is_in_the_table),
        cmocka_unit_test(numbers_that_are_known_beforehand),
        cmocka_unit_test(the_mixture_is_no_distance_from_itself),
        cmocka_unit_test(rows_cross_between_nodes),
        cmocka_unit_test(hidden_states_are_the_models),
        cmocka_unit_test(models_run),
        cmocka_unit_test(a_dense_model_becomes_copies),
        cmocka_unit_test(tokens_routed_otherwise_are_counted),
        cmocka_unit_test(fast_routing_selects_the_same),
        cmocka_unit_test(slots_and_bases_by_a_kernel),
        cmocka_unit_test(bench_takes_routers),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
