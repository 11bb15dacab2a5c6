/*
 * Where training starts, and the folder that it makes.
 */
#ifndef ADAMOE_TRAIN_FOLDER_H
#define ADAMOE_TRAIN_FOLDER_H

#include "program/model_folder.h"
#include "train/options.h"
#include "train/lora/lora_parameters.h"

/* A model to start from, its weights in float32, and its tokenizer. */
typedef struct adamoe_train_start {
    adamoe_model_folder folder; /* --model; its tokenizer too */
    adamoe_tokenizer *own_tokenizer;
    const adamoe_tokenizer *tokenizer;
    adamoe_config config;
    adamoe_parameters *parameters;
    adamoe_model_router router; /* without a name: the config's rule */
    char *config_path;
    char *tokenizer_path; /* what is copied into the new folder */
} adamoe_train_start;

/* Opens --model and converts it as the options say, or reads --config, makes or reads a tokenizer and
 * initialises the weights. A tokenizer that is learned is written to the new folder at once. Errors:
 * BAD_INPUT as the readers report; options that do not go with the model. */
adamoe_status adamoe_train_start_open(const adamoe_train_options *options, adamoe_train_start *out);
void adamoe_train_start_close(adamoe_train_start *start);

/* What stands in the folder that -o names. */
typedef struct adamoe_train_output {
    const char *folder;
    bool made;     /* by this run */
    bool finished; /* it holds a model */
    bool begun;    /* it holds a saved state */
} adamoe_train_output;

/* Makes the folder where it is absent. Errors: it is there and holds a model or a saved state, but --resume
 * was not given (BAD_INPUT); --resume without either (BAD_INPUT); ENVIRONMENT. */
adamoe_status adamoe_train_output_open(const adamoe_train_options *options, adamoe_train_output *out);

/* After a failure: removes what this run has put into a folder that holds neither model nor saved state. */
void adamoe_train_output_abandon(const adamoe_train_output *output);

/* A path below the folder; to be freed. NULL for want of memory. */
char *adamoe_train_path(const char *folder, const char *name);

/* Writes tokenizer.json, config.json, router.json where there is one, and last of all model.safetensors, whose metadata has `run`. */
adamoe_status adamoe_train_export(const adamoe_train_options *options, const adamoe_train_start *start,
                                  const char *run);

/* Writes adapter_config.json and last of all adapters.safetensors (datasets/adapters.h), which refer to the
 * base that --model names. */
adamoe_status adamoe_train_export_maps(const adamoe_train_options *options,
                                       const adamoe_lora_parameters *lora, const char *run);

#endif
