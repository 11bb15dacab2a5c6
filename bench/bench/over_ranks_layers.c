/*
 * adamoe bench over ranks: kernels in turn on the same tokens.
 */
#include "bench/over_ranks_parts.h"
#include "bench/table.h"
#include "machine/memory.h"
#include "program/json_output.h"
#include "ranks/common_time.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_CALLS 20000

typedef struct member {
    const adamoe_kernel *kernel;
    adamoe_status status; /* the same on all ranks */
    adamoe_spread_kernel spread;
    adamoe_spread_variant variant;
    size_t turn;
    bool empties_caches; /* before each repetition */
    adamoe_estimate seconds, speedup;
} member;

typedef struct group {
    over_ranks_sweep *sweep;
    size_t tokens;
    float *logits;           /* [tokens of all ranks, n + m] while batches are made */
    adamoe_traffic *traffic; /* [batches] of this rank, a batch each */
    size_t batches;          /* the same on all ranks */
    member *member;          /* [kernels] */
    double *room;            /* [MOST_CALLS] */
} group;

/* ------------------------------------------------------------------------------------------------- traffic */

static size_t all_experts(const group *g)
{
    const adamoe_mixture mixture = g->sweep->options->layer->preset->mixture;
    return mixture.experts + mixture.null_experts;
}

/* Of the tokens of all ranks, which together are as the pattern or the recording says. */
static adamoe_status draw_logits(group *g)
{
    const adamoe_bench_options *o = g->sweep->options->layer;
    const size_t tokens = g->tokens * g->sweep->setting.world->ranks;
    ADAMOE_TRY(adamoe_ask_memory("logits", (double)(tokens * all_experts(g)) * sizeof(float),
                                 "fewer tokens (--tokens)"));
    g->logits = calloc(tokens * all_experts(g) + 1, sizeof *g->logits);
    g->traffic = calloc(o->preset->mixture.experts, sizeof *g->traffic);
    return g->logits != NULL && g->traffic != NULL
               ? adamoe_bench_logits(o, tokens, g->logits)
               : adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", tokens);
}

/* The next batch of this rank: its tokens, with the true experts moved on by `step`. */
static adamoe_status add_batch(group *g, size_t step)
{
    const adamoe_bench_options *o = g->sweep->options->layer;
    const uint32_t rank = g->sweep->setting.world->rank;
    const size_t all = all_experts(g);
    const float *own = g->logits + rank * g->tokens * all;
    float *moved = malloc((g->tokens * all + 1) * sizeof *moved);
    if (moved == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory for %zu tokens", g->tokens);
    }
    const adamoe_selection selection = adamoe_preset_selection(o->preset);
    adamoe_traffic_move_on(selection, own, g->tokens, step, moved);
    const adamoe_status status = adamoe_traffic_create(
        selection, moved, g->tokens, g->sweep->setting.timing.seed + rank, false, &g->traffic[g->batches]);
    free(moved);
    g->batches += status.code == ADAMOE_OK;
    return status;
}

/* Experts that the tokens of all ranks select in one batch; the same on all ranks. */
static adamoe_status count_touched(const group *g, size_t *out)
{
    const adamoe_plan *plan = g->traffic[0].batch[0].plan;
    double *touched = calloc(plan->experts, sizeof *touched);
    if (touched == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "routing: out of memory");
    }
    for (size_t e = 0; e < plan->experts; ++e) {
        touched[e] = plan->offset[e] < plan->offset[e + 1] ? 1.0 : 0.0;
    }
    const adamoe_status status =
        adamoe_slowest_of_ranks(g->sweep->setting.world, touched, plan->experts); /* 1 if it is on any */
    *out = 0;
    for (size_t e = 0; e < plan->experts; ++e) {
        *out += touched[e] > 0.0;
    }
    free(touched);
    return status;
}

/* One batch, or as many as touch different experts, as adamoe_traffic_create makes them of all tokens: every rank moves on by
 * the same step, so that in each batch the tokens of all ranks are as they are in the first. */
