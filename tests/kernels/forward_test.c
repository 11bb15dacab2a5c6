/*
 * The batched forward pass on the contract, against the naive model: a batch of sequences of different
 * lengths that share prefixes, with the weights held and layer by layer, for several numbers of threads, on
 * every built-in kernel that this machine can run.
 *
 * Longer than most files: all that the pass gives, logits, scores, routings and caches, is looked at of the same
 * batch, and in parts each would build that batch anew.
 */
#include "test.h"
#include "batch.h"
#include "checkpoint.h"
#include "model/forward.h"
#include "machine/host.h"
#include "kernel/kernel.h"
#include "numbers.h"
#include "registry.h"
#include "model/route.h"
#include "model/span_attention.h"
#include "machine/clock.h"
#include "machine/team.h"

#define LONGEST 8

typedef struct seen {
    size_t vocab;
    _Atomic size_t count; /* threads report at the same time */
    float *logits;        /* [segments, LONGEST, vocab] */
    uint32_t *ids;        /* [layers, tokens, k] of the routings, where they are recorded */
    size_t ids_count;
} seen;

static void see_logits(void *context, size_t segment, size_t position, const float *logits)
{
    seen *s = context;
    memcpy(s->logits + (segment * LONGEST + position) * s->vocab, logits, s->vocab * sizeof *logits);
    ++s->count;
}

static void see_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    seen *s = context;
    (void)layer;
    const size_t count = routing->tokens * routing->rule.top_k;
    memcpy(s->ids + s->ids_count, routing->id, count * sizeof *s->ids);
    s->ids_count += count;
}

static const uint32_t ids[] = {11, 22, 33, 44, 55, 66, 77, 88, 7, 14, 28, 56};

/* Two questions and their choices, a choice of a choice, a sequence of its own. */
static const adamoe_segment segments[] = {
    {ids, 4, ADAMOE_NO_PARENT, 3},
    {ids + 4, 3, 0, 0},
    {ids + 7, 1, 0, 0},
    {ids + 2, 8, ADAMOE_NO_PARENT, 7},
    {ids + 2, 2, 1, 1},
    {ids + 5, 3, 3, 0},
    {ids + 1, 6, 3, 6},
    {ids + 9, 1, ADAMOE_NO_PARENT, 0},
};

#define SEGMENTS (sizeof segments / sizeof *segments)

static seen make_seen(const adamoe_model *model)
{
    seen s = {.vocab = model->config.vocab_size};
    s.logits = calloc(SEGMENTS * LONGEST * s.vocab, sizeof *s.logits);
    s.ids = calloc(4096, sizeof *s.ids);
    assert_non_null(s.logits);
    assert_non_null(s.ids);
    return s;
}

static void free_seen(seen *s)
{
    free(s->logits);
    free(s->ids);
}

static seen run_forward(const adamoe_kernel *kernel, const adamoe_model *model, uint32_t threads,
                        size_t memory)
{
    seen s = make_seen(model);
    adamoe_team *team = NULL;
    adamoe_forward *forward = NULL;
    const adamoe_placement placement = adamoe_one_node(threads);
    const adamoe_batch_hooks hooks = {.context = &s, .routed = see_routing, .logits = see_logits};
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(adamoe_forward_create(kernel, model, team, &placement, &adamoe_heap_host, memory, &forward));
    assert_int_equal(adamoe_forward_is_resident(forward), memory > 0);
    assert_ok(adamoe_forward_batch(forward, segments, SEGMENTS, &hooks));
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    return s;
}

/* Every operation of the model is in float32 here and in double there: for 2 layers of width 32 with logits
 * of order 1, 1e-5 is a hundred units of float32. That holds for each kernel with float32 operands, whether
 * its sums are in double or in float32. One that rounds its operands further is not held to a number: where
 * two router logits are close it may choose another expert, and no bound follows a token from there. */
