/*
 * The gradient of every router's golden layer against PyTorch's, in double and rounded to float32:
 * tests/golden/router_gradients.py.
 */
#include "golden_call.h"
#include "numbers.h"
#include "routed_layer.h"

#include <math.h>

typedef struct golden_layer {
    const char *name;
    const adamoe_safetensors *expected;
    golden_call golden;
    double *hidden_states, **tensor; /* gradients */
    adamoe_expert_gradient *expert;
    routed_layer whole;
} golden_layer;

static double *zeros(size_t count)
{
    double *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

static const adamoe_tensor *find_expected(const golden_layer *l, const char *what)
{
    char name[160];
    (void)snprintf(name, sizeof name, "%s.%s", l->name, what);
    const adamoe_tensor *tensor = adamoe_safetensors_find(l->expected, name);
    if (tensor == NULL) {
        fail_msg("no %s", name);
    }
    return tensor;
}

static void open_layer(golden_layer *l)
{
    l->golden = open_golden(l->name);
    const adamoe_router_call *call = &l->golden.inputs.call;
    const adamoe_layer *layer = l->golden.layer;
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    const adamoe_tensor *direction = find_expected(l, "direction");
    double *wide = zeros(direction->elements);
    for (size_t i = 0; i < direction->elements; ++i) {
        wide[i] = (double)adamoe_element(direction->data, ADAMOE_F32, i);
    }
    l->hidden_states = zeros(call->tokens * d);
    l->tensor = calloc(call->tensors, sizeof *l->tensor);
    l->expert = calloc(layer->experts, sizeof *l->expert);
    for (size_t i = 0; i < call->tensors; ++i) {
        l->tensor[i] = zeros(call->tensor[i].matrix.rows * call->tensor[i].matrix.columns);
    }
    for (size_t e = 0; e < layer->experts; ++e) {
        l->expert[e] = (adamoe_expert_gradient){zeros(ff * d), zeros(ff * d), zeros(ff * d)};
    }
    l->whole = (routed_layer){.layer = layer,
                              .router = l->golden.inputs.router,
                              .call = call,
                              .direction = wide,
                              .loss_weight = {1.25, 0.75}};
}

static void close_layer(golden_layer *l)
{
    for (size_t i = 0; i < l->golden.inputs.call.tensors; ++i) {
        free(l->tensor[i]);
    }
    for (size_t e = 0; e < l->golden.layer->experts; ++e) {
        free(l->expert[e].w1);
        free(l->expert[e].w3);
        free(l->expert[e].w2);
    }
    free((void *)(uintptr_t)l->whole.direction);
    free(l->hidden_states);
    free(l->tensor);
    free(l->expert);
    close_golden(&l->golden);
}

/* What the layer reads by that name: hidden states, a matrix of an expert, or a tensor of the router. */
static const double *find_gradient(const golden_layer *l, const char *name)
{
    size_t e;
    char matrix[3];
    if (strcmp(name, "hidden_states") == 0) {
        return l->hidden_states;
    }
    if (sscanf(name, "block_sparse_moe.experts.%zu.%2s", &e, matrix) == 2) {
        const adamoe_expert_gradient *x = &l->expert[e];
        return matrix[1] == '1' ? x->w1 : matrix[1] == '2' ? x->w2 : x->w3;
    }
    for (size_t i = 0; i < l->golden.inputs.call.tensors; ++i) {
        if (strcmp(l->golden.inputs.call.tensor[i].name, name) == 0) {
            return l->tensor[i];
        }
    }
    fail_msg("%s: no gradient of %s", l->name, name);
    return NULL;
}

/* Against 1e-5 of the largest element. Where PyTorch has only zeros (an expert that nobody selects) they are met
 * exactly. */
static void compare(const golden_layer *l, const adamoe_tensor *tensor, const char *name, double *largest)
{
    const double *got = find_gradient(l, name);
    double magnitude = 0.0;
    for (size_t i = 0; i < tensor->elements; ++i) {
        magnitude = fmax(magnitude, fabs((double)adamoe_element(tensor->data, ADAMOE_F32, i)));
    }
    for (size_t i = 0; i < tensor->elements; ++i) {
        const double expected = (double)adamoe_element(tensor->data, ADAMOE_F32, i);
        const double error = fabs(got[i] - expected);
        if (!(error <= 1e-5 * magnitude)) {
            fail_msg("%s: %s[%zu]: %.9g, by PyTorch %.9g", l->name, name, i, got[i], expected);
        }
        *largest = magnitude == 0.0 ? *largest : fmax(*largest, error / magnitude);
    }
}

/* Returns how many tensors were compared. */
static size_t check_layer(const char *name, const adamoe_safetensors *expected, double *largest)
{
    golden_layer l = {.name = name, .expected = expected};
    adamoe_routed routed;
    size_t compared = 0;
    char prefix[128];
    open_layer(&l);
    const double objective = routed_objective(&l.whole, &routed);
    const double other = (double)adamoe_element(find_expected(&l, "objective")->data, ADAMOE_F32, 0);
    if (!(fabs(objective - other) <= 1e-6 * fmax(1.0, fabs(other)))) {
        fail_msg("%s: objective %.9g, by PyTorch %.9g", name, objective, other);
    }
    const adamoe_router_gradient gradient = {l.hidden_states, l.tensor};
    routed_gradient(&l.whole, &routed, &gradient, l.expert);
    (void)snprintf(prefix, sizeof prefix, "%s.gradient.", name);
    for (size_t i = 0; i < adamoe_safetensors_count(expected); ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_at(expected, i);
        if (strncmp(tensor->name, prefix, strlen(prefix)) == 0) {
            compare(&l, tensor, tensor->name + strlen(prefix), largest);
            ++compared;
        }
    }
    assert_true(compared >
                3 * l.golden.layer->experts); /* the experts, hidden states, and most often a gate */
    adamoe_routed_free(&routed);
    close_layer(&l);
    return compared;
}

static void every_layer_against_pytorch(void **state)
{
    (void)state;
    adamoe_safetensors *expected = NULL;
    double largest = 0.0;
    size_t layers = 0, compared = 0;
    assert_ok(adamoe_safetensors_open(SOURCE_PATH("tests/golden/router_gradients.safetensors"), &expected));
    for (size_t i = 0; i < adamoe_safetensors_count(expected); ++i) {
        const char *name = adamoe_safetensors_at(expected, i)->name;
        const size_t length = strcspn(name, ".");
        if (strcmp(name + length, ".direction") == 0) {
            char layer[64];
            (void)snprintf(layer, sizeof layer, "%.*s", (int)length, name);
            compared += check_layer(layer, expected, &largest);
            ++layers;
        }
    }
    assert_int_equal(layers, 22);
    assert_int_equal(compared + 2 * layers, adamoe_safetensors_count(expected)); /* nothing is left out */
    print_message("%zu layers, %zu tensors, largest relative error %.1e\n", layers, compared, largest);
    adamoe_safetensors_close(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_against_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
