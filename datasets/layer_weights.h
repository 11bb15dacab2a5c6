/*
 * The tensors of one expert layer under their names in a file: what a checkpoint and a layer file share.
 *
 * Three styles of names: block_sparse_moe (a tensor for each matrix of each expert), fused (all experts in
 * two tensors of rank 3), dense (one feed-forward layer, no router).
 */
#ifndef ADAMOE_LAYER_WEIGHTS_H
#define ADAMOE_LAYER_WEIGHTS_H

#include "safetensors/safetensors.h"

/* Takes tensors out of a file and remembers which. */
typedef struct adamoe_tensor_reader {
    const adamoe_safetensors *file;
    bool *taken; /* [adamoe_safetensors_count(file)] */
} adamoe_tensor_reader;

adamoe_status adamoe_tensor_reader_create(const adamoe_safetensors *file, adamoe_tensor_reader *out);
void adamoe_tensor_reader_free(adamoe_tensor_reader *reader);

/* adamoe_safetensors_find, but an error where there is none. */
adamoe_status adamoe_tensor_reader_find(const adamoe_tensor_reader *reader, const char *name,
                                        const adamoe_tensor **out);

/* adamoe_safetensors_matrix, and the tensor counts as taken. */
adamoe_status adamoe_tensor_reader_matrix(adamoe_tensor_reader *reader, const char *name, size_t rows,
                                          size_t columns, adamoe_matrix *out);

typedef enum adamoe_layer_style {
    ADAMOE_LAYER_SPARSE, /* block_sparse_moe.gate.weight, block_sparse_moe.experts.{j}.w1.weight */
    ADAMOE_LAYER_FUSED,  /* mlp.gate.weight, mlp.experts.gate_up_proj */
    ADAMOE_LAYER_DENSE,  /* mlp.gate_proj.weight */
} adamoe_layer_style;

/* A place for a tensor's name. Prefixes come from this project and are short. */
typedef struct adamoe_tensor_name {
    char text[160];
} adamoe_tensor_name;

/* The names of the router's rows for true and for null experts; `prefix` is "model.layers.3." or "". */
adamoe_tensor_name adamoe_gate_name(const char *prefix, adamoe_layer_style style);
adamoe_tensor_name adamoe_gate2_name(const char *prefix, adamoe_layer_style style);

/* Fused where there is a tensor PREFIXmlp.gate.weight, else sparse. */
adamoe_layer_style adamoe_layer_style_of(const adamoe_safetensors *file, const char *prefix);

/* The intermediate size of a layer of `style` (not dense), from the shape of its first expert. */
adamoe_status adamoe_layer_intermediate_size(const adamoe_tensor_reader *reader, const char *prefix,
                                             adamoe_layer_style style, size_t *out);

/* Sets gate, gate2 and null_experts of a layer whose hidden_size and experts are set. A file without gate2
 * has no null expert. For a dense layer both are without rows. */
adamoe_status adamoe_layer_read_router(adamoe_tensor_reader *reader, const char *prefix,
                                       adamoe_layer_style style, adamoe_layer *layer);

/* Sets layer->expert to experts[layer->experts], filled with views of the file; sizes are checked. */
adamoe_status adamoe_layer_read_experts(adamoe_tensor_reader *reader, const char *prefix,
                                        adamoe_layer_style style, adamoe_layer *layer,
                                        adamoe_expert *experts);

#endif