static bool is_float32(const adamoe_kernel *kernel)
{
    return kernel->x == ADAMOE_FLOAT32 && kernel->h == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
}

static void assert_close(const seen *got, const seen *expected, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (!(fabsf(got->logits[i] - expected->logits[i]) <= 1e-5f)) {
            fail_msg("logit %zu: %.9g, expected %.9g", i, (double)got->logits[i],
                     (double)expected->logits[i]);
        }
    }
}

/* And the same bits for any number of threads, with the weights held or layer by layer. */
static void check_kernel(const adamoe_kernel *kernel, const adamoe_model *model, const seen *expected)
{
    const size_t size = SEGMENTS * LONGEST * model->config.vocab_size;
    seen first = run_forward(kernel, model, 1, SIZE_MAX);
    assert_int_equal(first.count, expected->count);
    if (is_float32(kernel)) {
        assert_close(&first, expected, size);
    }
    for (uint32_t threads = 2; threads <= 7; threads += 1) {
        seen other = run_forward(kernel, model, threads, threads % 2 == 0 ? SIZE_MAX : 0);
        assert_memory_equal(other.logits, first.logits, size * sizeof(float));
        assert_memory_equal(other.ids, first.ids, first.ids_count * sizeof(uint32_t));
        free_seen(&other);
    }
    free_seen(&first);
}

static void equals_the_naive_model(const char *folder)
{
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(folder, &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    seen expected = make_seen(model);
    const adamoe_batch_hooks hooks = {.context = &expected, .logits = see_logits};
    assert_ok(adamoe_batch_forward(model, segments, SEGMENTS, &hooks));
    assert_true(expected.count > 10);
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        const char *why_not = NULL;
        if (kernel->supported(&why_not)) {
            check_kernel(kernel, model, &expected);
        } else {
            print_message("left out: %s: %s\n", kernel->name, why_not);
        }
    }
    adamoe_registry_free(registry);
    free_seen(&expected);
    adamoe_checkpoint_close(checkpoint);
}

/* The router is the only matrix of the golden model with 8 rows. */
static adamoe_status refuse_router(const adamoe_host *host, const adamoe_matrix *matrix,
                                   const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    if (matrix->rows == 8) {
        return adamoe_error(ADAMOE_BAD_INPUT, "the kernel was given the router");
    }
    return adamoe_reference_kernel.prepare_matrix(host, matrix, placement, out);
}

/* The router's product is not the kernel's where that would round its inputs: with the reference's own
 * products, but declared as bfloat16, the result is still the naive model's, and the dense product never sees
 * the router. */
static void a_kernel_that_rounds_leaves_the_router_alone(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_kernel rounding = adamoe_reference_kernel;
    rounding.x = ADAMOE_BFLOAT16;
    rounding.prepare_matrix = refuse_router;
    seen expected = make_seen(model);
    const adamoe_batch_hooks hooks = {.context = &expected, .logits = see_logits};
    assert_ok(adamoe_batch_forward(model, segments, SEGMENTS, &hooks));
    seen got = run_forward(&rounding, model, 2, SIZE_MAX);
    assert_close(&got, &expected, SEGMENTS * LONGEST * model->config.vocab_size);
    free_seen(&got);
    free_seen(&expected);
    adamoe_checkpoint_close(checkpoint);
}

static void mixtral_in_a_batch(void **state)
{
    (void)state;
    equals_the_naive_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
}

static void llama_in_a_batch(void **state)
{
    (void)state;
    equals_the_naive_model(SOURCE_PATH("tests/golden/tiny_llama"));
}

/* The embedding of token 14 is NaN: it stands in segment 3, the last of its tokens, and
 * alone in segment 7. */
