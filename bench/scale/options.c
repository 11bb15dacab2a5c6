/*
 * The options of `adamoe scale`.
 */
#include "scale/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    OPTION_PRESET = 1,
    OPTION_CONFIG,
    OPTION_LOAD,
    OPTION_TOP_K,
    OPTION_SKEW,
    OPTION_RECORD,
    OPTION_BASELINE_RECORD,
    OPTION_PLACE,
    OPTION_RANKS,
    OPTION_TOKENS,
    OPTION_TOTAL,
    OPTION_WIRE,
    OPTION_CALIBRATION,
    OPTION_LATENCY,
    OPTION_OVERHEAD,
    OPTION_BANDWIDTH,
    OPTION_HIDDEN_SHARE,
    OPTION_GFLOPS,
    OPTION_GBYTES,
    OPTION_DRAWS,
    OPTION_CALIBRATE,
    OPTION_LONGEST,
    OPTION_BUDGET,
    OPTION_JSON,
};

static const struct argp_option options_list[] = {
    {NULL, 0, NULL, 0, "What is spread over ranks:", 1},
    {"preset", OPTION_PRESET, "NAME", 0, "A layer of a published model (default: mixtral-8x7b)", 1},
    {"config", OPTION_CONFIG, "config.json", 0, "A whole model instead, with attention and head", 1},
    {"load", OPTION_LOAD, "L", 0, "Mean number of true experts per token (default: the preset's)", 1},
    {"top-k", OPTION_TOP_K, "K", 0, "Experts that a token selects, null experts included", 1},
    {"skew", OPTION_SKEW, "S", 0, "Expert e is liked with weight 1 / (1 + e)^S (default: 0, all alike)", 1},
    {"record", OPTION_RECORD, "FILE", 0, "Selections that eval --record-routing wrote, instead of drawn ones",
     1},
    {"baseline-record", OPTION_BASELINE_RECORD, "FILE", 0,
     "The same for top-k0 (default: drawn, as liked there)", 1},
    {NULL, 0, NULL, 0, "Over what:", 2},
    {"ranks", OPTION_RANKS, "LIST", 0, "Numbers with commas, 1 to 4096 (default: 2,4,8 ... 4096)", 2},
    {"place", OPTION_PLACE, "block|turn|load|together", 0,
     "Experts on ranks in blocks (default), in turn, by load, or by co-activation (METIS)", 2},
    {"tokens", OPTION_TOKENS, "N", 0, "Tokens of each rank in one call (default: 512)", 2},
    {"total", OPTION_TOTAL, "N", 0, "Instead: tokens of all ranks together in one call", 2},
    {NULL, 0, NULL, 0,
     "How fast; without a calibration, latency, bandwidth, gflops and gbytes are required:", 3},
    {"calibration", OPTION_CALIBRATION, "FILE", 0, "Measured rates; the options below replace parts of it",
     3},
    {"latency", OPTION_LATENCY, "US", 0, "Microseconds that a message takes at least", 3},
    {"overhead", OPTION_OVERHEAD, "US", 0, "Microseconds of each further message of a rank (default: 0)", 3},
    {"bandwidth", OPTION_BANDWIDTH, "GBIT", 0, "10^9 bits per second that a rank sends and receives", 3},
    {"hidden", OPTION_HIDDEN_SHARE, "SHARE", 0,
     "Share of a message's time in which its rank computes (default: 1)", 3},
    {"wire", OPTION_WIRE, "float32|bfloat16", 0,
     "How inputs travel (default: as the kernel rounds them, or float32)", 3},
    {"gflops", OPTION_GFLOPS, "P", 0, "10^9 operations per second of a rank", 3},
    {"gbytes", OPTION_GBYTES, "M", 0, "10^9 bytes of weights per second that a rank reads", 3},
    {NULL, 0, NULL, 0, "The simulation:", 4},
    {"draws", OPTION_DRAWS, "N", 0,
     "Simulated calls, whose mean and deviation are shown (default: 16); more where a recording's layers are to come "
     "alike often",
     4},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 4},
    {NULL, 0, NULL, 0, "Measuring instead of predicting, under mpirun or alone:", 5},
    {"calibrate", OPTION_CALIBRATE, "FILE", 0,
     "Time one expert of --preset, messages between the ranks, and layers over them; write FILE", 5},
    {"longest", OPTION_LONGEST, "SECONDS", 0,
     "Time nothing at sizes beyond the first whose call takes so long (default: 1)", 5},
    {"budget", OPTION_BUDGET, "SECONDS", 0,
     "For all rounds together, unless 8 of 4 tokens take longer; half more where some are disturbed (default: 60)",
     5},
    {0},
};

