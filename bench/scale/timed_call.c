/*
 * One call of a kernel, timed on all ranks at once.
 */
#include "scale/timed_call.h"
#include "layers/random_layer.h"
#include "machine/clock.h"
#include "ranks/common_time.h"

#include <math.h>
#include <stdlib.h>

adamoe_status adamoe_timed_call_open(const adamoe_measure *measure, const adamoe_kernel *kernel,
                                     adamoe_prepared *prepared, size_t hidden_size, const adamoe_plan *plan,
                                     adamoe_timed_call *out)
{
    const adamoe_host *host = &measure->machine->host;
    const size_t values = plan->tokens * hidden_size,
                 work = kernel->work_bytes(prepared, plan->rows, plan->tokens);
    adamoe_splitmix64 random = adamoe_random_for("scale: states", measure->seed + measure->world->rank);
    *out = (adamoe_timed_call){.host = host,
                               .kernel = kernel,
                               .prepared = prepared,
                               .plan = plan,
                               .x = host->allocate(host->context, (values + 1) * sizeof *out->x, 64),
                               .y = host->allocate(host->context, (values + 1) * sizeof *out->y, 64),
                               .run = {.team = measure->machine->team,
                                       .work = host->allocate(host->context, work + 1, 64),
                                       .work_bytes = work}};
    if (out->x == NULL || out->y == NULL || out->run.work == NULL) {
        adamoe_timed_call_close(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "a call of %zu tokens: out of memory", plan->tokens);
    }
    adamoe_random_states(&random, values, out->x);
    return adamoe_ok();
}

void adamoe_timed_call_close(adamoe_timed_call *call)
{
    void *const memory[] = {call->x, call->y, call->run.work};
    for (size_t i = 0; i < 3; ++i) {
        if (memory[i] != NULL) {
            call->host->release(call->host->context, memory[i]);
        }
    }
    *call = (adamoe_timed_call){.x = NULL};
}

adamoe_status adamoe_measure_slowest(const adamoe_world *world, double own, double *out)
{
    *out = own;
    return adamoe_slowest_of_ranks(world, out, 1);
}

/* On ranks below `ranks`. */
static adamoe_status time_calls(const adamoe_measure *measure, adamoe_timed_call *call, size_t calls,
                                uint32_t ranks, bool in_step, double *seconds)
{
    const adamoe_world *world = measure->world;
    ADAMOE_TRY(adamoe_world_barrier(world));
    const double start = adamoe_now();
    for (size_t i = 0; i < calls && world->rank < ranks; ++i) {
        ADAMOE_TRY(call->kernel->experts(call->prepared, &call->run, call->x, call->plan, call->y));
        ADAMOE_TRY(in_step ? adamoe_world_barrier(world) : adamoe_ok());
    }
    const double own = world->rank < ranks ? (adamoe_now() - start) / (double)calls : 0.0;
    return adamoe_measure_slowest(world, own, seconds);
}

adamoe_status adamoe_timed_call_mean(const adamoe_measure *measure, adamoe_timed_call *call, size_t calls,
                                     double *seconds)
{
    return time_calls(measure, call, calls, measure->world->ranks, false, seconds);
}

adamoe_status adamoe_timed_call_in_step(const adamoe_measure *measure, adamoe_timed_call *call, size_t calls,
                                        double *seconds)
{
    return time_calls(measure, call, calls, measure->world->ranks, true, seconds);
}

adamoe_status adamoe_timed_call_alone(const adamoe_measure *measure, adamoe_timed_call *call, size_t calls,
                                      double *seconds)
{
    return time_calls(measure, call, calls, 1, false, seconds);
}

adamoe_status adamoe_timed_call_warm_up(const adamoe_measure *measure, adamoe_timed_call *call,
                                        double *seconds, size_t *calls)
{
    ADAMOE_TRY(adamoe_timed_call_mean(measure, call, 1, seconds));
    ADAMOE_TRY(adamoe_timed_call_mean(measure, call, 1, seconds));
    *calls = (size_t)fmin(1000.0, fmax(1.0, ceil(fmin(0.03, 1e-3 * measure->budget) / *seconds)));
    return adamoe_ok();
}
