/*
 * A tiny model of each family (tests/golden/families/make.py) on every built-in kernel that this machine can run: logits
 * against Hugging Face transformers and against the reference, the same experts selected, and the same bits for any
 * number of threads and with the weights held or not. Left out: kernels that round their operands further, which
 * `adamoe check --tier model` holds to a bound; here their bits alone are looked at.
 */
#include "test.h"
#include "batch.h"
#include "checkpoint.h"
#include "machine/host.h"
#include "machine/team.h"
#include "model/forward.h"
#include "numbers.h"
#include "registry.h"

#define FOLDER    SOURCE_PATH("tests/golden/families")
#define LENGTH    16
#define SEQUENCES 2

static const char *const names[] = {"llama_linear", "llama_llama3", "mistral",    "qwen2",
                                    "qwen3",        "olmoe",        "qwen3_moe",  "qwen2_moe",
                                    "granite_moe",  "llama_bias",   "olmoe_clip", "granite_bias"};

/* What came of one pass, by sequence and position, and by layer and token. */
typedef struct outcome {
    size_t vocab;
    float *logits; /* [SEQUENCES, LENGTH, vocab] */
    uint32_t *id;  /* [layers * tokens * k] */
    size_t ids;
} outcome;

static void see_logits(void *context, size_t segment, size_t position, const float *logits)
{
    outcome *o = context;
    memcpy(o->logits + (segment * LENGTH + position) * o->vocab, logits, o->vocab * sizeof *logits);
}

static int compare_ids(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void see_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    outcome *o = context;
    const size_t k = routing->rule.top_k;
    (void)layer;
    memcpy(o->id + o->ids, routing->id, routing->tokens * k * sizeof *o->id);
    for (size_t t = 0; t < routing->tokens; ++t) {
        qsort(o->id + o->ids + t * k, k, sizeof *o->id, compare_ids);
    }
    o->ids += routing->tokens * k;
}

static outcome make_outcome(const adamoe_model *model)
{
    outcome o = {.vocab = model->config.vocab_size};
    o.logits = calloc(SEQUENCES * LENGTH * o.vocab, sizeof *o.logits);
    o.id = calloc(4096, sizeof *o.id);
    assert_non_null(o.logits);
    assert_non_null(o.id);
    return o;
}

static void free_outcome(outcome *o)
{
    free(o->logits);
    free(o->id);
}

/* The tokens of a golden file as segments: each sequence is cut, so that its end continues its beginning. */
typedef struct texts {
    uint32_t token[SEQUENCES * LENGTH];
    adamoe_segment whole[SEQUENCES];
} texts;

static void read_texts(const adamoe_tensor *tokens, texts *out)
{
    assert_int_equal(tokens->elements, SEQUENCES * LENGTH);
    for (size_t i = 0; i < SEQUENCES * LENGTH; ++i) {
        int64_t id;
        memcpy(&id, (const char *)tokens->data + i * sizeof id, sizeof id);
        out->token[i] = (uint32_t)id;
    }
    for (size_t s = 0; s < SEQUENCES; ++s) {
        out->whole[s] = (adamoe_segment){out->token + s * LENGTH, LENGTH, ADAMOE_NO_PARENT, 0};
    }
}

static outcome run(const adamoe_kernel *kernel, const adamoe_model *model, const texts *t, uint32_t threads,
                   size_t memory)
{
    outcome o = make_outcome(model);
    adamoe_team *team = NULL;
    adamoe_forward *forward = NULL;
    const adamoe_placement placement = adamoe_one_node(threads);
    const adamoe_batch_hooks hooks = {.context = &o, .routed = see_routing, .logits = see_logits};
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(adamoe_forward_create(kernel, model, team, &placement, &adamoe_heap_host, memory, &forward));
    assert_ok(adamoe_forward_batch(forward, t->whole, SEQUENCES, &hooks));
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    return o;
}

static bool is_float32(const adamoe_kernel *kernel)
{
    return kernel->x == ADAMOE_FLOAT32 && kernel->h == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
}

static double largest_difference(const outcome *o, const adamoe_tensor *logits)
{
    double largest = 0.0;
    for (size_t i = 0; i < logits->elements; ++i) {
        largest =
            fmax(largest, fabs((double)o->logits[i] - (double)adamoe_element(logits->data, ADAMOE_F32, i)));
    }
    return largest;
}

