/*
 * FLOPs: the paper's six figures from its six loads, and exact counts on sizes that can be counted by hand.
 */
#include "test.h"
#include "flops.h"

static const adamoe_config mixtral = {
    .vocab_size = 32000,
    .hidden_size = 4096,
    .intermediate_size = 14336,
    .layers = 32,
    .heads = 32,
    .key_value_heads = 8,
    .head_dim = 128,
    .experts = 8,
    .rule = {.top_k = 2},
};

/* WinoGrande, HellaSwag, PIQA, SIQA, OBQA, ARC-C (reference/README.md section 11), with 8 null experts
 * and with none counted. */
static void the_papers_six_figures(void **state)
{
    (void)state;
    const double load[] = {1.66, 1.68, 1.59, 1.63, 1.70, 1.67};
    const double percent[] = {14.99, 14.10, 18.07, 16.31, 13.22, 14.55};
    const adamoe_token_flops baseline = adamoe_flops_per_token(&mixtral, 0, 2.0, 150.0, 1.0);
    for (size_t i = 0; i < 6; ++i) {
        for (size_t null_experts = 0; null_experts <= 8; null_experts += 8) {
            const adamoe_token_flops f = adamoe_flops_per_token(&mixtral, null_experts, load[i], 150.0, 1.0);
            const double got = 100.0 * (1.0 - f.total / baseline.total);
            if (!(fabs(got - percent[i]) <= 0.03)) {
                fail_msg("load %.2f, m %zu: %.3f %%, the paper has %.2f %%", load[i], null_experts, got,
                         percent[i]);
            }
        }
    }
}

static void counts_by_hand(void **state)
{
    (void)state;
    const adamoe_config config = {.vocab_size = 11,
                                  .hidden_size = 6,
                                  .intermediate_size = 5,
                                  .layers = 2,
                                  .heads = 4,
                                  .key_value_heads = 2,
                                  .head_dim = 2,
                                  .experts = 3};
    const adamoe_work work = {.tokens = 7, .expert_rows = 13, .visible_keys = 28, .head_positions = 3};
    const adamoe_flops flops = adamoe_count_flops(&config, 4, &work);
    assert_int_equal(flops.experts, 13 * 3 * 2 * 6 * 5);
    assert_int_equal(flops.router, 7 * 2 * 2 * 6 * (3 + 4));
    /* q and o: 6 x 8; k and v: 6 x 4; then 2 multiply-adds per head channel and visible key */
    assert_int_equal(flops.attention, 2 * (7 * 2 * (48 + 24 + 24 + 48) + 28 * 2 * 2 * 4 * 2));
    assert_int_equal(flops.head, 3 * 2 * 6 * 11);
    assert_int_equal(flops.total, flops.experts + flops.router + flops.attention + flops.head);

    const adamoe_work baseline = adamoe_baseline_work(&config, &work, 2);
    assert_int_equal(baseline.expert_rows, 7 * 2 * 2);
    assert_int_equal(baseline.tokens, 7);
    const adamoe_flops without = adamoe_count_flops(&config, 0, &baseline);
    assert_int_equal(without.router, 7 * 2 * 2 * 6 * 3);
    assert_true(adamoe_load(&config, &work) == 13.0 / 14.0);
    assert_true(adamoe_expert_flops_reduction(1.5, 2) == 0.25);
    assert_true(adamoe_model_flops_reduction(&flops, &without) ==
                1.0 - (double)flops.total / (double)without.total);
}

/* A mean load times tokens is the exact count where the mean is exact. */
static void means_agree_with_counts(void **state)
{
    (void)state;
    const adamoe_work work = {
        .tokens = 4, .expert_rows = 4 * 32 * 3 / 2, .visible_keys = 4 * 150, .head_positions = 4};
    const adamoe_flops flops = adamoe_count_flops(&mixtral, 8, &work);
    const adamoe_token_flops mean = adamoe_flops_per_token(&mixtral, 8, 1.5, 150.0, 1.0);
    assert_true(mean.total * 4.0 == (double)flops.total);
    assert_true(mean.experts * 4.0 == (double)flops.experts);
}

/* A dense model has no router to count. */
static void dense_models_have_no_router(void **state)
{
    (void)state;
    adamoe_config dense = mixtral;
    dense.architecture.dense = true;
    const adamoe_work work = {.tokens = 4};
    assert_int_equal(adamoe_count_flops(&dense, 0, &work).router, 0);
}

/* Of Qwen1.5-MoE-A2.7B: what every token has beside its experts, in counts and in means. */
static void a_shared_expert_is_counted_for_every_token(void **state)
{
    (void)state;
    adamoe_config with = {.hidden_size = 2048,
                          .intermediate_size = 1408,
                          .layers = 24,
                          .heads = 16,
                          .key_value_heads = 16,
                          .head_dim = 128,
                          .experts = 60,
                          .shared_intermediate_size = 5632};
    const adamoe_config without = with;
    const adamoe_work work = {.tokens = 5, .expert_rows = 5 * 24 * 4};
    with.architecture.shared_expert = true;
    const uint64_t more =
        adamoe_count_flops(&with, 0, &work).experts - adamoe_count_flops(&without, 0, &work).experts;
    assert_true(more == UINT64_C(5) * 24 * 2 * 2048 * (3 * 5632 + 1));
    assert_true(adamoe_flops_per_token(&with, 0, 4.0, 0.0, 0.0).experts * 5.0 ==
                (double)adamoe_count_flops(&with, 0, &work).experts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_papers_six_figures),
        cmocka_unit_test(counts_by_hand),
        cmocka_unit_test(means_agree_with_counts),
        cmocka_unit_test(dense_models_have_no_router),
        cmocka_unit_test(a_shared_expert_is_counted_for_every_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
