/*
 * A golden layer of a router as a call, for tests that change something of it; and random calls.
 */
#ifndef ADAMOE_GOLDEN_CALL_H
#define ADAMOE_GOLDEN_CALL_H

#include "test.h"
#include "layer.h"
#include "router_inputs.h"

typedef struct golden_call {
    adamoe_layer_file *file;
    const adamoe_layer *layer;
    adamoe_router_inputs inputs;
} golden_call;

static inline golden_call open_golden(const char *name)
{
    char path[512];
    golden_call golden;
    (void)snprintf(path, sizeof path, "%s/%s.safetensors", SOURCE_PATH("tests/golden/routers"), name);
    assert_ok(adamoe_layer_file_open(path, &golden.file));
    assert_ok(adamoe_router_inputs_create(golden.file, &golden.inputs));
    golden.layer = adamoe_layer_file_layer(golden.file);
    return golden;
}

static inline void close_golden(golden_call *golden)
{
    adamoe_router_inputs_free(&golden->inputs);
    adamoe_layer_file_close(golden->file);
}

static inline void set(golden_call *golden, const char *name, const char *text)
{
    assert_ok(adamoe_router_set(golden->inputs.router, golden->inputs.call.value, name, text));
}

static inline adamoe_routed route(golden_call *golden)
{
    adamoe_routed routed;
    assert_ok(adamoe_router_inputs_route(golden->file, &golden->inputs, &routed));
    return routed;
}

static inline const adamoe_routed_array *array_of(const adamoe_routed *routed, const char *name)
{
    const adamoe_routed_array *array = adamoe_routed_find(routed, name);
    if (array == NULL) {
        fail_msg("the router gives no %s", name);
    }
    return array;
}

static inline double number_of(const adamoe_routed *routed, const char *name)
{
    return array_of(routed, name)->number[0];
}

/* The layer's output, with what it adds behind the kernel; to be freed. */
static inline float *layer_output(const golden_call *golden, const adamoe_routed *routed)
{
    const size_t count = routed->plan->tokens * golden->layer->hidden_size;
    const float *x = routed->inputs != NULL ? routed->inputs : golden->inputs.call.hidden_states;
    float *y = calloc(count, sizeof *y);
    double *work = calloc(adamoe_layer_work(golden->layer), sizeof *work);
    assert_non_null(y);
    assert_non_null(work);
    adamoe_layer_forward(golden->layer, adamoe_float32_operands, x, routed->plan, y, work);
    for (size_t i = 0; routed->after != NULL && i < count; ++i) {
        y[i] += routed->after[i];
    }
    free(work);
    return y;
}

/* Values of about a normal distribution, from a seed. */
typedef struct draws {
    uint64_t state;
} draws;

static inline double draw(draws *d)
{
    double sum = 0.0;
    for (int i = 0; i < 12; ++i) {
        d->state = d->state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(d->state >> 11) * 0x1p-53;
    }
    return sum - 6.0;
}

static inline float *draw_floats(draws *d, size_t count, double scale)
{
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; ++i) {
        values[i] = (float)(scale * draw(d));
    }
    return values;
}

#endif
