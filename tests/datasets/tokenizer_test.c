/*
 * The tokenizer as its callers meet it: Mixtral's recorded ids, special tokens, added tokens, errors in texts
 * and ids, and texts of a megabyte. Agreement with the Hugging Face package is in tokenizer_golden_test.c,
 * refused files in tokenizer_refusal_test.c.
 */
#include "test.h"
#include "tokenizer/tokenizer.h"

#include <jansson.h>
#include <time.h>

#define MIXTRAL     SHARED_PATH("mixtral-tokenizer/tokenizer.json")
#define MIXTRAL_IDS SHARED_PATH("mixtral-tokenizer/arc-challenge-dev.ids.jsonl")

static adamoe_tokenizer *open_tokenizer(const char *path)
{
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_open(path, &tokenizer));
    return tokenizer;
}

static adamoe_tokenizer *byte_level(void)
{
    return open_tokenizer(SOURCE_PATH("tests/golden/tokenizers/byte_level.json"));
}

static adamoe_tokenizer *byte_fallback(void)
{
    return open_tokenizer(SOURCE_PATH("tests/golden/tokenizers/byte_fallback.json"));
}

static void assert_decodes(const adamoe_tokenizer *tokenizer, const adamoe_tokens *tokens, bool skip_special,
                           const char *expected)
{
    char *text = NULL;
    size_t length = 0;
    assert_ok(adamoe_tokenizer_decode(tokenizer, tokens->id, tokens->count, skip_special, &text, &length));
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
    free(text);
}

static adamoe_tokens encode(const adamoe_tokenizer *tokenizer, const char *text, bool special)
{
    adamoe_tokens tokens = {0};
    assert_ok(adamoe_tokenizer_encode(tokenizer, text, strlen(text), special, &tokens));
    return tokens;
}

/* ------------------------------------------------------------------------------------------------ Mixtral */

static void compare_recorded(const adamoe_tokenizer *tokenizer, const json_t *record)
{
    const char *text = json_string_value(json_object_get(record, "text"));
    const json_t *ids = json_object_get(record, "ids");
    adamoe_tokens plain = encode(tokenizer, text, false);
    assert_int_equal(plain.count, json_array_size(ids));
    for (size_t i = 0; i < plain.count; i++) {
        assert_int_equal(plain.id[i], json_integer_value(json_array_get(ids, i)));
    }
    assert_decodes(tokenizer, &plain, true, text);
    adamoe_tokens special = encode(tokenizer, text, true);
    assert_int_equal(special.count, plain.count + 1);
    assert_int_equal(special.id[0], 1);
    assert_memory_equal(special.id + 1, plain.id, plain.count * sizeof *plain.id);
    assert_decodes(tokenizer, &special, true, text);
    adamoe_tokens_free(&plain);
    adamoe_tokens_free(&special);
}

