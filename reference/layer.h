/*
 * The expert layer: one expert, and the sum of those that a token selected.
 */
#ifndef ADAMOE_LAYER_H
#define ADAMOE_LAYER_H

#include "adamoe.h"

/* How operands are rounded before they are multiplied (reference/README.md section 4); sums are in double. */
typedef struct adamoe_operands {
    adamoe_arithmetic x, h, weight;
} adamoe_operands;

/* Nothing is rounded beyond float32. */
extern const adamoe_operands adamoe_float32_operands;

/* silu(z) = z / (1 + exp(-z)). */
double adamoe_silu(double z);

/* y[r] = sum over c of matrix[r, c] * x[c], in ascending order of c, with the rows of the matrix rounded as
 * `weight` says. x is [columns] and already rounded; y is [rows]; row_buffer is [columns]. */
void adamoe_matrix_vector(const adamoe_matrix *matrix, adamoe_arithmetic weight, const double *x, double *y,
                          double *row_buffer);

/* The same from floats to floats with the matrix as stored, through a buffer of 2 *
 * columns + rows doubles. */
void adamoe_matrix_vector_float(const adamoe_matrix *matrix, const float *x, float *y, double *buffer);

/* Doubles of workspace that adamoe_expert_forward and adamoe_layer_forward need. */
size_t adamoe_expert_work(size_t hidden_size, size_t intermediate_size);
size_t adamoe_layer_work(const adamoe_layer *layer);

/* E(x) = w2 · (silu(w1 · x) * (w3 · x)). x is [hidden_size] and is rounded in place as operands.x says; y is
 * [hidden_size]; work is [adamoe_expert_work]. */
void adamoe_expert_forward(const adamoe_expert *expert, adamoe_operands operands, double *x, double *y,
                           double *work);

/* y[t] = sum over selected true experts j, ascending, of w_j * E_j(x_t), plus the identity experts' share
 * (reference/README.md section 2). x is [plan->inputs, hidden_size], y [plan->tokens, hidden_size]; a token
 * without a row and without identity experts gets 0. work is [adamoe_layer_work]. */
void adamoe_layer_forward(const adamoe_layer *layer, adamoe_operands operands, const float *x,
                          const adamoe_plan *plan, float *y, double *work);

#endif
