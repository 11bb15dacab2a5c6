/*
 * The study of routers: each of the table fine-tuned from the same starts by the same recipe and evaluated on the same
 * questions, with a sweep of capacity and one of the wanted load; accuracy over starts against executed FLOPs and time.
 *
 * A start is a seed of pretraining, and fine-tuning has the same seed. The difference to top-2 is paired by start. The
 * time is that of `eval', whose routers are the definition on one thread: it tells what a model costs here, not what a
 * fast router would. Left out: what models cannot be trained with (kernels/train/model/backprop.h).
 */
#include "files/json_file.h"
#include "files/output_file.h"
#include "program/json_output.h"
#include "reproduce/study/study.h"

#include <math.h>
#include <string.h>

typedef enum router_table { TABLE_ROUTERS, TABLE_CAPACITY, TABLE_LOAD } router_table;

typedef struct router_setting {
    const char *name; /* of its folder */
    router_table table;
    const char *router;
    const char *set[2]; /* of --set, or NULL: as is usual for k0 = 2 */
} router_setting;

/* The first is what the others are compared with. One that is in two tables is run once. A share of rho true experts among top_k gives a load of rho top_k. */
static const router_setting plan[] = {
    {"top_k", TABLE_ROUTERS, "top_k", {NULL}},
    {"adamoe", TABLE_ROUTERS, "adamoe", {"top_k=3"}},
    {"softmax_token_choice", TABLE_ROUTERS, "softmax_token_choice", {NULL}},
    {"sinkhorn_token_choice", TABLE_ROUTERS, "sinkhorn_token_choice", {NULL}},
    {"softmax_expert_choice", TABLE_ROUTERS, "softmax_expert_choice", {NULL}},
    {"sinkhorn_expert_choice", TABLE_ROUTERS, "sinkhorn_expert_choice", {NULL}},
    {"sparse_expert_choice", TABLE_ROUTERS, "sparse_expert_choice", {NULL}},
    {"locmoe", TABLE_ROUTERS, "locmoe", {NULL}},
    {"locmoe_plus", TABLE_ROUTERS, "locmoe_plus", {NULL}},
    {"top_p", TABLE_ROUTERS, "top_p", {NULL}},
    {"loss_free", TABLE_ROUTERS, "loss_free", {NULL}},
    {"longcat", TABLE_ROUTERS, "longcat", {"rate=0.01"}},
    {"moe_plus_plus", TABLE_ROUTERS, "moe_plus_plus", {NULL}},
    {"null_copies", TABLE_ROUTERS, "null_copies", {NULL}},
    {"remoe", TABLE_ROUTERS, "remoe", {NULL}},
    {"softmax_expert_choice-1", TABLE_CAPACITY, "softmax_expert_choice", {"capacity_factor=1"}},
    {"softmax_expert_choice-1.5", TABLE_CAPACITY, "softmax_expert_choice", {"capacity_factor=1.5"}},
    {"softmax_expert_choice", TABLE_CAPACITY, "softmax_expert_choice", {NULL}},
    {"locmoe_plus-0.5", TABLE_CAPACITY, "locmoe_plus", {"capacity_factor=0.5"}},
    {"locmoe_plus", TABLE_CAPACITY, "locmoe_plus", {NULL}},
    {"locmoe_plus-2", TABLE_CAPACITY, "locmoe_plus", {"capacity_factor=2"}},
    {"adamoe-k2", TABLE_LOAD, "adamoe", {"top_k=2"}},
    {"adamoe", TABLE_LOAD, "adamoe", {"top_k=3"}},
    {"adamoe-k4", TABLE_LOAD, "adamoe", {"top_k=4"}},
    {"longcat-1", TABLE_LOAD, "longcat", {"rate=0.01", "expected_k=1"}},
    {"longcat-1.5", TABLE_LOAD, "longcat", {"rate=0.01", "expected_k=1.5"}},
    {"longcat", TABLE_LOAD, "longcat", {"rate=0.01"}},
    {"null_copies-1", TABLE_LOAD, "null_copies", {"rho=0.25"}},
    {"null_copies-1.5", TABLE_LOAD, "null_copies", {"rho=0.375"}},
    {"null_copies", TABLE_LOAD, "null_copies", {NULL}},
};

