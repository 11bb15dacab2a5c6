/*
 * A kernel in a shared object whose operands are bfloat16, in the experts and in a dense product:
 *
 *     cc -std=c17 -O2 -shared -fPIC -I INCLUDE bfloat16.c -o bfloat16.so -lm
 *
 * With -DOPERANDS=ADAMOE_FLOAT32 it rounds nothing: a float32 kernel with a dense product. It takes float32
 * weights only, and is not fast.
 */
#include "adamoe.h"

#include <math.h>
#include <string.h>

#ifndef OPERANDS
#define OPERANDS ADAMOE_BFLOAT16
#endif

/* What belongs to the caller is copied, but for the weights themselves. */
struct adamoe_prepared {
    adamoe_host host;
    size_t hidden_size, intermediate_size, threads;
    adamoe_expert expert[]; /* [layer->experts] */
};

struct adamoe_prepared_matrix {
    adamoe_host host;
    adamoe_matrix matrix;
};

static bool supported(const char **why_not)
{
    (void)why_not;
    return true;
}

/* To nearest, ties to even; for finite values. */
static float operand(float value)
{
    uint32_t bits;
    if (OPERANDS == ADAMOE_FLOAT32) {
        return value;
    }
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

static float dot(const adamoe_matrix *matrix, size_t row, const float *x)
{
    float sum = 0.0f;
    for (size_t c = 0; c < matrix->columns; ++c) {
        float weight;
        memcpy(&weight, (const char *)matrix->data + (row * matrix->columns + c) * sizeof weight,
               sizeof weight);
        sum = fmaf(operand(weight), operand(x[c]), sum);
    }
    return sum;
}

/* The exponential is of -|z|: exp(-z) overflows for z < -88 already, where silu is still a number. */
static float silu(float z)
{
    const float t = expf(-fabsf(z));
    return z >= 0.0f ? z / (1.0f + t) : z * t / (1.0f + t);
}

/* -------------------------------------------------------------------------------------------- the experts */

static adamoe_status prepare(const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    for (size_t e = 0; e < layer->experts; ++e) {
        const adamoe_expert *expert = &layer->expert[e];
        if (expert->w1.dtype != ADAMOE_F32 || expert->w3.dtype != ADAMOE_F32 ||
            expert->w2.dtype != ADAMOE_F32) {
            return adamoe_error(ADAMOE_NOT_SUPPORTED, "bfloat16: expert %zu: the weights are not float32", e);
        }
    }
    const size_t experts_bytes = layer->experts * sizeof *layer->expert;
    adamoe_prepared *prepared = host->allocate(host->context, sizeof *prepared + experts_bytes, 16);
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bfloat16: out of memory");
    }
    *prepared = (adamoe_prepared){.host = *host,
                                  .hidden_size = layer->hidden_size,
                                  .intermediate_size = layer->intermediate_size,
                                  .threads = placement->threads};
    memcpy(prepared->expert, layer->expert, experts_bytes);
    *out = prepared;
    return adamoe_ok();
}

static void release(adamoe_prepared *prepared)
{
    if (prepared != NULL) {
        const adamoe_host host = prepared->host;
        host.release(host.context, prepared);
    }
}

/* Each thread needs room for its own x and h. */
static size_t thread_floats(const adamoe_prepared *prepared)
{
    return prepared->hidden_size + prepared->intermediate_size;
}

static size_t work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)rows;
    (void)tokens;
    return prepared->threads * thread_floats(prepared) * sizeof(float);
}

typedef struct call {
    const adamoe_prepared *prepared;
    const adamoe_plan *plan;
    const float *x;
    float *y, *work;
} call;

