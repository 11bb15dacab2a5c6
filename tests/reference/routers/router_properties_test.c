/*
 * What routers are known for, on golden layers and on random ones: capacity, marginals, and the special cases in
 * which one is another.
 */
#include "golden_call.h"
#include "routers/parts.h"
#include "plan.h"

#include <glob.h>

/* ------------------------------------------------------------------------------------ dispatch and combine */

/* X~[q] = sum over s of D[s, q] x[s], where q counts slots through: what the definition computes for any router,
 * from D and B as dense tensors [tokens, slots]. */
typedef struct unified {
    size_t slots;
    size_t *expert; /* [slots] */
    double *D, *B;  /* [tokens, slots] */
} unified;

static unified dense_tensors(const adamoe_routed *routed)
{
    const adamoe_plan *plan = routed->plan;
    unified u = {.slots = plan->rows,
                 .expert = calloc(plan->rows + 1, sizeof *u.expert),
                 .D = calloc(plan->tokens * plan->rows + 1, sizeof *u.D),
                 .B = calloc(plan->tokens * plan->rows + 1, sizeof *u.B)};
    const adamoe_routed_array *index = adamoe_routed_find(routed, "index");
    const adamoe_routed_array *dispatch = array_of(routed, "dispatch"),
                              *combine = array_of(routed, "combine");
    for (size_t row = 0; row < plan->rows; ++row) {
        u.expert[row] = adamoe_plan_expert(plan, row);
        if (index != NULL) {
            const size_t at = (size_t)index->integer[3 * row] * plan->rows + row;
            assert_int_equal(index->integer[3 * row + 1], u.expert[row]);
            u.D[at] = dispatch->number[row];
            u.B[at] = combine->number[row];
        }
    }
    for (size_t i = 0; index == NULL && i < plan->tokens * plan->rows; ++i) {
        u.D[i] = dispatch->number[i];
        u.B[i] = combine->number[i];
    }
    return u;
}

/* y = sum over slots of B E(X~) + self_scale x + after. */
static double *unified_output(const golden_call *golden, const adamoe_routed *routed, const unified *u)
{
    const size_t S = routed->plan->tokens, d = golden->layer->hidden_size;
    const float *x = golden->inputs.call.hidden_states;
    double *y = calloc(S * d, sizeof *y), *in = calloc(2 * d, sizeof *in), *out = in + d;
    double *work = calloc(adamoe_layer_work(golden->layer), sizeof *work);
    for (size_t q = 0; q < u->slots; ++q) {
        for (size_t c = 0; c < d; ++c) {
            in[c] = 0.0;
            for (size_t s = 0; s < S; ++s) {
                in[c] += u->D[s * u->slots + q] * (double)x[s * d + c];
            }
        }
        adamoe_expert_forward(&golden->layer->expert[u->expert[q]], adamoe_float32_operands, in, out, work);
        for (size_t i = 0; i < S * d; ++i) {
            y[i] += u->B[i / d * u->slots + q] * out[i % d];
        }
    }
    const adamoe_routed_array *self_scale = adamoe_routed_find(routed, "self_scale");
    for (size_t i = 0; i < S * d; ++i) {
        y[i] += self_scale == NULL ? 0.0 : self_scale->number[i / d] * (double)x[i];
        y[i] += routed->after == NULL ? 0.0 : (double)routed->after[i];
    }
    free(in);
    free(work);
    return y;
}

static void check_unified(const char *name)
{
    golden_call golden = open_golden(name);
    adamoe_routed routed = route(&golden);
    unified u = dense_tensors(&routed);
    double *expected = unified_output(&golden, &routed, &u);
    float *y = layer_output(&golden, &routed);
    for (size_t i = 0; i < routed.plan->tokens * golden.layer->hidden_size; ++i) {
        if (!(fabs((double)y[i] - expected[i]) <= 1e-6 * fmax(1.0, fabs(expected[i])))) {
            fail_msg("%s: element %zu: %.9g by the plan, %.9g by D and B", name, i, (double)y[i],
                     expected[i]);
        }
    }
    free(y);
    free(expected);
    free(u.expert);
    free(u.D);
    free(u.B);
    adamoe_routed_free(&routed);
    close_golden(&golden);
}

