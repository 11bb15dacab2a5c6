/*
 * The command line of `adamoe bench`.
 */
#include "bench/options.h"

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
                         adamoe_bench_counts *out)
{
    char *copy = strdup(text), *rest = copy;
    if (copy == NULL) {
        argp_failure(state, ADAMOE_ENVIRONMENT, 0, "out of memory");
    }
    out->count = 0;
    for (const char *one = strsep(&rest, ","); one != NULL; one = strsep(&rest, ",")) {
        if (out->count == ADAMOE_BENCH_MOST) {
            argp_error(state, "%s: more than %d numbers", option, ADAMOE_BENCH_MOST);
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

static void add_kernel(struct argp_state *state, const char *name, adamoe_bench_command *o)
{
    if (o->kernels == ADAMOE_BENCH_MOST) {
        argp_error(state, "--kernel: more than %d", ADAMOE_BENCH_MOST);
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
    adamoe_bench_command *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->rank;
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
        o->routers = adamoe_parse_routers(state, "--router", value, o->router, ADAMOE_BENCH_MOST);
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

static const struct argp_child children[] = {
    {&adamoe_machine_argp, 0, 0, 0}, {&adamoe_rank_argp, 0, NULL, 20}, {0}};

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
        "exit code 1, and is not timed. --threads takes several numbers here, as 1,2.\n\n"
        "Under mpirun the experts are spread over the ranks, and --tokens are those of each rank: calls begin on all of "
        "them together and last as long as on the slowest. Beside the times stands what travels, as it was predicted; with "
        "--saved, what null experts save of it. The roofline is one machine's, and is left out."
        "\vExample:\n  adamoe bench\n  adamoe bench --preset olmoe --tokens 1,64 --stages --json "
        "olmoe.json\n  adamoe bench --tokens 64 --router adamoe,top_p,null_copies\n",
    .children = children,
};

adamoe_bench_command adamoe_bench_parse(int count, char **arguments)
{
    adamoe_bench_command command = {
        .common = {.seed = 1},
        .layer = {.preset = &adamoe_presets[0], .pattern = ADAMOE_PATTERN_BALANCED},
        .rank = adamoe_rank_defaults,
        .tokens = {{1, 4, 16, 64, 256, 512}, 6}};
    adamoe_parse(&bench_argp, count, arguments, &command);
    return command;
}

adamoe_status adamoe_bench_suits_ranks(const adamoe_bench_command *o)
{
    const struct {
        bool given;
        const char *why;
    } options[] = {
        {o->peers_file != NULL, "--peers: other engines compute on one machine"},
        {o->common.commands > 0, "--command: a kernel in a process of its own would be started by each rank"},
        {o->train, "--train: the backward pass does not run over ranks"},
        {o->routers > 0, "--router: a router is timed on one machine"},
        {o->layer.timing.stages,
         "--stages: the experts of one call are on several machines; its messages are told instead"},
        {o->common.numa != ADAMOE_NUMA_LOCAL || o->common.topology != NULL,
         "--numa, --numa-topology: one rank on each node takes their place (mpirun --map-by numa --bind-to numa)"},
        {o->layer.preset->mixture.experts < 2,
         "--preset: one expert, which every rank would hold: nothing travels"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        if (options[i].given) {
            return adamoe_error(ADAMOE_BAD_INPUT, "over ranks not with %s", options[i].why);
        }
    }
    return adamoe_ok();
}
