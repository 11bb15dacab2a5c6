/*
 * The gradient of every router against finite differences, in double and with respect to everything that it reads.
 *
 * Values are multiples of 2^-12, so that a step of 2^-9 and one of twice that are exact in float32, and the quotient
 *   (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h
 * is off by h^4/30 of the fifth derivative, some 1e-12, and by 2^-52/h of the objective. A seed is taken only where no
 * step changes a selection, a refusal or the sign of a ReLU, where there is no derivative, and where every tensor has
 * a gradient.
 */
#include "routed_layer.h"

#include <math.h>

enum { S = 7, D = 8, FF = 3, N = 4, NULLS = 3, SLOTS = 2, WIDTH = 3, MOST_TENSORS = 12 };

#define STEP 0x1p-9f

/* ------------------------------------------------------------------------------------------------- subjects */

typedef struct variant {
    const char *router;
    const char *parameters; /* "name=value name=value" */
    size_t null_rows;
    const char *tensors; /* what it reads besides the gates: phi, home, anchors, bias, residual, constants */
} variant;

static const variant variants[] = {
    {"adamoe", "top_k=3 norm=true null_kind=zero", NULLS, ""},
    {"adamoe", "top_k=3 norm=true null_kind=identity", NULLS, ""},
    {"adamoe", "top_k=3 norm=all null_kind=identity", NULLS, ""},
    {"adamoe", "top_k=3 norm=none null_kind=zero", NULLS, ""},
    {"adamoe", "top_k=3 norm=every null_kind=identity", NULLS, ""},
    {"top_k", "top_k=2 norm=true", 0, ""},
    {"top_k", "top_k=2 norm=none", 0, ""},
    {"softmax_token_choice", "top_k=2 capacity_factor=0.8 batch_priority=1", 0, ""},
    {"sinkhorn_token_choice", "top_k=2 capacity_factor=0.9 epsilon=0.5 iterations=3", 0, ""},
    {"softmax_expert_choice", "capacity_factor=1.2", 0, ""},
    {"sinkhorn_expert_choice", "capacity_factor=1 epsilon=1.5 iterations=4", 0, ""},
    {"sparse_expert_choice", "capacity_factor=1.4 gamma=0.5 iterations=5 learning_rate=0.02", 0, ""},
    {"soft_moe", "slots=2 norm_epsilon=0.05", 0, "phi"},
    {"locmoe", "nodes=2 alpha=3 mu=2", 0, "home"},
    {"locmoe_plus", "nodes=2 alpha=3 mu=2 top_k=2 affinity_share=0.6 temperature=0.5", 0, "home"},
    {"memoe", "top_k=2 lambda=0.7", 0, "anchors"},
    {"top_p", "tau=0.6 alpha=3 beta=2", 0, ""},
    {"loss_free", "top_k=2 normalise=1 scale=2.5 groups=2", 0, "bias"},
    {"loss_free", "top_k=2 normalise=0 scale=1.5", 0, "bias"},
    {"loss_free", "top_k=2 normalise=1 score=softmax", 0, "bias"},
    {"longcat", "top_k=3 expected_k=1.75 scale=2 rate=0.01 groups=2 alpha=3", NULLS, "bias"},
    {"moe_plus_plus", "top_k=3 norm=nonzero constant=1 copy=1 zero=1 beta=3", NULLS, "residual constants"},
    {"moe_plus_plus", "top_k=2 norm=none constant=2 zero=1 capacity_factor=1.6 beta=3", NULLS, "constants"},
    {"null_copies", "top_k=3 rho=0.6 alpha=3 z=2", 1, ""},
    {"remoe", "target_k=1.5", 0, ""},
};

typedef struct subject {
    adamoe_router_tensor tensor[MOST_TENSORS];
    double *gradient[MOST_TENSORS];
    char name[MOST_TENSORS][48];
    adamoe_router_call call;
    adamoe_expert expert[N];
    adamoe_layer layer;
    routed_layer whole;
    double direction[S * D];
    uint64_t random;
} subject;

/* Multiples of 2^-12 between -1 and 1, times `scale`, a power of two. */
static float *draw_array(subject *s, size_t count, float scale)
{
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; ++i) {
        s->random = s->random * 6364136223846793005u + 1442695040888963407u;
        values[i] = scale * ((float)(s->random >> 52) / 2048.0f - 1.0f);
    }
    return values;
}

static void add_array(subject *s, const char *name, adamoe_dtype dtype, size_t rows, size_t columns,
                      void *data)
{
    const size_t i = s->call.tensors++;
    assert_true(i < MOST_TENSORS);
    (void)snprintf(s->name[i], sizeof s->name[i], "%s", name);
    s->tensor[i] = (adamoe_router_tensor){.name = s->name[i], .matrix = {data, dtype, rows, columns}};
    s->gradient[i] = calloc(rows * columns, sizeof *s->gradient[i]);
}

static void add_floats(subject *s, const char *name, size_t rows, size_t columns, float scale)
{
    add_array(s, name, ADAMOE_F32, rows, columns, draw_array(s, rows * columns, scale));
}

