/*
 * The families of models, each as a row of one table: what it is made of, and which keys of config.json say the
 * rest. What is computed from an architecture is in reference/ and kernels/, which know no family.
 */
#ifndef ADAMOE_CONFIG_FAMILIES_H
#define ADAMOE_CONFIG_FAMILIES_H

#include "architecture.h"

/* What the sliding window of a family hangs on. */
typedef enum adamoe_family_window {
    ADAMOE_NO_WINDOW,      /* there is none: sliding_window must be null */
    ADAMOE_WINDOW_IF_SAID, /* sliding_window; null: none */
    ADAMOE_WINDOW_IF_USED, /* use_sliding_window, which must be false: sliding_window then says nothing */
} adamoe_family_window;

typedef struct adamoe_family {
    const char *name, *model_type;    /* as in `architectures` and `model_type` */
    adamoe_architecture architecture; /* but for what config.json decides: tied_head */
    adamoe_family_window window;
    bool experts;            /* there are several, and a router */
    const char *expert_size; /* the key of their width, where it is not intermediate_size */
    const char *const *keys; /* further keys that say something of this family alone; ends with NULL */
    bool normalises_if_said; /* norm_topk_prob decides whether weights are normalised; otherwise they are */
    bool key_value_heads;    /* their number must be given: the library takes one that is not that of heads */
    /* what a file means that does not say */
    double rope_theta;
    size_t sliding_window, head_dim; /* 0: none; hidden_size / heads */
    const char *why_not;             /* a family that is known, and not implemented; else NULL */
} adamoe_family;

/* By the name in `architectures` or by `model_type`; NULL where there is none. */
const adamoe_family *adamoe_family_named(const char *name);
const adamoe_family *adamoe_family_of_type(const char *model_type);

#endif
