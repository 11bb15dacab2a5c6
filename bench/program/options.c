/*
 * Options that mean the same for every verb, how a verb ends, and reading numbers from the command line.
 */
#include "program/options.h"
#include "mpi/launch.h"
#include "remote/remote.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

adamoe_status adamoe_flush_output(void)
{
    const bool failed_before = ferror(stdout) != 0;
    if (fflush(stdout) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "standard output: write: %s", strerror(errno));
    }
    return failed_before ? adamoe_error(ADAMOE_ENVIRONMENT, "standard output: write: it failed")
                         : adamoe_ok();
}

int adamoe_finish(const char *verb, adamoe_status status)
{
    if (status.code == ADAMOE_OK) {
        status = adamoe_flush_output();
    }
    if (status.code != ADAMOE_OK) {
        fprintf(stderr, "adamoe %s: %s\n", verb, status.message);
    }
    return (int)status.code;
}

int adamoe_finish_early(const char *verb, adamoe_status status)
{
    char name[ADAMOE_LAUNCH_NAME];
    if (status.code == ADAMOE_OK) {
        return adamoe_finish(verb, status);
    }
    adamoe_launch_let_first_speak();
    adamoe_launch_name(name);
    return adamoe_finish(verb, adamoe_error(status.code, "%s%.480s", name, status.message));
}

/* argp ends the program itself after --help, with 0 even where the text could not be written. Of several ranks the first
 * prints; what the others would say of their options is kept, for one that has an error of its own. */
static struct {
    bool active;
    FILE *out, *err; /* where a rank other than 0 prints meanwhile: nowhere, and to `text`; NULL: as always */
    FILE *real_err;
    char *text;
    size_t size;
} parsing;

/* Where argp ends a rank other than 0. A text that all would print, as --help, has no error in it. */
static void say_own_error(void)
{
    char name[ADAMOE_LAUNCH_NAME];
    (void)fflush(parsing.err);
    if (parsing.size > 0) {
        adamoe_launch_let_first_speak();
        adamoe_launch_name(name);
        fprintf(parsing.real_err, "%s%s", name, parsing.text);
    }
}

static void finish_help(void)
{
    if (parsing.active && parsing.err != NULL) {
        say_own_error();
    }
    const adamoe_status status = parsing.active ? adamoe_flush_output() : adamoe_ok();
    if (status.code != ADAMOE_OK) {
        fprintf(stderr, "adamoe: %s\n", status.message);
        _exit((int)status.code);
    }
}

static void begin_parsing(void)
{
    parsing.active = true;
    if (adamoe_launch_of_process().rank > 0) {
        parsing.out = fopen("/dev/null", "we");
        parsing.err = parsing.out == NULL ? NULL : open_memstream(&parsing.text, &parsing.size);
    }
}

static void end_parsing(void)
{
    if (parsing.out != NULL) {
        (void)fclose(parsing.out);
    }
    if (parsing.err != NULL) {
        (void)fclose(parsing.err);
        free(parsing.text);
    }
    parsing.out = parsing.err = NULL;
    parsing.active = false;
}

void adamoe_parse(const struct argp *argp, int count, char **arguments, void *input)
{
    FILE *const out = stdout, *const err = stderr;
    begin_parsing();
    parsing.real_err = err;
    if (parsing.err != NULL) {
        stdout = parsing.out;
        stderr = parsing.err;
    }
    (void)atexit(finish_help);
    /* argp names the program after its first argument. */
    char name[64];
    (void)snprintf(name, sizeof name, "adamoe %s", arguments[0]);
    char *const verb = arguments[0];
    arguments[0] = name;
    (void)argp_parse(argp, count, arguments, 0, NULL, input); /* ends the program on an error */
    arguments[0] = verb;
    stdout = out;
    stderr = err;
    end_parsing();
}

uint64_t adamoe_parse_count(struct argp_state *state, const char *option, const char *text, uint64_t low,
                            uint64_t high)
{
    errno = 0;
    const unsigned long long value = strtoull(text, NULL, 10);
    const bool digits_only = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
    if (!digits_only || errno != 0 || value < low || value > high) {
        argp_error(state, "%s: `%s' is not a whole number from %llu to %llu", option, text,
                   (unsigned long long)low, (unsigned long long)high);
    }
    return value;
}

