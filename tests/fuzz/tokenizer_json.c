/*
 * Any bytes as tokenizer.json: an error, or a tokenizer that encodes and decodes without harm.
 */
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* Any result is right; ids must be in the vocabulary, and a list is untouched by an error. */
static void use(const adamoe_tokenizer *tokenizer)
{
    static const char text[] = "Hello  <s>world\n it's 42, a\xC3\xA9\xE2\x96\x81 \xF0\x9F\x98\x80[x] ";
    adamoe_tokens tokens = {0};
    const adamoe_status status = adamoe_tokenizer_encode(tokenizer, text, sizeof text - 1, true, &tokens);
    require(status.code == ADAMOE_OK || tokens.count == 0);
    for (size_t i = 0; i < tokens.count; i++) {
        require(tokens.id[i] < adamoe_tokenizer_vocab_size(tokenizer));
    }
    for (int skip_special = 0; skip_special < 2; skip_special++) {
        char *decoded = NULL;
        size_t length = 0;
        require(
            adamoe_tokenizer_decode(tokenizer, tokens.id, tokens.count, skip_special != 0, &decoded, &length)
                .code == ADAMOE_OK);
        require(decoded[length] == '\0');
        free(decoded);
    }
    adamoe_tokens_free(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    adamoe_tokenizer *tokenizer = NULL;
    const adamoe_status status = adamoe_tokenizer_parse("fuzz", (const char *)data, size, &tokenizer);
    require((status.code == ADAMOE_OK) == (status.message[0] == '\0'));
    require((status.code == ADAMOE_OK) == (tokenizer != NULL));
    if (tokenizer != NULL) {
        use(tokenizer);
        adamoe_tokenizer_close(tokenizer);
    }
    return 0;
}
