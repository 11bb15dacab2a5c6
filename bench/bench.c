/*
 * adamoe bench: time and share of the machine of one layer, by Google Benchmark; over ranks, by calls that all begin
 * together.
 */
#include "bench/flags.h"
#include "bench/layer.h"
#include "bench/options.h"
#include "bench/over_ranks.h"
#include "bench/routed.h"
#include "bench/saved.h"
#include "bench/table.h"
#include "bench/train.h"
#include "layers/recorded_routing.h"
#include "program/environment.h"
#include "program/result_files.h"
#include "gbench/gbench.h"
#include "ranks/agreement.h"
#include "ranks/assignment.h"
#include "verbs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of a trace of --saved, at least: each call has as many of them as --tokens says. */
#define SAVED_TOKENS 96

/* The naive kernel takes minutes for a layer of a real model. */
static bool is_too_slow(const adamoe_bench_command *o, const adamoe_kernel *kernel)
{
    return o->layer.preset != &adamoe_presets[0] && strcmp(kernel->name, "reference") == 0;
}

static bool is_listed(const adamoe_kernel *const *list, size_t count, const adamoe_kernel *kernel)
{
    for (size_t i = 0; i < count; ++i) {
        if (list[i] == kernel) {
            return true;
        }
    }
    return false;
}

