/*
 * Routing and plan of the fast path against the reference: the same ids and the same plan, weights within a
 * few units of their last place.
 */
#include "test.h"
#include "model/plan_build.h"
#include "model/route.h"
#include "router.h"
#include "plan.h"
#include "machine/team.h"

typedef struct shape {
    size_t tokens, experts, null_experts, top_k;
} shape;

static const shape shapes[] = {
    {0, 4, 2, 2},   {1, 1, 0, 1},    {3, 1, 3, 2},    {65, 8, 8, 3},   {200, 64, 0, 8},   {77, 64, 32, 12},
    {130, 5, 4, 9}, {1023, 8, 8, 3}, {1024, 8, 0, 2}, {1025, 7, 6, 4}, {3000, 128, 0, 8}, {5, 300, 21, 40},
};

/* `levels` different values, or as many as there are. */
static float random_logit(uint64_t *state, unsigned levels, float scale)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t high = *state >> 33;
    const double unit = levels > 0 ? (double)(high % levels) / levels : (double)high * 0x1p-31;
    return (float)((2.0 * unit - 1.0) * (double)scale);
}

/* exp 2 units and its correction 1, sums of at most 321 positive terms in lanes of at least
 * 4, the quotient 1. */
static void assert_same_weights(const char *what, const float *got, const float *expected, size_t count,
                                size_t terms)
{
    for (size_t i = 0; i < count; ++i) {
        const double bound = (10.0 + (double)terms / 4.0) * 0x1p-24 * (double)expected[i] + 0x1p-149;
        if (!(fabs((double)got[i] - (double)expected[i]) <= bound)) {
            fail_msg("%s %zu: %.9g, expected %.9g", what, i, (double)got[i], (double)expected[i]);
        }
    }
}

static void assert_same_plan(const adamoe_plan *got, const adamoe_plan *expected)
{
    assert_int_equal(got->tokens, expected->tokens);
    assert_int_equal(got->inputs, expected->inputs);
    assert_int_equal(got->rows, expected->rows);
    assert_int_equal(got->experts, expected->experts);
    assert_memory_equal(got->offset, expected->offset, (got->experts + 1) * sizeof(uint32_t));
    assert_memory_equal(got->input, expected->input, got->rows * sizeof(uint32_t));
    assert_memory_equal(got->token_offset, expected->token_offset, (got->tokens + 1) * sizeof(uint32_t));
    assert_memory_equal(got->token_row, expected->token_row, got->rows * sizeof(uint32_t));
    assert_memory_equal(got->combine, expected->combine, got->rows * sizeof(float));
    assert_null(got->dispatch);
    assert_int_equal(got->self_scale == NULL, expected->self_scale == NULL);
    if (got->self_scale != NULL) {
        assert_memory_equal(got->self_scale, expected->self_scale, got->tokens * sizeof(float));
    }
}

typedef struct fixture {
    adamoe_team *team;
    adamoe_routing_space routing; /* both are kept over all cases, whatever their sizes */
    adamoe_plan_space plan;
} fixture;

static void check_case(fixture *f, const shape *s, adamoe_norm norm, adamoe_null_kind kind, unsigned levels,
                       float scale)
{
    const adamoe_rule rule = {s->top_k, norm, kind};
    const adamoe_run run = {.team = f->team};
    const size_t all = s->experts + s->null_experts;
    adamoe_routing *expected = NULL;
    adamoe_plan *plan = NULL;
    uint64_t state = 17 * s->tokens + s->experts + levels;
    assert_ok(adamoe_routing_space_begin(&f->routing, s->tokens, s->experts, s->null_experts, rule));
    adamoe_routing *got = &f->routing.routing;
    for (size_t i = 0; i < s->tokens * all; ++i) {
        got->logits[i] = random_logit(&state, levels, scale);
    }
    assert_ok(adamoe_routing_create(got->logits, s->tokens, s->experts, s->null_experts, rule, &expected));
    assert_ok(adamoe_route(&run, got));
    assert_memory_equal(got->id, expected->id, s->tokens * s->top_k * sizeof(uint32_t));
    assert_same_weights("weight", got->weight, expected->weight, s->tokens * s->top_k, all);
    assert_same_weights("probability", got->probability, expected->probability, s->tokens * s->top_k, all);
    assert_same_weights("of all", got->probabilities, expected->probabilities, s->tokens * all, all);
    assert_ok(adamoe_plan_create(got, &plan));
    assert_ok(adamoe_plan_build(f->team, got, &f->plan));
    assert_same_plan(&f->plan.plan, plan);
    adamoe_plan_free(plan);
    adamoe_routing_free(expected);
}

