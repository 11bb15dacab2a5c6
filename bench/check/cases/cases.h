/*
 * The cases of `adamoe check`: a tier, sizes, routings and kinds of stored weights, each with a name that
 * says all of it:
 *
 *   bound/experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:skewed/weights:bf16
 *   exact/experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/null:identity/weights:f32
 *   bound/experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/dispatch/values:huge/weights:f32
 *   exact/experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:skewed/slots/weights:f32
 *   bitwise/threads/experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/weights:f32
 *   property/split-batch/experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/weights:f32
 *   bound/gradient/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/null:identity/weights:f32
 *   bitwise/batch/gradient/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/weights:f32
 *   bound/experts/d:1/ff:1/n:1/m:0/k:1/tokens:6000/routing:random/values:sweep/weights:f32
 *   bound/multiply/rows:65/columns:33/count:7/weights:f16
 *   bound/multiply/rows:5/columns:8191/count:3/values:full/weights:f32
 *   bound/attention/heads:6/kv:2/dim:16/window:5/tokens:9/shared
 *   bound/attention/heads:6/kv:2/dim:16/window:5/tokens:9/values:huge/shared
 *   routing/route/n:8/m:8/k:3/tokens:7/logits:ties/norm:true
 *   routing/logits/d:65/n:8/m:8/k:3/tokens:33/weights:f32
 *   model/grouped-heads
 *
 * No name is a part of another one, so that a whole name picks exactly its case. Left out: which kinds there
 * are, check/kinds/kinds.h.
 */
#ifndef ADAMOE_CHECK_CASES_CASES_H
#define ADAMOE_CHECK_CASES_CASES_H

#include "layers/routing_pattern.h"

/* How a case is judged; check/run.h says by what rule. */
typedef enum adamoe_tier {
    ADAMOE_TIER_EXACT = 0,
    ADAMOE_TIER_BOUND = 1,
    ADAMOE_TIER_BITWISE = 2,
    ADAMOE_TIER_PROPERTY = 3,
    ADAMOE_TIER_ROUTING = 4,
    ADAMOE_TIER_MODEL = 5,
} adamoe_tier;

#define ADAMOE_TIERS 6

/* "exact", "bound", "bitwise", "property", "routing", "model". */
extern const char *const adamoe_tier_names[ADAMOE_TIERS];

/* What is called, and all that `adamoe check` knows of it: check/cases/kind.h. */
typedef struct adamoe_case_kind adamoe_case_kind;

/* A change of the input whose effect on the output is known: an oracle that
 * needs no second implementation. */
typedef enum adamoe_property {
    ADAMOE_PROPERTY_PERMUTED_TOKENS = 0,
    ADAMOE_PROPERTY_PERMUTED_EXPERTS = 1,
    ADAMOE_PROPERTY_SPLIT_BATCH = 2,
    ADAMOE_PROPERTY_UNUSED_NULL_EXPERTS = 3,
    ADAMOE_PROPERTY_SCALED_COMBINE = 4,
    ADAMOE_PROPERTY_POISONED_TOKEN =
        5, /* what is not finite shows where it is summed, and nowhere else; of a gradient too */
    /* prepare fails as it should, whichever allocation is refused; also of a dense product */
    ADAMOE_PROPERTY_REFUSED_MEMORY = 6,
    /* one object that is called often, in the same buffers; several that are alive; of a dense product too */
    ADAMOE_PROPERTY_REPEATED_CALLS = 7,
    ADAMOE_PROPERTY_SEVERAL_OBJECTS = 8,
} adamoe_property;

#define ADAMOE_PROPERTIES 9

extern const char *const adamoe_property_names[ADAMOE_PROPERTIES];

/* What a kernel may guarantee about its bits, in the order of ADAMOE_SAME_BITS_RUNS and the following. */
typedef enum adamoe_guarantee {
    ADAMOE_GUARANTEE_RUNS = 0,
    ADAMOE_GUARANTEE_THREADS = 1,
    ADAMOE_GUARANTEE_BATCH = 2,
    ADAMOE_GUARANTEE_PLACEMENT = 3,
} adamoe_guarantee;

