/*
 * Any bytes as a text, on a small tokenizer of each kind: what is not UTF-8 is refused, and everything else
 * comes back from its ids.
 */
#include "tokenizer/tokenizer.h"
#include "files/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* A byte as the character that byte-level tokenizers write for it, in JSON. */
static void print_byte_character(FILE *stream, unsigned byte)
{
    const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    const unsigned moved = byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7F + 0x21 : 0x43;
    fprintf(stream, "\\u%04X", printable ? byte : 0x100 + moved);
}

static adamoe_tokenizer *parse(char *document)
{
    adamoe_tokenizer *tokenizer = NULL;
    require(adamoe_tokenizer_parse("fuzz", document, strlen(document), &tokenizer).code == ADAMOE_OK);
    free(document);
    return tokenizer;
}

static adamoe_tokenizer *make_byte_level(void)
{
    char *document = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&document, &length);
    require(stream != NULL);
    fprintf(
        stream,
        "{\"added_tokens\": [{\"id\": 260, \"content\": \"<s>\", \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false, \"special\": true}, {\"id\": 261, \"content\": \"word\", "
        "\"single_word\": true, \"lstrip\": false, \"rstrip\": false, \"normalized\": true, \"special\": "
        "false}], \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", "
        "\"individual_digits\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}, "
        "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [\"a a\", "
        "\"t h\", \"th e\", \"\\u0120 the\"], \"vocab\": {\"aa\": 256, \"th\": 257, \"the\": 258, "
        "\"\\u0120the\": 259");
    for (unsigned byte = 0; byte < 256; byte++) {
        fprintf(stream, ", \"");
        if (byte == '"' || byte == '\\') {
            fprintf(stream, "\\%c", (char)byte);
        } else {
            print_byte_character(stream, byte);
        }
        fprintf(stream, "\": %u", byte);
    }
    fprintf(stream, "}}}");
    fclose(stream);
    return parse(document);
}

static adamoe_tokenizer *make_byte_fallback(void)
{
    char *document = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&document, &length);
    require(stream != NULL);
    fprintf(
        stream,
        "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
        "\"_\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"_\"}]}, "
        "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "
        "{\"String\": \"_\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, "
        "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}, \"model\": {\"type\": "
        "\"BPE\", \"byte_fallback\": true, \"merges\": [\"_ _\", \"t h\", \"_ th\", \"_ t\"], \"vocab\": "
        "{\"_\": 256, \"__\": 257, \"t\": 258, \"h\": 259, \"th\": 260, \"_th\": 261, \"_t\": 262");
    for (unsigned byte = 0; byte < 256; byte++) {
        fprintf(stream, ", \"<0x%02X>\": %u", byte, byte);
    }
    fprintf(stream, "}}}");
    fclose(stream);
    return parse(document);
}

/* The text that comes back is the one that went in, but for underscores, which stand for blanks in one of the
 * tokenizers. */
static void require_same(const char *text, const char *decoded, size_t length, bool underscores_are_blanks)
{
    for (size_t i = 0; i < length; i++) {
        require(decoded[i] == (underscores_are_blanks && text[i] == '_' ? ' ' : text[i]));
    }
}

static void check(const adamoe_tokenizer *tokenizer, const char *text, size_t size,
                  bool underscores_are_blanks)
{
    adamoe_tokens tokens = {0};
    const adamoe_status status = adamoe_tokenizer_encode(tokenizer, text, size, true, &tokens);
    if (adamoe_utf8_well_formed(text, size) < size) {
        require(status.code == ADAMOE_BAD_INPUT && tokens.count == 0);
    } else {
        require(status.code == ADAMOE_OK);
        char *decoded = NULL;
        size_t length = 0;
        require(adamoe_tokenizer_decode(tokenizer, tokens.id, tokens.count, false, &decoded, &length).code ==
                ADAMOE_OK);
        require(length == size);
        require_same(text, decoded, size, underscores_are_blanks);
        free(decoded);
    }
    adamoe_tokens_free(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static adamoe_tokenizer *byte_level;
    static adamoe_tokenizer *byte_fallback;
    if (byte_level == NULL) {
        byte_level = make_byte_level();
        byte_fallback = make_byte_fallback();
    }
    check(byte_level, (const char *)data, size, false);
    check(byte_fallback, (const char *)data, size, true);
    return 0;
}
