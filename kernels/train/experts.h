/*
 * The experts of one layer, forward and backward, in float32 and in products grouped by expert over the rows
 * of a plan: what reference/gradient/gradient_experts.c defines. A zero null expert has no row: neither its
 * value nor its gradient is computed. Any number of threads gives the same bits.
 *
 * For plans of a routing: x has a row for each token, nothing scales it (no dispatch), and each row stands in
 * the list of the token that it reads. Left out: slots (Soft MoE), recomputing w1 x and w3 x on the way back.
 */
#ifndef ADAMOE_TRAIN_EXPERTS_H
#define ADAMOE_TRAIN_EXPERTS_H

#include "train/gemm.h"
#include "train/train_ops.h"
#include "vector/vector_ops.h"

/* The largest relative error of silu and of 1 / (1 + exp(-z)) as computed here, in units of 2^-24: a result
 * that is rounded (1), of a quotient of two that are exact to 1 and 1.5. */
#define ADAMOE_EXPERTS_SILU_ERROR 4.0

/* The products, and what stands between them. */
typedef enum adamoe_experts_stage {
    ADAMOE_EXPERTS_UP,        /* w1 x and w3 x */
    ADAMOE_EXPERTS_GATE,      /* silu(w1 x) * (w3 x) */
    ADAMOE_EXPERTS_DOWN,      /* w2 h */
    ADAMOE_EXPERTS_COMBINE,   /* the weighted sum over a token's rows */
    ADAMOE_EXPERTS_TO_HIDDEN, /* w2^T dy */
    ADAMOE_EXPERTS_SILU,      /* through silu and its product; the derivatives of the weights of a sum */
    ADAMOE_EXPERTS_TO_WEIGHT, /* dw1, dw3 and dw2 */
    ADAMOE_EXPERTS_TO_INPUT,  /* w1^T dg + w3^T du */
    ADAMOE_EXPERTS_GATHER,    /* the sum over a token's rows */
} adamoe_experts_stage;

#define ADAMOE_EXPERTS_STAGES 9

/* What a pass works with. The caller owns all of it, and keeps gate, up and the plan
 * from forward to backward. */
typedef struct adamoe_experts_pass {
    size_t hidden_size, intermediate_size; /* d, ff */
    const adamoe_team *team;
    const adamoe_vector_ops *ops;
    const adamoe_train_ops *train_ops;
    adamoe_gemm_space *gemm_space;     /* for at least 3 n products */
    adamoe_gemm *gemm;                 /* [3 n] */
    const adamoe_float_expert *expert; /* [n] */
    const adamoe_plan *plan;
    const float *x;          /* [tokens, d] */
    float *gate, *up;        /* [rows, ff] forward: w1 x and w3 x; backward: their derivatives */
    float *hidden, *dhidden; /* [rows, ff] undefined before and after a pass */
    float *slots;            /* [rows, d] the same */
    double *stage_seconds;   /* [ADAMOE_EXPERTS_STAGES] or NULL: each stage adds its time */
} adamoe_experts_pass;

/* y = residual + the weighted sum over each token's experts + self_scale * x; [tokens, d]. residual may be
 * NULL for 0, or y. */
void adamoe_experts_forward(const adamoe_experts_pass *pass, const float *residual, float *y);

/* The part of the forward pass that the way back needs: fills gate and up. */
void adamoe_experts_up(const adamoe_experts_pass *pass);

/* What the way back gives; each pointer may be NULL where that is not wanted. */
typedef struct adamoe_experts_gradient {
    const adamoe_float_expert_gradient *expert; /* [n]; every element is written, 0 where there is no row */
    float *dx;                                  /* [tokens, d] */
    float *dcombine;                            /* [places] */
    float *dself;                               /* [tokens], where the plan has self_scale */
} adamoe_experts_gradient;

/* After the forward pass: the gradient for dy [tokens, d], the derivative of y. */
void adamoe_experts_backward(const adamoe_experts_pass *pass, const float *dy,
                             const adamoe_experts_gradient *gradient);

#endif
