/*
 * The log-probabilities of given tokens, and all logits, from one batched forward pass: against the naive model, with the
 * weights held and layer by layer, for vocabularies of one block of the head and of several.
 */
#include "kernels/forward_batch.h"
#include "checkpoint.h"
#include "numbers.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_log_probabilities),
        cmocka_unit_test(a_large_vocabulary_is_taken_in_blocks),
        cmocka_unit_test(bad_targets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
