/*
 * One layer on one kernel, ready to be timed again and again.
 */
#include "gate/timed_layer.h"
#include "machine/clock.h"
#include "machine/host.h"
#include "machine/team.h"
#include "timing/roofline.h"
#include "fnv1a.h"
#include "plan.h"
#include "router.h"

#include <stdlib.h>
#include <string.h>

const adamoe_preset adamoe_gate_preset = {.name = "gate",
                                          .hidden_size = 512,
                                          .intermediate_size = 1024,
                                          .mixture = {8, 8, 3},
                                          .load = 1.67,
                                          .weights = ADAMOE_F32};

const adamoe_preset *adamoe_timed_preset(const char *name)
{
    if (strcmp(name, adamoe_gate_preset.name) == 0) {
        return &adamoe_gate_preset;
    }
    for (size_t i = 0; i < ADAMOE_PRESETS; ++i) {
        if (strcmp(name, adamoe_presets[i].name) == 0) {
            return &adamoe_presets[i];
        }
    }
    return NULL;
}

static adamoe_status make_plan(adamoe_timed_layer *timed, const adamoe_preset *preset, size_t tokens,
                               uint64_t seed)
{
    adamoe_splitmix64 random = adamoe_random_for("gate/routing", seed);
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_pattern_routing(ADAMOE_PATTERN_BALANCED, preset->mixture, ADAMOE_NULL_ZERO,
                                      preset->load, tokens, &random, &routing));
    timed->load = adamoe_routing_load(routing);
    const adamoe_status status = adamoe_plan_create(routing, &timed->plan);
    adamoe_routing_free(routing);
    return status;
}

/* What a call does, counted from the plan and not from what the kernel says. */
static void count_work(adamoe_timed_layer *timed, const adamoe_preset *preset)
{
    const adamoe_plan_work work =
        adamoe_plan_work_of(timed->plan, adamoe_expert_cost_of(preset->hidden_size, preset->intermediate_size,
                                                               timed->kernel->weight));
    timed->rows = work.rows;
    timed->products = work.touched_experts;
    timed->executed_flops = work.flops;
    timed->touched_bytes = work.bytes;
}

static adamoe_status make_buffers(adamoe_timed_layer *timed, size_t count, uint64_t seed)
{
    timed->x = calloc(count + 1, sizeof *timed->x);
    timed->y = calloc(count + 1, sizeof *timed->y);
    timed->run.work_bytes =
        timed->kernel->work_bytes(timed->prepared, timed->plan->rows, timed->plan->tokens);
    timed->run.work = adamoe_heap_host.allocate(NULL, timed->run.work_bytes, 64);
    if (timed->x == NULL || timed->y == NULL || timed->run.work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", timed->kernel->name);
    }
    adamoe_splitmix64 random = adamoe_random_for("gate/states", seed);
    adamoe_random_states(&random, count, timed->x);
    return adamoe_ok();
}

static adamoe_status call(adamoe_timed_layer *timed)
{
    return timed->kernel->experts(timed->prepared, &timed->run, timed->x, timed->plan, timed->y);
}

static adamoe_status make(adamoe_timed_layer *timed, const adamoe_preset *preset, const adamoe_layer *layer,
                          size_t tokens, uint64_t seed)
{
    const char *why_not = "no reason given";
    const size_t count = tokens * preset->hidden_size;
    const adamoe_placement placement = adamoe_one_node(timed->run.team->threads);
    if (!timed->kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "cannot run here: %s", why_not);
    }
    ADAMOE_TRY(make_plan(timed, preset, tokens, seed));
    count_work(timed, preset);
    ADAMOE_TRY(timed->kernel->prepare(&adamoe_heap_host, layer, &placement, &timed->prepared));
    ADAMOE_TRY(make_buffers(timed, count, seed));
    ADAMOE_TRY(call(timed));
    timed->bits = adamoe_fnv1a(ADAMOE_FNV1A_START, timed->y, count * sizeof *timed->y);
    return adamoe_ok();
}

adamoe_status adamoe_timed_layer_create(const adamoe_kernel *kernel, const adamoe_preset *preset,
                                        const adamoe_layer *layer, size_t tokens, const adamoe_team *team,
                                        uint64_t seed, adamoe_timed_layer *out)
{
    *out = (adamoe_timed_layer){.kernel = kernel, .run = {.team = team}};
    const adamoe_status status = make(out, preset, layer, tokens, seed);
    if (status.code != ADAMOE_OK) {
        adamoe_timed_layer_free(out);
    }
    return status;
}

adamoe_status adamoe_timed_layer_run(adamoe_timed_layer *timed, size_t calls, double *seconds)
{
    ADAMOE_TRY(call(timed));
    const double start = adamoe_now();
    for (size_t i = 0; i < calls; ++i) {
        ADAMOE_TRY(call(timed));
    }
    *seconds = adamoe_now() - start;
    return adamoe_ok();
}

void adamoe_timed_layer_free(adamoe_timed_layer *timed)
{
    if (timed->prepared != NULL) {
        timed->kernel->release(timed->prepared);
    }
    adamoe_plan_free(timed->plan);
    free(timed->x);
    free(timed->y);
    adamoe_heap_host.release(NULL, timed->run.work);
    *timed = (adamoe_timed_layer){0};
}
