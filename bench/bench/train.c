/*
 * adamoe bench --train.
 *
 * FLOPs of a row, executed: w1, w3 and w2 forward, 6 d ff; back to the inputs of the three products (dX), 6 d
 * ff; to their weights (dW), 6 d ff. A row is a (token, true expert) pair; a null expert has none. Bytes:
 * forward the weights of the experts that have rows; backward those once more, and their gradient.
 *
 * A repetition is one pass forward and backward, or as many as the least time asks for. The peaks are
 * measured before and after, and in between where it is a single long pass; each half is divided by the
 * roofline of its own moment (paired_limit.h).
 */
#include "bench/train.h"
#include "timing/group.h"
#include "bench/table.h"
#include "machine/clock.h"
#include "machine/last_level_cache.h"
#include "machine/memory.h"
#include "program/environment.h"
#include "program/held_signals.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "timing/train_layer.h"
#include "router.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { FORWARD, BACKWARD, BOTH, PARTS };

static const char *const part_names[PARTS] = {"forward", "backward", "both"};
static const char *const stage_names[ADAMOE_EXPERTS_STAGES] = {
    "up", "gate", "down", "combine", "to_hidden", "silu", "to_weight", "to_input", "gather"};

/* One half of a pass, or the whole. */
typedef struct part {
    adamoe_plan_work work;
    adamoe_expert_cost cost;
    double *seconds;      /* [repetitions] of one pass */
    size_t *before;       /* [repetitions] the burst before; the one after is the next */
    adamoe_limit *limits; /* [repetitions] */
    adamoe_bench_summary summary;
} part;

/* One number of tokens. */
typedef struct point {
    const adamoe_bench_train *options;
    const adamoe_bench_machine *machine;
    size_t tokens, bursts;
    adamoe_train_layer layer;
    size_t calls; /* passes of a repetition */
    double stage_seconds[ADAMOE_EXPERTS_STAGES], stages_total;
    adamoe_peak peak;
    part part[PARTS];
} point;

/* ---------------------------------------------------------------------------------------------- measuring */

static adamoe_status burst(point *p, double seconds)
{
    ++p->bursts;
    return adamoe_peak_meter_burst(p->machine->meter, ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_FLOAT32),
                                   adamoe_burst_slices(seconds));
}

/* Seconds of one pass, forward and backward. */
static void pass(point *p, double seconds[2])
{
    const double start = adamoe_now();
    adamoe_train_layer_forward(&p->layer);
    const double middle = adamoe_now();
    adamoe_train_layer_backward(&p->layer);
    seconds[FORWARD] += middle - start;
    seconds[BACKWARD] += adamoe_now() - middle;
}

static adamoe_status repeat_long(point *p, size_t repetition, double expected)
{
    const double start = adamoe_now();
    p->part[FORWARD].before[repetition] = p->bursts - 1;
    adamoe_train_layer_forward(&p->layer);
    p->part[FORWARD].seconds[repetition] = adamoe_now() - start;
    ADAMOE_TRY(burst(p, expected));
    const double middle = adamoe_now();
    p->part[BACKWARD].before[repetition] = p->bursts - 1;
    adamoe_train_layer_backward(&p->layer);
    p->part[BACKWARD].seconds[repetition] = adamoe_now() - middle;
    return adamoe_ok();
}

static void repeat_short(point *p, size_t repetition)
{
    double seconds[2] = {0.0, 0.0};
    for (size_t i = 0; i < p->calls; ++i) {
        pass(p, seconds);
    }
    for (size_t i = FORWARD; i <= BACKWARD; ++i) {
        p->part[i].before[repetition] = p->bursts - 1;
        p->part[i].seconds[repetition] = seconds[i] / (double)p->calls;
    }
}

static adamoe_status measure(point *p)
{
    double first[2] = {0.0, 0.0};
    pass(p, first); /* memory that nobody touched before; not counted */
    const double expected = first[FORWARD] + first[BACKWARD];
    const double calls = ceil(p->options->least_seconds / expected);
    p->calls = calls >= 1e6 ? 1000000 : calls >= 1.0 ? (size_t)calls : 1;
    for (size_t i = 0; i < ADAMOE_EXPERTS_STAGES; ++i) {
        p->stage_seconds[i] = 0.0;
    }
    adamoe_peak_meter_begin(p->machine->meter);
    ADAMOE_TRY(burst(p, expected * (double)p->calls));
    for (size_t r = 0; r < p->options->repetitions; ++r) {
        if (p->calls == 1) {
            ADAMOE_TRY(repeat_long(p, r, expected));
        } else {
            repeat_short(p, r);
        }
        ADAMOE_TRY(burst(p, expected * (double)p->calls));
        p->part[BOTH].seconds[r] = p->part[FORWARD].seconds[r] + p->part[BACKWARD].seconds[r];
    }
    return adamoe_peak_meter_read(p->machine->meter, ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_FLOAT32),
                                  &p->peak);
}