static void dispatch_and_combine_give_the_output_of_the_plan(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob(SOURCE_PATH("tests/golden/routers/*.safetensors"), 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; ++i) {
        char name[128];
        const char *base = strrchr(found.gl_pathv[i], '/') + 1;
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(base, "."), base);
        check_unified(name);
    }
    assert_true(found.gl_pathc >= 21);
    globfree(&found);
}

/* Logits that a kernel made take the place of the product: rounded to float32 they select the same here, and the
 * gate, which is changed, is not read. */
static void given_logits_replace_the_gate(void **state)
{
    (void)state;
    static const char *const names[] = {"adamoe",  "softmax_token_choice", "sinkhorn_expert_choice", "memoe",
                                        "longcat", "null_copies",          "moe_plus_plus_capacity", "remoe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        golden_call golden = open_golden(names[i]);
        adamoe_routed computed = route(&golden), given;
        const adamoe_routed_array *logits = array_of(&computed, "logits");
        const bool copies =
            strcmp(names[i], "null_copies") == 0; /* one null logit, whatever the copies are */
        const size_t S = logits->rows, ids = copies ? golden.layer->experts + 1 : logits->columns;
        float *rounded = calloc(S * ids, sizeof *rounded), *zeros = calloc(8192, sizeof *zeros);
        for (size_t j = 0; j < S * ids; ++j) {
            rounded[j] = (float)logits->number[j / ids * logits->columns + j % ids];
        }
        for (size_t j = 0; j < golden.inputs.call.tensors; ++j) {
            adamoe_router_tensor *tensor = &golden.inputs.tensor[j];
            if (strstr(tensor->name, "block_sparse_moe.gate") != NULL) {
                assert_true(tensor->matrix.rows * tensor->matrix.columns <= 8192);
                tensor->matrix.data = zeros;
            }
        }
        golden.inputs.call.logits = rounded;
        assert_ok(adamoe_router_run_before(golden.inputs.router, &golden.inputs.call, &given));
        const adamoe_routed_array *index = array_of(&computed, "index"), *other = array_of(&given, "index");
        assert_int_equal(index->rows, other->rows);
        assert_memory_equal(index->integer, other->integer, 3 * index->rows * sizeof *index->integer);
        assert_true(strcmp(names[i], "memoe") != 0 || (given.after == NULL && computed.after != NULL));
        adamoe_routed_free(&computed);
        adamoe_routed_free(&given);
        free(rounded);
        free(zeros);
        close_golden(&golden);
    }
}

/* ------------------------------------------------------------------------------------------- random layers */

enum { S = 37, D = 12, N = 6 };

/* Hidden states and a gate, with whatever else a router reads added by the test. */
typedef struct random_call {
    float *x, *gate, *gate2;
    int64_t home[S];
    adamoe_router_tensor tensor[8];
    const adamoe_router *router;
    adamoe_router_call call;
} random_call;

static void add_tensor(random_call *r, const char *name, const void *data, adamoe_dtype dtype, size_t rows,
                       size_t columns)
{
    r->tensor[r->call.tensors++] =
        (adamoe_router_tensor){.name = name, .matrix = {data, dtype, rows, columns}};
}

