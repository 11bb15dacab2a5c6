/*
 * A learned vocabulary as a tokenizer.json of Mixtral's kind.
 */
#ifndef ADAMOE_GENERATE_TOKENIZER_FILE_H
#define ADAMOE_GENERATE_TOKENIZER_FILE_H

#include "generate/byte_pair_trainer.h"

/* <unk>, <s>, </s>, and one for each byte: they stand before the learned pieces. */
#define ADAMOE_TOKENIZER_FIXED_TOKENS (3 + 256)

/* Ids: the fixed tokens, then merged pieces in the order of merging, then single characters. */
adamoe_status adamoe_tokenizer_file_write(const char *path, const adamoe_byte_pairs *pairs);

#endif
