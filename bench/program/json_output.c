/*
 * Writing JSON results: whole or not at all; to a file, or to standard output alone.
 */
#include "program/json_output.h"
#include "files/output_file.h"
#include "files/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static adamoe_status write_stream(const char *path, const json_t *document, FILE *stream)
{
    if (json_dumpf(document, stream, JSON_INDENT(2)) != 0 || fputc('\n', stream) == EOF ||
        fflush(stream) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: write: %s", path, strerror(errno));
    }
    return adamoe_ok();
}

static adamoe_status write_file(const char *path, const json_t *document)
{
    adamoe_output_file *file = NULL;
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    const adamoe_status status = write_stream(path, document, adamoe_output_file_stream(file));
    if (status.code != ADAMOE_OK) {
        adamoe_output_file_discard(file);
        return status;
    }
    return adamoe_output_file_commit(file);
}

adamoe_status adamoe_json_write(const char *path, json_t *document)
{
    if (document == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: write: the result cannot be expressed as JSON", path);
    }
    const bool to_stdout = strcmp(path, "-") == 0;
    const adamoe_status status =
        to_stdout ? write_stream("standard output", document, stdout) : write_file(path, document);
    json_decref(document);
    return status;
}

json_t *adamoe_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

#define REPLACEMENT_CHARACTER 0xFFFDu

json_t *adamoe_json_text(const char *text)
{
    const size_t length = strlen(text);
    if (adamoe_utf8_well_formed(text, length) == length) {
        return json_stringn(text, length);
    }
    char *clean = calloc(length, 3); /* a byte at the least becomes three */
    size_t written = 0;
    if (clean == NULL) {
        return NULL;
    }
    for (size_t at = 0; at < length;) {
        uint32_t character;
        at += adamoe_utf8_next(text + at, length - at, &character);
        character = character == ADAMOE_ILL_FORMED ? REPLACEMENT_CHARACTER : character;
        written += adamoe_utf8_write(character, clean + written);
    }
    json_t *string = json_stringn(clean, written);
    free(clean);
    return string;
}

bool adamoe_json_leaves_stdout(const char *path)
{
    return path == NULL || strcmp(path, "-") != 0;
}