static void begin(random_call *r, const char *router, uint64_t seed, double scale, size_t null_rows)
{
    draws d = {seed};
    *r = (random_call){.router = adamoe_router_find(router)};
    assert_non_null(r->router);
    r->x = draw_floats(&d, S * D, 1.0);
    r->gate = draw_floats(&d, N * D, scale);
    r->gate2 = draw_floats(&d, null_rows * D + 1, scale);
    r->call = (adamoe_router_call){
        .tokens = S, .hidden_size = D, .experts = N, .hidden_states = r->x, .tensor = r->tensor};
    adamoe_router_defaults(r->router, r->call.value);
    add_tensor(r, "block_sparse_moe.gate.weight", r->gate, ADAMOE_F32, N, D);
    if (null_rows > 0) {
        add_tensor(r, "block_sparse_moe.gate2.weight", r->gate2, ADAMOE_F32, null_rows, D);
    }
    for (size_t s = 0; s < S; ++s) {
        r->home[s] = (int64_t)(s % 2);
    }
    add_tensor(r, "router.home", r->home, ADAMOE_I64, 1, S);
}

static void end(random_call *r)
{
    free(r->x);
    free(r->gate);
    free(r->gate2);
}

static void give(random_call *r, const char *name, double value)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.17g", value);
    assert_ok(adamoe_router_set(r->router, r->call.value, name, text));
}

static adamoe_routed run(random_call *r)
{
    adamoe_routed routed;
    assert_ok(adamoe_router_run(r->router, &r->call, &routed));
    return routed;
}

static size_t rows_of_expert(const adamoe_plan *plan, size_t e)
{
    return plan->offset[e + 1] - plan->offset[e];
}

static void capacity_is_never_exceeded(void **state)
{
    (void)state;
    static const char *const routers[] = {"softmax_token_choice", "sinkhorn_token_choice", "locmoe",
                                          "locmoe_plus"};
    static const double factors[] = {0.1, 0.5, 1.0, 1.7};
    for (size_t i = 0; i < 16; ++i) {
        random_call r;
        begin(&r, routers[i / 4], i, 1.0, 0);
        give(&r, "capacity_factor", factors[i % 4]);
        const size_t k = i / 4 == 2 ? 1 : 2; /* locmoe has one choice */
        if (k == 2) {
            give(&r, "top_k", 2.0);
        }
        if (i / 4 >= 2) {
            give(&r, "nodes", 2.0);
        }
        adamoe_routed routed = run(&r);
        const size_t C = (size_t)array_of(&routed, "capacity")->integer[0];
        assert_int_equal(C, ceil(S * (double)k * factors[i % 4] / N));
        for (size_t e = 0; e < N; ++e) {
            assert_true(rows_of_expert(routed.plan, e) <= C);
        }
        assert_int_equal(routed.plan->rows + array_of(&routed, "rejected")->rows, S * k);
        assert_true(i % 4 > 1 || array_of(&routed, "rejected")->rows > 0);
        adamoe_routed_free(&routed);
        end(&r);
    }
}

static void expert_choice_takes_exactly_its_capacity(void **state)
{
    (void)state;
    static const char *const routers[] = {"softmax_expert_choice", "sinkhorn_expert_choice"};
    static const double factors[] = {0.01, 0.5, 1.0, 1.7, 100.0};
    static const size_t capacity[] = {1, 4, 7, 11, S};
    for (size_t i = 0; i < 10; ++i) {
        random_call r;
        begin(&r, routers[i / 5], i, 1.0, 0);
        give(&r, "capacity_factor", factors[i % 5]);
        adamoe_routed routed = run(&r);
        for (size_t e = 0; e < N; ++e) {
            assert_int_equal(rows_of_expert(routed.plan, e), capacity[i % 5]);
        }
        adamoe_routed_free(&routed);
        end(&r);
    }
}

