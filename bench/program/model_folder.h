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
} adamoe_model_folder;

/* Opens both and checks that every weight is finite and that the tokenizer's ids lie inside the model's
 * vocabulary. On failure nothing stays open. */
adamoe_status adamoe_model_folder_open(const char *folder, adamoe_model_folder *out);
void adamoe_model_folder_close(adamoe_model_folder *folder);

#endif
