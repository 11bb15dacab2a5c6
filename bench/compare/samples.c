/*
 * Reading sample logs: see samples.h. A log is believed only as far as its result agrees with it: logs that
 * were swapped, are left over from an earlier run or belong to other questions would otherwise decide a
 * comparison without a word.
 */
#include "compare/samples.h"

#include <math.h>
#include <stdlib.h>

static json_int_t integer_at(const json_t *sample, const char *key)
{
    return json_integer_value(json_object_get(sample, key));
}

static bool is_right(const json_t *sample, const char *prediction)
{
    return integer_at(sample, prediction) == integer_at(sample, "gold");
}

static adamoe_status check_line(const char *path, size_t line, const json_t *sample)
{
    static const char *const numbers[] = {"prediction", "prediction_norm", "gold"};
    if (!json_is_string(json_object_get(sample, "id"))) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: sample %zu: id: not a text", path, line);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; ++i) {
        if (!json_is_integer(json_object_get(sample, numbers[i]))) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%s: sample %zu: %s: not a whole number", path, line,
                                numbers[i]);
        }
    }
    return adamoe_ok();
}

static const json_t *in_task(const json_t *result, const char *part, const char *task, const char *key)
{
    return json_object_get(json_object_get(json_object_get(result, part), task), key);
}

/* A share of whole questions: it is written with all its digits. */
static adamoe_status check_accuracy(const char *path, const json_t *samples, const json_t *said,
                                    const char *measure, const char *prediction)
{
    size_t i, right = 0;
    const json_t *sample;
    json_array_foreach(samples, i, sample)
    {
        right += is_right(sample, prediction);
    }
    const double count = (double)json_array_size(samples), told = count * json_number_value(said);
    return !json_is_number(said) || fabs(told - (double)right) < 1e-6 * count
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_BAD_INPUT,
                     "%s: not the samples of the result: %zu of %.0f are right by %s, but the result "
                     "has %.6g %%",
                     path, right, count, measure, 100.0 * json_number_value(said));
}

adamoe_status adamoe_check_samples(const char *path, const json_t *samples, const json_t *result,
                                   const char *task)
{
    size_t i;
    const json_t *sample;
    json_array_foreach(samples, i, sample)
    {
        ADAMOE_TRY(check_line(path, i + 1, sample));
    }
    const json_t *scored = in_task(result, "n-samples", task, "effective");
    if (json_is_integer(scored) && json_integer_value(scored) != (json_int_t)json_array_size(samples)) {
        return adamoe_error(
            ADAMOE_BAD_INPUT,
            "%s: not the samples of the result: %zu lines, but %lld questions of %s were scored", path,
            json_array_size(samples), (long long)json_integer_value(scored), task);
    }
    ADAMOE_TRY(
        check_accuracy(path, samples, in_task(result, "results", task, "acc,none"), "acc", "prediction"));
    return check_accuracy(path, samples, in_task(result, "results", task, "acc_norm,none"), "acc_norm",
                          "prediction_norm");
}

/* ------------------------------------------------------------------------------------------------- pairing */

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "comparison: out of memory");
}

/* {"id": [its samples, in order]} */
static json_t *group_by_id(const json_t *samples)
{
    json_t *groups = json_object();
    size_t i;
    json_t *sample;
    json_array_foreach(samples, i, sample)
    {
        const char *id = json_string_value(json_object_get(sample, "id"));
        json_t *group = json_object_get(groups, id);
        if (group == NULL) {
            group = json_array();
            if (json_object_set_new(groups, id, group) != 0) {
                json_decref(groups);
                return NULL;
            }
        }
        if (json_array_append(group, sample) != 0) {
            json_decref(groups);
            return NULL;
        }
    }
    return groups;
}

static adamoe_status check_pair(const adamoe_sample_logs *samples, const json_t *base, const json_t *now)
{
    const char *id = json_string_value(json_object_get(base, "id"));
    const json_t *choices = json_object_get(base, "logprob"), *others = json_object_get(now, "logprob");
    if (integer_at(base, "gold") != integer_at(now, "gold")) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: question %.100s: gold is %lld, but %lld in %.150s: not the same questions",
                            samples->now_path, id, (long long)integer_at(now, "gold"),
                            (long long)integer_at(base, "gold"), samples->base_path);
    }
    if (choices != NULL && others != NULL && json_array_size(choices) != json_array_size(others)) {
        return adamoe_error(
            ADAMOE_BAD_INPUT, "%s: question %.100s: %zu choices, but %zu in %.150s: not the same questions",
            samples->now_path, id, json_array_size(others), json_array_size(choices), samples->base_path);
    }
    return adamoe_ok();
}

static adamoe_status pair_groups(const adamoe_sample_logs *samples, const char *prediction, json_t *base,
                                 json_t *now, adamoe_sample_pairs *out)
{
    const char *id;
    json_t *group;
    json_object_foreach(base, id, group)
    {
        const json_t *other = json_object_get(now, id);
        for (size_t i = 0; i < json_array_size(group) && i < json_array_size(other); ++i) {
            const json_t *a = json_array_get(group, i), *b = json_array_get(other, i);
            ADAMOE_TRY(check_pair(samples, a, b));
            const bool before = is_right(a, prediction), after = is_right(b, prediction);
            out->difference[out->count++] = (double)after - (double)before;
            out->base_right += before;
            out->lost += before && !after;
            out->won += after && !before;
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_pair_samples(const adamoe_sample_logs *samples, const char *prediction,
                                  adamoe_sample_pairs *out)
{
    json_t *base = group_by_id(samples->base), *now = group_by_id(samples->now);
    *out = (adamoe_sample_pairs){.difference = calloc(json_array_size(samples->base) + 1, sizeof(double))};
    const adamoe_status status = base == NULL || now == NULL || out->difference == NULL
                                     ? out_of_memory()
                                     : pair_groups(samples, prediction, base, now, out);
    json_decref(base);
    json_decref(now);
    return status;
}
