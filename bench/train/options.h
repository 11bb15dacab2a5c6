/*
 * The options of `adamoe train`, which its parts read.
 */
#ifndef ADAMOE_TRAIN_OPTIONS_H
#define ADAMOE_TRAIN_OPTIONS_H

#include "gradient/gradient_model.h"
#include "program/options.h"
#include "program/router_option.h"
#include "program/selection.h"
#include "eval/prompt.h"
#include "train/adamw.h"
#include "train/parameters.h"

#define ADAMOE_TRAIN_ALPHAS 16

/* bfloat16 for models, float32 for adapters. */
#define ADAMOE_TRAIN_USUAL_DTYPE ADAMOE_I64

typedef enum adamoe_train_objective {
    ADAMOE_OBJECTIVE_ANSWER = 0, /* of a question, the tokens of the answer */
    ADAMOE_OBJECTIVE_ALL = 1,    /* all tokens */
} adamoe_train_objective;

typedef struct adamoe_train_options {
    adamoe_common_options common;
    const char *model, *config, *tokenizer; /* where to start: a folder; or a config and a tokenizer */
    const char *corpus, *questions;
    const char *out;
    adamoe_format format;
    adamoe_bos bos;
    adamoe_train_objective objective;
    size_t limit; /* questions; SIZE_MAX: all */

    adamoe_selection_options selection;
    adamoe_router_option router; /* in place of the rule that those make */

    size_t epochs, steps; /* steps of 0: as many as the epochs have */
    size_t batch;         /* sequences of a step */
    adamoe_schedule schedule;
    adamoe_adamw_options adamw;
    adamoe_balance_form balance;
    adamoe_balance_pooling pooling;
    double alpha[ADAMOE_TRAIN_ALPHAS]; /* of the balance loss by epoch; the last one stays */
    size_t alphas;
    size_t lora_rank;    /* 0: all weights are trained */
    size_t lora_experts; /* n LoRA experts on each map of a dense model; 0: none */
    double lora_alpha;

    adamoe_dtype dtype; /* of what is exported */
    size_t checkpoint_every;
    bool resume;
    size_t log_every; /* steps from one line for a person to the next */
} adamoe_train_options;

/* What the command line and files call them, in the order of their enumerations. */
extern const char *const adamoe_objective_names[2];
extern const char *const adamoe_balance_names[3];
extern const char *const adamoe_pooling_names[2];
extern const char *const adamoe_schedule_names[2];

/* True where adapters of the maps of a dense model are trained: kernels/train/lora/lora_network.h. */
static inline bool adamoe_train_maps(const adamoe_train_options *options, const adamoe_config *config)
{
    return options->lora_experts > 0 || (options->lora_rank > 0 && config->architecture.dense);
}

/* Reads the options into an adamoe_train_options that holds adamoe_train_defaults(). */
extern const struct argp adamoe_train_argp;

/* The options where none is given. */
adamoe_train_options adamoe_train_defaults(void);

/* After parsing: what depends on other options and was not given. */
void adamoe_train_fill_defaults(adamoe_train_options *options);

#endif
