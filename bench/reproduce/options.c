/*
 * The command line of `adamoe reproduce`.
 */
#include "reproduce/options.h"
#include "ranks/options.h"

enum {
    OPTION_MODEL = 1,
    OPTION_BASELINE,
    OPTION_UNTOUCHED,
    OPTION_QUESTIONS,
    OPTION_ROUNDS,
    OPTION_PROCESSES,
    OPTION_CHECK_EVERY,
    OPTION_TIME_SIDES,
    OPTION_JSON,
    OPTION_EVALUATE_ONLY,
    OPTION_CLAIM,
    OPTION_FULL,
    OPTION_SEEDS,
    OPTION_SWEEP_SEEDS,
    OPTION_RESUME,
    OPTION_FROM_SCRATCH,
    OPTION_RECIPE,
    OPTION_ROUTERS,
    OPTION_STARTS,
};

static const struct argp_option options_list[] = {
    {"model", OPTION_MODEL, "DIR", 0, "A checkpoint with null experts (default: datasets/tiny-adamoe)", 0},
    {"baseline", OPTION_BASELINE, "DIR", 0,
     "The checkpoint without that it is compared with (default: what ships with the default model; of "
     "another "
     "one, itself as vanilla top-2)",
     0},
    {"untouched", OPTION_UNTOUCHED, "DIR", 0,
     "The checkpoint that both were fine-tuned from (default: what ships with the default model, or none)",
     0},
    {"questions", OPTION_QUESTIONS, "FILE", 0, "Questions (default: what ships)", 0},
    {"processes", OPTION_PROCESSES, "N", 0,
     "Processes that time the two models, started anew, 3 to 20 (default: 6): each counts once", 0},
    {"rounds", OPTION_ROUNDS, "N", 0, "Timed rounds in each of them, 1 to 20 (default: 2)", 0},
    {"time-sides", OPTION_TIME_SIDES, 0, OPTION_HIDDEN, "What each of them does", 0},
    {"check-every", OPTION_CHECK_EVERY, "N", 0, "Check every N-th case of `adamoe check' (default: 8)", 0},
    {"evaluate-only", OPTION_EVALUATE_ONLY, 0, 0, "Leave out the quick check and throughput", 0},
    {"claim", OPTION_CLAIM, 0, 0,
     "Print instead what the paper's own numbers say: what its %FLOPs counts, what five of 295 questions "
     "prove, "
     "which settings collapse, what the released loss computes",
     0},
    {"json", OPTION_JSON, "FILE", 0, "Write the results as JSON, `-' for standard output", 0},
    {0, 0, 0, 0, "The whole study, training included:", 2},
    {"full", OPTION_FULL, 0, 0,
     "Train from --untouched, over seeds, top-2 and null experts of many settings; evaluate, compare", 2},
    {"output", 'o', "DIR", 0, "Folder of its runs, results.json and results.md (default: study)", 2},
    {"seeds", OPTION_SEEDS, "N", 0, "Of the main pair, top-2 against m = 8, k = 3 (default: 5)", 2},
    {"sweep-seeds", OPTION_SWEEP_SEEDS, "N", 0, "Of each other setting, 0 to leave them out (default: 1)", 2},
    {"resume", OPTION_RESUME, 0, 0, "Go on where the study in DIR was interrupted", 2},
    {"from-scratch", OPTION_FROM_SCRATCH, 0, 0, "Pretrain first, as the recipe says", 2},
    {"recipe", OPTION_RECIPE, "FILE", 0, "Hyper-parameters (default: datasets/tiny-recipe.json)", 2},
    {"routers", OPTION_ROUTERS, 0, 0,
     "With --full: the study of routers instead, each of the table from the same starts", 2},
    {"starts", OPTION_STARTS, "N", 0,
     "Of --routers: seeds of pretraining; the first is --untouched unless --from-scratch (default: 3)", 2},
    {0},
};

