/*
 * A model and its tokenizer from one folder, as verbs need them.
 */
#include "program/model_folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void adamoe_model_folder_say_note(const char *path, const adamoe_tokenizer *tokenizer)
{
    const char *note = adamoe_tokenizer_note(tokenizer);
    if (note[0] != '\0') {
        fprintf(stderr, "adamoe: note: %s: %s\n", path, note);
    }
}

/* Older folders have a tokenizer in a form that transformers makes tokenizer.json of. */
static const char *other_tokenizer(const char *folder)
{
    static const char *const names[] = {"tokenizer.model", "vocab.json", "spiece.model"};
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, names[i]) < sizeof path &&
            access(path, F_OK) == 0) {
            return names[i];
        }
    }
    return NULL;
}

static adamoe_status open_tokenizer(const char *folder, adamoe_model_folder *out)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/tokenizer.json", folder) >= sizeof path) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--model: the path is too long");
    }
    const char *other = access(path, F_OK) == 0 ? NULL : other_tokenizer(folder);
    if (other != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: open: not there; %s is not read: save_pretrained of transformers makes it",
                            path, other);
    }
    ADAMOE_TRY(adamoe_tokenizer_open(path, &out->tokenizer));
    adamoe_model_folder_say_note(path, out->tokenizer);
    return adamoe_ok();
}

adamoe_status adamoe_model_folder_knows(size_t vocab_size, const adamoe_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; ++i) {
        if (tokens->id[i] >= vocab_size) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "the tokenizer's token %" PRIu32 " occurs, but the model has %zu of them",
                                tokens->id[i], vocab_size);
        }
    }
    return adamoe_ok();
}

static adamoe_status open_rest(adamoe_status status, const char *folder, adamoe_model_folder *out)
{
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

adamoe_status adamoe_model_folder_open(const char *folder, adamoe_model_folder *out)
{
    *out = (adamoe_model_folder){0};
    return open_rest(adamoe_checkpoint_open(folder, &out->checkpoint), folder, out);
}

adamoe_status adamoe_model_folder_open_routed(const char *folder, adamoe_model_folder *out)
{
    *out = (adamoe_model_folder){0};
    return open_rest(adamoe_checkpoint_open_routed(folder, &out->checkpoint, &out->router), folder, out);
}

void adamoe_model_folder_close(adamoe_model_folder *folder)
{
    adamoe_model_router_free(&folder->router);
    adamoe_tokenizer_close(folder->tokenizer);
    adamoe_checkpoint_close(folder->checkpoint);
    *folder = (adamoe_model_folder){0};
}
