/*
 * The results of a study, read back from its folder, and their means over seeds.
 */
#include "files/json_file.h"
#include "reproduce/study/study.h"

#include <math.h>
#include <unistd.h>

#define LEVEL 0.95 /* of intervals */

/* A number that must be there; in an optional object of results one level down. */
static adamoe_status take_number(const char *path, const json_t *object, const char *key, double *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: %s: a number is expected", path, key);
    }
    *out = json_number_value(value);
    return adamoe_ok();
}

static adamoe_status take_score(const char *path, const json_t *document, adamoe_study_score *out)
{
    json_t *results = json_object_get(document, "results"), *cost = json_object_get(document, "adamoe");
    const json_t *scores = json_object_iter_value(json_object_iter(results));
    ADAMOE_TRY(take_number(path, scores, "acc,none", &out->accuracy));
    ADAMOE_TRY(take_number(path, scores, "acc_norm,none", &out->accuracy_norm));
    ADAMOE_TRY(take_number(path, cost, "load", &out->load));
    ADAMOE_TRY(take_number(path, cost, "all_null_share", &out->all_null_share));
    ADAMOE_TRY(take_number(path, cost, "expert_flops_reduction", &out->expert_reduction));
    return take_number(path, cost, "model_flops_reduction", &out->model_reduction);
}

static adamoe_status read_score(adamoe_study_path path, adamoe_study_score *out)
{
    json_t *document = NULL;
    ADAMOE_TRY(adamoe_json_read(path.text, &document));
    const adamoe_status status = take_score(path.text, document, out);
    json_decref(document);
    return status;
}

/* ----------------------------------------------------------------------------------------------- settings */

static adamoe_study_score mean_score(const adamoe_study_row *row)
{
    adamoe_study_score sum = {0};
    for (size_t i = 0; i < row->seeds; ++i) {
        const adamoe_study_score *s = &row->score[i];
        sum.accuracy += s->accuracy;
        sum.accuracy_norm += s->accuracy_norm;
        sum.load += s->load;
        sum.all_null_share += s->all_null_share;
        sum.expert_reduction += s->expert_reduction;
        sum.model_reduction += s->model_reduction;
    }
    const double n = (double)row->seeds;
    return (adamoe_study_score){sum.accuracy / n,       sum.accuracy_norm / n,    sum.load / n,
                                sum.all_null_share / n, sum.expert_reduction / n, sum.model_reduction / n};
}

static adamoe_status read_row(const adamoe_study_state *study, size_t setting, adamoe_study_row *row)
{
    const adamoe_study_setting *s = &adamoe_study_plan[setting];
    const adamoe_study_path converted = adamoe_study_at(study, "start/%s.json", s->name);
    double accuracy[ADAMOE_STUDY_MOST_SEEDS];
    row->seeds = adamoe_study_seeds(study->options, setting);
    for (size_t i = 0; i < row->seeds; ++i) {
        ADAMOE_TRY(
            read_score(adamoe_study_at(study, "%s/seed-%zu/result.json", s->name, i + 1), &row->score[i]));
        accuracy[i] = row->score[i].accuracy;
    }
    if (row->seeds > 0) {
        row->mean = mean_score(row);
        row->deviation = adamoe_mean_of(accuracy, row->seeds, LEVEL).deviation;
    }
    row->has_converted = access(converted.text, F_OK) == 0;
    return row->has_converted ? read_score(converted, &row->converted) : adamoe_ok();
}

/* Seeds are pairs: the same start, the same order of questions. */
static void compare_rows(const adamoe_study_row *baseline, adamoe_study_row *row)
{
    double difference[ADAMOE_STUDY_MOST_SEEDS], difference_norm[ADAMOE_STUDY_MOST_SEEDS];
    row->pairs = row->seeds < baseline->seeds ? row->seeds : baseline->seeds;
    for (size_t i = 0; i < row->pairs; ++i) {
        difference[i] = row->score[i].accuracy - baseline->score[i].accuracy;
        difference_norm[i] = row->score[i].accuracy_norm - baseline->score[i].accuracy_norm;
    }
    if (row->pairs > 0) {
        row->accuracy = adamoe_mean_of(difference, row->pairs, LEVEL);
        row->accuracy_norm = adamoe_mean_of(difference_norm, row->pairs, LEVEL);
    }
}

/* -------------------------------------------------------------------------------------------------- pairs */

static adamoe_status read_pairs(const adamoe_study_state *study, adamoe_study_scores *out)
{
    for (size_t i = 0; i < study->options->seeds; ++i) {
        const adamoe_study_path path = adamoe_study_at(study, "pairs/seed-%zu.json", i + 1);
        ADAMOE_TRY(adamoe_json_read(path.text, &out->pair[i]));
        ++out->pairs;
        const json_t *answers = json_object_get(out->pair[i], "acc_difference");
        out->questions = (size_t)json_integer_value(json_object_get(answers, "questions"));
        ADAMOE_TRY(
            take_number(path.text, json_object_get(out->pair[i], "time_reduction"), "centre", &out->time[i]));
    }
    out->time_reduction = adamoe_mean_of(out->time, out->pairs, LEVEL);
    return adamoe_ok();
}

adamoe_status adamoe_study_read_scores(const adamoe_study_state *study, adamoe_study_scores *out)
{
    *out = (adamoe_study_scores){.pairs = 0};
    for (size_t i = 0; i < ADAMOE_STUDY_SETTINGS; ++i) {
        ADAMOE_TRY(read_row(study, i, &out->row[i]));
        if (i > 0) {
            compare_rows(&out->row[0], &out->row[i]);
        }
    }
    out->start = out->row[0].converted;
    return read_pairs(study, out);
}

void adamoe_study_scores_free(adamoe_study_scores *scores)
{
    for (size_t i = 0; i < scores->pairs; ++i) {
        json_decref(scores->pair[i]);
    }
    scores->pairs = 0;
}
