/*
 * One call of a kernel, timed on all ranks at once.
 */
#ifndef ADAMOE_SCALE_TIMED_CALL_H
#define ADAMOE_SCALE_TIMED_CALL_H

#include "scale/measure.h"

typedef struct adamoe_timed_call {
    const adamoe_host *host;
    const adamoe_kernel *kernel;
    adamoe_prepared *prepared;
    const adamoe_plan *plan;
    float *x, *y;
    adamoe_run run;
} adamoe_timed_call;

/* x is random. What is named must outlive *out. Errors: memory. */
adamoe_status adamoe_timed_call_open(const adamoe_measure *measure, const adamoe_kernel *kernel,
                                     adamoe_prepared *prepared, size_t hidden_size, const adamoe_plan *plan,
                                     adamoe_timed_call *out);
void adamoe_timed_call_close(adamoe_timed_call *call);

/* Mean seconds of `calls` calls, one after the other, begun on all ranks together: those of the slowest rank, on every
 * rank. */
adamoe_status adamoe_timed_call_mean(const adamoe_measure *measure, adamoe_timed_call *call, size_t calls,
                                     double *seconds);

/* The same, but after each call every rank waits for the others: with what a barrier takes. */
adamoe_status adamoe_timed_call_in_step(const adamoe_measure *measure, adamoe_timed_call *call, size_t calls,
                                        double *seconds);

/* Of rank 0 alone: the others wait. */
adamoe_status adamoe_timed_call_alone(const adamoe_measure *measure, adamoe_timed_call *call, size_t calls,
                                      double *seconds);

/* How many calls one after the other make a start that ranks do not share exactly small. The same on every rank; makes
 * one call that warms up, and one more whose seconds it returns. */
adamoe_status adamoe_timed_call_warm_up(const adamoe_measure *measure, adamoe_timed_call *call,
                                        double *seconds, size_t *calls);

#endif
