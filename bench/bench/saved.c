/*
 * adamoe bench --saved. The table is printed as it grows; the JSON is written whole at the end, in the form
 * of Google Benchmark's, so that what reads one reads the other.
 */
#include "bench/saved.h"
#include "program/environment.h"
#include "program/held_signals.h"
#include "program/json_output.h"
#include "program/result_files.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* -------------------------------------------------------------------------------------------------- table */

static void print_head(const adamoe_bench_saved *o, const adamoe_kernel *kernel, uint32_t threads)
{
    printf("saved/%s/%s/routing:%s/threads:%u: top-%zu of %zu true and %zu null experts against top-%zu "
           "without\n",
           o->preset->name, kernel->name, adamoe_pattern_names[o->measure.pattern], threads,
           o->preset->mixture.top_k, o->preset->mixture.experts, o->preset->mixture.null_experts,
           o->preset->baseline_top_k);
    printf("  %6s %6s %6s  %7s %7s  %9s %10s  %22s  %s\n", "Tokens", "Calls", "Load", "FLOPs", "Bytes",
           "Roofline", "no overlap", "Time saved [95 %]", "over FLOPs saved [95 %]");
}

/* A share as a percentage, or a dash where there is none. */
static const char *percent(double share, char *text, size_t size)
{
    (void)snprintf(text, size, isfinite(share) ? "%.1f %%" : "-", 100.0 * share);
    return text;
}

/* What the roofline of a point was drawn with. */
static void print_peak(const adamoe_kernel *kernel, const adamoe_saved_point *p)
{
    char operands[64];
    printf("  peak for %s: %.0f GFLOP/s by %s, reading %.1f GB/s\n",
           adamoe_operands_text(kernel, operands, sizeof operands), p->peak.gflops, p->peak.path,
           p->peak.gbytes_per_second);
}

static void print_point(const adamoe_saved_point *p)
{
    char flops[16], bytes[16], limit[16], alone[16], time[64];
    (void)snprintf(time, sizeof time, "%.1f %% [%.1f, %.1f]", 100.0 * p->time_reduction.median,
                   100.0 * p->time_reduction.interval.low, 100.0 * p->time_reduction.interval.high);
    printf("  %6zu %6zu %6.3f  %7s %7s  %9s %10s  %22s  %.3f [%.3f, %.3f]%s\n", p->tokens,
           p->batches * p->passes, p->adaptive.load, percent(p->layer_flops_reduction, flops, sizeof flops),
           percent(p->touched_bytes_reduction, bytes, sizeof bytes),
           percent(p->predicted_time_reduction, limit, sizeof limit),
           percent(p->predicted_without_overlap, alone, sizeof alone), time, p->time_per_flops,
           p->time_per_flops_interval.low, p->time_per_flops_interval.high,
           p->by_expert ? "  expert by expert" : "");
    if (p->copies < p->copies_wanted) {
        printf(
            "  Capped: %zu of %zu copies of the weights, for which half of the available memory is room: some of "
            "them may be in a cache\n",
            p->copies, p->copies_wanted);
    }
    (void)fflush(stdout);
}

/* --------------------------------------------------------------------------------------------------- JSON */

typedef struct counter {
    const char *name;
    double value;
} counter;

/* Numbers of one point, flat as Google Benchmark's counters are; null where there is none. */
static bool set_counters(json_t *entry, const adamoe_bench_saved *o, const adamoe_saved_point *p)
{
    const counter counters[] = {
        {"load", p->adaptive.load},
        {"baseline_load", p->baseline.load},
        {"executed_flops", p->adaptive.layer_flops},
        {"baseline_flops", p->baseline.layer_flops},
        {"touched_bytes", p->adaptive.touched_bytes},
        {"baseline_touched_bytes", p->baseline.touched_bytes},
        {"expert_flops_reduction", p->expert_flops_reduction},
        {"flops_reduction", p->layer_flops_reduction},
        {"bytes_reduction", p->touched_bytes_reduction},
        {"predicted_time_reduction", p->predicted_time_reduction},
        {"predicted_time_reduction_without_overlap", p->predicted_without_overlap},
        {"time_reduction", p->time_reduction.median},
        {"time_reduction_low", p->time_reduction.interval.low},
        {"time_reduction_high", p->time_reduction.interval.high},
        {"time_per_flops", p->time_per_flops},
        {"time_per_flops_low", p->time_per_flops_interval.low},
        {"time_per_flops_high", p->time_per_flops_interval.high},
        {"median_seconds", p->adaptive.seconds},
        {"baseline_median_seconds", p->baseline.seconds},
        {"roofline_seconds", p->adaptive.limit},
        {"baseline_roofline_seconds", p->baseline.limit},
        {"peak_gflops", p->peak.gflops},
        {"peak_gbytes_per_second", p->peak.gbytes_per_second},
        {"pairs", (double)o->measure.repetitions},
        {"copies", (double)p->copies},
        {"copies_wanted", (double)p->copies_wanted},
        {"read_buffer_bytes", (double)p->peak.read_bytes},
        {"read_buffer_bytes_wanted", (double)p->peak.read_bytes_wanted},
        {"trace_calls", (double)p->batches},
        {"by_expert", p->by_expert ? 1.0 : 0.0},
    };
    bool complete = entry != NULL;
    for (size_t i = 0; complete && i < sizeof counters / sizeof *counters; ++i) {
        complete = json_object_set_new(entry, counters[i].name, adamoe_json_number(counters[i].value)) == 0;
    }
    return complete;
}