static void test_mixtral(void **state)
{
    (void)state;
    SKIP_WITHOUT(MIXTRAL);
    SKIP_WITHOUT(MIXTRAL_IDS);
    adamoe_tokenizer *tokenizer = open_tokenizer(MIXTRAL);
    assert_int_equal(adamoe_tokenizer_vocab_size(tokenizer), 32000);
    FILE *file = fopen(MIXTRAL_IDS, "r");
    assert_non_null(file);
    size_t texts = 0;
    json_t *record;
    while ((record = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        compare_recorded(tokenizer, record);
        json_decref(record);
        texts++;
    }
    assert_int_equal(texts, 1477);
    fclose(file);
    adamoe_tokenizer_close(tokenizer);
}

static void test_mixtral_special_tokens(void **state)
{
    (void)state;
    SKIP_WITHOUT(MIXTRAL);
    adamoe_tokenizer *tokenizer = open_tokenizer(MIXTRAL);
    adamoe_tokens tokens = encode(tokenizer, "<s>[INST] Hi [/INST]</s> Hello</s>", false);
    assert_int_equal(tokens.id[0], 1);
    assert_int_equal(tokens.id[tokens.count - 1], 2);
    assert_decodes(tokenizer, &tokens, false, "<s> [INST] Hi [/INST]</s>  Hello</s>");
    assert_decodes(tokenizer, &tokens, true, "[INST] Hi [/INST]  Hello");
    adamoe_tokens_free(&tokens);
    uint32_t id = 0;
    assert_true(adamoe_tokenizer_id(tokenizer, "</s>", &id));
    assert_int_equal(id, 2);
    assert_false(adamoe_tokenizer_id(tokenizer, "no such token", &id));
    assert_int_equal(id, 2);
    adamoe_tokenizer_close(tokenizer);
}

/* -------------------------------------------------------------------------------------------------- rules */

static void test_empty_text(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer = byte_fallback();
    adamoe_tokens tokens = encode(tokenizer, "", false);
    assert_int_equal(tokens.count, 0);
    assert_decodes(tokenizer, &tokens, true, "");
    assert_ok(adamoe_tokenizer_encode(tokenizer, NULL, 0, true, &tokens));
    assert_int_equal(tokens.count, 1); /* <s> alone */
    assert_int_equal(tokens.id[0], 1);
    assert_decodes(tokenizer, &tokens, true, "");
    assert_decodes(tokenizer, &tokens, false, "<s>");
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
}

static void test_encoding_appends(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer = byte_level();
    adamoe_tokens tokens = {0};
    assert_ok(adamoe_tokens_append(&tokens, 7));
    assert_ok(adamoe_tokenizer_encode(tokenizer, "!", 1, true, &tokens));
    assert_int_equal(tokens.count, 2);
    assert_int_equal(tokens.id[0], 7);
    uint32_t id = 0;
    assert_true(adamoe_tokenizer_id(tokenizer, "!", &id));
    assert_int_equal(tokens.id[1], id);
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
}

/* An error names the place and leaves the list as it was. */
static void test_invalid_text(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer = byte_level();
    adamoe_tokens tokens = {0};
    assert_ok(adamoe_tokens_append(&tokens, 7));
    assert_error(adamoe_tokenizer_encode(tokenizer, "ab\xFF", 3, true, &tokens), ADAMOE_BAD_INPUT,
                 "text: offset 2: 0xFF is not UTF-8 here");
    assert_error(adamoe_tokenizer_encode(tokenizer, "\xC3\xA9\xE2\x96", 4, true, &tokens), ADAMOE_BAD_INPUT,
                 "text: offset 2: 0xE2 is not UTF-8 here");
    assert_error(adamoe_tokenizer_encode(tokenizer, "\xED\xA0\x80", 3, true, &tokens), ADAMOE_BAD_INPUT,
                 "text: offset 0: 0xED is not UTF-8 here");
    assert_int_equal(tokens.count, 1);
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
}

static void test_id_outside_the_vocabulary(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer = byte_level();
    assert_int_equal(adamoe_tokenizer_vocab_size(tokenizer), 1000);
    const uint32_t ids[] = {0, 999, 1000};
    char *text = NULL;
    size_t length = 0;
    assert_ok(adamoe_tokenizer_decode(tokenizer, ids, 2, false, &text, &length));
    free(text);
    assert_error(adamoe_tokenizer_decode(tokenizer, ids, 3, false, &text, &length), ADAMOE_BAD_INPUT,
                 "ids: number 3: no token has the id 1000");
    adamoe_tokenizer_close(tokenizer);
}

/* A hole between ids is in the vocabulary's size and yet no token. */
static void test_hole_between_ids(void **state)
{
    (void)state;
    static const char document[] =
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 5}, \"merges\": []}}";
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_parse("holes", document, sizeof document - 1, &tokenizer));
    assert_int_equal(adamoe_tokenizer_vocab_size(tokenizer), 6);
    char *text = NULL;
    size_t length = 0;
    assert_error(adamoe_tokenizer_decode(tokenizer, &(const uint32_t){3}, 1, false, &text, &length),
                 ADAMOE_BAD_INPUT, "no token has the id 3");
    adamoe_tokenizer_close(tokenizer);
}