static void a_nan_is_named_by_segment_and_token(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    adamoe_model model = *adamoe_checkpoint_model(checkpoint);
    const size_t d = model.config.hidden_size, count = model.config.vocab_size * d;
    float *embedding = calloc(count, sizeof *embedding);
    assert_non_null(embedding);
    for (size_t i = 0; i < count; ++i) {
        embedding[i] = i / d == 14 ? NAN : adamoe_element(model.embedding.data, model.embedding.dtype, i);
    }
    model.embedding.data = embedding;
    model.embedding.dtype = ADAMOE_F32;
    adamoe_registry *registry = NULL;
    adamoe_team *team = NULL;
    adamoe_forward *forward = NULL;
    const adamoe_placement placement = adamoe_one_node(2);
    const adamoe_batch_hooks hooks = {0};
    assert_ok(adamoe_registry_create(&registry));
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(adamoe_forward_create(adamoe_registry_default(registry), &model, team, &placement,
                                    &adamoe_heap_host, SIZE_MAX, &forward));
    assert_error(adamoe_forward_batch(forward, segments, SEGMENTS, &hooks), ADAMOE_BAD_INPUT,
                 "layer 0: segment 3, token 7: logit of expert 0 is NaN");
    assert_ok(adamoe_forward_batch(forward, segments, 3, &hooks)); /* those before it are not affected */
    assert_error(adamoe_forward_batch(forward, segments + 7, 1, &hooks), ADAMOE_BAD_INPUT,
                 "layer 0: segment 0, token 0: logit of expert 0 is NaN");
    adamoe_forward_free(forward);
    assert_ok(adamoe_forward_create(adamoe_registry_default(registry), &model, team, &placement,
                                    &adamoe_heap_host, SIZE_MAX, &forward));
    assert_ok(adamoe_forward_batch(forward, segments, 0, &hooks)); /* the first batch, and an empty one */
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    adamoe_registry_free(registry);
    free(embedding);
    adamoe_checkpoint_close(checkpoint);
}

/* What the tests below need beside a model. */
typedef struct machine {
    adamoe_registry *registry;
    adamoe_team *team;
    adamoe_forward *forward;
} machine;

static machine make_machine(const adamoe_kernel *kernel, const adamoe_model *model, size_t memory)
{
    machine m = {0};
    const adamoe_placement placement = adamoe_one_node(2);
    assert_ok(adamoe_registry_create(&m.registry));
    assert_ok(adamoe_team_create(2, &m.team));
    assert_ok(adamoe_forward_create(kernel == NULL ? adamoe_registry_default(m.registry) : kernel, model,
                                    m.team, &placement, &adamoe_heap_host, memory, &m.forward));
    return m;
}

static void free_machine(machine *m)
{
    adamoe_forward_free(m->forward);
    adamoe_team_free(m->team);
    adamoe_registry_free(m->registry);
}

/* Every token of the vocabulary at some positions, several at others. */
static size_t make_targets(size_t vocab, adamoe_target *target)
{
    size_t count = 0;
    for (size_t s = 0; s < SEGMENTS; ++s) {
        for (size_t i = segments[s].count / 2; i < segments[s].count; ++i) {
            const size_t step = s == 1 ? 1 : vocab / 3;
            for (size_t v = s; v < vocab; v += step) {
                target[count++] = (adamoe_target){s, i, (uint32_t)v};
            }
        }
    }
    return count;
}

