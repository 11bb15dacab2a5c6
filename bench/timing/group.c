/*
 * Kernels that are compared with each other, timed in turn.
 */
#include "timing/group.h"
#include "timing/judge.h"
#include "machine/clock.h"
#include "remote/remote.h"
#include "machine/last_level_cache.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CALLS 1000000.0

/* A member on its way through a group. */
typedef struct runner {
    adamoe_bench_member *member;
    adamoe_prepared **prepared;
    size_t copies, turn;       /* calls so far: on the next batch and, after the last one, the next copy */
    bool empties_caches;       /* before each repetition */
    double repetition_seconds; /* about */
    adamoe_run run;
    float *judged;              /* [tokens, hidden_size] of the first batch, found right */
    adamoe_router_step *router; /* with options.stages */
    double stage_seconds[ADAMOE_STAGES];
} runner;

typedef struct group {
    const adamoe_bench_machine *machine;
    adamoe_bench_weights *weights;
    const adamoe_traffic *traffic;
    const adamoe_timing_options *options;
    runner *runner; /* [count] */
    size_t count;
    size_t bursts;      /* of the peaks so far */
    float *y;           /* [tokens, hidden_size] */
    float *router_rows; /* [n + m, hidden_size] */
} group;

size_t adamoe_cold_copies(double touched_bytes, size_t batches, size_t cache_bytes)
{
    const double rotation = touched_bytes * (double)batches;
    return rotation > 0.0 ? 1 + (size_t)(2.0 * (double)cache_bytes / rotation) : 1;
}

/* ---------------------------------------------------------------------------------------------- one call */

/* Seconds of one repetition so far. */
typedef struct sums {
    double experts;
    adamoe_router_seconds router;
} sums;

static adamoe_status experts(const group *g, runner *r, const adamoe_traffic_batch *batch,
                             const adamoe_plan *plan)
{
    adamoe_prepared *prepared = r->prepared[r->turn / g->traffic->batches % r->copies];
    ++r->turn;
    return r->member->kernel->experts(prepared, &r->run, batch->x, plan, g->y);
}

static const adamoe_traffic_batch *next_batch(const group *g, const runner *r)
{
    return &g->traffic->batch[r->turn % g->traffic->batches];
}

static adamoe_status call(const group *g, runner *r)
{
    const adamoe_traffic_batch *batch = next_batch(g, r);
    return experts(g, r, batch, batch->plan);
}

/* The same from the hidden states on, with a clock between the steps. */
static adamoe_status call_in_stages(const group *g, runner *r, sums *s)
{
    const adamoe_traffic_batch *batch = next_batch(g, r);
    const adamoe_plan *plan = NULL;
    ADAMOE_TRY(adamoe_router_step_run(r->router, batch->x, &plan, &s->router));
    const double start = adamoe_now();
    const adamoe_status status = experts(g, r, batch, plan);
    s->experts += adamoe_now() - start;
    return status;
}

static adamoe_status call_either_way(const group *g, runner *r, sums *s)
{
    return r->router != NULL ? call_in_stages(g, r, s) : call(g, r);
}

/* ------------------------------------------------------------------------------------------------ making */

/* A kernel may answer for each object otherwise. */
static adamoe_status reserve_work(const group *g, runner *r)
{
    const adamoe_host *host = g->machine->host;
    const adamoe_plan *plan = g->traffic->batch[0].plan;
    size_t most = 0;
    for (size_t i = 0; i < r->copies; ++i) {
        const size_t bytes = r->member->kernel->work_bytes(r->prepared[i], plan->rows, plan->tokens);
        most = bytes > most ? bytes : most;
    }
    if (r->run.work == NULL || most > r->run.work_bytes) {
        host->release(host->context, r->run.work);
        r->run.work = host->allocate(host->context, most, 64);
        r->run.work_bytes = most;
    }
    r->run.team = g->machine->team;
    return r->run.work != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
}

/* On cleared memory, so that what is not written is seen; NaN is no result. */
static adamoe_status call_on_cleared(const group *g, runner *r)
{
    memset(g->y, 0xff, g->traffic->tokens * g->weights->preset->hidden_size * sizeof *g->y);
    return call(g, r);
}

