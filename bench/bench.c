/*
 * adamoe bench: time and share of the machine of one layer, by Google Benchmark.
 */
#include "bench/flags.h"
#include "bench/layer.h"
#include "bench/routed.h"
#include "bench/saved.h"
#include "bench/table.h"
#include "bench/train.h"
#include "program/environment.h"
#include "gbench/gbench.h"
#include "program/options.h"
#include "routers/router_list.h"
#include "verbs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_PRESET = 1,
    OPTION_KERNEL,
    OPTION_TOKENS,
    OPTION_ROUTING,
    OPTION_THREADS,
    OPTION_HOT,
    OPTION_STAGES,
    OPTION_SAVED,
    OPTION_TRAIN,
    OPTION_ROUTER,
    OPTION_PEERS,
    OPTION_JSON,
};

/* Kernels, numbers of tokens and numbers of threads that one run can take. */
#define MOST 32

/* Tokens of a trace of --saved, at least: each call has as many of them as --tokens says. */
#define SAVED_TOKENS 96

typedef struct counts {
    size_t value[MOST];
    size_t count;
} counts;

typedef struct bench_options {
    adamoe_common_options common;
    adamoe_bench_options layer;
    const char *kernel[MOST];
    size_t kernels;
    counts tokens, threads; /* no threads: all processors */
    const char *json;
    bool routing_given, saved, train;
    const adamoe_router *router[MOST];
    const char *peers_file;
    adamoe_peers peers;
    size_t own;     /* kernels of the registry that are not of peers */
    size_t routers; /* 0: routing is drawn or recorded, not a router's */
} bench_options;

static const struct argp_option options_list[] = {
    {"preset", OPTION_PRESET, "NAME", 0,
     "tiny (default), olmoe, mixtral-8x7b, qwen3-30b-a3b, longcat-like, qwen1.5-moe-a2.7b, "
     "granite-3.0-1b-a400m, mistral-7b, qwen2.5-7b or qwen3-8b",
     0},
    {"tokens", OPTION_TOKENS, "T,...", 0, "Numbers of tokens (default: 1,4,16,64,256,512)", 0},
    {"routing", OPTION_ROUTING, "KIND", 0,
     "Who gets the tokens: balanced (default), random, skewed, or recorded:FILE, which eval --record-routing "
     "wrote",
     0},
    {"hot", OPTION_HOT, 0, 0, "Leave the weights in the caches", 0},
    {"stages", OPTION_STAGES, 0, 0, "Time route, plan, up, down and combine as well", 0},
    {"saved", OPTION_SAVED, 0, 0,
     "Compare the layer with its null experts and without them, on the same tokens: FLOPs, bytes and time "
     "saved. "
     "For presets with null experts; kernels one at a time (default: the fastest float32 one), routing "
     "random, "
     "balanced or skewed (default: random)",
     0},
    {"train", OPTION_TRAIN, 0, 0,
     "Time forward and backward of the experts as training computes them, in float32: routing balanced, "
     "random or skewed",
     0},
    {"router", OPTION_ROUTER, "NAME,...", 0,
     "Route the same random tokens by each of these routers (`adamoe routers'), with as many true experts for a "
     "token as the preset has; time of the layer, of the routing and its share. Kernels one at a time (default: "
     "the fastest float32 one); weights as they lie, without a roofline",
     0},
    {"json", OPTION_JSON, "FILE", 0, "The same as --benchmark_out=FILE; `-' is standard output", 0},
    {"benchmark_...", 0, 0, OPTION_DOC,
     "Every flag of Google Benchmark, as --benchmark_repetitions=21 (default: 11) or "
     "--benchmark_min_time=0.5, "
     "seconds of one repetition (default: 0.05). With --benchmark_format it prints its own tables",
     0},
    {0, 0, 0, 0, "What computes:", 10},
    {"kernel", OPTION_KERNEL, "NAME", 0,
     "A kernel that `adamoe info' lists; may be given several times, and the first one is what speedups are "
     "over (default: all, but the reference for the preset tiny alone)",
     10},
    {"peers", OPTION_PEERS, "FILE", 0,
     "Time other engines beside ours, in turn: FILE has a line `NAME COMMAND' for each, a kernel and the process that "
     "brings it (--command); the table sets them against the best of ours",
     10},
    {"threads", OPTION_THREADS, "N,...", OPTION_HIDDEN, 0,
     10}, /* in place of the common one, which is shown */
    {0},
};