/* Against the naive model's logits at every position: 1e-5 of a logit as above, and as much for the sum. */
static void check_scores(const adamoe_model *model, size_t memory)
{
    const size_t vocab = model->config.vocab_size;
    adamoe_segment all[SEGMENTS];
    memcpy(all, segments, sizeof all);
    for (size_t s = 0; s < SEGMENTS; ++s) {
        all[s].logits_from = 0;
    }
    seen expected = make_seen(model);
    const adamoe_batch_hooks hooks = {.context = &expected, .logits = see_logits}, none = {0};
    assert_ok(adamoe_batch_forward(model, all, SEGMENTS, &hooks));
    adamoe_target *target = calloc(SEGMENTS * LONGEST * vocab, sizeof *target);
    double *got = calloc(SEGMENTS * LONGEST * vocab, sizeof *got);
    assert_non_null(target);
    assert_non_null(got);
    const size_t targets = make_targets(vocab, target);
    machine m = make_machine(NULL, model, memory);
    assert_ok(adamoe_forward_score(m.forward, segments, SEGMENTS, &none, target, targets, got));
    for (size_t t = 0; t < targets; ++t) {
        const float *logits = expected.logits + (target[t].segment * LONGEST + target[t].position) * vocab;
        const double right = (double)logits[target[t].token] - adamoe_log_sum_exp(logits, vocab);
        if (!(fabs(got[t] - right) <= 2e-5)) {
            fail_msg("target %zu: %.9g, expected %.9g", t, got[t], right);
        }
    }
    seen logits = make_seen(model);
    const adamoe_batch_hooks see = {.context = &logits, .logits = see_logits};
    assert_ok(adamoe_forward_batch(m.forward, all, SEGMENTS, &see));
    assert_int_equal(logits.count, expected.count);
    assert_close(&logits, &expected, SEGMENTS * LONGEST * vocab);
    free_machine(&m);
    free_seen(&logits);
    free_seen(&expected);
    free(target);
    free(got);
}

static void scores_are_log_probabilities(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    check_scores(adamoe_checkpoint_model(checkpoint), SIZE_MAX);
    check_scores(adamoe_checkpoint_model(checkpoint), 0);
    adamoe_checkpoint_close(checkpoint);
}

/* ------------------------------------------------------------------------------------------ a long batch */

#define COPIES 150

typedef struct copies_seen {
    const seen *one;
    _Atomic size_t count, different;
} copies_seen;

static void see_copy(void *context, size_t segment, size_t position, const float *logits)
{
    copies_seen *s = context;
    const float *one = s->one->logits + (segment % SEGMENTS * LONGEST + position) * s->one->vocab;
    s->different += memcmp(one, logits, s->one->vocab * sizeof *logits) != 0;
    ++s->count;
}

/* All calls, and those by one thread alone. */
static _Atomic size_t attention_calls, lone_calls;

static adamoe_status count_attention(const adamoe_run *run, const adamoe_attention_call *call)
{
    ++attention_calls;
    lone_calls += run->team->threads == 1;
    return adamoe_span_attention(run, call);
}

static adamoe_segment *copy_segments(void)
{
    adamoe_segment *many = calloc(COPIES * SEGMENTS, sizeof *many);
    assert_non_null(many);
    for (size_t i = 0; i < COPIES * SEGMENTS; ++i) {
        many[i] = segments[i % SEGMENTS];
        many[i].parent += many[i].parent == ADAMOE_NO_PARENT ? 0 : i / SEGMENTS * SEGMENTS;
    }
    return many;
}

/* A batch of more rows than stay in cache goes through attention part by part. No segment is cut off from
 * what it continues, and a token has the bits that it has alone. */
static void a_long_batch_has_the_bits_of_a_short_one(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    assert_ok(adamoe_registry_create(&registry));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_kernel kernel = *adamoe_registry_default(registry);
    assert_true((kernel.guarantees & ADAMOE_SAME_BITS_BATCH) != 0);
    kernel.attention_work_bytes = adamoe_span_attention_work_bytes;
    kernel.attention = count_attention;
    attention_calls = lone_calls = 0;
    seen one = run_forward(&kernel, model, 2, SIZE_MAX);
    assert_true(attention_calls == model->config.layers && lone_calls == 0); /* by the team */
    adamoe_segment *many = copy_segments();
    machine m = make_machine(&kernel, model, SIZE_MAX);
    copies_seen copies = {.one = &one};
    const adamoe_batch_hooks hooks = {.context = &copies, .logits = see_copy};
    attention_calls = 0;
    assert_ok(adamoe_forward_batch(m.forward, many, COPIES * SEGMENTS, &hooks));
    assert_true(attention_calls > 4 * model->config.layers && lone_calls == attention_calls);
    assert_int_equal(copies.count, COPIES * one.count);
    assert_int_equal(copies.different, 0);
    free_machine(&m);
    free(many);
    free_seen(&one);
    adamoe_registry_free(registry);
    adamoe_checkpoint_close(checkpoint);
}