static adamoe_status judge_first_batch(const group *g, const runner *r)
{
    return adamoe_bench_check(r->member->kernel, &g->weights->copy[0].layer, &g->traffic->batch[0],
                              g->traffic->tokens, g->y, g->machine->team);
}

static adamoe_status check(const group *g, runner *r)
{
    const size_t bytes = g->traffic->tokens * g->weights->preset->hidden_size * sizeof *g->y;
    r->judged = malloc(bytes + 1);
    if (r->judged == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    ADAMOE_TRY(call_on_cleared(g, r));
    ADAMOE_TRY(judge_first_batch(g, r));
    memcpy(r->judged, g->y, bytes);
    return adamoe_ok();
}

/* All copies hold the same weights, so that the last one has to give what the first one gave, or something as right. */
static adamoe_status check_last_copy(const group *g, runner *r)
{
    const size_t bytes = g->traffic->tokens * g->weights->preset->hidden_size * sizeof *g->y;
    r->turn = (r->copies - 1) * g->traffic->batches;
    adamoe_status status = call_on_cleared(g, r);
    if (status.code == ADAMOE_OK && memcmp(g->y, r->judged, bytes) != 0) {
        status = judge_first_batch(g, r);
    }
    return status.code == ADAMOE_OK
               ? status
               : adamoe_error(status.code, "on the last copy of the weights, after it was timed: %.400s",
                              status.message);
}

/* Selects the same experts on every batch as was wanted. */
static adamoe_status make_router(const group *g, runner *r)
{
    const adamoe_bench_machine *m = g->machine;
    ADAMOE_TRY(adamoe_router_step_create(r->member->kernel, m->fallback,
                                         adamoe_preset_selection(g->weights->preset), g->router_rows,
                                         g->traffic->tokens, m->team, m->host, &m->placement, &r->router));
    adamoe_router_seconds ignored = {0.0, 0.0};
    for (size_t i = 0; i < g->traffic->batches; ++i) {
        const adamoe_plan *plan = NULL;
        ADAMOE_TRY(adamoe_router_step_run(r->router, g->traffic->batch[i].x, &plan, &ignored));
        ADAMOE_TRY(adamoe_router_step_compare(r->router, g->traffic->batch[i].routing));
    }
    r->run.stage_seconds = r->stage_seconds;
    return adamoe_ok();
}

/* Where a weight is used again before twice the last-level cache was touched, so much is read from elsewhere
 * before each repetition, for which the copies last. */
static void empty_caches(const group *g, const runner *r)
{
    if (r->empties_caches) {
        adamoe_peak_meter_empty_caches(g->machine->meter);
    }
}

/* Two calls before the third is looked at: a library may compile at the first one. */
static adamoe_status choose_calls(const group *g, runner *r)
{
    sums ignored = {0.0, {0.0, 0.0}};
    ADAMOE_TRY(call_either_way(g, r, &ignored));
    ADAMOE_TRY(call_either_way(g, r, &ignored));
    empty_caches(g, r);
    const double start = adamoe_now();
    ADAMOE_TRY(call_either_way(g, r, &ignored));
    const double once = adamoe_now() - start, calls = ceil(g->options->least_seconds / once);
    r->member->calls = calls >= MOST_CALLS ? (size_t)MOST_CALLS : calls >= 1.0 ? (size_t)calls : 1;
    r->repetition_seconds = (double)r->member->calls * once;
    return adamoe_ok();
}

/* As many as outlast the caches, or as one repetition with its untimed call goes through, if those are fewer. */
static void choose_copies(const group *g, runner *r, size_t cold)
{
    const size_t batches = g->traffic->batches, calls = r->member->calls;
    const size_t once = (calls > 1 ? (calls + batches - 1) / batches : 0) + 1;
    r->empties_caches = once < cold;
    r->member->copies_wanted = r->empties_caches ? once : cold;
}

static adamoe_status hold(const group *g, runner *r, size_t copies)
{
    return adamoe_bench_weights_hold(g->weights, r->member->kernel, copies, g->machine->team,
                                     g->machine->host, &g->machine->placement, &r->prepared);
}

static adamoe_status make_member(const group *g, adamoe_bench_member *member)
{
    const adamoe_preset *preset = g->weights->preset;
    const char *why_not = "no reason given";
    if (!member->kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "cannot run here: %s", why_not);
    }
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(preset->hidden_size, preset->intermediate_size, member->kernel->weight);
    member->work = adamoe_plan_work_of(g->traffic->batch[0].plan, cost);
    member->load = adamoe_routing_load(g->traffic->batch[0].routing);
    member->seconds = calloc(g->options->repetitions, sizeof *member->seconds);
    member->stages = calloc(g->options->repetitions, sizeof *member->stages);
    member->before = calloc(g->options->repetitions, sizeof *member->before);
    member->limits = calloc(g->options->repetitions, sizeof *member->limits);
    if (member->seconds == NULL || member->stages == NULL || member->before == NULL ||
        member->limits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    return adamoe_ok();
}

/* Copies of the weights that outlast the caches. */
static size_t cold_copies(const group *g, const runner *r)
{
    return g->options->hot
               ? 1
               : adamoe_cold_copies(r->member->work.bytes, g->traffic->batches, adamoe_last_level_cache());
}

/* With one copy of the weights. */
static adamoe_status make(const group *g, runner *r)
{
    adamoe_bench_member *member = r->member;
    ADAMOE_TRY(make_member(g, member));
    ADAMOE_TRY(hold(g, r, 1));
    r->copies = 1;
    ADAMOE_TRY(reserve_work(g, r));
    ADAMOE_TRY(check(g, r));
    if (g->options->stages) {
        ADAMOE_TRY(make_router(g, r));
    }
    if (member->kernel->implementation != NULL) {
        member->kernel->implementation(r->prepared[0], member->implementation, sizeof member->implementation);
    }
    const size_t cold = cold_copies(g, r);
    r->empties_caches = cold > 1;
    ADAMOE_TRY(choose_calls(g, r));
    choose_copies(g, r, cold);
    return adamoe_ok();
}

/* The other copies, once all kernels have one and share what memory is left. */
static adamoe_status add_copies(const group *g, runner *r)
{
    ADAMOE_TRY(hold(g, r, r->member->copies));
    r->copies = r->member->copies;
    return reserve_work(g, r);
}

/* ------------------------------------------------------------------------------------------------ timing */

static void keep_stages(const runner *r, const sums *s, adamoe_stage_seconds *out)
{
    const double calls = (double)r->member->calls;
    *out = (adamoe_stage_seconds){.route = s->router.route / calls,
                                  .plan = s->router.plan / calls,
                                  .up = r->stage_seconds[ADAMOE_STAGE_UP] / calls,
                                  .down = r->stage_seconds[ADAMOE_STAGE_DOWN] / calls,
                                  .combine = r->stage_seconds[ADAMOE_STAGE_COMBINE] / calls};
}

/* Seconds of all calls of a kernel in a process of its own that its process did not compute; 0 for others. */
static double crossing_so_far(const adamoe_kernel *kernel)
{
    adamoe_remote_clock clock;
    return adamoe_remote_clock_of(kernel, &clock) ? clock.here - clock.there : 0.0;
}

/* After what ran in between, hot weights are cold and the team may sleep: one call more, untimed, unless a
 * repetition is a single long one. */
static adamoe_status repeat(const group *g, runner *r, size_t repetition)
{
    sums s = {0.0, {0.0, 0.0}};
    empty_caches(g, r);
    if (r->member->calls > 1 || g->options->hot) {
        ADAMOE_TRY(call_either_way(g, r, &s));
    }
    s = (sums){0.0, {0.0, 0.0}};
    memset(r->stage_seconds, 0, sizeof r->stage_seconds);
    const double crossing = crossing_so_far(r->member->kernel);
    const double start = adamoe_now();
    for (size_t i = 0; i < r->member->calls; ++i) {
        ADAMOE_TRY(call_either_way(g, r, &s));
    }
    const double all = adamoe_now() - start;
    r->member->seconds[repetition] = (r->router != NULL ? s.experts : all) / (double)r->member->calls;
    keep_stages(r, &s, &r->member->stages[repetition]);
    r->member->stages[repetition].crossing =
        (crossing_so_far(r->member->kernel) - crossing) / (double)r->member->calls;
    return adamoe_ok();
}

static bool runs(const runner *r)
{
    return r->member->wanted && r->member->status.code == ADAMOE_OK;
}

static adamoe_operand_pairs pairs_of(const group *g)
{
    adamoe_operand_pairs pairs = 0;
    for (size_t i = 0; i < g->count; ++i) {
        pairs |= runs(&g->runner[i]) ? adamoe_kernel_pairs(g->runner[i].member->kernel) : 0;
    }
    return pairs;
}

/* Bursts stand between the repetitions of all, so they are as long as suits the longest. */
static size_t slices_of(const group *g)
{
    double longest = 0.0;
    for (size_t i = 0; i < g->count; ++i) {
        if (runs(&g->runner[i])) {
            longest = fmax(longest, g->runner[i].repetition_seconds);
        }
    }
    return adamoe_burst_slices(longest);
}

static adamoe_status burst(group *g, adamoe_operand_pairs pairs, size_t slices)
{
    ++g->bursts;
    return adamoe_peak_meter_burst(g->machine->meter, pairs, slices);
}

static adamoe_status time_all(group *g)
{
    const adamoe_operand_pairs pairs = pairs_of(g);
    const size_t slices = slices_of(g);
    adamoe_peak_meter_begin(g->machine->meter);
    if (pairs == 0) {
        return adamoe_ok();
    }
    ADAMOE_TRY(burst(g, pairs, slices));
    for (size_t repetition = 0; repetition < g->options->repetitions; ++repetition) {
        for (size_t i = 0; i < g->count; ++i) {
            runner *r = &g->runner[(repetition + i) % g->count];
            if (runs(r)) {
                r->member->before[repetition] = g->bursts - 1;
                r->member->status = repeat(g, r, repetition);
                ADAMOE_TRY(burst(g, pairs, slices));
            }
        }
    }
    return adamoe_ok();
}

static const char *level_name(int level)
{
    return level == 2 ? "L2" : level == 3 ? "L3" : "memory";
}

/* Hot weights are read from the caches that hold them, cold ones from memory. */
static void find_limits(const group *g, adamoe_bench_member *member)
{
    const adamoe_preset *preset = g->weights->preset;
    const adamoe_plan *plan = g->traffic->batch[0].plan;
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(preset->hidden_size, preset->intermediate_size, member->kernel->weight);
    const adamoe_peak *peak = &member->peak;
    const double hot_rate =
        g->options->hot ? adamoe_hot_rate(&peak->caches, member->work.bytes, peak->gbytes_per_second) : 0.0;
    const adamoe_rates best = {peak->gflops, hot_rate > 0.0 ? hot_rate : peak->gbytes_per_second};
    const adamoe_rates usual = {peak->gflops_median,
                                hot_rate > 0.0 ? hot_rate : peak->gbytes_per_second_median};
    const int level =
        g->options->hot ? adamoe_hot_level(&peak->caches, member->work.bytes, peak->gbytes_per_second) : 4;
    member->limit = best.gflops > 0.0 ? adamoe_roofline(plan, cost, best) : (adamoe_limit){NAN, NAN};
    member->binds = best.gflops <= 0.0                           ? ""
                    : adamoe_arithmetic_binds(plan, cost, usual) ? "arithmetic"
                                                                 : level_name(level);
    adamoe_paired_limits(plan, cost, peak, member->before, g->options->repetitions, hot_rate, member->limits);
}

static adamoe_status judge_possible(const adamoe_bench_member *m, bool hot)
{
    const adamoe_possible_conditions conditions = {
        .peak_gflops = m->peak.gflops,
        .arithmetic_binds = strcmp(m->binds, "arithmetic") == 0,
        .may_come_from_cache = hot || adamoe_last_level_cache_is_by_hand() || adamoe_is_capped(m) ||
                               m->peak.read_bytes < m->peak.read_bytes_wanted};
    return adamoe_judge_possible(&m->summary, conditions);
}

static adamoe_status summarise(group *g)
{
    const adamoe_bench_member *first = NULL;
    for (size_t i = 0; i < g->count; ++i) {
        adamoe_bench_member *member = g->runner[i].member;
        if (!runs(&g->runner[i])) {
            continue;
        }
        first = first == NULL ? member : first;
        ADAMOE_TRY(
            adamoe_peak_meter_read(g->machine->meter, adamoe_kernel_pairs(member->kernel), &member->peak));
        find_limits(g, member);
        ADAMOE_TRY(adamoe_bench_summarise(member->seconds, first->seconds, member->limits,
                                          g->options->repetitions, member->work, member->limit,
                                          &member->summary));
        member->possible = judge_possible(member, g->options->hot);
    }
    return adamoe_ok();
}

static bool may_run(const adamoe_bench_member *member)
{
    const char *why_not = NULL;
    return member->wanted && member->kernel->supported(&why_not);
}

/* Whether there is memory for those that run. */
static adamoe_status check_weights(const group *g)
{
    const adamoe_kernel **kernels = calloc(g->count + 1, sizeof *kernels);
    size_t count = 0;
    if (kernels == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    for (size_t i = 0; i < g->count; ++i) {
        if (may_run(g->runner[i].member)) {
            kernels[count++] = g->runner[i].member->kernel;
        }
    }
    const adamoe_status status = adamoe_bench_weights_check(g->weights, kernels, count);
    free(kernels);
    return status;
}

static adamoe_status plan_copies(group *g)
{
    adamoe_copies *copies = calloc(g->count + 1, sizeof *copies);
    size_t count = 0;
    if (copies == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    for (size_t i = 0; i < g->count; ++i) {
        const adamoe_bench_member *m = g->runner[i].member;
        if (runs(&g->runner[i])) {
            copies[count++] = (adamoe_copies){.kernel = m->kernel, .wanted = m->copies_wanted};
        }
    }
    adamoe_bench_weights_plan(g->weights, copies, count);
    for (size_t i = 0, next = 0; i < g->count; ++i) {
        if (runs(&g->runner[i])) {
            g->runner[i].member->copies = copies[next++].count;
        }
    }
    free(copies);
    return adamoe_ok();
}

static adamoe_status run(group *g)
{
    ADAMOE_TRY(check_weights(g));
    for (size_t i = 0; i < g->count; ++i) {
        runner *r = &g->runner[i];
        r->member->status = r->member->wanted ? make(g, r) : adamoe_ok();
    }
    ADAMOE_TRY(plan_copies(g));
    for (size_t i = 0; i < g->count; ++i) {
        runner *r = &g->runner[i];
        r->member->status = runs(r) ? add_copies(g, r) : r->member->status;
    }
    ADAMOE_TRY(time_all(g));
    for (size_t i = 0; i < g->count; ++i) {
        runner *r = &g->runner[i];
        r->member->status = runs(r) ? check_last_copy(g, r) : r->member->status;
    }
    return summarise(g);
}

adamoe_status adamoe_bench_group_run(const adamoe_bench_machine *machine, adamoe_bench_weights *weights,
                                     const adamoe_traffic *traffic, const adamoe_timing_options *options,
                                     adamoe_bench_member *member, size_t count)
{
    group g = {
        .machine = machine, .weights = weights, .traffic = traffic, .options = options, .count = count};
    const adamoe_selection selection = adamoe_preset_selection(weights->preset);
    const size_t d = selection.hidden_size;
    g.runner = calloc(count, sizeof *g.runner);
    g.y = malloc((traffic->tokens * d + 1) * sizeof *g.y);
    g.router_rows = malloc((selection.mixture.experts + selection.mixture.null_experts) * d * sizeof *g.y);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    if (g.runner != NULL && g.y != NULL && g.router_rows != NULL) {
        adamoe_traffic_router(selection, options->seed, g.router_rows);
        for (size_t i = 0; i < count; ++i) {
            g.runner[i].member = &member[i];
        }
        status = run(&g);
    }
    for (size_t i = 0; g.runner != NULL && i < count; ++i) {
        adamoe_router_step_free(g.runner[i].router);
        free(g.runner[i].judged);
        machine->host->release(machine->host->context, g.runner[i].run.work);
    }
    free(g.runner);
    free(g.y);
    free(g.router_rows);
    return status;
}

void adamoe_bench_member_free(adamoe_bench_member *member)
{
    free(member->seconds);
    free(member->stages);
    free(member->before);
    free(member->limits);
    member->seconds = NULL;
    member->stages = NULL;
    member->before = NULL;
    member->limits = NULL;
}

bool adamoe_tells_stages(const adamoe_stage_seconds *stages)
{
    return stages->up > 0.0 && stages->down > 0.0;
}

double adamoe_overhead_share(const adamoe_stage_seconds *stages, double experts)
{
    return 1.0 - (stages->up + stages->down) / (stages->route + stages->plan + experts);
}
