/*
 * Which verb a result is of, and what makes two of them hard to compare.
 */
#include "compare/comparison.h"

#include <string.h>

typedef enum result_kind { RESULT_UNKNOWN, RESULT_CHECK, RESULT_BENCH, RESULT_EVAL, RESULT_GATE } result_kind;

static const char *const kind_names[] = {"no result of check, bench, eval or gate", "a result of check",
                                         "a result of bench", "a result of eval", "a result of gate"};

static result_kind kind_of(const json_t *result)
{
    if (json_is_object(json_object_get(result, "gate"))) {
        return RESULT_GATE;
    }
    if (json_is_array(json_object_get(result, "benchmarks"))) {
        return RESULT_BENCH;
    }
    if (json_is_object(json_object_get(result, "results"))) {
        return RESULT_EVAL;
    }
    return json_is_array(json_object_get(result, "kernels")) && json_object_get(result, "seed") != NULL
               ? RESULT_CHECK
               : RESULT_UNKNOWN;
}

static adamoe_status check_kinds(const char *base_path, const json_t *base, const char *now_path,
                                 const json_t *now, result_kind *kind)
{
    const result_kind other = kind_of(now);
    *kind = kind_of(base);
    if (*kind == RESULT_UNKNOWN) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s", base_path, kind_names[*kind]);
    }
    if (other == RESULT_UNKNOWN) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s", now_path, kind_names[other]);
    }
    return *kind == other ? adamoe_ok()
                          : adamoe_error(ADAMOE_BAD_INPUT, "%s: %s, where %.150s is %s", now_path,
                                         kind_names[other], base_path, kind_names[*kind]);
}

static const json_t *environment_of(const json_t *result)
{
    const json_t *environment = json_object_get(result, "environment");
    return environment != NULL ? environment
                               : json_object_get(json_object_get(result, "context"), "environment");
}

static const json_t *part_of(const json_t *environment, const char *part, const char *key)
{
    return json_object_get(json_object_get(environment, part), key);
}

static bool differ(const json_t *base, const json_t *now, const char *key)
{
    const json_t *before = json_object_get(base, key), *after = json_object_get(now, key);
    return before != NULL && after != NULL && !json_equal(before, after);
}

/* Load matters to a result that has times: a check has none, and what `gate` times it watches itself. */
static void note_disturbance(adamoe_result_comparison *comparison, result_kind kind, const json_t *base,
                             const json_t *now)
{
    const bool has_times = kind == RESULT_BENCH || kind == RESULT_EVAL;
    if (has_times && json_is_true(part_of(base, "run", "disturbed"))) {
        adamoe_add_note(comparison, "The base run was disturbed by other load.");
    }
    if (has_times && json_is_true(part_of(now, "run", "disturbed"))) {
        adamoe_add_note(comparison, "The new run was disturbed by other load.");
    }
}

static void note_environment(adamoe_result_comparison *comparison, const json_t *base, const json_t *now)
{
    const char *before = json_string_value(part_of(base, "machine", "cpu"));
    const char *after = json_string_value(part_of(now, "machine", "cpu"));
    comparison->same_machine = before != NULL && after != NULL && strcmp(before, after) == 0;
    if (before != NULL && after != NULL && strcmp(before, after) != 0) {
        adamoe_add_note(comparison, "Another processor: %.100s, now %.100s.", before, after);
    }
    if (differ(base, now, "build_type") || differ(base, now, "compiler")) {
        adamoe_add_note(comparison, "Another compiler or build type.");
    }
}

/* A part that a baseline has must be there; what it leaves out is not looked at. */
static adamoe_status compare_gate(adamoe_result_comparison *comparison, const json_t *base, const json_t *now)
{
    const json_t *before = json_object_get(base, "gate"), *after = json_object_get(now, "gate");
    if (json_object_get(before, "check") != NULL) {
        ADAMOE_TRY(adamoe_compare_check(comparison, json_object_get(before, "check"),
                                        json_object_get(after, "check")));
    }
    ADAMOE_TRY(adamoe_compare_bench(comparison, before, after));
    return adamoe_compare_eval(comparison, json_object_get(before, "evaluation"),
                               json_object_get(after, "evaluation"),
                               (adamoe_sample_logs){.deterministic = true});
}

adamoe_status adamoe_compare_results(adamoe_result_comparison *comparison, const char *base_path,
                                     const json_t *base, const char *now_path, const json_t *now,
                                     adamoe_sample_logs samples)
{
    result_kind kind;
    ADAMOE_TRY(check_kinds(base_path, base, now_path, now, &kind));
    note_environment(comparison, environment_of(base), environment_of(now));
    note_disturbance(comparison, kind, environment_of(base), environment_of(now));
    switch (kind) {
    case RESULT_CHECK:
        return adamoe_compare_check(comparison, base, now);
    case RESULT_BENCH:
        return adamoe_compare_bench(comparison, base, now);
    case RESULT_EVAL:
        return adamoe_compare_eval(comparison, base, now, samples);
    default:
        return compare_gate(comparison, base, now);
    }
}