double adamoe_parse_number(struct argp_state *state, const char *option, const char *text)
{
    char *end = NULL;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) {
        argp_error(state, "%s: `%s' is not a number", option, text);
    }
    return value;
}

size_t adamoe_parse_choice(struct argp_state *state, const char *option, const char *text,
                           const char *const *names, size_t count)
{
    char all[512] = "";
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
        const size_t used = strlen(all);
        (void)snprintf(all + used, sizeof all - used, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    argp_error(state, "%s: `%s' is not one of: %s", option, text, all);
    return 0;
}

enum {
    OPTION_KERNEL = 0x100,
    OPTION_PLUGIN,
    OPTION_COMMAND,
    OPTION_THREADS,
    OPTION_NUMA,
    OPTION_TOPOLOGY,
    OPTION_SEED,
    OPTION_BASELINE_K,
    OPTION_NULL_EXPERTS,
    OPTION_VISIBLE_KEYS,
};

static const struct argp_option kernel_option[] = {
    {0, 0, 0, 0, "What computes:", 10},
    {"kernel", OPTION_KERNEL, "NAME", 0, "A kernel that `adamoe info' lists", 10},
    {0},
};

static const struct argp_option machine_options[] = {
    {0, 0, 0, 0, 0, 10},
    {"plugin", OPTION_PLUGIN, "FILE.so", 0, "Load kernels from a shared object first", 10},
    {"command", OPTION_COMMAND, "'PROGRAM ...'", 0, ADAMOE_COMMAND_HELP, 10},
    {"threads", OPTION_THREADS, "N", 0, "Threads (default: all processors)", 10},
    {"numa", OPTION_NUMA, "POLICY", 0,
     "Where weights live: local (default), interleave, experts (each on one node) or split (a part of each "
     "on "
     "every node)",
     10},
    {"numa-topology", OPTION_TOPOLOGY, "NODES", 0,
     "NUMA nodes in place of the machine's: lists of processors, as 0-3:4-7 or 0:0:1:1", 10},
    {"seed", OPTION_SEED, "N", 0, "Seed of everything random (default: 1)", 10},
    {0},
};

void adamoe_add_command(struct argp_state *state, const char *command, adamoe_common_options *options)
{
    if (options->commands == ADAMOE_MOST_COMMANDS) {
        argp_error(state, "--command: more than %d", ADAMOE_MOST_COMMANDS);
    }
    options->command[options->commands++] = command;
}

static error_t parse_machine(int key, char *value, struct argp_state *state)
{
    adamoe_common_options *options = state->input;
    switch (key) {
    case OPTION_PLUGIN:
        if (options->plugin != NULL) {
            argp_error(state, "--plugin: only one can be loaded");
        }
        options->plugin = value;
        return 0;
    case OPTION_COMMAND:
        adamoe_add_command(state, value, options);
        return 0;
    case OPTION_THREADS:
        options->threads = (uint32_t)adamoe_parse_count(state, "--threads", value, 1, 4096);
        return 0;
    case OPTION_NUMA:
        options->numa =
            (adamoe_numa_policy)adamoe_parse_choice(state, "--numa", value, adamoe_numa_policy_names, 4);
        return 0;
    case OPTION_TOPOLOGY:
        options->topology = value;
        return 0;
    case OPTION_SEED:
        options->seed = adamoe_parse_count(state, "--seed", value, 0, UINT64_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

adamoe_machine_options adamoe_options_for_machine(const adamoe_common_options *options)
{
    return (adamoe_machine_options){
        .threads = options->threads, .policy = options->numa, .topology = options->topology};
}

const struct argp adamoe_machine_argp = {.options = machine_options, .parser = parse_machine};

static error_t parse_common(int key, char *value, struct argp_state *state)
{
    adamoe_common_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        return 0;
    case OPTION_KERNEL:
        options->kernel = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child machine_child[] = {{&adamoe_machine_argp, 0, 0, 0}, {0}};

const struct argp adamoe_common_argp = {
    .options = kernel_option, .parser = parse_common, .children = machine_child};

adamoe_status adamoe_load_kernels(const adamoe_common_options *options, adamoe_registry *registry)
{
    if (options->plugin != NULL) {
        ADAMOE_TRY(adamoe_registry_load(registry, options->plugin));
    }
    for (size_t i = 0; i < options->commands; ++i) {
        ADAMOE_TRY(adamoe_registry_run(registry, options->command[i], ADAMOE_REMOTE_PATIENCE));
    }
    return adamoe_ok();
}

static adamoe_status find_kernel(const adamoe_common_options *options, adamoe_registry *registry,
                                 const adamoe_kernel **kernel)
{
    ADAMOE_TRY(adamoe_load_kernels(options, registry));
    if (options->kernel == NULL) {
        *kernel = adamoe_registry_default(registry);
        return adamoe_ok();
    }
    *kernel = adamoe_registry_find(registry, options->kernel);
    if (*kernel == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--kernel: %s: no such kernel; `adamoe info' lists them",
                            options->kernel);
    }
    const char *why_not = "";
    if (!(*kernel)->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "--kernel: %s: cannot run here: %s", options->kernel,
                            why_not);
    }
    return adamoe_ok();
}

adamoe_status adamoe_choose_kernel(const adamoe_common_options *options, adamoe_registry **registry,
                                   const adamoe_kernel **kernel)
{
    ADAMOE_TRY(adamoe_registry_create(registry));
    const adamoe_status status = find_kernel(options, *registry, kernel);
    if (status.code != ADAMOE_OK) {
        adamoe_registry_free(*registry);
        *registry = NULL;
    }
    return status;
}

adamoe_kernel adamoe_with_dense_product(const adamoe_registry *registry, const adamoe_kernel *kernel,
                                        const char **from)
{
    adamoe_kernel whole = *kernel;
    *from = NULL;
    if (kernel->multiply == NULL) {
        const adamoe_kernel *other = adamoe_registry_default(registry);
        *from = other->name;
        whole.prepare_matrix = other->prepare_matrix;
        whole.release_matrix = other->release_matrix;
        whole.matrix_work_bytes = other->matrix_work_bytes;
        whole.multiply = other->multiply;
    }
    return whole;
}

/* ------------------------------------------------------------------------------------------------- counting */

/* Up to here every whole number is a double. */
#define MOST_VISIBLE_KEYS 0x1p53

const adamoe_count_options adamoe_count_defaults = {.visible_keys = 150.0};

static const struct argp_option count_options[] = {
    {0, 0, 0, 0, "What is counted:", 0},
    {"baseline-k", OPTION_BASELINE_K, "K", 0,
     "Top-k0 of the baseline without null experts (default: the preset's; 2, or 1 of 1 expert)", 0},
    {"null-experts", OPTION_NULL_EXPERTS, "M", 0, "Null experts (default: as preset or config say)", 0},
    {"visible-keys", OPTION_VISIBLE_KEYS, "N", 0,
     "Mean keys that a query of a whole model sees (default: 150)", 0},
    {0},
};

static error_t parse_count(int key, char *value, struct argp_state *state)
{
    adamoe_count_options *o = state->input;
    switch (key) {
    case OPTION_BASELINE_K:
        o->baseline_k = (size_t)adamoe_parse_count(state, "--baseline-k", value, 1, 1u << 20);
        return 0;
    case OPTION_NULL_EXPERTS:
        o->null_experts = (size_t)adamoe_parse_count(state, "--null-experts", value, 0, 1u << 20);
        o->has_null_experts = true;
        return 0;
    case OPTION_VISIBLE_KEYS:
        o->visible_keys = adamoe_parse_number(state, "--visible-keys", value);
        if (o->visible_keys < 0.0) {
            argp_error(state, "--visible-keys: `%s' is negative", value);
        }
        if (o->visible_keys > MOST_VISIBLE_KEYS) {
            argp_error(state, "--visible-keys: `%s' is above 2^53", value);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp adamoe_count_argp = {.options = count_options, .parser = parse_count};
