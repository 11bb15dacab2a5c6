/*
 * Two results of `adamoe bench`: the work that each benchmark did must be the same, to the last byte; and its
 * time is compared relative to the roofline of its own run, because two runs are two moments of a machine, or
 * two machines. A benchmark without such a yardstick is not judged.
 *
 * Repetitions of one run share what the run found (pages, clock, neighbours), so that two runs differ by more
 * than their repetitions say. The minimum effect covers for it; `adamoe gate --against' measures it.
 */
#include "compare/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const work_counters[] = {"executed_flops", "touched_bytes",   "expert_rows",
                                            "products",       "touched_experts", "load"};

/* Between ranks, of one call or of a whole recording. */
static const char *const wire_counters[] = {
    "rows_sent_per_call", "inputs_sent_per_call", "bytes_sent_per_call", "rows",
    "rows_sent",          "inputs_sent",          "request_bytes",       "result_bytes"};

#define WORK_COUNTERS (sizeof work_counters / sizeof *work_counters)
#define WIRE_COUNTERS (sizeof wire_counters / sizeof *wire_counters)

/* Repetitions of one benchmark that are looked at. */
#define MOST_REPETITIONS 1000

static bool is_measurement(const json_t *entry)
{
    const char *type = json_string_value(json_object_get(entry, "run_type"));
    return type == NULL || strcmp(type, "iteration") == 0; /* and not a mean or a median of them */
}

static const char *name_of(const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    return name == NULL ? "" : name;
}

/* {name: [entries of its repetitions]}; NULL where there is no memory. */
static json_t *by_name(const json_t *result)
{
    json_t *map = json_object();
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(result, "benchmarks"), i, entry)
    {
        if (!is_measurement(entry)) {
            continue;
        }
        json_t *list = json_object_get(map, name_of(entry));
        if (list == NULL && json_object_set_new(map, name_of(entry), list = json_array()) != 0) {
            json_decref(map);
            return NULL;
        }
        if (json_array_append(list, entry) != 0) {
            json_decref(map);
            return NULL;
        }
    }
    return map;
}

static adamoe_finding about(adamoe_aspect aspect, adamoe_verdict_kind verdict, const char *name)
{
    adamoe_finding f = {.aspect = aspect, .verdict = verdict};
    (void)snprintf(f.subject, sizeof f.subject, "%s", name);
    return f;
}

static void print_value(char *text, size_t size, const json_t *value)
{
    text[0] = '\0';
    if (json_is_number(value)) {
        adamoe_counter_text(text, size, json_number_value(value));
    }
}

/* --------------------------------------------------------------------------------------------------- work */

/* All repetitions of a run must say the same. */
static bool is_steady(const json_t *list, const char *key)
{
    const json_t *first = json_object_get(json_array_get(list, 0), key), *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        const json_t *value = json_object_get(entry, key);
        if ((value == NULL) != (first == NULL) || json_number_value(value) != json_number_value(first)) {
            return false;
        }
    }
    return true;
}

static adamoe_status compare_counter(adamoe_result_comparison *comparison, const char *name, const char *key,
                                     const json_t *base, const json_t *now)
{
    const json_t *before = json_object_get(json_array_get(base, 0), key);
    const json_t *after = json_object_get(json_array_get(now, 0), key);
    if (before == NULL) {
        return adamoe_ok();
    }
    const bool equal = after != NULL && json_number_value(before) == json_number_value(after);
    if (equal && is_steady(now, key)) {
        ++comparison->unchanged;
        return adamoe_ok();
    }
    adamoe_finding f =
        about(ADAMOE_ASPECT_WORK, after == NULL ? ADAMOE_VERDICT_MISSING : ADAMOE_VERDICT_REGRESSION, name);
    (void)snprintf(f.measure, sizeof f.measure, "%s", key);
    print_value(f.base, sizeof f.base, before);
    print_value(f.now, sizeof f.now, after);
    (void)snprintf(f.note, sizeof f.note, "%s",
                   equal           ? "differs between repetitions"
                   : after == NULL ? ""
                                   : "work is deterministic: any change is one of the code");
    return adamoe_add_finding(comparison, &f);
}

/* Another rounding is no regression, but nobody should have to guess. */
static adamoe_status compare_bits(adamoe_result_comparison *comparison, const char *name, const json_t *base,
                                  const json_t *now)
{
    const char *before = json_string_value(json_object_get(base, "output_bits"));
    const char *after = json_string_value(json_object_get(now, "output_bits"));
    if (before == NULL || after == NULL || strcmp(before, after) == 0) {
        return adamoe_ok();
    }
    adamoe_finding f = about(ADAMOE_ASPECT_CHECK, ADAMOE_VERDICT_SAME, name);
    (void)snprintf(f.measure, sizeof f.measure, "bits of the output");
    (void)snprintf(f.note, sizeof f.note, "differ: another rounding, which the checks judge");
    return adamoe_add_finding(comparison, &f);
}

/* -------------------------------------------------------------------------------------------------- speed */

