/*
 * How a token selects its experts, as options over what a model or a layer says itself: --top-k, --norm, --null-kind,
 * and --null-experts, which converts.
 */
#ifndef ADAMOE_PROGRAM_SELECTION_H
#define ADAMOE_PROGRAM_SELECTION_H

#include "checkpoint.h"

#include <argp.h>

#define ADAMOE_AS_THE_MODEL_SAYS SIZE_MAX

typedef struct adamoe_selection_options {
    size_t top_k;        /* 0: as the model says */
    size_t null_experts; /* ADAMOE_AS_THE_MODEL_SAYS, or a conversion: 0 drops those there are */
    int norm, null_kind; /* -1: as the model says */
} adamoe_selection_options;

/* Everything as the model says: an initialiser. */
#define ADAMOE_SELECTION_AS_GIVEN                                                                            \
    {                                                                                                        \
        .null_experts = ADAMOE_AS_THE_MODEL_SAYS, .norm = -1, .null_kind = -1                                \
    }

/* The four options, or those three that convert nothing. Their input is an adamoe_selection_options that holds
 * ADAMOE_SELECTION_AS_GIVEN. */
extern const struct argp adamoe_selection_argp, adamoe_rule_argp;

/* Whether any of the four was given. */
bool adamoe_selection_given(const adamoe_selection_options *selection);

size_t adamoe_selection_null_experts(const adamoe_selection_options *selection, size_t of_the_model);

adamoe_rule adamoe_selection_rule(const adamoe_selection_options *selection, adamoe_rule of_the_model);

/* Errors: BAD_INPUT, with the option's name, where more experts are asked for than there will be. */
adamoe_status adamoe_selection_check(const adamoe_selection_options *selection, const adamoe_config *config);

/* Makes the checkpoint what the options say. Errors: adamoe_selection_check's and the conversion's, whose message names
 * the option where it would name a key of config.json. */
adamoe_status adamoe_selection_convert(const adamoe_selection_options *selection,
                                       adamoe_checkpoint *checkpoint);

#endif