/* --------------------------------------------------------------------------------------------- accounting */

static void count_work(point *p)
{
    const adamoe_expert_cost once =
        adamoe_expert_cost_of(p->layer.hidden_size, p->layer.intermediate_size, ADAMOE_FLOAT32);
    static const double flops[PARTS] = {1.0, 2.0, 3.0}, bytes[PARTS] = {1.0, 2.0, 3.0};
    for (size_t i = 0; i < PARTS; ++i) {
        p->part[i].cost = (adamoe_expert_cost){flops[i] * once.flops_per_row, bytes[i] * once.bytes};
        p->part[i].work = adamoe_plan_work_of(p->layer.plan, p->part[i].cost);
    }
}

static adamoe_status summarise(point *p)
{
    const size_t count = p->options->repetitions;
    const adamoe_rates best = {p->peak.gflops, p->peak.gbytes_per_second};
    for (size_t i = FORWARD; i <= BACKWARD; ++i) {
        adamoe_paired_limits(p->layer.plan, p->part[i].cost, &p->peak, p->part[i].before, count, 0.0,
                             p->part[i].limits);
    }
    for (size_t r = 0; r < count; ++r) {
        const adamoe_limit *f = &p->part[FORWARD].limits[r], *b = &p->part[BACKWARD].limits[r];
        p->part[BOTH].limits[r] =
            (adamoe_limit){f->seconds + b->seconds, f->seconds_without_overlap + b->seconds_without_overlap};
    }
    for (size_t i = 0; i < PARTS; ++i) {
        part *q = &p->part[i];
        ADAMOE_TRY(adamoe_bench_summarise(q->seconds, q->seconds, q->limits, count, q->work,
                                          best.gflops > 0.0 ? adamoe_roofline(p->layer.plan, q->cost, best)
                                                            : (adamoe_limit){NAN, NAN},
                                          &q->summary));
    }
    for (size_t i = 0; i < ADAMOE_EXPERTS_STAGES; ++i) {
        p->stage_seconds[i] /= (double)(count * p->calls);
        p->stages_total += p->stage_seconds[i];
    }
    return adamoe_ok();
}

/* -------------------------------------------------------------------------------------------------- table */

static void print_part(const point *p, size_t i)
{
    const adamoe_bench_summary *s = &p->part[i].summary;
    char median[32], low[32], high[32], interval[72], share[64];
    (void)snprintf(interval, sizeof interval, "%s .. %s",
                   adamoe_format_seconds(s->seconds.interval.low, low, sizeof low),
                   adamoe_format_seconds(s->seconds.interval.high, high, sizeof high));
    const adamoe_estimate *e = &s->roofline_share;
    if (isfinite(e->interval.low)) {
        (void)snprintf(share, sizeof share, "%.3f [%.3f, %.3f]", e->median, e->interval.low,
                       e->interval.high);
    } else {
        (void)snprintf(share, sizeof share, "%.3f [too few]", e->median);
    }
    printf("  %-9s %9s %-22s %10.3g %9.1f   %-20s %8.3f%s\n", part_names[i],
           adamoe_format_seconds(s->seconds.median, median, sizeof median), interval,
           p->part[i].work.flops * 1e-9, s->gflops, share, s->share_of_best,
           s->measurement_error ? "  measurement error: faster than the machine" : "");
}

static void print_point(const point *p, uint32_t threads)
{
    const adamoe_bench_train *o = p->options;
    printf("train/%s/tokens:%zu/routing:%s/threads:%u: %zu rows of %zu experts, load %.3f\n", o->preset->name,
           p->tokens, adamoe_pattern_names[o->pattern], threads, p->layer.plan->rows,
           p->part[BOTH].work.touched_experts, adamoe_routing_load(p->layer.routing));
    printf("  peak for float32 operands: %.0f GFLOP/s by %s (median burst %.0f), reading %.1f GB/s\n",
           p->peak.gflops, p->peak.path, p->peak.gflops_median, p->peak.gbytes_per_second);
    printf("  %-9s %9s %-22s %10s %9s   %-20s %8s\n", "Part", "Median", "[95 %]", "GFLOP", "GFLOP/s",
           "Roofline [95 %]", "of best");
    for (size_t i = 0; i < PARTS; ++i) {
        print_part(p, i);
    }
    printf("  stages");
    for (size_t i = 0; i < ADAMOE_EXPERTS_STAGES; ++i) {
        printf("%s %s %.1f %%", i == 0 ? "" : ",", stage_names[i],
               100.0 * p->stage_seconds[i] / p->stages_total);
    }
    printf("\n");
    (void)fflush(stdout);
}