/* Ids 0, 1, .. modulo - 1, less `shift`, in turn. */
static void add_ids(subject *s, const char *name, int64_t modulo, int64_t shift)
{
    int64_t *ids = calloc(S, sizeof *ids);
    for (int64_t i = 0; i < S; ++i) {
        ids[i] = i % modulo - shift;
    }
    add_array(s, name, ADAMOE_I64, 1, S, ids);
}

static void add_tensors(subject *s, const variant *v)
{
    const bool anchors = strcmp(v->tensors, "anchors") == 0;
    const size_t ids = N + v->null_rows;
    add_floats(s, "block_sparse_moe.gate.weight", N, anchors ? D + WIDTH : D, 1.0f);
    if (v->null_rows > 0) {
        add_floats(s, "block_sparse_moe.gate2.weight", v->null_rows, D, 1.0f);
    }
    if (strcmp(v->tensors, "phi") == 0) {
        add_floats(s, "router.phi", N * SLOTS, D, 1.0f);
        add_floats(s, "router.scale", 1, 1, 4.0f);
    }
    if (strcmp(v->tensors, "home") == 0) {
        add_ids(s, "router.home", 2, 0);
    }
    if (anchors) {
        add_floats(s, "router.anchors", 2, WIDTH, 1.0f);
        add_ids(s, "router.anchor_id", 3, 1);
        add_floats(s, "mlp.gate_proj.weight", FF, D, 1.0f);
        add_floats(s, "mlp.up_proj.weight", FF, D, 1.0f);
        add_floats(s, "mlp.down_proj.weight", D, FF, 1.0f);
    }
    if (strcmp(v->tensors, "bias") == 0) {
        add_floats(s, "router.bias", 1, ids, 0.125f);
    }
    if (strstr(v->tensors, "residual") != NULL) {
        add_floats(s, "router.residual.weight", ids, ids, 0.5f);
        add_floats(s, "router.previous_logits", S, ids, 1.0f);
    }
    for (size_t c = 0;
         strstr(v->tensors, "constants") != NULL && c < (strstr(v->parameters, "constant=2") ? 2 : 1); ++c) {
        char name[48];
        (void)snprintf(name, sizeof name, "router.constant.%zu.gate", c);
        add_floats(s, name, 2, D, 1.0f);
        (void)snprintf(name, sizeof name, "router.constant.%zu.vector", c);
        add_floats(s, name, 1, D, 1.0f);
    }
}

static void set_parameters(const variant *v, const adamoe_router *router, double *value)
{
    char text[256], *rest = text;
    (void)snprintf(text, sizeof text, "%s", v->parameters);
    adamoe_router_defaults(router, value);
    for (char *name = strtok_r(rest, " =", &rest); name != NULL; name = strtok_r(rest, " =", &rest)) {
        assert_ok(adamoe_router_set(router, value, name, strtok_r(rest, " =", &rest)));
    }
}

static void make_subject(const variant *v, uint64_t seed, subject *s)
{
    *s = (subject){.random = seed};
    for (size_t e = 0; e < N; ++e) {
        s->expert[e] = (adamoe_expert){.w1 = {draw_array(s, FF * D, 1.0f), ADAMOE_F32, FF, D},
                                       .w3 = {draw_array(s, FF * D, 1.0f), ADAMOE_F32, FF, D},
                                       .w2 = {draw_array(s, FF * D, 1.0f), ADAMOE_F32, D, FF}};
    }
    s->layer = (adamoe_layer){.hidden_size = D, .intermediate_size = FF, .experts = N, .expert = s->expert};
    float *direction = draw_array(s, S * D, 1.0f);
    for (size_t i = 0; i < S * D; ++i) {
        s->direction[i] = (double)direction[i];
    }
    free(direction);
    add_tensors(s, v);
    add_floats(s, "hidden_states", S, D, 1.0f);
    --s->call.tensors; /* the last one is no tensor of the call, and is stepped like one */
    s->call.tokens = S;
    s->call.hidden_size = D;
    s->call.experts = N;
    s->call.hidden_states = s->tensor[s->call.tensors].matrix.data;
    s->call.tensor = s->tensor;
    s->whole = (routed_layer){.layer = &s->layer,
                              .router = adamoe_router_find(v->router),
                              .call = &s->call,
                              .direction = s->direction,
                              .loss_weight = {1.25, -0.75}};
    assert_non_null(s->whole.router);
    set_parameters(v, s->whole.router, s->call.value);
}

static void free_subject(subject *s)
{
    for (size_t e = 0; e < N; ++e) {
        free((void *)(uintptr_t)s->expert[e].w1.data);
        free((void *)(uintptr_t)s->expert[e].w3.data);
        free((void *)(uintptr_t)s->expert[e].w2.data);
    }
    for (size_t i = 0; i <= s->call.tensors; ++i) {
        free((void *)(uintptr_t)s->tensor[i].matrix.data);
        free(s->gradient[i]);
    }
}