enum { SETTINGS = sizeof plan / sizeof *plan };

static const char *const titles[] = {"Routers", "Capacity", "Wanted load"};

/* ---------------------------------------------------------------------------------------------------- runs */

/* The model that start `start` is: the one that the study was given, or one that the recipe pretrains by that seed. */
static adamoe_study_path start_of(const adamoe_study_state *study, size_t start)
{
    adamoe_study_path given;
    if (start > 1 || study->options->from_scratch) {
        return adamoe_study_at(study, "start-%zu/pretrained", start);
    }
    (void)snprintf(given.text, sizeof given.text, "%s", study->start);
    return given;
}

static adamoe_status pretrain(const adamoe_study_state *study, size_t start)
{
    adamoe_arguments arguments;
    if (start == 1 && !study->options->from_scratch) {
        return adamoe_ok();
    }
    if (adamoe_study_is_there(adamoe_study_at(study, "start-%zu/pretrained/model.safetensors", start))) {
        return adamoe_ok();
    }
    printf("start %zu: pretraining, as the recipe says\n", start);
    (void)fflush(stdout);
    adamoe_study_begin(&arguments, "train");
    const adamoe_status status =
        adamoe_study_run_training(study, "pretrain", start_of(study, start), start, &arguments);
    adamoe_arguments_free(&arguments);
    return status;
}

static adamoe_status fine_tune(const adamoe_study_state *study, size_t start, const router_setting *s,
                               adamoe_study_path folder)
{
    adamoe_arguments arguments;
    adamoe_study_begin(&arguments, "train");
    adamoe_argument(&arguments, "--model=%s", start_of(study, start).text);
    adamoe_argument(&arguments, "--router=%s", s->router);
    for (size_t i = 0; i < 2 && s->set[i] != NULL; ++i) {
        adamoe_argument(&arguments, "--set=%s", s->set[i]);
    }
    const adamoe_status status = adamoe_study_run_training(study, "fine_tune", folder, start, &arguments);
    adamoe_arguments_free(&arguments);
    return status;
}

static adamoe_status run_setting(adamoe_study_state *study, size_t start, const router_setting *s)
{
    const adamoe_study_path folder = adamoe_study_at(study, "start-%zu/%s", start, s->name);
    const adamoe_study_path result = adamoe_study_at(study, "start-%zu/%s/result.json", start, s->name);
    adamoe_arguments arguments;
    if (!adamoe_study_is_there(result) &&
        !adamoe_study_is_there(adamoe_study_at(study, "start-%zu/%s/model.safetensors", start, s->name))) {
        ADAMOE_TRY(fine_tune(study, start, s, folder));
    }
    adamoe_study_begin(&arguments, "eval");
    const adamoe_status status = adamoe_study_run_evaluation(study, folder.text, result, &arguments);
    adamoe_arguments_free(&arguments);
    ADAMOE_TRY(status);
    printf("%zu of %zu  start %zu, %s\n", ++study->done, study->runs, start, s->name);
    (void)fflush(stdout);
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- results */

typedef struct router_row {
    double accuracy[ADAMOE_STUDY_MOST_SEEDS]; /* by start */
    double load, flops, seconds;  /* means: experts of a token, FLOPs of a token, of the evaluation */
    adamoe_mean mean, difference; /* of the accuracy; of that to the first setting, paired by start */
} router_row;

static adamoe_status read_number(const json_t *object, const char *key, const char *path, double *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: %s: a number is expected", path, key);
    }
    *out = json_number_value(value);
    return adamoe_ok();
}

