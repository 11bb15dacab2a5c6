/*
 * The fastest kernel of a type of weights on this machine, by a short measurement on a model's own first layer.
 */
#ifndef ADAMOE_EVAL_FASTEST_KERNEL_H
#define ADAMOE_EVAL_FASTEST_KERNEL_H

#include "model.h"
#include "program/machine.h"
#include "registry.h"

#include <jansson.h>

/* Tokens of the measured batch, in sequences of so many, or of the model's context where that is shorter, and how often it is run; one run more warms up. */
#define ADAMOE_CHOICE_TOKENS      512
#define ADAMOE_CHOICE_SEQUENCE    64
#define ADAMOE_CHOICE_REPETITIONS 5

/* A kernel that is listed later is taken for the faster one unless another is faster by more than this share: what two
 * measurements differ by must not change the bits of a result from one day to the next. */
#define ADAMOE_CHOICE_MARGIN 0.05

typedef struct adamoe_candidate {
    const adamoe_kernel *kernel;
    const char *dense_product; /* the kernel that its dense product is borrowed from, or NULL */
    double seconds; /* of the layer: the least of the runs, to which others only add; 0 where there is none */
    char why_not[160]; /* why it has no time; empty where it has one, or needs none */
} adamoe_candidate;

typedef struct adamoe_kernel_choice {
    adamoe_arithmetic dtype;
    size_t tokens;               /* of the measured batch */
    adamoe_candidate *candidate; /* [count] in the order of the registry */
    size_t count;
    size_t chosen; /* of the candidates */
} adamoe_kernel_choice;

/* Tries every kernel of the registry whose weights are of `dtype`, but for the definition: a batch through the first
 * layer of `model`, attention and its products included. A kernel that is alone is taken untimed. Errors: NOT_SUPPORTED
 * where none can run here, with the reason of each; memory. The caller frees in any case. */
adamoe_status adamoe_choose_fastest(const adamoe_registry *registry, adamoe_arithmetic dtype,
                                    const adamoe_model *model, const adamoe_machine *machine,
                                    adamoe_kernel_choice *out);
void adamoe_kernel_choice_free(adamoe_kernel_choice *choice);

/* One paragraph for a person: the times, which kernel was taken, and the option that takes it again. */
void adamoe_print_choice(const adamoe_kernel_choice *choice);

/* NULL without memory. */
json_t *adamoe_choice_json(const adamoe_kernel_choice *choice);

#endif
