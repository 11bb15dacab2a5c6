/*
 * The experts of one layer as training computes them, ready to be timed again and again: random weights, a
 * plan, and room for what goes from forward to backward.
 */
#ifndef ADAMOE_TIMING_TRAIN_LAYER_H
#define ADAMOE_TIMING_TRAIN_LAYER_H

#include "gradient/gradient_bound.h"
#include "layers/presets.h"
#include "train/experts.h"

/* Weights and gradient of a layer; a model has as many as layers, and none is in a cache
 * when its turn comes. */
typedef struct adamoe_train_copy {
    float *weights, *gradient; /* [n, 3, hidden_size * intermediate_size] w1, w3, w2 */
    adamoe_float_expert *expert;
    adamoe_float_expert_gradient *expert_gradient; /* [n] */
} adamoe_train_copy;

typedef struct adamoe_train_layer {
    size_t hidden_size, intermediate_size;
    const adamoe_host *host;
    adamoe_routing *routing;
    adamoe_plan *plan;
    adamoe_experts_pass pass;
    adamoe_train_copy *copy; /* [copies] */
    size_t copies, turn;
    float *x, *y, *dy, *dx; /* [tokens, hidden_size] */
    float *dcombine, *dself;
} adamoe_train_layer;

/* Room for the routing and sizes of `preset` on all threads of `team`, with so many copies of the weights;
 * with the widest instruction set that runs here. `stage_seconds` as in adamoe_experts_pass. The rest must
 * outlive *out. Errors: memory, in time: ENVIRONMENT where the machine has less than is needed. */
adamoe_status adamoe_train_layer_create(const adamoe_preset *preset, adamoe_pattern pattern, size_t tokens,
                                        size_t copies, uint64_t seed, const adamoe_team *team,
                                        const adamoe_host *host, double *stage_seconds,
                                        adamoe_train_layer *out);
void adamoe_train_layer_free(adamoe_train_layer *layer);

/* The next copy's forward pass, and its backward pass: everything of the gradient. */
void adamoe_train_layer_forward(adamoe_train_layer *layer);
void adamoe_train_layer_backward(adamoe_train_layer *layer);

/* What the gradient of the first copy must be (gradient_bound.h); free it with its own function. Errors:
 * memory. */
adamoe_status adamoe_train_layer_measure(const adamoe_train_layer *layer, adamoe_gradient_yardstick *out);

/* Judges what the last backward pass of the first copy has left. Errors: DIFFERENCE, naming the array and the
 * element; memory. */
adamoe_status adamoe_train_layer_judge(const adamoe_train_layer *layer,
                                       const adamoe_gradient_yardstick *yardstick);

/* Right before fast: the gradient of a small layer with the experts and the pattern of `preset`, against its
 * yardstick. Errors: DIFFERENCE, naming the array and the element; memory. */
adamoe_status adamoe_train_layer_check(const adamoe_preset *preset, adamoe_pattern pattern, uint64_t seed,
                                       const adamoe_team *team, const adamoe_host *host);

#endif
