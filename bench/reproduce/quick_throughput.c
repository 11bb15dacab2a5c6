/*
 * A few timings of one expert layer, for an overview.
 */
#include "reproduce/quick_throughput.h"
#include "machine/clock.h"
#include "machine/host.h"
#include "layers/random_layer.h"
#include "layers/routing_pattern.h"
#include "statistics/statistics.h"
#include "timing/roofline.h"
#include "plan.h"
#include "router.h"

#include <stdlib.h>

const adamoe_quick_layer adamoe_quick_sizes = {1024, 2048, 8, 8, 3, 1.67};

#define MOST_TOKENS   256
#define REPETITIONS   9
#define LEAST_SECONDS 0.01 /* of one repetition: shorter calls are repeated within it */

typedef struct timing {
    const adamoe_kernel *kernel;
    adamoe_prepared *prepared;
    adamoe_run run;
    float *x, *y;
    uint64_t seed;
} timing;

/* Seconds of one call, as the mean over `calls`. */
static adamoe_status time_calls(const timing *t, const adamoe_plan *plan, size_t calls, double *seconds)
{
    const double start = adamoe_now();
    for (size_t i = 0; i < calls; ++i) {
        ADAMOE_TRY(t->kernel->experts(t->prepared, &t->run, t->x, plan, t->y));
    }
    *seconds = (adamoe_now() - start) / (double)calls;
    return adamoe_ok();
}

static adamoe_status time_plan(timing *t, const adamoe_plan *plan, adamoe_quick_timing *out)
{
    double seconds[REPETITIONS], once = 0.0;
    const size_t bytes = t->kernel->work_bytes(t->prepared, plan->rows, plan->tokens);
    adamoe_heap_host.release(NULL, t->run.work);
    t->run.work = adamoe_heap_host.allocate(NULL, bytes, 64);
    t->run.work_bytes = bytes;
    if (t->run.work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "throughput: out of memory");
    }
    ADAMOE_TRY(time_calls(t, plan, 1, &once)); /* a library may compile at the first call */
    ADAMOE_TRY(time_calls(t, plan, 1, &once));
    const size_t calls = once >= LEAST_SECONDS ? 1 : (size_t)(LEAST_SECONDS / once) + 1;
    for (size_t i = 0; i < REPETITIONS; ++i) {
        ADAMOE_TRY(time_calls(t, plan, calls, &seconds[i]));
    }
    adamoe_sort(seconds, REPETITIONS);
    const adamoe_expert_cost cost = adamoe_expert_cost_of(
        adamoe_quick_sizes.hidden_size, adamoe_quick_sizes.intermediate_size, t->kernel->weight);
    out->tokens = plan->tokens;
    out->rows = plan->rows;
    out->seconds = adamoe_median(seconds, REPETITIONS);
    out->least = seconds[0];
    out->greatest = seconds[REPETITIONS - 1];
    out->gflops = adamoe_plan_work_of(plan, cost).flops / out->seconds * 1e-9;
    return adamoe_ok();
}

static adamoe_status time_tokens(timing *t, size_t tokens, adamoe_quick_timing *out)
{
    const adamoe_quick_layer *s = &adamoe_quick_sizes;
    const adamoe_mixture mixture = {s->experts, s->null_experts, s->top_k};
    adamoe_splitmix64 random = adamoe_random_for("throughput/routing", t->seed);
    adamoe_routing *routing = NULL;
    adamoe_plan *plan = NULL;
    ADAMOE_TRY(adamoe_pattern_routing(ADAMOE_PATTERN_BALANCED, mixture, ADAMOE_NULL_ZERO, s->load, tokens,
                                      &random, &routing));
    adamoe_status status = adamoe_plan_create(routing, &plan);
    adamoe_routing_free(routing);
    if (status.code == ADAMOE_OK) {
        status = time_plan(t, plan, out);
    }
    adamoe_plan_free(plan);
    return status;
}

static adamoe_status time_all(timing *t, adamoe_quick_timing timings[ADAMOE_QUICK_TIMINGS])
{
    static const size_t tokens[ADAMOE_QUICK_TIMINGS] = {1, 16, 64, MOST_TOKENS};
    adamoe_splitmix64 random = adamoe_random_for("throughput/states", t->seed);
    t->x = calloc(MOST_TOKENS * adamoe_quick_sizes.hidden_size, sizeof *t->x);
    t->y = calloc(MOST_TOKENS * adamoe_quick_sizes.hidden_size, sizeof *t->y);
    if (t->x == NULL || t->y == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "throughput: out of memory");
    }
    adamoe_random_states(&random, MOST_TOKENS * adamoe_quick_sizes.hidden_size, t->x);
    for (size_t i = 0; i < ADAMOE_QUICK_TIMINGS; ++i) {
        ADAMOE_TRY(time_tokens(t, tokens[i], &timings[i]));
    }
    return adamoe_ok();
}

static adamoe_status time_layer(timing *t, const adamoe_layer *layer, const adamoe_machine *machine,
                                adamoe_quick_timing timings[ADAMOE_QUICK_TIMINGS])
{
    t->run.team = machine->team;
    adamoe_status status = t->kernel->prepare(&machine->host, layer, machine->placement, &t->prepared);
    if (status.code == ADAMOE_OK) {
        status = time_all(t, timings);
        t->kernel->release(t->prepared);
    }
    free(t->x);
    free(t->y);
    adamoe_heap_host.release(NULL, t->run.work);
    return status;
}

adamoe_status adamoe_quick_throughput(const adamoe_kernel *kernel, const adamoe_machine *machine,
                                      uint64_t seed, adamoe_quick_timing timings[ADAMOE_QUICK_TIMINGS])
{
    const adamoe_quick_layer *s = &adamoe_quick_sizes;
    const adamoe_layer_sizes sizes = {s->hidden_size, s->intermediate_size, s->experts, s->null_experts};
    adamoe_splitmix64 random = adamoe_random_for("throughput/weights", seed);
    adamoe_random_layer layer;
    ADAMOE_TRY(adamoe_random_layer_create(sizes, ADAMOE_BF16, 0, &random, &layer));
    timing t = {.kernel = kernel, .seed = seed};
    const adamoe_status status = time_layer(&t, &layer.layer, machine, timings);
    adamoe_random_layer_free(&layer);
    return status;
}
