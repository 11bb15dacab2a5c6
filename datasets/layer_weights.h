/*
 * The tensors of one expert layer under their names in a file: what a checkpoint and a layer file share.
 *
 * Names are those of reference/tensors.h. Fused and linear, all experts stand in two tensors of rank 3.
 */
#ifndef ADAMOE_LAYER_WEIGHTS_H
#define ADAMOE_LAYER_WEIGHTS_H

#include "safetensors/safetensors.h"
#include "tensors.h"

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

/* By the router's name: block_sparse_moe.router.layer is linear, mlp.gate is single where its first expert is there,
 * else fused, and all else is sparse. */
adamoe_tensor_naming adamoe_layer_naming(const adamoe_safetensors *file, const char *prefix);

/* The intermediate size of a layer of such names (not dense), from the shape of its first expert. */
adamoe_status adamoe_layer_intermediate_size(const adamoe_tensor_reader *reader, const char *prefix,
                                             adamoe_tensor_naming naming, size_t *out);

/* Sets gate, gate2 and null_experts of a layer whose hidden_size and experts are set. A file without gate2
 * has no null expert. For a dense layer both are without rows. */
adamoe_status adamoe_layer_read_router(adamoe_tensor_reader *reader, const char *prefix,
                                       adamoe_tensor_naming naming, adamoe_layer *layer);

/* Sets layer->expert to experts[layer->experts], filled with views of the file; sizes are checked. */
adamoe_status adamoe_layer_read_experts(adamoe_tensor_reader *reader, const char *prefix,
                                        adamoe_tensor_naming naming, adamoe_layer *layer,
                                        adamoe_expert *experts);

#endif
