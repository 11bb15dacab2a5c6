/*
 * Two results of `adamoe eval`: accuracy, paired by question where both sample logs are there, and load and
 * FLOPs, which are deterministic for the same model, questions and options. Seconds are not compared: a
 * single run without a yardstick that was interleaved with it is no measurement of speed.
 */
#include "compare/samples.h"

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

#define RESAMPLES 2000

static adamoe_status compare_answers(adamoe_result_comparison *comparison, const char *task,
                                     const char *measure, const adamoe_sample_pairs *answers)
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

/* Other questions under the same name, or some that are there once and twice: said, since they are left out. */
static void note_unpaired(adamoe_result_comparison *comparison, const char *task,
                          const adamoe_sample_logs *samples, size_t paired)
{
    const size_t before = json_array_size(samples->base), after = json_array_size(samples->now);
    if (paired < before || paired < after) {
        adamoe_add_note(
            comparison,
            "%s: not the same questions: %zu of the base's %zu samples and %zu of the new run's %zu "
            "have no partner, and are left out.",
            task, before - paired, before, after - paired, after);
    }
}

static adamoe_status compare_paired(adamoe_result_comparison *comparison, const char *task,
                                    const char *measure, const char *prediction,
                                    const adamoe_sample_logs *samples)
{
    adamoe_sample_pairs answers;
    adamoe_status status = adamoe_pair_samples(samples, prediction, &answers);
    if (status.code == ADAMOE_OK && answers.count == 0) {
        status = adamoe_error(ADAMOE_BAD_INPUT, "%s: no question in common with %.200s", samples->now_path,
                              samples->base_path);
    }
    if (status.code == ADAMOE_OK && strcmp(measure, "acc") == 0) {
        note_unpaired(comparison, task, samples, answers.count);
    }
    if (status.code == ADAMOE_OK) {
        status = compare_answers(comparison, task, measure, &answers);
    }
    free(answers.difference);
    return status;
}

/* Both logs belong to their results before anything is concluded from them. */
static adamoe_status compare_samples(adamoe_result_comparison *comparison, const char *task,
                                     const json_t *base, const json_t *now, const adamoe_sample_logs *samples)
{
    ADAMOE_TRY(adamoe_check_samples(samples->base_path, samples->base, base, task));
    ADAMOE_TRY(adamoe_check_samples(samples->now_path, samples->now, now, task));
    ADAMOE_TRY(compare_paired(comparison, task, "acc", "prediction", samples));
    return compare_paired(comparison, task, "acc_norm", "prediction_norm", samples);
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
                                  const json_t *now, const adamoe_sample_logs *samples)
{
    if (samples->base != NULL && samples->now != NULL) {
        return compare_samples(comparison, task, base, now, samples);
    }
    const json_t *before = at(base, "results", task), *after = at(now, "results", task);
    if (samples->deterministic) {
        ADAMOE_TRY(compare_exactly(comparison, task, "acc", before, after));
        return compare_exactly(comparison, task, "acc_norm", before, after);
    }
    ADAMOE_TRY(compare_unpaired(comparison, task, "acc", before, after));
    return compare_unpaired(comparison, task, "acc_norm", before, after);
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
    } else if (json_is_string(base) && json_is_string(now)) {
        (void)snprintf(f.base, sizeof f.base, "%.60s", json_string_value(base));
        (void)snprintf(f.now, sizeof f.now, "%.60s", json_string_value(now));
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

/* ------------------------------------------------------------------------------------------- between ranks */

static bool differs(const json_t *base, const json_t *now, const char *key)
{
    const json_t *before = json_object_get(base, key), *after = json_object_get(now, key);
    return before != NULL && after != NULL && !json_equal(before, after);
}

/* What decides what travels, and is not in "config". */
static bool same_ranks(const json_t *base, const json_t *now)
{
    static const char *const keys[] = {"ranks", "experts", "recording", "batch_tokens"};
    bool same = !differs(base, now, "kernel");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
        same = same && !differs(json_object_get(base, "communication"), json_object_get(now, "communication"),
                                keys[i]);
    }
    return same;
}

