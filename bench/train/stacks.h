/*
 * Experts that a family's files hold in two stacks a layer, where training has them one after the other.
 */
#ifndef ADAMOE_TRAIN_STACKS_H
#define ADAMOE_TRAIN_STACKS_H

#include "safetensors/safetensors.h"
#include "train/parameters.h"

/* True where files of such a model have stacks (reference/README.md section 8.2, Granite-MoE). */
bool adamoe_train_has_stacks(const adamoe_config *config);

/* The bytes of all tensors of `parameters`, whose elements of `dtype` stand in `data` one after the other, with those of
 * each layer's experts in the order of its stacks. To be freed; NULL where there is no memory. */
void *adamoe_train_stack(const adamoe_parameters *parameters, adamoe_dtype dtype, const void *data);

/* The two stacks of the layer whose experts begin at parameter `first`, as views of such bytes. The text of their names
 * is written to name[2]. */
void adamoe_train_list_stacks(const adamoe_parameters *parameters, size_t first, adamoe_dtype dtype,
                              const void *data, adamoe_tensor_name name[2], adamoe_tensor tensor[2]);

#endif
