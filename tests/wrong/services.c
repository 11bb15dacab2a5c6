/*
 * Wrong kernels in how they deal with what their host gives them: memory that it may refuse, NULL that they must
 * accept, stages that it asks for, and structures that are its own.
 */
#include "honest/honest.h"

#include <string.h>

/* A kernel that prepares with a function of its own. */
#define SERVED_KERNEL(symbol, title, text, ...)                                                              \
    KERNEL_PREPARES_MATRIX(symbol)                                                                           \
    KERNEL_TABLE(symbol, title, text, ADAMOE_FLOAT32, (.tiles = {4, 8, 4}, .silu_error = 4.0f, __VA_ARGS__))

/* -------------------------------------------------------------------------------------------------- release */

/* release accepts NULL, by contract: crashes there. */
static void release_object(adamoe_prepared *prepared)
{
    const adamoe_host host = prepared->host;
    host.release(host.context, prepared);
}
KERNEL_PIECES(release_null, ADAMOE_FLOAT32, .run = honest_run);
KERNEL_PREPARES(release_null)
SERVED_KERNEL(release_null, "wrong-release-null", "release does not accept NULL", .release = release_object,
              .release_matrix = honest_release_matrix);

static void release_matrix_object(adamoe_prepared_matrix *prepared)
{
    const adamoe_host host = prepared->host;
    host.release(host.context, prepared);
}
KERNEL_PIECES(release_matrix_null, ADAMOE_FLOAT32, .run = honest_run);
KERNEL_PREPARES(release_matrix_null)
SERVED_KERNEL(release_matrix_null, "wrong-release-matrix-null", "release_matrix does not accept NULL",
              .release = honest_release, .release_matrix = release_matrix_object);

/* ---------------------------------------------------------------------------------------------- allocations */

/* Memory that is taken beside the object, and given back with it. */
typedef struct further_memory {
    float *copy;
} further_memory;

static void release_with_copy(adamoe_prepared *prepared)
{
    if (prepared != NULL) {
        const further_memory *further = prepared->own;
        prepared->host.release(prepared->host.context, further->copy);
        honest_release(prepared);
    }
}

/* Wrong where the host refuses the second allocation: crashes. */
KERNEL_PIECES(allocation_unchecked, ADAMOE_FLOAT32, .own_bytes = sizeof(further_memory));
static adamoe_status allocation_unchecked_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                                  const adamoe_placement *placement, adamoe_prepared **out)
{
    ADAMOE_TRY(prepare_pieces(&allocation_unchecked_pieces, host, layer, placement, out));
    further_memory *further = (*out)->own;
    further->copy = host->allocate(host->context, layer->hidden_size * sizeof(float), 64);
    memset(further->copy, 0, layer->hidden_size * sizeof(float));
    return adamoe_ok();
}
SERVED_KERNEL(allocation_unchecked, "wrong-allocation-unchecked", "a failed second allocation is written to",
              .release = release_with_copy, .release_matrix = honest_release_matrix);

/* Wrong where the host refuses the second allocation: the first is lost. */
KERNEL_PIECES(allocation_lost, ADAMOE_FLOAT32, .own_bytes = sizeof(further_memory));
static adamoe_status allocation_lost_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                             const adamoe_placement *placement, adamoe_prepared **out)
{
    adamoe_prepared *prepared = NULL;
    ADAMOE_TRY(prepare_pieces(&allocation_lost_pieces, host, layer, placement, &prepared));
    further_memory *further = prepared->own;
    further->copy = host->allocate(host->context, layer->hidden_size * sizeof(float), 64);
    if (further->copy == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "prepare: out of memory");
    }
    *out = prepared;
    return adamoe_ok();
}
SERVED_KERNEL(allocation_lost, "wrong-allocation-lost",
              "a failed second allocation leaves the first one behind", .release = release_with_copy,
              .release_matrix = honest_release_matrix);

/* Wrong where the host refuses memory for a matrix: says that all is well and gives nothing. */
KERNEL_PIECES(failure_hidden, ADAMOE_FLOAT32, .run = honest_run);
KERNEL_PREPARES(failure_hidden)
static adamoe_status failure_hidden_prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,
                                                   const adamoe_placement *placement,
                                                   adamoe_prepared_matrix **out)
{
    const adamoe_status status = prepare_matrix_pieces(&failure_hidden_pieces, host, matrix, placement, out);
    return status.code == ADAMOE_ENVIRONMENT ? adamoe_ok() : status;
}
KERNEL_TABLE(failure_hidden, "wrong-failure-hidden", "prepare_matrix reports success without memory",
             ADAMOE_FLOAT32, (.tiles = {4, 8, 4}, .silu_error = 4.0f, HONEST_RELEASES));

