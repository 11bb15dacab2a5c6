/*
 * A study from its options to its report: its folder, its inputs, and the order of its runs.
 */
#include "reproduce/study/study.h"
#include "config/config.h"
#include "files/json_file.h"
#include "program/json_output.h"
#include "files/mapped_file.h"
#include "program/shipped.h"
#include "fnv1a.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------- folder */

/* A training that outlives a killed study ends with its next line of progress: that long it is waited for. */
#define LOCK_TRIES 600

/* Children inherit the lock: a folder is free when the last one has ended. */
static adamoe_status lock_folder(const adamoe_study_state *study, int *out)
{
    const adamoe_study_path path = adamoe_study_at(study, "lock");
    const struct timespec pause = {.tv_nsec = 100000000};
    *out = open(path.text, O_RDWR | O_CREAT, 0666);
    if (*out < 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%.300s: create: %s", path.text, strerror(errno));
    }
    for (int i = 0; flock(*out, LOCK_EX | LOCK_NB) != 0; ++i) {
        if (i == LOCK_TRIES || (errno != EWOULDBLOCK && errno != EINTR)) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: another run is at work there",
                                study->options->out);
        }
        (void)nanosleep(&pause, NULL);
    }
    return adamoe_ok();
}

/* Not against malice, but against a file that was made anew. */
static adamoe_status fingerprint(const char *path, json_t **out)
{
    adamoe_mapped_file file;
    char text[17];
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    const uint64_t hash = adamoe_fnv1a(ADAMOE_FNV1A_START, file.data, file.size);
    adamoe_mapped_file_close(&file);
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    *out = json_string(text);
    return *out != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "study: out of memory");
}

/* A start that is trained first is described by its recipe. */
static adamoe_status describe(adamoe_study_state *study)
{
    json_t *start = json_null(), *training = NULL, *test = NULL;
    char weights[4200];
    (void)snprintf(weights, sizeof weights, "%.4000s/model.safetensors", study->start);
    ADAMOE_TRY(fingerprint(study->training, &training));
    adamoe_status status = fingerprint(study->questions, &test);
    if (status.code == ADAMOE_OK && !study->options->from_scratch) {
        status = fingerprint(weights, &start);
    }
    study->description = status.code != ADAMOE_OK
                             ? NULL
                             : json_pack("{s:O,s:b,s:O,s:O,s:O}", "recipe", study->recipe.document,
                                         "from_scratch", (int)study->options->from_scratch, "start", start,
                                         "training", training, "test", test);
    if (study->description != NULL && study->options->routers) {
        json_object_set_new(study->description, "routers", json_true());
    }
    json_decref(start);
    json_decref(training);
    json_decref(test);
    return status.code == ADAMOE_OK && study->description == NULL
               ? adamoe_error(ADAMOE_ENVIRONMENT, "study: out of memory")
               : status;
}

static adamoe_status check_description(const adamoe_study_state *study, const char *path)
{
    json_t *before = NULL;
    if (!study->options->resume) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: it holds a study; --resume goes on with it",
                            study->options->out);
    }
    ADAMOE_TRY(adamoe_json_read(path, &before));
    const char *key;
    json_t *value;
    adamoe_status status = adamoe_ok();
    json_object_foreach(study->description, key, value)
    {
        if (status.code == ADAMOE_OK && json_equal(value, json_object_get(before, key)) != 1) {
            status = adamoe_error(ADAMOE_BAD_INPUT, "%.300s: --resume: \"%s\" is not what it was", path, key);
        }
    }
    json_decref(before);
    return status;
}

/* The folder is made where it is absent. */
static adamoe_status claim_folder(const adamoe_study_state *study)
{
    const adamoe_study_path path = adamoe_study_at(study, "study.json");
    if (access(path.text, F_OK) == 0) {
        return check_description(study, path.text);
    }
    return adamoe_json_write(path.text, json_incref(study->description));
}

/* ------------------------------------------------------------------------------------------------- inputs */

static adamoe_status copy_or_recipe(const adamoe_study_state *study, const char *given, const char *key,
                                    char **out)
{
    if (given == NULL) {
        return adamoe_recipe_path(&study->recipe, NULL, key, out);
    }
    *out = strdup(given);
    return *out != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "study: out of memory");
}

/* All that can be wrong with the recipe shows before the first training. */
static adamoe_status check_recipe(const adamoe_study_state *study)
{
    adamoe_arguments arguments = {.count = 0};
    adamoe_status status = adamoe_recipe_arguments(&study->recipe, "fine_tune", &arguments);
    if (status.code == ADAMOE_OK && (study->options->from_scratch || study->options->starts > 1)) {
        status = adamoe_recipe_arguments(&study->recipe, "pretrain", &arguments);
    }
    adamoe_arguments_free(&arguments);
    return status;
}

