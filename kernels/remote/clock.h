/*
 * The two clocks of a call that crosses into another process.
 */
#ifndef ADAMOE_REMOTE_CLOCK_H
#define ADAMOE_REMOTE_CLOCK_H

#include <stdint.h>

/* All calls of `experts` so far, in seconds: from the message to the answer by the process's own clock, and by the
 * clock of this one, from the begin of `experts` to its end. The difference is what the crossing costs: copies of x, the
 * plan and y, two messages, and two switches of processes. */
typedef struct adamoe_remote_clock {
    uint64_t calls;
    double there, here;
} adamoe_remote_clock;

#endif
