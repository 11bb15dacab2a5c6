/*
 * The model's weights in a kernel's own layout: all layers at once, or one after the other.
 */
#include "model/forward_parts.h"
#include "machine/host.h"
#include "numbers.h"
#include "router.h"
#include "tensors.h"

#include <stdlib.h>
#include <string.h>

/* The router's inputs are not among the operands that a kernel may round (a near tie would fall otherwise): a
 * kernel that rounds leaves its product to forward_router. */
static bool multiplies_router(const adamoe_forward *forward)
{
    const adamoe_kernel *kernel = forward->kernel;
    return !forward->model->config.architecture.dense && kernel->x == ADAMOE_FLOAT32 &&
           kernel->weight == ADAMOE_FLOAT32;
}

/* Copies a matrix in `dtype`, its own or float32: both are exact. */
static void copy_matrix(const adamoe_matrix *matrix, adamoe_dtype dtype, unsigned char *to)
{
    const size_t elements = matrix->rows * matrix->columns;
    if (matrix->dtype == dtype) {
        memcpy(to, matrix->data, elements * adamoe_dtype_bytes(dtype));
        return;
    }
    for (size_t i = 0; i < elements; ++i) {
        const float value = adamoe_element(matrix->data, matrix->dtype, i);
        memcpy(to + i * sizeof value, &value, sizeof value);
    }
}

/* q, k and v as one matrix, in memory of the block. */
static adamoe_status join_qkv(const adamoe_attention *attention, forward_block *block, adamoe_matrix *out)
{
    const adamoe_matrix *const part[] = {&attention->q, &attention->k, &attention->v};
    const bool same = part[0]->dtype == part[1]->dtype && part[0]->dtype == part[2]->dtype;
    adamoe_matrix joined = {.dtype = same ? part[0]->dtype : ADAMOE_F32,
                            .rows = part[0]->rows + part[1]->rows + part[2]->rows,
                            .columns = part[0]->columns};
    const size_t row_bytes = joined.columns * adamoe_dtype_bytes(joined.dtype);
    unsigned char *to = block->qkv_rows = malloc(joined.rows * row_bytes + 1);
    if (to == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "q, k and v: out of memory for %zu rows", joined.rows);
    }
    for (size_t i = 0; i < 3; ++i) {
        copy_matrix(part[i], joined.dtype, to);
        to += part[i]->rows * row_bytes;
    }
    joined.data = block->qkv_rows;
    *out = joined;
    return adamoe_ok();
}

/* As many times as there are threads that use them at the same time. */
static adamoe_status prepare_dense(const adamoe_forward *forward, size_t layer, forward_block *block)
{
    const adamoe_kernel *kernel = forward->kernel;
    const adamoe_host *host = &forward->host;
    const adamoe_placement *place = &forward->placement;
    const adamoe_block *weights = &forward->model->block[layer];
    adamoe_matrix qkv, router = {.rows = 0};
    ADAMOE_TRY(join_qkv(&weights->attention, block, &qkv));
    if (!forward->model->config.architecture.dense) {
        ADAMOE_TRY(adamoe_router_matrix(&weights->moe, &block->router_rows, &router));
    }
    block->dense = calloc(forward->copies, sizeof *block->dense);
    if (block->dense == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "attention: out of memory");
    }
    for (uint32_t i = 0; i < forward->copies; ++i) {
        forward_dense *dense = &block->dense[i];
        ADAMOE_TRY(kernel->prepare_matrix(host, &qkv, place, &dense->qkv));
        ADAMOE_TRY(kernel->prepare_matrix(host, &weights->attention.o, place, &dense->o));
        if (multiplies_router(forward)) {
            ADAMOE_TRY(kernel->prepare_matrix(host, &router, place, &dense->router));
        }
    }
    return adamoe_ok();
}

/* Gains, biases, and the row of a shared expert's gate. */
static bool is_read_by_rows(const adamoe_model_tensor *tensor)
{
    return tensor->scope == ADAMOE_TENSOR_OF_LAYER &&
           (tensor->rank == 1 || tensor->weight == ADAMOE_WEIGHT_SHARED_GATE);
}

/* The vectors of a layer that its model has, whichever they are. */
static adamoe_status prepare_gains(const adamoe_forward *forward, size_t layer, forward_block *block)
{
    const adamoe_model *model = forward->model;
    adamoe_weights gains = {.model = {.config = model->config}, .block = &block->gains};
    adamoe_model_tensor gain[ADAMOE_WEIGHTS];
    size_t count = 0, floats = 0;
    for (size_t i = 0; i < ADAMOE_WEIGHTS; ++i) {
        const adamoe_model_tensor tensor = adamoe_tensor_of(&model->config, (adamoe_weight)i, 0, 0);
        if (is_read_by_rows(&tensor) && adamoe_has_weight(&model->config, tensor.weight)) {
            gain[count++] = tensor;
            floats += tensor.columns;
        }
    }
    float *to = block->gain_values = malloc((floats + 1) * sizeof *to);
    if (to == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "gains: out of memory for %zu floats", floats);
    }
    block->gains = model->block[layer];
    for (size_t i = 0; i < count; ++i) {
        adamoe_matrix *view = adamoe_weights_at(&gains, &gain[i]);
        copy_matrix(view, ADAMOE_F32, (unsigned char *)to);
        *view = (adamoe_matrix){to, ADAMOE_F32, 1, gain[i].columns};
        to += gain[i].columns;
    }
    return adamoe_ok();
}

