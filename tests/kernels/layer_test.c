/*
 * The expert layer: upcycling, all-null tokens, identity experts, and the reference as a kernel.
 */
#include "test.h"
#include "layer.h"
#include "router.h"
#include "plan.h"
#include "kernel/kernel.h"
#include "bound/judge.h"
#include "bound/bound.h"
#include "machine/host.h"
#include "registry.h"
#include "machine/team.h"

enum { D = 13, FF = 21, N = 8, T = 29 };

typedef struct weights {
    float w1[FF * D], w3[FF * D], w2[D * FF], gate[N * D], gate2[N * D], x[T * D];
} weights;

static float next_value(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 40) * 0x1p-23 - 1.0);
}

static void fill(weights *w)
{
    uint64_t state = 7;
    float *all = w->w1;
    for (size_t i = 0; i < sizeof *w / sizeof(float); ++i) {
        all[i] = next_value(&state);
    }
}

static adamoe_expert expert_of(const weights *w)
{
    return (adamoe_expert){
        .w1 = {w->w1, ADAMOE_F32, FF, D}, .w3 = {w->w3, ADAMOE_F32, FF, D}, .w2 = {w->w2, ADAMOE_F32, D, FF}};
}

static void run_layer(const adamoe_layer *layer, const float *x, size_t tokens, adamoe_rule rule,
                      adamoe_routing **routing, float *y)
{
    float logits[T * 2 * N];
    adamoe_plan *plan = NULL;
    double *work = calloc(adamoe_layer_work(layer), sizeof *work);
    adamoe_router_logits(layer, x, tokens, logits);
    assert_ok(adamoe_routing_create(logits, tokens, layer->experts, layer->null_experts, rule, routing));
    assert_ok(adamoe_plan_create(*routing, &plan));
    adamoe_layer_forward(layer, (adamoe_operands){ADAMOE_FLOAT32, ADAMOE_FLOAT32, ADAMOE_FLOAT32}, x, plan, y,
                         work);
    adamoe_plan_free(plan);
    free(work);
}

/* Eight equal experts: weights that add up to 1 give the dense output for every token with a true expert, and
 * tokens without one give exactly 0. */
static void upcycling_gives_the_dense_output(void **state)
{
    (void)state;
    weights w;
    fill(&w);
    adamoe_expert experts[N];
    for (size_t e = 0; e < N; ++e) {
        experts[e] = expert_of(&w);
    }
    const adamoe_layer sparse = {.hidden_size = D,
                                 .intermediate_size = FF,
                                 .experts = N,
                                 .null_experts = N,
                                 .gate = {w.gate, ADAMOE_F32, N, D},
                                 .gate2 = {w.gate2, ADAMOE_F32, N, D},
                                 .expert = experts};
    const adamoe_layer dense = {.hidden_size = D,
                                .intermediate_size = FF,
                                .experts = 1,
                                .gate = {NULL, ADAMOE_F32, 0, D},
                                .gate2 = {NULL, ADAMOE_F32, 0, D},
                                .expert = experts};
    float y[T * D], expected[T * D];
    adamoe_routing *routing = NULL, *dense_routing = NULL;
    run_layer(&dense, w.x, T, (adamoe_rule){.top_k = 1}, &dense_routing, expected);
    size_t all_null = 0, mixed = 0;
    for (size_t k = 1; k <= 2 * N; k += 3) {
        run_layer(&sparse, w.x, T, (adamoe_rule){.top_k = k}, &routing, y);
        for (size_t t = 0; t < T; ++t) {
            const size_t count = adamoe_routing_true_experts(routing, t);
            all_null += count == 0;
            mixed += count > 1;
            for (size_t c = 0; c < D; ++c) {
                const double e = count == 0 ? 0.0 : (double)expected[t * D + c];
                /* each of the weights is rounded once, and so is the sum */
                const double allowed = count == 0 ? 0.0 : fabs(e) * 0x1p-24 * (double)(N + 2);
                assert_true(fabs((double)y[t * D + c] - e) <= allowed);
            }
        }
        adamoe_routing_free(routing);
    }
    assert_true(all_null > 0 && mixed > 0);
    adamoe_routing_free(dense_routing);
}