static adamoe_status take_result(const json_t *document, const char *path, size_t start, double share,
                                 router_row *row)
{
    const json_t *cost = json_object_get(document, "adamoe");
    json_t *results = json_object_get(document, "results");
    double load = 0.0, total = 0.0, tokens = 0.0, seconds = 0.0;
    ADAMOE_TRY(read_number(json_object_iter_value(json_object_iter(results)), "acc,none", path,
                           &row->accuracy[start - 1]));
    ADAMOE_TRY(read_number(cost, "load", path, &load));
    ADAMOE_TRY(read_number(json_object_get(cost, "executed_flops"), "total", path, &total));
    ADAMOE_TRY(read_number(cost, "tokens_processed", path, &tokens));
    ADAMOE_TRY(read_number(cost, "seconds", path, &seconds));
    row->load += share * load;
    row->flops += share * total / tokens;
    row->seconds += share * seconds;
    return adamoe_ok();
}

static adamoe_status read_row(const adamoe_study_state *study, size_t setting, router_row *row)
{
    const size_t starts = study->options->starts;
    *row = (router_row){.load = 0.0};
    for (size_t start = 1; start <= starts; ++start) {
        const adamoe_study_path path =
            adamoe_study_at(study, "start-%zu/%s/result.json", start, plan[setting].name);
        json_t *document = NULL;
        ADAMOE_TRY(adamoe_json_read(path.text, &document));
        const adamoe_status status = take_result(document, path.text, start, 1.0 / (double)starts, row);
        json_decref(document);
        ADAMOE_TRY(status);
    }
    return adamoe_ok();
}

static void compare_rows(size_t starts, router_row *rows)
{
    for (size_t i = 0; i < SETTINGS; ++i) {
        double difference[ADAMOE_STUDY_MOST_SEEDS];
        for (size_t s = 0; s < starts; ++s) {
            difference[s] = rows[i].accuracy[s] - rows[0].accuracy[s];
        }
        rows[i].mean = adamoe_mean_of(rows[i].accuracy, starts, 0.95);
        rows[i].difference = adamoe_mean_of(difference, starts, 0.95);
    }
}

static void write_row(FILE *file, const router_setting *s, const router_row *row, bool is_first,
                      size_t starts)
{
    char difference[64] = "";
    if (!is_first && starts > 1) {
        (void)snprintf(difference, sizeof difference, "%+.1f (%+.1f to %+.1f)", 100.0 * row->difference.mean,
                       100.0 * row->difference.interval.low, 100.0 * row->difference.interval.high);
    } else if (!is_first) {
        (void)snprintf(difference, sizeof difference, "%+.1f", 100.0 * row->difference.mean);
    }
    fprintf(file, "| %s | %.1f | %s | %.2f | %.3f | %.2f |\n", s->name, 100.0 * row->mean.mean, difference,
            row->load, row->flops * 1e-6, row->seconds);
}

static void write_tables(FILE *file, const router_row *rows, size_t starts)
{
    for (size_t table = TABLE_ROUTERS; table <= TABLE_LOAD; ++table) {
        fprintf(file,
                "%s## %s, %zu start%s\n\n| setting | acc, %% | less %s, points | load | MFLOP per token | "
                "seconds of the evaluation |\n|---|---|---|---|---|---|\n",
                table == TABLE_ROUTERS ? "" : "\n", titles[table], starts, starts == 1 ? "" : "s",
                plan[0].name);
        for (size_t i = 0; i < SETTINGS; ++i) {
            if ((size_t)plan[i].table == table) {
                write_row(file, &plan[i], &rows[i], i == 0, starts);
            }
        }
    }
}