/* --------------------------------------------------------------------------------------------------- stages */

/* Where times are asked for, stages run one after the other, in code that few have read. Wrong there for plans that
 * scale their inputs. */
static void gather_unscaled_in_stages(const kernel_call *c, size_t row, float *input)
{
    const size_t d = c->prepared->hidden_size;
    honest_gather(c, row, input);
    if (c->run->stage_seconds != NULL && c->plan->dispatch != NULL) {
        memcpy(input, c->x + c->plan->input[row] * d, d * sizeof *input);
    }
}
WRONG_KERNEL(stages_unscaled, "wrong-stages-unscaled", "inputs are not scaled where stages are timed",
             ADAMOE_FLOAT32, .gather = gather_unscaled_in_stages);

/* Wrong where times are asked for: other bits, as w2 is summed in two halves there. */
static float dot_in_halves_in_stages(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                     const operand *x)
{
    if (c->plan == NULL || c->run->stage_seconds == NULL || matrix->columns < 4) {
        return honest_dot(c, row, matrix, r, x);
    }
    const size_t half = matrix->columns / 2;
    float *value = matrix->value + r * matrix->columns;
    const packed_matrix left = {1, half, value, matrix->scale + r};
    const packed_matrix right = {1, matrix->columns - half, value + half, matrix->scale + r};
    const operand rest = {x->value + half, x->scale};
    return honest_dot(c, row, &left, 0, x) + honest_dot(c, row, &right, 0, &rest);
}
WRONG_KERNEL(stages_order, "wrong-stages-other-order", "sums have another order where stages are timed",
             ADAMOE_FLOAT32, .dot = dot_in_halves_in_stages);

/* A kernel adds to each stage: wrong where something was there before. */
static void run_setting_stages(kernel_call *c)
{
    honest_run(c);
    for (size_t i = 0; i < ADAMOE_STAGES && c->run->stage_seconds != NULL; ++i) {
        c->run->stage_seconds[i] = 1e-6;
    }
}
WRONG_KERNEL(stages_set, "wrong-stages-set", "the seconds of a stage are set instead of added",
             ADAMOE_FLOAT32, .run = run_setting_stages);

/* ---------------------------------------------------------------------------------- the caller's structures */

/* What prepare was given by address is its caller's, and gone when prepare has returned. Wrong where the caller has
 * used the memory for something else. */
typedef struct kept_structures {
    const adamoe_layer *layer;
    const adamoe_placement *placement;
} kept_structures;

#define KEEPING_PREPARE(symbol)                                                                              \
    KERNEL_PIECES(symbol, ADAMOE_FLOAT32, .run = run_##symbol, .own_bytes = sizeof(kept_structures));        \
    static adamoe_status symbol##_prepare(const adamoe_host *host, const adamoe_layer *layer,                \
                                          const adamoe_placement *placement, adamoe_prepared **out)          \
    {                                                                                                        \
        ADAMOE_TRY(prepare_pieces(&symbol##_pieces, host, layer, placement, out));                           \
        *(kept_structures *)(*out)->own = (kept_structures){layer, placement};                               \
        return adamoe_ok();                                                                                  \
    }

static void run_layer_kept(kernel_call *c)
{
    const kept_structures *kept = c->prepared->own;
    adamoe_prepared prepared = *c->prepared;
    kernel_call call = *c;
    prepared.intermediate_size = kept->layer->intermediate_size;
    prepared.hidden_size = kept->layer->hidden_size;
    call.prepared = &prepared;
    honest_run(&call);
}
KEEPING_PREPARE(layer_kept)
SERVED_KERNEL(layer_kept, "wrong-layer-kept", "sizes are read from the caller's layer in each call",
              HONEST_RELEASES);

static void run_placement_kept(kernel_call *c)
{
    const kept_structures *kept = c->prepared->own;
    kernel_call call = *c;
    const size_t each = c->prepared->hidden_size + c->prepared->intermediate_size;
    call.outputs = call.scratch + kept->placement->threads * each;
    honest_run(&call);
}
KEEPING_PREPARE(placement_kept)
SERVED_KERNEL(placement_kept, "wrong-placement-kept",
              "threads are counted in the caller's placement in each call", HONEST_RELEASES);

EXPORT_KERNELS(&release_null, &release_matrix_null, &allocation_unchecked, &allocation_lost, &failure_hidden,
               &stages_unscaled, &stages_order, &stages_set, &layer_kept, &placement_kept);