static error_t parse_study(int key, char *value, struct argp_state *state)
{
    adamoe_reproduce_options *o = state->input;
    switch (key) {
    case OPTION_FULL:
        o->full = true;
        return 0;
    case 'o':
        o->study.out = value;
        return 0;
    case OPTION_SEEDS:
        o->study.seeds = (size_t)adamoe_parse_count(state, "--seeds", value, 1, ADAMOE_STUDY_MOST_SEEDS);
        return 0;
    case OPTION_SWEEP_SEEDS:
        o->study.sweep_seeds =
            (size_t)adamoe_parse_count(state, "--sweep-seeds", value, 0, ADAMOE_STUDY_MOST_SEEDS);
        return 0;
    case OPTION_RESUME:
        o->study.resume = true;
        return 0;
    case OPTION_FROM_SCRATCH:
        o->study.from_scratch = true;
        return 0;
    case OPTION_RECIPE:
        o->study.recipe = value;
        return 0;
    case OPTION_ROUTERS:
        o->study.routers = true;
        return 0;
    case OPTION_STARTS:
        o->study.starts = (size_t)adamoe_parse_count(state, "--starts", value, 1, ADAMOE_STUDY_MOST_SEEDS);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What the other way of running would ignore. */
static void check_together(const adamoe_reproduce_options *o, struct argp_state *state)
{
    const adamoe_study_options *s = &o->study;
    const bool study = s->out != NULL || s->recipe != NULL || s->resume || s->from_scratch || s->seeds != 0 ||
                       s->sweep_seeds != SIZE_MAX || s->routers || s->starts != 0;
    if (study && !o->full) {
        argp_error(
            state,
            "-o, --seeds, --sweep-seeds, --resume, --from-scratch, --recipe, --routers and --starts go with --full");
    }
    if (o->full && (o->sides.model != NULL || o->sides.baseline != NULL || o->sides.rounds != 0 ||
                    o->sides.processes != 0 || o->json != NULL || o->evaluate_only ||
                    adamoe_rank_options_given(&o->sides.ranks))) {
        argp_error(
            state,
            "--full trains its models, and writes into -o: --model, --baseline, --processes, --rounds, "
            "--json, --evaluate-only and the --rank- options do not go with it");
    }
    if (o->claim && (o->full || o->evaluate_only || o->sides.model != NULL || o->sides.baseline != NULL ||
                     o->sides.untouched != NULL || o->sides.questions != NULL || o->sides.rounds != 0 ||
                     o->sides.processes != 0)) {
        argp_error(state, "--claim needs neither model nor questions, and runs nothing else");
    }
    if (s->routers ? s->seeds != 0 || s->sweep_seeds != SIZE_MAX : s->starts != 0) {
        argp_error(state, "--starts goes with --routers, which has no --seeds and --sweep-seeds");
    }
    if (s->from_scratch && o->sides.untouched != NULL) {
        argp_error(state, "--untouched and --from-scratch exclude each other");
    }
    if (o->json != NULL && o->common.seed > INT64_MAX) {
        argp_error(state, "--seed: with --json not above %lld, the largest integer that it can hold",
                   (long long)INT64_MAX);
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    adamoe_reproduce_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->sides.ranks;
        return 0;
    case OPTION_MODEL:
        o->sides.model = value;
        return 0;
    case OPTION_BASELINE:
        o->sides.baseline = value;
        return 0;
    case OPTION_UNTOUCHED:
        o->sides.untouched = value;
        return 0;
    case OPTION_QUESTIONS:
        o->sides.questions = value;
        return 0;
    case OPTION_ROUNDS:
        o->sides.rounds = (size_t)adamoe_parse_count(state, "--rounds", value, 1, ADAMOE_SIDE_MOST_ROUNDS);
        return 0;
    case OPTION_PROCESSES:
        o->sides.processes = (size_t)adamoe_parse_count(
            state, "--processes", value, ADAMOE_SIDE_LEAST_PROCESSES, ADAMOE_SIDE_MOST_PROCESSES);
        return 0;
    case OPTION_CHECK_EVERY:
        o->check_every = (size_t)adamoe_parse_count(state, "--check-every", value, 1, 1000);
        return 0;
    case OPTION_TIME_SIDES:
        o->time_sides = true;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case OPTION_EVALUATE_ONLY:
        o->evaluate_only = true;
        return 0;
    case OPTION_CLAIM:
        o->claim = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s': no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        check_together(o, state);
        return 0;
    default:
        return parse_study(key, value, state);
    }
}

static const struct argp_child children[] = {
    {&adamoe_common_argp, 0, 0, 0}, {&adamoe_rank_argp, 0, NULL, 20}, {0}};

static const struct argp reproduce_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc =
        "Checks every kernel quickly, times them quickly, and evaluates a top-2 model and one with null "
        "experts "
        "side by side: accuracy with tests, load, both FLOPs reductions and measured time, with the paper's "
        "row beneath and one sentence on what is distinguishable from zero."
        "\vExample, in the project's folder or with an installed program:\n  adamoe reproduce\n",
    .children = children,
};

adamoe_reproduce_options adamoe_reproduce_parse(int count, char **arguments)
{
    adamoe_reproduce_options options = {
        .common = {.seed = 1}, .check_every = 8, .study = {.sweep_seeds = SIZE_MAX}};
    options.sides.ranks = adamoe_rank_defaults;
    adamoe_parse(&reproduce_argp, count, arguments, &options);
    return options;
}
