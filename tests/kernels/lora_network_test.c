/*
 * The fast network of LoRA experts against its definition: loss, log-probabilities, routing; the gradient
 * against finite differences of the definition's loss in double; the same bits for any number of threads.
 */
#include "test.h"
#include "machine/host.h"
#include "registry.h"
#include "machine/team.h"
#include "train/lora/lora_network.h"
#include "train/parameters.h"

enum { TOKENS = 29, SEQUENCES = 4, MAX_IDS = 2 * ADAMOE_MAPS * TOKENS * 8 };

static const size_t sequence_offset[SEQUENCES + 1] = {0, 5, 6, 18, TOKENS};

typedef struct subject {
    adamoe_parameters *base;
    adamoe_lora_parameters *lora;
    adamoe_registry *registry;
    adamoe_team *team;
    adamoe_placement placement;
    adamoe_lora_network *network;
    uint32_t token[TOKENS], target[TOKENS];
    adamoe_training_batch batch;
    adamoe_objective objective;
} subject;

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static const adamoe_lora_sizes top2 = {4, 0, 3, 6.0, true, {.top_k = 2}};
static const adamoe_lora_sizes adamoe = {4, 5, 2, 4.0, true, {.top_k = 4}};
static const adamoe_lora_sizes mostly_null = {2, 6, 2, 3.0, true, {.top_k = 2}};
static const adamoe_lora_sizes plain = {1, 0, 4, 8.0, false, {.top_k = 1}};

/* Llama; with biases as Qwen2 has them, and one of o; with norms as Qwen3 has them, and all together. */
static const adamoe_architecture llama = {.dense = true, .tied_head = true};
static const adamoe_architecture bases[] = {
    {.dense = true, .tied_head = true, .biases = true},
    {.dense = true, .tied_head = true, .biases = true, .output_bias = true},
    {.dense = true, .tied_head = true, .query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS},
    {.dense = true, .biases = true, .output_bias = true, .query_key_norm = ADAMOE_QUERY_KEY_NORM_WIDTH},
};
#define BASES (sizeof bases / sizeof *bases)
static adamoe_architecture architecture = {.dense = true,
                                           .tied_head = true}; /* of the subjects that are made */

/* Biases are 0 and gains 1 at the start of training, and would hide that they are forgotten. */
static void change_vectors(adamoe_parameters *base, uint64_t seed)
{
    for (size_t i = 0; i < base->parameters; ++i) {
        const adamoe_parameter *p = &base->parameter[i];
        for (size_t j = 0; j < p->columns && p->rows == 1; ++j) {
            base->value[p->first + j] += ((float)(next_random(&seed) % 2049) - 1024.0f) / 2048.0f;
        }
    }
}

static void make_subject(const adamoe_lora_sizes *sizes, uint32_t threads, size_t window, subject *s)
{
    const adamoe_config config = {.vocab_size = 53,
                                  .hidden_size = 20,
                                  .intermediate_size = 27,
                                  .layers = 2,
                                  .heads = 3,
                                  .key_value_heads = 1,
                                  .head_dim = 6,
                                  .experts = 1,
                                  .architecture = architecture,
                                  .rule = {.top_k = 1},
                                  .rms_norm_eps = 1e-5,
                                  .rope_theta = 1e4,
                                  .sliding_window = window,
                                  .context = 64};
    uint64_t seed = 11;
    *s = (subject){.objective = {0.05, ADAMOE_BALANCE_NULL_AVERAGED, ADAMOE_BALANCE_SUMMED},
                   .batch = {SEQUENCES, sequence_offset, s->token, s->target}};
    assert_ok(adamoe_parameters_create(&config, &s->base));
    adamoe_parameters_initialise(s->base, 5, 0.3);
    change_vectors(s->base, 23);
    assert_ok(adamoe_lora_parameters_create(&s->base->model, sizes, &s->lora));
    /* Multiples of 2^-12, to which steps of 2^-15 are added exactly. */
    for (size_t i = 0; i < s->lora->count; ++i) {
        s->lora->value[i] = ((float)(next_random(&seed) % 3073) - 1536.0f) / 4096.0f;
    }
    for (size_t t = 0; t < TOKENS; ++t) {
        s->token[t] = (uint32_t)(next_random(&seed) % config.vocab_size);
        s->target[t] = t % 3 == 1 ? ADAMOE_NO_TARGET : (uint32_t)(next_random(&seed) % config.vocab_size);
    }
    assert_ok(adamoe_registry_create(&s->registry));
    assert_ok(adamoe_team_create(threads, &s->team));
    s->placement = adamoe_one_node(threads);
    const adamoe_lora_network_options options = {.kernel = adamoe_registry_default(s->registry),
                                                 .team = s->team,
                                                 .placement = &s->placement,
                                                 .host = &adamoe_heap_host,
                                                 .trained = true};
    assert_ok(adamoe_lora_network_create(s->lora, &options, &s->network));
}

