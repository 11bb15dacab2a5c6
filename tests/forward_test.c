/*
 * The batched forward pass on the contract, against the naive model: a batch of sequences of different
 * lengths that share prefixes, with the weights held and layer by layer, for several numbers of threads, on
 * every built-in kernel that this machine can run.
 */
#include "test.h"
#include "batch.h"
#include "checkpoint.h"
#include "forward.h"
#include "host.h"
#include "layer.h"
#include "numbers.h"
#include "registry.h"
#include "router.h"
#include "team.h"

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
    assert_ok(adamoe_forward_create(kernel, model, team, &placement, memory, &forward));
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

/* The embedding of token 14 is NaN: it stands in segment 3, the last of its tokens, and alone in segment 7.
 */
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
    assert_ok(adamoe_forward_create(adamoe_registry_default(registry), &model, team, &placement, SIZE_MAX,
                                    &forward));
    assert_error(adamoe_forward_batch(forward, segments, SEGMENTS, &hooks), ADAMOE_BAD_INPUT,
                 "layer 0: segment 3, token 7: logit of expert 0 is NaN");
    assert_ok(adamoe_forward_batch(forward, segments, 3, &hooks)); /* those before it are not affected */
    assert_error(adamoe_forward_batch(forward, segments + 7, 1, &hooks), ADAMOE_BAD_INPUT,
                 "layer 0: segment 0, token 0: logit of expert 0 is NaN");
    adamoe_forward_free(forward);
    assert_ok(adamoe_forward_create(adamoe_registry_default(registry), &model, team, &placement, SIZE_MAX,
                                    &forward));
    assert_ok(adamoe_forward_batch(forward, segments, 0, &hooks)); /* the first batch, and an empty one */
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    adamoe_registry_free(registry);
    free(embedding);
    adamoe_checkpoint_close(checkpoint);
}

static void a_team_has_a_thread(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    assert_error(adamoe_team_create(0, &team), ADAMOE_BAD_INPUT, "threads: a team has at least 1");
    assert_null(team);
}

typedef struct counting {
    _Atomic uint32_t *calls;
    _Atomic uint32_t out_of_range;
    uint32_t threads;
} counting;

static void count_call(void *context, size_t i, uint32_t thread)
{
    counting *c = context;
    ++c->calls[i];
    if (thread >= c->threads) {
        ++c->out_of_range;
    }
}

/* Many short rounds: each task exactly once. */
static void a_team_runs_each_task_once(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 5; ++threads) {
        adamoe_team *team = NULL;
        assert_ok(adamoe_team_create(threads, &team));
        for (size_t round = 0; round < 300; ++round) {
            _Atomic uint32_t calls[40] = {0};
            counting c = {.calls = calls, .threads = threads};
            team->run(team->state, round % 41, count_call, &c);
            for (size_t i = 0; i < 40; ++i) {
                assert_int_equal(calls[i], i < round % 41);
            }
            assert_int_equal(c.out_of_range, 0);
        }
        adamoe_team_free(team);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_that_rounds_leaves_the_router_alone),
        cmocka_unit_test(mixtral_in_a_batch),
        cmocka_unit_test(llama_in_a_batch),
        cmocka_unit_test(a_nan_is_named_by_segment_and_token),
        cmocka_unit_test(a_team_has_a_thread),
        cmocka_unit_test(a_team_runs_each_task_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
