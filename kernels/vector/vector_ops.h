/*
 * Functions on rows of floats that a model needs beside its products, one table for each instruction set:
 * normalisation, rotation, attention of one query, softmax, top-k. Written once, in vector_ops_lanes.h.
 *
 * Each result depends on the arguments of its own call alone and is computed in one order, so that it has the
 * same bits whatever else is computed, where the data stand in memory, and by which thread. Tables differ
 * from one another in the last bits. No function reads or writes beyond the sizes that it is given.
 */
#ifndef ADAMOE_VECTOR_VECTOR_OPS_H
#define ADAMOE_VECTOR_VECTOR_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* log of a sum of exponentials that is gathered piece by piece: largest + log(sum). Begin with
 * adamoe_log_sum_empty. */
typedef struct adamoe_log_sum {
    float largest; /* of the terms so far */
    double sum;    /* of exp(term - largest) */
} adamoe_log_sum;

extern const adamoe_log_sum adamoe_log_sum_empty;

/* What both functions for attention read: row `i` of a list is at `base + row[i] * stride`. */
typedef struct adamoe_listed_rows {
    const float *base;
    const size_t *row;
    size_t stride; /* floats from row to row */
} adamoe_listed_rows;

/* Keys that `attend` takes, at most. */
#define ADAMOE_ATTEND_MOST 64

typedef struct adamoe_vector_ops {
    const char *name; /* "avx512f", "avx2", "portable" */

    /* sum += x. */
    void (*add)(float *sum, const float *x, size_t count);

    float (*dot)(const float *a, const float *b, size_t count);

    /* out = x / sqrt(mean(x^2) + eps) * gain (reference/README.md section 8). */
    void (*rms_norm)(const float *x, const float *gain, double eps, size_t count, float *out);

    /* x += factor * update, by fused multiply-add; out = the rms_norm of that x, in the bits that it has alone. */
    void (*add_rms_norm)(float *x, const float *update, float factor, const float *gain, double eps,
                         size_t count, float *out);

    /* Half-split rotation of heads that stand one after the other, 2 * half floats each. `to` may be `from`. */
    void (*rotate)(const float *from, size_t heads, const float *cosine, const float *sine, size_t half,
                   float *to);

    /* score[i] = scale * (query . key row first + i) for i < count. */
    void (*scores)(const float *query, const adamoe_listed_rows *keys, size_t first, size_t count,
                   size_t head_dim, float scale, float *score);

    /* mixed += weight[i] * value row first + i, for i < count in ascending order. Two calls, one after the
     * other, give the bits of one call for both. */
    void (*mix)(const float *weight, const adamoe_listed_rows *values, size_t first, size_t count,
                size_t head_dim, float *mixed);

    /* mixed = sum over i < count of softmax(scale * (query . key row first + i)) * value row first + i, for count
     * from 1 to ADAMOE_ATTEND_MOST: scores, softmax and mix in one go, for few keys, though not in their bits. */
    void (*attend)(const float *query, const adamoe_listed_rows *keys, const adamoe_listed_rows *values,
                   size_t first, size_t count, size_t head_dim, float scale, float *mixed);

    /* out = softmax(x), count at least 1; out may be x. x is finite. The error of x - max(x) is carried
     * along, so that each value is within a few units of its last place where it is not subnormal. */
    void (*softmax)(const float *x, size_t count, float *out);

    /* Adds terms, at least 1. False where one is NaN or infinite; then the sum is of no use. */
    bool (*log_sum_add)(adamoe_log_sum *sum, const float *x, size_t count);

    bool (*all_finite)(const float *x, size_t count);

    /* The indices of the top_k <= count largest of x, in descending order; among equal ones the lower index
     * first (reference/README.md section 2.1). x has no NaN. */
    void (*top_k)(const float *x, size_t count, size_t top_k, uint32_t *index);
} adamoe_vector_ops;

/* The table for the widest vectors that this machine can run. */
const adamoe_vector_ops *adamoe_vector_ops_best(void);

/* All tables, the portable one first; NULL from the end of the list on. `runs_here` is told whether this
 * machine can run it. */
const adamoe_vector_ops *adamoe_vector_ops_at(size_t index, bool *runs_here);

#endif
