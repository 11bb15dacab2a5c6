/*
 * What the files of `adamoe reproduce --full` share: a study that trains a top-2 model and models with null
 * experts from one start, over seeds and settings, and sets the results beside the paper's.
 *
 * It is a folder of runs. Each is made by two commands of the program, `train' and `eval', that can be
 * repeated by hand, and is finished when its result.json is there; the report is made from these files alone.
 */
#ifndef ADAMOE_REPRODUCE_STUDY_STUDY_H
#define ADAMOE_REPRODUCE_STUDY_STUDY_H

#include "program/child_arguments.h"
#include "statistics/statistics.h"

#include <jansson.h>

#define ADAMOE_STUDY_MOST_SEEDS 64

/* The top-k that null experts replace. */
#define ADAMOE_STUDY_BASELINE_K 2

typedef struct adamoe_study_options {
    const adamoe_common_options *common;
    const adamoe_kernel *kernel; /* of the timed pairs; the same as common's */
    const char *out;             /* folder */
    const char *recipe;          /* file; NULL: what ships */
    const char *start;           /* folder of the pretrained model; NULL: as the recipe says */
    const char *questions;       /* file, to test on; NULL: as the recipe says */
    size_t seeds, sweep_seeds;   /* of the main pair; of each other setting */
    bool resume, from_scratch;
    bool routers;  /* the study of routers in place of the paper's tables */
    size_t starts; /* of that one: seeds of pretraining */
} adamoe_study_options;

/* The whole of `reproduce --full'. Errors: BAD_INPUT; what a child ended with; ENVIRONMENT. */
adamoe_status adamoe_study(const adamoe_study_options *options);

/* --------------------------------------------------------------------------------- reproduce/study/plan.c */

/* Which table of the paper a setting belongs to. */
typedef enum adamoe_study_table {
    ADAMOE_STUDY_SIZES,   /* Table 8: (m, k); the main pair is in it */
    ADAMOE_STUDY_NORMS,   /* Table 4 */
    ADAMOE_STUDY_BALANCES /* Table 3 */
} adamoe_study_table;

/* What the paper measured; 0 where it did not. */
typedef struct adamoe_paper_score {
    double accuracy, load;
} adamoe_paper_score;

typedef struct adamoe_study_setting {
    const char *name; /* of its folder */
    adamoe_study_table table;
    size_t null_experts, top_k;
    const char *norm, *balance; /* as `adamoe train' calls them */
    adamoe_paper_score siqa, arc;
} adamoe_study_setting;

#define ADAMOE_STUDY_SETTINGS 15

/* The first is top-2, the second the paper's own m = 8, k = 3: the main pair. */
extern const adamoe_study_setting adamoe_study_plan[ADAMOE_STUDY_SETTINGS];

/* Whether a converted model is the vanilla top-k0 one until training moves gate2 (reference/README.md section
 * 2.1): k from (k0 - 1)(m / n + 1) + 1 to k0 (m / n + 1). */
bool adamoe_study_keeps_top_k(const adamoe_study_setting *setting, size_t experts);

/* How many seeds a setting is run with. */
size_t adamoe_study_seeds(const adamoe_study_options *options, size_t setting);

/* ------------------------------------------------------------------------------- reproduce/study/recipe.c */

/* A JSON file: "start" and "test" are paths; "pretrain" and "fine_tune" are objects whose keys are options of
 * `adamoe train' without the dashes. Paths are found as everything that ships. */
typedef struct adamoe_recipe {
    const char *path;
    json_t *document;
} adamoe_recipe;

/* Errors (BAD_INPUT): "FILE: key: reason". */
adamoe_status adamoe_recipe_open(const char *path, adamoe_recipe *out);

/* The options of "pretrain" or "fine_tune". */
adamoe_status adamoe_recipe_arguments(const adamoe_recipe *recipe, const char *part,
                                      adamoe_arguments *arguments);

/* The file or folder that `key` of `part`, or of the whole where that is NULL, names; to be freed. */
adamoe_status adamoe_recipe_path(const adamoe_recipe *recipe, const char *part, const char *key, char **out);

/* ---------------------------------------------------------------------------------- reproduce/study/run.c */