/* --------------------------------------------------------------------------------------------------- JSON */

typedef struct counter {
    const char *name;
    double value;
} counter;

static bool set_counters(json_t *entry, const point *p, const part *q)
{
    const adamoe_bench_summary *s = &q->summary;
    const double third = p->part[FORWARD].work.flops;
    const counter counters[] = {
        {"load", adamoe_routing_load(p->layer.routing)},
        {"executed_flops", q->work.flops},
        {"forward_flops", q == &p->part[BACKWARD] ? 0.0 : third},
        {"to_input_flops", q == &p->part[FORWARD] ? 0.0 : third},
        {"to_weight_flops", q == &p->part[FORWARD] ? 0.0 : third},
        {"touched_bytes", q->work.bytes},
        {"expert_rows", (double)q->work.rows},
        {"touched_experts", (double)q->work.touched_experts},
        {"calls", (double)p->calls},
        {"median_seconds", s->seconds.median},
        {"median_seconds_low", s->seconds.interval.low},
        {"median_seconds_high", s->seconds.interval.high},
        {"gflops", s->gflops},
        {"gbytes_per_second", s->gbytes_per_second},
        {"roofline_share", s->roofline_share.median},
        {"roofline_share_low", s->roofline_share.interval.low},
        {"roofline_share_high", s->roofline_share.interval.high},
        {"share_of_best", s->share_of_best},
        {"peak_gflops", p->peak.gflops},
        {"peak_gflops_median", p->peak.gflops_median},
        {"peak_gbytes_per_second", p->peak.gbytes_per_second},
        {"measurement_error", s->measurement_error ? 1.0 : 0.0},
    };
    bool complete = entry != NULL;
    for (size_t i = 0; complete && i < sizeof counters / sizeof *counters; ++i) {
        complete = json_object_set_new(entry, counters[i].name, adamoe_json_number(counters[i].value)) == 0;
    }
    for (size_t i = 0; complete && q == &p->part[BOTH] && i < ADAMOE_EXPERTS_STAGES; ++i) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s_seconds", stage_names[i]);
        complete = json_object_set_new(entry, name, adamoe_json_number(p->stage_seconds[i])) == 0;
    }
    return complete;
}

/* An entry as Google Benchmark writes them. NULL where there is no memory. */
static json_t *part_json(const point *p, size_t i, uint32_t threads)
{
    char name[192];
    const adamoe_bench_train *o = p->options;
    (void)snprintf(name, sizeof name, "train/%s/%s/tokens:%zu/routing:%s/threads:%u", o->preset->name,
                   part_names[i], p->tokens, adamoe_pattern_names[o->pattern], threads);
    const double nanoseconds = 1e9 * p->part[i].summary.seconds.median;
    json_t *entry =
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:s}", "name", name, "run_name", name,
                  "run_type", "iteration", "repetitions", 1, "repetition_index", 0, "threads", 1,
                  "iterations", 1, "real_time", nanoseconds, "cpu_time", nanoseconds, "time_unit", "ns");
    if (!set_counters(entry, p, &p->part[i])) {
        json_decref(entry);
        return NULL;
    }
    return entry;
}

static adamoe_status write_json(const adamoe_bench_train *o, const adamoe_load_mark *before, json_t *entries)
{
    if (o->json == NULL) {
        json_decref(entries);
        return adamoe_ok();
    }
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, o->seed);
    json_t *document =
        json_pack("{s:{s:s, s:s, s:o}, s:o}", "context", "adamoe_version", ADAMOE_VERSION, "adamoe_seed",
                  seed, "environment", adamoe_environment_json(before), "benchmarks", entries);
    adamoe_hold_signals();
    const adamoe_status status = adamoe_json_write(o->json, document);
    adamoe_release_signals();
    return status;
}

/* ---------------------------------------------------------------------------------------------- the sweep */

typedef struct sweep {
    const adamoe_bench_train *options;
    adamoe_bench_machine machine;
    json_t *entries;
    bool prints;
    adamoe_status impossible; /* of the first point that is faster than the machine */
} sweep;

static adamoe_status keep(sweep *s, const point *p, uint32_t threads)
{
    if (s->prints) {
        print_point(p, threads);
    }
    for (size_t i = 0; i < PARTS; ++i) {
        if (json_array_append_new(s->entries, part_json(p, i, threads)) != 0) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
        }
    }
    return adamoe_ok();
}