static json_t *row_json(const router_setting *s, const router_row *row, size_t starts)
{
    json_t *accuracies = json_array(), *set = json_array();
    for (size_t i = 0; i < starts; ++i) {
        json_array_append_new(accuracies, json_real(row->accuracy[i]));
    }
    for (size_t i = 0; i < 2 && s->set[i] != NULL; ++i) {
        json_array_append_new(set, json_string(s->set[i]));
    }
    return json_pack("{s:s,s:s,s:s,s:o,s:o,s:f,s:f,s:o,s:o,s:f,s:f,s:f}", "setting", s->name, "table",
                     titles[s->table], "router", s->router, "set", set, "acc_by_start", accuracies, "acc",
                     row->mean.mean, "acc_difference", row->difference.mean, "acc_difference_low",
                     adamoe_json_number(row->difference.interval.low), "acc_difference_high",
                     adamoe_json_number(row->difference.interval.high), "load", row->load,
                     "executed_flops_per_token", row->flops, "seconds", row->seconds);
}

static adamoe_status write_json(const adamoe_study_state *study, const router_row *rows)
{
    json_t *list = json_array();
    for (size_t i = 0; i < SETTINGS; ++i) {
        json_array_append_new(list, row_json(&plan[i], &rows[i], study->options->starts));
    }
    return adamoe_json_write(adamoe_study_at(study, "routers.json").text,
                             json_pack("{s:s,s:I,s:O,s:o}", "version", ADAMOE_VERSION, "starts",
                                       (json_int_t)study->options->starts, "recipe", study->recipe.document,
                                       "settings", list));
}

static adamoe_status write_plot(const adamoe_study_state *study, const router_row *rows)
{
    adamoe_router_point points[SETTINGS];
    adamoe_output_file *file = NULL;
    size_t count = 0;
    for (size_t i = 0; i < SETTINGS; ++i) {
        bool is_new = true; /* one that is in two tables is drawn once */
        for (size_t j = 0; j < count; ++j) {
            is_new = is_new && strcmp(points[j].name, plan[i].name) != 0;
        }
        if (is_new) {
            points[count++] = (adamoe_router_point){.name = plan[i].name,
                                                    .style = (size_t)plan[i].table,
                                                    .flops = rows[i].flops * 1e-6,
                                                    .accuracy = 100.0 * rows[i].mean.mean,
                                                    .low = 100.0 * rows[i].mean.interval.low,
                                                    .high = 100.0 * rows[i].mean.interval.high};
        }
    }
    ADAMOE_TRY(adamoe_output_file_open(adamoe_study_at(study, "routers.html").text, &file));
    adamoe_study_plot_routers(adamoe_output_file_stream(file), points, count);
    return adamoe_output_file_commit(file);
}

static adamoe_status report(const adamoe_study_state *study)
{
    static router_row rows[SETTINGS];
    adamoe_output_file *file = NULL;
    for (size_t i = 0; i < SETTINGS; ++i) {
        ADAMOE_TRY(read_row(study, i, &rows[i]));
    }
    compare_rows(study->options->starts, rows);
    ADAMOE_TRY(write_json(study, rows));
    ADAMOE_TRY(write_plot(study, rows));
    ADAMOE_TRY(adamoe_output_file_open(adamoe_study_at(study, "routers.md").text, &file));
    write_tables(adamoe_output_file_stream(file), rows, study->options->starts);
    ADAMOE_TRY(adamoe_output_file_commit(file));
    write_tables(stdout, rows, study->options->starts);
    return adamoe_ok();
}

adamoe_status adamoe_study_routers(adamoe_study_state *study)
{
    const size_t starts = study->options->starts;
    study->runs = starts * SETTINGS;
    for (size_t start = 1; start <= starts; ++start) {
        ADAMOE_TRY(adamoe_study_make_folder(adamoe_study_at(study, "start-%zu", start)));
        ADAMOE_TRY(pretrain(study, start));
        for (size_t i = 0; i < SETTINGS; ++i) {
            ADAMOE_TRY(run_setting(study, start, &plan[i]));
        }
    }
    return report(study);
}