static void free_subject(subject *s)
{
    adamoe_lora_network_free(s->network);
    adamoe_lora_parameters_free(s->lora);
    adamoe_parameters_free(s->base);
    adamoe_team_free(s->team);
    adamoe_registry_free(s->registry);
}

/* The selections of all maps, in the order in which they are told. */
typedef struct selections {
    uint32_t id[MAX_IDS];
    size_t count, routers;
} selections;

static void see(void *context, size_t router, const adamoe_routing *routing)
{
    selections *seen = context;
    const size_t count = routing->tokens * routing->rule.top_k;
    assert_int_equal(router, seen->routers++);
    assert_true(seen->count + count <= MAX_IDS);
    memcpy(seen->id + seen->count, routing->id, count * sizeof *routing->id);
    seen->count += count;
}

static adamoe_training_loss defined_loss(const subject *s, selections *seen)
{
    adamoe_training_loss loss;
    const adamoe_observer observer = {seen, see};
    *seen = (selections){.count = 0};
    assert_ok(adamoe_lora_model_loss(&s->lora->model, &s->batch, &s->objective, &observer, &loss));
    return loss;
}

/* float32 against double: on its way a number goes through 18 sums (14 maps, 4 norms) of at most 27 terms,
 * each with a relative error of up to 27 * 2^-24; where queries and keys have norms, through two more in a layer. */
#define LOSS_BOUND                                                                                           \
    ((architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE ? 22.0 : 18.0) * 27.0 * 0x1p-24)

static void check_loss(const adamoe_lora_sizes *sizes, size_t window, bool nulls)
{
    static subject s;
    static selections expected, got;
    adamoe_backprop_result result;
    make_subject(sizes, 2, window, &s);
    const adamoe_training_loss loss = defined_loss(&s, &expected);
    got = (selections){.count = 0};
    const adamoe_observer observer = {&got, see};
    assert_ok(adamoe_lora_network_run(s.network, &s.batch, &s.objective, &observer, &result, NULL));
    assert_true(fabs(result.loss.cross_entropy - loss.cross_entropy) < LOSS_BOUND);
    assert_true(fabs(result.loss.balance - loss.balance) < LOSS_BOUND);
    assert_true(sizes->routed == (loss.balance > 0.1));
    assert_int_equal(result.loss.targets, loss.targets);
    assert_int_equal(got.routers, sizes->routed ? 2 * ADAMOE_MAPS : 0);
    assert_int_equal(got.count, expected.count);
    assert_memory_equal(got.id, expected.id, expected.count * sizeof *expected.id);
    size_t true_experts = 0;
    for (size_t i = 0; i < expected.count; ++i) {
        true_experts += expected.id[i] < sizes->experts;
    }
    assert_true(!sizes->routed || result.load == (double)true_experts / (2.0 * ADAMOE_MAPS * TOKENS));
    assert_true(nulls == (result.all_null_share > 0.0));
    free_subject(&s);
}

static void test_loss_is_the_definitions(void **state)
{
    (void)state;
    check_loss(&top2, 0, false);
    check_loss(&adamoe, 0, true);
    check_loss(&mostly_null, 4, true);
    check_loss(&plain, 0, false);
}

/* A central difference of the definition's loss, by steps of 2^-14 and 2^-15 and Richardson's step; NAN where
 * the selection changes on the way, for then it means nothing. */
static double difference(subject *s, size_t i, const selections *first)
{
    static selections seen;
    double quotient[2];
    const float value = s->lora->value[i];
    for (size_t step = 0; step < 2; ++step) {
        const float h = step == 0 ? 0x1p-14f : 0x1p-15f;
        double total[2];
        for (size_t side = 0; side < 2; ++side) {
            s->lora->value[i] = side == 0 ? value + h : value - h;
            total[side] = defined_loss(s, &seen).total;
            if (memcmp(seen.id, first->id, first->count * sizeof *first->id) != 0) {
                s->lora->value[i] = value;
                return (double)NAN;
            }
        }
        quotient[step] = (total[0] - total[1]) / (2.0 * (double)h);
    }
    s->lora->value[i] = value;
    return (4.0 * quotient[1] - quotient[0]) / 3.0;
}

