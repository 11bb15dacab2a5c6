/*
 * adamoe bench --saved over ranks: the whole layer, router included, on the same tokens with null experts and without, in
 * turn call by call; what that saves on the wire, and in time.
 */
#include "bench/over_ranks_parts.h"
#include "program/json_output.h"
#include "ranks/common_time.h"
#include "timing/saved_time.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BASELINE, ADAPTIVE, SIDES };

/* Calls of one side in a repetition. */
#define MOST_CALLS 20000

typedef struct pair {
    over_ranks_sweep *sweep;
    const adamoe_kernel *kernel;
    size_t tokens, passes, turn;
    adamoe_saved_trace trace; /* of this rank */
    adamoe_spread_kernel spread;
    adamoe_spread_variant side[SIDES];
    float *router_rows;
    double *room[SIDES]; /* [MOST_CALLS] */
} pair;

/* ------------------------------------------------------------------------------------------------- opening */

static adamoe_status open_side(pair *p, int which)
{
    const over_ranks_sweep *s = p->sweep;
    const adamoe_preset *preset = s->options->layer->preset;
    adamoe_spread_variant *v = &p->side[which];
    *v = (adamoe_spread_variant){.setting = &s->setting,
                                 .inner = p->kernel,
                                 .kernel = &p->spread,
                                 .tokens = p->tokens,
                                 .batches = p->trace.batches,
                                 .turn = &p->turn,
                                 .each = 1};
    ADAMOE_TRY(adamoe_spread_variant_room(v));
    for (size_t b = 0; b < v->batches; ++b) {
        v->x[b] = p->trace.batch[b].adaptive.x;
        v->plan[b] = which == BASELINE ? p->trace.batch[b].baseline_plan : p->trace.batch[b].adaptive.plan;
    }
    ADAMOE_TRY(adamoe_spread_variant_open(v));
    return adamoe_router_step_create(
        p->kernel, s->options->layer->fallback,
        which == BASELINE ? adamoe_baseline_selection(preset) : adamoe_preset_selection(preset),
        p->router_rows, p->tokens, s->machine.team, &s->machine.host, s->machine.placement, &v->router);
}

static adamoe_status compare_routings(pair *p, int which)
{
    adamoe_spread_variant *v = &p->side[which];
    for (size_t b = 0; b < v->batches; ++b) {
        const adamoe_saved_batch *batch = &p->trace.batch[b];
        const adamoe_plan *plan = NULL;
        adamoe_router_seconds ignored = {0.0, 0.0};
        ADAMOE_TRY(adamoe_router_step_run(v->router, v->x[b], &plan, &ignored));
        ADAMOE_TRY(adamoe_router_step_compare(v->router, which == BASELINE ? batch->baseline_routing
                                                                           : batch->adaptive.routing));
    }
    return adamoe_ok();
}

static adamoe_status open_pair(pair *p)
{
    const over_ranks_sweep *s = p->sweep;
    const adamoe_bench_over_ranks *o = s->options;
    const adamoe_preset *preset = o->layer->preset;
    const adamoe_sharded_options options = {
        .world = o->world, .chunks = o->rank->chunks, .overlap = !o->rank->one_after_the_other};
    const size_t all = preset->mixture.experts + preset->mixture.null_experts;
    const char *why_not = "no reason given";
    if (!p->kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "cannot run here: %s", why_not);
    }
    p->router_rows = calloc(all * preset->hidden_size + 1, sizeof *p->router_rows);
    p->room[BASELINE] = calloc(MOST_CALLS, sizeof *p->room[BASELINE]);
    p->room[ADAPTIVE] = calloc(MOST_CALLS, sizeof *p->room[ADAPTIVE]);
    if (p->router_rows == NULL || p->room[BASELINE] == NULL || p->room[ADAPTIVE] == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory");
    }
    adamoe_traffic_router(adamoe_preset_selection(preset), s->setting.timing.seed, p->router_rows);
    ADAMOE_TRY(adamoe_saved_trace_create(o->layer->pattern, preset, p->tokens, o->least_tokens,
                                         s->setting.timing.seed + ((uint64_t)o->world->rank << 32),
                                         &p->trace));
    ADAMOE_TRY(adamoe_spread_kernel_open(p->kernel, &options, &p->sweep->layer, &p->spread));
    ADAMOE_TRY(adamoe_spread_kernel_hold(&p->spread, &s->machine, 1));
    for (int which = 0; which < SIDES; ++which) {
        ADAMOE_TRY(open_side(p, which));
        ADAMOE_TRY(compare_routings(p, which));
    }
    return adamoe_ok();
}

