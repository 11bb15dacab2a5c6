/* The time that measurements are taken with. */
#ifndef ADAMOE_MACHINE_CLOCK_H
#define ADAMOE_MACHINE_CLOCK_H

#include <time.h>

/* Seconds of the monotonic clock: only differences have a meaning. */
static inline double adamoe_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#endif
