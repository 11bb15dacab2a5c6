/*
 * One layer, timed.
 */
#include "bench/layer.h"
#include "gbench/gbench.h"
#include "machine/memory.h"
#include "layers/recorded_routing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench_group bench_group;

/* One benchmark: its place in its group. */
typedef struct bench {
    bench_group *group;
    size_t index;
    char name[192];
} bench;

struct bench_group {
    adamoe_bench_layer *layer;
    size_t tokens;
    uint32_t threads;
    adamoe_bench_member *member; /* [count] */
    bench *bench;                /* [count] */
    adamoe_against *against;     /* [count] */
    size_t count;
    bool done;
    adamoe_status status; /* what kept the whole group from being timed */
    bench_group *next;
};

struct adamoe_bench_layer {
    adamoe_bench_options options;
    adamoe_bench_machine machine; /* of the latest group's number of threads */
    adamoe_bench_weights weights;
    bench_group *first, *last;
};

adamoe_status adamoe_bench_layer_create(const adamoe_bench_options *options, adamoe_bench_layer **out)
{
    adamoe_bench_layer *layer = calloc(1, sizeof *layer);
    if (layer == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    layer->options = *options;
    layer->machine.fallback = options->fallback;
    layer->weights = (adamoe_bench_weights){.preset = options->preset, .seed = options->timing.seed};
    *out = layer;
    return adamoe_ok();
}

/* A team of so many threads; nothing stays prepared for another one. */
static adamoe_status enter_threads(adamoe_bench_layer *layer, uint32_t threads)
{
    if (layer->machine.team != NULL && layer->machine.team->threads == threads) {
        return adamoe_ok();
    }
    adamoe_bench_weights_release(&layer->weights);
    adamoe_bench_machine_leave(&layer->machine);
    adamoe_machine_options options = layer->options.machine;
    options.threads = threads;
    return adamoe_bench_machine_enter(&layer->machine, &options);
}

static void free_group(bench_group *group)
{
    for (size_t i = 0; i < group->count; ++i) {
        adamoe_bench_member_free(&group->member[i]);
    }
    free(group->member);
    free(group->bench);
    free(group->against);
    free(group);
}

void adamoe_bench_layer_free(adamoe_bench_layer *layer)
{
    if (layer == NULL) {
        return;
    }
    while (layer->first != NULL) {
        bench_group *group = layer->first;
        layer->first = group->next;
        free_group(group);
    }
    gbench_clear();
    adamoe_bench_weights_free(&layer->weights);
    adamoe_bench_machine_leave(&layer->machine);
    free(layer);
}

/* ------------------------------------------------------------------------------------------------ running */

bool adamoe_bench_places(const adamoe_bench_options *options)
{
    return options->machine.policy != ADAMOE_NUMA_LOCAL || options->machine.topology != NULL;
}

const char *adamoe_bench_routing_name(const adamoe_bench_options *options)
{
    return options->recorded != NULL ? "recorded" : adamoe_pattern_names[options->pattern];
}

adamoe_status adamoe_bench_logits(const adamoe_bench_options *options, size_t tokens, float *logits)
{
    const adamoe_preset *preset = options->preset;
    const uint64_t seed = options->timing.seed;
    if (options->recorded != NULL) {
        return adamoe_recorded_logits(options->recorded, preset->mixture, tokens, seed, logits);
    }
    adamoe_splitmix64 random = adamoe_random_for(adamoe_pattern_names[options->pattern], seed);
    adamoe_pattern_logits(options->pattern, preset->mixture, preset->load, tokens, &random, logits);
    return adamoe_ok();
}

static adamoe_status make_traffic(const bench_group *group, adamoe_traffic *out)
{
    const adamoe_bench_options *o = &group->layer->options;
    const adamoe_mixture mixture = o->preset->mixture;
    const size_t all = mixture.experts + mixture.null_experts;
    ADAMOE_TRY(adamoe_ask_memory("logits", (double)(group->tokens * all) * sizeof(float),
                                 "fewer tokens (--tokens)"));
    float *logits = calloc(group->tokens * all + 1, sizeof *logits);
    if (logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", group->tokens);
    }
    adamoe_status status = adamoe_bench_logits(o, group->tokens, logits);
    if (status.code == ADAMOE_OK) {
        status = adamoe_traffic_create(adamoe_preset_selection(o->preset), logits, group->tokens,
                                       o->timing.seed, !o->timing.hot, out);
    }
    free(logits);
    return status;
}

static adamoe_status run_group(bench_group *group)
{
    adamoe_bench_layer *layer = group->layer;
    adamoe_traffic traffic;
    ADAMOE_TRY(enter_threads(layer, group->threads));
    ADAMOE_TRY(make_traffic(group, &traffic));
    const adamoe_status status = adamoe_bench_group_run(&layer->machine, &layer->weights, &traffic,
                                                        &layer->options.timing, group->member, group->count);
    adamoe_traffic_free(&traffic);
    return status.code != ADAMOE_OK ? status
                                    : adamoe_peers_against(layer->options.peers, group->member, group->count,
                                                           layer->options.timing.repetitions, group->against);
}

static void show(const bench_group *group)
{
    const adamoe_bench_options *o = &group->layer->options;
    const adamoe_bench_view view = {.preset = o->preset,
                                    .timing = &o->timing,
                                    .routing = adamoe_bench_routing_name(o),
                                    .tokens = group->tokens,
                                    .threads = group->threads,
                                    .machine = adamoe_bench_places(o) ? &group->layer->machine.opened : NULL,
                                    .member = group->member,
                                    .members = group->count,
                                    .peers = o->peers,
                                    .against = group->against};
    if (o->shown != NULL) {
        o->shown(o->shown_context, &view);
    }
}

/* ---------------------------------------------------------------------------------------------- reporting */

static void select_bench(void *context)
{
    bench *b = context;
    b->group->member[b->index].wanted = true;
}

static void report_stages(gbench_state *state, const adamoe_bench_member *member, size_t repetition)
{
    const adamoe_stage_seconds *s = &member->stages[repetition];
    gbench_counter(state, "route_seconds", s->route);
    gbench_counter(state, "plan_seconds", s->plan);
    if (adamoe_tells_stages(s)) {
        gbench_counter(state, "up_seconds", s->up);
        gbench_counter(state, "down_seconds", s->down);
        gbench_counter(state, "combine_seconds", s->combine);
        gbench_counter(state, "overhead_share", adamoe_overhead_share(s, member->seconds[repetition]));
    }
}

static double rate_or_nan(double rate)
{
    return rate > 0.0 ? rate : NAN;
}

/* Counters are numbers: 0 for arithmetic, 2 and 3 for a cache, 4 for memory. */
static double bound_by_level(const char *binds)
{
    static const char *const names[] = {"arithmetic", "", "L2", "L3", "memory"};
    for (size_t i = 0; i < sizeof names / sizeof *names && binds[0] != '\0'; ++i) {
        if (strcmp(binds, names[i]) == 0) {
            return (double)i;
        }
    }
    return NAN;
}

/* What is the same for every repetition: accounting, peaks, and what all repetitions say together. */
static void report_constants(gbench_state *state, const adamoe_bench_member *member)
{
    const adamoe_bench_summary *s = &member->summary;
    gbench_counter(state, "executed_flops", member->work.flops);
    gbench_counter(state, "touched_bytes", member->work.bytes);
    gbench_counter(state, "expert_rows", (double)member->work.rows);
    gbench_counter(state, "touched_experts", (double)member->work.touched_experts);
    gbench_counter(state, "load", member->load);
    gbench_counter(state, "calls", (double)member->calls);
    gbench_counter(state, "copies", (double)member->copies);
    gbench_counter(state, "copies_wanted", (double)member->copies_wanted);
    gbench_counter(state, "read_buffer_bytes", (double)member->peak.read_bytes);
    gbench_counter(state, "read_buffer_bytes_wanted", (double)member->peak.read_bytes_wanted);
    gbench_counter(state, "peak_gflops", member->peak.gflops > 0.0 ? member->peak.gflops : NAN);
    gbench_counter(state, "peak_gflops_median", member->peak.gflops > 0.0 ? member->peak.gflops_median : NAN);
    gbench_counter(state, "peak_gbytes_per_second", member->peak.gbytes_per_second);
    gbench_counter(state, "peak_gbytes_per_second_median", member->peak.gbytes_per_second_median);
    gbench_counter(state, "median_seconds", s->seconds.median);
    gbench_counter(state, "median_seconds_low", s->seconds.interval.low);
    gbench_counter(state, "median_seconds_high", s->seconds.interval.high);
    gbench_counter(state, "roofline_share_low", s->roofline_share.interval.low);
    gbench_counter(state, "roofline_share_high", s->roofline_share.interval.high);
    gbench_counter(state, "share_of_best_bursts", s->share_of_best);
    gbench_counter(state, "speedup", s->speedup.median);
    gbench_counter(state, "speedup_low", s->speedup.interval.low);
    gbench_counter(state, "speedup_high", s->speedup.interval.high);
    gbench_counter(state, "measurement_error", s->measurement_error ? 1.0 : 0.0);
    gbench_counter(state, "impossible", member->possible.code != ADAMOE_OK ? 1.0 : 0.0);
    gbench_counter(state, "l2_gbytes_per_second", rate_or_nan(member->peak.caches.level2));
    gbench_counter(state, "l3_gbytes_per_second", rate_or_nan(member->peak.caches.level3));
    gbench_counter(state, "bound_by_level", bound_by_level(member->binds));
}

/* Of a peer alone. */
static void report_against(gbench_state *state, const adamoe_against *against)
{
    if (against->best != NULL) {
        gbench_counter(state, "speed_over_best_of_ours", against->speed.median);
        gbench_counter(state, "speed_over_best_of_ours_low", against->speed.interval.low);
        gbench_counter(state, "speed_over_best_of_ours_high", against->speed.interval.high);
    }
}

/* By the clock of the kernel's own process, and what crossing into it costs; the time is the sum. */
static void report_crossing(gbench_state *state, const adamoe_bench_member *member, size_t repetition)
{
    const double seconds = member->seconds[repetition], crossing = member->stages[repetition].crossing;
    if (crossing > 0.0) {
        gbench_counter(state, "crossing_seconds", crossing);
        gbench_counter(state, "process_seconds", seconds - crossing);
        gbench_counter(state, "process_gflops", member->work.flops / (seconds - crossing) * 1e-9);
    }
}

static void report_times(gbench_state *state, const adamoe_bench_layer *layer,
                         const adamoe_bench_member *member, size_t repetition)
{
    const double seconds = member->seconds[repetition];
    const adamoe_limit *limit = &member->limits[repetition];
    gbench_time(state, seconds);
    gbench_counter(state, "gflops", member->work.flops / seconds * 1e-9);
    gbench_counter(state, "gbytes_per_second", member->work.bytes / seconds * 1e-9);
    gbench_counter(state, "roofline_share", limit->seconds / seconds);
    gbench_counter(state, "share_without_overlap", limit->seconds_without_overlap / seconds);
    report_constants(state, member);
    report_crossing(state, member, repetition);
    if (layer->options.timing.stages) {
        report_stages(state, member, repetition);
    }
    if (member->implementation[0] != '\0') {
        gbench_label(state, member->implementation);
    }
}

static void measure_and_report(gbench_state *state, void *context, size_t repetition)
{
    bench *b = context;
    bench_group *group = b->group;
    const adamoe_bench_member *member = &group->member[b->index];
    if (!group->done) {
        group->done = true;
        group->status = run_group(group);
        if (group->status.code == ADAMOE_OK) {
            show(group);
        }
    }
    const adamoe_status *status = group->status.code != ADAMOE_OK ? &group->status : &member->status;
    if (status->code != ADAMOE_OK) {
        gbench_skip(state, status->message);
    } else {
        report_times(state, group->layer, member, repetition);
        report_against(state, &group->against[b->index]);
    }
}

static adamoe_status register_bench(bench *b)
{
    static const gbench_functions functions = {select_bench, measure_and_report};
    const bench_group *group = b->group;
    const adamoe_bench_options *o = &group->layer->options;
    const bool places = adamoe_bench_places(o);
    (void)snprintf(b->name, sizeof b->name, "layer/%s/%s/tokens:%zu/routing:%s/threads:%u%s%s%s",
                   o->preset->name, group->member[b->index].kernel->name, group->tokens,
                   adamoe_bench_routing_name(o), group->threads, places ? "/numa:" : "",
                   places ? adamoe_numa_policy_names[o->machine.policy] : "", o->timing.hot ? "/hot" : "");
    return gbench_register(b->name, &functions, b, o->timing.repetitions)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
}

adamoe_status adamoe_bench_layer_add(adamoe_bench_layer *layer, const adamoe_kernel *const *kernels,
                                     size_t count, size_t tokens, uint32_t threads)
{
    bench_group *group = calloc(1, sizeof *group);
    if (group == NULL || (group->member = calloc(count + 1, sizeof *group->member)) == NULL ||
        (group->bench = calloc(count + 1, sizeof *group->bench)) == NULL ||
        (group->against = calloc(count + 1, sizeof *group->against)) == NULL) {
        if (group != NULL) {
            free_group(group);
        }
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    group->layer = layer;
    group->tokens = tokens;
    group->threads = threads;
    group->count = count;
    *(layer->last != NULL ? &layer->last->next : &layer->first) = group;
    layer->last = group;
    for (size_t i = 0; i < count; ++i) {
        group->member[i].kernel = kernels[i];
        group->bench[i] = (bench){.group = group, .index = i};
        ADAMOE_TRY(register_bench(&group->bench[i]));
    }
    return adamoe_ok();
}

int adamoe_bench_gravity(adamoe_code code)
{
    switch (code) {
    case ADAMOE_OK:
        return 0;
    case ADAMOE_NOT_SUPPORTED:
        return 1;
    case ADAMOE_DIFFERENCE:
        return 3;
    default:
        return 2;
    }
}

adamoe_status adamoe_bench_layer_status(const adamoe_bench_layer *layer)
{
    const adamoe_status *worst = NULL;
    const char *name = "";
    for (const bench_group *g = layer->first; g != NULL; g = g->next) {
        for (size_t i = 0; i < g->count; ++i) {
            const adamoe_status *status = g->status.code != ADAMOE_OK             ? &g->status
                                          : g->member[i].status.code != ADAMOE_OK ? &g->member[i].status
                                                                                  : &g->member[i].possible;
            if (worst == NULL || adamoe_bench_gravity(status->code) > adamoe_bench_gravity(worst->code)) {
                worst = status;
                name = g->bench[i].name;
            }
        }
    }
    return worst == NULL || worst->code == ADAMOE_OK
               ? adamoe_ok()
               : adamoe_error(worst->code, "%s: %.300s", name, worst->message);
}