/* ------------------------------------------------------------------------------------------------- options */

static double positive(struct argp_state *state, const char *option, const char *text)
{
    const double value = adamoe_parse_number(state, option, text);
    if (value <= 0.0) {
        argp_error(state, "%s: `%s' is not above 0", option, text);
    }
    return value;
}

static double at_least_0(struct argp_state *state, const char *option, const char *text)
{
    const double value = adamoe_parse_number(state, option, text);
    if (value < 0.0) {
        argp_error(state, "%s: `%s' is negative", option, text);
    }
    return value;
}

/* So many `unit` per second. */
static double rate(struct argp_state *state, const char *option, const char *text, double unit)
{
    const double value = unit * adamoe_parse_number(state, option, text);
    if (!(value >= ADAMOE_COST_LEAST_RATE && value <= ADAMOE_COST_MOST_RATE)) {
        argp_error(state, "%s: `%s' is not from %g to %g", option, text, ADAMOE_COST_LEAST_RATE / unit,
                   ADAMOE_COST_MOST_RATE / unit);
    }
    return value;
}

static double microseconds(struct argp_state *state, const char *option, const char *text)
{
    const double seconds = 1e-6 * at_least_0(state, option, text);
    if (seconds > ADAMOE_COST_MOST_SECONDS) {
        argp_error(state, "%s: `%s' is above %g", option, text, 1e6 * ADAMOE_COST_MOST_SECONDS);
    }
    return seconds;
}

static void parse_ranks(struct argp_state *state, const char *text, adamoe_scale_options *o)
{
    o->rank_counts = 0;
    o->has_ranks = true;
    for (const char *at = text; at != NULL; at = strchr(at, ',') == NULL ? NULL : strchr(at, ',') + 1) {
        char number[32];
        (void)snprintf(number, sizeof number, "%.*s", (int)strcspn(at, ","), at);
        if (o->rank_counts == ADAMOE_SCALE_RANK_COUNTS) {
            argp_error(state, "--ranks: more than %d numbers", ADAMOE_SCALE_RANK_COUNTS);
        }
        o->ranks[o->rank_counts++] =
            (uint32_t)adamoe_parse_count(state, "--ranks", number, 1, ADAMOE_SCALE_MOST_RANKS);
    }
}

