/*
 * What a build of the program says about itself.
 */
#include "gate/collect.h"
#include "adapters.h"
#include "config/config.h"
#include "program/child_process.h"
#include "program/held_signals.h"
#include "program/options.h"
#include "files/json_file.h"
#include "router_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>

#define MOST_ARGUMENTS (24 + 2 * ADAMOE_MOST_COMMANDS)

typedef struct command {
    const char *argument[MOST_ARGUMENTS + 1];
    size_t count;
} command;

static void add(command *c, const char *first, const char *second)
{
    if (second != NULL && c->count + 2 <= MOST_ARGUMENTS) {
        c->argument[c->count++] = first;
        c->argument[c->count++] = second;
    }
}

/* Runs `program` and reads the JSON that it writes to standard output. */
static adamoe_status run(const char *program, const command *c, json_t **out)
{
    adamoe_child child;
    char *text = NULL, how[96];
    size_t length = 0;
    ADAMOE_TRY(adamoe_child_start(program, c->argument, &child));
    adamoe_status status = adamoe_child_read_all(&child, &text, &length);
    const int code = adamoe_child_end(&child, status.code != ADAMOE_OK, how, sizeof how);
    if (status.code == ADAMOE_OK && (code < 0 || code > 1)) {
        status = adamoe_error(code == 2   ? ADAMOE_BAD_INPUT
                              : code == 3 ? ADAMOE_NOT_SUPPORTED
                                          : ADAMOE_ENVIRONMENT,
                              "%s: %s: %s", program, c->argument[1], how);
    }
    if (status.code == ADAMOE_OK) {
        char place[512];
        (void)snprintf(place, sizeof place, "%.400s: what %s writes", program, c->argument[1]);
        status = adamoe_json_parse(place, text, length, out);
    }
    free(text);
    return status;
}

static adamoe_status run_check(const adamoe_collect_options *o, const char *kernel, json_t **out)
{
    char seed[32];
    command c = {.argument = {"adamoe", "check", "--json", "-"}, .count = 4};
    (void)snprintf(seed, sizeof seed, "%" PRIu64, o->seed);
    add(&c, "--seed", seed);
    add(&c, "--case", o->check_case);
    add(&c, "--kernel", kernel);
    add(&c, "--plugin", o->plugin);
    for (size_t i = 0; i < o->commands; ++i) {
        add(&c, "--command", o->command[i]);
    }
    return run(o->program, &c, out);
}

/* `check` takes one kernel or all: of several the results are joined. */
static adamoe_status check(const adamoe_collect_options *o, json_t **out)
{
    ADAMOE_TRY(run_check(o, o->kernels > 0 ? o->kernel[0] : NULL, out));
    for (size_t i = 1; i < o->kernels; ++i) {
        json_t *more = NULL;
        ADAMOE_TRY(run_check(o, o->kernel[i], &more));
        const bool joined =
            json_array_extend(json_object_get(*out, "kernels"), json_object_get(more, "kernels")) == 0;
        json_decref(more);
        if (!joined) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "%s: check: its JSON has no kernels", o->program);
        }
    }
    return adamoe_ok();
}

/* record: where the routing is written to, or NULL. */
static adamoe_status evaluate(const adamoe_collect_options *o, const char *record, json_t **out)
{
    char limit[32];
    command c = {.argument = {"adamoe", "eval", "--json", "-", "--kernel", "reference"}, .count = 6};
    (void)snprintf(limit, sizeof limit, "%zu", o->limit);
    add(&c, "--model", o->model);
    add(&c, "--questions", o->questions);
    add(&c, "--limit", limit);
    add(&c, "--record-routing", record);
    return run(o->program, &c, out);
}

/* ------------------------------------------------------------------------------------------------ the wire */

/* A folder of its own, since the file is written whole beside its place. */
typedef struct record_file {
    char folder[512], path[600];
} record_file;

static adamoe_status make_record(record_file *record)
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(record->folder, sizeof record->folder, "%.400s/adamoe-gate.XXXXXX",
                   parent == NULL || parent[0] == '\0' ? "/tmp" : parent);
    if (mkdtemp(record->folder) == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: %s", record->folder, strerror(errno));
    }
    (void)snprintf(record->path, sizeof record->path, "%s/routing.safetensors", record->folder);
    return adamoe_ok();
}

static void remove_record(const record_file *record)
{
    (void)unlink(record->path);
    (void)rmdir(record->folder);
}

/* Whether `eval --record-routing` has something to write. */
static bool has_routing(const char *model)
{
    char path[4096];
    adamoe_config config;
    bool given = false;
    (void)snprintf(path, sizeof path, "%s/config.json", model);
    return !adamoe_adapters_in(model) && !adamoe_router_file_in(model) &&
           adamoe_config_read(path, &config, &given).code == ADAMOE_OK && !config.architecture.dense &&
           config.experts > 1;
}