static void close_pair(pair *p)
{
    for (int which = 0; which < SIDES; ++which) {
        adamoe_spread_variant_close(&p->side[which]);
        free(p->room[which]);
    }
    adamoe_spread_kernel_close(&p->spread);
    adamoe_saved_trace_free(&p->trace);
    free(p->router_rows);
}

/* --------------------------------------------------------------------------------------------------- times */

/* One trace with both sides in turn, call by call; its times stand from calls `first` on. */
static adamoe_status run_trace(pair *p, size_t begins, size_t first)
{
    const adamoe_world *world = p->sweep->setting.world;
    for (size_t b = 0; b < p->trace.batches; ++b) {
        for (size_t i = 0; i < SIDES; ++i) {
            const size_t which = (begins + b + i) % SIDES;
            adamoe_spread_variant *v = &p->side[which];
            adamoe_spread_variant_clear(v);
            ADAMOE_TRY(
                adamoe_time_from_barrier(world, adamoe_spread_variant_call, v, &p->room[which][first + b]));
            adamoe_spread_variant_count(v);
        }
    }
    return adamoe_ok();
}

/* Mean seconds of a trace, the slowest rank's of each call. */
static adamoe_status take_seconds(pair *p, size_t passes, double seconds[SIDES])
{
    const size_t calls = passes * p->trace.batches;
    for (int which = 0; which < SIDES; ++which) {
        ADAMOE_TRY(adamoe_slowest_of_ranks(p->sweep->setting.world, p->room[which], calls));
        seconds[which] = 0.0;
        for (size_t i = 0; i < calls; ++i) {
            seconds[which] += p->room[which][i] / (double)passes;
        }
    }
    return adamoe_ok();
}

/* One trace to warm up and one to see how long it takes. */
static adamoe_status choose_passes(pair *p)
{
    double seconds[SIDES];
    ADAMOE_TRY(run_trace(p, 0, 0));
    ADAMOE_TRY(run_trace(p, 0, 0));
    ADAMOE_TRY(take_seconds(p, 1, seconds));
    const double wanted = ceil(p->sweep->setting.timing.least_seconds / seconds[ADAPTIVE]),
                 most = floor((double)MOST_CALLS / (double)p->trace.batches);
    p->passes = (size_t)fmax(1.0, fmin(wanted, most));
    return adamoe_ok();
}

/* Both sides' copies are the same ones: every call goes to the next, whatever its side. Nothing empties the caches between
 * repetitions, so that there are as many copies as outlast them, however few calls a repetition has. */
