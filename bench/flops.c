/*
 * adamoe flops: FLOPs per token by part, and both reductions, from a config and a mean load.
 */
#include "flops.h"
#include "config/config.h"
#include "program/json_output.h"
#include "program/options.h"
#include "program/result_files.h"
#include "verbs.h"

#include <stdio.h>
#include <string.h>

enum {
    OPTION_CONFIG = 1,
    OPTION_LOAD,
    OPTION_HEAD,
    OPTION_JSON,
};

typedef struct flops_options {
    const char *config, *json;
    adamoe_count_options count; /* no baseline_k: 2, or 1 where there is one expert */
    double load;
    bool has_load, head_last;
} flops_options;

static const struct argp_option options_list[] = {
    {"config", OPTION_CONFIG, "config.json", 0, "Sizes of the model (required)", 0},
    {"load", OPTION_LOAD, "L", 0, "Mean number of true experts per token and layer (required)", 0},
    {"head", OPTION_HEAD, "all|last", 0,
     "Positions whose logits are computed: every one (default), or none but "
     "the last of a long sequence, which counts as nothing per token",
     0},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    static const char *const heads[] = {"all", "last"};
    flops_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->count;
        return 0;
    case OPTION_CONFIG:
        o->config = value;
        return 0;
    case OPTION_LOAD:
        o->load = adamoe_parse_number(state, "--load", value);
        o->has_load = true;
        if (o->load < 0.0) {
            argp_error(state, "--load: `%s' is negative", value);
        }
        return 0;
    case OPTION_HEAD:
        o->head_last = adamoe_parse_choice(state, "--head", value, heads, 2) == 1;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_END:
        if (o->config == NULL || !o->has_load) {
            argp_error(state, "--config and --load are required");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&adamoe_count_argp, 0, NULL, 1}, {0}};

static const struct argp flops_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "FLOPs per token by part, as executed (a multiply-add is 2, a null expert costs its router row), "
           "and the "
           "reductions against the same model with no null expert and top-k0."
           "\vExample, in the project's folder:\n"
           "  adamoe flops --config tests/golden/mixtral-8x7b/config.json --load 1.67\n",
    .children = children,
};

static json_t *token_flops_json(const adamoe_token_flops *flops)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f}", "experts", flops->experts, "router", flops->router, "attention",
                     flops->attention, "head", flops->head, "total", flops->total);
}

static void print_row(const char *part, double executed, double baseline)
{
    printf("%-10s %12.6g %12.6g\n", part, executed * 1e-9, baseline * 1e-9);
}

static void print_table(const adamoe_token_flops *executed, const adamoe_token_flops *baseline)
{
    printf("%-10s %12s %12s  GFLOP per token\n", "", "executed", "baseline");
    print_row("experts", executed->experts, baseline->experts);
    print_row("router", executed->router, baseline->router);
    print_row("attention", executed->attention, baseline->attention);
    print_row("head", executed->head, baseline->head);
    print_row("total", executed->total, baseline->total);
}

/* Chooses the baseline's k; refuses more experts of a token than there are. */
static adamoe_status check_experts(const flops_options *o, size_t experts, size_t *baseline_k)
{
    *baseline_k = o->count.baseline_k != 0 ? o->count.baseline_k : (experts < 2 ? experts : 2);
    if (*baseline_k > experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--baseline-k: %zu: %.400s has %zu experts", *baseline_k,
                            o->config, experts);
    }
    if (o->load > (double)experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--load: %g: %.400s has %zu experts", o->load, o->config,
                            experts);
    }
    return adamoe_ok();
}

static adamoe_status run(const flops_options *o)
{
    adamoe_config config;
    bool null_experts_given = false;
    const adamoe_result_file file = {"--json", o->json};
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, &o->config, 1, NULL));
    ADAMOE_TRY(adamoe_config_read(o->config, &config, &null_experts_given));
    const size_t null_experts = o->count.has_null_experts ? o->count.null_experts : config.null_experts;
    size_t baseline_k = 0;
    ADAMOE_TRY(check_experts(o, config.experts, &baseline_k));
    const double head_share = o->head_last ? 0.0 : 1.0;
    const adamoe_token_flops executed =
        adamoe_flops_per_token(&config, null_experts, o->load, o->count.visible_keys, head_share);
    const adamoe_token_flops baseline =
        adamoe_flops_per_token(&config, 0, (double)baseline_k, o->count.visible_keys, head_share);
    const double expert_reduction = adamoe_expert_flops_reduction(o->load, baseline_k);
    const double model_reduction = 1.0 - executed.total / baseline.total;
    if (adamoe_json_leaves_stdout(o->json)) {
        print_table(&executed, &baseline);
        printf("expert FLOPs reduction %7.2f %%   1 - load %.4g / top-%zu\n", 100.0 * expert_reduction,
               o->load, baseline_k);
        printf("model FLOPs reduction  %7.2f %%   %zu null experts, %.4g visible keys, head at %s\n",
               100.0 * model_reduction, null_experts, o->count.visible_keys,
               o->head_last ? "the last position" : "every position");
    }
    if (o->json == NULL) {
        return adamoe_ok();
    }
    return adamoe_json_write(
        o->json,
        json_pack("{s:f,s:f,s:f,s:I,s:I,s:f,s:s,s:o,s:o}", "expert_flops_reduction", expert_reduction,
                  "model_flops_reduction", model_reduction, "load", o->load, "baseline_k",
                  (json_int_t)baseline_k, "null_experts", (json_int_t)null_experts, "visible_keys",
                  o->count.visible_keys, "head", o->head_last ? "last" : "all", "flops_per_token",
                  token_flops_json(&executed), "baseline_flops_per_token", token_flops_json(&baseline)));
}

int adamoe_verb_flops(int count, char **arguments)
{
    flops_options options = {.count = adamoe_count_defaults};
    adamoe_parse(&flops_argp, count, arguments, &options);
    return adamoe_finish("flops", run(&options));
}