/* Of each matrix some elements. Each is compared by the norm of the gradient of its matrix. */
static void check_gradient(const adamoe_lora_sizes *sizes)
{
    static subject s;
    static selections first;
    adamoe_backprop_result result;
    size_t compared = 0, changed = 0;
    make_subject(sizes, 2, 0, &s);
    (void)defined_loss(&s, &first);
    float *gradient = calloc(s.lora->count, sizeof *gradient);
    assert_non_null(gradient);
    assert_ok(adamoe_lora_network_run(s.network, &s.batch, &s.objective, NULL, &result, gradient));
    for (size_t i = 0; i < s.lora->tensors; ++i) {
        const adamoe_lora_tensor *tensor = &s.lora->tensor[i];
        const size_t count = tensor->rows * tensor->columns;
        double squares = 0.0, errors = 0.0, parts = 0.0;
        for (size_t j = 0; j < count; ++j) {
            squares += pow((double)gradient[tensor->first + j], 2.0);
        }
        for (size_t j = i % 5; j < count; j += count / 5 + 1) {
            const double d = difference(&s, tensor->first + j, &first);
            if (isnan(d)) {
                ++changed;
                continue;
            }
            errors += pow(d - (double)gradient[tensor->first + j], 2.0);
            parts += 1.0;
            ++compared;
        }
        /* Root mean squares; errors of the way forward and of the way back. */
        const double relative = sqrt(errors / fmax(parts, 1.0)) / sqrt(squares / (double)count);
        if (!(squares > 1e-10 && relative < 2.0 * LOSS_BOUND)) {
            fail_msg("%s: relative error %.2e of a gradient of norm %.2e", tensor->name, relative,
                     sqrt(squares));
        }
    }
    assert_true(changed * 4 < compared);
    free(gradient);
    free_subject(&s);
}

static void test_gradient_is_the_definitions(void **state)
{
    (void)state;
    check_gradient(&top2);
    check_gradient(&adamoe);
    check_gradient(&mostly_null);
    check_gradient(&plain);
}

/* What a base has behind its maps. */
static void test_other_bases(void **state)
{
    (void)state;
    for (size_t i = 0; i < BASES; ++i) {
        architecture = bases[i];
        check_loss(&adamoe, 4, true);
    }
    architecture.tied_head = true;
    architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS;
    check_gradient(&mostly_null);
    architecture = llama;
}

static void test_any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    static subject one, three;
    adamoe_backprop_result a, b;
    make_subject(&adamoe, 1, 0, &one);
    make_subject(&adamoe, 3, 0, &three);
    const size_t bytes = one.lora->count * sizeof(float);
    float *left = malloc(bytes), *right = malloc(bytes);
    assert_true(left != NULL && right != NULL);
    assert_ok(adamoe_lora_network_run(one.network, &one.batch, &one.objective, NULL, &a, left));
    assert_ok(adamoe_lora_network_run(three.network, &three.batch, &three.objective, NULL, &b, right));
    assert_memory_equal(left, right, bytes);
    assert_true(a.loss.total == b.loss.total);
    free(left);
    free(right);
    free_subject(&one);
    free_subject(&three);
}

/* ----------------------------------------------------------------------------------------------- segments */

typedef struct defined_scores {
    const adamoe_target *target;
    size_t targets;
    double score[8];
} defined_scores;

static void take_logits(void *context, size_t segment, size_t position, const float *logits)
{
    defined_scores *d = context;
    for (size_t t = 0; t < d->targets; ++t) {
        if (d->target[t].segment == segment && d->target[t].position == position) {
            d->score[t] = (double)logits[d->target[t].token] - adamoe_log_sum_exp(logits, 53);
        }
    }
}

/* A question with two choices, and a sequence of its own: the scores are the definition's, and those that
 * training computes for the same tokens as one sequence. */