/* Parts are computed by threads at the same time, but it is the first token of the batch that is named; every stage that
 * the model has gets its time, and together they take no more than the batch. */
static void parts_that_run_at_once_fail_and_are_timed_in_order(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    adamoe_model model = *adamoe_checkpoint_model(checkpoint);
    const size_t d = model.config.hidden_size, count = model.config.vocab_size * d;
    float *embedding = calloc(count, sizeof *embedding);
    assert_non_null(embedding);
    for (size_t i = 0; i < count; ++i) {
        embedding[i] = i / d == 95 ? NAN : adamoe_element(model.embedding.data, model.embedding.dtype, i);
    }
    model.embedding.data = embedding;
    model.embedding.dtype = ADAMOE_F32;
    adamoe_segment *many = copy_segments();
    const adamoe_batch_hooks none = {0};
    machine m = make_machine(NULL, &model, SIZE_MAX);
    adamoe_forward_clock clock = {0};
    adamoe_forward_time_stages(m.forward, &clock);
    const double start = adamoe_now();
    assert_ok(adamoe_forward_batch(m.forward, many, COPIES * SEGMENTS, &none));
    const double passed = adamoe_now() - start;
    double all = 0.0;
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        const bool is_there =
            i != ADAMOE_FORWARD_HEAD && i != ADAMOE_FORWARD_LOG_SOFTMAX && i != ADAMOE_FORWARD_PACKING;
        assert_true(is_there ? clock.seconds[i] > 0.0 : clock.seconds[i] == 0.0);
        all += clock.seconds[i];
    }
    assert_true(all <= passed && all > 0.5 * passed);
    static const uint32_t bad[] = {11, 95, 22};
    for (size_t s = 400; s < COPIES * SEGMENTS; s += 100) { /* segments without a child or parent */
        many[s / SEGMENTS * SEGMENTS + 7] = (adamoe_segment){bad, 3, ADAMOE_NO_PARENT, 3};
    }
    for (size_t i = 0; i < 5; ++i) {
        assert_error(adamoe_forward_batch(m.forward, many, COPIES * SEGMENTS, &none), ADAMOE_BAD_INPUT,
                     "layer 0: segment 407, token 1: logit of expert 0 is NaN");
    }
    free_machine(&m);
    free(many);
    free(embedding);
    adamoe_checkpoint_close(checkpoint);
}

/* The golden model with more entries than two blocks of the head have, and random rows for them. */
static void a_large_vocabulary_is_taken_in_blocks(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    adamoe_model model = *adamoe_checkpoint_model(checkpoint);
    const size_t vocab = 2 * 3072 + 77, d = model.config.hidden_size;
    float *rows = calloc(vocab * d, sizeof *rows);
    assert_non_null(rows);
    uint32_t random = 1;
    for (size_t i = 0; i < vocab * d; ++i) {
        random = random * 1664525u + 1013904223u;
        rows[i] = ((float)(random >> 8) * 0x1p-24f - 0.5f) * 0.2f;
    }
    model.config.vocab_size = vocab;
    model.embedding = model.head = (adamoe_matrix){rows, ADAMOE_F32, vocab, d};
    check_scores(&model, SIZE_MAX);
    check_scores(&model, 0);
    free(rows);
    adamoe_checkpoint_close(checkpoint);
}