typedef struct adamoe_study_state {
    const adamoe_study_options *options;
    adamoe_recipe recipe;
    char *start, *questions, *training; /* folder; files to test on and to train on */
    json_t *description;                /* what may not change from one --resume to the next */
    size_t experts, runs, done;         /* true experts; planned and finished trainings */
} adamoe_study_state;

/* A path below the folder of the study. */
typedef struct adamoe_study_path {
    char text[4096];
} adamoe_study_path;

__attribute__((format(printf, 2, 3))) adamoe_study_path adamoe_study_at(const adamoe_study_state *study,
                                                                        const char *format, ...);

/* Trains the start, where that was asked for. */
adamoe_status adamoe_study_pretrain(adamoe_study_state *study);

/* Evaluates the start, as it is and converted to each size and norm. */
adamoe_status adamoe_study_evaluate_start(adamoe_study_state *study);

/* Trains and evaluates one setting with one seed, or goes on with it; nothing where it is finished. */
adamoe_status adamoe_study_train(adamoe_study_state *study, size_t setting, size_t seed);

/* What the studies run their children by. A training is one of a part of the recipe with a seed, into `folder`, from its
 * last saved state where there is one; an evaluation is nothing where `result` is there already. */
void adamoe_study_begin(adamoe_arguments *arguments, const char *verb);
adamoe_status adamoe_study_run_training(const adamoe_study_state *study, const char *part,
                                        adamoe_study_path folder, size_t seed, adamoe_arguments *arguments);
adamoe_status adamoe_study_run_evaluation(const adamoe_study_state *study, const char *model,
                                          adamoe_study_path result, adamoe_arguments *arguments);
bool adamoe_study_is_there(adamoe_study_path path);
adamoe_status adamoe_study_make_folder(adamoe_study_path path);

/* Compares the main pair of one seed, side by side and in turn. */
adamoe_status adamoe_study_pair(const adamoe_study_state *study, size_t seed);

/* ------------------------------------------------------------------------------ reproduce/study/routers.c */

/* All settings from all starts; the tables, printed and as routers.md, a plot as routers.html, and routers.json. */
adamoe_status adamoe_study_routers(adamoe_study_state *study);

/* ------------------------------------------------------------------------- reproduce/study/routers_plot.c */

/* One setting: in percent, and in MFLOP for a token; low and high are infinite for one start. */
typedef struct adamoe_router_point {
    const char *name;
    size_t style; /* of the table that it is in */
    double flops, accuracy, low, high;
} adamoe_router_point;

/* A page with one plot of them. */
void adamoe_study_plot_routers(FILE *out, const adamoe_router_point *points, size_t count);

/* ------------------------------------------------------------------------------- reproduce/study/scores.c */

/* Of one evaluation; fractions. */
typedef struct adamoe_study_score {
    double accuracy, accuracy_norm, load, all_null_share, expert_reduction, model_reduction;
} adamoe_study_score;

/* All results of one setting. */
typedef struct adamoe_study_row {
    size_t seeds;
    adamoe_study_score score[ADAMOE_STUDY_MOST_SEEDS], mean;
    double deviation;             /* of the accuracy over seeds; NaN for fewer than two */
    adamoe_study_score converted; /* before training */
    bool has_converted;
    size_t pairs; /* seeds that top-2 was run with too */
    /* The difference to top-2 of the same seed, over seeds. */
    adamoe_mean accuracy, accuracy_norm;
} adamoe_study_row;

typedef struct adamoe_study_scores {
    adamoe_study_score start;
    size_t questions;
    adamoe_study_row row[ADAMOE_STUDY_SETTINGS];
    json_t *pair[ADAMOE_STUDY_MOST_SEEDS]; /* of the main pair's seeds */
    size_t pairs;
    double time[ADAMOE_STUDY_MOST_SEEDS]; /* reduction, of each pair */
    adamoe_mean time_reduction;
} adamoe_study_scores;

/* Reads the folder. On failure the caller still frees. */
adamoe_status adamoe_study_read_scores(const adamoe_study_state *study, adamoe_study_scores *out);
void adamoe_study_scores_free(adamoe_study_scores *scores);

/* -------------------------------------------------------------------------------- reproduce/study/print.c */

/* Prints the tables, and writes them as results.md and results.json into the folder. */
adamoe_status adamoe_study_report(const adamoe_study_state *study, const adamoe_study_scores *scores);

#endif
