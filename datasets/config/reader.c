/*
 * See reader.h. A list in place of a number is said to be one: configs of models whose layers differ have them.
 */
#include "config/reader.h"
#include "files/json_file.h"

#include <float.h>
#include <string.h>

adamoe_status adamoe_config_error(const adamoe_config_reader *reader, const char *key, const char *format,
                                  ...)
{
    char reason[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: %.120s: %s", reader->path, key, reason);
}

const json_t *adamoe_config_get(const adamoe_config_reader *reader, const char *key)
{
    const json_t *value = json_object_get(reader->root, key);
    return json_is_null(value) ? NULL : value;
}

bool adamoe_config_is_among(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static adamoe_status no_list(const adamoe_config_reader *reader, const char *key, const json_t *value)
{
    return json_is_array(value)
               ? adamoe_config_error(reader, key,
                                     "is a list, and one number is expected: layers that differ are not "
                                     "implemented")
               : adamoe_ok();
}

adamoe_status adamoe_config_optional_size(const adamoe_config_reader *reader, const char *key, size_t *out)
{
    const json_t *value = adamoe_config_get(reader, key);
    if (value == NULL) {
        return adamoe_ok();
    }
    ADAMOE_TRY(no_list(reader, key, value));
    if (!adamoe_json_size(value, out) || *out == 0) {
        return adamoe_config_error(reader, key, "is no positive integer");
    }
    return adamoe_ok();
}

adamoe_status adamoe_config_size(const adamoe_config_reader *reader, const char *key, size_t *out)
{
    if (adamoe_config_get(reader, key) == NULL) {
        return adamoe_config_error(reader, key, "missing");
    }
    return adamoe_config_optional_size(reader, key, out);
}

/* jansson refuses what a double cannot hold. */
adamoe_status adamoe_config_positive(const adamoe_config_reader *reader, const char *key, const json_t *value,
                                     double *out)
{
    if (value == NULL) {
        return adamoe_config_error(reader, key, "missing");
    }
    ADAMOE_TRY(no_list(reader, key, value));
    if (!json_is_number(value) || json_number_value(value) <= 0.0) {
        return adamoe_config_error(reader, key, "is no positive number");
    }
    if (json_number_value(value) > FLT_MAX) {
        return adamoe_config_error(reader, key, "%g has no float32", json_number_value(value));
    }
    *out = json_number_value(value);
    return adamoe_ok();
}

adamoe_status adamoe_config_boolean(const adamoe_config_reader *reader, const char *key, bool *out)
{
    const json_t *value = adamoe_config_get(reader, key);
    if (value != NULL && !json_is_boolean(value)) {
        return adamoe_config_error(reader, key, "is no boolean");
    }
    *out = json_is_true(value);
    return adamoe_ok();
}

adamoe_status adamoe_config_choice(const adamoe_config_reader *reader, const char *key,
                                   const char *const *names, size_t count, size_t *out)
{
    *out = 0;
    const json_t *value = adamoe_config_get(reader, key);
    if (value == NULL) {
        return adamoe_ok();
    }
    if (!json_is_string(value)) {
        return adamoe_config_error(reader, key, "is no string");
    }
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(json_string_value(value), names[i]) == 0) {
            *out = i;
            return adamoe_ok();
        }
    }
    return adamoe_config_error(reader, key, "%.80s is not implemented", json_string_value(value));
}
