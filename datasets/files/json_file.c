/*
 * Reading a JSON document with jansson. Left out: JSON lines, comments, and any other leniency.
 */
#include "files/json_file.h"
#include "files/foreign.h"
#include "files/mapped_file.h"

#include <string.h>

static adamoe_status parse_error(const char *path, const json_error_t *error)
{
    if (json_error_code(error) == json_error_out_of_memory) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: parse: out of memory", path);
    }
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: line %d column %d: %s", path, error->line, error->column,
                        error->text);
}

/* Editors of one system put a byte-order mark in front of UTF-8. It says nothing. */
static size_t byte_order_mark(const char *text, size_t length)
{
    return length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

adamoe_status adamoe_json_parse(const char *path, const char *text, size_t length, json_t **out)
{
    json_error_t error;
    const char *foreign = adamoe_foreign_file(text, length);
    if (foreign != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s", path, foreign);
    }
    const size_t mark = byte_order_mark(text, length);
    json_t *document =
        json_loadb(length == 0 ? "" : text + mark, length - mark, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL) {
        return parse_error(path, &error);
    }
    *out = document;
    return adamoe_ok();
}

adamoe_status adamoe_json_read(const char *path, json_t **out)
{
    adamoe_mapped_file file;
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    const adamoe_status status = adamoe_json_parse(path, (const char *)file.data, file.size, out);
    adamoe_mapped_file_close(&file);
    return status;
}

bool adamoe_json_size(const json_t *value, size_t *out)
{
    if (!json_is_integer(value)) {
        return false;
    }
    const json_int_t integer = json_integer_value(value);
    if (integer < 0 || (uintmax_t)integer > SIZE_MAX) {
        return false;
    }
    *out = (size_t)integer;
    return true;
}
