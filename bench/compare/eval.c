/*
 * Two results of `adamoe eval`: accuracy, paired by question where both sample logs are there, and load and
 * FLOPs, which are deterministic for the same model, questions and options. Seconds are not compared: a
 * single run without a yardstick that was interleaved with it is no measurement of speed.
 */
#include "compare/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *at(const json_t *object, const char *first, const char *second)
{
    return json_object_get(json_object_get(object, first), second);
}

/* ----------------------------------------------------------------------------------------------- accuracy */

static void print_share(char *text, size_t size, double share)
{
    (void)snprintf(text, size, "%.2f %%", 100.0 * share);
}

static adamoe_status add_accuracy(adamoe_result_comparison *comparison, const char *task, const char *measure,
                                  const double accuracy[2], double p, adamoe_interval interval,
                                  double smallest_p, const char *how)
{
    const double effect = accuracy[1] - accuracy[0];
    adamoe_finding f = {.aspect = ADAMOE_ASPECT_ACCURACY,
                        .tested = true,
                        .worse = effect < 0.0,
                        .relevant = true, /* no loss of accuracy is too small, once it is one */
                        .effect = effect,
                        .interval = interval,
                        .p = p,
                        .smallest_p = smallest_p};
    (void)snprintf(f.subject, sizeof f.subject, "%s", task);
    (void)snprintf(f.measure, sizeof f.measure, "%.20s, %.40s", measure, how);
    print_share(f.base, sizeof f.base, accuracy[0]);
    print_share(f.now, sizeof f.now, accuracy[1]);
    return adamoe_add_finding(comparison, &f);
}

/* Independent questions on both sides, which is the wrong model for the same questions: an answer that both
 * models give counts as chance twice. So it sees less than the paired test, and never more. */
static adamoe_status compare_unpaired(adamoe_result_comparison *comparison, const char *task,
                                      const char *measure, const json_t *base, const json_t *now)
{
    char key[64], error_key[64];
    (void)snprintf(key, sizeof key, "%s,none", measure);
    (void)snprintf(error_key, sizeof error_key, "%s_stderr,none", measure);
    const json_t *before = json_object_get(base, key), *after = json_object_get(now, key);
    if (!json_is_number(before) || !json_is_number(after)) {
        return adamoe_ok();
    }
    const double accuracy[2] = {json_number_value(before), json_number_value(after)};
    const double error = hypot(json_number_value(json_object_get(base, error_key)),
                               json_number_value(json_object_get(now, error_key)));
    const double difference = accuracy[1] - accuracy[0];
    const double p = error > 0.0 ? adamoe_normal_p(difference / error) : difference == 0.0 ? 1.0 : 0.0;
    return add_accuracy(comparison, task, measure, accuracy, p,
                        (adamoe_interval){difference - 1.96 * error, difference + 1.96 * error}, 0.0,
                        "unpaired");
}

/* The answers of both models to the questions that both logs have, in the order of the first one. */
typedef struct paired_answers {
    double *difference; /* [count] right now less right before: -1, 0, 1 */
    size_t count, lost, won, base_right;
} paired_answers;

static bool is_right(const json_t *sample, const char *prediction)
{
    return json_integer_value(json_object_get(sample, prediction)) ==
           json_integer_value(json_object_get(sample, "gold"));
}

static adamoe_status pair_answers(adamoe_sample_logs samples, const char *prediction, paired_answers *out)
{
    json_t *by_id = json_object();
    size_t i;
    json_t *sample;
    *out = (paired_answers){.difference = calloc(json_array_size(samples.base) + 1, sizeof(double))};
    bool complete = by_id != NULL && out->difference != NULL;
    json_array_foreach(samples.now, i, sample)
    {
        const char *id = json_string_value(json_object_get(sample, "id"));
        complete = complete && (id == NULL || json_object_set(by_id, id, sample) == 0);
    }
    json_array_foreach(samples.base, i, sample)
    {
        const char *id = json_string_value(json_object_get(sample, "id"));
        const json_t *other = complete && id != NULL ? json_object_get(by_id, id) : NULL;
        if (other != NULL) {
            const bool before = is_right(sample, prediction), after = is_right(other, prediction);
            out->difference[out->count++] = (double)after - (double)before;
            out->base_right += before;
            out->lost += before && !after;
            out->won += after && !before;
        }
    }
    json_decref(by_id);
    return complete ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "comparison: out of memory");
}

#define RESAMPLES 2000

static adamoe_status compare_answers(adamoe_result_comparison *comparison, const char *task,
                                     const char *measure, const paired_answers *answers)
{
    const double n = (double)answers->count;
    const double accuracy[2] = {(double)answers->base_right / n,
                                ((double)answers->base_right - (double)answers->lost + (double)answers->won) /
                                    n};
    adamoe_interval interval;
    char how[64];
    ADAMOE_TRY(adamoe_bootstrap(answers->difference, answers->count, ADAMOE_LOCATION_MEAN, 0.95, RESAMPLES, 1,
                                &interval));
    (void)snprintf(how, sizeof how, "%zu questions, %zu lost, %zu won", answers->count, answers->lost,
                   answers->won);
    /* With few answers that differ nothing can be significant, and nothing of weight has changed. */
    return add_accuracy(comparison, task, measure, accuracy, adamoe_mcnemar(answers->lost, answers->won),
                        interval, 0.0, how);
}

static adamoe_status compare_paired(adamoe_result_comparison *comparison, const char *task,
                                    const char *measure, const char *prediction, adamoe_sample_logs samples)
{
    paired_answers answers;
    adamoe_status status = pair_answers(samples, prediction, &answers);
    if (status.code == ADAMOE_OK && answers.count == 0) {
        status = adamoe_error(ADAMOE_BAD_INPUT, "the sample logs have no question in common");
    }
    if (status.code == ADAMOE_OK) {
        status = compare_answers(comparison, task, measure, &answers);
    }
    free(answers.difference);
    return status;
}

