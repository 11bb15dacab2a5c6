/*
 * The options of selection, and a checkpoint converted by them.
 */
#include "program/selection.h"
#include "program/options.h"
#include "router.h"

enum {
    OPTION_TOP_K = 0x5e1ec7, /* keys that no verb has */
    OPTION_NULL_EXPERTS,
    OPTION_NORM,
    OPTION_NULL_KIND,
};

static const struct argp_option rule_options[] = {
    {"top-k", OPTION_TOP_K, "K", 0, "Experts per token, true and null", 0},
    {"norm", OPTION_NORM, adamoe_norm_choices + 1, 0, "What weights are normalised over", 0},
    {"null-kind", OPTION_NULL_KIND, adamoe_null_kind_choices + 1, 0, "What null experts return", 0},
    {0},
};

static const struct argp_option conversion_option[] = {
    {"null-experts", OPTION_NULL_EXPERTS, "M", 0,
     "M null experts that copy the rows of the gate; 0 drops those there are", 0},
    {0},
};

static error_t parse_rule(int key, char *value, struct argp_state *state)
{
    adamoe_selection_options *s = state->input;
    switch (key) {
    case OPTION_TOP_K:
        s->top_k = (size_t)adamoe_parse_count(state, "--top-k", value, 1, UINT32_MAX);
        return 0;
    case OPTION_NORM:
        s->norm = (int)adamoe_parse_choice(state, "--norm", value, adamoe_norm_names, ADAMOE_NORMS);
        return 0;
    case OPTION_NULL_KIND:
        s->null_kind =
            (int)adamoe_parse_choice(state, "--null-kind", value, adamoe_null_kind_names, ADAMOE_NULL_KINDS);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_conversion(int key, char *value, struct argp_state *state)
{
    adamoe_selection_options *s = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = s;
        return 0;
    case OPTION_NULL_EXPERTS:
        s->null_experts = (size_t)adamoe_parse_count(state, "--null-experts", value, 0, UINT32_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp adamoe_rule_argp = {.options = rule_options, .parser = parse_rule};

static const struct argp_child rule_child[] = {{&adamoe_rule_argp, 0, 0, 0}, {0}};

const struct argp adamoe_selection_argp = {
    .options = conversion_option, .parser = parse_conversion, .children = rule_child};

bool adamoe_selection_given(const adamoe_selection_options *s)
{
    return s->top_k != 0 || s->null_experts != ADAMOE_AS_THE_MODEL_SAYS || s->norm >= 0 || s->null_kind >= 0;
}

size_t adamoe_selection_null_experts(const adamoe_selection_options *s, size_t of_the_model)
{
    return s->null_experts != ADAMOE_AS_THE_MODEL_SAYS ? s->null_experts : of_the_model;
}

adamoe_rule adamoe_selection_rule(const adamoe_selection_options *s, adamoe_rule rule)
{
    rule.top_k = s->top_k != 0 ? s->top_k : rule.top_k;
    rule.norm = s->norm >= 0 ? (adamoe_norm)s->norm : rule.norm;
    rule.null_kind = s->null_kind >= 0 ? (adamoe_null_kind)s->null_kind : rule.null_kind;
    return rule;
}

adamoe_status adamoe_selection_check(const adamoe_selection_options *s, const adamoe_config *config)
{
    const size_t choices = config->experts + adamoe_selection_null_experts(s, config->null_experts);
    const size_t top_k = adamoe_selection_rule(s, config->rule).top_k;
    return top_k <= choices
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--top-k: %zu, but there are %zu experts, true and null",
                              top_k, choices);
}

static adamoe_status set_null_experts(const adamoe_selection_options *s, adamoe_checkpoint *checkpoint)
{
    const adamoe_status status = adamoe_checkpoint_set_null_experts(checkpoint, s->null_experts);
    return status.code != ADAMOE_BAD_INPUT
               ? status
               : adamoe_error(ADAMOE_BAD_INPUT, "--null-experts: %.400s", status.message);
}

/* The number of experts and top-k must fit together at each step: before experts are dropped k shrinks, after
 * they were added it grows. */
adamoe_status adamoe_selection_convert(const adamoe_selection_options *s, adamoe_checkpoint *checkpoint)
{
    const adamoe_config *config = &adamoe_checkpoint_model(checkpoint)->config;
    ADAMOE_TRY(adamoe_selection_check(s, config));
    if (s->null_experts == 0) {
        ADAMOE_TRY(adamoe_checkpoint_set_rule(checkpoint, adamoe_selection_rule(s, config->rule)));
    }
    if (s->null_experts != ADAMOE_AS_THE_MODEL_SAYS) {
        ADAMOE_TRY(set_null_experts(s, checkpoint));
    }
    return adamoe_checkpoint_set_rule(checkpoint, adamoe_selection_rule(s, config->rule));
}
