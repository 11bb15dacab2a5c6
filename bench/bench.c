/*
 * adamoe bench: throughput of one layer, by Google Benchmark.
 */
#include "bench_layer.h"
#include "environment.h"
#include "gbench/gbench.h"
#include "held_signals.h"
#include "options.h"
#include "output_file.h"
#include "result_files.h"
#include "team.h"
#include "verbs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_PRESET = 1,
    OPTION_KERNEL,
    OPTION_TOKENS,
    OPTION_ROUTING,
    OPTION_HOT,
    OPTION_JSON,
};

/* Kernels and numbers of tokens that one run can take. */
#define MOST 32

typedef struct bench_options {
    adamoe_common_options common;
    const adamoe_preset *preset;
    const char *kernel[MOST];
    size_t kernels;
    size_t tokens[MOST];
    size_t token_counts;
    adamoe_pattern pattern;
    bool hot;
    const char *json;
} bench_options;

static const struct argp_option options_list[] = {
    {"preset", OPTION_PRESET, "NAME", 0, "tiny (default), olmoe, mixtral-8x7b or qwen3-30b-a3b", 0},
    {"tokens", OPTION_TOKENS, "T,...", 0, "Numbers of tokens (default: 1,16,64,512)", 0},
    {"routing", OPTION_ROUTING, "balanced|skewed", 0, "Who gets the tokens (default: balanced)", 0},
    {"hot", OPTION_HOT, 0, 0, "Leave the weights in the caches", 0},
    {"json", OPTION_JSON, "FILE", 0, "The same as --benchmark_out=FILE; `-' is standard output", 0},
    {"benchmark_...", 0, 0, OPTION_DOC, "Every flag of Google Benchmark, as --benchmark_repetitions=5", 0},
    {0, 0, 0, 0, "What computes:", 10},
    {"kernel", OPTION_KERNEL, "NAME", 0,
     "A kernel that `adamoe info' lists; may be given several times (default: all, but the reference for the "
     "preset tiny alone)",
     10},
    {0},
};

/* Takes `1,16,64`. */
static void parse_tokens(struct argp_state *state, const char *value, bench_options *o)
{
    char *copy = strdup(value), *rest = copy;
    if (copy == NULL) {
        argp_failure(state, ADAMOE_ENVIRONMENT, 0, "out of memory");
    }
    o->token_counts = 0;
    for (const char *one = strsep(&rest, ","); one != NULL; one = strsep(&rest, ",")) {
        if (o->token_counts == MOST) {
            argp_error(state, "--tokens: more than %d numbers", MOST);
        }
        o->tokens[o->token_counts++] = (size_t)adamoe_parse_count(state, "--tokens", one, 1, 1u << 20);
    }
    free(copy);
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    static const char *const routings[] = {"balanced", "skewed"};
    bench_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_PRESET:
        o->preset = &adamoe_presets[adamoe_parse_choice(state, "--preset", value, adamoe_preset_names,
                                                        ADAMOE_PRESETS)];
        return 0;
    case OPTION_KERNEL:
        if (o->kernels == MOST) {
            argp_error(state, "--kernel: more than %d", MOST);
        }
        o->kernel[o->kernels++] = value;
        return 0;
    case OPTION_TOKENS:
        parse_tokens(state, value, o);
        return 0;
    case OPTION_ROUTING:
        o->pattern = adamoe_parse_choice(state, "--routing", value, routings, 2) == 0
                         ? ADAMOE_PATTERN_BALANCED
                         : ADAMOE_PATTERN_SKEWED;
        return 0;
    case OPTION_HOT:
        o->hot = true;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&adamoe_machine_argp, 0, 0, 0}, {0}};

static const struct argp bench_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc =
        "Times the experts of one layer with random weights. Weights are cold: calls go round through more "
        "of "
        "them than twice the last-level cache holds. Each kernel is checked on the very call that is timed "
        "first; a wrong result is exit code 1, and is not timed. gflops counts executed FLOPs of experts, "
        "gbytes_per_second the weights of the experts that were touched."
        "\vExample:\n  adamoe bench\n  adamoe bench --preset olmoe --tokens 1,64 --json olmoe.json\n",
    .children = children,
};

/* ------------------------------------------------------------------------------------- the library's flags
 */

/* The arguments that are Google Benchmark's, for gbench_run, and the file that it shall not write itself. */
typedef struct library_flags {
    char **argument; /* [count]; the program's name first, two places more at the end */
    int count;
    const char *out; /* of --benchmark_out, or NULL */
} library_flags;

static const char prefix[] = "--benchmark_";
static const char out_flag[] = "--benchmark_out=";

/* Moves the library's flags out of arguments[*count]. */
static adamoe_status split_flags(int *count, char **arguments, library_flags *out)
{
    *out = (library_flags){.argument = calloc((size_t)*count + 3, sizeof(char *)), .count = 1};
    if (out->argument == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    }
    static char program[] = "adamoe bench";
    int kept = 1;
    out->argument[0] = program;
    for (int i = 1; i < *count; ++i) {
        if (strncmp(arguments[i], prefix, sizeof prefix - 1) != 0) {
            arguments[kept++] = arguments[i];
            continue;
        }
        if (strncmp(arguments[i], out_flag, sizeof out_flag - 1) == 0) {
            out->out = arguments[i] + sizeof out_flag - 1;
        }
        out->argument[out->count++] = arguments[i];
    }
    arguments[kept] = NULL;
    *count = kept;
    return adamoe_ok();
}

