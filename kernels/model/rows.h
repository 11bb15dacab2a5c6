/*
 * What a transformer block computes row by row beside its products (reference/README.md section 8), for the
 * batched forward pass, for training and for LoRA: embedding, RMSNorm, rotary embedding. A row is a token.
 *
 * Each row is computed by one thread in one order, so that its bits depend neither on the other rows nor on
 * the threads. Left out: the way back through a norm (train/norm_backward.h); through a rotation it is the
 * rotation by the opposite angle.
 */
#ifndef ADAMOE_MODEL_ROWS_H
#define ADAMOE_MODEL_ROWS_H

#include "adamoe.h"
#include "model.h"
#include "vector/vector_ops.h"

/* Runs compute(context, row, thread) once for each row below `rows`, in runs of neighbouring rows. */
typedef void adamoe_row_function(const void *context, size_t row, uint32_t thread);
void adamoe_each_row(const adamoe_team *team, size_t rows, adamoe_row_function *compute, const void *context);

/* to [columns] = one row of a matrix in float32, which is exact. */
void adamoe_widen_row(const adamoe_matrix *matrix, size_t row, float *to);

/* to [rows, hidden_size] = the rows token[0] .. token[rows - 1] of the embedding [vocab_size, hidden_size]. */
void adamoe_embed_rows(const adamoe_team *team, const adamoe_matrix *embedding, const uint32_t *token,
                       size_t rows, float *to);

/* ---------------------------------------------------------------------------------------------------- norms */

typedef struct adamoe_row_norm {
    const adamoe_vector_ops *ops;
    size_t hidden_size;
    double eps;
    const float *gain;   /* [hidden_size] */
    float update_factor; /* what an update is multiplied by before it is added; 0 means 1 */
} adamoe_row_norm;

/* One row: x += update_factor * update, unless that is NULL; normed = RMSNorm(x). */
void adamoe_add_and_norm_row(const adamoe_row_norm *norm, float *x, const float *update, float *normed);

/* The same for all of x, update and normed [rows, hidden_size]. */
void adamoe_add_and_norm_rows(const adamoe_team *team, const adamoe_row_norm *norm, float *x,
                              const float *update, size_t rows, float *normed);

/* normed[i] = RMSNorm(x[list[i]]), or of x[i] where the list is NULL, for i < rows. */
void adamoe_norm_rows(const adamoe_team *team, const adamoe_row_norm *norm, const float *x,
                      const uint32_t *list, size_t rows, float *normed);

/* x [rows, columns] = factor * x. */
void adamoe_multiply_rows(const adamoe_team *team, float factor, size_t rows, size_t columns, float *x);

/* --------------------------------------------------------------------------------------------------- rotary */

/* cosine, sine and, unless it is NULL, minus_sine [positions, head_dim / 2] of the angle position *
 * adamoe_rotary_frequency(i), computed in double and rounded once. */
void adamoe_rotary_angles(const adamoe_config *config, size_t positions, float *cosine, float *sine,
                          float *minus_sine);

/* How rows of heads are rotated: head_dim floats each, half-split. */
typedef struct adamoe_rotary {
    const adamoe_vector_ops *ops;
    size_t heads, key_value_heads, head_dim;
    const float *cosine, *sine; /* as adamoe_rotary_angles gives them; with minus_sine it turns back */
    const size_t *position;     /* [rows] */
} adamoe_rotary;

/* Rotates, in place, query [rows, heads, head_dim] and key [rows, key_value_heads, head_dim]. */
void adamoe_rotate_rows(const adamoe_team *team, const adamoe_rotary *rotary, size_t rows, float *query,
                        float *key);

/* The same of a joined product [rows, heads + 2 key_value_heads, head_dim], whose rows are a query, a key and a
 * value one after the other: copies them to `query`, `key` and `value`, and rotates the first two. */
void adamoe_split_and_rotate_rows(const adamoe_team *team, const adamoe_rotary *rotary, size_t rows,
                                  const float *joined, float *query, float *key, float *value);

#endif
