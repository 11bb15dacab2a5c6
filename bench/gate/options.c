/*
 * The command line of `adamoe gate`.
 */
#include "gate/options.h"
#include "layers/presets.h"

#include <string.h>

enum {
    OPTION_AGAINST = 1,
    OPTION_PLUGIN_AGAINST,
    OPTION_BASELINE,
    OPTION_WRITE_BASELINE,
    OPTION_KERNEL,
    OPTION_PRESET,
    OPTION_TOKENS,
    OPTION_ROUNDS,
    OPTION_PAIRS,
    OPTION_MILLISECONDS,
    OPTION_CHECK_CASE,
    OPTION_ONLY_SPEED,
    OPTION_MODEL,
    OPTION_QUESTIONS,
    OPTION_LIMIT,
    OPTION_ALPHA,
    OPTION_MINIMUM_EFFECT,
    OPTION_MARKDOWN,
    OPTION_JSON,
};

static const struct argp_option options_list[] = {
    {"against", OPTION_AGAINST, "BUILD_DIR", 0,
     "Compare with the program BUILD_DIR/bin/adamoe: checks, work, accuracy, and speed, timed in turn", 0},
    {"plugin-against", OPTION_PLUGIN_AGAINST, "FILE.so", 0, "What it loads instead of --plugin", 0},
    {"baseline", OPTION_BASELINE, "FILE", 0, "Compare checks, work and accuracy with a file; no times", 0},
    {"write-baseline", OPTION_WRITE_BASELINE, "FILE", 0, "Make such a file", 0},
    {0, 0, 0, 0, "What is looked at:", 1},
    {"kernel", OPTION_KERNEL, "NAME", 0,
     "A kernel that `adamoe info' lists; may be given several times (default: all; the reference is not "
     "timed)",
     1},
    {"preset", OPTION_PRESET, "NAME", 0, "Sizes that are timed: gate (default), or one of `adamoe bench'", 1},
    {"tokens", OPTION_TOKENS, "T,...", 0, "Numbers of tokens that are timed (default: 1,16)", 1},
    {"check-case", OPTION_CHECK_CASE, "SUBSTRING", 0, "Cases of `adamoe check' (default: tokens:7/)", 1},
    {"model", OPTION_MODEL, "DIR", 0,
     "Model that is evaluated by the reference (default: the one that ships)", 1},
    {"questions", OPTION_QUESTIONS, "FILE", 0, "Its questions (default: those that ship)", 1},
    {"limit", OPTION_LIMIT, "N", 0, "Only the first N questions (default: 20)", 1},
    {"only-speed", OPTION_ONLY_SPEED, 0, 0, "Neither checks nor evaluation", 1},
    {0, 0, 0, 0, "How it is judged:", 2},
    {"alpha", OPTION_ALPHA, "P", 0, "Probability of a false alarm in the whole gate (default: 0.05)", 2},
    {"minimum-effect", OPTION_MINIMUM_EFFECT, "F", 0, "Smallest slowdown that counts (default: 0.03)", 2},
    {"rounds", OPTION_ROUNDS, "N", 0,
     "Pairs of processes, each of which counts once (default: 20, or as many as can be significant)", 2},
    {"pairs", OPTION_PAIRS, "N", 0, "Pairs of measurements in a round (default: 11)", 2},
    {"milliseconds", OPTION_MILLISECONDS, "MS", 0, "Of one measurement (default: 4)", 2},
    {0, 0, 0, 0, "Results:", 3},
    {"markdown", OPTION_MARKDOWN, "FILE", 0, "Write Markdown for a pull request, `-' for standard output", 3},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 3},
    {0},
};

static void parse_tokens(struct argp_state *state, const char *value, adamoe_gate_options *o)
{
    const char *text = value;
    for (o->token_counts = 0; o->token_counts < ADAMOE_GATE_TOKENS; ++text) {
        char one[24];
        const size_t length = strcspn(text, ",");
        (void)snprintf(one, sizeof one, "%.*s", (int)length, text);
        o->tokens[o->token_counts++] = (size_t)adamoe_parse_count(state, "--tokens", one, 1, 1u << 20);
        text += length;
        if (*text == '\0') {
            return;
        }
    }
    argp_error(state, "--tokens: more than %d numbers", ADAMOE_GATE_TOKENS);
}

