/*
 * One layer on one kernel, ready to be timed again and again: what a worker of `adamoe gate' runs. The same
 * call each time, on the same weights: what two builds of a kernel do with it is compared, not what a machine
 * can do (that is bench/layer.h's question).
 */
#ifndef ADAMOE_GATE_TIMED_LAYER_H
#define ADAMOE_GATE_TIMED_LAYER_H

#include "layers/presets.h"
#include "layers/random_layer.h"

/* The sizes that are timed by default: calls of milliseconds, on weights that a process makes in a fraction
 * of a second. */
extern const adamoe_preset adamoe_gate_preset;

/* That one by the name "gate", or one of adamoe_presets; NULL where there is none of that name. */
const adamoe_preset *adamoe_timed_preset(const char *name);

typedef struct adamoe_timed_layer {
    const adamoe_kernel *kernel;
    adamoe_prepared *prepared;
    adamoe_plan *plan;
    adamoe_run run;
    float *x, *y;          /* [tokens, hidden_size] */
    size_t rows, products; /* (token, true expert) pairs; experts that have any */
    double executed_flops, touched_bytes, load;
    uint64_t bits; /* FNV-1a of y after the first call: another one means another rounding */
} adamoe_timed_layer;

/* The layer must outlive *out, and so must the team. Makes the first call. Errors: NOT_SUPPORTED; what
 * prepare and experts report; memory. */
adamoe_status adamoe_timed_layer_create(const adamoe_kernel *kernel, const adamoe_preset *preset,
                                        const adamoe_layer *layer, size_t tokens, const adamoe_team *team,
                                        uint64_t seed, adamoe_timed_layer *out);

/* Seconds of so many calls, after one that is not timed: the caches are as another process left them. */
adamoe_status adamoe_timed_layer_run(adamoe_timed_layer *timed, size_t calls, double *seconds);

/* One of zeros is allowed. */
void adamoe_timed_layer_free(adamoe_timed_layer *timed);

#endif
