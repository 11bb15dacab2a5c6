/*
 * The router: selection, ties, weights, refusals.
 */
#include "test.h"
#include "router.h"

static adamoe_routing *route(const float *logits, size_t tokens, size_t n, size_t m, adamoe_rule rule)
{
    adamoe_routing *routing = NULL;
    assert_ok(adamoe_routing_create(logits, tokens, n, m, rule, &routing));
    return routing;
}

static void assert_ids(const adamoe_routing *routing, size_t token, const uint32_t *expected)
{
    for (size_t j = 0; j < routing->rule.top_k; ++j) {
        assert_int_equal(routing->id[token * routing->rule.top_k + j], expected[j]);
    }
}

static void the_lower_index_wins_a_tie(void **state)
{
    (void)state;
    const float logits[] = {1.0f, 2.0f, 2.0f, 2.0f, 1.0f, 0.0f, -0.0f, 0.0f};
    adamoe_routing *routing = route(logits, 1, 4, 4, (adamoe_rule){.top_k = 7});
    assert_ids(routing, 0, (const uint32_t[]){1, 2, 3, 0, 4, 5, 6}); /* +0 and -0 are equal */
    adamoe_routing_free(routing);
}

/* Converted by copies with k = 3 or 4, m = n = 8: exactly the vanilla top-2 (reference/README.md section
 * 2.1); k = 5 gives three. */
static void copies_keep_the_vanilla_selection(void **state)
{
    (void)state;
    float logits[16];
    for (size_t i = 0; i < 16; ++i) {
        logits[i] = (float)((i % 8) * 5 % 8);
    }
    adamoe_routing *vanilla = route(logits, 1, 8, 0, (adamoe_rule){.top_k = 2});
    for (size_t k = 3; k <= 5; ++k) {
        adamoe_routing *routing = route(logits, 1, 8, 8, (adamoe_rule){.top_k = k});
        assert_int_equal(adamoe_routing_true_experts(routing, 0), k == 5 ? 3 : 2);
        assert_int_equal(routing->id[0], vanilla->id[0]);
        assert_int_equal(routing->id[1], vanilla->id[0] + 8);
        assert_int_equal(routing->id[2], vanilla->id[1]);
        if (k < 5) {
            assert_true(routing->weight[0] == vanilla->weight[0] && routing->weight[2] == vanilla->weight[1]);
        }
        adamoe_routing_free(routing);
    }
    adamoe_routing_free(vanilla);
}

/* Two experts of logit log 3 and 0, a null one of log 4: weights of thirds, eighths and so on are exact to
 * read. */
static void weights_under_the_three_norms(void **state)
{
    (void)state;
    const float logits[] = {logf(3.0f), 0.0f, logf(4.0f)};
    const double expected[3][2] = {{3.0 / 4, 1.0 / 4}, {3.0 / 8, 1.0 / 8}, {3.0 / 8, 1.0 / 8}};
    for (int norm = 0; norm < 3; ++norm) {
        adamoe_routing *routing =
            route(logits, 1, 2, 1, (adamoe_rule){.top_k = 3, .norm = (adamoe_norm)norm});
        assert_ids(routing, 0, (const uint32_t[]){2, 0, 1});
        assert_true(routing->weight[0] == 0.0f);
        assert_true(fabs((double)routing->weight[1] - expected[norm][0]) < 1e-7);
        assert_true(fabs((double)routing->weight[2] - expected[norm][1]) < 1e-7);
        assert_true(fabs((double)routing->probability[0] - 0.5) < 1e-7);
        adamoe_routing_free(routing);
    }
    /* all and none differ once something is not selected */
    adamoe_routing *all = route(logits, 1, 2, 1, (adamoe_rule){.top_k = 2, .norm = ADAMOE_NORM_ALL});
    adamoe_routing *none = route(logits, 1, 2, 1, (adamoe_rule){.top_k = 2, .norm = ADAMOE_NORM_NONE});
    assert_true(fabs((double)all->weight[1] - 3.0 / 7) < 1e-7);
    assert_true(fabs((double)none->weight[1] - 3.0 / 8) < 1e-7);
    adamoe_routing_free(all);
    adamoe_routing_free(none);
    adamoe_routing *every = route(logits, 1, 2, 1, (adamoe_rule){.top_k = 2, .norm = ADAMOE_NORM_EVERY});
    assert_true(fabs((double)every->weight[1] - 3.0 / 4) < 1e-7);
    adamoe_routing_free(every);
}

/* What `none` gives without null experts, `every` gives to the last bit with any number of them. */
static void every_is_none_before_null_experts(void **state)
{
    (void)state;
    const float vanilla[] = {0.3f, -1.7f, 2.5f, 0.9f};
    const float converted[] = {0.3f, -1.7f, 2.5f, 0.9f, 0.3f, -1.7f, 2.5f, 0.9f};
    adamoe_routing *none = route(vanilla, 1, 4, 0, (adamoe_rule){.top_k = 2, .norm = ADAMOE_NORM_NONE});
    adamoe_routing *same = route(vanilla, 1, 4, 0, (adamoe_rule){.top_k = 2, .norm = ADAMOE_NORM_EVERY});
    adamoe_routing *every = route(converted, 1, 4, 4, (adamoe_rule){.top_k = 4, .norm = ADAMOE_NORM_EVERY});
    assert_memory_equal(none->weight, same->weight, 2 * sizeof(float));
    assert_ids(every, 0, (const uint32_t[]){2, 6, 3, 7});
    assert_true(every->weight[0] == none->weight[0] && every->weight[2] == none->weight[1]);
    assert_true(every->weight[1] == 0.0f && every->weight[3] == 0.0f);
    adamoe_routing_free(none);
    adamoe_routing_free(same);
    adamoe_routing_free(every);
}

