/*
 * The time that a case of `adamoe check` has. It is the clock's, so that a kernel that sleeps, waits or spins
 * is caught; what does not count is time that neither the kernel nor the check can help.
 *
 *   stopped    by a signal or a debugger: the process can do nothing
 *   suspended  the machine, or this program: nobody looked for a second or more
 *   held up    a thread was ready and had no processor, beyond what threads of its own process can have taken
 *              from it. Those that spin are the kernel's own matter
 */
#ifndef ADAMOE_CHECK_DEADLINE_H
#define ADAMOE_CHECK_DEADLINE_H

#include <stdint.h>
#include <sys/types.h>

/* In seconds of the monotonic clock, and of processors. */
typedef struct adamoe_check_deadline {
    double looked;        /* when time was counted last */
    double counted, next; /* for the case; where it is to be asked next who held it up */
    double stopped;       /* for so long, and still */
    double waited_then, used_then,
        looked_up; /* by the process when the case began, and when that was asked */
} adamoe_check_deadline;

typedef enum adamoe_check_lateness {
    ADAMOE_CHECK_IN_TIME = 0,
    ADAMOE_CHECK_LATE = 1,
    ADAMOE_CHECK_STOPPED = 2, /* for as long as a case may take */
} adamoe_check_lateness;

/* A case of the process begins, or a process whose deadline is zeroed. */
void adamoe_check_deadline_begin(adamoe_check_deadline *deadline, pid_t process, uint32_t timeout);

/* To be asked several times a second. */
adamoe_check_lateness adamoe_check_deadline_look(adamoe_check_deadline *deadline, pid_t process,
                                                 uint32_t timeout);

#endif
