/*
 * Saved FLOPs against saved time.
 */
#include "timing/saved_time.h"
#include "timing/judge.h"
#include "timing/group.h"
#include "machine/clock.h"
#include "machine/last_level_cache.h"
#include "timing/plan_part.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL 0.95

/* --------------------------------------------------------------------------------------------- accounting */

/* The router's product reads its float32 rows once a call. */
static double router_flops(adamoe_selection s, size_t tokens)
{
    return 2.0 * (double)s.hidden_size * (double)(s.mixture.experts + s.mixture.null_experts) *
           (double)tokens;
}

static double router_limit(adamoe_selection s, size_t tokens, adamoe_rates rates)
{
    const double bytes =
        (double)(s.mixture.experts + s.mixture.null_experts) * (double)s.hidden_size * (double)sizeof(float);
    const double arithmetic = router_flops(s, tokens) / (rates.gflops * 1e9);
    const double memory = bytes / (rates.gbytes_per_second * 1e9);
    return arithmetic > memory ? arithmetic : memory;
}

static void account(const adamoe_plan *plan, adamoe_selection selection, adamoe_expert_cost cost,
                    adamoe_rates rates, adamoe_saved_side *side)
{
    const adamoe_plan_work work = adamoe_plan_work_of(plan, cost);
    const adamoe_limit limit = adamoe_roofline(plan, cost, rates);
    const double router = router_limit(selection, plan->tokens, rates);
    side->load += (double)plan->rows; /* divided at the end */
    side->expert_flops += work.flops;
    side->layer_flops += work.flops + router_flops(selection, plan->tokens);
    side->touched_bytes += work.bytes;
    side->limit += limit.seconds + router;
    side->limit_without_overlap += limit.seconds_without_overlap + router;
}

static double reduction(double adaptive, double baseline)
{
    return baseline > 0.0 ? 1.0 - adaptive / baseline : NAN;
}

void adamoe_saved_account(const adamoe_preset *preset, adamoe_arithmetic weight,
                          const adamoe_saved_trace *trace, adamoe_rates rates, adamoe_saved_point *out)
{
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(preset->hidden_size, preset->intermediate_size, weight);
    const double all = (double)(trace->tokens * trace->batches);
    adamoe_saved_side baseline = {0}, adaptive = {0};
    for (size_t b = 0; b < trace->batches; ++b) {
        account(trace->batch[b].baseline_plan, adamoe_baseline_selection(preset), cost, rates, &baseline);
        account(trace->batch[b].adaptive.plan, adamoe_preset_selection(preset), cost, rates, &adaptive);
    }
    baseline.load /= all;
    adaptive.load /= all;
    out->tokens = trace->tokens;
    out->batches = trace->batches;
    out->baseline = baseline;
    out->adaptive = adaptive;
    out->expert_flops_reduction = reduction(adaptive.expert_flops, baseline.expert_flops);
    out->layer_flops_reduction = reduction(adaptive.layer_flops, baseline.layer_flops);
    out->touched_bytes_reduction = reduction(adaptive.touched_bytes, baseline.touched_bytes);
    out->predicted_time_reduction = reduction(adaptive.limit, baseline.limit);
    out->predicted_without_overlap =
        reduction(adaptive.limit_without_overlap, baseline.limit_without_overlap);
}

static adamoe_status median_of(const double *seconds, size_t count, double *out)
{
    adamoe_estimate estimate;
    ADAMOE_TRY(adamoe_estimate_median(seconds, count, &estimate));
    *out = estimate.median;
    return adamoe_ok();
}

/* Of the logarithms: what disturbs one side of a pair makes its ratio as often too small as too large. */
static adamoe_status centre_of_ratios(const double *numerator, const double *denominator, size_t count,
                                      adamoe_estimate *out)
{
    double logarithm[ADAMOE_SAVED_MOST_PAIRS], centre = 0.0;
    adamoe_interval interval;
    if (count > ADAMOE_SAVED_MOST_PAIRS) {
        return adamoe_error(ADAMOE_BAD_INPUT, "saved: %zu repetitions, at most %d", count,
                            ADAMOE_SAVED_MOST_PAIRS);
    }
    for (size_t i = 0; i < count; ++i) {
        logarithm[i] = log(numerator[i] / denominator[i]);
    }
    ADAMOE_TRY(adamoe_signed_rank_centre(logarithm, count, LEVEL, &centre, &interval));
    *out = (adamoe_estimate){exp(centre), {exp(interval.low), exp(interval.high)}};
    return adamoe_ok();
}

