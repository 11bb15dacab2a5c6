/*
 * Reading values out of tokenizer.json, with their places for messages. What the values mean is for the
 * parts.
 */
#include "tokenizer/parts.h"
#include "files/utf8.h"

#include <string.h>

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static adamoe_place
place_below(const adamoe_place *parent, const char *format, ...)
{
    adamoe_place place = *parent;
    const size_t used = strlen(place.name);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(place.name + used, sizeof place.name - used, format, arguments);
    va_end(arguments);
    return place;
}

adamoe_place adamoe_place_key(const adamoe_place *parent, const char *key)
{
    return place_below(parent, "%s%s", parent->name[0] == '\0' ? "" : ".", key);
}

adamoe_place adamoe_place_index(const adamoe_place *parent, size_t index)
{
    return place_below(parent, "[%zu]", index);
}

adamoe_status adamoe_place_error(const adamoe_place *place, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s: %s", place->path,
                        place->name[0] == '\0' ? "the document" : place->name, reason);
}

bool adamoe_json_is_set(const json_t *value)
{
    return value != NULL && !json_is_null(value);
}

static bool is_among(const char *key, const char *const keys[])
{
    for (size_t i = 0; keys[i] != NULL; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

adamoe_status adamoe_json_keys(const adamoe_place *place, const json_t *object, const char *const keys[])
{
    if (!json_is_object(object)) {
        return adamoe_place_error(place, "not an object");
    }
    const char *key;
    json_t *value;
    /* jansson's macro takes an object that is not const, and leaves it as it is. */
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!is_among(key, keys)) {
            return adamoe_place_error(place, "the key \"%.60s\" is not implemented", key);
        }
    }
    return adamoe_ok();
}

/* "absent" or "not a string": why the member is no `kind`. */
static adamoe_status wrong_member(const adamoe_place *place, const json_t *value, const char *key,
                                  const char *kind)
{
    const adamoe_place member = adamoe_place_key(place, key);
    return value == NULL ? adamoe_place_error(&member, "absent")
                         : adamoe_place_error(&member, "not %s", kind);
}

adamoe_status adamoe_json_string(const adamoe_place *place, const json_t *object, const char *key,
                                 adamoe_view *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return wrong_member(place, value, key, "a string");
    }
    *out = (adamoe_view){json_string_value(value), json_string_length(value)};
    return adamoe_ok();
}

adamoe_status adamoe_json_boolean(const adamoe_place *place, const json_t *object, const char *key, bool *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value)) {
        return wrong_member(place, value, key, "true or false");
    }
    *out = json_is_true(value);
    return adamoe_ok();
}

adamoe_status adamoe_json_boolean_or(const adamoe_place *place, const json_t *object, const char *key,
                                     bool otherwise, bool *out)
{
    *out = otherwise;
    return adamoe_json_is_set(json_object_get(object, key)) ? adamoe_json_boolean(place, object, key, out)
                                                            : adamoe_ok();
}

adamoe_status adamoe_json_id(const adamoe_place *place, const json_t *object, const char *key, uint32_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) >= ADAMOE_IDS_MOST) {
        return wrong_member(place, value, key, "a token id");
    }
    *out = (uint32_t)json_integer_value(value);
    return adamoe_ok();
}

adamoe_status adamoe_json_character(const adamoe_place *place, const json_t *object, const char *key,
                                    adamoe_view *out)
{
    ADAMOE_TRY(adamoe_json_string(place, object, key, out));
    if (adamoe_utf8_count(out->data, out->length) != 1) {
        return wrong_member(place, json_object_get(object, key), key, "one character");
    }
    return adamoe_ok();
}

adamoe_status adamoe_json_replacement(const adamoe_part *part, adamoe_view *pattern, adamoe_view *content)
{
    const adamoe_place *place = &part->place;
    ADAMOE_TRY(
        adamoe_json_keys(place, part->object, (const char *const[]){"type", "pattern", "content", NULL}));
    const adamoe_place pattern_place = adamoe_place_key(place, "pattern");
    const json_t *value = json_object_get(part->object, "pattern");
    ADAMOE_TRY(adamoe_json_keys(&pattern_place, value, (const char *const[]){"String", NULL}));
    ADAMOE_TRY(adamoe_json_string(&pattern_place, value, "String", pattern));
    if (pattern->length == 0) {
        return adamoe_place_error(&pattern_place, "empty");
    }
    return adamoe_json_string(place, part->object, "content", content);
}

adamoe_status adamoe_part_refused(const adamoe_part *part)
{
    return adamoe_place_error(&part->place, "%.60s is not implemented", part->type);
}

/* Deeper nesting has no use, and each level costs stack. */
enum { SEQUENCE_DEPTH_MOST = 8 };

static adamoe_status read_nested(const adamoe_place *place, const json_t *value, const char *list_key,
                                 size_t depth, adamoe_part_reader reader, void *context)
{
    if (!json_is_object(value)) {
        return adamoe_place_error(place, "not an object");
    }
    adamoe_view type;
    ADAMOE_TRY(adamoe_json_string(place, value, "type", &type));
    if (strcmp(type.data, "Sequence") != 0) {
        return reader(&(adamoe_part){*place, value, type.data}, context);
    }
    if (depth == SEQUENCE_DEPTH_MOST) {
        return adamoe_place_error(place, "sequences nested deeper than %d", SEQUENCE_DEPTH_MOST);
    }
    ADAMOE_TRY(adamoe_json_keys(place, value, (const char *const[]){"type", list_key, NULL}));
    const json_t *list = json_object_get(value, list_key);
    if (!json_is_array(list)) {
        return wrong_member(place, list, list_key, "a list");
    }
    const adamoe_place list_place = adamoe_place_key(place, list_key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const adamoe_place item = adamoe_place_index(&list_place, i);
        ADAMOE_TRY(read_nested(&item, json_array_get(list, i), list_key, depth + 1, reader, context));
    }
    return adamoe_ok();
}

adamoe_status adamoe_read_parts(const adamoe_place *place, const json_t *value, const char *list_key,
                                adamoe_part_reader reader, void *context)
{
    return adamoe_json_is_set(value) ? read_nested(place, value, list_key, 0, reader, context) : adamoe_ok();
}