/* Every column of the sparse plan holds exactly b, by at most C tokens. */
static void sparse_columns_are_exact(void **state)
{
    (void)state;
    random_call r;
    begin(&r, "sparse_expert_choice", 3, 1.0, 0);
    give(&r, "gamma", 0.3);
    adamoe_routed routed = run(&r);
    const double *T = array_of(&routed, "plan")->number;
    for (size_t e = 0; e < N; ++e) {
        double sum = 0.0;
        size_t nonzeros = 0;
        for (size_t s = 0; s < S; ++s) {
            sum += T[s * N + e];
            nonzeros += T[s * N + e] > 0.0;
        }
        assert_true(fabs(sum - (double)S / N) < 1e-12 * S);
        assert_true(nonzeros <= 7 && nonzeros == rows_of_expert(routed.plan, e));
    }
    adamoe_routed_free(&routed);
    end(&r);
}

/* Rows are 1 after any number of iterations; columns go to S/n. */
static void sinkhorn_has_the_marginals(void **state)
{
    (void)state;
    double before = 0.0;
    for (size_t iterations = 1; iterations <= 1000; iterations *= 10) {
        random_call r;
        begin(&r, "sinkhorn_expert_choice", 5, 0.5, 0);
        give(&r, "iterations", (double)iterations);
        adamoe_routed routed = run(&r);
        const double *plan = array_of(&routed, "plan")->number;
        double column_error = 0.0;
        for (size_t s = 0; s < S; ++s) {
            double sum = 0.0;
            for (size_t e = 0; e < N; ++e) {
                sum += plan[s * N + e];
            }
            assert_true(fabs(sum - 1.0) < 1e-12);
        }
        for (size_t e = 0; e < N; ++e) {
            const double sum = S * adamoe_column_mean(plan, S, N, e);
            column_error = fmax(column_error, fabs(sum - (double)S / N));
        }
        assert_true(iterations == 1 || column_error < before || column_error < 1e-10);
        assert_true(iterations < 1000 || column_error < 1e-10);
        before = column_error;
        adamoe_routed_free(&routed);
        end(&r);
    }
}

static void memoe_without_lambda_is_its_base(void **state)
{
    (void)state;
    golden_call golden = open_golden("memoe");
    set(&golden, "lambda", "0");
    adamoe_routed routed = route(&golden);
    float *y = layer_output(&golden, &routed);
    assert_true(routed.plan->rows > 0);
    assert_memory_equal(y, routed.after, routed.plan->tokens * golden.layer->hidden_size * sizeof *y);
    free(y);
    adamoe_routed_free(&routed);
    close_golden(&golden);
}

static void top_p_up_to_1_is_dense(void **state)
{
    (void)state;
    random_call r;
    begin(&r, "top_p", 8, 0.3, 0);
    give(&r, "tau", 1.0);
    adamoe_routed routed = run(&r);
    assert_int_equal(routed.plan->rows, S * N);
    const adamoe_routed_array *combine = array_of(&routed, "combine");
    double sum = 0.0;
    for (size_t row = 0; row < combine->rows; ++row) {
        sum += combine->number[row];
    }
    assert_true(fabs(sum - S) < 1e-5);
    adamoe_routed_free(&routed);
    end(&r);
}

/* ------------------------------------------------------------------------------------- control by a bias */

/* Steps of the same batch, each with the bias that the one before left. Returns the last routed. */
static adamoe_routed control(random_call *r, float *bias, size_t ids, size_t steps)
{
    adamoe_routed routed;
    add_tensor(r, "router.bias", bias, ADAMOE_F32, 1, ids);
    for (size_t step = 0;; ++step) {
        routed = run(r);
        if (step == steps) {
            return routed;
        }
        for (size_t i = 0; i < ids; ++i) {
            bias[i] = (float)array_of(&routed, "bias_next")->number[i];
        }
        adamoe_routed_free(&routed);
    }
}

/* An uneven gate: expert 0 gets nearly all. After enough steps no expert has more than an even share and one. */
static void the_bias_balances(void **state)
{
    (void)state;
    for (size_t steps = 0; steps <= 400; steps += 400) {
        random_call r;
        float bias[N] = {0.3f};
        begin(&r, "loss_free", 11, 0.3, 0);
        give(&r, "top_k", 2.0);
        give(&r, "normalise", 1.0);
        give(&r, "rate", 0.002);
        adamoe_routed routed = control(&r, bias, N, steps);
        const double violation = number_of(&routed, "loss.max_violation");
        assert_true(steps == 0 ? violation > 1.0 : violation < 0.25);
        adamoe_routed_free(&routed);
        end(&r);
    }
}

