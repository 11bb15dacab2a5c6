/*
 * The tokenizer against the Hugging Face package `tokenizers`: what that made of hard texts, of variants of
 * three tokenizers, and of every text of ARC is recorded in golden/tokenizers (see
 * golden/byte_level_tokenizer.py).
 */
#include "test.h"
#include "tokenizer/tokenizer.h"
#include "fnv1a.h"

#include <jansson.h>

#define GOLDEN_PATH(name) SOURCE_PATH("tests/golden/tokenizers/" name)

static const char *const bases[] = {"byte_level", "byte_level_digits", "byte_fallback"};

/* ------------------------------------------------------------------------------------------------ helpers */

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *document = json_load_file(path, JSON_ALLOW_NUL, &error); /* one text holds a zero */
    if (document == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
    }
    return document;
}

static json_t *load_base(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, GOLDEN_PATH("%s.json"), name);
    return load(path);
}

static adamoe_tokenizer *tokenizer_of(json_t *document)
{
    char *text = json_dumps(document, 0);
    assert_non_null(text);
    adamoe_tokenizer *tokenizer = NULL;
    assert_ok(adamoe_tokenizer_parse("golden", text, strlen(text), &tokenizer));
    free(text);
    return tokenizer;
}

static uint64_t hash_ids(uint64_t hash, const adamoe_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++) {
        const uint32_t id = tokens->id[i];
        const char bytes[4] = {(char)(id & 0xFF), (char)(id >> 8 & 0xFF), (char)(id >> 16 & 0xFF),
                               (char)(id >> 24)};
        hash = adamoe_fnv1a(hash, bytes, sizeof bytes);
    }
    return hash;
}

static uint64_t hash_decoded(uint64_t hash, const adamoe_tokenizer *tokenizer, const adamoe_tokens *tokens,
                             bool skip_special)
{
    char *text = NULL;
    size_t length = 0;
    assert_ok(adamoe_tokenizer_decode(tokenizer, tokens->id, tokens->count, skip_special, &text, &length));
    assert_int_equal(text[length], 0);
    hash = adamoe_fnv1a(adamoe_fnv1a(hash, "\xFF", 1), text, length);
    free(text);
    return hash;
}

static void encode(const adamoe_tokenizer *tokenizer, const json_t *text, bool special, adamoe_tokens *out)
{
    out->count = 0;
    assert_ok(
        adamoe_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), special, out));
}

/* -------------------------------------------------------------------------------------------------- tests */

static void test_ids_of_hard_texts(void **state)
{
    (void)state;
    json_t *expected = load(GOLDEN_PATH("expected.json"));
    const json_t *texts = json_object_get(expected, "texts");
    size_t compared = 0;
    for (size_t base = 0; base < sizeof bases / sizeof bases[0]; base++) {
        json_t *document = load_base(bases[base]);
        adamoe_tokenizer *tokenizer = tokenizer_of(document);
        const json_t *lists = json_object_get(json_object_get(expected, "ids"), bases[base]);
        adamoe_tokens tokens = {0};
        for (size_t i = 0; i < json_array_size(texts); i++) {
            const json_t *ids = json_array_get(lists, i);
            encode(tokenizer, json_array_get(texts, i), true, &tokens);
            assert_int_equal(tokens.count, json_array_size(ids));
            for (size_t j = 0; j < tokens.count; j++) {
                assert_int_equal(tokens.id[j], json_integer_value(json_array_get(ids, j)));
            }
            compared++;
        }
        adamoe_tokens_free(&tokens);
        adamoe_tokenizer_close(tokenizer);
        json_decref(document);
    }
    json_decref(expected);
    assert_true(compared >= 3 * 100);
}

/* The document of a variant: its own, or a base with some of its members changed. */
static json_t *variant_document(const json_t *variant)
{
    json_t *changes = json_object_get(variant, "changes");
    const char *base = json_string_value(json_object_get(variant, "tokenizer"));
    if (base == NULL) {
        return json_incref(changes);
    }
    json_t *document = load_base(base);
    const char *key;
    json_t *value;
    json_object_foreach(changes, key, value)
    {
        if (strcmp(key, "model") == 0) {
            assert_int_equal(json_object_update(json_object_get(document, key), value), 0);
        } else {
            assert_int_equal(json_object_set(document, key, value), 0);
        }
    }
    return document;
}