static adamoe_status take_times(pair *p)
{
    ADAMOE_TRY(choose_passes(p));
    ADAMOE_TRY(adamoe_spread_variant_copies(&p->side[ADAPTIVE], SIZE_MAX, 1));
    p->side[BASELINE].copies = p->side[ADAPTIVE].copies;
    for (int which = 0; which < SIDES; ++which) {
        p->side[which].predicted = 0;
        p->side[which].counters = (adamoe_rank_counters){0};
    }
    for (size_t r = 0; r < p->sweep->setting.timing.repetitions; ++r) {
        double seconds[SIDES];
        for (size_t pass = 0; pass < p->passes; ++pass) {
            ADAMOE_TRY(run_trace(p, r + pass, pass * p->trace.batches));
        }
        ADAMOE_TRY(take_seconds(p, p->passes, seconds));
        p->side[BASELINE].seconds[r] = seconds[BASELINE];
        p->side[ADAPTIVE].seconds[r] = seconds[ADAPTIVE];
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- results */

/* FLOPs and loads of all ranks together: each has as many tokens. */
static adamoe_status account(const pair *p, adamoe_saved_point *out)
{
    const adamoe_world *world = p->sweep->setting.world;
    const adamoe_rates none = {INFINITY, INFINITY};
    *out = (adamoe_saved_point){0};
    adamoe_saved_account(p->sweep->options->layer->preset, p->kernel->weight, &p->trace, none, out);
    const adamoe_saved_side own[SIDES] = {out->baseline, out->adaptive};
    adamoe_saved_side *all = calloc(world->ranks, sizeof own);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory");
    }
    const adamoe_status status = adamoe_world_gather(world, own, sizeof own, all);
    adamoe_saved_side *const sum[SIDES] = {&out->baseline, &out->adaptive};
    for (uint32_t r = 1; r < world->ranks && world->rank == 0; ++r) {
        for (int which = 0; which < SIDES; ++which) {
            const adamoe_saved_side *theirs = &all[r * SIDES + (size_t)which];
            sum[which]->load += theirs->load;
            sum[which]->expert_flops += theirs->expert_flops;
            sum[which]->layer_flops += theirs->layer_flops;
        }
    }
    free(all);
    out->baseline.load /= world->ranks;
    out->adaptive.load /= world->ranks;
    out->expert_flops_reduction = 1.0 - out->adaptive.expert_flops / out->baseline.expert_flops;
    out->layer_flops_reduction = 1.0 - out->adaptive.layer_flops / out->baseline.layer_flops;
    return status;
}

static void print_point(const adamoe_saved_point *point, const adamoe_traffic_report *traffic, size_t tokens)
{
    const adamoe_traffic_total sum = adamoe_traffic_sum(traffic);
    printf(
        "  %6zu tokens, load %.3f: saved of FLOPs %.1f %%, of bytes between ranks %.2f %%, of time %.1f %% "
        "[%.1f, %.1f]; time over bytes saved %.3f\n",
        tokens, point->adaptive.load, 100.0 * point->layer_flops_reduction, 100.0 * sum.bytes_reduction,
        100.0 * point->time_reduction.median, 100.0 * point->time_reduction.interval.low,
        100.0 * point->time_reduction.interval.high, point->time_reduction.median / sum.bytes_reduction);
}

static json_t *point_json(const pair *p, const char *name, const adamoe_saved_point *point,
                          const adamoe_traffic_report *traffic, const adamoe_spread_wire *round)
{
    const struct {
        const char *key;
        double value;
    } counters[] = {
        {"load", point->adaptive.load},
        {"baseline_load", point->baseline.load},
        {"executed_flops", point->adaptive.layer_flops},
        {"baseline_flops", point->baseline.layer_flops},
        {"expert_flops_reduction", point->expert_flops_reduction},
        {"flops_reduction", point->layer_flops_reduction},
        {"time_reduction", point->time_reduction.median},
        {"time_reduction_low", point->time_reduction.interval.low},
        {"time_reduction_high", point->time_reduction.interval.high},
        {"time_per_flops", point->time_per_flops},
        {"time_per_flops_low", point->time_per_flops_interval.low},
        {"time_per_flops_high", point->time_per_flops_interval.high},
        {"median_seconds", point->adaptive.seconds},
        {"baseline_median_seconds", point->baseline.seconds},
        {"pairs", (double)p->sweep->setting.timing.repetitions},
        {"copies", (double)p->side[ADAPTIVE].copies},
        {"copies_wanted", (double)p->side[ADAPTIVE].copies_wanted},
        {"trace_calls", (double)p->trace.batches},
    };
    json_t *entry = over_ranks_entry(name, point->adaptive.seconds);
    for (size_t i = 0; i < sizeof counters / sizeof *counters; ++i) {
        over_ranks_set(entry, counters[i].key, counters[i].value);
    }
    over_ranks_set_wire(entry, round, p->trace.batches);
    (void)json_object_set_new(entry, "communication", adamoe_traffic_json(traffic));
    return entry;
}

/* On rank 0. */
static adamoe_status show(const pair *p, const char *name, const adamoe_traffic_report *traffic,
                          const adamoe_spread_wire *round, adamoe_saved_point *point)
{
    const size_t repetitions = p->sweep->setting.timing.repetitions;
    ADAMOE_TRY(adamoe_saved_judge(p->side[BASELINE].seconds, p->side[ADAPTIVE].seconds, repetitions, point));
    if (p->sweep->prints) {
        print_point(point, traffic, p->tokens);
        over_ranks_print_traffic(traffic, (double)round->bytes / (double)p->trace.batches);
        over_ranks_print_cap(&p->side[ADAPTIVE]);
        (void)fflush(stdout);
    }
    return json_array_append_new(p->sweep->entries, point_json(p, name, point, traffic, round)) == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory");
}

static adamoe_status report(pair *p, const char *name, adamoe_status *wrong)
{
    const adamoe_bench_over_ranks *o = p->sweep->options;
    adamoe_saved_point point;
    adamoe_spread_wire round;
    adamoe_traffic_report traffic = {.ranks = 0}, baseline = {.ranks = 0};
    ADAMOE_TRY(account(p, &point));
    ADAMOE_TRY(adamoe_spread_variant_round(&p->side[ADAPTIVE], &round));
    *wrong = adamoe_spread_variant_traffic(&p->side[BASELINE], 0, o->mpi, &baseline);
    if (wrong->code == ADAMOE_OK) {
        *wrong = adamoe_spread_variant_traffic(&p->side[ADAPTIVE], p->side[BASELINE].counters.bytes_sent,
                                               o->mpi, &traffic);
    }
    const adamoe_status status = o->world->rank == 0 && wrong->code == ADAMOE_OK
                                     ? show(p, name, &traffic, &round, &point)
                                     : adamoe_ok();
    adamoe_traffic_report_free(&traffic);
    adamoe_traffic_report_free(&baseline);
    return status;
}

/* --------------------------------------------------------------------------------------------------- sweep */

static adamoe_status run_pair(pair *p, const char *name, adamoe_status *wrong)
{
    ADAMOE_TRY(adamoe_spread_ask_weights(&p->sweep->setting, &p->sweep->layer, &p->kernel, 1));
    *wrong = adamoe_world_agree(p->sweep->setting.world, open_pair(p));
    for (int which = 0; which < SIDES && wrong->code == ADAMOE_OK; ++which) {
        ADAMOE_TRY(adamoe_spread_variant_check(&p->side[which], wrong));
    }
    if (wrong->code == ADAMOE_OK) {
        ADAMOE_TRY(take_times(p));
        ADAMOE_TRY(report(p, name, wrong));
    }
    return wrong->code == ADAMOE_ENVIRONMENT ? *wrong : adamoe_ok();
}

static adamoe_status run_kernel(over_ranks_sweep *s, const adamoe_kernel *kernel, size_t tokens)
{
    pair p = {.sweep = s, .kernel = kernel, .tokens = tokens};
    char name[192];
    adamoe_status wrong = adamoe_ok();
    over_ranks_name(s, "saved", kernel, tokens, adamoe_pattern_names[s->options->layer->pattern], name,
                    sizeof name);
    ADAMOE_TRY(
        run_pair(&p, name, &wrong)); /* an error ends the run: nothing is freed under messages on their way */
    close_pair(&p);
    over_ranks_keep(s, name, &wrong);
    return adamoe_ok();
}

adamoe_status over_ranks_saved(over_ranks_sweep *s)
{
    const adamoe_bench_over_ranks *o = s->options;
    const adamoe_preset *preset = o->layer->preset;
    for (size_t k = 0; k < o->kernels; ++k) {
        if (s->prints) {
            printf(
                "saved/%s/%s/routing:%s: top-%zu of %zu true and %zu null experts against top-%zu without\n",
                preset->name, o->kernel[k]->name, adamoe_pattern_names[o->layer->pattern],
                preset->mixture.top_k, preset->mixture.experts, preset->mixture.null_experts,
                preset->baseline_top_k);
        }
        for (size_t t = 0; t < o->token_counts; ++t) {
            ADAMOE_TRY(run_kernel(s, o->kernel[k], o->tokens[t]));
        }
    }
    return adamoe_ok();
}
