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

/* ------------------------------------------------------------------------------------------------- router */

static bool has_tensor(const adamoe_safetensors *file, const char *prefix, adamoe_tensor_naming naming,
                       adamoe_weight weight)
{
    const adamoe_tensor_name name = adamoe_name_in_layer(prefix, naming, weight, 0);
    return adamoe_safetensors_find(file, name.text) != NULL;
}

adamoe_tensor_naming adamoe_layer_naming(const adamoe_safetensors *file, const char *prefix)
{
    if (has_tensor(file, prefix, ADAMOE_NAMED_LINEAR, ADAMOE_WEIGHT_GATE)) {
        return ADAMOE_NAMED_LINEAR;
    }
    if (!has_tensor(file, prefix, ADAMOE_NAMED_FUSED, ADAMOE_WEIGHT_GATE)) {
        return ADAMOE_NAMED_SPARSE;
    }
    return has_tensor(file, prefix, ADAMOE_NAMED_SINGLE, ADAMOE_WEIGHT_W1) ? ADAMOE_NAMED_SINGLE
                                                                           : ADAMOE_NAMED_FUSED;
}

adamoe_status adamoe_layer_read_router(adamoe_tensor_reader *reader, const char *prefix,
                                       adamoe_tensor_naming naming, adamoe_layer *layer)
{
    const size_t columns = layer->hidden_size;
    layer->gate = (adamoe_matrix){.data = NULL, .dtype = ADAMOE_F32, .rows = 0, .columns = columns};
    layer->gate2 = layer->gate;
    layer->null_experts = 0;
    if (naming == ADAMOE_NAMED_DENSE) {
        return adamoe_ok();
    }
    const adamoe_tensor_name gate = adamoe_name_in_layer(prefix, naming, ADAMOE_WEIGHT_GATE, 0);
    const adamoe_tensor_name gate2 = adamoe_name_in_layer(prefix, naming, ADAMOE_WEIGHT_GATE2, 0);
    ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, gate.text, layer->experts, columns, &layer->gate));
    layer->gate2.dtype = layer->gate.dtype;
    const adamoe_tensor *found = adamoe_safetensors_find(reader->file, gate2.text);
    if (found == NULL) {
        return adamoe_ok();
    }
    if (found->rank != 2) {
        return adamoe_tensor_error(adamoe_safetensors_path(reader->file), gate2.text,
                                   "rank %zu where 2 is expected", found->rank);
    }
    layer->null_experts = found->shape[0];
    return adamoe_tensor_reader_matrix(reader, gate2.text, layer->null_experts, columns, &layer->gate2);
}

/* ------------------------------------------------------------------------------------------------ experts */

/* A tensor for each matrix of each expert. */
static adamoe_status read_single(adamoe_tensor_reader *reader, const char *prefix,
                                 adamoe_tensor_naming naming, const adamoe_layer *layer,
                                 adamoe_expert *experts)
{
    const adamoe_config sizes = {.hidden_size = layer->hidden_size,
                                 .intermediate_size = layer->intermediate_size,
                                 .experts = layer->experts};
    adamoe_weights weights = {.model = {.config = sizes}, .expert = experts};
    for (size_t i = 0; i < layer->experts * ADAMOE_WEIGHTS; ++i) {
        const adamoe_weight weight = (adamoe_weight)(i % ADAMOE_WEIGHTS);
        if (adamoe_weight_scope(weight) == ADAMOE_TENSOR_OF_EXPERT) {
            const size_t expert = i / ADAMOE_WEIGHTS;
            const adamoe_model_tensor tensor = adamoe_tensor_of(&sizes, weight, 0, expert);
            const adamoe_tensor_name name = adamoe_name_in_layer(prefix, naming, weight, expert);
            ADAMOE_TRY(adamoe_tensor_reader_matrix(reader, name.text, tensor.rows, tensor.columns,
                                                   adamoe_weights_at(&weights, &tensor)));
        }
    }
    return adamoe_ok();
}

/* All experts in two tensors: w1 above w3, and w2. */
static bool is_stacked(adamoe_tensor_naming naming)
{
    return naming == ADAMOE_NAMED_FUSED || naming == ADAMOE_NAMED_LINEAR;
}

typedef enum stack_kind { STACK_UP, STACK_DOWN } stack_kind;

static adamoe_tensor_name stack_name(const char *prefix, adamoe_tensor_naming naming, stack_kind which)
{
    static const char *const fused[] = {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"};
    static const char *const linear[] = {"block_sparse_moe.input_linear.weight",
                                         "block_sparse_moe.output_linear.weight"};
    adamoe_tensor_name out;
    (void)snprintf(out.text, sizeof out.text, "%s%s", prefix,
                   naming == ADAMOE_NAMED_LINEAR ? linear[which] : fused[which]);
    return out;
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

static adamoe_status read_stacks(adamoe_tensor_reader *reader, const char *prefix,
                                 adamoe_tensor_naming naming, const adamoe_layer *layer,
                                 adamoe_expert *experts)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    const adamoe_tensor *gate_up, *down;
    size_t gate_up_rows;
    const adamoe_tensor_name gate_up_name = stack_name(prefix, naming, STACK_UP);
    const adamoe_tensor_name down_name = stack_name(prefix, naming, STACK_DOWN);
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

adamoe_status adamoe_layer_read_experts(adamoe_tensor_reader *reader, const char *prefix,
                                        adamoe_tensor_naming naming, adamoe_layer *layer,
                                        adamoe_expert *experts)
{
    layer->expert = experts;
    return is_stacked(naming) ? read_stacks(reader, prefix, naming, layer, experts)
                              : read_single(reader, prefix, naming, layer, experts);
}

adamoe_status adamoe_layer_intermediate_size(const adamoe_tensor_reader *reader, const char *prefix,
                                             adamoe_tensor_naming naming, size_t *out)
{
    const bool fused = is_stacked(naming);
    const adamoe_tensor_name name = fused ? stack_name(prefix, naming, STACK_DOWN)
                                          : adamoe_name_in_layer(prefix, naming, ADAMOE_WEIGHT_W1, 0);
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