/* The number of texts of which the ids, or the text that they decode to, are others than the package's. */
static size_t count_differences(const json_t *variant, const json_t *texts)
{
    const char *hashes = json_string_value(json_object_get(variant, "hashes"));
    assert_int_equal(strlen(hashes), 4 * json_array_size(texts));
    json_t *document = variant_document(variant);
    adamoe_tokenizer *tokenizer = tokenizer_of(document);
    adamoe_tokens tokens = {0};
    size_t differences = 0;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        encode(tokenizer, json_array_get(texts, i), true, &tokens);
        uint64_t hash = hash_ids(ADAMOE_FNV1A_START, &tokens);
        hash = hash_decoded(hash, tokenizer, &tokens, false);
        hash = hash_decoded(hash, tokenizer, &tokens, true);
        char digits[8];
        snprintf(digits, sizeof digits, "%04x", (unsigned)(hash & 0xFFFF));
        if (memcmp(digits, hashes + 4 * i, 4) != 0) {
            print_message("%s: text %zu differs: %s\n", json_string_value(json_object_get(variant, "name")),
                          i, json_string_value(json_array_get(texts, i)));
            differences++;
        }
    }
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
    json_decref(document);
    return differences;
}

static void test_variants(void **state)
{
    (void)state;
    json_t *expected = load(GOLDEN_PATH("expected.json"));
    json_t *variants = load(GOLDEN_PATH("variants.json"));
    size_t differences = 0;
    for (size_t i = 0; i < json_array_size(variants); i++) {
        differences += count_differences(json_array_get(variants, i), json_object_get(expected, "texts"));
    }
    assert_int_equal(json_array_size(variants), 67);
    assert_int_equal(differences, 0);
    json_decref(variants);
    json_decref(expected);
}

/* One of ARC's files: every stem and every choice. */
static void compare_arc(const json_t *entry)
{
    char path[1024];
    snprintf(path, sizeof path, SHARED_PATH("arc/%s"), json_string_value(json_object_get(entry, "file")));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    json_t *document = load_base(json_string_value(json_object_get(entry, "tokenizer")));
    adamoe_tokenizer *tokenizer = tokenizer_of(document);
    adamoe_tokens tokens = {0};
    uint64_t hash = ADAMOE_FNV1A_START;
    json_int_t texts = 0;
    json_int_t ids = 0;
    json_t *line;
    while ((line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        const json_t *question = json_object_get(line, "question");
        const json_t *choices = json_object_get(question, "choices");
        for (size_t i = 0; i <= json_array_size(choices); i++) {
            const json_t *text = i == 0 ? json_object_get(question, "stem")
                                        : json_object_get(json_array_get(choices, i - 1), "text");
            encode(tokenizer, text, false, &tokens);
            hash = hash_ids(hash, &tokens);
            texts++;
            ids += (json_int_t)tokens.count;
        }
        json_decref(line);
    }
    char digits[20];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
    assert_int_equal(texts, json_integer_value(json_object_get(entry, "texts")));
    assert_int_equal(ids, json_integer_value(json_object_get(entry, "ids")));
    assert_string_equal(digits, json_string_value(json_object_get(entry, "hash")));
    fclose(file);
    adamoe_tokens_free(&tokens);
    adamoe_tokenizer_close(tokenizer);
    json_decref(document);
}

static void test_arc(void **state)
{
    (void)state;
    SKIP_WITHOUT(SHARED_PATH("arc/ARC-Challenge-Dev.jsonl"));
    json_t *expected = load(GOLDEN_PATH("expected.json"));
    const json_t *arc = json_object_get(expected, "arc");
    for (size_t i = 0; i < json_array_size(arc); i++) {
        compare_arc(json_array_get(arc, i));
    }
    assert_int_equal(json_array_size(arc), 3 * 6);
    json_decref(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_of_hard_texts),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_arc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
