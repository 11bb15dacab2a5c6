/*
 * The batched forward pass on the contract, against the naive model: a batch of sequences of different
 * lengths that share prefixes, with the weights held and layer by layer, for several numbers of threads.
 */
#include "test.h"
#include "batch.h"
#include "checkpoint.h"
#include "forward.h"
#include "host.h"
#include "layer.h"
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

static seen run_forward(const adamoe_model *model, uint32_t threads, size_t memory)
{
    seen s = make_seen(model);
    adamoe_team *team = NULL;
    adamoe_forward *forward = NULL;
    const adamoe_placement placement = adamoe_one_node(threads);
    const adamoe_batch_hooks hooks = {.context = &s, .routed = see_routing, .logits = see_logits};
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(adamoe_forward_create(&adamoe_reference_kernel, model, team, &placement, memory, &forward));
    assert_int_equal(adamoe_forward_is_resident(forward), memory > 0);
    assert_ok(adamoe_forward_batch(forward, segments, SEGMENTS, &hooks));
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    return s;
}

/* Every operation of the model is in float32 here and in double there: for 2 layers of width 32 with logits
 * of order 1, 1e-5 is a hundred units of float32. */
static void assert_close(const seen *got, const seen *expected, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (!(fabsf(got->logits[i] - expected->logits[i]) <= 1e-5f)) {
            fail_msg("logit %zu: %.9g, expected %.9g", i, (double)got->logits[i],
                     (double)expected->logits[i]);
        }
    }
}

static void equals_the_naive_model(const char *folder)
{
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(folder, &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const size_t size = SEGMENTS * LONGEST * model->config.vocab_size;
    seen expected = make_seen(model);
    const adamoe_batch_hooks hooks = {.context = &expected, .logits = see_logits};
    assert_ok(adamoe_batch_forward(model, segments, SEGMENTS, &hooks));
    assert_true(expected.count > 10);

    seen first = run_forward(model, 1, SIZE_MAX);
    assert_int_equal(first.count, expected.count);
    assert_close(&first, &expected, size);
    for (uint32_t threads = 2; threads <= 7; threads += 1) {
        seen other = run_forward(model, threads, threads % 2 == 0 ? SIZE_MAX : 0);
        assert_memory_equal(other.logits, first.logits, size * sizeof(float));
        assert_memory_equal(other.ids, first.ids, first.ids_count * sizeof(uint32_t));
        free_seen(&other);
    }
    free_seen(&first);
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
        cmocka_unit_test(mixtral_in_a_batch),
        cmocka_unit_test(llama_in_a_batch),
        cmocka_unit_test(a_team_runs_each_task_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