/* The orders of experts that every build has. */
static adamoe_status keep_orders(const json_t *scale, json_t *benchmarks)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(scale, "orders"), i, entry)
    {
        static const char *const keys[] = {"rows", "rows_sent", "inputs_sent", "request_bytes",
                                           "result_bytes"};
        const char *order = json_string_value(json_object_get(entry, "order"));
        const json_t *count = json_object_get(entry, "adaptive");
        char name[128];
        if (order == NULL || strcmp(order, "together") == 0) {
            continue;
        }
        (void)snprintf(name, sizeof name, "wire/ranks:%lld/experts:%.32s",
                       (long long)json_integer_value(json_object_get(entry, "ranks")), order);
        json_t *kept = json_pack("{s:s}", "name", name);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; ++k) {
            (void)json_object_set(kept, keys[k], json_object_get(count, keys[k]));
        }
        if (json_array_append_new(benchmarks, kept) != 0) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "gate: out of memory");
        }
    }
    return adamoe_ok();
}

/* Counts alone: latency and rates are there because the verb asks for them. */
static adamoe_status count_wire(const adamoe_collect_options *o, const char *record, json_t *benchmarks)
{
    char config[4096];
    json_t *scale = NULL;
    command c = {.argument = {"adamoe", "scale", "--json", "-", "--ranks", "2,4", "--tokens", "64", "--wire",
                              "float32", "--latency", "1", "--bandwidth", "1", "--gflops", "1", "--gbytes",
                              "1"},
                 .count = 18};
    (void)snprintf(config, sizeof config, "%s/config.json", o->model);
    add(&c, "--config", config);
    add(&c, "--record", record);
    const adamoe_status status = run(o->program, &c, &scale);
    if (status.code == ADAMOE_BAD_INPUT &&
        o->is_older) { /* which that program has just said of an option or the verb */
        fprintf(stderr, "adamoe gate: %s does not count yet what travels between ranks: left out\n",
                o->program);
        return adamoe_ok();
    }
    ADAMOE_TRY(status);
    const adamoe_status kept = keep_orders(scale, benchmarks);
    json_decref(scale);
    return kept;
}

static adamoe_status evaluate_and_count(const adamoe_collect_options *o, json_t **evaluation,
                                        json_t *benchmarks)
{
    record_file record;
    if (!has_routing(o->model)) {
        return evaluate(o, NULL, evaluation);
    }
    adamoe_hold_signals(); /* an interrupt ends the child, and the recording does not stay behind */
    adamoe_status status = make_record(&record);
    if (status.code == ADAMOE_OK) {
        status = evaluate(o, record.path, evaluation);
        if (status.code == ADAMOE_OK) {
            status = count_wire(o, record.path, benchmarks);
        }
        remove_record(&record);
    }
    adamoe_release_signals();
    return status;
}

adamoe_status adamoe_collect(const adamoe_collect_options *options, json_t **check_out, json_t **evaluation,
                             json_t *benchmarks)
{
    ADAMOE_TRY(check(options, check_out));
    return evaluate_and_count(options, evaluation, benchmarks);
}

static void drop(json_t *object, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        (void)json_object_del(object, keys[i]);
    }
}

#define DROP(object, ...)                                                                                    \
    drop(object, (const char *const[]){__VA_ARGS__},                                                         \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* What could not run on the machine that made the baseline says nothing. */
static void drop_failed(json_t *list)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *entry = json_array_get(list, i);
        if (json_is_true(json_object_get(entry, "error_occurred")) ||
            json_is_string(json_object_get(entry, "why_not"))) {
            (void)json_array_remove(list, i);
        }
    }
}

void adamoe_strip_to_baseline(json_t *result)
{
    json_t *gate = json_object_get(result, "gate"), *checks = json_object_get(gate, "check");
    json_t *evaluation = json_object_get(gate, "evaluation"), *entry;
    size_t i;
    drop_failed(json_object_get(checks, "kernels"));
    drop_failed(json_object_get(gate, "benchmarks"));
    json_array_foreach(json_object_get(checks, "kernels"), i, entry)
    {
        DROP(entry, "results", "largest_ratio", "median_ratio", "largest_rms_ratio");
    }
    json_array_foreach(json_object_get(gate, "benchmarks"), i, entry)
    {
        DROP(entry, "output_bits");
    }
    DROP(checks, "environment", "threads");
    DROP(evaluation, "environment", "date");
    DROP(json_object_get(evaluation, "config"), "model", "questions");
    DROP(json_object_get(evaluation, "adamoe"), "seconds", "questions_per_second", "tokens_per_second",
         "threads", "fma_peak_gflops", "fma_peak_share", "implementation", "layer_by_layer");
    DROP(result, "environment", "speed", "comparison");
}
