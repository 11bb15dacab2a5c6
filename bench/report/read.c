/*
 * Which verb wrote a file, and what of it the report takes. A file is recognised by the keys that only its
 * verb writes; what the sections rely on is checked here, so that they need not.
 */
#include "report/results.h"
#include "report/values.h"
#include "files/json_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const adamoe_result_kind_names[ADAMOE_RESULT_KINDS] = {
    "bench", "check", "eval", "reproduce", "flops", "compare", "gate", "info", "routers", "scale",
};

/* -------------------------------------------------------------------------------------------------- kinds */

/* The keys, each with the type of its value, that tell a kind from the others. */
typedef struct mark {
    adamoe_result_kind kind;
    const char *key[2];
    json_type type[2];
} mark;

static const mark marks[] = {
    {ADAMOE_RESULT_BENCH, {"context", "benchmarks"}, {JSON_OBJECT, JSON_ARRAY}},
    {ADAMOE_RESULT_CHECK, {"kernels", "seed"}, {JSON_ARRAY, JSON_INTEGER}},
    {ADAMOE_RESULT_EVAL, {"results", "adamoe"}, {JSON_OBJECT, JSON_OBJECT}},
    {ADAMOE_RESULT_REPRODUCE, {"evaluation", "check"}, {JSON_OBJECT, JSON_ARRAY}},
    {ADAMOE_RESULT_FLOPS, {"flops_per_token", "baseline_flops_per_token"}, {JSON_OBJECT, JSON_OBJECT}},
    {ADAMOE_RESULT_COMPARE, {"regressions", "findings"}, {JSON_INTEGER, JSON_ARRAY}},
    {ADAMOE_RESULT_GATE, {"gate", NULL}, {JSON_OBJECT, JSON_NULL}},
    {ADAMOE_RESULT_INFO, {"cpu", "default_kernel"}, {JSON_OBJECT, JSON_STRING}},
    {ADAMOE_RESULT_ROUTERS, {"routers", "subject"}, {JSON_ARRAY, JSON_STRING}},
    {ADAMOE_RESULT_SCALE, {"scale", "prediction"}, {JSON_ARRAY, JSON_TRUE}},
};

static bool has_key(const json_t *document, const char *key, json_type type)
{
    const json_t *value = json_object_get(document, key);
    return value != NULL && json_typeof(value) == type;
}

static adamoe_status find_kind(adamoe_source *source)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; ++i) {
        const mark *m = &marks[i];
        if (has_key(source->document, m->key[0], m->type[0]) &&
            (m->key[1] == NULL || has_key(source->document, m->key[1], m->type[1]))) {
            source->kind = m->kind;
            return adamoe_ok();
        }
    }
    return adamoe_error(
        ADAMOE_BAD_INPUT,
        "%.300s: not a result of adamoe: bench, check, eval, reproduce, flops, compare, gate, info, "
        "routers or scale write one with --json",
        source->path);
}

/* -------------------------------------------------------------------------------------------- evaluations */

static adamoe_status refuse(const adamoe_source *source, const char *place, const char *reason)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: %s: %s", source->path, place, reason);
}

/* An evaluation has the results of exactly one set of questions. */
static adamoe_status add_evaluation(adamoe_report *report, size_t source, const char *name, json_t *document)
{
    json_t *results = json_object_get(document, "results");
    void *iterator = json_object_iter(results);
    if (iterator == NULL || !json_is_object(json_object_get(document, "adamoe")) ||
        !json_is_object(json_object_iter_value(iterator)) ||
        isnan(adamoe_number_in(json_object_iter_value(iterator), "acc,none"))) {
        return refuse(&report->source[source], "results",
                      "without an accuracy (`acc,none'), or without cost");
    }
    adamoe_evaluated *more =
        realloc(report->evaluated, (report->evaluations + 1) * sizeof *report->evaluated);
    if (more == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", report->source[source].path);
    }
    report->evaluated = more;
    more[report->evaluations++] = (adamoe_evaluated){.source = source,
                                                     .name = name,
                                                     .task = json_object_iter_key(iterator),
                                                     .scores = json_object_iter_value(iterator),
                                                     .document = document};
    return adamoe_ok();
}

static adamoe_status add_sides(adamoe_report *report, size_t source)
{
    json_t *both = json_object_get(report->source[source].document, "evaluation");
    ADAMOE_TRY(add_evaluation(report, source, "top-2", json_object_get(both, "vanilla")));
    return add_evaluation(report, source, "AdaMoE", json_object_get(both, "adamoe"));
}