static error_t parse_timing(int key, char *value, struct argp_state *state)
{
    adamoe_gate_options *o = state->input;
    const char *names[1 + ADAMOE_PRESETS] = {"gate"};
    memcpy(names + 1, adamoe_preset_names, sizeof adamoe_preset_names);
    switch (key) {
    case OPTION_PRESET:
        o->preset = names[adamoe_parse_choice(state, "--preset", value, names, 1 + ADAMOE_PRESETS)];
        return 0;
    case OPTION_TOKENS:
        parse_tokens(state, value, o);
        return 0;
    case OPTION_ALPHA:
        o->rules.alpha = adamoe_parse_number(state, "--alpha", value);
        return 0;
    case OPTION_MINIMUM_EFFECT:
        o->rules.minimum_effect = adamoe_parse_number(state, "--minimum-effect", value);
        return 0;
    case OPTION_ROUNDS:
        o->rounds = (size_t)adamoe_parse_count(state, "--rounds", value, 1, 200);
        return 0;
    case OPTION_PAIRS:
        o->pairs = (size_t)adamoe_parse_count(state, "--pairs", value, 1, 10000);
        return 0;
    case OPTION_MILLISECONDS:
        o->milliseconds = (size_t)adamoe_parse_count(state, "--milliseconds", value, 1, 10000);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_subject(int key, char *value, struct argp_state *state)
{
    adamoe_gate_options *o = state->input;
    switch (key) {
    case OPTION_KERNEL:
        if (o->kernels == ADAMOE_GATE_KERNELS) {
            argp_error(state, "--kernel: more than %d", ADAMOE_GATE_KERNELS);
        }
        o->kernel[o->kernels++] = value;
        return 0;
    case OPTION_CHECK_CASE:
        o->check_case = value;
        return 0;
    case OPTION_MODEL:
        o->model = value;
        return 0;
    case OPTION_QUESTIONS:
        o->questions = value;
        return 0;
    case OPTION_LIMIT:
        o->limit = (size_t)adamoe_parse_count(state, "--limit", value, 1, SIZE_MAX);
        return 0;
    case OPTION_ONLY_SPEED:
        o->only_speed = true;
        return 0;
    default:
        return parse_timing(key, value, state);
    }
}

static void check_usage(struct argp_state *state, const adamoe_gate_options *o)
{
    if (o->against == NULL && o->baseline == NULL && o->write_baseline == NULL) {
        argp_error(state, "one of --against, --baseline and --write-baseline is needed");
    }
    if (o->only_speed && (o->against == NULL || o->baseline != NULL || o->write_baseline != NULL)) {
        argp_error(state, "--only-speed: speed is compared by --against, and no baseline has it");
    }
    if (o->plugin_against != NULL && o->against == NULL) {
        argp_error(state, "--plugin-against needs --against");
    }
    if (!(o->rules.alpha > 0.0 && o->rules.alpha < 1.0)) {
        argp_error(state, "--alpha: not between 0 and 1");
    }
    if (!(o->rules.minimum_effect >= 0.0)) {
        argp_error(state, "--minimum-effect: below 0");
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    adamoe_gate_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_AGAINST:
        o->against = value;
        return 0;
    case OPTION_PLUGIN_AGAINST:
        o->plugin_against = value;
        return 0;
    case OPTION_BASELINE:
        o->baseline = value;
        return 0;
    case OPTION_WRITE_BASELINE:
        o->write_baseline = value;
        return 0;
    case OPTION_MARKDOWN:
        o->markdown = value;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_END:
        check_usage(state, o);
        return 0;
    default:
        return parse_subject(key, value, state);
    }
}

static const struct argp_child children[] = {{&adamoe_machine_argp, 0, 0, 0}, {0}};

static const struct argp gate_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc =
        "Tells whether this program is worse than another build, or than a baseline: checks that fail, work "
        "(FLOPs, bytes, rows, and what would travel if the model's experts lived on 2 or 4 ranks) that changed, accuracy that was lost, kernels that became slower. Both builds "
        "are timed "
        "in turn, on one thread unless --threads says otherwise, in processes that are started anew for each "
        "round; "
        "Wilcoxon's signed-rank test over rounds, Holm's correction over kernels and sizes. Exit code 0: no "
        "regression, 1: a regression, 2: bad input."
        "\vExample:\n"
        "  adamoe gate --against ../main/build/release --markdown comment.md\n"
        "  adamoe gate --baseline ci/baselines/gate.json\n",
    .children = children,
};

adamoe_gate_options adamoe_gate_parse(int count, char **arguments)
{
    adamoe_gate_options options = {.common = {.seed = 1},
                                   .preset = "gate",
                                   .tokens = {1, 16},
                                   .token_counts = 2,
                                   .pairs = 11,
                                   .milliseconds = 4,
                                   .check_case = "tokens:7/",
                                   .limit = 20,
                                   .rules = adamoe_comparison_defaults};
    adamoe_parse(&gate_argp, count, arguments, &options);
    /* Who asks for some kernels leaves out the others on purpose. */
    options.rules.missing_fails = options.baseline != NULL && options.kernels == 0;
    return options;
}