static void test_segments_share_prefixes(void **state)
{
    (void)state;
    static subject s;
    make_subject(&adamoe, 2, 0, &s);
    const adamoe_segment segment[] = {{s.token, 4, ADAMOE_NO_PARENT, 3},
                                      {s.token + 4, 3, 0, 0},
                                      {s.token + 9, 2, 0, 0},
                                      {s.token + 20, 6, ADAMOE_NO_PARENT, 4}};
    const adamoe_target target[] = {{0, 3, s.token[4]}, {0, 3, s.token[9]}, {1, 0, s.token[5]},
                                    {1, 1, s.token[6]}, {2, 1, 7},          {3, 4, s.token[25]},
                                    {3, 5, s.token[26]}};
    enum { TARGETS = sizeof target / sizeof *target };
    double got[TARGETS];
    defined_scores expected = {target, TARGETS, {0}};
    const adamoe_batch_hooks hooks = {.context = &expected, .logits = take_logits};
    assert_ok(adamoe_lora_model_batch(&s.lora->model, segment, 4, &hooks));
    assert_ok(adamoe_lora_network_score(s.network, segment, 4, &hooks, target, TARGETS, got));
    for (size_t t = 0; t < TARGETS; ++t) {
        assert_true(expected.score[t] < -0.1);
        assert_true(fabs(got[t] - expected.score[t]) < LOSS_BOUND);
    }
    /* The question and its first choice as training sees them. */
    const size_t offset[] = {0, 7};
    uint32_t goal[7];
    memset(goal, 0xff, sizeof goal);
    memcpy(goal + 3, s.token + 4, 3 * sizeof *goal);
    const adamoe_training_batch batch = {1, offset, s.token, goal};
    adamoe_backprop_result result;
    assert_ok(adamoe_lora_network_run(s.network, &batch, &s.objective, NULL, &result, NULL));
    assert_true(fabs(result.loss.cross_entropy + (got[0] + got[2] + got[3]) / 3.0) < 1e-14);
    assert_error(adamoe_lora_network_score(s.network, segment, 4, &hooks, target + 1, 0, got), ADAMOE_OK, "");
    const adamoe_target unordered[] = {target[2], target[0]};
    assert_error(adamoe_lora_network_score(s.network, segment, 4, &hooks, unordered, 2, got),
                 ADAMOE_BAD_INPUT, "target 1: segment 0, position 3: out of order");
    free_subject(&s);
}

/* With B = 0 the network is its base, whatever the routers say. */
static void test_a_start_computes_the_base(void **state)
{
    (void)state;
    static subject s;
    adamoe_backprop_result result;
    adamoe_training_loss loss;
    for (size_t i = 0; i <= BASES; ++i) {
        architecture = i == BASES ? llama : bases[i];
        make_subject(&adamoe, 1, 0, &s);
        adamoe_lora_parameters_initialise(s.lora, 3);
        assert_ok(adamoe_lora_network_run(s.network, &s.batch, &s.objective, NULL, &result, NULL));
        assert_ok(adamoe_model_loss(&s.base->model, &s.batch, &s.objective, NULL, &loss, NULL));
        assert_true(fabs(result.loss.cross_entropy - loss.cross_entropy) < LOSS_BOUND);
        free_subject(&s);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static subject s;
    adamoe_backprop_result result;
    make_subject(&adamoe, 1, 0, &s);
    s.token[7] = 53;
    assert_error(adamoe_lora_network_run(s.network, &s.batch, &s.objective, NULL, &result, NULL),
                 ADAMOE_BAD_INPUT, "sequence 2: token 1: id 53");
    s.token[7] = 1;
    memset(s.target, 0xff, sizeof s.target);
    assert_error(adamoe_lora_network_run(s.network, &s.batch, &s.objective, NULL, &result, NULL),
                 ADAMOE_BAD_INPUT, "no token has a target");
    s.target[3] = 1;
    s.lora->value[s.lora->place[ADAMOE_MAPS + ADAMOE_MAP_UP].router] = NAN;
    assert_error(adamoe_lora_network_run(s.network, &s.batch, &s.objective, NULL, &result, NULL),
                 ADAMOE_BAD_INPUT, "layer 1: mlp.up_proj: ");
    free_subject(&s);
    adamoe_lora_sizes wrong = plain;
    wrong.experts = 2;
    make_subject(&plain, 1, 0, &s);
    adamoe_lora_parameters *none = NULL;
    assert_error(adamoe_lora_parameters_create(&s.base->model, &wrong, &none), ADAMOE_BAD_INPUT,
                 "2 experts without a router");
    wrong = top2;
    wrong.rule.top_k = 5;
    assert_error(adamoe_lora_parameters_create(&s.base->model, &wrong, &none), ADAMOE_BAD_INPUT,
                 "top-k: 5, but there are 4");
    free_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_is_the_definitions),
        cmocka_unit_test(test_gradient_is_the_definitions),
        cmocka_unit_test(test_other_bases),
        cmocka_unit_test(test_any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(test_segments_share_prefixes),
        cmocka_unit_test(test_a_start_computes_the_base),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
