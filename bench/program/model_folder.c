/*
 * A model and its tokenizer from one folder, as verbs need them.
 */
#include "program/model_folder.h"

#include <stdio.h>

static adamoe_status open_tokenizer(const char *folder, adamoe_model_folder *out)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/tokenizer.json", folder) >= sizeof path) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--model: the path is too long");
    }
    ADAMOE_TRY(adamoe_tokenizer_open(path, &out->tokenizer));
    const size_t ids = adamoe_tokenizer_vocab_size(out->tokenizer);
    const size_t vocab = adamoe_checkpoint_model(out->checkpoint)->config.vocab_size;
    if (ids > vocab) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: vocabulary: %zu ids, the model has %zu", path, ids, vocab);
    }
    return adamoe_ok();
}

adamoe_status adamoe_model_folder_open(const char *folder, adamoe_model_folder *out)
{
    *out = (adamoe_model_folder){0};
    adamoe_status status = adamoe_checkpoint_open(folder, &out->checkpoint);
    if (status.code == ADAMOE_OK) {
        status = open_tokenizer(folder, out);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_checkpoint_check_finite(out->checkpoint);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_model_folder_close(out);
    }
    return status;
}

void adamoe_model_folder_close(adamoe_model_folder *folder)
{
    adamoe_tokenizer_close(folder->tokenizer);
    adamoe_checkpoint_close(folder->checkpoint);
    *folder = (adamoe_model_folder){0};
}