static void bad_targets_are_refused(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    machine m = make_machine(NULL, model, SIZE_MAX);
    const adamoe_batch_hooks none = {0};
    double got[2];
    adamoe_target target[2] = {{1, 2, 5}, {1, 1, 5}};
    assert_error(adamoe_forward_score(m.forward, segments, 3, &none, target, 2, got), ADAMOE_BAD_INPUT,
                 "batch: target 1: it comes before the one before it");
    target[1] = (adamoe_target){1, 3, 5};
    assert_error(adamoe_forward_score(m.forward, segments, 3, &none, target, 2, got), ADAMOE_BAD_INPUT,
                 "batch: target 1: token 5 after token 3 of segment 1");
    target[1] = (adamoe_target){3, 0, 5};
    assert_error(adamoe_forward_score(m.forward, segments, 3, &none, target, 2, got), ADAMOE_BAD_INPUT,
                 "batch: target 1");
    target[1] = (adamoe_target){1, 2, (uint32_t)model->config.vocab_size};
    assert_error(adamoe_forward_score(m.forward, segments, 3, &none, target, 2, got), ADAMOE_BAD_INPUT,
                 "batch: target 1");
    assert_ok(adamoe_forward_score(m.forward, segments, 3, &none, target, 1, got));
    free_machine(&m);
    adamoe_checkpoint_close(checkpoint);
}

/* The whole of `ids` in pieces behind one another: the logits after each piece are those of one batch, to the
 * bit where the kernel promises that for any batch-mates. */
static void check_continuing(const adamoe_kernel *kernel, const adamoe_model *model, size_t memory)
{
    static const size_t piece[] = {3, 1, 1, 4, 2, 1};
    enum { ALL = sizeof ids / sizeof *ids };
    const size_t vocab = model->config.vocab_size;
    machine m = make_machine(kernel, model, memory);
    float *whole = calloc(ALL * vocab, sizeof *whole);
    assert_non_null(whole);
    seen s = {.vocab = vocab, .logits = whole}; /* one segment: a row for each position */
    const adamoe_segment segment = {ids, ALL, ADAMOE_NO_PARENT, 0};
    const adamoe_batch_hooks hooks = {.context = &s, .logits = see_logits};
    assert_ok(adamoe_forward_batch(m.forward, &segment, 1, &hooks));
    seen one = make_seen(model);
    const adamoe_batch_hooks see = {.context = &one, .logits = see_logits};
    adamoe_key_value_cache *cache = NULL;
    assert_ok(adamoe_key_value_cache_create(&model->config, ALL, &cache));
    for (size_t round = 0; round < 2; ++round) {
        cache->length = 0;
        for (size_t i = 0; i < sizeof piece / sizeof *piece; ++i) {
            one.count = 0;
            assert_ok(adamoe_forward_continue(m.forward, cache, ids + cache->length, piece[i], &see));
            assert_int_equal(one.count, 1);
            const float *got = one.logits + (piece[i] - 1) * vocab,
                        *right = whole + (cache->length - 1) * vocab;
            for (size_t v = 0; v < vocab; ++v) {
                const float off = kernel->guarantees & ADAMOE_SAME_BITS_BATCH ? 0.0f : 1e-5f;
                assert_true(!is_float32(kernel) || fabsf(got[v] - right[v]) <= off);
            }
        }
        assert_int_equal(cache->length, ALL);
    }
    assert_error(adamoe_forward_continue(m.forward, cache, ids, 1, &see), ADAMOE_BAD_INPUT,
                 "key-value cache: 1 tokens behind 12, room for 12");
    cache->length = 4;
    assert_error(adamoe_forward_continue(m.forward, cache, ids, 0, &see), ADAMOE_BAD_INPUT, "no token");
    assert_int_equal(cache->length, 4);
    adamoe_key_value_cache_free(cache);
    free_machine(&m);
    free_seen(&one);
    free(whole);
}

