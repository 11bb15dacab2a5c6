/*
 * The tensors of one expert layer under their names in a file. Every view is checked against the sizes that
 * the layer declares; nothing is copied.
 */
#include "layer_weights.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- reader */

adamoe_status adamoe_tensor_reader_create(const adamoe_safetensors *file, adamoe_tensor_reader *out)
{
    bool *taken = calloc(adamoe_safetensors_count(file) + 1, sizeof *taken);
    if (taken == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: open: out of memory", adamoe_safetensors_path(file));
    }
    *out = (adamoe_tensor_reader){file, taken};
    return adamoe_ok();
}

void adamoe_tensor_reader_free(adamoe_tensor_reader *reader)
{
    free(reader->taken);
    reader->taken = NULL;
}

static void take(adamoe_tensor_reader *reader, const adamoe_tensor *tensor)
{
    reader->taken[tensor - adamoe_safetensors_at(reader->file, 0)] = true;
}

adamoe_status adamoe_tensor_reader_find(const adamoe_tensor_reader *reader, const char *name,
                                        const adamoe_tensor **out)
{
    *out = adamoe_safetensors_find(reader->file, name);
    return *out != NULL ? adamoe_ok()
                        : adamoe_tensor_error(adamoe_safetensors_path(reader->file), name, "missing");
}

adamoe_status adamoe_tensor_reader_matrix(adamoe_tensor_reader *reader, const char *name, size_t rows,
                                          size_t columns, adamoe_matrix *out)
{
    ADAMOE_TRY(adamoe_safetensors_matrix(reader->file, name, rows, columns, out));
    take(reader, adamoe_safetensors_find(reader->file, name));
    return adamoe_ok();
}

/* -------------------------------------------------------------------------------------------------- names */

static adamoe_tensor_name join(const char *prefix, const char *name)
{
    adamoe_tensor_name out;
    (void)snprintf(out.text, sizeof out.text, "%s%s", prefix, name);
    return out;
}

static adamoe_tensor_name expert_name(const char *prefix, size_t expert, const char *matrix)
{
    adamoe_tensor_name out;
    (void)snprintf(out.text, sizeof out.text, "%sblock_sparse_moe.experts.%zu.%s.weight", prefix, expert,
                   matrix);
    return out;
}

adamoe_tensor_name adamoe_gate_name(const char *prefix, adamoe_layer_style style)
{
    return join(prefix, style == ADAMOE_LAYER_FUSED ? "mlp.gate.weight" : "block_sparse_moe.gate.weight");
}

adamoe_tensor_name adamoe_gate2_name(const char *prefix, adamoe_layer_style style)
{
    return join(prefix, style == ADAMOE_LAYER_FUSED ? "mlp.gate2.weight" : "block_sparse_moe.gate2.weight");
}

adamoe_layer_style adamoe_layer_style_of(const adamoe_safetensors *file, const char *prefix)
{
    const adamoe_tensor_name fused = adamoe_gate_name(prefix, ADAMOE_LAYER_FUSED);
    return adamoe_safetensors_find(file, fused.text) != NULL ? ADAMOE_LAYER_FUSED : ADAMOE_LAYER_SPARSE;
}

/* ------------------------------------------------------------------------------------------------- router */

adamoe_status adamoe_layer_read_router(adamoe_tensor_reader *reader, const char *prefix,
                                       adamoe_layer_style style, adamoe_layer *layer)
{
    const size_t columns = layer->hidden_size;
    layer->gate = (adamoe_matrix){.data = NULL, .dtype = ADAMOE_F32, .rows = 0, .columns = columns};
    if (style != ADAMOE_LAYER_DENSE) {
        const adamoe_tensor_name name = adamoe_gate_name(prefix, style);
        ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, name.text, layer->experts, columns, &layer->gate));
    }
    layer->null_experts = 0;
    layer->gate2 = (adamoe_matrix){.data = NULL, .dtype = layer->gate.dtype, .rows = 0, .columns = columns};
    const adamoe_tensor_name name = adamoe_gate2_name(prefix, style);
    const adamoe_tensor *gate2 = adamoe_safetensors_find(reader->file, name.text);
    if (style == ADAMOE_LAYER_DENSE || gate2 == NULL) {
        return adamoe_ok();
    }
    if (gate2->rank != 2) {
        return adamoe_tensor_error(adamoe_safetensors_path(reader->file), name.text,
                                   "rank %zu where 2 is expected", gate2->rank);
    }
    layer->null_experts = gate2->shape[0];
    return adamoe_tensor_reader_matrix(reader, name.text, layer->null_experts, columns, &layer->gate2);
}

/* ------------------------------------------------------------------------------------------------ experts */

static adamoe_status read_sparse(adamoe_tensor_reader *reader, const char *prefix, const adamoe_layer *layer,
                                 adamoe_expert *experts)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    for (size_t j = 0; j < layer->experts; ++j) {
        const adamoe_tensor_name w1 = expert_name(prefix, j, "w1");
        const adamoe_tensor_name w2 = expert_name(prefix, j, "w2");
        const adamoe_tensor_name w3 = expert_name(prefix, j, "w3");
        ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, w1.text, ff, d, &experts[j].w1));
        ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, w2.text, d, ff, &experts[j].w2));
        ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, w3.text, ff, d, &experts[j].w3));
    }
    return adamoe_ok();
}