static adamoe_status run_point(sweep *s, point *p, uint32_t threads)
{
    const size_t count = s->options->repetitions;
    for (size_t i = 0; i < PARTS; ++i) {
        p->part[i].seconds = calloc(count, sizeof *p->part[i].seconds);
        p->part[i].before = calloc(count, sizeof *p->part[i].before);
        p->part[i].limits = calloc(count, sizeof *p->part[i].limits);
        if (p->part[i].seconds == NULL || p->part[i].before == NULL || p->part[i].limits == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
        }
    }
    count_work(p);
    ADAMOE_TRY(measure(p));
    ADAMOE_TRY(summarise(p));
    return keep(s, p, threads);
}

/* Passes go round through as many copies of the weights as touch more than twice the last-level cache, as far as
 * half of the available memory goes. Each has its gradient. */
static size_t copies_of(const adamoe_preset *preset, size_t cache_bytes)
{
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(preset->hidden_size, preset->intermediate_size, ADAMOE_FLOAT32);
    const double bytes = cost.bytes * (double)preset->mixture.experts;
    const size_t wanted = adamoe_cold_copies(bytes, 1, cache_bytes);
    const double room = (double)adamoe_available_memory() / 2.0 / (2.0 * bytes);
    return room >= (double)wanted ? wanted : room >= 1.0 ? (size_t)room : 1;
}

/* Forward and backward together. */
static void judge_possible(sweep *s, const point *p)
{
    const part *both = &p->part[BOTH];
    const adamoe_rates usual = {p->peak.gflops_median, p->peak.gbytes_per_second_median};
    const adamoe_possible_conditions conditions = {
        .peak_gflops = p->peak.gflops,
        .arithmetic_binds = adamoe_arithmetic_binds(p->layer.plan, both->cost, usual),
        .may_come_from_cache =
            adamoe_last_level_cache_is_by_hand() || p->peak.read_bytes < p->peak.read_bytes_wanted};
    const adamoe_status status = adamoe_judge_possible(&both->summary, conditions);
    if (status.code != ADAMOE_OK && s->impossible.code == ADAMOE_OK) {
        s->impossible = adamoe_error(status.code, "train/%s/tokens:%zu: %.300s", s->options->preset->name,
                                     p->tokens, status.message);
    }
}

static adamoe_status run_tokens(sweep *s, size_t tokens, uint32_t threads)
{
    const adamoe_bench_train *o = s->options;
    point p = {.options = o, .machine = &s->machine, .tokens = tokens};
    ADAMOE_TRY(adamoe_train_layer_create(o->preset, o->pattern, tokens,
                                         copies_of(o->preset, adamoe_last_level_cache()), o->seed,
                                         s->machine.team, s->machine.host, p.stage_seconds, &p.layer));
    const adamoe_status status = run_point(s, &p, threads);
    if (status.code == ADAMOE_OK) {
        judge_possible(s, &p);
    }
    for (size_t i = 0; i < PARTS; ++i) {
        free(p.part[i].seconds);
        free(p.part[i].before);
        free(p.part[i].limits);
    }
    adamoe_train_layer_free(&p.layer);
    return status;
}

static adamoe_status run_threads(sweep *s, uint32_t threads)
{
    const adamoe_bench_train *o = s->options;
    adamoe_machine_options machine = o->machine;
    machine.threads = threads;
    ADAMOE_TRY(adamoe_bench_machine_enter(&s->machine, &machine));
    adamoe_status status =
        adamoe_train_layer_check(o->preset, o->pattern, o->seed, s->machine.team, s->machine.host);
    for (size_t t = 0; t < o->token_counts && status.code == ADAMOE_OK; ++t) {
        status = run_tokens(s, o->tokens[t], threads);
    }
    adamoe_bench_machine_leave(&s->machine);
    return status;
}

static adamoe_status run_sweep(sweep *s)
{
    for (size_t i = 0; i < s->options->thread_counts; ++i) {
        const adamoe_status status = run_threads(s, (uint32_t)s->options->threads[i]);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "train/%s: %.400s", s->options->preset->name, status.message);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_bench_train_run(const adamoe_bench_train *options)
{
    const adamoe_result_file file = {"--json", options->json};
    adamoe_load_mark before;
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, NULL, 0, NULL));
    sweep s = {.impossible = adamoe_ok(),
               .options = options,
               .entries = json_array(),
               .prints = adamoe_json_leaves_stdout(options->json)};
    adamoe_mark_load(&before);
    const adamoe_status status =
        s.entries == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory") : run_sweep(&s);
    if (status.code != ADAMOE_OK) {
        json_decref(s.entries);
        return status;
    }
    if (s.prints) {
        adamoe_print_disturbance(&before);
    }
    ADAMOE_TRY(write_json(options, &before, s.entries));
    return s.impossible;
}
