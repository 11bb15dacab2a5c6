/*
 * The runs of a study. Each training and each evaluation is a child: what it does can be repeated by hand,
 * and a crash costs one run.
 */
#include "program/json_output.h"
#include "reproduce/sides/side_by_side.h"
#include "reproduce/study/study.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

adamoe_study_path adamoe_study_at(const adamoe_study_state *study, const char *format, ...)
{
    adamoe_study_path path;
    char name[512];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(name, sizeof name, format, list);
    va_end(list);
    (void)snprintf(path.text, sizeof path.text, "%.3500s/%s", study->options->out, name);
    return path;
}

bool adamoe_study_is_there(adamoe_study_path path)
{
    return access(path.text, F_OK) == 0;
}

adamoe_status adamoe_study_make_folder(adamoe_study_path path)
{
    return mkdir(path.text, 0777) == 0 || errno == EEXIST
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "%.300s: create: %s", path.text, strerror(errno));
}

/* ----------------------------------------------------------------------------------------------- children */

/* Its lines are for a person who watches it alone; what it has to say here is in its files, and on standard
 * error. */
static adamoe_status run_child(const adamoe_arguments *arguments)
{
    char *text = NULL;
    const adamoe_status status = adamoe_run_itself(arguments, &text);
    free(text);
    return status;
}

/* The recipe's seed where `seed` is 0. */
adamoe_status adamoe_study_run_training(const adamoe_study_state *study, const char *part,
                                        adamoe_study_path folder, size_t seed, adamoe_arguments *arguments)
{
    char state[4200];
    (void)snprintf(state, sizeof state, "%s/training-state.safetensors", folder.text);
    ADAMOE_TRY(adamoe_recipe_arguments(&study->recipe, part, arguments));
    if (seed > 0) {
        adamoe_argument(arguments, "--seed=%zu", seed); /* the last one counts */
    }
    adamoe_machine_arguments(study->options->common, arguments);
    adamoe_argument(arguments, "--output=%s", folder.text);
    if (access(state, F_OK) == 0) {
        adamoe_argument(arguments, "--resume");
    }
    return run_child(arguments);
}

/* Nothing where `result` is there already. */
adamoe_status adamoe_study_run_evaluation(const adamoe_study_state *study, const char *model,
                                          adamoe_study_path result, adamoe_arguments *arguments)
{
    if (adamoe_study_is_there(result)) {
        return adamoe_ok();
    }
    adamoe_argument(arguments, "--model=%s", model);
    adamoe_argument(arguments, "--questions=%s", study->questions);
    if (study->options->common->kernel != NULL) {
        adamoe_argument(arguments, "--kernel=%s", study->options->common->kernel);
    }
    adamoe_machine_arguments(study->options->common, arguments);
    adamoe_argument(arguments, "--json=%s", result.text);
    return run_child(arguments);
}

void adamoe_study_begin(adamoe_arguments *arguments, const char *verb)
{
    *arguments = (adamoe_arguments){.count = 0};
    adamoe_argument(arguments, "adamoe");
    adamoe_argument(arguments, "%s", verb);
}

/* -------------------------------------------------------------------------------------------------- steps */

adamoe_status adamoe_study_pretrain(adamoe_study_state *study)
{
    adamoe_arguments arguments;
    if (!study->options->from_scratch ||
        adamoe_study_is_there(adamoe_study_at(study, "pretrained/model.safetensors"))) {
        return adamoe_ok();
    }
    printf("pretraining, as the recipe says\n");
    (void)fflush(stdout);
    adamoe_study_begin(&arguments, "train");
    const adamoe_status status =
        adamoe_study_run_training(study, "pretrain", adamoe_study_at(study, "pretrained"), 0, &arguments);
    adamoe_arguments_free(&arguments);
    return status;
}

static adamoe_status evaluate_converted(const adamoe_study_state *study, const adamoe_study_setting *s)
{
    adamoe_arguments arguments;
    adamoe_study_begin(&arguments, "eval");
    adamoe_argument(&arguments, "--null-experts=%zu", s->null_experts);
    adamoe_argument(&arguments, "--top-k=%zu", s->top_k);
    const adamoe_status status = adamoe_study_run_evaluation(
        study, study->start, adamoe_study_at(study, "start/%s.json", s->name), &arguments);
    adamoe_arguments_free(&arguments);
    return status;
}