/* Through the contract, with a workspace of exactly the size asked for, into an output full of NaN. */
static void the_reference_is_a_kernel(void **state)
{
    (void)state;
    weights w;
    fill(&w);
    const adamoe_expert experts[2] = {expert_of(&w), expert_of(&w)};
    const adamoe_layer layer = {.hidden_size = D,
                                .intermediate_size = FF,
                                .experts = 2,
                                .null_experts = 2,
                                .gate = {w.gate, ADAMOE_F32, 2, D},
                                .gate2 = {w.gate2, ADAMOE_F32, 2, D},
                                .expert = experts};
    const adamoe_kernel *kernel = &adamoe_reference_kernel;
    const adamoe_rule rule = {.top_k = 2, .null_kind = ADAMOE_NULL_IDENTITY};
    float expected[T * D], y[T * D];
    adamoe_routing *routing = NULL;
    run_layer(&layer, w.x, T, rule, &routing, expected);

    adamoe_team *team = NULL;
    adamoe_plan *plan = NULL;
    adamoe_prepared *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(1);
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(adamoe_plan_create(routing, &plan));
    assert_ok(kernel->prepare(&adamoe_heap_host, &layer, &placement, &prepared));
    const size_t bytes = kernel->work_bytes(prepared, plan->rows, plan->tokens);
    adamoe_run run = {.team = team, .work = aligned_alloc(64, (bytes + 63) / 64 * 64), .work_bytes = bytes};
    for (size_t i = 0; i < T * D; ++i) {
        y[i] = NAN;
    }
    assert_ok(kernel->experts(prepared, &run, w.x, plan, y));
    assert_memory_equal(y, expected, sizeof y);
    run.work_bytes = bytes - 1;
    assert_error(kernel->experts(prepared, &run, w.x, plan, y), ADAMOE_BAD_INPUT, "workspace too small");
    free(run.work);
    kernel->release(prepared);
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
    adamoe_team_free(team);
}

/* An identity expert returns its input, times its probability among all. */
static void identity_experts_return_their_input(void **state)
{
    (void)state;
    weights w;
    fill(&w);
    const adamoe_expert expert = expert_of(&w);
    memset(w.gate2, 0, sizeof w.gate2);
    for (size_t c = 0; c < D; ++c) {
        w.gate[c] = -w.x[c]; /* the true expert's logit is -|x|^2, the null ones' 0: they win */
    }
    const adamoe_layer layer = {.hidden_size = D,
                                .intermediate_size = FF,
                                .experts = 1,
                                .null_experts = 2,
                                .gate = {w.gate, ADAMOE_F32, 1, D},
                                .gate2 = {w.gate2, ADAMOE_F32, 2, D},
                                .expert = &expert};
    float y[D];
    adamoe_routing *routing = NULL;
    run_layer(&layer, w.x, 1, (adamoe_rule){.top_k = 1, .null_kind = ADAMOE_NULL_IDENTITY}, &routing, y);
    const double p = 1.0 / (2.0 + exp((double)routing->logits[0]));
    for (size_t c = 0; c < D; ++c) {
        assert_true(fabs((double)y[c] - p * (double)w.x[c]) <= 1e-7);
    }
    adamoe_routing_free(routing);
}

/* Soft MoE: an input of the kernel is a slot, a mixture of tokens that the caller made; one row's output goes
 * to every token, with a weight for each. Two experts with two slots, a token that takes all of them, one
 * that takes two, and one that takes none; one slot is scaled on its way in. */
typedef struct soft_plan {
    uint32_t offset[3], input[4], token_offset[4], token_row[6];
    float dispatch[4], combine[6];
    adamoe_plan plan;
} soft_plan;

static void make_soft_plan(soft_plan *s)
{
    *s = (soft_plan){.offset = {0, 2, 4},
                     .input = {0, 1, 2, 3},
                     .token_offset = {0, 4, 4, 6},
                     .token_row = {0, 1, 2, 3, 1, 2},
                     .dispatch = {1.0f, 1.0f, 0.5f, 1.0f},
                     .combine = {0.5f, 0.25f, 0.125f, 0.0625f, -3.0f, 2.0f}};
    s->plan = (adamoe_plan){.tokens = 3,
                            .inputs = 4,
                            .rows = 4,
                            .experts = 2,
                            .offset = s->offset,
                            .input = s->input,
                            .dispatch = s->dispatch,
                            .token_offset = s->token_offset,
                            .token_row = s->token_row,
                            .combine = s->combine};
}

