/*
 * The plan: both orders by hand, against their definition on a large routing, and in time that grows with the
 * rows.
 */
#include "test.h"
#include "router.h"
#include "plan.h"

#include <time.h>

static adamoe_plan *plan_of(const adamoe_routing *routing)
{
    adamoe_plan *plan = NULL;
    assert_ok(adamoe_plan_create(routing, &plan));
    return plan;
}

static void a_plan_is_the_routing_by_expert(void **state)
{
    (void)state;
    const float logits[] = {
        3.0f, 2.0f, 1.0f, 0.0f, /* token 0: experts 0, 1 */
        0.0f, 1.0f, 2.0f, 3.0f, /* token 1: null, null */
        1.0f, 3.0f, 0.0f, 2.0f, /* token 2: expert 1, null */
        2.0f, 3.0f, 0.0f, 1.0f, /* token 3: experts 1, 0 */
    };
    adamoe_routing *routing = NULL;
    assert_ok(adamoe_routing_create(logits, 4, 2, 2,
                                    (adamoe_rule){.top_k = 2, .null_kind = ADAMOE_NULL_IDENTITY}, &routing));
    adamoe_plan *plan = plan_of(routing);
    assert_int_equal(plan->rows, 5);
    assert_int_equal(plan->inputs, 4);
    assert_null(plan->dispatch);
    const uint32_t offset[] = {0, 2, 5}, input[] = {0, 3, 0, 2, 3}, token_offset[] = {0, 2, 2, 3, 5};
    /* token 3 selected 1 before 0; the sum is by ascending expert */
    const uint32_t token_row[] = {0, 2, 3, 1, 4};
    assert_memory_equal(plan->offset, offset, sizeof offset);
    assert_memory_equal(plan->input, input, sizeof input);
    assert_memory_equal(plan->token_offset, token_offset, sizeof token_offset);
    assert_memory_equal(plan->token_row, token_row, sizeof token_row);
    assert_true(plan->combine[0] == routing->weight[0] && plan->combine[1] == routing->weight[1]);
    assert_true(plan->combine[2] == 1.0f); /* its only true expert */
    assert_true(plan->combine[3] == routing->weight[7] && plan->combine[4] == routing->weight[6]);
    assert_true(plan->combine[3] != plan->combine[4]);
    const double p = exp(3) / (1 + exp(1) + exp(2) + exp(3)), q = exp(2) / (1 + exp(1) + exp(2) + exp(3));
    assert_true(fabs((double)plan->self_scale[1] - (p + q)) < 1e-6);
    assert_true(plan->self_scale[0] == 0.0f);
    assert_true(adamoe_routing_load(routing) == 5.0 / 4);
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
}

static void no_tokens_at_all(void **state)
{
    (void)state;
    adamoe_routing *routing = NULL;
    assert_ok(adamoe_routing_create(NULL, 0, 2, 1, (adamoe_rule){.top_k = 1}, &routing));
    adamoe_plan *plan = plan_of(routing);
    assert_int_equal(plan->rows, 0);
    assert_int_equal(plan->token_offset[0], 0);
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
}

/* A routing that no router made: the ids of token t start anywhere and step by an odd number, so that they
 * differ and are in no order. The weight tells token and expert apart. */
static adamoe_routing large_routing(size_t tokens, size_t experts, size_t null_experts, size_t k)
{
    const adamoe_routing routing = {.tokens = tokens,
                                    .experts = experts,
                                    .null_experts = null_experts,
                                    .rule = {.top_k = k},
                                    .id = calloc(tokens * k, sizeof(uint32_t)),
                                    .weight = calloc(tokens * k, sizeof(float))};
    assert_non_null(routing.id);
    assert_non_null(routing.weight);
    uint64_t random = 3;
    for (size_t t = 0; t < tokens; ++t) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        for (size_t j = 0; j < k; ++j) {
            routing.id[t * k + j] =
                (uint32_t)(((random >> 20) + j * (2 * (random >> 50) + 1)) % (experts + null_experts));
            routing.weight[t * k + j] = (float)(t % 4096 * 4096 + routing.id[t * k + j]);
        }
    }
    return routing;
}

/* Every row is of an expert and of a token that selected it, rows ascend by expert and then by token, and the
 * list of a token ascends. As many rows as selected pairs: so each is there once. */
static void a_large_plan_keeps_both_orders(void **state)
{
    (void)state;
    enum { T = 200000, N = 4096, M = 4096, K = 4 };
    adamoe_routing routing = large_routing(T, N, M, K); /* n + m is a power of two: odd steps do not meet */
    const clock_t start = clock();
    adamoe_plan *plan = plan_of(&routing);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("%d tokens, %d experts, top-%d: %.3f s\n", T, N, K, seconds);
    size_t pairs = 0;
    for (size_t t = 0; t < T; ++t) {
        pairs += adamoe_routing_true_experts(&routing, t);
        assert_int_equal(plan->token_offset[t + 1], pairs);
        for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
            const uint32_t row = plan->token_row[i];
            assert_true(plan->input[row] == t);
            assert_true(i == plan->token_offset[t] || plan->token_row[i - 1] < row);
            const size_t e = (size_t)plan->combine[i] - t % 4096 * 4096;
            assert_true(e < N && plan->offset[e] <= row && row < plan->offset[e + 1]);
            assert_true(row == plan->offset[e] || plan->input[row - 1] < t);
        }
    }
    assert_int_equal(plan->rows, pairs);
    assert_int_equal(plan->offset[N], pairs);
    /* Where every expert looked at every token, this took 3.6 s. */
    assert_true(seconds < 2.0);
    adamoe_plan_free(plan);
    free(routing.id);
    free(routing.weight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_the_routing_by_expert),
        cmocka_unit_test(no_tokens_at_all),
        cmocka_unit_test(a_large_plan_keeps_both_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
