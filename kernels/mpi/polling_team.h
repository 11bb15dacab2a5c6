/*
 * A team that looks after messages between its tasks: MPI moves large ones only while it is called, and a
 * kernel that computes does not call it.
 */
#ifndef ADAMOE_MPI_POLLING_TEAM_H
#define ADAMOE_MPI_POLLING_TEAM_H

#include "adamoe.h"

typedef struct adamoe_polling_team {
    adamoe_team team; /* to be given to a kernel */
    const adamoe_team *inner;
    void (*poll)(
        void *context); /* called by thread 0, after a task and at most every some tens of microseconds */
    void *context;
    double last; /* when it was called */
} adamoe_polling_team;

/* `inner` must outlive *out, which is used where it stands. */
void adamoe_polling_team_create(const adamoe_team *inner, void (*poll)(void *context), void *context,
                                adamoe_polling_team *out);

#endif
