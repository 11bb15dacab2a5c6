/*
 * Benchmarks of layers from Google Benchmark's JSON: names taken apart, repetitions put together, sorted into
 * panels and series.
 */
#include "report/results.h"
#include "report/values.h"
#include "statistics/statistics.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------ what is taken */

static bool is_aggregate(const json_t *entry)
{
    return strcmp(adamoe_text_in(entry, "run_type", ""), "aggregate") == 0;
}

/* Repetitions, or where a file has only aggregates the median. */
static bool is_taken(const json_t *entry, bool repetitions)
{
    return repetitions ? !is_aggregate(entry)
                       : strcmp(adamoe_text_in(entry, "aggregate_name", ""), "median") == 0;
}

/* Aggregates have the name of what they aggregate here. */
static const char *run_name(const json_t *entry)
{
    return adamoe_text_in(entry, "run_name", adamoe_text_in(entry, "name", ""));
}

static bool has_repetitions(const json_t *benchmarks, const char *name)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(benchmarks, i, entry)
    {
        if (!is_aggregate(entry) && strcmp(run_name(entry), name) == 0) {
            return true;
        }
    }
    return false;
}

/* -------------------------------------------------------------------------------------------------- names */

/* Appends a part to a list like "routing:balanced, threads:2". */
static bool append(char **list, const char *part)
{
    char *more = NULL;
    if (asprintf(&more, "%s%s%s", *list == NULL ? "" : *list, *list == NULL ? "" : ", ", part) < 0) {
        return false;
    }
    free(*list);
    *list = more;
    return true;
}

static bool read_tokens(const char *part, size_t *out)
{
    static const char key[] = "tokens:";
    if (strncmp(part, key, sizeof key - 1) != 0) {
        return false;
    }
    const char *digits = part + sizeof key - 1;
    errno = 0;
    const unsigned long long value = strtoull(digits, NULL, 10);
    *out = (size_t)value;
    return errno == 0 && value > 0 && digits[strspn(digits, "0123456789")] == '\0';
}

/* layer/PRESET/KERNEL/tokens:T/..., or saved/ the same; false where it is no such name. */
static bool split_name(const char *name, adamoe_timing *timing, bool *memory)
{
    char *copy = strdup(name), *rest = copy;
    size_t parts = 0;
    *memory = copy != NULL;
    for (const char *part = strsep(&rest, "/"); part != NULL && *memory; part = strsep(&rest, "/"), ++parts) {
        size_t tokens;
        if (parts == 0) {
            timing->saved = strcmp(part, "saved") == 0;
            if (!timing->saved && strcmp(part, "layer") != 0) {
                break;
            }
        }
        if (parts == 1 || parts == 2) {
            char **field = parts == 1 ? &timing->preset : &timing->kernel;
            *field = strdup(part);
            *memory = *field != NULL;
        } else if (parts > 2 && read_tokens(part, &tokens)) {
            timing->tokens = tokens;
        } else if (parts > 2) {
            *memory = append(&timing->setting, part);
        }
    }
    free(copy);
    *memory = *memory && (timing->setting != NULL || append(&timing->setting, ""));
    return parts > 2 && timing->tokens > 0;
}

static void free_names(adamoe_timing *timing)
{
    free(timing->preset);
    free(timing->kernel);
    free(timing->setting);
}

/* -------------------------------------------------------------------------------------------- repetitions */

static double time_unit(const json_t *entry)
{
    const char *unit = adamoe_text_in(entry, "time_unit", "ns");
    return strcmp(unit, "s") == 0    ? 1.0
           : strcmp(unit, "ms") == 0 ? 1e-3
           : strcmp(unit, "us") == 0 ? 1e-6
                                     : 1e-9;
}

/* The values of one counter over the repetitions of one benchmark, sorted. */
typedef struct sample {
    double *value; /* [count], room for every entry of the file */
    size_t count;
} sample;

static void collect(const json_t *benchmarks, const char *name, bool repetitions, const char *key,
                    sample *out)
{
    size_t i;
    const json_t *entry;
    out->count = 0;
    json_array_foreach(benchmarks, i, entry)
    {
        const double value = adamoe_number_in(entry, key);
        if (isfinite(value) && is_taken(entry, repetitions) && strcmp(run_name(entry), name) == 0) {
            out->value[out->count++] = strcmp(key, "real_time") == 0 ? value * time_unit(entry) : value;
        }
    }
    adamoe_sort(out->value, out->count);
}

static double median_of(const json_t *benchmarks, const char *name, bool repetitions, const char *key,
                        sample *room)
{
    collect(benchmarks, name, repetitions, key, room);
    return room->count == 0 ? (double)NAN : adamoe_median(room->value, room->count);
}

static void measure(const json_t *benchmarks, const char *name, adamoe_timing *timing, sample *room)
{
    const bool repetitions = has_repetitions(benchmarks, name);
    const struct {
        const char *key;
        double *value;
    } counters[] = {
        {"gflops", &timing->gflops},
        {"gbytes_per_second", &timing->gbytes_per_second},
        {"roofline_share", &timing->roofline_share},
        {"share_without_overlap", &timing->share_without_overlap},
        {"peak_gflops", &timing->peak_gflops},
        {"peak_gbytes_per_second", &timing->peak_gbytes_per_second},
        {"executed_flops", &timing->executed_flops},
        {"touched_bytes", &timing->touched_bytes},
        {"load", &timing->load},
        {"flops_reduction", &timing->flops_reduction},
        {"bytes_reduction", &timing->bytes_reduction},
        {"predicted_time_reduction", &timing->predicted_time_reduction},
        {"time_reduction", &timing->time_reduction},
        {"time_reduction_low", &timing->time_reduction_low},
        {"time_reduction_high", &timing->time_reduction_high},
    };
    for (size_t i = 0; i < sizeof counters / sizeof *counters; ++i) {
        *counters[i].value = median_of(benchmarks, name, repetitions, counters[i].key, room);
    }
    timing->seconds = median_of(benchmarks, name, repetitions, "real_time", room);
    timing->repetitions = room->count;
    timing->least = room->count == 0 ? (double)NAN : room->value[0];
    timing->most = room->count == 0 ? (double)NAN : room->value[room->count - 1];
    const double low = median_of(benchmarks, name, repetitions, "median_seconds_low", room);
    const double high = median_of(benchmarks, name, repetitions, "median_seconds_high", room);
    if (isfinite(low) && isfinite(high)) {
        timing->least = low;
        timing->most = high;
    }
}