/* Half of a character decodes to U+FFFD, in both kinds. */
static void test_incomplete_characters(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer = byte_level();
    adamoe_tokens tokens = encode(tokenizer, "\xF4\x8F\xBF\xBF", false); /* no merge joins these bytes */
    assert_int_equal(tokens.count, 4);
    assert_decodes(tokenizer, &tokens, false, "\xF4\x8F\xBF\xBF");
    tokens.count = 3;
    assert_decodes(tokenizer, &tokens, false, "\xEF\xBF\xBD");
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);

    tokenizer = byte_fallback();
    tokens = encode(tokenizer, "\xF4\x8F\xBF\xBF", false);
    assert_int_equal(tokens.count, 5); /* the metaspace first */
    assert_decodes(tokenizer, &tokens, false, "\xF4\x8F\xBF\xBF");
    tokens.count = 4;
    assert_decodes(tokenizer, &tokens, false, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
}

/* An unknown token that the vocabulary lacks is needed only where a character is unknown. What was appended
 * before that is taken back. */
static void test_missing_unknown_token(void **state)
{
    (void)state;
    static const char document[] = "{\"pre_tokenizer\": {\"type\": \"Digits\", \"individual_digits\": true}, "
                                   "\"model\": {\"type\": \"BPE\", "
                                   "\"unk_token\": \"?\", \"vocab\": {\"a\": 0, \"1\": 1}, \"merges\": []}}";
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_parse("unknown", document, sizeof document - 1, &tokenizer));
    adamoe_tokens tokens = encode(tokenizer, "a1", false);
    assert_int_equal(tokens.count, 2);
    assert_error(adamoe_tokenizer_encode(tokenizer, "a1\xC3\xA9", 4, false, &tokens), ADAMOE_BAD_INPUT,
                 "text: \"\xC3\xA9\": neither it nor unk_token is in the vocabulary");
    assert_int_equal(tokens.count, 2);
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
}

/* Special tokens before and after a text, and neither where they are not asked for. */
static void test_template(void **state)
{
    (void)state;
    static const char document[] =
        "{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
        "\"B\", "
        "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": "
        "\"E\", "
        "\"type_id\": 0}}], \"pair\": [], \"special_tokens\": {\"B\": {\"id\": \"B\", \"ids\": [2, 1], "
        "\"tokens\": "
        "[]}, \"E\": {\"id\": \"E\", \"ids\": [2], \"tokens\": []}}}, "
        "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"e\": 2}, \"merges\": []}}";
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_parse("template", document, sizeof document - 1, &tokenizer));
    adamoe_tokens tokens = encode(tokenizer, "a", true);
    assert_int_equal(tokens.count, 4);
    static const uint32_t expected[] = {2, 1, 0, 2};
    assert_memory_equal(tokens.id, expected, sizeof expected);
    adamoe_tokens_free(&tokens);
    tokens = encode(tokenizer, "a", false);
    assert_int_equal(tokens.count, 1);
    assert_int_equal(tokens.id[0], 0);
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
}

/* A pattern that backtracks without end is stopped. */
static void test_endless_pattern(void **state)
{
    (void)state;
    static const char document[] = "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": "
                                   "\"(a+)+b\"}, \"behavior\": \"Isolated\", "
                                   "\"invert\": false}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, "
                                   "\"c\": 1}, \"merges\": []}}";
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_parse("endless", document, sizeof document - 1, &tokenizer));
    adamoe_tokens tokens = {0};
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac b";
    assert_error(adamoe_tokenizer_encode(tokenizer, text, sizeof text - 1, false, &tokens), ADAMOE_BAD_INPUT,
                 "text: the pre-tokenizer's pattern: match limit exceeded");
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
}

/* --------------------------------------------------------------------------------------------- long texts */

enum { MEGABYTE = 1 << 20 };

/* Encodes and decodes a megabyte. Quadratic work would take hours; the bound leaves room for sanitizers. */
static void encode_long(const adamoe_tokenizer *tokenizer, const char *text, size_t least_ids)
{
    const clock_t begin = clock();
    adamoe_tokens tokens = {0};
    assert_ok(adamoe_tokenizer_encode(tokenizer, text, MEGABYTE, false, &tokens));
    assert_true(tokens.count >= least_ids && tokens.count <= MEGABYTE + 1);
    char *decoded = NULL;
    size_t length = 0;
    assert_ok(adamoe_tokenizer_decode(tokenizer, tokens.id, tokens.count, false, &decoded, &length));
    assert_int_equal(length, MEGABYTE);
    assert_memory_equal(decoded, text, MEGABYTE);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("%zu ids in %.2f s\n", tokens.count, seconds);
    assert_true(seconds < 30.0);
    free(decoded);
    adamoe_tokens_free(&tokens);
}

