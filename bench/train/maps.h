/*
 * Training LoRA experts, or plain adapters, of the maps of a frozen dense model.
 */
#ifndef ADAMOE_TRAIN_MAPS_H
#define ADAMOE_TRAIN_MAPS_H

#include "train/options.h"
#include "train/lora/lora_network.h"

/* What is trained, and what computes it. Begin with zeros. */
typedef struct adamoe_trained_maps {
    adamoe_registry *registry;
    adamoe_placement placement;
    adamoe_lora_parameters *parameters;
    adamoe_lora_network *network;
} adamoe_trained_maps;

/* What the options say of experts, rank, alpha and selection; top-k is 2 unless they say, or the one expert
 * that there is. */
adamoe_lora_sizes adamoe_train_maps_sizes(const adamoe_train_options *options);

/* The start of a training on `base`, which must outlive *out as the team must. Errors: as
 * adamoe_lora_parameters_create and adamoe_lora_network_create. On failure the caller still closes. */
adamoe_status adamoe_trained_maps_open(const adamoe_train_options *options, const adamoe_model *base,
                                       const adamoe_team *team, adamoe_trained_maps *out);
void adamoe_trained_maps_close(adamoe_trained_maps *maps);

#endif
