/*
 * See rope.h. An object of either form is read by the same rules; theta stands in the new one alone.
 */
#include "config/rope.h"

#include <string.h>

/* One of the two objects. */
typedef struct rope_object {
    const adamoe_config_reader *reader;
    const char *name; /* of its key */
    const json_t *object;
} rope_object;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static adamoe_status
rope_error(const rope_object *rope, const char *key, const char *format, ...)
{
    char reason[200];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return adamoe_config_error(rope->reader, rope->name, "%.80s: %s", key, reason);
}

static const json_t *get(const rope_object *rope, const char *key)
{
    const json_t *value = json_object_get(rope->object, key);
    return json_is_null(value) ? NULL : value;
}

static adamoe_status read_number(const rope_object *rope, const char *key, double *out)
{
    char name[120];
    (void)snprintf(name, sizeof name, "%s: %s", rope->name, key);
    return adamoe_config_positive(rope->reader, name, get(rope, key), out);
}

/* `rope_type`, or `type` in older files; newer ones write both, and agree. */
static adamoe_status read_type(const rope_object *rope, adamoe_rope_type *out)
{
    static const char *const names[] = {
        [ADAMOE_ROPE_DEFAULT] = "default", [ADAMOE_ROPE_LINEAR] = "linear", [ADAMOE_ROPE_LLAMA3] = "llama3"};
    const json_t *new = get(rope, "rope_type"), *old = get(rope, "type");
    const char *key = new != NULL ? "rope_type" : "type";
    const json_t *value = new != NULL ? new : old;
    *out = ADAMOE_ROPE_DEFAULT;
    if (value == NULL) {
        return adamoe_ok();
    }
    if (!json_is_string(value)) {
        return rope_error(rope, key, "is no string");
    }
    if (new != NULL && old != NULL && !json_equal(new, old)) {
        return rope_error(rope, "type", "is not rope_type");
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        if (strcmp(json_string_value(value), names[i]) == 0) {
            *out = (adamoe_rope_type)i;
            return adamoe_ok();
        }
    }
    return rope_error(rope, key, "%.60s is not implemented", json_string_value(value));
}

/* Keys that an object of a type may have. */
static adamoe_status check_keys(const rope_object *rope, adamoe_rope_type type)
{
    static const char *const of_all[] = {"rope_type", "type"};
    static const char *const of_llama3[] = {"low_freq_factor", "high_freq_factor",
                                            "original_max_position_embeddings"};
    const bool has_theta = strcmp(rope->name, "rope_parameters") == 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)rope->object, key, value)
    {
        const bool known = json_is_null(value) || ADAMOE_CONFIG_IS_AMONG(key, of_all) ||
                           (has_theta && strcmp(key, "rope_theta") == 0) ||
                           (type != ADAMOE_ROPE_DEFAULT && strcmp(key, "factor") == 0) ||
                           (type == ADAMOE_ROPE_LLAMA3 && ADAMOE_CONFIG_IS_AMONG(key, of_llama3)) ||
                           (strcmp(key, "partial_rotary_factor") == 0 && json_is_number(value) &&
                            json_number_value(value) == 1.0);
        if (!known) {
            return rope_error(rope, key, "not implemented");
        }
    }
    return adamoe_ok();
}

static adamoe_status read_scaling(const rope_object *rope, adamoe_rope_scaling *out)
{
    *out = (adamoe_rope_scaling){.type = ADAMOE_ROPE_DEFAULT};
    if (!json_is_object(rope->object)) {
        return adamoe_config_error(rope->reader, rope->name, "is no object");
    }
    ADAMOE_TRY(read_type(rope, &out->type));
    ADAMOE_TRY(check_keys(rope, out->type));
    if (out->type == ADAMOE_ROPE_DEFAULT) {
        return adamoe_ok();
    }
    ADAMOE_TRY(read_number(rope, "factor", &out->factor));
    if (out->type == ADAMOE_ROPE_LINEAR) {
        return adamoe_ok();
    }
    ADAMOE_TRY(read_number(rope, "low_freq_factor", &out->low_frequency_factor));
    ADAMOE_TRY(read_number(rope, "high_freq_factor", &out->high_frequency_factor));
    ADAMOE_TRY(read_number(rope, "original_max_position_embeddings", &out->original_context));
    return out->low_frequency_factor < out->high_frequency_factor
               ? adamoe_ok()
               : rope_error(rope, "high_freq_factor", "is not above low_freq_factor");
}

static bool same_scaling(const adamoe_rope_scaling *a, const adamoe_rope_scaling *b)
{
    return a->type == b->type && a->factor == b->factor &&
           a->low_frequency_factor == b->low_frequency_factor &&
           a->high_frequency_factor == b->high_frequency_factor && a->original_context == b->original_context;
}

static adamoe_status read_both_scalings(const rope_object *old, const rope_object *new,
                                        adamoe_rope_scaling *out)
{
    adamoe_rope_scaling other;
    *out = (adamoe_rope_scaling){.type = ADAMOE_ROPE_DEFAULT};
    if (new->object != NULL) {
        ADAMOE_TRY(read_scaling(new, out));
    }
    if (old->object == NULL) {
        return adamoe_ok();
    }
    ADAMOE_TRY(read_scaling(old, &other));
    if (new->object != NULL && !same_scaling(&other, out)) {
        return adamoe_config_error(old->reader, old->name, "is not that of rope_parameters");
    }
    *out = other;
    return adamoe_ok();
}

adamoe_status adamoe_config_read_rope(const adamoe_config_reader *reader, adamoe_config *config)
{
    const rope_object old = {reader, "rope_scaling", adamoe_config_get(reader, "rope_scaling")};
    const rope_object new = {reader, "rope_parameters", adamoe_config_get(reader, "rope_parameters")};
    const json_t *old_theta = adamoe_config_get(reader, "rope_theta");
    ADAMOE_TRY(read_both_scalings(&old, &new, &config->rope_scaling));
    const bool has_new_theta = new.object != NULL &&get(&new, "rope_theta") != NULL;
    config->rope_theta = reader->family->rope_theta;
    if (has_new_theta) {
        ADAMOE_TRY(read_number(&new, "rope_theta", &config->rope_theta));
    }
    const double other = config->rope_theta;
    if (old_theta != NULL) {
        ADAMOE_TRY(adamoe_config_positive(reader, "rope_theta", old_theta, &config->rope_theta));
    }
    if (old_theta != NULL && has_new_theta && other != config->rope_theta) {
        return adamoe_config_error(reader, "rope_theta", "is not that of rope_parameters");
    }
    return adamoe_ok();
}