static adamoe_status open_inputs(adamoe_study_state *study)
{
    const adamoe_study_options *o = study->options;
    ADAMOE_TRY(check_recipe(study));
    ADAMOE_TRY(adamoe_recipe_path(&study->recipe, "fine_tune", "questions", &study->training));
    ADAMOE_TRY(copy_or_recipe(study, o->questions, "test", &study->questions));
    if (!o->from_scratch) {
        return copy_or_recipe(study, o->start, "start", &study->start);
    }
    study->start = strdup(adamoe_study_at(study, "pretrained").text);
    return study->start != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "study: out of memory");
}

/* Copies of the gate's rows come in whole numbers: every setting must fit the start. */
static adamoe_status check_start(adamoe_study_state *study)
{
    char path[4200];
    adamoe_config config;
    bool given = false;
    (void)snprintf(path, sizeof path, "%.4000s/config.json", study->start);
    ADAMOE_TRY(adamoe_config_read(path, &config, &given));
    study->experts = config.experts;
    for (size_t i = 0; i < ADAMOE_STUDY_SETTINGS; ++i) {
        const adamoe_study_setting *s = &adamoe_study_plan[i];
        if (adamoe_study_seeds(study->options, i) > 0 && s->null_experts % config.experts != 0) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "%.300s: num_local_experts: %zu null experts are no multiple "
                                "of %zu",
                                path, s->null_experts, config.experts);
        }
    }
    return config.null_experts == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%.300s: num_null_experts: the start is to have none", path);
}

/* --------------------------------------------------------------------------------------------------- runs */

/* Seed by seed for the main pair, so that an interrupted study has pairs. */
static adamoe_status train_all(adamoe_study_state *study)
{
    const adamoe_study_options *o = study->options;
    study->runs = 2 * o->seeds + (ADAMOE_STUDY_SETTINGS - 2) * o->sweep_seeds;
    for (size_t seed = 1; seed <= o->seeds; ++seed) {
        ADAMOE_TRY(adamoe_study_train(study, 0, seed));
        ADAMOE_TRY(adamoe_study_train(study, 1, seed));
    }
    for (size_t i = 2; i < ADAMOE_STUDY_SETTINGS; ++i) {
        for (size_t seed = 1; seed <= o->sweep_seeds; ++seed) {
            ADAMOE_TRY(adamoe_study_train(study, i, seed));
        }
    }
    return adamoe_ok();
}

static adamoe_status time_pairs(const adamoe_study_state *study)
{
    adamoe_status status = adamoe_ok();
    for (size_t seed = 1; seed <= study->options->seeds && status.code == ADAMOE_OK; ++seed) {
        status = adamoe_study_pair(study, seed);
    }
    return status;
}

static adamoe_status report(const adamoe_study_state *study)
{
    adamoe_study_scores *scores = malloc(sizeof *scores);
    if (scores == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "study: out of memory");
    }
    adamoe_status status = adamoe_study_read_scores(study, scores);
    if (status.code == ADAMOE_OK) {
        status = adamoe_study_report(study, scores);
    }
    adamoe_study_scores_free(scores);
    free(scores);
    return status;
}

static adamoe_status run_in_folder(adamoe_study_state *study)
{
    ADAMOE_TRY(claim_folder(study));
    if (!study->options->routers) {
        ADAMOE_TRY(adamoe_study_pretrain(study));
    } else if (study->options->from_scratch) {
        return adamoe_study_routers(study);
    }
    ADAMOE_TRY(check_start(study));
    if (study->options->routers) {
        return adamoe_study_routers(study);
    }
    ADAMOE_TRY(adamoe_study_evaluate_start(study));
    ADAMOE_TRY(train_all(study));
    ADAMOE_TRY(time_pairs(study));
    return report(study);
}

/* What is wrong with the inputs is found before the folder is made. */
static adamoe_status run(adamoe_study_state *study)
{
    int lock = -1;
    ADAMOE_TRY(open_inputs(study));
    if (!study->options->from_scratch) {
        ADAMOE_TRY(check_start(study));
    }
    ADAMOE_TRY(describe(study));
    if (mkdir(study->options->out, 0777) != 0 && errno != EEXIST) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%.300s: create: %s", study->options->out, strerror(errno));
    }
    adamoe_status status = lock_folder(study, &lock);
    if (status.code == ADAMOE_OK) {
        status = run_in_folder(study);
    }
    if (lock >= 0) {
        (void)close(lock);
    }
    return status;
}

adamoe_status adamoe_study(const adamoe_study_options *options)
{
    adamoe_study_state study = {.options = options};
    adamoe_shipped_file shipped;
    const char *recipe = options->recipe;
    if (recipe == NULL) {
        ADAMOE_TRY(adamoe_find_shipped("datasets/tiny-recipe.json", &shipped));
        recipe = shipped.path;
    }
    adamoe_status status = adamoe_recipe_open(recipe, &study.recipe);
    if (status.code == ADAMOE_OK) {
        status = run(&study);
    }
    json_decref(study.recipe.document);
    json_decref(study.description);
    free(study.start);
    free(study.questions);
    free(study.training);
    return status;
}