static void equals_the_reference(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        fixture f = {0};
        assert_ok(adamoe_team_create(threads, &f.team));
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
            for (unsigned choice = 0; choice < 6; ++choice) {
                const adamoe_norm norm = (adamoe_norm)(choice % 4);
                const adamoe_null_kind kind = (adamoe_null_kind)(choice / 3);
                check_case(&f, &shapes[i], norm, kind, 0, 4.0f);
                check_case(&f, &shapes[i], norm, kind, 3, 1.0f); /* nearly everything ties */
                check_case(&f, &shapes[i], norm, kind, 0, 3e38f);
                check_case(&f, &shapes[i], norm, kind, 0, 50.0f);
            }
        }
        adamoe_routing_space_free(&f.routing);
        adamoe_plan_space_free(&f.plan);
        adamoe_team_free(f.team);
    }
}

/* A token alone, and among others. */
static void a_token_has_the_same_bits_in_any_batch(void **state)
{
    (void)state;
    enum { TOKENS = 150, EXPERTS = 13, NULL_EXPERTS = 6, TOP_K = 5 };
    const adamoe_rule rule = {.top_k = TOP_K};
    adamoe_team *team = NULL;
    adamoe_routing_space many = {0}, one = {0};
    uint64_t seed = 5;
    assert_ok(adamoe_team_create(2, &team));
    const adamoe_run run = {.team = team};
    const size_t all = EXPERTS + NULL_EXPERTS;
    assert_ok(adamoe_routing_space_begin(&many, TOKENS, EXPERTS, NULL_EXPERTS, rule));
    for (size_t i = 0; i < TOKENS * all; ++i) {
        many.routing.logits[i] = random_logit(&seed, 0, 5.0f);
    }
    assert_ok(adamoe_route(&run, &many.routing));
    for (size_t t = 0; t < TOKENS; ++t) {
        assert_ok(adamoe_routing_space_begin(&one, 1, EXPERTS, NULL_EXPERTS, rule));
        memcpy(one.routing.logits, many.routing.logits + t * all, all * sizeof(float));
        assert_ok(adamoe_route(&run, &one.routing));
        assert_memory_equal(one.routing.id, many.routing.id + t * TOP_K, TOP_K * sizeof(uint32_t));
        assert_memory_equal(one.routing.weight, many.routing.weight + t * TOP_K, TOP_K * sizeof(float));
        assert_memory_equal(one.routing.probabilities, many.routing.probabilities + t * all,
                            all * sizeof(float));
    }
    adamoe_routing_space_free(&many);
    adamoe_routing_space_free(&one);
    adamoe_team_free(team);
}

static void bad_input_is_named(void **state)
{
    (void)state;
    const adamoe_rule rule = {.top_k = 2};
    adamoe_team *team = NULL;
    adamoe_routing_space routing = {0};
    adamoe_plan_space plan = {0};
    assert_ok(adamoe_team_create(2, &team));
    const adamoe_run run = {.team = team};
    assert_error(adamoe_routing_space_begin(&routing, 1, 0, 4, rule), ADAMOE_BAD_INPUT, "experts: 0 true");
    assert_error(adamoe_routing_space_begin(&routing, 1, 1, 0, rule), ADAMOE_BAD_INPUT, "top-k: 2 is not");
    assert_ok(adamoe_routing_space_begin(&routing, 1500, 3, 2, rule));
    for (size_t i = 0; i < 1500 * 5; ++i) {
        routing.routing.logits[i] = (float)(i % 7);
    }
    routing.routing.logits[1234 * 5 + 3] = NAN;
    assert_error(adamoe_route(&run, &routing.routing), ADAMOE_BAD_INPUT,
                 "token 1234: logit of expert 3 is NaN");
    routing.routing.logits[1234 * 5 + 3] = HUGE_VALF;
    assert_error(adamoe_route(&run, &routing.routing), ADAMOE_BAD_INPUT,
                 "token 1234: logit of expert 3 is infinite");
    routing.routing.logits[1234 * 5 + 3] = 0.0f;
    assert_ok(adamoe_route(&run, &routing.routing));
    routing.routing.id[1300 * 2 + 1] = 5;
    assert_error(adamoe_plan_build(team, &routing.routing, &plan), ADAMOE_BAD_INPUT,
                 "plan: token 1300: expert 5, there are 5");
    routing.routing.id[1300 * 2 + 1] = 4;
    assert_ok(adamoe_plan_build(team, &routing.routing, &plan));
    adamoe_routing_space_free(&routing);
    adamoe_plan_space_free(&plan);
    adamoe_team_free(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_reference),
        cmocka_unit_test(a_token_has_the_same_bits_in_any_batch),
        cmocka_unit_test(bad_input_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
