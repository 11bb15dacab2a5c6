/*
 * adamoe VERB ...: finds the verb and runs it.
 */
#include "machine/cpu.h"
#include "machine/last_level_cache.h"
#include "mpi/launch.h"
#include "program/options.h"
#include "verbs.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* What a verb does with times: none, or it shows them beside other results, or it is there for them. */
typedef enum times { NO_TIMES, SHOWS_TIMES, JUDGES_TIMES } times;

typedef struct verb {
    const char *name, *summary; /* summary: NULL for what people do not call */
    int (*run)(int count, char **arguments);
    times times;
    bool over_ranks; /* mpirun may start it */
} verb;

static const verb verbs[] = {
    {"info", "what this machine is, and which kernels run on it", adamoe_verb_info, NO_TIMES, true},
    {"layer", "compute one layer from a file, and compare it with what the file expects", adamoe_verb_layer,
     NO_TIMES, true},
    {"check", "every kernel against the definition, by its own error bound", adamoe_verb_check, NO_TIMES,
     false},
    {"bench", "throughput of one layer, by Google Benchmark", adamoe_verb_bench, JUDGES_TIMES, true},
    {"compare", "what became worse between two results of check, bench, eval or gate", adamoe_verb_compare,
     NO_TIMES, false},
    {"gate", "whether this build is worse than another one, or than a baseline: for CI", adamoe_verb_gate,
     JUDGES_TIMES, false},
    {"worker", NULL, adamoe_verb_worker, JUDGES_TIMES, false},
    {"flops", "FLOPs per token and reductions, from a config and a load", adamoe_verb_flops, NO_TIMES, false},
    {"tokenize", "text to token ids and back", adamoe_verb_tokenize, NO_TIMES, false},
    {"generate", "greedy text from a model: the quickest check of a model", adamoe_verb_generate, NO_TIMES,
     false},
    {"eval", "accuracy, load, FLOPs and time of a model on multiple-choice questions", adamoe_verb_eval,
     SHOWS_TIMES, true},
    {"routers", "every router of the field on the same tokens, side by side", adamoe_verb_routers,
     SHOWS_TIMES, false},
    {"scale", "rows, bytes and time of a layer over many ranks, predicted by a cost model", adamoe_verb_scale,
     SHOWS_TIMES, true},
    {"train", "from scratch, fine-tuning or low-rank adapters, with null experts", adamoe_verb_train,
     SHOWS_TIMES, false},
    {"reproduce", "the main job on what ships: vanilla top-k against AdaMoE, side by side",
     adamoe_verb_reproduce, JUDGES_TIMES, true},
    {"report", "results of the other verbs as one page with pictures", adamoe_verb_report, NO_TIMES, false},
};

static void print_version(FILE *stream)
{
    fprintf(stream, "adamoe %s\n", ADAMOE_VERSION);
}

static void print_help(FILE *stream)
{
    fprintf(stream,
            "Usage: adamoe VERB [OPTION...]\n"
            "Test-and-benchmark harness with reference kernels for token-adaptive Mixture-of-Experts.\n\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
        if (verbs[i].summary != NULL) {
            fprintf(stream, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
        }
    }
    fprintf(stream,
            "\n`adamoe VERB --help` explains a verb, with an example.\n\n"
            "Examples, in the project's folder:\n"
            "  adamoe info\n"
            "  adamoe layer tests/golden/layer/small.safetensors\n"
            "  adamoe check --case tokens:7/routing:skewed --json check.json\n"
            "  adamoe report check.json -o report.html\n\n"
            "Exit codes: 0 done; 1 a difference; 2 bad usage or input; 3 the kernel cannot run on this\n"
            "machine; 4 the environment failed (memory, disk, permission).\n");
}

/* What every rank would print in the same way is rank 0's. */
static int print_once(void (*print)(FILE *stream))
{
    if (adamoe_launch_of_process().rank > 0) {
        return 0;
    }
    print(stdout);
    const adamoe_status status = adamoe_flush_output();
    if (status.code != ADAMOE_OK) {
        fprintf(stderr, "adamoe: %s\n", status.message);
    }
    return (int)status.code;
}

/* Says where this build's times mean nothing; false where the verb has no other purpose. */
static bool may_measure(const verb *v)
{
    if (v->times == NO_TIMES || !adamoe_cpu_emulates_avx512()) {
        return true;
    }
    fprintf(stderr,
            "adamoe %s: this build emulates AVX-512 in software: no time that it measures means anything\n",
            v->name);
    return v->times != JUDGES_TIMES;
}

/* Several processes that do the same would write over each other. */
static int refuse_ranks(const verb *v)
{
    char list[256] = "";
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
        if (verbs[i].over_ranks) {
            const size_t used = strlen(list);
            (void)snprintf(list + used, sizeof list - used, " %s", verbs[i].name);
        }
    }
    return adamoe_finish_early(
        v->name, adamoe_error(ADAMOE_BAD_INPUT,
                              "it was started as %u ranks, and does not run over ranks; these verbs do:%s",
                              adamoe_launch_of_process().ranks, list));
}

static int run_verb(const verb *v, int count, char **arguments)
{
    const bool asks_for_help = count > 1 && strcmp(arguments[1], "--help") == 0;
    if (!v->over_ranks && adamoe_launch_of_process().ranks > 1) {
        return refuse_ranks(v);
    }
    const adamoe_status status = adamoe_last_level_cache_check();
    if (status.code != ADAMOE_OK) {
        return adamoe_finish_early(v->name, status);
    }
    return asks_for_help || may_measure(v) ? v->run(count, arguments) : (int)ADAMOE_NOT_SUPPORTED;
}

static int refuse_verb(const char *name)
{
    char rank[ADAMOE_LAUNCH_NAME];
    adamoe_launch_let_first_speak();
    adamoe_launch_name(rank);
    fprintf(stderr, "adamoe: %s%s: no such verb; `adamoe --help` lists them\n", rank, name);
    return 2;
}

int main(int count, char **arguments)
{
    argp_err_exit_status = 2;
    /* A limit on the size of files is an error of the write that meets it, which leaves nothing half-written. */
    (void)signal(SIGXFSZ, SIG_IGN);
    if (count < 2) {
        adamoe_launch_let_first_speak();
        print_help(stderr);
        return 2;
    }
    const char *name = arguments[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        return print_once(print_help);
    }
    if (strcmp(name, "--version") == 0) {
        return print_once(print_version);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
        if (strcmp(name, verbs[i].name) == 0) {
            return run_verb(&verbs[i], count - 1, arguments + 1);
        }
    }
    return refuse_verb(name);
}