adamoe_status adamoe_study_evaluate_start(adamoe_study_state *study)
{
    ADAMOE_TRY(adamoe_study_make_folder(adamoe_study_at(study, "start")));
    for (size_t i = 0; i < ADAMOE_STUDY_SETTINGS; ++i) {
        const adamoe_study_setting *s = &adamoe_study_plan[i];
        if (s->table != ADAMOE_STUDY_BALANCES && adamoe_study_seeds(study->options, i) > 0) {
            ADAMOE_TRY(evaluate_converted(study, s));
        }
    }
    return adamoe_ok();
}

static adamoe_status train_setting(const adamoe_study_state *study, const adamoe_study_setting *s,
                                   size_t seed, adamoe_study_path folder)
{
    adamoe_arguments arguments;
    adamoe_study_begin(&arguments, "train");
    adamoe_argument(&arguments, "--model=%s", study->start);
    adamoe_argument(&arguments, "--null-experts=%zu", s->null_experts);
    adamoe_argument(&arguments, "--top-k=%zu", s->top_k);
    adamoe_argument(&arguments, "--norm=%s", s->norm);
    adamoe_argument(&arguments, "--balance-loss=%s", s->balance);
    const adamoe_status status = adamoe_study_run_training(study, "fine_tune", folder, seed, &arguments);
    adamoe_arguments_free(&arguments);
    return status;
}

adamoe_status adamoe_study_train(adamoe_study_state *study, size_t setting, size_t seed)
{
    const adamoe_study_setting *s = &adamoe_study_plan[setting];
    const adamoe_study_path folder = adamoe_study_at(study, "%s/seed-%zu", s->name, seed);
    const adamoe_study_path result = adamoe_study_at(study, "%s/seed-%zu/result.json", s->name, seed);
    const bool finished = adamoe_study_is_there(result);
    adamoe_arguments arguments;
    ADAMOE_TRY(adamoe_study_make_folder(adamoe_study_at(study, "%s", s->name)));
    if (!finished &&
        !adamoe_study_is_there(adamoe_study_at(study, "%s/seed-%zu/model.safetensors", s->name, seed))) {
        ADAMOE_TRY(train_setting(study, s, seed, folder));
    }
    adamoe_study_begin(&arguments, "eval");
    const adamoe_status status = adamoe_study_run_evaluation(study, folder.text, result, &arguments);
    adamoe_arguments_free(&arguments);
    ADAMOE_TRY(status);
    printf("%zu of %zu  %s, seed %zu%s\n", ++study->done, study->runs, s->name, seed,
           finished ? ": was finished" : "");
    (void)fflush(stdout);
    return adamoe_ok();
}

/* Other processes time the two models first; a team here would take their processors. */
static adamoe_status compare(const adamoe_study_state *study, size_t seed, adamoe_study_path result,
                             adamoe_machine *machine, adamoe_side_by_side *sides)
{
    const adamoe_study_path baseline = adamoe_study_at(study, "%s/seed-%zu", adamoe_study_plan[0].name, seed);
    const adamoe_study_path model = adamoe_study_at(study, "%s/seed-%zu", adamoe_study_plan[1].name, seed);
    const adamoe_side_options options = {
        .model = model.text, .baseline = baseline.text, .questions = study->questions};
    const adamoe_machine_options wanted = adamoe_options_for_machine(study->options->common);
    ADAMOE_TRY(adamoe_side_by_side_time_all(&options, study->options->common, sides));
    ADAMOE_TRY(adamoe_machine_open(&wanted, machine));
    ADAMOE_TRY(adamoe_side_by_side_open(&options, machine, study->options->kernel, sides));
    ADAMOE_TRY(adamoe_side_by_side_run(sides, seed));
    return adamoe_json_write(result.text, adamoe_side_by_side_json(sides));
}

adamoe_status adamoe_study_pair(const adamoe_study_state *study, size_t seed)
{
    const adamoe_study_path result = adamoe_study_at(study, "pairs/seed-%zu.json", seed);
    adamoe_side_by_side sides = {.has_untouched = false};
    adamoe_machine machine = {0};
    if (adamoe_study_is_there(result)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_study_make_folder(adamoe_study_at(study, "pairs")));
    const adamoe_status status = compare(study, seed, result, &machine, &sides);
    adamoe_side_by_side_free(&sides);
    adamoe_machine_close(&machine);
    return status;
}