/* By token after token through a cache too: the last logits of the first sequence. */
static void check_generation(const adamoe_kernel *kernel, const adamoe_model *model, const texts *t,
                             const outcome *whole)
{
    adamoe_team *team = NULL;
    adamoe_forward *forward = NULL;
    adamoe_key_value_cache *cache = NULL;
    outcome last = make_outcome(model);
    const adamoe_placement placement = adamoe_one_node(2);
    const adamoe_batch_hooks hooks = {.context = &last, .logits = see_logits};
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(adamoe_forward_create(kernel, model, team, &placement, &adamoe_heap_host, SIZE_MAX, &forward));
    assert_ok(adamoe_key_value_cache_create(&model->config, LENGTH, &cache));
    assert_ok(adamoe_forward_continue(forward, cache, t->token, 5, &hooks));
    for (size_t i = 5; i < LENGTH; ++i) {
        assert_ok(adamoe_forward_continue(forward, cache, t->token + i, 1, &hooks));
    }
    const size_t vocab = model->config.vocab_size;
    if ((kernel->guarantees & ADAMOE_SAME_BITS_BATCH) != 0) {
        assert_memory_equal(last.logits, whole->logits + (LENGTH - 1) * vocab, vocab * sizeof(float));
    }
    adamoe_key_value_cache_free(cache);
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    free_outcome(&last);
}

static double check_kernel(const adamoe_kernel *kernel, const adamoe_model *model, const texts *t,
                           const outcome *reference, const adamoe_tensor *logits)
{
    outcome first = run(kernel, model, t, 1, SIZE_MAX);
    const double largest = largest_difference(&first, logits);
    if (is_float32(kernel)) {
        assert_true(largest <= 1e-5);
        assert_int_equal(first.ids, reference->ids);
        assert_memory_equal(first.id, reference->id, first.ids * sizeof *first.id);
    }
    for (uint32_t threads = 2; threads <= 3; ++threads) {
        outcome other = run(kernel, model, t, threads, threads == 2 ? 0 : SIZE_MAX);
        assert_memory_equal(other.logits, first.logits, SEQUENCES * LENGTH * first.vocab * sizeof(float));
        free_outcome(&other);
    }
    check_generation(kernel, model, t, &first);
    free_outcome(&first);
    return is_float32(kernel) ? largest : 0.0;
}

/* The reference's routings come sequence by sequence, those of a pass layer by layer. */
typedef struct by_layer {
    outcome *o;
    size_t tokens[16];
} by_layer;

static void see_in_layer(void *context, size_t layer, const adamoe_routing *routing)
{
    by_layer *b = context;
    const size_t k = routing->rule.top_k, at = (layer * SEQUENCES * LENGTH + b->tokens[layer]) * k;
    outcome part = {.id = b->o->id + at};
    see_routing(&part, layer, routing);
    b->tokens[layer] += routing->tokens;
    b->o->ids += part.ids;
}

static void see_logits_of(void *context, size_t segment, size_t position, const float *logits)
{
    see_logits(((by_layer *)context)->o, segment, position, logits);
}

static void check_family(const adamoe_registry *registry, const char *name)
{
    char path[512];
    adamoe_checkpoint *checkpoint = NULL;
    adamoe_safetensors *expected = NULL;
    texts t;
    double largest = 0.0;
    (void)snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    assert_ok(adamoe_checkpoint_open(path, &checkpoint));
    (void)snprintf(path, sizeof path, "%s/%s/expected.safetensors", FOLDER, name);
    assert_ok(adamoe_safetensors_open(path, &expected));
    read_texts(adamoe_safetensors_find(expected, "tokens"), &t);
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    outcome reference = make_outcome(model);
    by_layer seen = {.o = &reference};
    const adamoe_batch_hooks hooks = {.context = &seen, .routed = see_in_layer, .logits = see_logits_of};
    assert_ok(adamoe_batch_forward(model, t.whole, SEQUENCES, &hooks));
    assert_int_equal(reference.ids > 0, !model->config.architecture.dense);
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        const char *why_not = NULL;
        if (kernel->supported(&why_not)) {
            largest = fmax(largest, check_kernel(kernel, model, &t, &reference,
                                                 adamoe_safetensors_find(expected, "logits")));
        }
    }
    print_message("%s: largest error of float32 kernels %.2e\n", name, largest);
    free_outcome(&reference);
    adamoe_safetensors_close(expected);
    adamoe_checkpoint_close(checkpoint);
}

static void every_family_on_every_kernel(void **state)
{
    (void)state;
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        check_family(registry, names[i]);
    }
    adamoe_registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_family_on_every_kernel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