/* --json says the same in the way of the other verbs. The library is told that there is a file, not which. */
static void apply_json(const bench_options *o, library_flags *flags)
{
    static char display[] = "--benchmark_format=json", file[] = "--benchmark_out=json",
                format[] = "--benchmark_out_format=json";
    if (o->json != NULL && strcmp(o->json, "-") == 0) {
        flags->argument[flags->count++] = display;
    } else if (o->json != NULL) {
        flags->argument[flags->count++] = file;
        flags->argument[flags->count++] = format;
        flags->out = o->json;
    }
}

static adamoe_status library_status(gbench_result result, const char *message)
{
    switch (result) {
    case GBENCH_DONE:
        return adamoe_ok();
    case GBENCH_NO_MEMORY:
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s", message);
    default:
        return adamoe_error(ADAMOE_BAD_INPUT, "%s", message);
    }
}

static adamoe_status write_report(const char *path, const gbench_report *report)
{
    adamoe_output_file *file = NULL;
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    (void)fwrite(report->text, 1, report->length, adamoe_output_file_stream(file));
    return adamoe_output_file_commit(file);
}

/* Runs what is registered; the report is in the file whole, or the file is as it was before. A run that only
 * lists names has no report. */
static adamoe_status run_library(library_flags *flags)
{
    const adamoe_result_file file = {"--benchmark_out", flags->out};
    gbench_report report;
    adamoe_load_mark before;
    ADAMOE_TRY(adamoe_check_result_files(&file, 1)); /* before the hours, not after */
    adamoe_mark_load(&before);
    const gbench_result result = gbench_run(flags->count, flags->argument, &report);
    adamoe_status status = library_status(result, report.message);
    if (status.code == ADAMOE_OK && report.text != NULL && report.text[0] == '{') {
        status = adamoe_add_environment(&before, &report.text, &report.length);
    }
    if (status.code == ADAMOE_OK && report.text != NULL) {
        adamoe_hold_signals();
        status = write_report(flags->out, &report);
        adamoe_release_signals();
    }
    gbench_report_free(&report);
    return status;
}

/* ----------------------------------------------------------------------------------------------- the verb */

static adamoe_status add_kernel(const bench_options *o, adamoe_bench_layer *layer,
                                const adamoe_kernel *kernel)
{
    for (size_t i = 0; i < o->token_counts; ++i) {
        ADAMOE_TRY(adamoe_bench_layer_add(layer, kernel, o->tokens[i], o->pattern));
    }
    return adamoe_ok();
}

/* The naive kernel takes minutes for a layer of a real model. */
static bool is_too_slow(const bench_options *o, const adamoe_kernel *kernel)
{
    return o->preset != &adamoe_presets[0] && strcmp(kernel->name, "reference") == 0;
}

static adamoe_status add_kernels(const bench_options *o, adamoe_bench_layer *layer,
                                 const adamoe_registry *registry)
{
    for (size_t i = 0; i < o->kernels; ++i) {
        const adamoe_kernel *kernel = adamoe_registry_find(registry, o->kernel[i]);
        if (kernel == NULL) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--kernel: %s: no such kernel; `adamoe info' lists them",
                                o->kernel[i]);
        }
        ADAMOE_TRY(add_kernel(o, layer, kernel));
    }
    for (size_t i = 0; i < adamoe_registry_count(registry) && o->kernels == 0; ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        if (!is_too_slow(o, kernel)) {
            ADAMOE_TRY(add_kernel(o, layer, kernel));
        }
    }
    return adamoe_ok();
}

static adamoe_status describe(const bench_options *o)
{
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, o->common.seed);
    return gbench_describe("adamoe_version", ADAMOE_VERSION) && gbench_describe("adamoe_seed", seed)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
}

static adamoe_status run_layer(const bench_options *o, const adamoe_registry *registry,
                               adamoe_bench_layer *layer, library_flags *flags)
{
    ADAMOE_TRY(add_kernels(o, layer, registry));
    ADAMOE_TRY(describe(o));
    ADAMOE_TRY(run_library(flags));
    const adamoe_status status = adamoe_bench_layer_status(layer);
    /* Who asks for everything is told what cannot run here; who asks for a kernel wanted that one. */
    return status.code == ADAMOE_NOT_SUPPORTED && o->kernels == 0 ? adamoe_ok() : status;
}

static adamoe_status run(const bench_options *o, library_flags *flags)
{
    const adamoe_common_options *common = &o->common;
    adamoe_registry *registry = NULL;
    adamoe_bench_layer *layer = NULL;
    const adamoe_bench_options options = {.preset = o->preset,
                                          .seed = common->seed,
                                          .threads = common->threads != 0 ? common->threads
                                                                          : adamoe_available_processors(),
                                          .hot = o->hot};
    ADAMOE_TRY(adamoe_registry_create(&registry));
    adamoe_status status =
        common->plugin == NULL ? adamoe_ok() : adamoe_registry_load(registry, common->plugin);
    if (status.code == ADAMOE_OK) {
        status = adamoe_bench_layer_create(&options, &layer);
    }
    if (status.code == ADAMOE_OK) {
        status = run_layer(o, registry, layer, flags);
        adamoe_bench_layer_free(layer);
    }
    adamoe_registry_free(registry);
    return status;
}

int adamoe_verb_bench(int count, char **arguments)
{
    bench_options options = {.common = {.seed = 1},
                             .preset = &adamoe_presets[0],
                             .tokens = {1, 16, 64, 512},
                             .token_counts = 4,
                             .pattern = ADAMOE_PATTERN_BALANCED};
    library_flags flags;
    adamoe_status status = split_flags(&count, arguments, &flags);
    if (status.code == ADAMOE_OK) {
        adamoe_parse(&bench_argp, count, arguments, &options);
        apply_json(&options, &flags);
        status = run(&options, &flags);
    }
    free(flags.argument);
    return adamoe_finish("bench", status);
}