/* The reference gives the same answers everywhere. */
static adamoe_status compare_exactly(adamoe_result_comparison *comparison, const char *task,
                                     const char *measure, const json_t *base, const json_t *now)
{
    char key[64];
    (void)snprintf(key, sizeof key, "%s,none", measure);
    const json_t *before = json_object_get(base, key), *after = json_object_get(now, key);
    const double difference = json_number_value(after) - json_number_value(before);
    if (difference == 0.0 && json_is_number(before) == json_is_number(after)) {
        ++comparison->unchanged;
        return adamoe_ok();
    }
    adamoe_finding f = {.aspect = ADAMOE_ASPECT_ACCURACY,
                        .verdict = difference > 0.0 ? ADAMOE_VERDICT_IMPROVED : ADAMOE_VERDICT_REGRESSION,
                        .note = "the reference on the same questions: any change is one of the code"};
    (void)snprintf(f.subject, sizeof f.subject, "%s", task);
    (void)snprintf(f.measure, sizeof f.measure, "%s", measure);
    print_share(f.base, sizeof f.base, json_number_value(before));
    print_share(f.now, sizeof f.now, json_number_value(after));
    return adamoe_add_finding(comparison, &f);
}

static adamoe_status compare_task(adamoe_result_comparison *comparison, const char *task, const json_t *base,
                                  const json_t *now, adamoe_sample_logs samples)
{
    if (samples.base != NULL && samples.now != NULL) {
        ADAMOE_TRY(compare_paired(comparison, task, "acc", "prediction", samples));
        return compare_paired(comparison, task, "acc_norm", "prediction_norm", samples);
    }
    if (samples.deterministic) {
        ADAMOE_TRY(compare_exactly(comparison, task, "acc", base, now));
        return compare_exactly(comparison, task, "acc_norm", base, now);
    }
    ADAMOE_TRY(compare_unpaired(comparison, task, "acc", base, now));
    return compare_unpaired(comparison, task, "acc_norm", base, now);
}

/* --------------------------------------------------------------------------------------------------- work */

/* Values below `path` that must be equal: numbers, and lists and objects of numbers. */
static adamoe_status compare_value(adamoe_result_comparison *comparison, const char *task, const char *name,
                                   json_t *base, const json_t *now, adamoe_verdict_kind verdict)
{
    if (base == NULL) {
        return adamoe_ok();
    }
    if (json_is_object(base)) {
        const char *key;
        json_t *value;
        char whole[64];
        json_object_foreach(base, key, value)
        {
            (void)snprintf(whole, sizeof whole, "%.30s.%.30s", name, key);
            ADAMOE_TRY(compare_value(comparison, task, whole, value, json_object_get(now, key), verdict));
        }
        return adamoe_ok();
    }
    if (json_equal(base, now)) {
        ++comparison->unchanged;
        return adamoe_ok();
    }
    adamoe_finding f = {.aspect = ADAMOE_ASPECT_WORK,
                        .verdict = now == NULL ? ADAMOE_VERDICT_MISSING : verdict};
    (void)snprintf(f.subject, sizeof f.subject, "%s", task);
    (void)snprintf(f.measure, sizeof f.measure, "%s", name);
    if (json_is_number(base) && json_is_number(now)) {
        adamoe_counter_text(f.base, sizeof f.base, json_number_value(base));
        adamoe_counter_text(f.now, sizeof f.now, json_number_value(now));
    }
    return adamoe_add_finding(comparison, &f);
}

/* A baseline has no paths: what only one of them says is not compared. */
static bool same_options(json_t *base, const json_t *now)
{
    const char *key;
    const json_t *value;
    json_object_foreach(base, key, value)
    {
        const json_t *other = json_object_get(now, key);
        if (other != NULL && !json_equal(value, other)) {
            return false;
        }
    }
    return true;
}

static adamoe_status compare_work(adamoe_result_comparison *comparison, const char *task, const json_t *base,
                                  const json_t *now)
{
    static const char *const keys[] = {"load", "load_by_layer", "tokens_processed", "executed_flops"};
    const bool same = same_options(json_object_get(base, "config"), json_object_get(now, "config"));
    if (!same) {
        adamoe_add_note(comparison, "%s: the options of the two runs differ, so that their work may, too.",
                        task);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
        ADAMOE_TRY(compare_value(comparison, task, keys[i], at(base, "adamoe", keys[i]),
                                 at(now, "adamoe", keys[i]),
                                 same ? ADAMOE_VERDICT_REGRESSION : ADAMOE_VERDICT_SAME));
    }
    return adamoe_ok();
}

adamoe_status adamoe_compare_eval(adamoe_result_comparison *comparison, const json_t *base, const json_t *now,
                                  adamoe_sample_logs samples)
{
    const char *task;
    const json_t *scores;
    json_object_foreach(json_object_get(base, "results"), task, scores)
    {
        const json_t *after = at(now, "results", task);
        if (after == NULL) {
            adamoe_finding f = {
                .aspect = ADAMOE_ASPECT_ACCURACY, .verdict = ADAMOE_VERDICT_MISSING, .measure = "acc"};
            (void)snprintf(f.subject, sizeof f.subject, "%s", task);
            ADAMOE_TRY(adamoe_add_finding(comparison, &f));
            continue;
        }
        ADAMOE_TRY(compare_task(comparison, task, scores, after, samples));
        ADAMOE_TRY(compare_work(comparison, task, base, now));
    }
    return adamoe_ok();
}
