/*
 * One layer run through the contract, and its comparison with what a file expects.
 */
#ifndef ADAMOE_LAYER_RUN_H
#define ADAMOE_LAYER_RUN_H

#include "balance_loss.h"
#include "program/machine.h"
#include "safetensors/safetensors.h"

/* A layer with everything that was computed from it. */
typedef struct adamoe_layer_run {
    const adamoe_kernel *kernel;
    const adamoe_layer *layer;
    const float *hidden_states; /* [tokens, hidden_size] */
    size_t tokens;
    adamoe_matrix router;    /* gate and gate2 as one matrix, float32 */
    float *router_rows;      /* its data */
    bool kernel_made_logits; /* by its dense product; false: the reference did */
    adamoe_routing *routing;
    adamoe_plan *plan;
    float *output; /* [tokens, hidden_size] */
    adamoe_balance_loss loss;
} adamoe_layer_run;

/* Router (by the kernel's dense product where it has one in float32, else by the reference), routing, plan
 * and experts. On failure nothing is left allocated. */
adamoe_status adamoe_layer_run_create(const adamoe_kernel *kernel, const adamoe_layer *layer,
                                      adamoe_rule rule, const float *hidden_states, size_t tokens,
                                      const adamoe_machine *machine, adamoe_layer_run *out);
void adamoe_layer_run_free(adamoe_layer_run *run);

/* The kernel's experts alone: prepares, runs and releases. *y is [plan->tokens, hidden_size], and the caller's to
 * free, on an error too. */
adamoe_status adamoe_layer_run_experts(const adamoe_kernel *kernel, const adamoe_layer *layer,
                                       const adamoe_machine *machine, const float *x, const adamoe_plan *plan,
                                       float **y);

/* One comparison: what was compared, and its outcome as one line for a person. */
typedef struct adamoe_comparison {
    const char *name;
    bool passed;
    bool vacuous;         /* passed, and proves nothing: no element, or every expected value 0 */
    double largest_ratio; /* of error / allowed; 0 for comparisons without a bound */
    char detail[200];
} adamoe_comparison;

#define ADAMOE_MAX_COMPARISONS 12

/* "passed", "failed" or "vacuous". */
const char *adamoe_comparison_status(const adamoe_comparison *comparison);

/* What the kernel computed, logits and output, against the yardstick of its arithmetic, then each expected
 * tensor and loss that the file has against the yardstick of float32, which is what such files are computed
 * in. Where the file expects another top-k than the run's, that is a failed comparison of its own, and ids
 * and weights are not compared. Errors: an expected tensor of the wrong shape (BAD_INPUT), memory. */
adamoe_status adamoe_layer_compare(const adamoe_layer_run *run, const adamoe_safetensors *file,
                                   adamoe_comparison *comparisons, size_t *count);

#endif
