/*
 * UTF-8: every character there is, and every way to be ill-formed.
 */
#include "test.h"
#include "files/utf8.h"

static void test_every_character(void **state)
{
    (void)state;
    for (uint32_t character = 0; character <= 0x10FFFF; character++) {
        char bytes[4];
        uint32_t decoded = 0;
        const size_t length = adamoe_utf8_write(character, bytes);
        const size_t read = adamoe_utf8_next(bytes, length, &decoded);
        if (character >= 0xD800 && character <= 0xDFFF) {
            assert_int_equal(decoded, ADAMOE_ILL_FORMED);
        } else {
            assert_int_equal(length, 1 + (character >= 0x80) + (character >= 0x800) + (character >= 0x10000));
            assert_int_equal(read, length);
            assert_int_equal(decoded, character);
            assert_int_equal(adamoe_utf8_count(bytes, length), 1);
            assert_int_equal(adamoe_utf8_well_formed(bytes, length), length);
        }
    }
}

static void test_known_encodings(void **state)
{
    (void)state;
    char bytes[4];
    assert_int_equal(adamoe_utf8_write(0xE9, bytes), 2);
    assert_memory_equal(bytes, "\xC3\xA9", 2);
    assert_int_equal(adamoe_utf8_write(0x2581, bytes), 3);
    assert_memory_equal(bytes, "\xE2\x96\x81", 3);
    assert_int_equal(adamoe_utf8_write(0x1F600, bytes), 4);
    assert_memory_equal(bytes, "\xF0\x9F\x98\x80", 4);
}

/* What one U+FFFD replaces: the examples of the Unicode standard, section 3.9, and the
 * bounds of table 3-7. */
static void test_ill_formed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length, replaced;
    } cases[] = {
        {"\x80", 1, 1},
        {"\xBF", 1, 1},
        {"\xC0\x80", 2, 1},
        {"\xC1\xBF", 2, 1},
        {"\xC2", 1, 1},
        {"\xC2 ", 2, 1},
        {"\xC2\xC2", 2, 1},
        {"\xE0\x9F\xBF", 3, 1},
        {"\xE0\xA0", 2, 2},
        {"\xE0\xA0 ", 3, 2},
        {"\xE2\x96", 2, 2},
        {"\xED\xA0\x80", 3, 1},
        {"\xED\xBF\xBF", 3, 1},
        {"\xEF\xBF", 2, 2},
        {"\xF0\x8F\xBF\xBF", 4, 1},
        {"\xF0\x90\x80", 3, 3},
        {"\xF0\x90 ", 3, 2},
        {"\xF4\x90\x80\x80", 4, 1},
        {"\xF4\x8F\xBF", 3, 3},
        {"\xF5\x80\x80\x80", 4, 1},
        {"\xFE", 1, 1},
        {"\xFF", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t character = 0;
        assert_int_equal(adamoe_utf8_next(cases[i].bytes, cases[i].length, &character), cases[i].replaced);
        assert_int_equal(character, ADAMOE_ILL_FORMED);
        assert_int_equal(adamoe_utf8_well_formed(cases[i].bytes, cases[i].length), 0);
    }
}

static void test_first_ill_formed_byte(void **state)
{
    (void)state;
    assert_int_equal(adamoe_utf8_well_formed("", 0), 0);
    assert_int_equal(adamoe_utf8_well_formed("abc\xE9", 4), 3);
    assert_int_equal(adamoe_utf8_well_formed("\xC3\xA9\xE2\x96", 4), 2);
    assert_int_equal(adamoe_utf8_well_formed("\xC3\xA9\0\xE2\x96\x81", 6), 6);
}

static void test_count(void **state)
{
    (void)state;
    assert_int_equal(adamoe_utf8_count("", 0), 0);
    assert_int_equal(adamoe_utf8_count("a\xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80", 10), 4);
}

static void test_white_space(void **state)
{
    (void)state;
    size_t count = 0;
    for (uint32_t character = 0; character <= 0x10FFFF; character++) {
        count += adamoe_is_white_space(character);
    }
    assert_int_equal(count, 25); /* as in PropList.txt */
    assert_true(adamoe_is_white_space(0x09) && adamoe_is_white_space(0x0D) && adamoe_is_white_space(0x85));
    assert_true(adamoe_is_white_space(0xA0) && adamoe_is_white_space(0x200A) &&
                adamoe_is_white_space(0x3000));
    assert_false(adamoe_is_white_space(0x180E) || adamoe_is_white_space(0x200B) ||
                 adamoe_is_white_space(0x1C));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character), cmocka_unit_test(test_known_encodings),
        cmocka_unit_test(test_ill_formed),      cmocka_unit_test(test_first_ill_formed_byte),
        cmocka_unit_test(test_count),           cmocka_unit_test(test_white_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
