/*
 * Routers side by side: one layer with its tokens, what each router makes of them, and the table.
 */
#ifndef ADAMOE_ROUTERS_SIDE_BY_SIDE_H
#define ADAMOE_ROUTERS_SIDE_BY_SIDE_H

#include "layers/presets.h"
#include "layers/router_setup.h"
#include "program/machine.h"

#include <jansson.h>

/* ------------------------------------------------------------------------------------------------- subject */

/* One layer and hidden states that arrive at it. */
typedef struct adamoe_subject {
    adamoe_router_subject tokens; /* what routers get */
    adamoe_layer layer;
    float *x;
    void *owned; /* what `layer` points into, freed by release */
    void (*release)(void *owned);
    char text[256]; /* one line for a person: where they are from */
} adamoe_subject;

/* A layer of a published model's sizes with random weights and random tokens. Errors: memory. */
adamoe_status adamoe_subject_of_preset(const adamoe_preset *preset, size_t tokens, uint64_t seed,
                                       adamoe_subject *out);

/* A layer of a model, and the hidden states that arrive at it when the model reads the text (by the naive forward
 * pass). A dense model's layer becomes `experts` copies of itself, with a drawn gate. Errors, which name the folder
 * or the text: those of opening both; a layer that is not there; a text with too few tokens. */
adamoe_status adamoe_subject_of_model(const char *folder, const char *text, size_t layer, size_t tokens,
                                      size_t experts, uint64_t seed, adamoe_subject *out);
void adamoe_subject_free(adamoe_subject *subject);

/* ------------------------------------------------------------------------------------------------- measure */

#define ADAMOE_NODE_COUNTS 6 /* 2, 4, ... 64 nodes */

/* What one router made of the tokens. */
typedef struct adamoe_router_result {
    const adamoe_router *router;
    adamoe_status status;   /* BAD_INPUT: why it cannot run on this layer; then nothing else is set */
    double load, deviation; /* true experts of a token: mean, and standard deviation over tokens */
    double *histogram;      /* [experts + 1] share of tokens with so many */
    size_t experts;
    double expert_flops, router_flops; /* for a token, as executed */
    size_t rows, dropped, rejected;
    double largest_over_mean; /* tokens of the busiest expert over the mean of all */
    size_t idle_experts;
    double routing_seconds, layer_seconds; /* logits and the rule; the kernel's experts, and a frozen base */
    bool kernel_made_logits; /* false: they are part of the rule, in double, or there is no gate */
    size_t otherwise; /* tokens that get other experts by logits in double (adamoe_timed_router_compare) */
    double logit_difference;
    double error; /* root mean square of y - dense mixture, over that of the dense mixture */
    double crossing
        [ADAMOE_NODE_COUNTS]; /* rows whose expert is on another node; NaN where experts do not divide */
} adamoe_router_result;

/* Runs each router once to see that it can and `repeat` + 1 times more for its times, the last for its result; the dense mixture, every expert
 * weighted by the softmax of the gate, once. Errors: of the kernel; memory. results is [count]; the caller frees
 * them, on an error too. */
adamoe_status adamoe_measure_routers(const adamoe_subject *subject, const adamoe_router *const *router,
                                     size_t count, const char *const *settings, size_t settings_count,
                                     size_t repeat, const adamoe_kernel *kernel,
                                     const adamoe_machine *machine, adamoe_router_result *results);
void adamoe_router_result_free(adamoe_router_result *result);

/* Bytes of an all-to-all on so many nodes: each crossing row goes there and comes back in float32. */
double adamoe_crossing_bytes(const adamoe_router_result *result, size_t node_count, size_t hidden_size);

/* ---------------------------------------------------------------------------------------------------- show */

void adamoe_print_routers(const adamoe_subject *subject, const adamoe_kernel *kernel,
                          const adamoe_router_result *results, size_t count);
json_t *adamoe_routers_json(const adamoe_subject *subject, const adamoe_router_result *results, size_t count);

#endif