static adamoe_status prepare_parts(const adamoe_forward *forward, size_t layer, forward_block *block)
{
    const adamoe_kernel *kernel = forward->kernel;
    const adamoe_placement *place = &forward->placement;
    const adamoe_block *weights = &forward->model->block[layer];
    ADAMOE_TRY(prepare_gains(forward, layer, block));
    ADAMOE_TRY(prepare_dense(forward, layer, block));
    ADAMOE_TRY(forward_shared_prepare(forward, layer, block));
    return kernel->prepare(&forward->host, &weights->moe, place, &block->experts);
}

adamoe_status forward_block_prepare(const adamoe_forward *forward, size_t layer, forward_block *block)
{
    *block = (forward_block){0};
    const adamoe_status status = prepare_parts(forward, layer, block);
    if (status.code != ADAMOE_OK) {
        forward_block_release(forward, block);
        return adamoe_error(status.code, "layer %zu: %.400s", layer, status.message);
    }
    return status;
}

static void release_matrix(const adamoe_kernel *kernel, adamoe_prepared_matrix *matrix)
{
    if (matrix != NULL) {
        kernel->release_matrix(matrix);
    }
}

void forward_block_release(const adamoe_forward *forward, forward_block *block)
{
    const adamoe_kernel *kernel = forward->kernel;
    for (uint32_t i = 0; i < forward->copies && block->dense != NULL; ++i) {
        release_matrix(kernel, block->dense[i].qkv);
        release_matrix(kernel, block->dense[i].o);
        release_matrix(kernel, block->dense[i].router);
    }
    if (block->experts != NULL) {
        kernel->release(block->experts);
    }
    if (block->shared != NULL) {
        kernel->release(block->shared);
    }
    free(block->dense);
    free(block->gain_values);
    free(block->router_rows);
    free(block->qkv_rows);
    *block = (forward_block){0};
}

/* What the prepared weights of the whole model take, as the kernel's arithmetic suggests. */
static double prepared_bytes(const adamoe_kernel *kernel, const adamoe_config *c)
{
    const double d = (double)c->hidden_size;
    const double attention =
        d * (double)((3 * c->heads + 4 * c->key_value_heads) * c->head_dim); /* qkv twice */
    const double experts = 3.0 * d *
                           ((double)c->intermediate_size * (double)c->experts +
                            (double)(c->architecture.shared_expert ? c->shared_intermediate_size : 0));
    const double elements = (double)c->layers * (attention + experts) + d * (double)c->vocab_size;
    return elements * (double)adamoe_arithmetic_bytes(kernel->weight);
}

static adamoe_status prepare_all(adamoe_forward *forward)
{
    const size_t layers = forward->model->config.layers;
    forward->block = calloc(forward->resident ? layers : 1, sizeof *forward->block);
    forward->head =
        calloc(forward_head_blocks(&forward->model->config) + 1, sizeof(adamoe_prepared_matrix *));
    if (forward->block == NULL || forward->head == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory");
    }
    if (!forward->resident) {
        return adamoe_ok();
    }
    for (size_t layer = 0; layer < layers; ++layer) {
        ADAMOE_TRY(forward_block_prepare(forward, layer, &forward->block[layer]));
    }
    for (size_t block = 0; block < forward_head_blocks(&forward->model->config); ++block) {
        ADAMOE_TRY(forward_head_prepare(forward, block, &forward->head[block]));
    }
    return adamoe_ok();
}

adamoe_status adamoe_forward_create(const adamoe_kernel *kernel, const adamoe_model *model,
                                    const adamoe_team *team, const adamoe_placement *placement,
                                    const adamoe_host *host, size_t memory, adamoe_forward **out)
{
    const char *why_not = NULL;
    if (!kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "kernel %s: %s", kernel->name, why_not);
    }
    if (kernel->multiply == NULL) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "kernel %s: it has no dense product", kernel->name);
    }
    adamoe_forward *forward = calloc(1, sizeof *forward);
    if (forward == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory");
    }
    *forward = (adamoe_forward){
        .kernel = kernel, .model = model, .team = team, .placement = *placement, .host = *host};
    forward->ops = adamoe_vector_ops_best();
    forward->resident = prepared_bytes(kernel, &model->config) <= (double)memory;
    forward->copies = forward_copies(forward);
    const adamoe_status status = prepare_all(forward);
    if (status.code != ADAMOE_OK) {
        adamoe_forward_free(forward);
        return status;
    }
    *out = forward;
    return adamoe_ok();
}

const char *adamoe_forward_implementation(const adamoe_forward *forward)
{
    return forward->implementation;
}

bool adamoe_forward_is_resident(const adamoe_forward *forward)
{
    return forward->resident;
}

void adamoe_forward_free(adamoe_forward *forward)
{
    if (forward == NULL) {
        return;
    }
    const size_t blocks = forward->resident ? forward->model->config.layers : 1;
    for (size_t i = 0; i < blocks && forward->block != NULL; ++i) {
        forward_block_release(forward, &forward->block[i]);
    }
    forward_head_release(forward);
    free(forward->head);
    forward_state_free(forward->state);
    free(forward->block);
    free(forward);
}
