/*
 * A team that looks after messages between its tasks: see polling_team.h.
 */
#include "mpi/polling_team.h"
#include "machine/clock.h"

/* A question costs about a microsecond. */
#define PAUSE 50e-6

typedef struct polled_run {
    adamoe_polling_team *polling;
    void (*task)(void *context, size_t i, uint32_t thread);
    void *context;
} polled_run;

static void run_task(void *context, size_t i, uint32_t thread)
{
    const polled_run *run = context;
    run->task(run->context, i, thread);
    if (thread != 0) {
        return;
    }
    const double now = adamoe_now();
    if (now - run->polling->last > PAUSE) {
        run->polling->poll(run->polling->context);
        run->polling->last = now;
    }
}

static void run_polled(void *state, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                       void *context)
{
    polled_run run = {state, task, context};
    const adamoe_team *inner = run.polling->inner;
    inner->run(inner->state, tasks, run_task, &run);
}

void adamoe_polling_team_create(const adamoe_team *inner, void (*poll)(void *context), void *context,
                                adamoe_polling_team *out)
{
    *out = (adamoe_polling_team){.team = {.state = out, .threads = inner->threads, .run = run_polled},
                                 .inner = inner,
                                 .poll = poll,
                                 .context = context};
}
