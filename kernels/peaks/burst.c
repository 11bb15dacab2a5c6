/*
 * One loop on every thread of a team at the same moment.
 */
#include "peaks/burst.h"
#include "machine/clock.h"

#include <float.h>
#include <pthread.h>
#include <stdatomic.h>

#define LONGEST_WAIT 0.01

typedef struct burst {
    void (*part)(void *context, uint32_t i);
    void *context;
    uint32_t threads;
    atomic_uint arrived;
    pthread_mutex_t mutex;
    double first_start, last_end; /* under the mutex */
} burst;

/* A thread that waits here cannot take the part of one that is slower to wake. */
static void wait_for_others(burst *b)
{
    const double give_up = adamoe_now() + LONGEST_WAIT;
    atomic_fetch_add(&b->arrived, 1);
    while (atomic_load(&b->arrived) < b->threads && adamoe_now() < give_up) {
    }
}

static void run_part(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    burst *b = context;
    wait_for_others(b);
    const double start = adamoe_now();
    b->part(b->context, (uint32_t)i);
    const double end = adamoe_now();
    pthread_mutex_lock(&b->mutex);
    b->first_start = start < b->first_start ? start : b->first_start;
    b->last_end = end > b->last_end ? end : b->last_end;
    pthread_mutex_unlock(&b->mutex);
}

double adamoe_burst(const adamoe_team *team, void (*part)(void *context, uint32_t i), void *context)
{
    burst b = {.part = part,
               .context = context,
               .threads = team->threads,
               .mutex = PTHREAD_MUTEX_INITIALIZER,
               .first_start = DBL_MAX,
               .last_end = 0.0};
    team->run(team->state, team->threads, run_part, &b);
    return b.last_end - b.first_start;
}