static adamoe_status make_traffic(group *g)
{
    const adamoe_world *world = g->sweep->setting.world;
    const size_t n = g->sweep->options->layer->preset->mixture.experts;
    size_t touched = 0;
    adamoe_status status = draw_logits(g);
    status = status.code == ADAMOE_OK ? add_batch(g, 0) : status;
    ADAMOE_TRY(adamoe_world_agree(world, status));
    ADAMOE_TRY(count_touched(g, &touched));
    const size_t wanted = g->sweep->setting.timing.hot || touched == 0 ? 1 : n / touched;
    while (status.code == ADAMOE_OK && g->batches < wanted) {
        status = add_batch(g, g->batches * touched);
    }
    free(g->logits);
    g->logits = NULL;
    return adamoe_world_agree(world, status);
}

/* ------------------------------------------------------------------------------------------------ one kernel */

static adamoe_status prepare(group *g, member *m)
{
    const over_ranks_sweep *s = g->sweep;
    const adamoe_sharded_options options = {.world = s->setting.world,
                                            .chunks = s->options->rank->chunks,
                                            .overlap = !s->options->rank->one_after_the_other};
    const char *why_not = "no reason given";
    if (!m->kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "cannot run here: %s", why_not);
    }
    ADAMOE_TRY(adamoe_spread_kernel_open(m->kernel, &options, &g->sweep->layer, &m->spread));
    ADAMOE_TRY(adamoe_spread_kernel_hold(&m->spread, &s->machine, 1));
    m->variant = (adamoe_spread_variant){.setting = &s->setting,
                                         .inner = m->kernel,
                                         .kernel = &m->spread,
                                         .tokens = g->tokens,
                                         .batches = g->batches,
                                         .turn = &m->turn,
                                         .each = g->batches};
    ADAMOE_TRY(adamoe_spread_variant_room(&m->variant));
    for (size_t b = 0; b < g->batches; ++b) {
        m->variant.x[b] = g->traffic[b].batch[0].x;
        m->variant.plan[b] = g->traffic[b].batch[0].plan;
    }
    return adamoe_spread_variant_open(&m->variant);
}

/* Two calls before the third is looked at: a library may compile at the first one. */
static adamoe_status choose_calls(group *g, member *m)
{
    ADAMOE_TRY(
        adamoe_time_together(g->sweep->setting.world, adamoe_spread_variant_call, &m->variant, 3, g->room));
    const double calls = ceil(g->sweep->setting.timing.least_seconds / g->room[2]);
    m->variant.calls = calls >= MOST_CALLS ? MOST_CALLS : calls >= 1.0 ? (size_t)calls : 1;
    return adamoe_ok();
}

/* As many copies as outlast the caches, or as one repetition with its untimed call goes through, if those are fewer. */
static adamoe_status make(group *g, member *m)
{
    const adamoe_world *world = g->sweep->setting.world;
    m->status = adamoe_world_agree(world, prepare(g, m));
    if (m->status.code == ADAMOE_OK) {
        ADAMOE_TRY(adamoe_spread_variant_check(&m->variant, &m->status));
    }
    if (m->status.code != ADAMOE_OK) {
        return m->status.code == ADAMOE_ENVIRONMENT ? m->status : adamoe_ok();
    }
    ADAMOE_TRY(choose_calls(g, m));
    const size_t calls = m->variant.calls, once = (calls > 1 ? (calls + g->batches - 1) / g->batches : 0) + 1;
    ADAMOE_TRY(adamoe_spread_variant_copies(&m->variant, once, g->sweep->options->kernels));
    m->empties_caches = once < m->variant.copies_wanted;
    m->variant.copies_wanted = m->empties_caches ? once : m->variant.copies_wanted;
    return adamoe_ok();
}

static adamoe_status repeat(group *g, member *m, size_t repetition)
{
    adamoe_spread_variant *v = &m->variant;
    const adamoe_world *world = g->sweep->setting.world;
    const uint64_t predicted = v->predicted;
    if (m->empties_caches) {
        adamoe_spread_empty_caches();
    }
    if (v->calls > 1 || g->sweep->setting.timing.hot) {
        ADAMOE_TRY(adamoe_spread_variant_call(v)); /* untimed: what ran in between has made all cold */
    }
    v->predicted = predicted;
    adamoe_spread_variant_clear(v);
    ADAMOE_TRY(adamoe_time_together(world, adamoe_spread_variant_call, v, v->calls, g->room));
    adamoe_spread_variant_count(v);
    double sum = 0.0;
    for (size_t i = 0; i < v->calls; ++i) {
        sum += g->room[i];
    }
    v->seconds[repetition] = sum / (double)v->calls;
    return adamoe_ok();
}

