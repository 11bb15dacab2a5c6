/*
 * Layers of published models, as sizes: what `adamoe bench` times.
 */
#ifndef ADAMOE_LAYERS_PRESETS_H
#define ADAMOE_LAYERS_PRESETS_H

#include "layers/routing_pattern.h"

typedef struct adamoe_preset {
    const char *name;
    size_t hidden_size, intermediate_size; /* hidden_size >= n + m */
    adamoe_mixture mixture;
    adamoe_null_kind null_kind;
    double load;           /* mean number of true experts per token */
    size_t baseline_top_k; /* k0: what the same layer selects without null experts */
    adamoe_dtype weights;  /* as checkpoints of this model store them */
} adamoe_preset;

#define ADAMOE_PRESETS 10

extern const adamoe_preset adamoe_presets[ADAMOE_PRESETS];

/* Their names, in the same order. */
extern const char *const adamoe_preset_names[ADAMOE_PRESETS];

#endif
