/*
 * JSON documents: what is refused, and where the message says that it stands.
 */
#include "files/json_file.h"
#include "temporary_folder.h"

static adamoe_status parse_bytes(const char *text, size_t length)
{
    json_t *document = NULL;
    const adamoe_status status = adamoe_json_parse("FILE", text, length, &document);
    json_decref(document);
    return status;
}

static adamoe_status parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void places_are_named(void **state)
{
    (void)state;
    assert_ok(parse("{\"a\": [1, 2.5, null, \"\u00e9\"]}"));
    assert_ok(parse("[]  \n"));
    assert_ok(parse("\xef\xbb\xbf{}")); /* a byte-order mark */
    assert_error(parse("\xef\xbb\xbf"), ADAMOE_BAD_INPUT, "FILE: line 1 column 0: ");
    assert_error(parse("\xef\xbb\xbf\xef\xbb\xbf{}"), ADAMOE_BAD_INPUT, "FILE: line 1 column ");
    assert_error(parse(""), ADAMOE_BAD_INPUT, "FILE: line 1 column 0: ");
    assert_error(parse_bytes(NULL, 0), ADAMOE_BAD_INPUT, "FILE: line 1 column 0: ");
    assert_error(parse("{\"a\": 1,\n \"b\": }"), ADAMOE_BAD_INPUT, "FILE: line 2 column 7: ");
    assert_error(parse("{\"a\": 1,\n \"a\": 2}"), ADAMOE_BAD_INPUT,
                 "FILE: line 2 column 4: duplicate object key");
    assert_error(parse("[\"\xff\"]"), ADAMOE_BAD_INPUT, "unable to decode byte 0xff");
    assert_error(parse("[\"\xed\xa0\x80\"]"), ADAMOE_BAD_INPUT, "unable to decode byte 0xed"); /* surrogate */
    assert_error(parse("[\"\\u0000\"]"), ADAMOE_BAD_INPUT, "\\u0000 is not allowed");
    assert_error(parse_bytes("[1]\0", 4), ADAMOE_BAD_INPUT, "end of file expected");
    assert_error(parse("[9223372036854775808]"), ADAMOE_BAD_INPUT, "too big integer");
    assert_error(parse("[NaN]"), ADAMOE_BAD_INPUT, "FILE: line 1 column 4: ");
    assert_error(parse("[1] [2]"), ADAMOE_BAD_INPUT, "end of file expected");
    assert_error(parse("7"), ADAMOE_BAD_INPUT, "'[' or '{' expected");
}

static void nesting_is_limited(void **state)
{
    (void)state;
    enum { DEPTH = 1000000 };
    char *text = malloc(DEPTH);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    assert_error(parse_bytes(text, DEPTH), ADAMOE_BAD_INPUT, "maximum parsing depth reached");
    free(text);
}

static void sizes_are_counts(void **state)
{
    (void)state;
    json_t *list = NULL;
    size_t size = 7;
    static const char text[] = "[0, 9223372036854775807, -1, 1.0, \"1\", true, null]";
    assert_ok(adamoe_json_parse("FILE", text, strlen(text), &list));
    assert_true(adamoe_json_size(json_array_get(list, 0), &size));
    assert_int_equal(size, 0);
    assert_true(adamoe_json_size(json_array_get(list, 1), &size));
    assert_true(size == INT64_MAX);
    for (size_t i = 2; i < 8; ++i) { /* the last one is beyond the end: NULL */
        assert_false(adamoe_json_size(json_array_get(list, i), &size));
    }
    json_decref(list);
}

static void reads_files(void **state)
{
    const folder_path path = in_folder(state, "a.json");
    json_t *document = NULL;
    assert_error(adamoe_json_read(path.text, &document), ADAMOE_BAD_INPUT,
                 "/a.json: open: No such file or directory");
    write_text(path.text, "{\"a\":1}");
    assert_ok(adamoe_json_read(path.text, &document));
    assert_int_equal(json_integer_value(json_object_get(document, "a")), 1);
    json_decref(document);
    write_text(path.text, "");
    assert_error(adamoe_json_read(path.text, &document), ADAMOE_BAD_INPUT, "/a.json: line 1 column 0: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_named),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(sizes_are_counts),
        cmocka_unit_test_setup_teardown(reads_files, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
