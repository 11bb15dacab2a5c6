/*
 * AdamW over float32 weights and moments, with clipping by the gradient's global norm; and the learning
 * rate's schedule. The same bits for any number of threads: weights are updated one by one, and the norm is
 * summed in fixed pieces, one after the other.
 */
#ifndef ADAMOE_TRAIN_ADAMW_H
#define ADAMOE_TRAIN_ADAMW_H

#include "adamoe.h"

/* A run of weights that is trained. */
typedef struct adamoe_adamw_segment {
    size_t first, count;
    bool decayed;
} adamoe_adamw_segment;

typedef struct adamoe_adamw_options {
    double beta1, beta2, eps;
    double decay;     /* of weights, decoupled: times the learning rate */
    double clip_norm; /* the gradient is scaled down to this norm; 0: never */
} adamoe_adamw_options;

typedef struct adamoe_adamw adamoe_adamw;

/* For an array of `count` weights of which the segments are trained; they ascend and do not overlap. The team
 * must outlive *out. Moments begin at 0. Errors: memory. */
adamoe_status adamoe_adamw_create(const adamoe_team *team, size_t count, const adamoe_adamw_segment *segment,
                                  size_t segments, const adamoe_adamw_options *options, adamoe_adamw **out);
void adamoe_adamw_free(adamoe_adamw *adamw);

/* What a file must keep: steps taken so far, and both moments [count]. */
typedef struct adamoe_adamw_state {
    size_t steps;
    float *first_moment, *second_moment;
} adamoe_adamw_state;

adamoe_adamw_state *adamoe_adamw_state_of(adamoe_adamw *adamw);

/* One step on value [count] from gradient [count]; *norm is the gradient's before it is clipped. Errors
 * (BAD_INPUT), before anything is changed: a norm that is NaN or infinite. */
adamoe_status adamoe_adamw_update(adamoe_adamw *adamw, double rate, float *value, const float *gradient,
                                  double *norm);

typedef enum adamoe_schedule_form {
    ADAMOE_SCHEDULE_COSINE = 0, /* from the peak to 0 at the last step */
    ADAMOE_SCHEDULE_CONSTANT = 1,
} adamoe_schedule_form;

typedef struct adamoe_schedule {
    adamoe_schedule_form form;
    double peak;
    size_t warm_up; /* steps of a linear rise; the peak is reached at step warm_up */
    size_t steps;   /* of the whole run */
} adamoe_schedule;

/* The learning rate of step 1 .. steps. */
double adamoe_schedule_rate(const adamoe_schedule *schedule, size_t step);

#endif