/* A tensor of rank 3, [experts, rows, columns]. */
static adamoe_status take_stack(adamoe_tensor_reader *reader, const char *name, size_t experts, size_t rows,
                                size_t columns, const adamoe_tensor **out)
{
    ADAMOE_TRY(adamoe_tensor_reader_find(reader, name, out));
    const adamoe_tensor *tensor = *out;
    const char *path = adamoe_safetensors_path(reader->file);
    if (tensor->rank != 3) {
        return adamoe_tensor_error(path, name, "rank %zu where 3 is expected", tensor->rank);
    }
    if (tensor->shape[0] != experts || tensor->shape[1] != rows || tensor->shape[2] != columns) {
        return adamoe_tensor_error(path, name, "shape [%zu, %zu, %zu] where [%zu, %zu, %zu] is expected",
                                   tensor->shape[0], tensor->shape[1], tensor->shape[2], experts, rows,
                                   columns);
    }
    if (tensor->dtype == ADAMOE_I64) {
        return adamoe_tensor_error(path, name, "dtype I64 where a floating-point one is expected");
    }
    take(reader, tensor);
    return adamoe_ok();
}

/* The rows first .. first+rows-1 of a stack, all its experts counted through. */
static adamoe_matrix stack_rows(const adamoe_tensor *stack, size_t first, size_t rows)
{
    const size_t columns = stack->shape[2];
    const size_t offset = first * columns * adamoe_dtype_bytes(stack->dtype);
    return (adamoe_matrix){(const uint8_t *)stack->data + offset, stack->dtype, rows, columns};
}

static adamoe_status read_fused(adamoe_tensor_reader *reader, const char *prefix, const adamoe_layer *layer,
                                adamoe_expert *experts)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    const adamoe_tensor *gate_up, *down;
    size_t gate_up_rows;
    const adamoe_tensor_name gate_up_name = join(prefix, "mlp.experts.gate_up_proj");
    const adamoe_tensor_name down_name = join(prefix, "mlp.experts.down_proj");
    if (__builtin_mul_overflow(ff, (size_t)2, &gate_up_rows)) {
        return adamoe_tensor_error(adamoe_safetensors_path(reader->file), gate_up_name.text,
                                   "an intermediate size of %zu overflows", ff);
    }
    ADAMOE_TRY(take_stack(reader, gate_up_name.text, layer->experts, gate_up_rows, d, &gate_up));
    ADAMOE_TRY(take_stack(reader, down_name.text, layer->experts, d, ff, &down));
    for (size_t j = 0; j < layer->experts; ++j) {
        experts[j].w1 = stack_rows(gate_up, j * gate_up_rows, ff);
        experts[j].w3 = stack_rows(gate_up, j * gate_up_rows + ff, ff);
        experts[j].w2 = stack_rows(down, j * d, d);
    }
    return adamoe_ok();
}

static adamoe_status read_dense(adamoe_tensor_reader *reader, const char *prefix, const adamoe_layer *layer,
                                adamoe_expert *expert)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    const adamoe_tensor_name gate = join(prefix, "mlp.gate_proj.weight");
    const adamoe_tensor_name up = join(prefix, "mlp.up_proj.weight");
    const adamoe_tensor_name down = join(prefix, "mlp.down_proj.weight");
    ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, gate.text, ff, d, &expert->w1));
    ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, up.text, ff, d, &expert->w3));
    return adamoe_tensor_reader_matrix(reader, down.text, d, ff, &expert->w2);
}

adamoe_status adamoe_layer_read_experts(adamoe_tensor_reader *reader, const char *prefix,
                                        adamoe_layer_style style, adamoe_layer *layer, adamoe_expert *experts)
{
    layer->expert = experts;
    switch (style) {
    case ADAMOE_LAYER_SPARSE:
        return read_sparse(reader, prefix, layer, experts);
    case ADAMOE_LAYER_FUSED:
        return read_fused(reader, prefix, layer, experts);
    case ADAMOE_LAYER_DENSE:
        break;
    }
    return read_dense(reader, prefix, layer, experts);
}

adamoe_status adamoe_layer_intermediate_size(const adamoe_tensor_reader *reader, const char *prefix,
                                             adamoe_layer_style style, size_t *out)
{
    const bool fused = style == ADAMOE_LAYER_FUSED;
    const adamoe_tensor_name name =
        fused ? join(prefix, "mlp.experts.down_proj") : expert_name(prefix, 0, "w1");
    const size_t rank = fused ? 3 : 2;
    const adamoe_tensor *tensor;
    ADAMOE_TRY(adamoe_tensor_reader_find(reader, name.text, &tensor));
    if (tensor->rank != rank) {
        return adamoe_tensor_error(adamoe_safetensors_path(reader->file), name.text,
                                   "rank %zu where %zu is expected", tensor->rank, rank);
    }
    *out = fused ? tensor->shape[2] : tensor->shape[0];
    return adamoe_ok();
}