/* Those that were asked for, in that order, or all; the peers behind them. Errors: a name that there is not. */
static adamoe_status list_kernels(const adamoe_bench_command *o, const adamoe_registry *registry,
                                  const adamoe_kernel **list, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < o->kernels; ++i) {
        list[(*count)++] = adamoe_registry_find(registry, o->kernel[i]);
        if (list[i] == NULL) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--kernel: %s: no such kernel; `adamoe info' lists them",
                                o->kernel[i]);
        }
    }
    for (size_t i = 0; i < o->own && o->kernels == 0; ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        if (!is_too_slow(o, kernel)) {
            list[(*count)++] = kernel;
        }
    }
    for (size_t i = 0; i < o->peers.count; ++i) {
        if (!is_listed(list, *count, o->peers.peer[i].kernel)) {
            list[(*count)++] = o->peers.peer[i].kernel;
        }
    }
    return adamoe_ok();
}

static adamoe_status add_groups(const adamoe_bench_command *o, const adamoe_kernel *const *kernels,
                                size_t count, adamoe_bench_layer *layer)
{
    for (size_t n = 0; n < o->threads.count; ++n) {
        for (size_t t = 0; t < o->tokens.count; ++t) {
            ADAMOE_TRY(adamoe_bench_layer_add(layer, kernels, count, o->tokens.value[t],
                                              (uint32_t)o->threads.value[n]));
        }
    }
    return adamoe_ok();
}

/* What each kernel multiplies, which decides what its peak is taken from. */
static bool describe_operands(const adamoe_kernel *const *kernels, size_t count)
{
    bool described = true;
    for (size_t i = 0; i < count && described; ++i) {
        char key[128], operands[64];
        (void)snprintf(key, sizeof key, "adamoe_operands_%.100s", kernels[i]->name);
        described = gbench_describe(key, adamoe_operands_text(kernels[i], operands, sizeof operands));
    }
    return described;
}

/* Who the peers are. */
static bool describe_peers(const adamoe_peers *peers)
{
    bool described = true;
    for (size_t i = 0; i < peers->count && described; ++i) {
        char key[128];
        (void)snprintf(key, sizeof key, "adamoe_peer_%.100s", peers->peer[i].name);
        described = gbench_describe(key, peers->peer[i].version);
    }
    return described;
}

static adamoe_status describe(const adamoe_bench_command *o, const adamoe_kernel *const *kernels,
                              size_t count)
{
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, o->common.seed);
    const char *topology = o->common.topology;
    return gbench_describe("adamoe_version", ADAMOE_VERSION) && gbench_describe("adamoe_seed", seed) &&
                   gbench_describe("adamoe_numa", adamoe_numa_policy_names[o->common.numa]) &&
                   (topology == NULL || gbench_describe("adamoe_numa_topology", topology)) &&
                   describe_operands(kernels, count) && describe_peers(&o->peers)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
}

static adamoe_status run_groups(const adamoe_bench_command *o, const adamoe_kernel *const *kernels,
                                size_t count, adamoe_bench_layer *layer, adamoe_library_flags *flags)
{
    adamoe_load_mark before;
    adamoe_mark_load(&before);
    ADAMOE_TRY(add_groups(o, kernels, count, layer));
    ADAMOE_TRY(describe(o, kernels, count));
    ADAMOE_TRY(adamoe_run_library(flags));
    if (!flags->shows) {
        adamoe_print_disturbance(&before);
    }
    const adamoe_status status = adamoe_bench_layer_status(layer);
    /* Who asks for everything is told what cannot run here; who asks for a kernel wanted that one. */
    return status.code == ADAMOE_NOT_SUPPORTED && o->kernels == 0 ? adamoe_ok() : status;
}

static void show(void *context, const adamoe_bench_view *view)
{
    (void)context;
    adamoe_bench_table(view);
}

static adamoe_status run_layer(adamoe_bench_command *o, const adamoe_kernel *const *kernels, size_t count,
                               adamoe_library_flags *flags)
{
    adamoe_bench_layer *layer = NULL;
    o->layer.shown = flags->shows ? NULL : show;
    ADAMOE_TRY(adamoe_bench_layer_create(&o->layer, &layer));
    const adamoe_status status = run_groups(o, kernels, count, layer, flags);
    adamoe_bench_layer_free(layer);
    return status;
}

/* How long and how often are the only flags of the library that mean something without it. */
static adamoe_status run_saved(const adamoe_bench_command *o, const adamoe_kernel *const *kernels,
                               size_t count, const adamoe_library_flags *flags)
{
    const adamoe_bench_saved saved = {
        .preset = o->layer.preset,
        .measure = {.pattern = o->routing_given ? o->layer.pattern : ADAMOE_PATTERN_RANDOM,
                    .seed = o->common.seed,
                    .repetitions = flags->repetitions,
                    .least_seconds = flags->least_seconds,
                    .least_tokens = SAVED_TOKENS},
        .kernel = o->kernels > 0 ? kernels : &o->layer.fallback,
        .kernels = o->kernels > 0 ? count : 1,
        .tokens = o->tokens.value,
        .token_counts = o->tokens.count,
        .threads = o->threads.value,
        .thread_counts = o->threads.count,
        .machine = o->layer.machine,
        .fallback = o->layer.fallback,
        .json = o->json,
        .common = &o->common};
    return flags->other != NULL
               ? adamoe_error(ADAMOE_BAD_INPUT, "--saved: %s: not without the library", flags->other)
               : adamoe_bench_saved_run(&saved);
}

static adamoe_status run_routed(const adamoe_bench_command *o, const adamoe_kernel *const *kernels,
                                size_t count, adamoe_library_flags *flags)
{
    const adamoe_bench_routed routed = {.preset = o->layer.preset,
                                        .router = o->router,
                                        .routers = o->routers,
                                        .kernel = o->kernels > 0 ? kernels : &o->layer.fallback,
                                        .kernels = o->kernels > 0 ? count : 1,
                                        .tokens = o->tokens.value,
                                        .token_counts = o->tokens.count,
                                        .threads = o->threads.value,
                                        .thread_counts = o->threads.count,
                                        .seed = o->common.seed,
                                        .repetitions = flags->repetitions,
                                        .machine = o->layer.machine,
                                        .prints = !flags->shows};
    adamoe_load_mark before;
    adamoe_mark_load(&before);
    ADAMOE_TRY(describe(o, routed.kernel, routed.kernels));
    const adamoe_status status = adamoe_bench_routed_run(&routed, flags);
    if (!flags->shows) {
        adamoe_print_disturbance(&before);
    }
    return status;
}

static adamoe_status run_train(const adamoe_bench_command *o, const adamoe_library_flags *flags)
{
    const adamoe_bench_train train = {.preset = o->layer.preset,
                                      .pattern = o->layer.pattern,
                                      .seed = o->common.seed,
                                      .repetitions = flags->repetitions,
                                      .least_seconds = flags->least_seconds,
                                      .tokens = o->tokens.value,
                                      .token_counts = o->tokens.count,
                                      .threads = o->threads.value,
                                      .thread_counts = o->threads.count,
                                      .machine = o->layer.machine,
                                      .json = o->json};
    return flags->other != NULL
               ? adamoe_error(ADAMOE_BAD_INPUT, "--train: %s: not without the library", flags->other)
               : adamoe_bench_train_run(&train);
}

static adamoe_status run_registry(adamoe_bench_command *o, const adamoe_registry *registry,
                                  adamoe_library_flags *flags)
{
    size_t count = 0;
    const size_t room = o->kernels > 0 ? o->kernels : o->own;
    const adamoe_kernel **kernels = calloc(room + o->peers.count + 1, sizeof *kernels);
    if (kernels == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    }
    o->layer.timing.seed = o->common.seed;
    o->layer.timing.repetitions = flags->repetitions;
    o->layer.timing.least_seconds = flags->least_seconds;
    o->layer.fallback = adamoe_registry_default(registry);
    o->layer.peers = o->peers_file == NULL ? NULL : &o->peers;
    adamoe_status status = list_kernels(o, registry, kernels, &count);
    if (status.code == ADAMOE_OK) {
        status = o->routers > 0 ? run_routed(o, kernels, count, flags)
                 : o->saved     ? run_saved(o, kernels, count, flags)
                                : run_layer(o, kernels, count, flags);
    }
    free(kernels);
    return status;
}

/* All threads of the machine, which knows how many that are when it is open. */
static adamoe_status count_threads(const adamoe_machine_options *options, adamoe_bench_counts *out)
{
    adamoe_machine machine;
    ADAMOE_TRY(adamoe_machine_open(options, &machine));
    *out = (adamoe_bench_counts){{machine.team->threads}, 1};
    adamoe_machine_close(&machine);
    return adamoe_ok();
}

static adamoe_status run(adamoe_bench_command *o, adamoe_library_flags *flags)
{
    adamoe_registry *registry = NULL;
    o->layer.machine = adamoe_options_for_machine(&o->common);
    if (o->threads.count == 0) {
        ADAMOE_TRY(count_threads(&o->layer.machine, &o->threads));
    }
    if (o->train) {
        return run_train(o, flags);
    }
    ADAMOE_TRY(adamoe_registry_create(&registry));
    adamoe_status status = adamoe_load_kernels(&o->common, registry);
    o->own = adamoe_registry_count(registry);
    if (status.code == ADAMOE_OK && o->peers_file != NULL) {
        status = adamoe_peers_load(&o->peers, registry);
    }
    if (status.code == ADAMOE_OK) {
        status = run_registry(o, registry, flags);
    }
    adamoe_registry_free(registry);
    return status;
}

/* Where the report goes, and what it must not replace. */
static adamoe_status set_files(const adamoe_bench_command *o, adamoe_library_flags *flags)
{
    flags->recorded = o->layer.recorded;
    flags->kernels = &o->common;
    if (o->json == NULL || o->saved || o->train) {
        return adamoe_ok();
    }
    if (flags->out != NULL && strcmp(o->json, "-") != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--json: %s: --benchmark_out=%s says the same; give one of them", o->json,
                            flags->out);
    }
    adamoe_flags_set_json(flags, o->json);
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- over ranks */

typedef struct over_ranks {
    adamoe_bench_command *command;
    const adamoe_library_flags *flags;
    int count; /* the command line, without the library's flags */
    char **arguments;
    adamoe_ranks *ranks;
    adamoe_registry *registry;
    const adamoe_kernel **kernels;
    size_t count_of_kernels;
    uint32_t *rank_of_expert;
} over_ranks;

/* Of the layer that --routing recorded:FILE would draw from the same recording. */
static adamoe_status place_experts(const adamoe_bench_command *o, uint32_t ranks, uint32_t *rank_of_expert)
{
    const size_t experts = o->layer.preset->mixture.experts;
    const adamoe_rank_subject subject = {o->layer.preset->name, ADAMOE_ANY_LAYERS, experts};
    adamoe_rank_assignment assignment;
    ADAMOE_TRY(adamoe_rank_assignment_create(&o->rank, &subject, ranks, &assignment));
    const size_t layer =
        assignment.layers == 0 ? 0 : adamoe_recorded_layer(assignment.layers, o->common.seed);
    adamoe_rank_assign(&assignment, layer, experts, ranks, rank_of_expert);
    adamoe_rank_assignment_free(&assignment);
    return adamoe_ok();
}

/* A recording that does not fit is refused by a process alone too, where all experts are in one place; and so is a result
 * that would replace it. */
static adamoe_status check_placement(const adamoe_bench_command *o)
{
    const adamoe_result_file file = {"--json", o->json};
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, &o->rank.recording, 1, &o->common));
    uint32_t *rank_of_expert = calloc(o->layer.preset->mixture.experts, sizeof *rank_of_expert);
    const adamoe_status status = rank_of_expert == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "out of memory")
                                                        : place_experts(o, 1, rank_of_expert);
    free(rank_of_expert);
    return status;
}

static adamoe_status prepare_ranks(over_ranks *r)
{
    adamoe_bench_command *o = r->command;
    const adamoe_world *world = adamoe_ranks_world(r->ranks);
    const adamoe_result_file file = {"--json", o->json};
    const char *const inputs[] = {o->layer.recorded, o->rank.recording};
    if (world->rank == 0) {
        ADAMOE_TRY(adamoe_check_result_files(&file, 1, inputs, 2, &o->common));
    }
    r->rank_of_expert = calloc(o->layer.preset->mixture.experts, sizeof *r->rank_of_expert);
    if (r->rank_of_expert == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    }
    ADAMOE_TRY(place_experts(o, world->ranks, r->rank_of_expert));
    ADAMOE_TRY(adamoe_registry_create(&r->registry));
    ADAMOE_TRY(adamoe_load_kernels(&o->common, r->registry));
    o->own = adamoe_registry_count(r->registry);
    o->layer.machine = adamoe_options_for_machine(&o->common);
    o->layer.fallback = adamoe_registry_default(r->registry);
    o->layer.timing.seed = o->common.seed;
    o->layer.timing.repetitions = r->flags->repetitions;
    o->layer.timing.least_seconds = r->flags->least_seconds;
    if (o->threads.count == 0) {
        ADAMOE_TRY(count_threads(&o->layer.machine, &o->threads));
    }
    r->kernels = calloc(o->kernels + o->own + 1, sizeof *r->kernels);
    return r->kernels == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "out of memory")
                              : list_kernels(o, r->registry, r->kernels, &r->count_of_kernels);
}

static adamoe_status list_facts(const over_ranks *r, adamoe_rank_facts *facts)
{
    const adamoe_bench_command *o = r->command;
    ADAMOE_TRY(adamoe_rank_fact_program(facts));
    ADAMOE_TRY(adamoe_rank_fact_options(facts, NULL, r->count, r->arguments));
    adamoe_rank_fact_add(facts, "timing", "%zu repetitions of %g s", r->flags->repetitions,
                         r->flags->least_seconds);
    adamoe_rank_fact_add(facts, "numbers of threads in --threads", "%zu", o->threads.count);
    /* Named ones are among the options; what a machine takes by itself is its own choice. */
    ADAMOE_TRY(adamoe_rank_fact_kernels(facts, &o->common, o->kernels == 0 ? o->layer.fallback : NULL));
    if (o->layer.recorded != NULL) {
        ADAMOE_TRY(adamoe_rank_fact_file(facts, "recorded routing", o->layer.recorded));
    }
    return o->rank.recording == NULL ? adamoe_ok()
                                     : adamoe_rank_fact_file(facts, "recording", o->rank.recording);
}

static adamoe_status run_ranks(over_ranks *r)
{
    adamoe_bench_command *o = r->command;
    const adamoe_world *world = adamoe_ranks_world(r->ranks);
    adamoe_rank_facts facts = {.count = 0};
    adamoe_status status = prepare_ranks(r);
    if (status.code == ADAMOE_OK) {
        status = list_facts(r, &facts);
    }
    ADAMOE_TRY(adamoe_rank_agree(world, status, &facts));
    if (o->saved && !o->routing_given) {
        o->layer.pattern = ADAMOE_PATTERN_RANDOM;
    }
    const bool fallback = o->saved && o->kernels == 0;
    adamoe_bench_over_ranks run = {.world = world,
                                   .rank = &o->rank,
                                   .rank_of_expert = r->rank_of_expert,
                                   .layer = &o->layer,
                                   .kernel = fallback ? &o->layer.fallback : r->kernels,
                                   .kernels = fallback ? 1 : r->count_of_kernels,
                                   .named = o->kernels > 0,
                                   .tokens = o->tokens.value,
                                   .token_counts = o->tokens.count,
                                   .threads = o->threads.value,
                                   .thread_counts = o->threads.count,
                                   .saved = o->saved,
                                   .least_tokens = SAVED_TOKENS,
                                   .json = o->json};
    adamoe_ranks_describe(r->ranks, run.mpi, sizeof run.mpi);
    return adamoe_bench_over_ranks_run(&run);
}

/* Started as several ranks. What all refuse in the same way is refused before MPI is started. */
static int bench_over_ranks(adamoe_bench_command *o, const adamoe_library_flags *flags, int count,
                            char **arguments)
{
    over_ranks r = {.command = o, .flags = flags, .count = count, .arguments = arguments};
    adamoe_status status = flags->other == NULL
                               ? adamoe_bench_suits_ranks(o)
                               : adamoe_error(ADAMOE_BAD_INPUT,
                                              "over ranks not with %s: the library's report is one "
                                              "process's",
                                              flags->other);
    if (status.code == ADAMOE_OK && o->saved) {
        status = adamoe_bench_saved_check(o->layer.preset, flags->repetitions);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_ranks_open(o->rank.patience, &r.ranks);
    }
    if (status.code == ADAMOE_OK) {
        status = run_ranks(&r);
        adamoe_rank_stop("bench", r.ranks, &status);
    }
    free(r.kernels);
    free(r.rank_of_expert);
    adamoe_registry_free(r.registry);
    return adamoe_rank_finish("bench", r.ranks, status);
}

int adamoe_verb_bench(int count, char **arguments)
{
    adamoe_bench_command options = {.json = NULL};
    adamoe_library_flags flags;
    adamoe_status status = adamoe_split_flags(&count, arguments, &flags);
    if (status.code == ADAMOE_OK) {
        options = adamoe_bench_parse(count, arguments);
        if (adamoe_launch_of_process().ranks > 1) {
            const int code = bench_over_ranks(&options, &flags, count, arguments);
            free(flags.argument);
            return code;
        }
        status = set_files(&options, &flags);
    }
    if (status.code == ADAMOE_OK) {
        status = check_placement(&options);
    }
    if (status.code == ADAMOE_OK && options.peers_file != NULL) {
        status = adamoe_peers_read(options.peers_file, &options.peers);
    }
    if (status.code == ADAMOE_OK) {
        status = run(&options, &flags);
    }
    adamoe_peers_free(&options.peers);
    free(flags.argument);
    return adamoe_finish_early("bench", status); /* flags are refused before it is known for how many ranks */
}