adamoe_status adamoe_saved_judge(const double *baseline, const double *adaptive, size_t count,
                                 adamoe_saved_point *out)
{
    adamoe_estimate ratio = {0};
    ADAMOE_TRY(median_of(baseline, count, &out->baseline.seconds));
    ADAMOE_TRY(median_of(adaptive, count, &out->adaptive.seconds));
    ADAMOE_TRY(centre_of_ratios(adaptive, baseline, count, &ratio));
    out->time_reduction = (adamoe_estimate){
        .median = 1.0 - ratio.median, .interval = {1.0 - ratio.interval.high, 1.0 - ratio.interval.low}};
    const double flops = out->layer_flops_reduction > 0.0 ? out->layer_flops_reduction : NAN;
    out->time_per_flops = out->time_reduction.median / flops;
    out->time_per_flops_interval = (adamoe_interval){out->time_reduction.interval.low / flops,
                                                     out->time_reduction.interval.high / flops};
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- measuring */

/* Batches between two bursts of the peaks. */
#define BURST_EVERY 16

/* Seconds of a call that are cut into experts: a shared machine keeps its pace for about as long. */
#define LONG_CALL 0.2

/* With null experts or without. */
typedef struct side {
    adamoe_router_step *router;
    double *seconds;        /* [repetitions] of one trace */
    adamoe_plan_part *part; /* [batches * experts] where calls are cut, otherwise NULL */
} side;

enum { BASELINE, ADAPTIVE, SIDES };

typedef struct two_sides {
    const adamoe_bench_machine *machine;
    const adamoe_saved_options *options;
    const adamoe_preset *preset;
    const adamoe_kernel *kernel;
    const adamoe_layer *layer;
    adamoe_saved_trace trace;
    adamoe_prepared **prepared;
    size_t copies_wanted;
    size_t copies, turn; /* every call goes to the next copy, whatever its side */
    adamoe_run run;
    float *router_rows; /* [n + m, hidden_size]; the baseline's router has the first n */
    float *y;           /* [tokens, hidden_size] */
    side side[SIDES];
} two_sides;

static adamoe_status experts(two_sides *s, const adamoe_plan *plan, size_t batch)
{
    const float *x = s->trace.batch[batch].adaptive.x;
    return s->kernel->experts(s->prepared[s->turn++ % s->copies], &s->run, x, plan, s->y);
}

static adamoe_status route(two_sides *s, size_t which, size_t batch, const adamoe_plan **plan)
{
    adamoe_router_seconds ignored = {0.0, 0.0};
    return adamoe_router_step_run(s->side[which].router, s->trace.batch[batch].adaptive.x, plan, &ignored);
}

/* One side of one batch: the whole layer. */
static adamoe_status call(two_sides *s, size_t which, size_t batch, double *seconds)
{
    const adamoe_plan *plan = NULL;
    const double start = adamoe_now();
    ADAMOE_TRY(route(s, which, batch, &plan));
    ADAMOE_TRY(experts(s, plan, batch));
    *seconds += adamoe_now() - start;
    return adamoe_ok();
}

/* The same in parts: part 0 is the router, the others are an expert each, with the
 * weights that were wanted. */
static adamoe_status call_part(two_sides *s, size_t which, size_t batch, size_t part, double *seconds)
{
    const size_t count = s->preset->mixture.experts;
    const adamoe_plan *plan = NULL;
    const double start = adamoe_now();
    if (part == 0) {
        ADAMOE_TRY(route(s, which, batch, &plan));
    } else {
        ADAMOE_TRY(experts(s, &s->side[which].part[batch * count + part - 1].plan, batch));
    }
    *seconds += adamoe_now() - start;
    return adamoe_ok();
}

static adamoe_status call_both(two_sides *s, size_t first, size_t batch, double seconds[SIDES])
{
    const bool cut = s->side[BASELINE].part != NULL;
    const size_t parts = cut ? 1 + s->preset->mixture.experts : 1;
    for (size_t part = 0; part < parts; ++part) {
        for (size_t i = 0; i < SIDES; ++i) {
            const size_t which = (first + part + i) % SIDES;
            ADAMOE_TRY(cut ? call_part(s, which, batch, part, &seconds[which])
                           : call(s, which, batch, &seconds[which]));
        }
    }
    return adamoe_ok();
}

/* One trace with both sides in turn. */
static adamoe_status run_trace(two_sides *s, size_t first, double seconds[SIDES])
{
    for (size_t b = 0; b < s->trace.batches; ++b) {
        if (b % BURST_EVERY == 0) {
            ADAMOE_TRY(adamoe_peak_meter_burst(s->machine->meter, adamoe_kernel_pairs(s->kernel), 1));
        }
        ADAMOE_TRY(call_both(s, first + b, b, seconds));
    }
    return adamoe_ok();
}

static const adamoe_routing *wanted(const two_sides *s, size_t which, size_t batch)
{
    return which == BASELINE ? s->trace.batch[batch].baseline_routing
                             : s->trace.batch[batch].adaptive.routing;
}

/* The layer's result on the first batch, with the weights that were wanted, not those of the router. */
static adamoe_status check_experts(two_sides *s, size_t which)
{
    adamoe_traffic_batch batch = s->trace.batch[0].adaptive;
    batch.plan = which == BASELINE ? s->trace.batch[0].baseline_plan : batch.plan;
    memset(s->y, 0xff, s->trace.tokens * s->preset->hidden_size * sizeof *s->y);
    ADAMOE_TRY(s->kernel->experts(s->prepared[0], &s->run, batch.x, batch.plan, s->y));
    return adamoe_bench_check(s->kernel, s->layer, &batch, s->trace.tokens, s->y, s->machine->team);
}

static adamoe_status check(two_sides *s)
{
    for (size_t which = 0; which < SIDES; ++which) {
        ADAMOE_TRY(check_experts(s, which));
        for (size_t b = 0; b < s->trace.batches; ++b) {
            const adamoe_plan *plan = NULL;
            adamoe_router_seconds ignored = {0.0, 0.0};
            ADAMOE_TRY(
                adamoe_router_step_run(s->side[which].router, s->trace.batch[b].adaptive.x, &plan, &ignored));
            ADAMOE_TRY(adamoe_router_step_compare(s->side[which].router, wanted(s, which, b)));
        }
    }
    return adamoe_ok();
}

static adamoe_status make_sides(two_sides *s)
{
    const adamoe_bench_machine *m = s->machine;
    const adamoe_selection selection[SIDES] = {adamoe_baseline_selection(s->preset),
                                               adamoe_preset_selection(s->preset)};
    adamoe_traffic_router(selection[ADAPTIVE], s->options->seed, s->router_rows);
    for (size_t i = 0; i < SIDES; ++i) {
        s->side[i].seconds = calloc(s->options->repetitions, sizeof *s->side[i].seconds);
        if (s->side[i].seconds == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory");
        }
        ADAMOE_TRY(adamoe_router_step_create(s->kernel, m->fallback, selection[i], s->router_rows,
                                             s->trace.tokens, m->team, m->host, &m->placement,
                                             &s->side[i].router));
    }
    return adamoe_ok();
}

/* As much as the larger of all plans needs. */
static adamoe_status make_run(two_sides *s)
{
    const adamoe_host *host = s->machine->host;
    const size_t d = s->preset->hidden_size,
                 all = s->preset->mixture.experts + s->preset->mixture.null_experts;
    s->run.team = s->machine->team;
    for (size_t b = 0; b < s->trace.batches; ++b) {
        const adamoe_plan *const plans[] = {s->trace.batch[b].baseline_plan, s->trace.batch[b].adaptive.plan};
        for (size_t i = 0; i < SIDES; ++i) {
            const size_t bytes = s->kernel->work_bytes(s->prepared[0], plans[i]->rows, plans[i]->tokens);
            s->run.work_bytes = bytes > s->run.work_bytes ? bytes : s->run.work_bytes;
        }
    }
    s->run.work = host->allocate(host->context, s->run.work_bytes, 64);
    s->router_rows = malloc(all * d * sizeof *s->router_rows);
    s->y = malloc(s->trace.tokens * d * sizeof *s->y);
    return s->run.work != NULL && s->router_rows != NULL && s->y != NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory");
}

/* Copies enough that even the calls that touch least are cold. */
static size_t count_copies(const two_sides *s)
{
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(s->preset->hidden_size, s->preset->intermediate_size, s->kernel->weight);
    double least = INFINITY;
    for (size_t b = 0; b < s->trace.batches; ++b) {
        const double bytes = adamoe_plan_work_of(s->trace.batch[b].adaptive.plan, cost).bytes;
        least = bytes > 0.0 && bytes < least ? bytes : least;
    }
    return isfinite(least) ? adamoe_cold_copies(least, 1, adamoe_last_level_cache()) : 1;
}

static adamoe_status make(two_sides *s, adamoe_bench_weights *weights)
{
    adamoe_copies copies = {.kernel = s->kernel, .wanted = count_copies(s)};
    ADAMOE_TRY(adamoe_bench_weights_check(weights, &s->kernel, 1));
    ADAMOE_TRY(adamoe_bench_weights_hold(weights, s->kernel, 1, s->machine->team, s->machine->host,
                                         &s->machine->placement, &s->prepared));
    adamoe_bench_weights_plan(weights, &copies, 1);
    s->copies = copies.count;
    s->copies_wanted = copies.wanted;
    ADAMOE_TRY(adamoe_bench_weights_hold(weights, s->kernel, s->copies, s->machine->team, s->machine->host,
                                         &s->machine->placement, &s->prepared));
    s->layer = &weights->copy[0].layer;
    ADAMOE_TRY(make_run(s));
    ADAMOE_TRY(make_sides(s));
    return check(s);
}

static adamoe_status cut_side(two_sides *s, size_t which)
{
    const size_t count = s->preset->mixture.experts;
    side *own = &s->side[which];
    own->part = calloc(s->trace.batches * count, sizeof *own->part);
    if (own->part == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory");
    }
    for (size_t i = 0; i < s->trace.batches * count; ++i) {
        const adamoe_saved_batch *batch = &s->trace.batch[i / count];
        ADAMOE_TRY(adamoe_plan_part_create(which == BASELINE ? batch->baseline_plan : batch->adaptive.plan,
                                           i % count, &own->part[i]));
    }
    return adamoe_ok();
}

/* An expert that stays in a cache from one side to the other would be hot. */
static bool suits_cutting(const two_sides *s, double seconds)
{
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(s->preset->hidden_size, s->preset->intermediate_size, s->kernel->weight);
    return seconds > LONG_CALL && cost.bytes > 2.0 * (double)adamoe_last_level_cache();
}

/* One trace to warm up and one to see how long it takes. */
static adamoe_status choose_passes(two_sides *s, size_t *passes)
{
    double seconds[SIDES] = {0.0, 0.0};
    ADAMOE_TRY(run_trace(s, 0, seconds));
    seconds[BASELINE] = seconds[ADAPTIVE] = 0.0;
    ADAMOE_TRY(run_trace(s, 0, seconds));
    const double wanted_passes = ceil(s->options->least_seconds / seconds[ADAPTIVE]);
    *passes = wanted_passes > 1e6 ? 1000000 : wanted_passes > 1.0 ? (size_t)wanted_passes : 1;
    if (suits_cutting(s, seconds[ADAPTIVE] / (double)s->trace.batches)) {
        ADAMOE_TRY(cut_side(s, BASELINE));
        ADAMOE_TRY(cut_side(s, ADAPTIVE));
    }
    return adamoe_ok();
}

static adamoe_status take_times(two_sides *s, adamoe_saved_point *out)
{
    out->copies = s->copies;
    out->copies_wanted = s->copies_wanted;
    ADAMOE_TRY(choose_passes(s, &out->passes));
    out->by_expert = s->side[BASELINE].part != NULL;
    adamoe_peak_meter_begin(s->machine->meter);
    for (size_t r = 0; r < s->options->repetitions; ++r) {
        double seconds[SIDES] = {0.0, 0.0};
        for (size_t p = 0; p < out->passes; ++p) {
            ADAMOE_TRY(run_trace(s, r + p, seconds));
        }
        for (size_t i = 0; i < SIDES; ++i) {
            s->side[i].seconds[r] = seconds[i] / (double)out->passes;
        }
    }
    ADAMOE_TRY(adamoe_peak_meter_read(s->machine->meter, adamoe_kernel_pairs(s->kernel), &out->peak));
    const adamoe_rates rates = {out->peak.gflops, out->peak.gbytes_per_second};
    adamoe_saved_account(s->preset, s->kernel->weight, &s->trace, rates, out);
    return adamoe_saved_judge(s->side[BASELINE].seconds, s->side[ADAPTIVE].seconds, s->options->repetitions,
                              out);
}

static void free_sides(two_sides *s)
{
    for (size_t i = 0; i < SIDES; ++i) {
        adamoe_router_step_free(s->side[i].router);
        free(s->side[i].seconds);
        for (size_t p = 0; s->side[i].part != NULL && p < s->trace.batches * s->preset->mixture.experts;
             ++p) {
            adamoe_plan_part_free(&s->side[i].part[p]);
        }
        free(s->side[i].part);
    }
    s->machine->host->release(s->machine->host->context, s->run.work);
    free(s->router_rows);
    free(s->y);
    adamoe_saved_trace_free(&s->trace);
}

adamoe_status adamoe_saved_measure(const adamoe_bench_machine *machine, adamoe_bench_weights *weights,
                                   const adamoe_kernel *kernel, size_t tokens,
                                   const adamoe_saved_options *options, adamoe_saved_point *out)
{
    const char *why_not = "no reason given";
    two_sides s = {.machine = machine, .options = options, .preset = weights->preset, .kernel = kernel};
    *out = (adamoe_saved_point){0};
    if (!kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "cannot run here: %s", why_not);
    }
    ADAMOE_TRY(adamoe_saved_trace_create(options->pattern, s.preset, tokens, options->least_tokens,
                                         options->seed, &s.trace));
    adamoe_status status = make(&s, weights);
    if (status.code == ADAMOE_OK) {
        status = take_times(&s, out);
    }
    free_sides(&s);
    return status;
}