/* log(time / time at the roofline), or NaN where the entry has no yardstick. */
static double relative_time(const json_t *entry)
{
    const double share = json_number_value(json_object_get(entry, "roofline_share"));
    const double gflops = json_number_value(json_object_get(entry, "gflops"));
    const double peak = json_number_value(json_object_get(entry, "peak_gflops"));
    if (share > 0.0) {
        return -log(share);
    }
    return gflops > 0.0 && peak > 0.0 ? log(peak / gflops) : (double)NAN;
}

/* False where a repetition has no yardstick. */
static bool relative_times(const json_t *list, double *times, size_t *count)
{
    *count = json_array_size(list) < MOST_REPETITIONS ? json_array_size(list) : MOST_REPETITIONS;
    for (size_t i = 0; i < *count; ++i) {
        times[i] = relative_time(json_array_get(list, i));
        if (isnan(times[i])) {
            return false;
        }
    }
    return true;
}

static bool is_timed(const json_t *list)
{
    return json_object_get(json_array_get(list, 0), "real_time") != NULL;
}

static adamoe_status compare_times(adamoe_result_comparison *comparison, const char *name, const json_t *base,
                                   const json_t *now)
{
    double before[MOST_REPETITIONS], after[MOST_REPETITIONS];
    size_t before_count, after_count;
    if (!is_timed(base) || !is_timed(now)) {
        return adamoe_ok(); /* a baseline has no times */
    }
    if (relative_times(base, before, &before_count) && relative_times(now, after, &after_count)) {
        return adamoe_compare_samples(comparison, name, before, before_count, after, after_count);
    }
    adamoe_finding f = about(ADAMOE_ASPECT_SPEED, ADAMOE_VERDICT_NOT_JUDGED, name);
    (void)snprintf(f.measure, sizeof f.measure, "time");
    (void)snprintf(f.note, sizeof f.note, "no yardstick of its own run beside the time (roofline_share)");
    return adamoe_add_finding(comparison, &f);
}

/* --------------------------------------------------------------------------------------------- benchmarks */

static const char *error_of(const json_t *list)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        if (json_is_true(json_object_get(entry, "error_occurred"))) {
            const char *message = json_string_value(json_object_get(entry, "error_message"));
            return message == NULL ? "no reason given" : message;
        }
    }
    return NULL;
}

/* Whether experts were placed by the same recording; names of benchmarks have the order alone. */
static bool same_placement(const json_t *base, const json_t *now)
{
    const json_t *before = json_object_get(json_object_get(base, "communication"), "recording");
    const json_t *after = json_object_get(json_object_get(now, "communication"), "recording");
    return before == NULL || after == NULL ? before == after : json_equal(before, after) == 1;
}

static adamoe_status compare_benchmark(adamoe_result_comparison *comparison, const char *name,
                                       const json_t *base, const json_t *now)
{
    if (error_of(base) != NULL) {
        adamoe_finding f = about(ADAMOE_ASPECT_WORK, ADAMOE_VERDICT_NOT_JUDGED, name);
        (void)snprintf(f.measure, sizeof f.measure, "result");
        (void)snprintf(f.note, sizeof f.note, "nothing to compare with: %s", error_of(base));
        return adamoe_add_finding(comparison, &f);
    }
    const char *error = error_of(now);
    if (now == NULL || error != NULL) {
        adamoe_finding f = about(ADAMOE_ASPECT_WORK, ADAMOE_VERDICT_MISSING, name);
        (void)snprintf(f.measure, sizeof f.measure, "result");
        (void)snprintf(f.base, sizeof f.base, "done");
        if (error != NULL) {
            (void)snprintf(f.now, sizeof f.now, "error");
            (void)snprintf(f.note, sizeof f.note, "%s", error);
            const bool cannot_run = strncmp(error, "cannot run here", 15) == 0;
            f.verdict = !cannot_run                ? ADAMOE_VERDICT_REGRESSION
                        : comparison->same_machine ? ADAMOE_VERDICT_MISSING
                                                   : ADAMOE_VERDICT_NOT_JUDGED;
        }
        return adamoe_add_finding(comparison, &f);
    }
    for (size_t i = 0; i < WORK_COUNTERS; ++i) {
        ADAMOE_TRY(compare_counter(comparison, name, work_counters[i], base, now));
    }
    for (size_t i = 0; i < WIRE_COUNTERS && same_placement(json_array_get(base, 0), json_array_get(now, 0));
         ++i) {
        ADAMOE_TRY(compare_counter(comparison, name, wire_counters[i], base, now));
    }
    ADAMOE_TRY(compare_bits(comparison, name, json_array_get(base, 0), json_array_get(now, 0)));
    return compare_times(comparison, name, base, now);
}

adamoe_status adamoe_compare_bench(adamoe_result_comparison *comparison, const json_t *base,
                                   const json_t *now)
{
    json_t *before = by_name(base), *after = by_name(now);
    adamoe_status status = adamoe_ok();
    const char *name;
    json_t *list;
    if (before == NULL || after == NULL) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "comparison: out of memory");
    }
    json_object_foreach(before, name, list)
    {
        if (status.code == ADAMOE_OK) {
            status = compare_benchmark(comparison, name, list, json_object_get(after, name));
        }
    }
    json_decref(before);
    json_decref(after);
    return status;
}