/* LongCat's control integrates until the selections of true experts are what is expected. */
static void the_bias_holds_the_number_of_true_experts(void **state)
{
    (void)state;
    static const double expected[] = {1.0, 1.75, 3.25};
    for (size_t i = 0; i < 3; ++i) {
        random_call r;
        float bias[N + 4] = {0.0f};
        begin(&r, "longcat", 12, 0.5, 4);
        give(&r, "top_k", 4.0);
        give(&r, "expected_k", expected[i]);
        give(&r, "scale", 1.0);
        give(&r, "rate", 0.01);
        give(&r, "groups", 2.0);
        give(&r, "alpha", 1.0);
        adamoe_routed before = control(&r, bias, N + 4, 0);
        --r.call.tensors;
        adamoe_routed after = control(&r, bias, N + 4, 3000);
        assert_true(fabs(number_of(&before, "loss.mean_true") - expected[i]) > 0.1);
        assert_true(fabs(number_of(&after, "loss.mean_true") - expected[i]) < 0.06);
        for (size_t z = N; z < N + 4; ++z) {
            assert_true(bias[z] == 0.0f);
        }
        adamoe_routed_free(&before);
        adamoe_routed_free(&after);
        end(&r);
    }
}

/* --------------------------------------------------------------------------------- one router is another */

static void assert_same_plan(const adamoe_routed *a, const adamoe_routed *b)
{
    const adamoe_routed_array *index = array_of(a, "index"), *other = array_of(b, "index");
    assert_int_equal(index->rows, other->rows);
    for (size_t e = 0; e <= N; ++e) {
        assert_int_equal(a->plan->offset[e], b->plan->offset[e]);
    }
    for (size_t s = 0; s < S; ++s) {
        const size_t begin_a = a->plan->token_offset[s], begin_b = b->plan->token_offset[s];
        assert_int_equal(begin_a, begin_b);
        for (size_t i = begin_a; i < a->plan->token_offset[s + 1]; ++i) {
            assert_int_equal(adamoe_plan_expert(a->plan, a->plan->token_row[i]),
                             adamoe_plan_expert(b->plan, b->plan->token_row[i]));
            assert_true(fabs((double)(a->plan->combine[i] - b->plan->combine[i])) < 1e-7);
        }
    }
}

static void adamoe_without_null_experts_is_token_choice_without_capacity(void **state)
{
    (void)state;
    random_call r, other;
    begin(&r, "adamoe", 21, 0.5, 0);
    add_tensor(&r, "block_sparse_moe.gate2.weight", r.gate2, ADAMOE_F32, 0, D);
    give(&r, "top_k", 3.0);
    assert_ok(adamoe_router_set(r.router, r.call.value, "norm", "none"));
    begin(&other, "softmax_token_choice", 21, 0.5, 0);
    give(&other, "top_k", 3.0);
    give(&other, "capacity_factor", 1e6);
    adamoe_routed a = run(&r), b = run(&other);
    assert_int_equal(a.plan->rows, 3 * S);
    assert_same_plan(&a, &b);
    adamoe_routed_free(&a);
    adamoe_routed_free(&b);
    end(&r);
    end(&other);
}