static void a_cache_stands_for_what_came_before(void **state)
{
    (void)state;
    static const char *const folders[] = {SOURCE_PATH("tests/golden/tiny_mixtral"),
                                          SOURCE_PATH("tests/golden/tiny_llama")};
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    for (size_t f = 0; f < 2; ++f) {
        adamoe_checkpoint *checkpoint = NULL;
        assert_ok(adamoe_checkpoint_open(folders[f], &checkpoint));
        for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
            const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
            const char *why_not = NULL;
            if (kernel->supported(&why_not)) {
                check_continuing(kernel, adamoe_checkpoint_model(checkpoint), i % 2 == 0 ? SIZE_MAX : 0);
            }
        }
        adamoe_checkpoint_close(checkpoint);
    }
    adamoe_registry_free(registry);
}

static void a_cache_of_another_model_is_refused(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_config other = model->config;
    other.layers += 1;
    machine m = make_machine(NULL, model, SIZE_MAX);
    adamoe_key_value_cache *cache = NULL;
    const adamoe_batch_hooks none = {0};
    assert_ok(adamoe_key_value_cache_create(&other, 4, &cache));
    assert_error(adamoe_forward_continue(m.forward, cache, ids, 1, &none), ADAMOE_BAD_INPUT,
                 "key-value cache: made for");
    adamoe_key_value_cache_free(cache);
    assert_error(adamoe_key_value_cache_create(&other, SIZE_MAX / 2, &cache), ADAMOE_ENVIRONMENT,
                 "key-value cache: out of memory");
    free_machine(&m);
    adamoe_checkpoint_close(checkpoint);
}

/* A kernel's own router and attention are called in place of the program's. */
static _Atomic size_t own_calls;

static adamoe_status own_route(const adamoe_run *run, adamoe_routing *routing)
{
    ++own_calls;
    return adamoe_route(run, routing);
}

static adamoe_status own_attention(const adamoe_run *run, const adamoe_attention_call *call)
{
    ++own_calls;
    return adamoe_span_attention(run, call);
}

static adamoe_status route_out_of_range(const adamoe_run *run, adamoe_routing *routing)
{
    ADAMOE_TRY(adamoe_route(run, routing));
    routing->id[3] = UINT32_MAX;
    return adamoe_ok();
}

static void a_kernel_brings_its_own_parts(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.route = own_route;
    kernel.attention = own_attention;
    kernel.attention_work_bytes = adamoe_span_attention_work_bytes;
    seen expected = run_forward(&adamoe_reference_kernel, model, 2, SIZE_MAX);
    seen got = run_forward(&kernel, model, 2, SIZE_MAX);
    assert_int_equal(own_calls, 2 * model->config.layers);
    assert_memory_equal(got.logits, expected.logits, SEGMENTS * LONGEST * got.vocab * sizeof(float));
    kernel.route = route_out_of_range;
    machine m = make_machine(&kernel, model, SIZE_MAX);
    const adamoe_batch_hooks none = {0};
    assert_error(adamoe_forward_batch(m.forward, segments, SEGMENTS, &none), ADAMOE_BAD_INPUT,
                 "layer 0: plan: token");
    free_machine(&m);
    free_seen(&got);
    free_seen(&expected);
    adamoe_checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_that_rounds_leaves_the_router_alone),
        cmocka_unit_test(mixtral_in_a_batch),
        cmocka_unit_test(llama_in_a_batch),
        cmocka_unit_test(a_nan_is_named_by_segment_and_token),
        cmocka_unit_test(scores_are_log_probabilities),
        cmocka_unit_test(a_long_batch_has_the_bits_of_a_short_one),
        cmocka_unit_test(parts_that_run_at_once_fail_and_are_timed_in_order),
        cmocka_unit_test(a_large_vocabulary_is_taken_in_blocks),
        cmocka_unit_test(bad_targets_are_refused),
        cmocka_unit_test(a_cache_stands_for_what_came_before),
        cmocka_unit_test(a_cache_of_another_model_is_refused),
        cmocka_unit_test(a_kernel_brings_its_own_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
