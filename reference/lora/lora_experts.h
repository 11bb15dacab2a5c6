/*
 * LoRA experts on a frozen linear map (the paper's second experiment): n low-rank experts, m null ones and a
 * router of the map's own over its input,
 *   y = W0 x + sum over selected true experts e, ascending, of w_e (alpha / r) B_e A_e x,
 * where selection, ties, weights and all-null tokens are those of an expert layer (reference/README.md
 * section 2). A map without a router is plain LoRA: n = 1, and its weight is 1.
 *
 * Where the paper is silent: as in its code there is one router for each map, and A and the router begin
 * uniform within +-1 / sqrt(in) and B at 0 (PyTorch's default for linear layers), so null experts are not
 * copies of true ones. Ours: null experts are of kind zero, for in and out differ; weights are renormalised
 * over the true experts unless the rule says otherwise. Left out: dropout (the code's default is 0), biases.
 */
#ifndef ADAMOE_LORA_LORA_EXPERTS_H
#define ADAMOE_LORA_LORA_EXPERTS_H

#include "gradient/gradient.h"

/* Row e * rank + i of `a` is row i of A_e, and row e * rank + i of `b` is column i of B_e: an expert is the
 * sum of `rank` products of a row of b and a row of a. */
typedef struct adamoe_lora_experts {
    adamoe_matrix frozen; /* [out, in] W0 */
    adamoe_matrix router; /* [n + m, in], true experts first; no rows: plain LoRA */
    adamoe_matrix a;      /* [n * rank, in] */
    adamoe_matrix b;      /* [n * rank, out] */
    size_t experts, null_experts, rank;
    double scale; /* alpha / rank */
} adamoe_lora_experts;

/* Arrays in the shapes of the matrices of the same names; W0 is frozen and has none.
 * NULL where not wanted. */
typedef struct adamoe_lora_experts_gradient {
    double *router, *a, *b;
} adamoe_lora_experts_gradient;

/* The selection of x [tokens, in]: logits summed in double, stored as float32. Errors: as
 * adamoe_routing_create; BAD_INPUT for a rule with identity experts. */
adamoe_status adamoe_lora_experts_route(const adamoe_lora_experts *map, adamoe_rule rule, const double *x,
                                        size_t tokens, adamoe_routing **out);

/* y [tokens, out] for that selection, with weights in double from x [tokens, in]. probability_sums [n + m],
 * which may be NULL, receives the sums of p over the tokens. Errors: memory. */
adamoe_status adamoe_lora_experts_double(const adamoe_lora_experts *map, const adamoe_routing *routing,
                                         const double *x, double *y, double *probability_sums);

/* dx [tokens, in] and the gradient += what dy [tokens, out] gives; the selection is a constant. slope [n + m]
 * or NULL is the derivative of the loss with respect to p[t, i] (adamoe_balance_slope). Errors: memory. */
adamoe_status adamoe_lora_experts_backward(const adamoe_lora_experts *map, const adamoe_routing *routing,
                                           const double *x, const double *slope, const double *dy, double *dx,
                                           const adamoe_lora_experts_gradient *gradient);

#endif