/* A true expert far below a null one: its softmax underflows to 0, its weight among the
 * true ones must not. */
static void a_far_null_expert_leaves_the_weights_alone(void **state)
{
    (void)state;
    const float logits[] = {-500.0f, -500.0f, 500.0f};
    adamoe_routing *routing = route(logits, 1, 2, 1, (adamoe_rule){.top_k = 3});
    assert_true(routing->probability[1] == 0.0f);
    assert_true(routing->weight[1] == 0.5f && routing->weight[2] == 0.5f);
    adamoe_routing_free(routing);
}

static void equal_rows_give_equal_bits_wherever_they_stand(void **state)
{
    (void)state;
    enum { D = 37, N = 19 };
    float gate[N * D], gate2[3 * D], x[D], logits[N + 3];
    for (size_t i = 0; i < D; ++i) {
        x[i] = sinf((float)i * 1.7f);
        for (size_t r = 0; r < N; ++r) {
            gate[r * D + i] = cosf((float)i * 0.3f) / 3.0f;
        }
        for (size_t r = 0; r < 3; ++r) {
            gate2[r * D + i] = gate[i];
        }
    }
    const adamoe_layer layer = {.hidden_size = D,
                                .experts = N,
                                .null_experts = 3,
                                .gate = {gate, ADAMOE_F32, N, D},
                                .gate2 = {gate2, ADAMOE_F32, 3, D}};
    adamoe_router_logits(&layer, x, 1, logits);
    for (size_t i = 1; i < N + 3; ++i) {
        assert_memory_equal(&logits[0], &logits[i], sizeof *logits);
    }
}

static void refusals(void **state)
{
    (void)state;
    adamoe_routing *routing = NULL;
    float logits[] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
    assert_error(adamoe_routing_create(logits, 2, 2, 1, (adamoe_rule){.top_k = 0}, &routing),
                 ADAMOE_BAD_INPUT, "top-k: 0 is not between 1 and 3");
    assert_error(adamoe_routing_create(logits, 2, 2, 1, (adamoe_rule){.top_k = 4}, &routing),
                 ADAMOE_BAD_INPUT, "top-k: 4 is not between 1 and 3");
    assert_error(adamoe_routing_create(logits, 2, 0, 3, (adamoe_rule){.top_k = 1}, &routing),
                 ADAMOE_BAD_INPUT, "experts: 0 true");
    logits[4] = NAN;
    assert_error(adamoe_routing_create(logits, 2, 2, 1, (adamoe_rule){.top_k = 1}, &routing),
                 ADAMOE_BAD_INPUT, "token 1: logit of expert 1 is NaN");
    logits[4] = -INFINITY;
    assert_error(adamoe_routing_create(logits, 2, 2, 1, (adamoe_rule){.top_k = 1}, &routing),
                 ADAMOE_BAD_INPUT, "token 1: logit of expert 1 is infinite");
    assert_null(routing);
}

static void no_tokens_at_all(void **state)
{
    (void)state;
    adamoe_routing *routing = route(NULL, 0, 2, 1, (adamoe_rule){.top_k = 1});
    assert_true(adamoe_routing_load(routing) == 0.0);
    adamoe_routing_free(routing);
}

/* The rows in float32, in the order of the logits, from matrices of different types. */
static void the_router_is_one_matrix(void **state)
{
    (void)state;
    const uint16_t gate[] = {0x3f80, 0x4000, 0xbf80,
                             0x3f00, 0x0000, 0x4040}; /* 1 2 -1, 0.5 0 3 in bfloat16 */
    const float gate2[] = {0.1f, 0.2f, 0.3f}, x[] = {2.0f, 3.0f, 5.0f};
    adamoe_layer layer = {.hidden_size = 3,
                          .experts = 2,
                          .null_experts = 1,
                          .gate = {gate, ADAMOE_BF16, 2, 3},
                          .gate2 = {gate2, ADAMOE_F32, 1, 3}};
    const float expected[] = {1.0f, 2.0f, -1.0f, 0.5f, 0.0f, 3.0f, 0.1f, 0.2f, 0.3f};
    float *rows = NULL, logits[3];
    adamoe_matrix matrix = {0};
    assert_ok(adamoe_router_matrix(&layer, &rows, &matrix));
    assert_true(matrix.data == rows && matrix.dtype == ADAMOE_F32 && matrix.rows == 3 && matrix.columns == 3);
    assert_memory_equal(rows, expected, sizeof expected);
    free(rows);

    /* A dense layer's gate has no rows: its logit is 0, and so is its row. */
    layer = (adamoe_layer){.hidden_size = 3,
                           .experts = 1,
                           .null_experts = 1,
                           .gate = {NULL, ADAMOE_F32, 0, 3},
                           .gate2 = {gate2, ADAMOE_F32, 1, 3}};
    const float dense[] = {0.0f, 0.0f, 0.0f, 0.1f, 0.2f, 0.3f};
    assert_ok(adamoe_router_matrix(&layer, &rows, &matrix));
    assert_true(matrix.rows == 2);
    assert_memory_equal(rows, dense, sizeof dense);
    adamoe_router_logits(&layer, x, 1, logits);
    assert_true(logits[0] == 0.0f && logits[1] != 0.0f);
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lower_index_wins_a_tie),
        cmocka_unit_test(copies_keep_the_vanilla_selection),
        cmocka_unit_test(weights_under_the_three_norms),
        cmocka_unit_test(every_is_none_before_null_experts),
        cmocka_unit_test(a_far_null_expert_leaves_the_weights_alone),
        cmocka_unit_test(equal_rows_give_equal_bits_wherever_they_stand),
        cmocka_unit_test(refusals),
        cmocka_unit_test(no_tokens_at_all),
        cmocka_unit_test(the_router_is_one_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
