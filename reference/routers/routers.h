/*
 * Routers by name: from hidden states, parameters and state to a plan, and whatever else the router says of the
 * batch. reference/README.md section 12 defines each; one file here computes each, in double, one token after
 * the other.
 *
 * A router is one file, with its value and its gradient, and one row of the table in routers.c. Left out: anything
 * fast.
 */
#ifndef ADAMOE_ROUTERS_ROUTERS_H
#define ADAMOE_ROUTERS_ROUTERS_H

#include "adamoe.h"

/* --------------------------------------------------------------------------------------------- parameters */

typedef enum adamoe_parameter_kind {
    ADAMOE_PARAMETER_NUMBER, /* a finite number within low .. high */
    ADAMOE_PARAMETER_COUNT,  /* the same, and whole */
    ADAMOE_PARAMETER_CHOICE, /* one of `choices`; its value is its place there */
} adamoe_parameter_kind;

typedef enum adamoe_parameter_need {
    ADAMOE_PARAMETER_DEFAULT,  /* where nobody gives it, it is `standard` */
    ADAMOE_PARAMETER_REQUIRED, /* somebody has to give it */
    ADAMOE_PARAMETER_OPTIONAL, /* where nobody gives it, it is NaN, and the router does without */
} adamoe_parameter_need;

typedef struct adamoe_router_parameter {
    const char *name;
    adamoe_parameter_kind kind;
    adamoe_parameter_need need;
    double standard;
    double low, high; /* what it may be, both ends included unless they are open; that high depends on */
    bool low_open, high_open; /* sizes (top_k of at most n) the router checks itself */
    const char *choices;      /* "sigmoid|softmax" */
} adamoe_router_parameter;

#define ADAMOE_ROUTER_PARAMETERS 12

/* --------------------------------------------------------------------------------------------------- input */

/* A tensor that a router may read: its gate, its bias, what else its rule names. A vector is one row. Numbers
 * of dtype I64 are ids. */
typedef struct adamoe_router_tensor {
    const char *name; /* "block_sparse_moe.gate.weight", "router.bias" */
    adamoe_matrix matrix;
    bool taken; /* set where a router reads it */
} adamoe_router_tensor;

typedef struct adamoe_router_call {
    size_t tokens, hidden_size, experts; /* S, d, n; none of them 0 */
    const float *hidden_states;          /* [tokens, hidden_size] */
    adamoe_router_tensor *tensor;        /* [tensors] */
    size_t tensors;
    /* [tokens, rows of gate and of gate2] what a kernel's dense product made of them, or NULL: they are computed
     * here, in double. Of soft_moe [tokens, rows of router.phi] instead, the rows as they are. Routers without
     * either do not read it. */
    const float *logits;
    double value[ADAMOE_ROUTER_PARAMETERS]; /* in the order of the router's table; NaN where not given */
} adamoe_router_call;

/* -------------------------------------------------------------------------------------------------- result */

/* Something that a router says of the batch, by the name of its definition: one of both arrays is there, and is
 * [rows, columns]. */
typedef struct adamoe_routed_array {
    char name[32];
    size_t rows, columns;
    double *number;
    int64_t *integer;
} adamoe_routed_array;

#define ADAMOE_ROUTED_ARRAYS 64

/* What every router gives: `plan`; where its rows are not the tokens, `inputs`; where the layer adds something
 * that is no expert's (the frozen base of memoe, the constant vectors of moe_plus_plus), `after`. Among the
 * arrays:
 *   index [rows, 3]   (token, expert, slot) of each row of the plan; dispatch, combine [rows]. Soft MoE has no
 *                     index, and dispatch and combine are [tokens, n, slots]
 *   dropped           tokens without a row
 *   rejected [., 2]   (token, expert) of the choices that capacity refused
 *   self_scale, constant_weight, choice, number, logits, scores, affinity, plan, slots, capacity, ...
 *   loss.NAME [1]     every loss and statistic
 *   bias_next         the state after the batch; the lambda of remoe is loss.lambda_next
 * combine, self_scale, slots and after are in double, for a finite difference to see; the plan, inputs and `after`
 * below hold them rounded. */
typedef struct adamoe_routed {
    adamoe_plan *plan;
    float *inputs; /* [plan->inputs, hidden_size] the x of the plan, or NULL: the hidden states */
    float *after;  /* [tokens, hidden_size] what is added to the kernel's y, or NULL */
    size_t arrays;
    adamoe_routed_array array[ADAMOE_ROUTED_ARRAYS]; /* those without a name are the router's scratch */
} adamoe_routed;

