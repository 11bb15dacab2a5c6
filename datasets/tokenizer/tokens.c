/*
 * Lists of token ids.
 */
#include "tokenizer/parts.h"

#include <stdlib.h>

void adamoe_tokens_free(adamoe_tokens *tokens)
{
    free(tokens->id);
    *tokens = (adamoe_tokens){0};
}

adamoe_status adamoe_tokens_append(adamoe_tokens *tokens, uint32_t id)
{
    uint32_t *moved = adamoe_grown(tokens->id, &tokens->capacity, tokens->count + 1, sizeof *moved);
    if (moved == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    tokens->id = moved;
    moved[tokens->count++] = id;
    return adamoe_ok();
}

adamoe_status adamoe_tokens_append_all(adamoe_tokens *tokens, const adamoe_tokens *more)
{
    for (size_t i = 0; i < more->count; i++) {
        ADAMOE_TRY(adamoe_tokens_append(tokens, more->id[i]));
    }
    return adamoe_ok();
}