/* Takes `1,16,64`. */
static void parse_counts(struct argp_state *state, const char *option, const char *text, uint64_t most,
                         counts *out)
{
    char *copy = strdup(text), *rest = copy;
    if (copy == NULL) {
        argp_failure(state, ADAMOE_ENVIRONMENT, 0, "out of memory");
    }
    out->count = 0;
    for (const char *one = strsep(&rest, ","); one != NULL; one = strsep(&rest, ",")) {
        if (out->count == MOST) {
            argp_error(state, "%s: more than %d numbers", option, MOST);
        }
        const size_t value = (size_t)adamoe_parse_count(state, option, one, 1, most);
        for (size_t i = 0; i < out->count; ++i) {
            if (out->value[i] == value) {
                argp_error(state, "%s: %zu is given twice", option, value);
            }
        }
        out->value[out->count++] = value;
    }
    free(copy);
}

static void parse_routing(struct argp_state *state, const char *text, adamoe_bench_options *out)
{
    static const char *const names[] = {"balanced", "random", "skewed", "recorded:FILE"};
    static const adamoe_pattern patterns[] = {ADAMOE_PATTERN_BALANCED, ADAMOE_PATTERN_RANDOM,
                                              ADAMOE_PATTERN_SKEWED, ADAMOE_PATTERN_BALANCED};
    static const char recorded[] = "recorded:";
    if (strncmp(text, recorded, sizeof recorded - 1) == 0 && text[sizeof recorded - 1] != '\0') {
        out->recorded = text + sizeof recorded - 1;
    } else {
        out->recorded = NULL;
        const size_t i = adamoe_parse_choice(state, "--routing", text, names, 4);
        if (i == 3) {
            argp_error(state, "--routing: recorded: FILE is missing");
        }
        out->pattern = patterns[i];
    }
}

static void add_kernel(struct argp_state *state, const char *name, bench_options *o)
{
    if (o->kernels == MOST) {
        argp_error(state, "--kernel: more than %d", MOST);
    }
    for (size_t i = 0; i < o->kernels; ++i) {
        if (strcmp(o->kernel[i], name) == 0) {
            argp_error(state, "--kernel: %s is given twice", name);
        }
    }
    o->kernel[o->kernels++] = name;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    bench_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_PRESET:
        o->layer.preset = &adamoe_presets[adamoe_parse_choice(state, "--preset", value, adamoe_preset_names,
                                                              ADAMOE_PRESETS)];
        return 0;
    case OPTION_KERNEL:
        add_kernel(state, value, o);
        return 0;
    case OPTION_TOKENS:
        parse_counts(state, "--tokens", value, 1u << 20, &o->tokens);
        return 0;
    case OPTION_THREADS:
        parse_counts(state, "--threads", value, 4096, &o->threads);
        return 0;
    case OPTION_ROUTING:
        parse_routing(state, value, &o->layer);
        o->routing_given = true;
        return 0;
    case OPTION_SAVED:
        o->saved = true;
        return 0;
    case OPTION_TRAIN:
        o->train = true;
        return 0;
    case OPTION_ROUTER:
        o->routers = adamoe_parse_routers(state, "--router", value, o->router, MOST);
        return 0;
    case OPTION_HOT:
        o->layer.timing.hot = true;
        return 0;
    case OPTION_STAGES:
        o->layer.timing.stages = true;
        return 0;
    case OPTION_PEERS:
        if (o->peers_file != NULL) {
            argp_error(state, "--peers: only one file can be read");
        }
        o->peers_file = value;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_END:
        if (o->saved && (o->layer.timing.hot || o->layer.timing.stages || o->layer.recorded != NULL)) {
            argp_error(state, "--saved goes without --hot, --stages and recorded routing");
        }
        if (o->train && (o->saved || o->layer.timing.hot || o->layer.timing.stages ||
                         o->layer.recorded != NULL || o->kernels > 0 || o->common.plugin != NULL ||
                         o->common.commands > 0 || o->common.numa != ADAMOE_NUMA_LOCAL)) {
            argp_error(state, "--train goes without --saved, --hot, --stages, recorded routing, --kernel, "
                              "--plugin, --command and --numa");
        }
        if (o->peers_file != NULL && (o->saved || o->train || o->routers > 0)) {
            argp_error(state, "--peers goes without --saved, --train and --router");
        }
        if (o->routers > 0 &&
            (o->saved || o->train || o->routing_given || o->layer.timing.hot || o->layer.timing.stages)) {
            argp_error(state, "--router goes without --saved, --train, --routing, --hot and --stages");
        }
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
        "Times the experts of one layer with random weights. Kernels take turns within each repetition; "
        "times are "
        "medians with a 95 % bootstrap interval, speedups are over the first kernel, pair by pair. Roofline "
        "is the "
        "least time that arithmetic and memory allow, over the time: max(FLOPs / P, bytes of touched experts "
        "/ B), "
        "with P the rate of the fastest instruction path for these operands and B that of the fastest way to "
        "read, both measured just before and after each repetition: the share is the median of each "
        "repetition's own, with its 95 % interval; `of best' is over the best rates of the run. `no overlap' "
        "is the sum of the maximum over the experts. A share above 1.02 is a "
        "measurement error and is called so; where noise does not explain it the run fails (exit code 1).\n\n"
        "Weights are cold: calls go round through more of them than twice the last-level cache holds; with "
        "--hot the "
        "roofline has the rates of the caches that hold them in place of B. Each kernel is checked on the very call that is timed first; a wrong "
        "result is "
        "exit code 1, and is not timed. --threads takes several numbers here, as 1,2."
        "\vExample:\n  adamoe bench\n  adamoe bench --preset olmoe --tokens 1,64 --stages --json "
        "olmoe.json\n  adamoe bench --tokens 64 --router adamoe,top_p,null_copies\n",
    .children = children,
};