static void expected_of_soft_plan(const soft_plan *s, const adamoe_expert *experts, const float *slots,
                                  double *expected)
{
    double output[4][D], input[D], *work = calloc(adamoe_expert_work(D, FF), sizeof *work);
    assert_non_null(work);
    for (size_t r = 0; r < 4; ++r) {
        for (size_t c = 0; c < D; ++c) {
            input[c] = (double)s->dispatch[r] * (double)slots[r * D + c];
        }
        adamoe_expert_forward(&experts[r / 2], (adamoe_operands){0}, input, output[r], work);
    }
    free(work);
    for (size_t c = 0; c < D; ++c) {
        expected[c] = 0.5 * output[0][c] + 0.25 * output[1][c] + 0.125 * output[2][c] + 0.0625 * output[3][c];
        expected[D + c] = 0.0;
        expected[2 * D + c] = -3.0 * output[1][c] + 2.0 * output[2][c];
    }
}

static void run_kernel(const adamoe_kernel *kernel, const adamoe_layer *layer, const float *x,
                       const adamoe_plan *plan, float *y)
{
    adamoe_team *team = NULL;
    adamoe_prepared *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(1);
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(kernel->prepare(&adamoe_heap_host, layer, &placement, &prepared));
    const size_t bytes = kernel->work_bytes(prepared, plan->rows, plan->tokens);
    const adamoe_run run = {
        .team = team, .work = aligned_alloc(64, (bytes + 63) / 64 * 64), .work_bytes = bytes};
    assert_non_null(run.work);
    assert_ok(kernel->experts(prepared, &run, x, plan, y));
    free(run.work);
    kernel->release(prepared);
    adamoe_team_free(team);
}

/* The reference to the last bit, every kernel within its bound, and the yardstick expects the same values. */
static void slots_go_to_many_tokens_with_different_weights(void **state)
{
    (void)state;
    weights w;
    fill(&w);
    adamoe_expert experts[2] = {expert_of(&w), expert_of(&w)};
    experts[1].w1.data = w.w3;
    experts[1].w3.data = w.w1;
    const adamoe_layer layer = {.hidden_size = D, .intermediate_size = FF, .experts = 2, .expert = experts};
    soft_plan s;
    make_soft_plan(&s);
    double expected[3 * D];
    expected_of_soft_plan(&s, experts, w.x, expected);
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        const char *why_not = NULL;
        if (!kernel->supported(&why_not)) {
            continue;
        }
        const adamoe_declared arithmetic = adamoe_kernel_arithmetic(kernel);
        adamoe_yardstick yardstick;
        float y[3 * D];
        run_kernel(kernel, &layer, w.x, &s.plan, y);
        assert_ok(adamoe_yardstick_create(3 * D, &yardstick));
        assert_ok(adamoe_layer_yardstick(&layer, arithmetic, w.x, &s.plan, &yardstick));
        const adamoe_verdict verdict = adamoe_judge(&yardstick, y, 1.0);
        print_message("%s: error/bound %.3f\n", kernel->name, verdict.largest_ratio);
        assert_true(verdict.passed && !verdict.vacuous);
        for (size_t c = 0; c < 3 * D; ++c) {
            if (arithmetic.weight == ADAMOE_FLOAT32) {
                assert_true(fabs(yardstick.expected[c] - expected[c]) <= 1e-6); /* h is not stored there */
            }
            if (kernel == &adamoe_reference_kernel) {
                assert_true(y[c] == (float)expected[c]);
            }
        }
        adamoe_yardstick_free(&yardstick);
    }
    adamoe_registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upcycling_gives_the_dense_output),
        cmocka_unit_test(the_reference_is_a_kernel),
        cmocka_unit_test(identity_experts_return_their_input),
        cmocka_unit_test(slots_go_to_many_tokens_with_different_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