/* Within each repetition every kernel has its time, in an order that moves on by one. */
static adamoe_status time_all(group *g)
{
    const size_t count = g->sweep->options->kernels;
    for (size_t i = 0; i < count; ++i) {
        g->member[i].variant.predicted = 0;
    }
    for (size_t repetition = 0; repetition < g->sweep->setting.timing.repetitions; ++repetition) {
        for (size_t i = 0; i < count; ++i) {
            member *m = &g->member[(repetition + i) % count];
            if (m->status.code == ADAMOE_OK) {
                ADAMOE_TRY(repeat(g, m, repetition));
            }
        }
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- results */

static void print_member(const member *m, double gflops)
{
    char median[32], low[32], high[32];
    printf(
        "  %-21s %9s [%s, %s] %8.1f GFLOP/s of all ranks, %.3f [%.3f, %.3f] times the first kernel's speed\n",
        m->kernel->name, adamoe_format_seconds(m->seconds.median, median, sizeof median),
        adamoe_format_seconds(m->seconds.interval.low, low, sizeof low),
        adamoe_format_seconds(m->seconds.interval.high, high, sizeof high), gflops, m->speedup.median,
        m->speedup.interval.low, m->speedup.interval.high);
}

static json_t *member_json(const group *g, const member *m, const char *name, const adamoe_spread_wire *round,
                           double flops, const adamoe_traffic_report *traffic)
{
    const adamoe_spread_variant *v = &m->variant;
    const double all = (double)(g->tokens * g->sweep->setting.world->ranks * g->batches);
    json_t *entry = over_ranks_entry(name, m->seconds.median);
    over_ranks_set_wire(entry, round, g->batches);
    over_ranks_set(entry, "executed_flops", flops);
    over_ranks_set(entry, "load", (double)round->rows / all);
    over_ranks_set(entry, "calls", (double)v->calls);
    over_ranks_set(entry, "copies", (double)v->copies);
    over_ranks_set(entry, "copies_wanted", (double)v->copies_wanted);
    over_ranks_set(entry, "median_seconds", m->seconds.median);
    over_ranks_set(entry, "median_seconds_low", m->seconds.interval.low);
    over_ranks_set(entry, "median_seconds_high", m->seconds.interval.high);
    over_ranks_set(entry, "gflops", 1e-9 * flops / m->seconds.median);
    over_ranks_set(entry, "speedup", m->speedup.median);
    over_ranks_set(entry, "speedup_low", m->speedup.interval.low);
    over_ranks_set(entry, "speedup_high", m->speedup.interval.high);
    if (v->implementation[0] != '\0') {
        (void)json_object_set_new(entry, "label", adamoe_json_text(v->implementation));
    }
    (void)json_object_set_new(entry, "communication", adamoe_traffic_json(traffic));
    return entry;
}

/* On rank 0. */
static adamoe_status show(group *g, member *m, const member *first, const char *name,
                          const adamoe_spread_wire *round, const adamoe_traffic_report *traffic)
{
    const adamoe_preset *p = g->sweep->layer.preset;
    const size_t repetitions = g->sweep->setting.timing.repetitions;
    const double row =
        adamoe_expert_cost_of(p->hidden_size, p->intermediate_size, m->kernel->weight).flops_per_row;
    const double flops = row * (double)round->rows / (double)g->batches;
    ADAMOE_TRY(adamoe_estimate_median(m->variant.seconds, repetitions, &m->seconds));
    ADAMOE_TRY(adamoe_estimate_ratio(first->variant.seconds, m->variant.seconds, repetitions, &m->speedup));
    if (g->sweep->prints) {
        print_member(m, 1e-9 * flops / m->seconds.median);
        over_ranks_print_traffic(traffic, (double)round->bytes / (double)g->batches);
        over_ranks_print_cap(&m->variant);
        (void)fflush(stdout);
    }
    return json_array_append_new(g->sweep->entries, member_json(g, m, name, round, flops, traffic)) == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
}

/* *first is the base of the speedups: the first whose result and traffic are right. */
static adamoe_status report(group *g, member *m, const member **first)
{
    const adamoe_bench_over_ranks *o = g->sweep->options;
    adamoe_spread_wire round;
    adamoe_traffic_report traffic = {.ranks = 0};
    char name[192];
    over_ranks_name(g->sweep, "layer", m->kernel, g->tokens, adamoe_bench_routing_name(o->layer), name,
                    sizeof name);
    if (m->status.code != ADAMOE_OK) {
        over_ranks_keep(g->sweep, name, &m->status);
        if (g->sweep->prints) {
            printf("  %-21s %s\n", m->kernel->name, m->status.message);
        }
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_spread_variant_round(&m->variant, &round));
    m->status = adamoe_spread_variant_traffic(&m->variant, 0, o->mpi, &traffic);
    over_ranks_keep(g->sweep, name, &m->status);
    *first = *first == NULL && m->status.code == ADAMOE_OK ? m : *first;
    const adamoe_status status = o->world->rank == 0 && m->status.code == ADAMOE_OK
                                     ? show(g, m, *first, name, &round, &traffic)
                                     : adamoe_ok();
    adamoe_traffic_report_free(&traffic);
    return m->status.code == ADAMOE_ENVIRONMENT ? m->status : status;
}

static adamoe_status report_all(group *g)
{
    const size_t count = g->sweep->options->kernels;
    const member *first = NULL;
    if (g->sweep->prints) {
        printf("layer/%s/tokens:%zu/routing:%s\n", g->sweep->layer.preset->name, g->tokens,
               adamoe_bench_routing_name(g->sweep->options->layer));
    }
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(report(g, &g->member[i], &first));
    }
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------------- sweep */

static adamoe_status run_group(group *g)
{
    const adamoe_bench_over_ranks *o = g->sweep->options;
    ADAMOE_TRY(make_traffic(g));
    ADAMOE_TRY(adamoe_spread_ask_weights(&g->sweep->setting, &g->sweep->layer, o->kernel, o->kernels));
    for (size_t i = 0; i < o->kernels; ++i) {
        ADAMOE_TRY(make(g, &g->member[i]));
    }
    ADAMOE_TRY(time_all(g));
    return report_all(g);
}

static void close_group(group *g)
{
    for (size_t i = 0; g->member != NULL && i < g->sweep->options->kernels; ++i) {
        adamoe_spread_variant_close(&g->member[i].variant);
        adamoe_spread_kernel_close(&g->member[i].spread);
    }
    free(g->member);
    free(g->room);
    for (size_t b = 0; b < g->batches; ++b) {
        adamoe_traffic_free(&g->traffic[b]);
    }
    free(g->traffic);
}

static adamoe_status run_tokens(over_ranks_sweep *s, size_t tokens)
{
    const adamoe_bench_over_ranks *o = s->options;
    group g = {.sweep = s,
               .tokens = tokens,
               .member = calloc(o->kernels + 1, sizeof *g.member),
               .room = calloc(MOST_CALLS, sizeof *g.room)};
    adamoe_status status = g.member == NULL || g.room == NULL
                               ? adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory")
                               : adamoe_ok();
    for (size_t i = 0; i < o->kernels && g.member != NULL; ++i) {
        g.member[i].kernel = o->kernel[i];
    }
    if (status.code == ADAMOE_OK) {
        status = run_group(&g);
    }
    if (status.code != ADAMOE_OK) {
        return status; /* the end of the run, while messages may be on their way: nothing is freed under them */
    }
    close_group(&g);
    return status;
}

adamoe_status over_ranks_layers(over_ranks_sweep *s)
{
    for (size_t t = 0; t < s->options->token_counts; ++t) {
        ADAMOE_TRY(run_tokens(s, s->options->tokens[t]));
    }
    return adamoe_ok();
}