static void null_copies_are_adamoe_with_equal_rows(void **state)
{
    (void)state;
    enum { M = 6 };
    random_call r, other;
    begin(&r, "null_copies", 22, 0.5, 1);
    give(&r, "top_k", 4.0);
    give(&r, "rho", (double)N / (N + M));
    begin(&other, "adamoe", 22, 0.5, M);
    give(&other, "top_k", 4.0);
    for (size_t i = 0; i < M * D; ++i) {
        other.gate2[i] = r.gate2[i % D];
    }
    adamoe_routed a = run(&r), b = run(&other);
    assert_true(a.plan->rows > 0 && a.plan->rows < 4 * S);
    assert_same_plan(&a, &b);
    adamoe_routed_free(&a);
    adamoe_routed_free(&b);
    end(&r);
    end(&other);
}

/* ---------------------------------------------------------------------------------------------- LocMoE */

/* P(|cos| >= delta) by Simpson's rule over the angle, whose density goes with sin^(d-2). */
static double tail_by_integral(double delta, size_t d)
{
    enum { STEPS = 20000 };
    const double ends[2] = {acos(delta), acos(-1.0)};
    double integral[2];
    for (size_t j = 0; j < 2; ++j) {
        integral[j] = 0.0;
        for (size_t i = 0; i <= STEPS; ++i) {
            const double weight = i == 0 || i == STEPS ? 1.0 : i % 2 == 1 ? 4.0 : 2.0;
            integral[j] += weight * pow(sin(ends[j] * (double)i / STEPS), (double)d - 2.0);
        }
        integral[j] *= ends[j] / (3.0 * STEPS);
    }
    return 2.0 * integral[0] / integral[1];
}

static void least_capacity_is_the_integral_over_angles(void **state)
{
    (void)state;
    static const size_t sizes[] = {2, 3, 4, 16, 64, 513};
    static const double deltas[] = {0.0, 0.05, 0.3, 0.7};
    for (size_t i = 0; i < 24; ++i) {
        const double expected = tail_by_integral(deltas[i % 4], sizes[i / 4]);
        const double got = adamoe_cosine_tail(deltas[i % 4], sizes[i / 4]);
        if (!(fabs(got - expected) <= 1e-9 * expected)) {
            fail_msg("d %zu, delta %g: %.15g, by the integral %.15g", sizes[i / 4], deltas[i % 4], got,
                     expected);
        }
    }
    assert_true(adamoe_cosine_tail(0.9, 1) == 1.0);
    assert_true(fabs(adamoe_cosine_tail(0.25, 3) - 0.75) < 1e-14); /* on the sphere cos is uniform */
}

/* A token with no group above 0 goes to expert 0 with weight 1/n. */
static void locmoe_without_a_group_above_0(void **state)
{
    (void)state;
    random_call r;
    begin(&r, "locmoe", 31, 1.0, 0);
    give(&r, "nodes", 2.0);
    for (size_t c = 0; c < D; ++c) {
        r.x[c] = -1.0f;
    }
    adamoe_routed routed = run(&r);
    assert_int_equal(array_of(&routed, "choice")->integer[0], 0);
    assert_true(routed.plan->combine[0] == (float)(1.0 / N) && routed.plan->input[0] == 0);
    adamoe_routed_free(&routed);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dispatch_and_combine_give_the_output_of_the_plan),
        cmocka_unit_test(given_logits_replace_the_gate),
        cmocka_unit_test(capacity_is_never_exceeded),
        cmocka_unit_test(expert_choice_takes_exactly_its_capacity),
        cmocka_unit_test(sparse_columns_are_exact),
        cmocka_unit_test(sinkhorn_has_the_marginals),
        cmocka_unit_test(memoe_without_lambda_is_its_base),
        cmocka_unit_test(top_p_up_to_1_is_dense),
        cmocka_unit_test(the_bias_balances),
        cmocka_unit_test(the_bias_holds_the_number_of_true_experts),
        cmocka_unit_test(adamoe_without_null_experts_is_token_choice_without_capacity),
        cmocka_unit_test(null_copies_are_adamoe_with_equal_rows),
        cmocka_unit_test(least_capacity_is_the_integral_over_angles),
        cmocka_unit_test(locmoe_without_a_group_above_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
