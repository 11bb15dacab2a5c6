/*
 * The normal form NFC against the package `tokenizers` (tests/golden/nfc.py): every character alone and in surroundings,
 * random texts of those that compose and combine, and texts that would be slow to sort one by one.
 */
#include "test.h"
#include "files/utf8.h"
#include "tokenizer/nfc.h"
#include "fnv1a.h"

#include <jansson.h>
#include <time.h>

static uint64_t hash_normal(uint64_t hash, adamoe_text *out, const char *text, size_t length)
{
    out->length = 0;
    assert_ok(adamoe_text_append_nfc(out, (adamoe_view){text, length}));
    assert_int_equal(adamoe_utf8_well_formed(out->data, out->length), out->length);
    return adamoe_fnv1a(adamoe_fnv1a(hash, out->data, out->length), "\xFF", 1);
}

static json_t *golden(void)
{
    json_t *document = json_load_file(SOURCE_PATH("tests/golden/tokenizers/nfc.json"), 0, NULL);
    assert_non_null(document);
    return document;
}

static void assert_hash(const json_t *document, const char *key, uint64_t hash)
{
    char digits[20];
    (void)snprintf(digits, sizeof digits, "%016llx", (unsigned long long)hash);
    assert_string_equal(digits, json_string_value(json_object_get(document, key)));
}

static void test_every_character(void **state)
{
    static const struct surrounding {
        const char *before, *after;
    } surroundings[] = {
        {"", ""}, {"a\u0315", "\u0300"}, {"\u1100\u1161", "\u0323"}, {"\u0345\u0301\u0328", "\u11a8"}};
    (void)state;
    json_t *document = golden();
    adamoe_text out = {0};
    uint64_t hash = ADAMOE_FNV1A_START;
    for (uint32_t c = 0; c < 0x30000; c++) {
        for (size_t i = 0; i < 4 && !(c >= 0xD800 && c < 0xE000); i++) {
            char text[32], bytes[4];
            const size_t before = strlen(surroundings[i].before), length = adamoe_utf8_write(c, bytes);
            memcpy(text, surroundings[i].before, before);
            memcpy(text + before, bytes, length);
            strcpy(text + before + length, surroundings[i].after);
            hash = hash_normal(hash, &out, text, before + length + strlen(surroundings[i].after));
        }
    }
    assert_hash(document, "all", hash);
    adamoe_text_free(&out);
    json_decref(document);
}

static void test_random_texts(void **state)
{
    (void)state;
    json_t *document = golden();
    const char *characters = json_string_value(json_object_get(document, "characters"));
    uint32_t character[1024];
    size_t count = 0;
    for (size_t at = 0, length = strlen(characters); at < length; count++) {
        assert_true(count < 1024);
        at += adamoe_utf8_next(characters + at, length - at, &character[count]);
    }
    assert_true(count > 400);
    adamoe_text out = {0};
    uint64_t hash = ADAMOE_FNV1A_START, random = 1;
    for (size_t i = 0; i < 20000; i++) {
        char text[64];
        size_t length = 0;
        random = random * 6364136223846793005u + 1442695040888963407u;
        for (size_t left = (size_t)(random >> 33) % 12; left > 0; left--) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            length += adamoe_utf8_write(character[(random >> 33) % count], text + length);
        }
        hash = hash_normal(hash, &out, text, length);
    }
    assert_hash(document, "random", hash);
    adamoe_text_free(&out);
    json_decref(document);
}

/* A million combining characters in descending order of their classes: seconds would be hours. */
static void test_a_long_run_of_combining_characters(void **state)
{
    (void)state;
    enum { PAIRS = 500000 };
    static const char above[] = "\u0301", below[] = "\u0323"; /* classes 230 and 220 */
    char *text = malloc(4 * PAIRS);
    assert_non_null(text);
    for (size_t i = 0; i < PAIRS; i++) {
        memcpy(text + 4 * i, above, 2);
        memcpy(text + 4 * i + 2, below, 2);
    }
    adamoe_text out = {0};
    const clock_t start = clock();
    assert_ok(adamoe_text_append_nfc(&out, (adamoe_view){text, 4 * PAIRS}));
    assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
    assert_int_equal(out.length, 4 * PAIRS);
    for (size_t i = 0; i < PAIRS; i++) {
        assert_memory_equal(out.data + 2 * i, below, 2);
        assert_memory_equal(out.data + 2 * (PAIRS + i), above, 2);
    }
    adamoe_text_free(&out);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_a_long_run_of_combining_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