#define ADAMOE_GUARANTEES 4

/* "runs", "threads", "batch", "placement". */
extern const char *const adamoe_guarantee_names[ADAMOE_GUARANTEES];

/* The size of activations, and of weights where they go with it. */
typedef enum adamoe_magnitude {
    ADAMOE_MAGNITUDE_USUAL = 0,
    ADAMOE_MAGNITUDE_DENORMAL = 1, /* products that a float32 holds as denormals only */
    ADAMOE_MAGNITUDE_HUGE = 2,     /* exp of a gate, or of a score, overflows; no product does */
    ADAMOE_MAGNITUDE_SWEEP = 3,    /* of a hidden size of 1: gates from -104 to 104, each token another one */
    ADAMOE_MAGNITUDE_FULL =
        4, /* every row is one value throughout, so that int8 has 127 or -127 everywhere */
} adamoe_magnitude;

#define ADAMOE_MAGNITUDES 5

/* Logits that a router is given. */
typedef enum adamoe_logits_kind {
    ADAMOE_LOGITS_RANDOM = 0,
    ADAMOE_LOGITS_TIES = 1,      /* many equal ones, at the border of what is selected */
    ADAMOE_LOGITS_COPIES = 2,    /* null experts are copies of the true ones, as after a conversion */
    ADAMOE_LOGITS_NEAR_TIES = 3, /* neighbours in float32 */
    ADAMOE_LOGITS_ALL_EQUAL = 4,
    ADAMOE_LOGITS_SIGNED_ZEROS = 5, /* +0 and -0 are equal: the lower index wins */
    ADAMOE_LOGITS_ALL_NULL = 6,
    ADAMOE_LOGITS_ONE_EXPERT = 7,
    ADAMOE_LOGITS_DENORMAL = 8,  /* different, but only as denormals */
    ADAMOE_LOGITS_HUGE = 9,      /* exp overflows, differences too */
    ADAMOE_LOGITS_NAN = 10,      /* must be reported */
    ADAMOE_LOGITS_INFINITE = 11, /* must be reported */
} adamoe_logits_kind;

#define ADAMOE_LOGITS_KINDS 12

/* Each matrix of each expert has pages of its own, for its weights and for its gradient. */
#define ADAMOE_MOST_GRADIENT_EXPERTS 320

typedef struct adamoe_case {
    adamoe_tier tier;
    const adamoe_case_kind *kind;
    adamoe_dtype weights;
    size_t tokens; /* also the count of a dense product */
    /* of experts and their gradient; of routing as far as it applies */
    size_t hidden_size, intermediate_size;
    adamoe_mixture mixture;
    adamoe_pattern pattern;
    adamoe_null_kind null_kind;
    bool dispatch; /* the plan scales the inputs */
    bool slots;    /* as in Soft MoE: rows read slots, tokens sum many of them; tier exact alone */
    adamoe_magnitude magnitude;
    adamoe_property property;   /* of tier property */
    adamoe_guarantee guarantee; /* of tier bitwise */
    adamoe_logits_kind logits;
    adamoe_norm norm;
    /* of a dense product */
    size_t rows, columns;
    /* of attention */
    size_t heads, key_value_heads, head_dim, window; /* window 0: no limit */
    bool shared;   /* spans that share prefixes, and one with an earlier call */
    size_t model;  /* index into adamoe_check_model_names */
    size_t router; /* of kind routed: index of adamoe_router_at */
} adamoe_case;

typedef struct adamoe_case_name {
    char text[192];
} adamoe_case_name;

/* Adds to a name; what goes beyond its room is cut off. */
__attribute__((format(printf, 2, 3))) void adamoe_name_append(adamoe_case_name *name, const char *format,
                                                              ...);

adamoe_case_name adamoe_name_case(const adamoe_case *c);

#endif