/* ------------------------------------------------------------------------------------------------ quotients */

static bool same_integers(const adamoe_routed *a, const adamoe_routed *b, const char *name)
{
    const adamoe_routed_array *left = adamoe_routed_find(a, name), *right = adamoe_routed_find(b, name);
    return left == NULL ||
           (left->rows == right->rows &&
            memcmp(left->integer, right->integer, left->rows * left->columns * sizeof *left->integer) == 0);
}

/* The same rows, choices, refusals and signs of logits; with slots there is nothing to select. */
static bool same_selection(const adamoe_routed *a, const adamoe_routed *b)
{
    const adamoe_routed_array *left = adamoe_routed_find(a, "logits");
    bool same =
        same_integers(a, b, "index") && same_integers(a, b, "choice") && same_integers(a, b, "rejected");
    for (size_t i = 0; left != NULL && i < left->rows * left->columns; ++i) {
        same = same && (left->number[i] > 0.0) == (adamoe_routed_find(b, "logits")->number[i] > 0.0);
    }
    return same;
}

/* False where a step changes what is selected. */
static bool quotient(const subject *s, const adamoe_routed *at, float *value, double *out)
{
    static const float steps[4] = {1.0f, -1.0f, 2.0f, -2.0f};
    static const double weight[4] = {8.0, -8.0, -1.0, 1.0};
    const float kept = *value;
    bool same = true;
    *out = 0.0;
    for (size_t i = 0; i < 4; ++i) {
        adamoe_routed moved;
        *value = kept + steps[i] * STEP;
        *out += weight[i] * routed_objective(&s->whole, &moved) / (12.0 * (double)STEP);
        same = same && same_selection(at, &moved);
        adamoe_routed_free(&moved);
    }
    *value = kept;
    return same;
}

/* Every element of a tensor, against 1e-6 of the root of the mean square of its gradient. */
static bool check_tensor(const subject *s, const variant *v, const adamoe_routed *at, size_t t,
                         double *largest)
{
    const adamoe_matrix *matrix = &s->tensor[t].matrix;
    const size_t count = matrix->rows * matrix->columns;
    float *value = (float *)(uintptr_t)matrix->data;
    const bool constant = strcmp(s->name[t], "router.bias") == 0; /* it selects, and has no gradient */
    double squares = 0.0;
    for (size_t i = 0; i < count; ++i) {
        squares += s->gradient[t][i] * s->gradient[t][i] / (double)count;
    }
    if (squares == 0.0 && !constant) { /* an expert that nobody selects */
        return false;
    }
    for (size_t i = 0; i < count; ++i) {
        double expected;
        if (!quotient(s, at, &value[i], &expected)) {
            return false;
        }
        const double error = fabs(s->gradient[t][i] - expected) / sqrt(squares);
        if (constant ? s->gradient[t][i] != 0.0 || fabs(expected) > 1e-9 : !(error < 1e-6)) {
            fail_msg("%s %s: %s[%zu]: %.12g, by finite differences %.12g", v->router, v->parameters,
                     s->name[t], i, s->gradient[t][i], expected);
        }
        *largest = constant ? *largest : fmax(*largest, error);
    }
    return true;
}

/* False where the seed is of no use. */
static bool check_seed(const variant *v, uint64_t seed, double *largest)
{
    subject s;
    adamoe_routed routed;
    bool stable = true;
    make_subject(v, seed, &s);
    (void)routed_objective(&s.whole, &routed);
    double *tensors[MOST_TENSORS];
    memcpy(tensors, s.gradient, sizeof tensors);
    const adamoe_router_gradient gradient = {s.gradient[s.call.tensors], tensors};
    routed_gradient(&s.whole, &routed, &gradient, NULL);
    for (size_t t = 0; t <= s.call.tensors && stable; ++t) {
        const bool is_read = t == s.call.tensors || s.tensor[t].taken;
        if (is_read && s.tensor[t].matrix.dtype != ADAMOE_I64) {
            stable = check_tensor(&s, v, &routed, t, largest);
        }
    }
    adamoe_routed_free(&routed);
    free_subject(&s);
    return stable;
}

static void every_router_against_finite_differences(void **state)
{
    (void)state;
    double largest = 0.0;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; ++i) {
        uint64_t seed = 1;
        while (!check_seed(&variants[i], seed, &largest)) {
            if (++seed > 300) {
                fail_msg("%s %s: no seed will do", variants[i].router, variants[i].parameters);
            }
        }
    }
    print_message("largest error %.1e of the gradient's root mean square\n", largest);
}

static void no_router_is_left_out(void **state)
{
    (void)state;
    for (size_t r = 0; adamoe_router_at(r) != NULL; ++r) {
        bool found = false;
        for (size_t i = 0; i < sizeof variants / sizeof *variants; ++i) {
            found = found || strcmp(variants[i].router, adamoe_router_at(r)->name) == 0;
        }
        if (!found) {
            fail_msg("%s has no variant here", adamoe_router_at(r)->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_router_against_finite_differences),
        cmocka_unit_test(no_router_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