/* An entry as Google Benchmark writes them: the time is the median of one trace with null experts. NULL where
 * there is no memory. */
static json_t *point_json(const adamoe_bench_saved *o, const adamoe_kernel *kernel, uint32_t threads,
                          const adamoe_saved_point *p)
{
    char name[192], operands[64];
    const bool places = o->machine.policy != ADAMOE_NUMA_LOCAL || o->machine.topology != NULL;
    (void)snprintf(name, sizeof name, "saved/%s/%s/tokens:%zu/routing:%s/threads:%u%s%s", o->preset->name,
                   kernel->name, p->tokens, adamoe_pattern_names[o->measure.pattern], threads,
                   places ? "/numa:" : "", places ? adamoe_numa_policy_names[o->machine.policy] : "");
    const double nanoseconds = 1e9 * p->adaptive.seconds;
    json_t *entry = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:s, s:s, s:s}", "name", name, "run_name", name,
        "run_type", "iteration", "repetitions", 1, "repetition_index", 0, "threads", 1, "iterations", 1,
        "real_time", nanoseconds, "cpu_time", nanoseconds, "time_unit", "ns", "operands",
        adamoe_operands_text(kernel, operands, sizeof operands), "peak_path", p->peak.path);
    if (!set_counters(entry, o, p)) {
        json_decref(entry);
        return NULL;
    }
    return entry;
}

static adamoe_status write_json(const adamoe_bench_saved *o, const adamoe_load_mark *before, json_t *points)
{
    if (o->json == NULL) {
        json_decref(points);
        return adamoe_ok();
    }
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, o->measure.seed);
    json_t *document =
        json_pack("{s:{s:s, s:s, s:o}, s:o}", "context", "adamoe_version", ADAMOE_VERSION, "adamoe_seed",
                  seed, "environment", adamoe_environment_json(before), "benchmarks", points);
    adamoe_hold_signals();
    const adamoe_status status = adamoe_json_write(o->json, document);
    adamoe_release_signals();
    return status;
}

/* ---------------------------------------------------------------------------------------------- the sweep */

typedef struct sweep {
    const adamoe_bench_saved *options;
    adamoe_bench_machine machine;
    adamoe_bench_weights weights;
    json_t *points;
    bool prints;
} sweep;

static adamoe_status run_kernel(sweep *s, const adamoe_kernel *kernel, uint32_t threads)
{
    const adamoe_bench_saved *o = s->options;
    if (s->prints) {
        print_head(o, kernel, threads);
    }
    adamoe_saved_point point;
    for (size_t t = 0; t < o->token_counts; ++t) {
        const adamoe_status status =
            adamoe_saved_measure(&s->machine, &s->weights, kernel, o->tokens[t], &o->measure, &point);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "saved/%s/%s/tokens:%zu: %.330s", o->preset->name, kernel->name,
                                o->tokens[t], status.message);
        }
        if (s->prints) {
            print_point(&point);
        }
        if (json_array_append_new(s->points, point_json(o, kernel, threads, &point)) != 0) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory");
        }
    }
    if (s->prints && o->token_counts > 0) {
        print_peak(kernel, &point);
    }
    return adamoe_ok();
}

/* One kernel at a time: the weights of the one before are given back. */
static adamoe_status run_threads(sweep *s, uint32_t threads)
{
    const adamoe_bench_saved *o = s->options;
    adamoe_machine_options machine = o->machine;
    machine.threads = threads;
    ADAMOE_TRY(adamoe_bench_machine_enter(&s->machine, &machine));
    adamoe_status status = adamoe_ok();
    for (size_t k = 0; k < o->kernels && status.code == ADAMOE_OK; ++k) {
        status = run_kernel(s, o->kernel[k], threads);
        adamoe_bench_weights_release(&s->weights);
    }
    adamoe_bench_machine_leave(&s->machine);
    return status;
}

static adamoe_status run_sweep(sweep *s)
{
    for (size_t i = 0; i < s->options->thread_counts; ++i) {
        ADAMOE_TRY(run_threads(s, (uint32_t)s->options->threads[i]));
    }
    return adamoe_ok();
}

adamoe_status adamoe_bench_saved_check(const adamoe_preset *preset, size_t repetitions)
{
    if (preset->mixture.null_experts == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--saved: the preset %s has no null experts", preset->name);
    }
    return repetitions <= ADAMOE_SAVED_MOST_PAIRS
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--benchmark_repetitions: %zu: with --saved at most %d",
                              repetitions, ADAMOE_SAVED_MOST_PAIRS);
}

adamoe_status adamoe_bench_saved_run(const adamoe_bench_saved *options)
{
    const adamoe_result_file file = {"--json", options->json};
    adamoe_load_mark before;
    ADAMOE_TRY(adamoe_bench_saved_check(options->preset, options->measure.repetitions));
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, NULL, 0, options->common));
    sweep s = {.options = options,
               .machine = {.fallback = options->fallback},
               .weights = {.preset = options->preset, .seed = options->measure.seed},
               .points = json_array(),
               .prints = adamoe_json_leaves_stdout(options->json)};
    adamoe_mark_load(&before);
    const adamoe_status status =
        s.points == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "saved: out of memory") : run_sweep(&s);
    adamoe_bench_weights_free(&s.weights);
    if (status.code != ADAMOE_OK) {
        json_decref(s.points);
        return status;
    }
    if (s.prints) {
        adamoe_print_disturbance(&before);
    }
    return write_json(options, &before, s.points);
}