/* -------------------------------------------------------------------------------------------------- files */

static bool is_known(const json_t *benchmarks, size_t before, const char *name)
{
    for (size_t i = 0; i < before; ++i) {
        if (strcmp(run_name(json_array_get(benchmarks, i)), name) == 0) {
            return true;
        }
    }
    return false;
}

static adamoe_status add_timing(adamoe_report *report, size_t source, const json_t *benchmarks,
                                const json_t *entry, sample *room)
{
    adamoe_timing timing = {.source = source};
    bool memory;
    const char *name = run_name(entry), *path = report->source[source].path;
    if (!split_name(name, &timing, &memory) || !memory) {
        free_names(&timing);
        return memory ? adamoe_error(ADAMOE_BAD_INPUT,
                                     "%.200s: benchmarks: `%.100s' is not layer/PRESET/KERNEL/tokens:T/...",
                                     path, name)
                      : adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    if (json_is_true(json_object_get(entry, "error_occurred"))) {
        timing.error = adamoe_text_in(entry, "error_message", "no reason given");
    }
    measure(benchmarks, name, &timing, room);
    adamoe_timing *more = realloc(report->timing, (report->timings + 1) * sizeof *more);
    if (more == NULL) {
        free_names(&timing);
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    report->timing = more;
    more[report->timings++] = timing;
    return adamoe_ok();
}

adamoe_status adamoe_report_add_timings(adamoe_report *report, size_t source)
{
    const json_t *benchmarks = json_object_get(report->source[source].document, "benchmarks");
    const size_t count = json_array_size(benchmarks);
    sample room = {.value = calloc(count + 1, sizeof(double))};
    adamoe_status status = room.value == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "report: out of memory")
                           : count == 0 ? adamoe_error(ADAMOE_BAD_INPUT, "%.300s: benchmarks: there is none",
                                                       report->source[source].path)
                                        : adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        const json_t *entry = json_array_get(benchmarks, i);
        if (!is_known(benchmarks, i, run_name(entry))) {
            status = add_timing(report, source, benchmarks, entry, &room);
        }
    }
    free(room.value);
    return status;
}

/* -------------------------------------------------------------------------------------- panels and series */

static int by_panel(const adamoe_timing *a, const adamoe_timing *b)
{
    const int preset = strcmp(a->preset, b->preset), setting = strcmp(a->setting, b->setting);
    return a->saved != b->saved     ? (a->saved ? 1 : -1)
           : a->source != b->source ? (a->source < b->source ? -1 : 1)
           : preset != 0            ? preset
                                    : setting;
}

static int by_place(const void *left, const void *right)
{
    const adamoe_timing *a = left, *b = right;
    const int panel = by_panel(a, b), kernel = strcmp(a->kernel, b->kernel);
    return panel != 0 ? panel : kernel != 0 ? kernel : a->tokens < b->tokens ? -1 : a->tokens > b->tokens;
}

static int by_text(const void *left, const void *right)
{
    char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

adamoe_status adamoe_report_sort_timings(adamoe_report *report)
{
    report->kernel = calloc(report->timings + 1, sizeof *report->kernel);
    if (report->kernel == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "report: out of memory");
    }
    if (report->timings == 0) {
        return adamoe_ok();
    }
    qsort(report->timing, report->timings, sizeof *report->timing, by_place);
    for (size_t i = 0; i < report->timings; ++i) {
        report->kernel[i] = report->timing[i].kernel;
    }
    qsort(report->kernel, report->timings, sizeof *report->kernel, by_text);
    for (size_t i = 0; i < report->timings; ++i) {
        if (report->kernels == 0 || strcmp(report->kernel[report->kernels - 1], report->kernel[i]) != 0) {
            report->kernel[report->kernels++] = report->kernel[i];
        }
    }
    return adamoe_ok();
}

adamoe_panel adamoe_report_panel(const adamoe_report *report, size_t first)
{
    size_t end = first;
    while (end < report->timings && by_panel(&report->timing[first], &report->timing[end]) == 0) {
        ++end;
    }
    return (adamoe_panel){first, end - first};
}

/* Those of bench --saved come last. */
bool adamoe_report_has_saved(const adamoe_report *report)
{
    return report->timings > 0 && report->timing[report->timings - 1].saved;
}

bool adamoe_report_has_throughput(const adamoe_report *report)
{
    return report->timings > 0 && !report->timing[0].saved;
}

size_t adamoe_report_series(const adamoe_report *report, size_t first, size_t count)
{
    size_t end = 0;
    while (end < count && strcmp(report->timing[first].kernel, report->timing[first + end].kernel) == 0) {
        ++end;
    }
    return end;
}

size_t adamoe_report_style(const adamoe_report *report, const char *kernel)
{
    for (size_t i = 0; i < report->kernels; ++i) {
        if (strcmp(report->kernel[i], kernel) == 0) {
            return i;
        }
    }
    return 0;
}
