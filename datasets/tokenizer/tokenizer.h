/*
 * tokenizer.json: byte-pair encoding in the two kinds that are in use.
 *
 * Byte fallback with metaspace (Mixtral, Llama 2): a normalizer that prepends and replaces blanks, no
 * pre-tokenizer, characters outside the vocabulary as <0xNN>. Byte level (GPT-2; SmolLM2 with individual
 * digits; Qwen and OLMoE with NFC before it): a pre-tokenizer that splits by a pattern and maps bytes to printable
 * characters. Any other normalizer, pre-tokenizer, post-processor, decoder or model is refused by name, and so is every
 * setting that is not implemented. What is accepted gives the ids that the Hugging Face package `tokenizers`
 * gives, for all characters that the PCRE2 in use knows.
 */
#ifndef ADAMOE_TOKENIZER_TOKENIZER_H
#define ADAMOE_TOKENIZER_TOKENIZER_H

#include "adamoe.h"

typedef struct adamoe_tokenizer adamoe_tokenizer;

/* A growing list of token ids; zero-initialise, free with adamoe_tokens_free. */
typedef struct adamoe_tokens {
    uint32_t *id;
    size_t count, capacity;
} adamoe_tokens;

void adamoe_tokens_free(adamoe_tokens *tokens);
adamoe_status adamoe_tokens_append(adamoe_tokens *tokens, uint32_t id);

/* Read a file, or text[length] with `path` for messages only. Errors: BAD_INPUT, "FILE: place: reason", where
 * the place is a path in the document ("model.merges[3]"), or a line and column. */
adamoe_status adamoe_tokenizer_open(const char *path, adamoe_tokenizer **out);
adamoe_status adamoe_tokenizer_parse(const char *path, const char *text, size_t length,
                                     adamoe_tokenizer **out);
void adamoe_tokenizer_close(adamoe_tokenizer *tokenizer);

/* What the file asks for and is not done, for a person, or "": padding and truncation, which the package applies to
 * batches and which its users set themselves; ids of added tokens in another order than the package gives them. Valid
 * until close. */
const char *adamoe_tokenizer_note(const adamoe_tokenizer *tokenizer);

size_t adamoe_tokenizer_vocab_size(const adamoe_tokenizer *tokenizer); /* added tokens included: max id + 1 */

/* Appends the ids of text[length] (UTF-8) to *out. Added tokens in the text are recognised as such. With
 * `special`, the post-processor's special tokens are added. Errors, with "text" in the place of the file and
 * *out as it was: invalid UTF-8, named by its offset; a character that is unknown where unk_token is too; a
 * pattern that takes too many steps. */
adamoe_status adamoe_tokenizer_encode(const adamoe_tokenizer *tokenizer, const char *text, size_t length,
                                      bool special, adamoe_tokens *out);

/* The text of ids[count] as a new zero-terminated string, to be freed with free(); *length excludes the zero.
 * Special tokens are left out where skip_special. Bytes that are not UTF-8 become U+FFFD. Errors: an id
 * that no token has, named by its number from 1. */
adamoe_status adamoe_tokenizer_decode(const adamoe_tokenizer *tokenizer, const uint32_t *ids, size_t count,
                                      bool skip_special, char **text, size_t *length);

/* The id of a token by its exact content, added tokens included; false where there is none. */
bool adamoe_tokenizer_id(const adamoe_tokenizer *tokenizer, const char *content, uint32_t *id);

#endif
