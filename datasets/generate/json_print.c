/*
 * Writing JSON values to files, whole or not at all.
 */
#include "generate/json_print.h"

adamoe_status adamoe_json_print(const char *path, adamoe_output_file *file, json_t *value, size_t flags)
{
    if (value == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: json: out of memory", path);
    }
    FILE *stream = adamoe_output_file_stream(file);
    const bool written = json_dumpf(value, stream, flags) == 0 && fputc('\n', stream) != EOF;
    json_decref(value);
    return written ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "%s: json: cannot be written", path);
}

adamoe_status adamoe_json_print_file(const char *path, json_t *value)
{
    adamoe_output_file *file;
    adamoe_status status = adamoe_output_file_open(path, &file);
    if (status.code != ADAMOE_OK) {
        json_decref(value);
        return status;
    }
    status = adamoe_json_print(path, file, value, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    if (status.code != ADAMOE_OK) {
        adamoe_output_file_discard(file);
        return status;
    }
    return adamoe_output_file_commit(file);
}