/* NULL where the router has none of that name. */
const adamoe_routed_array *adamoe_routed_find(const adamoe_routed *routed, const char *name);
void adamoe_routed_free(adamoe_routed *routed);

/* ----------------------------------------------------------------------------------------------- gradients */

#define ADAMOE_ROUTER_LOSSES 2

/* The derivatives of an objective with respect to what a router gives. Where a router gives none of one kind, that
 * is not read. */
typedef struct adamoe_router_derivative {
    const double *combine;             /* [token_offset[tokens]] of the plan's places */
    const double *self_scale;          /* [tokens] */
    const double *inputs;              /* [plan->inputs, hidden_size] */
    const double *after;               /* [tokens, hidden_size] of the layer's y */
    double loss[ADAMOE_ROUTER_LOSSES]; /* of the losses in the order of the router's row */
} adamoe_router_derivative;

/* Where the derivatives with respect to what a router reads are added: arrays in the shapes of what they belong to,
 * each of them NULL where it is not wanted. */
typedef struct adamoe_router_gradient {
    double *hidden_states; /* [tokens, hidden_size] */
    double *const *tensor; /* [tensors of the call]; those of ids are not read */
} adamoe_router_gradient;

/* ------------------------------------------------------------------------------------------------- routers */

typedef struct adamoe_router {
    const char *name;    /* "top_p" */
    const char *summary; /* one line for a person */
    const adamoe_router_parameter *parameter;
    size_t parameters;
    /* Fills *out, which is empty, but for what `after` does. Memory that it took stays in *out on an error too. */
    adamoe_status (*route)(const adamoe_router_call *call, adamoe_routed *out);
    /* The products behind the rule: fills out->after with a frozen base, or out->inputs with slots. NULL where there
     * is none, or where `route` has done it. */
    adamoe_status (*after)(const adamoe_router_call *call, adamoe_routed *out);
    /* What of its arrays "loss.NAME" is a loss, by NAME; the others are statistics. NULL behind the last. */
    const char *loss[ADAMOE_ROUTER_LOSSES];
    /* As adamoe_routed_backward. */
    adamoe_status (*backward)(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient);
} adamoe_router;

/* Router `index` of the table, NULL behind the last; and the one of a name, or NULL. */
const adamoe_router *adamoe_router_at(size_t index);
const adamoe_router *adamoe_router_find(const char *name);

/* Sets every parameter to what it is where nobody gives it; then adamoe_router_set changes one, from text.
 * Errors (BAD_INPUT, "NAME: reason"): a name that the router does not have, a text that is no number or choice,
 * a value out of range. */
void adamoe_router_defaults(const adamoe_router *router, double value[ADAMOE_ROUTER_PARAMETERS]);
adamoe_status adamoe_router_set(const adamoe_router *router, double value[ADAMOE_ROUTER_PARAMETERS],
                                const char *name, const char *text);

/* A parameter's value as adamoe_router_set reads it, with the digits that it needs; empty where it has none. */
typedef struct adamoe_router_text {
    char text[48];
} adamoe_router_text;

adamoe_router_text adamoe_router_value_text(const adamoe_router_parameter *parameter, double value);

/* Runs a router. Errors (BAD_INPUT, "NAME: reason"): a parameter that is missing or out of range, a tensor that
 * is missing or of another shape, a logit that float32 does not hold, an id out of range; memory. On an error
 * nothing is left allocated. The caller frees *out. */
adamoe_status adamoe_router_run(const adamoe_router *router, const adamoe_router_call *call,
                                adamoe_routed *out);

/* The same without the frozen base of memoe and the slots of soft_moe (`inputs` is NULL, though the plan has them), for
 * callers that compute them by a kernel: X~ = D^T x with D the array "dispatch". */
adamoe_status adamoe_router_run_before(const adamoe_router *router, const adamoe_router_call *call,
                                       adamoe_routed *out);

/* gradient += the derivative of the objective with respect to hidden states and tensors, for what adamoe_router_run
 * made of the same call. Selections, capacities, f of the balance losses and states (a bias) are constants to it, as
 * they are in the sources. Its scratch stays in *routed until that is freed. Errors: NOT_SUPPORTED for weights that
 * have no derivative (adamoe_norm_trains); memory. */
adamoe_status adamoe_routed_backward(const adamoe_router *router, const adamoe_router_call *call,
                                     adamoe_routed *routed, const adamoe_router_derivative *derivative,
                                     const adamoe_router_gradient *gradient);

#endif
