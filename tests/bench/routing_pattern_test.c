/*
 * Patterns of routing are what they are called, for many numbers of experts.
 */
#include "test.h"
#include "layers/routing_pattern.h"
#include "router.h"

enum { TOKENS = 512, MOST_EXPERTS = 64 };

static adamoe_routing *make(adamoe_pattern pattern, adamoe_mixture mixture, double load, size_t tokens)
{
    adamoe_splitmix64 random = {7};
    adamoe_routing *routing = NULL;
    assert_ok(adamoe_pattern_routing(pattern, mixture, ADAMOE_NULL_ZERO, load, tokens, &random, &routing));
    return routing;
}

/* Tokens of each expert, true and null. */
static void count_tokens(const adamoe_routing *routing, size_t *count)
{
    for (size_t i = 0; i < routing->experts + routing->null_experts; ++i) {
        count[i] = 0;
    }
    for (size_t i = 0; i < routing->tokens * routing->rule.top_k; ++i) {
        ++count[routing->id[i]];
    }
}

static void balanced_is_balanced(void **state)
{
    (void)state;
    static const adamoe_mixture mixtures[] = {{8, 8, 3}, {64, 0, 8}, {5, 3, 2}, {3, 5, 8}, {1, 0, 1}};
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; ++i) {
        size_t count[MOST_EXPERTS + MOST_EXPERTS];
        adamoe_routing *routing =
            make(ADAMOE_PATTERN_BALANCED, mixtures[i], adamoe_indifferent_load(mixtures[i]), TOKENS);
        count_tokens(routing, count);
        for (size_t e = 1; e < mixtures[i].experts; ++e) {
            assert_in_range(count[e] + 1, count[0], count[0] + 1);
        }
        adamoe_routing_free(routing);
    }
}

static void the_load_is_the_one_asked_for(void **state)
{
    (void)state;
    static const adamoe_pattern patterns[] = {ADAMOE_PATTERN_BALANCED, ADAMOE_PATTERN_SKEWED};
    const adamoe_mixture mixture = {8, 8, 3};
    for (size_t i = 0; i < 2; ++i) {
        adamoe_routing *routing = make(patterns[i], mixture, 1.67, TOKENS);
        assert_true(fabs(adamoe_routing_load(routing) - 1.67) <= 0.5 / TOKENS);
        adamoe_routing_free(routing);
        routing = make(patterns[i], mixture, 1.67, 1); /* one token: the nearest whole number */
        assert_true(adamoe_routing_load(routing) == 2.0);
        adamoe_routing_free(routing);
        routing = make(patterns[i], (adamoe_mixture){8, 1, 3}, 0.5, TOKENS); /* at most one is null */
        assert_true(adamoe_routing_load(routing) == 2.0);
        adamoe_routing_free(routing);
    }
}

static void skewed_is_skewed(void **state)
{
    (void)state;
    size_t count[16];
    adamoe_routing *routing = make(ADAMOE_PATTERN_SKEWED, (adamoe_mixture){8, 8, 3}, 1.5, TOKENS);
    count_tokens(routing, count);
    print_message("skewed: %zu tokens for the first expert, %zu for the last\n", count[0], count[7]);
    assert_true(count[0] > 4 * count[7]);
    assert_true(count[7] > 0);
    assert_true(count[8] > 2 * count[15]);
    adamoe_routing_free(routing);
}

static void one_lone_and_null(void **state)
{
    (void)state;
    const adamoe_mixture mixture = {8, 8, 3};
    size_t count[16];
    adamoe_routing *routing = make(ADAMOE_PATTERN_ONE, mixture, 0.0, TOKENS);
    count_tokens(routing, count);
    assert_int_equal(count[4], TOKENS);
    assert_true(count[3] > 0 && count[12] > 0);
    adamoe_routing_free(routing);

    routing = make(ADAMOE_PATTERN_LONE, mixture, 0.0, TOKENS);
    count_tokens(routing, count);
    assert_int_equal(count[4], TOKENS);
    assert_true(adamoe_routing_load(routing) == 1.0);
    adamoe_routing_free(routing);

    routing = make(ADAMOE_PATTERN_NULL, mixture, 0.0, TOKENS);
    assert_true(adamoe_routing_load(routing) == 0.0);
    adamoe_routing_free(routing);

    assert_true(adamoe_pattern_fits(ADAMOE_PATTERN_LONE, (adamoe_mixture){8, 2, 3}));
    assert_false(adamoe_pattern_fits(ADAMOE_PATTERN_LONE, (adamoe_mixture){8, 1, 3}));
    assert_true(adamoe_pattern_fits(ADAMOE_PATTERN_NULL, (adamoe_mixture){8, 3, 3}));
    assert_false(adamoe_pattern_fits(ADAMOE_PATTERN_NULL, (adamoe_mixture){8, 2, 3}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balanced_is_balanced),
        cmocka_unit_test(the_load_is_the_one_asked_for),
        cmocka_unit_test(skewed_is_skewed),
        cmocka_unit_test(one_lone_and_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
