/*
 * A kernel in a shared object: the layer in plain float32, written against the public header alone.
 *
 *     cc -std=c17 -O2 -shared -fPIC -I INCLUDE example.c -o example.so -lm
 *     adamoe layer FILE.safetensors --plugin ./example.so --kernel example
 *
 * It shows the least that a plugin needs; it is not fast, takes float32 weights only and has no dense
 * product.
 */
#include "adamoe.h"

#include <math.h>
#include <string.h>

/* The host, the layer and its list of experts belong to the caller and need not outlive `prepare`, so they are
 * copied; only the weights themselves stay where they are. */
struct adamoe_prepared {
    adamoe_host host;
    size_t hidden_size, intermediate_size, threads;
    adamoe_expert expert[]; /* [layer->experts] */
};

static bool supported(const char **why_not)
{
    (void)why_not;
    return true;
}

static bool is_float32(const adamoe_expert *expert)
{
    return expert->w1.dtype == ADAMOE_F32 && expert->w3.dtype == ADAMOE_F32 && expert->w2.dtype == ADAMOE_F32;
}

static adamoe_status prepare(const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    for (size_t e = 0; e < layer->experts; ++e) {
        if (!is_float32(&layer->expert[e])) {
            return adamoe_error(ADAMOE_NOT_SUPPORTED, "example: expert %zu: the weights are not float32", e);
        }
    }
    const size_t experts_bytes = layer->experts * sizeof *layer->expert;
    adamoe_prepared *prepared = host->allocate(host->context, sizeof *prepared + experts_bytes, 16);
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "example: out of memory");
    }
    prepared->host = *host;
    prepared->hidden_size = layer->hidden_size;
    prepared->intermediate_size = layer->intermediate_size;
    prepared->threads = placement->threads;
    memcpy(prepared->expert, layer->expert, experts_bytes);
    *out = prepared;
    return adamoe_ok();
}

/* The copy outlives the memory that it gives back. */
static void release(adamoe_prepared *prepared)
{
    if (prepared != NULL) {
        const adamoe_host host = prepared->host;
        host.release(host.context, prepared);
    }
}

/* Each thread needs room for its own h. */
static size_t work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)rows;
    (void)tokens;
    return prepared->threads * prepared->intermediate_size * sizeof(float);
}

static float weight(const adamoe_matrix *matrix, size_t row, size_t column)
{
    float value;
    memcpy(&value, (const char *)matrix->data + (row * matrix->columns + column) * sizeof value,
           sizeof value);
    return value;
}

static float dot(const adamoe_matrix *matrix, size_t row, const float *x, float scale)
{
    float sum = 0.0f;
    for (size_t c = 0; c < matrix->columns; ++c) {
        sum = fmaf(weight(matrix, row, c), x[c] * scale, sum);
    }
    return sum;
}

/* The exponential is of -|z|: exp(-z) overflows for z < -88 already, where silu is still a number. */
static float silu(float z)
{
    const float t = expf(-fabsf(z));
    return z >= 0.0f ? z / (1.0f + t) : z * t / (1.0f + t);
}

typedef struct call {
    const adamoe_prepared *prepared;
    const adamoe_plan *plan;
    const float *x;
    float *y, *h;
} call;

static size_t expert_of(const adamoe_plan *plan, size_t row)
{
    size_t e = 0;
    while (plan->offset[e + 1] <= row) {
        ++e;
    }
    return e;
}

/* One token, its experts in the order of the plan. */
static void compute_token(void *context, size_t t, uint32_t thread)
{
    const call *c = context;
    const size_t d = c->prepared->hidden_size, ff = c->prepared->intermediate_size;
    float *y = c->y + t * d, *h = c->h + thread * ff;
    for (size_t i = 0; i < d; ++i) {
        y[i] = c->plan->self_scale == NULL ? 0.0f : c->plan->self_scale[t] * c->x[t * d + i];
    }
    for (size_t place = c->plan->token_offset[t]; place < c->plan->token_offset[t + 1]; ++place) {
        const size_t row = c->plan->token_row[place];
        const adamoe_expert *expert = &c->prepared->expert[expert_of(c->plan, row)];
        const float *x = c->x + c->plan->input[row] * d;
        const float scale = c->plan->dispatch == NULL ? 1.0f : c->plan->dispatch[row];
        for (size_t i = 0; i < ff; ++i) {
            const float gate = dot(&expert->w1, i, x, scale);
            h[i] = silu(gate) * dot(&expert->w3, i, x, scale);
        }
        for (size_t i = 0; i < d; ++i) {
            y[i] = fmaf(c->plan->combine[place], dot(&expert->w2, i, h, 1.0f), y[i]);
        }
    }
}

static adamoe_status experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    call c = {.prepared = prepared, .plan = plan, .x = x, .y = y, .h = run->work};
    run->team->run(run->team->state, plan->tokens, compute_token, &c);
    return adamoe_ok();
}

static const adamoe_kernel example = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_kernel),
    .guarantees = ADAMOE_SAME_BITS_RUNS | ADAMOE_SAME_BITS_THREADS | ADAMOE_SAME_BITS_BATCH |
                  ADAMOE_SAME_BITS_PLACEMENT,
    .name = "example",
    .summary = "plain float32 in a shared object",
    .x = ADAMOE_FLOAT32,
    .h = ADAMOE_FLOAT32,
    .weight = ADAMOE_FLOAT32,
    .accumulate = ADAMOE_FLOAT32,
    .silu_error = 4.0f,
    .supported = supported,
    .prepare = prepare,
    .release = release,
    .work_bytes = work_bytes,
    .experts = experts,
};

static const adamoe_kernel *const kernels[] = {&example};

const adamoe_plugin adamoe_plugin_export = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_plugin),
    .count = 1,
    .kernel = kernels,
};