static void encode_long_texts(const adamoe_tokenizer *tokenizer)
{
    char *text = malloc(MEGABYTE);
    assert_non_null(text);
    static const char runs[] = {'a', 'z', ' ', '\n', '1', '!', '\''};
    for (size_t i = 0; i < sizeof runs; i++) {
        memset(text, runs[i], MEGABYTE);
        encode_long(tokenizer, text, 1);
    }
    uint32_t random = 1;
    for (size_t i = 0; i < MEGABYTE; i++) {
        random = random * 1664525u + 1013904223u;
        text[i] = "etaoinshrdlucmfw   .,"[(random >> 16) % 21];
    }
    encode_long(tokenizer, text, MEGABYTE / 16);
    free(text);
}

static void test_long_texts(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer = byte_level();
    encode_long_texts(tokenizer);
    adamoe_tokenizer_close(tokenizer);
    tokenizer = byte_fallback();
    encode_long_texts(tokenizer);
    adamoe_tokenizer_close(tokenizer);
    if (access(MIXTRAL, R_OK) == 0) {
        tokenizer = open_tokenizer(MIXTRAL);
        encode_long_texts(tokenizer);
        adamoe_tokenizer_close(tokenizer);
    }
}

/* Every pair can be merged, up to tokens of 16 letters: the heap and the list do all their work. */
static void test_long_text_of_merges(void **state)
{
    (void)state;
    static const char document[] =
        "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"aa\": 1, "
        "\"aaaa\": 2, \"aaaaaaaa\": 3, \"aaaaaaaaaaaaaaaa\": 4}, \"merges\": [\"a a\", \"aa aa\", \"aaaa "
        "aaaa\", "
        "\"aaaaaaaa aaaaaaaa\"]}}";
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_parse("merges", document, sizeof document - 1, &tokenizer));
    char *text = malloc(MEGABYTE);
    assert_non_null(text);
    memset(text, 'a', MEGABYTE);
    encode_long(tokenizer, text, MEGABYTE / 16);
    adamoe_tokens tokens = {0};
    assert_ok(adamoe_tokenizer_encode(tokenizer, text, MEGABYTE - 1, false, &tokens));
    assert_int_equal(tokens.count, MEGABYTE / 16 - 1 + 4); /* 15 = 8 + 4 + 2 + 1 remain at the end */
    assert_int_equal(tokens.id[0], 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(tokens.id[tokens.count - 4 + i], 3 - i);
    }
    adamoe_tokens_free(&tokens);
    free(text);
    adamoe_tokenizer_close(tokenizer);
}

/* White space that every token takes along is measured once. */
static void test_long_white_space_after_tokens(void **state)
{
    (void)state;
    static const char document[] =
        "{\"added_tokens\": [{\"id\": 1, \"content\": \" \", \"single_word\": false, \"lstrip\": true, "
        "\"rstrip\": true, \"normalized\": false, \"special\": false}], "
        "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}";
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_parse("blanks", document, sizeof document - 1, &tokenizer));
    char *text = malloc(MEGABYTE);
    assert_non_null(text);
    memset(text, ' ', MEGABYTE);
    adamoe_tokens tokens = {0};
    assert_ok(adamoe_tokenizer_encode(tokenizer, text, MEGABYTE, false, &tokens));
    assert_int_equal(tokens.count, MEGABYTE); /* as many as the package finds */
    adamoe_tokens_free(&tokens);
    free(text);
    adamoe_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixtral),
        cmocka_unit_test(test_mixtral_special_tokens),
        cmocka_unit_test(test_empty_text),
        cmocka_unit_test(test_encoding_appends),
        cmocka_unit_test(test_invalid_text),
        cmocka_unit_test(test_id_outside_the_vocabulary),
        cmocka_unit_test(test_hole_between_ids),
        cmocka_unit_test(test_incomplete_characters),
        cmocka_unit_test(test_missing_unknown_token),
        cmocka_unit_test(test_template),
        cmocka_unit_test(test_endless_pattern),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_long_text_of_merges),
        cmocka_unit_test(test_long_white_space_after_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