/* ------------------------------------------------------------------------------------ checks, comparisons */

/* Sections may take every entry of such a list for an object. */
static adamoe_status check_objects(const adamoe_source *source, const char *key, const json_t *list)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (!json_is_object(entry)) {
            return refuse(source, key, "an entry is not an object");
        }
    }
    return adamoe_ok();
}

static adamoe_status add_checks(adamoe_report *report, size_t source, const json_t *kernels)
{
    ADAMOE_TRY(check_objects(&report->source[source], "kernels", kernels));
    adamoe_checked *more = realloc(report->checked, (report->checks + 1) * sizeof *more);
    if (more == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", report->source[source].path);
    }
    report->checked = more;
    more[report->checks++] = (adamoe_checked){source, kernels};
    return adamoe_ok();
}

static adamoe_status add_comparison(adamoe_report *report, size_t source, const json_t *comparison)
{
    ADAMOE_TRY(check_objects(&report->source[source], "findings", json_object_get(comparison, "findings")));
    adamoe_compared *more = realloc(report->compared, (report->comparisons + 1) * sizeof *more);
    if (more == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", report->source[source].path);
    }
    report->compared = more;
    more[report->comparisons++] = (adamoe_compared){source, comparison};
    return adamoe_ok();
}

/* A gate's result has parts of other verbs, not always all of them. */
static adamoe_status add_gate(adamoe_report *report, size_t source)
{
    json_t *document = report->source[source].document, *gate = json_object_get(document, "gate");
    json_t *kernels = json_object_get(json_object_get(gate, "check"), "kernels");
    json_t *evaluation = json_object_get(gate, "evaluation"),
           *comparison = json_object_get(document, "comparison");
    if (json_is_array(kernels)) {
        ADAMOE_TRY(add_checks(report, source, kernels));
    }
    if (json_is_object(evaluation)) {
        ADAMOE_TRY(add_evaluation(report, source, "", evaluation));
    }
    return json_is_object(comparison) ? add_comparison(report, source, comparison) : adamoe_ok();
}

/* -------------------------------------------------------------------------------------------------- files */

static adamoe_status take(adamoe_report *report, size_t i)
{
    adamoe_source *source = &report->source[i];
    switch (source->kind) {
    case ADAMOE_RESULT_BENCH:
        return adamoe_report_add_timings(report, i);
    case ADAMOE_RESULT_EVAL:
        return add_evaluation(report, i, "", source->document);
    case ADAMOE_RESULT_REPRODUCE:
        ADAMOE_TRY(add_checks(report, i, json_object_get(source->document, "check")));
        return add_sides(report, i);
    case ADAMOE_RESULT_CHECK:
        return add_checks(report, i, json_object_get(source->document, "kernels"));
    case ADAMOE_RESULT_COMPARE:
        return add_comparison(report, i, source->document);
    case ADAMOE_RESULT_GATE:
        return add_gate(report, i);
    case ADAMOE_RESULT_ROUTERS:
        return check_objects(source, "routers", json_object_get(source->document, "routers"));
    case ADAMOE_RESULT_SCALE:
        return check_objects(source, "scale", json_object_get(source->document, "scale"));
    default:
        return adamoe_ok();
    }
}

adamoe_status adamoe_report_read(const char *const *paths, size_t count, adamoe_report *out)
{
    *out = (adamoe_report){.source = calloc(count + 1, sizeof *out->source)};
    if (out->source == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "report: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        adamoe_source *source = &out->source[out->sources];
        source->path = paths[i];
        ADAMOE_TRY(adamoe_json_read(paths[i], &source->document));
        ++out->sources;
        ADAMOE_TRY(find_kind(source));
        ADAMOE_TRY(take(out, i));
    }
    return adamoe_report_sort_timings(out);
}

void adamoe_report_free(adamoe_report *report)
{
    for (size_t i = 0; i < report->timings; ++i) {
        free(report->timing[i].preset);
        free(report->timing[i].kernel);
        free(report->timing[i].setting);
    }
    for (size_t i = 0; i < report->sources; ++i) {
        json_decref(report->source[i].document);
    }
    free(report->timing);
    free(report->kernel);
    free(report->evaluated);
    free(report->checked);
    free(report->compared);
    free(report->source);
    *report = (adamoe_report){0};
}