static void add_place(const call *c, size_t place, float *x, float *y)
{
    const adamoe_plan *plan = c->plan;
    const size_t row = plan->token_row[place];
    const size_t d = c->prepared->hidden_size, ff = c->prepared->intermediate_size;
    const adamoe_expert *expert = c->prepared->expert;
    float *h = x + d;
    while (plan->offset[expert - c->prepared->expert + 1] <= row) {
        ++expert;
    }
    for (size_t i = 0; i < d; ++i) {
        const float scale = plan->dispatch == NULL ? 1.0f : plan->dispatch[row];
        x[i] = scale * c->x[plan->input[row] * d + i];
    }
    for (size_t i = 0; i < ff; ++i) {
        const float gate = dot(&expert->w1, i, x);
        h[i] = silu(gate) * dot(&expert->w3, i, x);
    }
    for (size_t i = 0; i < d; ++i) {
        y[i] = fmaf(plan->combine[place], dot(&expert->w2, i, h), y[i]);
    }
}

/* One token, its experts in the order of the plan. */
static void compute_token(void *context, size_t t, uint32_t thread)
{
    const call *c = context;
    const size_t d = c->prepared->hidden_size;
    float *y = c->y + t * d, *work = c->work + thread * thread_floats(c->prepared);
    for (size_t i = 0; i < d; ++i) {
        y[i] = c->plan->self_scale == NULL ? 0.0f : c->plan->self_scale[t] * c->x[t * d + i];
    }
    for (size_t place = c->plan->token_offset[t]; place < c->plan->token_offset[t + 1]; ++place) {
        add_place(c, place, work, y);
    }
}

static adamoe_status experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    call c = {.prepared = prepared, .plan = plan, .x = x, .y = y, .work = run->work};
    run->team->run(run->team->state, plan->tokens, compute_token, &c);
    return adamoe_ok();
}

/* -------------------------------------------------------------------------------------- the dense product */

static adamoe_status prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,
                                    const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    (void)placement;
    if (matrix->dtype != ADAMOE_F32) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "bfloat16: the matrix is not float32");
    }
    adamoe_prepared_matrix *prepared = host->allocate(host->context, sizeof *prepared, 16);
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bfloat16: out of memory");
    }
    *prepared = (adamoe_prepared_matrix){.host = *host, .matrix = *matrix};
    *out = prepared;
    return adamoe_ok();
}

static void release_matrix(adamoe_prepared_matrix *prepared)
{
    if (prepared != NULL) {
        const adamoe_host host = prepared->host;
        host.release(host.context, prepared);
    }
}

static size_t matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count)
{
    (void)prepared;
    (void)count;
    return 0;
}

static adamoe_status multiply(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                              size_t count, float *y)
{
    const adamoe_matrix *matrix = &prepared->matrix;
    (void)run;
    for (size_t i = 0; i < count; ++i) {
        for (size_t row = 0; row < matrix->rows; ++row) {
            y[i * matrix->rows + row] = dot(matrix, row, x + i * matrix->columns);
        }
    }
    return adamoe_ok();
}

static const adamoe_kernel bfloat16 = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_kernel),
    .guarantees = ADAMOE_SAME_BITS_RUNS | ADAMOE_SAME_BITS_THREADS | ADAMOE_SAME_BITS_BATCH |
                  ADAMOE_SAME_BITS_PLACEMENT,
    .name = "bfloat16",
    .summary = "plain C with a dense product in a shared object",
    .x = OPERANDS,
    .h = OPERANDS,
    .weight = OPERANDS,
    .accumulate = ADAMOE_FLOAT32,
    .silu_error = 4.0f,
    .supported = supported,
    .prepare = prepare,
    .release = release,
    .work_bytes = work_bytes,
    .experts = experts,
    .prepare_matrix = prepare_matrix,
    .release_matrix = release_matrix,
    .matrix_work_bytes = matrix_work_bytes,
    .multiply = multiply,
};

static const adamoe_kernel *const kernels[] = {&bfloat16};

const adamoe_plugin adamoe_plugin_export = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_plugin),
    .count = 1,
    .kernel = kernels,
};
