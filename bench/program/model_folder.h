/*
 * A model and its tokenizer from one folder, as verbs need them.
 */
#ifndef ADAMOE_PROGRAM_MODEL_FOLDER_H
#define ADAMOE_PROGRAM_MODEL_FOLDER_H

#include "checkpoint.h"
#include "tokenizer/tokenizer.h"

typedef struct adamoe_model_folder {
    adamoe_checkpoint *checkpoint;
    adamoe_tokenizer *tokenizer;
    adamoe_model_router
        router; /* of the folder, or without a name; only adamoe_model_folder_open_routed reads it */
} adamoe_model_folder;

/* Opens both and checks that every weight is finite. A tokenizer may have ids beyond the model's rows, which
 * matter only where one occurs; what its file asks for in vain is said. On failure nothing stays open. */
adamoe_status adamoe_model_folder_open(const char *folder, adamoe_model_folder *out);

/* The same for a verb that knows routers; the first one refuses a folder that has one. */
adamoe_status adamoe_model_folder_open_routed(const char *folder, adamoe_model_folder *out);

/* Says on standard error what a tokenizer's file asks for and is not done. */
void adamoe_model_folder_say_note(const char *path, const adamoe_tokenizer *tokenizer);

/* BAD_INPUT where a token lies beyond a model's vocabulary; to be asked of every text that was encoded. */
adamoe_status adamoe_model_folder_knows(size_t vocab_size, const adamoe_tokens *tokens);
void adamoe_model_folder_close(adamoe_model_folder *folder);

#endif