/* ----------------------------------------------------------------------------------------------- the verb */

/* The naive kernel takes minutes for a layer of a real model. */
static bool is_too_slow(const bench_options *o, const adamoe_kernel *kernel)
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
static adamoe_status list_kernels(const bench_options *o, const adamoe_registry *registry,
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

static adamoe_status add_groups(const bench_options *o, const adamoe_kernel *const *kernels, size_t count,
                                adamoe_bench_layer *layer)
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

static adamoe_status describe(const bench_options *o, const adamoe_kernel *const *kernels, size_t count)
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

static adamoe_status run_groups(const bench_options *o, const adamoe_kernel *const *kernels, size_t count,
                                adamoe_bench_layer *layer, adamoe_library_flags *flags)
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

static adamoe_status run_layer(bench_options *o, const adamoe_kernel *const *kernels, size_t count,
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
static adamoe_status run_saved(const bench_options *o, const adamoe_kernel *const *kernels, size_t count,
                               const adamoe_library_flags *flags)
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

static adamoe_status run_routed(const bench_options *o, const adamoe_kernel *const *kernels, size_t count,
                                adamoe_library_flags *flags)
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

static adamoe_status run_train(const bench_options *o, const adamoe_library_flags *flags)
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

static adamoe_status run_registry(bench_options *o, const adamoe_registry *registry,
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
static adamoe_status count_threads(const adamoe_machine_options *options, counts *out)
{
    adamoe_machine machine;
    ADAMOE_TRY(adamoe_machine_open(options, &machine));
    *out = (counts){{machine.team->threads}, 1};
    adamoe_machine_close(&machine);
    return adamoe_ok();
}

static adamoe_status run(bench_options *o, adamoe_library_flags *flags)
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
static adamoe_status set_files(const bench_options *o, adamoe_library_flags *flags)
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

int adamoe_verb_bench(int count, char **arguments)
{
    bench_options options = {.common = {.seed = 1},
                             .layer = {.preset = &adamoe_presets[0], .pattern = ADAMOE_PATTERN_BALANCED},
                             .tokens = {{1, 4, 16, 64, 256, 512}, 6}};
    adamoe_library_flags flags;
    adamoe_status status = adamoe_split_flags(&count, arguments, &flags);
    if (status.code == ADAMOE_OK) {
        adamoe_parse(&bench_argp, count, arguments, &options);
        status = set_files(&options, &flags);
    }
    if (status.code == ADAMOE_OK && options.peers_file != NULL) {
        status = adamoe_peers_read(options.peers_file, &options.peers);
    }
    if (status.code == ADAMOE_OK) {
        status = run(&options, &flags);
    }
    adamoe_peers_free(&options.peers);
    free(flags.argument);
    return adamoe_finish("bench", status);
}