static error_t parse_subject(int key, char *value, struct argp_state *state, adamoe_scale_subject_options *o)
{
    switch (key) {
    case OPTION_PRESET:
        o->preset = &adamoe_presets[adamoe_parse_choice(state, "--preset", value, adamoe_preset_names,
                                                        ADAMOE_PRESETS)];
        return 0;
    case OPTION_CONFIG:
        o->config = value;
        return 0;
    case OPTION_LOAD:
        o->load = positive(state, "--load", value);
        return 0;
    case OPTION_TOP_K:
        o->top_k = (size_t)adamoe_parse_count(state, "--top-k", value, 1, 1u << 16);
        return 0;
    case OPTION_SKEW:
        o->skew = at_least_0(state, "--skew", value);
        return 0;
    case OPTION_RECORD:
        o->record = value;
        return 0;
    case OPTION_BASELINE_RECORD:
        o->baseline_record = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_rates(int key, char *value, struct argp_state *state, adamoe_scale_options *o)
{
    static const char *const wires[] = {"float32", "bfloat16"};
    switch (key) {
    case OPTION_CALIBRATION:
        o->calibration = value;
        return 0;
    case OPTION_LATENCY:
        o->latency = microseconds(state, "--latency", value);
        return 0;
    case OPTION_OVERHEAD:
        o->overhead = microseconds(state, "--overhead", value);
        return 0;
    case OPTION_BANDWIDTH:
        o->bandwidth = rate(state, "--bandwidth", value, 1e9 / 8.0);
        return 0;
    case OPTION_HIDDEN_SHARE:
        o->hidden = at_least_0(state, "--hidden", value);
        if (o->hidden > 1.0) {
            argp_error(state, "--hidden: `%s' is above 1", value);
        }
        return 0;
    case OPTION_WIRE:
        o->wire = 1 + adamoe_parse_choice(state, "--wire", value, wires, 2);
        return 0;
    case OPTION_GFLOPS:
        o->gflops = rate(state, "--gflops", value, 1e9);
        return 0;
    case OPTION_GBYTES:
        o->gbytes = rate(state, "--gbytes", value, 1e9);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The first option that only measuring reads; NULL: none was given. */
static const char *find_measuring(const adamoe_scale_options *o)
{
    const adamoe_common_options *c = &o->common;
    const struct {
        const char *name;
        bool given;
    } option[] = {{"--kernel", c->kernel != NULL},          {"--plugin", c->plugin != NULL},
                  {"--command", c->commands != 0},          {"--threads", c->threads != 0},
                  {"--numa", c->numa != ADAMOE_NUMA_LOCAL}, {"--numa-topology", c->topology != NULL},
                  {"--longest", !isnan(o->longest)},        {"--budget", !isnan(o->budget)}};
    for (size_t i = 0; i < sizeof option / sizeof *option; ++i) {
        if (option[i].given) {
            return option[i].name;
        }
    }
    return NULL;
}

static bool has_visible_keys(const adamoe_scale_options *o)
{
    return o->subject.count.visible_keys != adamoe_count_defaults.visible_keys;
}

/* What nothing would read. */
static void check_unread(struct argp_state *state, const adamoe_scale_options *o)
{
    const char *measuring = find_measuring(o);
    if (measuring != NULL) {
        argp_error(state, "%s belongs to --calibrate: nothing is measured without", measuring);
    }
    if (o->subject.config == NULL && has_visible_keys(o)) {
        argp_error(state, "--visible-keys belongs to --config: a preset has no attention");
    }
}

/* What cannot go together, and what has to be there. */
static void check_options(struct argp_state *state, const adamoe_scale_options *o)
{
    if (adamoe_rank_options_given(&o->rank)) {
        argp_error(state, "the --rank- options are for --calibrate; where experts live is --place");
    }
    check_unread(state, o);
    if (o->subject.preset != NULL && o->subject.config != NULL) {
        argp_error(state, "--preset and --config are two layers");
    }
    if (o->tokens != 0 && o->total != 0) {
        argp_error(state, "--tokens and --total are two numbers of tokens");
    }
    if (o->subject.baseline_record != NULL && o->subject.record == NULL) {
        argp_error(state, "--baseline-record goes with --record");
    }
    if (o->subject.record != NULL && (!isnan(o->subject.load) || o->subject.top_k != 0 ||
                                      o->subject.count.has_null_experts || o->subject.skew != 0.0)) {
        argp_error(state,
                   "--load, --top-k, --null-experts and --skew are for drawn selections, not for --record");
    }
    if (o->subject.baseline_record != NULL && o->subject.count.baseline_k != 0) {
        argp_error(state, "--baseline-k is for drawn selections, not for --baseline-record");
    }
    for (size_t i = 0; i < o->rank_counts && o->total != 0; ++i) {
        if (o->total < o->ranks[i]) {
            argp_error(state, "--total: %zu tokens for %u ranks", o->total, o->ranks[i]);
        }
    }
    if (o->calibration == NULL &&
        (isnan(o->latency) || isnan(o->bandwidth) || isnan(o->gflops) || isnan(o->gbytes))) {
        argp_error(state, "--latency, --bandwidth, --gflops and --gbytes are required, or --calibration");
    }
}

static const adamoe_preset *find_preset(const char *name)
{
    size_t i = 0;
    while (strcmp(adamoe_preset_names[i], name) != 0) {
        ++i;
    }
    return &adamoe_presets[i];
}

/* What was not asked for; of ranks, those that have a token. */
static void fill_in(adamoe_scale_options *o)
{
    if (o->subject.preset == NULL && o->subject.config == NULL) {
        o->subject.preset = find_preset("mixtral-8x7b");
    }
    o->draws = o->draws == 0 ? 16 : o->draws;
    o->longest = isnan(o->longest) ? 1.0 : o->longest;
    o->budget = isnan(o->budget) ? 60.0 : o->budget;
    while (!o->has_ranks && o->total != 0 && o->rank_counts > 1 && o->ranks[o->rank_counts - 1] > o->total) {
        --o->rank_counts;
    }
}

/* What is measured is a layer of a preset. */
static void check_calibrate(struct argp_state *state, const adamoe_scale_options *o)
{
    const bool rates = !isnan(o->latency) || !isnan(o->overhead) || !isnan(o->bandwidth) ||
                       !isnan(o->hidden) || !isnan(o->gflops) || !isnan(o->gbytes) || o->wire != 0;
    const adamoe_scale_subject_options *s = &o->subject;
    const bool subject = s->config != NULL || s->record != NULL || !isnan(s->load) || s->skew != 0.0 ||
                         s->top_k != 0 || s->count.baseline_k != 0 || s->count.has_null_experts ||
                         has_visible_keys(o);
    if (rates || subject || o->calibration != NULL || o->json != NULL || o->has_ranks || o->tokens != 0 ||
        o->total != 0 || o->draws != 0 || o->order != ADAMOE_EXPERTS_BLOCK) {
        argp_error(state,
                   "--calibrate goes with --preset and the options of kernel, machine and ranks alone");
    }
    if (o->rank.experts != ADAMOE_EXPERTS_BLOCK || o->rank.recording != NULL || o->rank.one_after_the_other) {
        argp_error(state, "--calibrate times experts in blocks, with overlap and without: --rank-experts, "
                          "--rank-recording and --rank-no-overlap do not go with it");
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    adamoe_scale_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->rank;
        state->child_inputs[2] = &o->subject.count;
        return 0;
    case OPTION_PLACE:
        o->order = (adamoe_expert_order)adamoe_parse_choice(state, "--place", value,
                                                            adamoe_expert_order_names, ADAMOE_EXPERT_ORDERS);
        return 0;
    case OPTION_RANKS:
        parse_ranks(state, value, o);
        return 0;
    case OPTION_TOKENS:
        o->tokens = (size_t)adamoe_parse_count(state, "--tokens", value, 1, 1u << 16);
        return 0;
    case OPTION_TOTAL:
        o->total = (size_t)adamoe_parse_count(state, "--total", value, 1, 1u << 24);
        return 0;
    case OPTION_DRAWS:
        o->draws = (size_t)adamoe_parse_count(state, "--draws", value, 2, 10000);
        return 0;
    case OPTION_CALIBRATE:
        o->calibrate = value;
        return 0;
    case OPTION_LONGEST:
        o->longest = positive(state, "--longest", value);
        return 0;
    case OPTION_BUDGET:
        o->budget = positive(state, "--budget", value);
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_END:
        if (o->calibrate != NULL) {
            check_calibrate(state, o);
        } else {
            check_options(state, o);
        }
        fill_in(o);
        return 0;
    default: {
        const error_t found = parse_subject(key, value, state, &o->subject);
        return found == ARGP_ERR_UNKNOWN ? parse_rates(key, value, state, o) : found;
    }
    }
}

static const struct argp_child children[] = {{&adamoe_common_argp, 0, NULL, 6},
                                             {&adamoe_rank_argp, 0, NULL, 20},
                                             {&adamoe_count_argp, 0, NULL, 2},
                                             {0}};

const struct argp adamoe_scale_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc =
        "Predicts what a layer sends and takes when its experts live on 2 to 4096 ranks, with null experts and "
        "without, from measured or given rates. Rows, inputs and bytes are counted as they would be sent; times "
        "are those of a cost model, which says what it assumes and how far it was from what was measured."
        "\vExample:\n"
        "  adamoe scale --preset mixtral-8x7b --latency 10 --bandwidth 100 \\\n"
        "      --gflops 500 --gbytes 50\n",
    .children = children,
};

void adamoe_scale_options_begin(adamoe_scale_options *o)
{
    const double none = (double)NAN;
    *o = (adamoe_scale_options){.subject = {.load = none, .count = adamoe_count_defaults},
                                .longest = none,
                                .budget = none,
                                .common = {.seed = 1},
                                .rank = adamoe_rank_defaults,
                                .latency = none,
                                .overhead = none,
                                .bandwidth = none,
                                .hidden = none,
                                .gflops = none,
                                .gbytes = none};
    for (uint32_t ranks = 2; ranks <= ADAMOE_SCALE_MOST_RANKS; ranks *= 2) {
        o->ranks[o->rank_counts++] = ranks;
    }
}
