/*
 * The experts of a layer and the dense product on packed weights.
 */
#ifndef ADAMOE_PACKED_EXPERTS_H
#define ADAMOE_PACKED_EXPERTS_H

#include "packed/rows.h"

/* The functions of adamoe_kernel, for the products of any instruction set. */
adamoe_status adamoe_packed_prepare(const packed_products *products, const adamoe_host *host,
                                    const adamoe_layer *layer, const adamoe_placement *placement,
                                    adamoe_prepared **out);
void adamoe_packed_release(adamoe_prepared *prepared);
size_t adamoe_packed_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens);
adamoe_status adamoe_packed_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                    const adamoe_plan *plan, float *y);
adamoe_status adamoe_packed_combine(const packed_products *products, const adamoe_run *run,
                                    size_t hidden_size, const float *x, const float *outputs,
                                    const adamoe_plan *plan, float *y);

adamoe_status adamoe_packed_prepare_matrix(const packed_products *products, const adamoe_host *host,
                                           const adamoe_matrix *matrix, const adamoe_placement *placement,
                                           adamoe_prepared_matrix **out);
void adamoe_packed_release_matrix(adamoe_prepared_matrix *prepared);
size_t adamoe_packed_matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count);
adamoe_status adamoe_packed_multiply_matrix(adamoe_prepared_matrix *prepared, const adamoe_run *run,
                                            const float *x, size_t count, float *y);

#endif
