/*
 * JSON results: what JSON cannot hold, and how that is said.
 */
#include "program/json_output.h"
#include "temporary_folder.h"

#include <math.h>

static void assert_text(const char *text, const char *expected)
{
    json_t *string = adamoe_json_text(text);
    assert_non_null(string);
    assert_string_equal(json_string_value(string), expected);
    json_decref(string);
}

static void texts_become_utf8(void **state)
{
    (void)state;
    assert_text("", "");
    assert_text("caf\xc3\xa9", "caf\xc3\xa9");
    assert_text("\xff", "\xef\xbf\xbd");
    assert_text("a\xc3/\xff\xfe", "a\xef\xbf\xbd/\xef\xbf\xbd\xef\xbf\xbd");
    assert_text("\xe2\x82", "\xef\xbf\xbd"); /* cut short: one replacement */
}

static void numbers_are_finite_or_null(void **state)
{
    (void)state;
    assert_true(json_is_null(adamoe_json_number((double)NAN)));
    assert_true(json_is_null(adamoe_json_number(-HUGE_VAL)));
    json_t *number = adamoe_json_number(0.1455);
    assert_true(json_real_value(number) == 0.1455);
    json_decref(number);
}

static void what_cannot_be_expressed_is_an_error(void **state)
{
    const folder_path path = in_folder(state, "out.json");
    assert_error(adamoe_json_write(path.text, json_pack("{s:s}", "name", "\xff")), ADAMOE_ENVIRONMENT,
                 "/out.json: write: the result cannot be expressed as JSON");
    assert_int_equal(count_files(state), 0);
}

static void documents_are_written_whole(void **state)
{
    const folder_path path = in_folder(state, "out.json");
    assert_ok(adamoe_json_write(path.text, json_pack("{s:i}", "one", 1)));
    size_t size;
    char *content = read_bytes(path.text, &size);
    assert_string_equal(content, "{\n  \"one\": 1\n}\n");
    free(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_utf8),
        cmocka_unit_test(numbers_are_finite_or_null),
        cmocka_unit_test_setup_teardown(what_cannot_be_expressed_is_an_error, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(documents_are_written_whole, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