static adamoe_status compare_ranks(adamoe_result_comparison *comparison, const char *task, const json_t *base,
                                   const json_t *now, adamoe_verdict_kind verdict)
{
    static const char *const keys[] = {"rows_kept",   "rows_sent",  "rows_served",
                                       "inputs_sent", "bytes_sent", "bytes_received"};
    size_t r;
    const json_t *rank, *list = json_object_get(now, "by_rank");
    json_array_foreach(json_object_get(base, "by_rank"), r, rank)
    {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
            char name[64];
            (void)snprintf(name, sizeof name, "rank %zu, %s", r, keys[i]);
            ADAMOE_TRY(compare_value(comparison, task, name, json_object_get(rank, keys[i]),
                                     json_object_get(json_array_get(list, r), keys[i]), verdict));
        }
    }
    return adamoe_ok();
}

/* Rows and bytes follow from the routing and from where experts live, to the byte; seconds do not. */
static adamoe_status compare_communication(adamoe_result_comparison *comparison, const char *task,
                                           const json_t *base, const json_t *now, bool same_work)
{
    static const char *const keys[] = {"inputs_travel_as", "rows_kept",     "rows_sent", "bytes",
                                       "predicted_bytes",  "baseline_bytes"};
    const json_t *before = json_object_get(base, "communication"),
                 *after = json_object_get(now, "communication");
    if (before == NULL) {
        return adamoe_ok();
    }
    if (after == NULL || json_object_get(base, "questions_resumed") != NULL ||
        json_object_get(now, "questions_resumed") != NULL) {
        adamoe_add_note(comparison, "%s: what travelled between ranks is not compared: %s.", task,
                        after == NULL ? "the new run was on one"
                                      : "a run that went on has counted its own part alone");
        return adamoe_ok();
    }
    const bool same = same_ranks(base, now);
    if (!same) {
        adamoe_add_note(
            comparison,
            "%s: ranks, places of experts, kernel or --batch-tokens differ, so that what travelled may, "
            "too.",
            task);
    }
    const adamoe_verdict_kind verdict = same && same_work ? ADAMOE_VERDICT_REGRESSION : ADAMOE_VERDICT_SAME;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
        ADAMOE_TRY(compare_value(comparison, task, keys[i], json_object_get(before, keys[i]),
                                 json_object_get(after, keys[i]), verdict));
    }
    return same ? compare_ranks(comparison, task, before, after, verdict) : adamoe_ok();
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
    return compare_communication(comparison, task, json_object_get(base, "adamoe"),
                                 json_object_get(now, "adamoe"), same);
}

/* What makes accuracies of two runs answers to different questions, said before they are compared. */
static void note_questions(adamoe_result_comparison *comparison, const char *task, const json_t *base,
                           const json_t *now)
{
    const json_t *before = at(base, "n-samples", task), *after = at(now, "n-samples", task);
    const json_t *counts[4] = {json_object_get(before, "effective"), json_object_get(before, "original"),
                               json_object_get(after, "effective"), json_object_get(after, "original")};
    if (before != NULL && after != NULL && !json_equal(before, after)) {
        adamoe_add_note(
            comparison, "%s: not the same questions: the base scored %lld of %lld, the new run %lld of %lld.",
            task, (long long)json_integer_value(counts[0]), (long long)json_integer_value(counts[1]),
            (long long)json_integer_value(counts[2]), (long long)json_integer_value(counts[3]));
    }
}

adamoe_status adamoe_compare_eval(adamoe_result_comparison *comparison, const json_t *base, const json_t *now,
                                  adamoe_sample_logs samples)
{
    const char *task;
    const json_t *scores;
    json_object_foreach(json_object_get(base, "results"), task, scores)
    {
        if (at(now, "results", task) == NULL) {
            adamoe_finding f = {
                .aspect = ADAMOE_ASPECT_ACCURACY, .verdict = ADAMOE_VERDICT_MISSING, .measure = "acc"};
            (void)snprintf(f.subject, sizeof f.subject, "%s", task);
            adamoe_add_note(comparison, "%s: the new result has no such question file.", task);
            ADAMOE_TRY(adamoe_add_finding(comparison, &f));
            continue;
        }
        note_questions(comparison, task, base, now);
        ADAMOE_TRY(compare_task(comparison, task, base, now, &samples));
        ADAMOE_TRY(compare_work(comparison, task, base, now));
    }
    return adamoe_ok();
}
