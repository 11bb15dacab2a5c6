/*
 * The balance losses: values that can be computed by hand, padding, pooling over layers.
 */
#include "test.h"
#include "router.h"
#include "balance_loss.h"

static adamoe_routing *route(const float *logits, size_t tokens, size_t n, size_t m, size_t k)
{
    adamoe_routing *routing = NULL;
    assert_ok(adamoe_routing_create(logits, tokens, n, m, (adamoe_rule){.top_k = k}, &routing));
    return routing;
}

static void assert_close(double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-6)) {
        fail_msg("%.9g, expected %.9g", got, expected);
    }
}

/* Every expert selected equally often and with equal probability: each form is k. */
static void uniform_routing_gives_k(void **state)
{
    (void)state;
    float logits[4 * 4];
    for (size_t i = 0; i < 16; ++i) {
        logits[i] = i / 4 == i % 4 ? 1e-8f : 0.0f;
    }
    adamoe_routing *routing = route(logits, 4, 2, 2, 1);
    const adamoe_balance_loss loss = adamoe_routing_balance_loss(routing, NULL);
    assert_close(loss.switch_form, 1.0);
    assert_close(loss.null_averaged, 1.0);
    assert_close(loss.released, 1.0);
    adamoe_routing_free(routing);
}

/* p = (1/2, 1/4, 1/8, 1/8) and k = 2: f = (1, 1, 0, 0) with n = 1, m = 3.
 * switch: 4 (1/2 + 1/4) = 3; averaged: 4 (1/2 + 1/3 (1/4 + 1/8 + 1/8)) = 8/3. */
static void null_experts_share_their_mean(void **state)
{
    (void)state;
    const float logits[] = {logf(4.0f), logf(2.0f), 0.0f, 0.0f};
    adamoe_routing *routing = route(logits, 1, 1, 3, 2);
    const adamoe_balance_loss loss = adamoe_routing_balance_loss(routing, NULL);
    assert_close(loss.switch_form, 3.0);
    assert_close(loss.null_averaged, 8.0 / 3.0);
    assert_close(loss.released, 3.0);
    adamoe_routing_free(routing);
}

static void padding_counts_neither_in_f_nor_in_p(void **state)
{
    (void)state;
    const float logits[] = {2.0f, 0.0f, 1.0f, 9.0f, -9.0f, 9.0f, 0.0f, 1.0f, 3.0f};
    const float kept[] = {2.0f, 0.0f, 1.0f, 0.0f, 1.0f, 3.0f};
    const bool counted[] = {true, false, true};
    adamoe_routing *padded = route(logits, 3, 2, 1, 2), *plain = route(kept, 2, 2, 1, 2);
    const adamoe_balance_loss a = adamoe_routing_balance_loss(padded, counted);
    const adamoe_balance_loss b = adamoe_routing_balance_loss(plain, NULL);
    const adamoe_balance_loss all = adamoe_routing_balance_loss(padded, NULL);
    assert_true(a.switch_form == b.switch_form && a.null_averaged == b.null_averaged);
    assert_true(all.switch_form != a.switch_form);
    adamoe_routing_free(padded);
    adamoe_routing_free(plain);
}

/* Two layers that each send every token to one expert of two, but to different ones: pooled, that is balanced
 * (f = 1/2 each); layer by layer, it is not. p = (3/4, 1/4) and (1/4, 3/4). */
static void pooling_over_layers(void **state)
{
    (void)state;
    const float first[] = {logf(3.0f), 0.0f}, second[] = {0.0f, logf(3.0f)};
    adamoe_routing *a = route(first, 1, 2, 0, 1), *b = route(second, 1, 2, 0, 1);
    const adamoe_routing *const layers[] = {a, b};
    assert_close(adamoe_model_balance_loss(layers, 2, ADAMOE_BALANCE_POOLED, NULL).switch_form, 1.0);
    assert_close(adamoe_model_balance_loss(layers, 2, ADAMOE_BALANCE_SUMMED, NULL).switch_form, 1.5 + 1.5);
    /* the sum normalises f to add up to 1: with k = 2 of 2 experts the loss of a layer is 1, not 2 */
    adamoe_routing *both = route(first, 1, 2, 0, 2);
    const adamoe_routing *const one[] = {both};
    assert_close(adamoe_model_balance_loss(one, 1, ADAMOE_BALANCE_SUMMED, NULL).switch_form, 1.0);
    assert_close(adamoe_model_balance_loss(one, 1, ADAMOE_BALANCE_POOLED, NULL).switch_form, 2.0);
    adamoe_routing_free(both);
    adamoe_routing_free(a);
    adamoe_routing_free(b);
}

/* More experts than one pass gathers: the definition, expert by expert. */
static void many_experts(void **state)
{
    (void)state;
    enum { T = 40, N = 700, M = 900, K = 9 };
    float *logits = calloc((size_t)T * (N + M), sizeof *logits);
    assert_non_null(logits);
    uint64_t random = 1;
    for (size_t i = 0; i < (size_t)T * (N + M); ++i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        logits[i] = (float)((double)(random >> 11) * 0x1p-53 * 8.0);
    }
    adamoe_routing *routing = route(logits, T, N, M, K);
    double expected = 0.0, null_f = 0.0, null_p = 0.0, averaged = 0.0;
    for (size_t i = 0; i < N + M; ++i) {
        double f = 0.0, p = 0.0;
        for (size_t t = 0; t < T; ++t) {
            p += (double)routing->probabilities[t * (N + M) + i] / T;
            for (size_t j = 0; j < K; ++j) {
                f += routing->id[t * K + j] == i ? 1.0 / T : 0.0;
            }
        }
        expected += (N + M) * f * p;
        averaged += i < N ? (N + M) * f * p : 0.0;
        null_f += i < N ? 0.0 : f;
        null_p += i < N ? 0.0 : p;
    }
    averaged += (N + M) * null_f * null_p / M;
    const adamoe_balance_loss loss = adamoe_routing_balance_loss(routing, NULL);
    assert_close(loss.switch_form, expected);
    assert_close(loss.null_averaged, averaged);
    assert_true(fabs(expected - averaged) > 1e-3);
    adamoe_routing_free(routing);
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_routing_gives_k),
        cmocka_unit_test(null_experts_share_their_mean),
        cmocka_unit_test(padding_counts_neither_in_f_nor_in_p),
        cmocka_unit_test(pooling_over_layers),
        cmocka_unit_test(many_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
