/*
 * A frozen dense model with LoRA experts on the fast path: what reference/lora/lora_model.h defines, in
 * float32 on all threads of a team. The frozen products are a kernel's, whose weights are packed once, for
 * training once more as their transposes; the adapters are computed token by token for the selected true
 * experts alone, so that a null expert costs its router row and nothing else. W0 has no gradient, and none is
 * computed.
 *
 * The same weights and batch give the same bits for any number of threads, where the kernel's products do.
 * The way back computes norms and silu again; no product is computed twice. Left out: sharing packed weights
 * between both directions, and a cache of keys and values from call to call.
 */
#ifndef ADAMOE_TRAIN_LORA_LORA_NETWORK_H
#define ADAMOE_TRAIN_LORA_LORA_NETWORK_H

#include "model/forward.h"
#include "train/model/backprop.h"
#include "train/lora/lora_parameters.h"

typedef struct adamoe_lora_network adamoe_lora_network;

typedef struct adamoe_lora_network_options {
    const adamoe_kernel *kernel; /* with a dense product */
    const adamoe_team *team;
    const adamoe_placement *placement; /* of the packed weights */
    const adamoe_host *host;
    bool trained; /* gradients will be wanted */
} adamoe_lora_network_options;

/* Packs the base. `parameters`, whose values may change from call to call, and what the options point to must
 * outlive *out. Errors: NOT_SUPPORTED where the kernel cannot run here or has no dense product; memory. */
adamoe_status adamoe_lora_network_create(const adamoe_lora_parameters *parameters,
                                         const adamoe_lora_network_options *options,
                                         adamoe_lora_network **out);
void adamoe_lora_network_free(adamoe_lora_network *network);

/* The loss, and the gradient [parameters->count] unless it is NULL. The observer, which may be NULL, sees the
 * routing of each map as adamoe_lora_model_loss says. result->load is the mean over tokens and maps. Errors
 * as adamoe_model_loss; BAD_INPUT for a gradient of a network that is not trained. */
adamoe_status adamoe_lora_network_run(adamoe_lora_network *network, const adamoe_training_batch *batch,
                                      const adamoe_objective *objective, const adamoe_observer *observer,
                                      adamoe_backprop_result *result, float *gradient);

/* Log-probabilities as adamoe_forward_score; `routed` sees each map of each layer once with all tokens of the
 * batch. */
adamoe_status adamoe_lora_network_score(adamoe_lora_network *network, const adamoe_segment *segment,
                                        size_t count, const adamoe_batch_hooks *hooks,
                                        const adamoe_target *target, size_t targets, double *log_probability);

#endif
