/*
 * Where the time of the batched forward pass goes, stage by stage.
 */
#ifndef ADAMOE_MODEL_FORWARD_STAGES_H
#define ADAMOE_MODEL_FORWARD_STAGES_H

typedef enum adamoe_forward_stage {
    ADAMOE_FORWARD_ROUTER,      /* the router's logits, and the selection */
    ADAMOE_FORWARD_PLAN,        /* the routing turned round */
    ADAMOE_FORWARD_EXPERTS,     /* and the shared expert */
    ADAMOE_FORWARD_PROJECTIONS, /* the products of attention: q, k, v and o */
    ADAMOE_FORWARD_ATTENTION,   /* itself */
    ADAMOE_FORWARD_NORMS,       /* and what else is done row by row: biases, rotation */
    ADAMOE_FORWARD_HEAD,        /* its product */
    ADAMOE_FORWARD_LOG_SOFTMAX, /* of its logits, or their report */
    ADAMOE_FORWARD_PACKING,     /* of weights that are prepared while the batch runs: 0 where all are held */
    ADAMOE_FORWARD_OTHER,       /* the embedding, room for the batch, hooks */
    ADAMOE_FORWARD_STAGES,
} adamoe_forward_stage;

/* "router", "plan", ... */
extern const char *const adamoe_forward_stage_names[ADAMOE_FORWARD_STAGES];

/* A clock that gives each moment to one stage. */
typedef struct adamoe_forward_clock {
    double last; /* when the latest stage ended */
    double seconds[ADAMOE_FORWARD_STAGES];
} adamoe_forward_clock;

#endif
