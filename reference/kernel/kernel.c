/*
 * The definition as a kernel of the contract: what `--kernel reference` runs.
 */
#include "gradient/gradient.h"
#include "kernel/kernel.h"
#include "layer.h"
#include "numbers.h"

struct adamoe_prepared {
    adamoe_host host;
    adamoe_layer layer;
    adamoe_expert expert[]; /* [layer.experts] the caller's array is gone when prepare has returned */
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

/* The weights are used where they are. */
static adamoe_status prepare(const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    (void)placement;
    const size_t bytes = sizeof(adamoe_prepared) + layer->experts * sizeof(adamoe_expert);
    adamoe_prepared *prepared = host->allocate(host->context, bytes, _Alignof(adamoe_prepared));
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "reference: prepare: out of memory");
    }
    prepared->host = *host;
    prepared->layer = *layer;
    prepared->layer.expert = prepared->expert;
    for (size_t e = 0; e < layer->experts; ++e) {
        prepared->expert[e] = layer->expert[e];
    }
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

static size_t work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)rows;
    (void)tokens;
    return adamoe_layer_work(&prepared->layer) * sizeof(double);
}

static adamoe_status experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    if (run->work_bytes < work_bytes(prepared, plan->rows, plan->tokens)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "reference: experts: workspace too small");
    }
    adamoe_layer_forward(&prepared->layer, adamoe_float32_operands, x, plan, y, run->work);
    return adamoe_ok();
}

static adamoe_status prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,
                                    const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    (void)placement;
    adamoe_prepared_matrix *prepared =
        host->allocate(host->context, sizeof *prepared, _Alignof(adamoe_prepared_matrix));
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "reference: prepare: out of memory");
    }
    prepared->host = *host;
    prepared->matrix = *matrix;
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
    (void)count;
    return (2 * prepared->matrix.columns + prepared->matrix.rows) * sizeof(double);
}

static adamoe_status multiply(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                              size_t count, float *y)
{
    const adamoe_matrix *matrix = &prepared->matrix;
    if (run->work_bytes < matrix_work_bytes(prepared, count)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "reference: multiply: workspace too small");
    }
    for (size_t i = 0; i < count; ++i) {
        adamoe_matrix_vector_float(matrix, x + i * matrix->columns, y + i * matrix->rows, run->work);
    }
    return adamoe_ok();
}

const adamoe_kernel adamoe_reference_kernel = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_kernel),
    .guarantees = ADAMOE_SAME_BITS_RUNS | ADAMOE_SAME_BITS_THREADS | ADAMOE_SAME_BITS_BATCH |
                  ADAMOE_SAME_BITS_PLACEMENT,
    .name = "reference",
    .summary = "the definition: naive C, sums in double, one thread",
    .x = ADAMOE_FLOAT32,
    .h = ADAMOE_FLOAT32,
    .weight = ADAMOE_FLOAT32,
    .accumulate = ADAMOE_FLOAT64,
    .silu_error = 0.0f,
    .supported = supported,
    .prepare = prepare,
    .release = release,
    .work_bytes = work_bytes,
    .experts = experts,
    .prepare_matrix = prepare_matrix,
    .release_matrix = release_matrix,
    .matrix_work_bytes = matrix_work_bytes,
    .multiply = multiply,
    .backward_work_bytes = adamoe_reference_backward_work_bytes,
    .backward = adamoe_reference_backward,
};
