/*
 * The data of the tier `exact`: small integers on which no rounding that a kernel declares can be ambiguous.
 * check/tiers/exact.c says why the results are exact; this is how the operands are made so.
 *
 * silu is the identity or 0: a gate's pre-activation is 0 or at least 64. Weights of the combine are -1, 0,
 * 1 and 2; those of one token are as small as 2^-140, so that its output is denormal. bfloat16 holds integers
 * of 8 significant bits: h = a b with a a power of two and |b| small. int8 divides by max(abs) / 127, so the
 * largest value of each row must be 127 times its step: a power of two, or 3 in one row of a product. Three
 * channels of x arrange that: `zero`, where x is 0 and every row of w1 and w3 holds its 127; `full`, where x
 * is 127 and every weight is 0; `one`, where x is 1. And two channels of h: `zero`, where h is 0 and every
 * row of w2 holds its 127; and `full`, where h is 127 times the step and every weight is 0.
 *
 * What int8 can get wrong is among them: values halfway between two steps, rows of zeros, in x, in h and in
 * the weights, and, in a dense product, a row of x whose scale is so small that quotients pass 127.
 */
#ifndef ADAMOE_CHECK_TIERS_EXACT_DATA_H
#define ADAMOE_CHECK_TIERS_EXACT_DATA_H

#include "check/tiers/judge.h"
#include "layers/random_layer.h"

/* Channels that arrange the scales of int8, or ADAMOE_NOWHERE. */
typedef struct adamoe_anchors {
    size_t zero, full;
} adamoe_anchors;

typedef struct adamoe_exact_data {
    adamoe_random_layer layer; /* of a dense product: one expert, whose w1 is the matrix */
    adamoe_plan *made;         /* what the arrays below do not replace */
    adamoe_plan plan;
    float *x; /* [plan.inputs, hidden_size], or [tokens, columns] */
    float *combine, *dispatch, *self_scale;
    uint32_t *input, *token_offset, *token_row;
    adamoe_anchors x_anchors, h_anchors;
    size_t one;            /* the channel where x is 1 */
    size_t zero_row;       /* of x: all zeros; or ADAMOE_NOWHERE */
    size_t tiny_row;       /* of x: integers times 2^-149, up to 190; or ADAMOE_NOWHERE */
    size_t tiny_token;     /* whose weights are integers times 2^-140; or ADAMOE_NOWHERE */
    size_t tiny_weights;   /* row of the matrix of a product: integers times 2^-149; or ADAMOE_NOWHERE */
    size_t triple_weights; /* and one of integers times 3; or ADAMOE_NOWHERE */
    bool rounded;          /* some operand is rounded to bfloat16 or int8 */
    bool halves;           /* x may stand halfway between two integers, the steps that it is rounded to */
    bool half_steps; /* and h between two of its own: the step is that of channel h_anchors.full / 127 */
} adamoe_exact_data;

/* False where a sum of `width` terms has no room for the anchors that the kernel needs. */
bool adamoe_exact_has_room(const adamoe_kernel *kernel, size_t width);

/* *out is zeroed before, and freed by the caller even after an error. Errors: memory. */
adamoe_status adamoe_exact_experts(const adamoe_checking *k, adamoe_splitmix64 *random,
                                   adamoe_exact_data *out);
adamoe_status adamoe_exact_product(const adamoe_checking *k, adamoe_splitmix64 *random,
                                   adamoe_exact_data *out);
void adamoe_exact_data_free(adamoe_exact_data *data);

/* silu(z) is z for the gates of this tier, to far less than a rounding, and the floats beside z are away from it by a
 * unit of silu_error or more: a kernel that declares less gives z itself. One that rounds h to bfloat16 does so too, as
 * far as the sums can see. */
bool adamoe_exact_silu(const adamoe_kernel *kernel);

/* The unit of the weights of token t: its combine and self_scale are integers of it. */
double adamoe_exact_weight_unit(const adamoe_exact_data *data, size_t t);

/* The unit of a row of the matrix of a product: its weights are integers of it. */
double adamoe_exact_row_unit(const adamoe_exact_data *data, size_t row);

/* The unit of row i of x: its integers are `steps` of it. */
double adamoe_exact_unit(const adamoe_exact_data *data, size_t i);
/* x[at] of row i as the kernel must round it. */
int64_t adamoe_exact_steps(const adamoe_exact_data *data, size_t i, size_t at);

#endif
