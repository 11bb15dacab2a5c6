/*
 * generation_config.json, which a model's folder may have beside its config: the tokens that end a text.
 */
#ifndef ADAMOE_GENERATION_CONFIG_H
#define ADAMOE_GENERATION_CONFIG_H

#include "tokenizer/tokenizer.h"

/* Appends the file's eos_token_id, one token or a list of them, to *out; nothing where there is no such file
 * or key. Errors: a file that is no JSON object, a value that is no token (BAD_INPUT); memory. The caller
 * frees *out, on an error too. */
adamoe_status adamoe_generation_end_tokens(const char *folder, adamoe_tokens *out);

#endif
