/*
 * What a process says that it brings: see announcement.h. That names and arithmetics make sense together is the
 * registry's matter, as for every other kernel.
 */
#include "remote/announcement.h"

#include <string.h>

const char *const adamoe_remote_arithmetic_names[ADAMOE_REMOTE_ARITHMETICS] = {"float32", "bfloat16", "int8",
                                                                               "int32", "float64"};
const char *const adamoe_remote_dtype_names[ADAMOE_REMOTE_DTYPES] = {"float32", "float16", "bfloat16"};

static const char *const guarantee_names[] = {"runs", "threads", "batch", "placement"};

#define GUARANTEES (sizeof guarantee_names / sizeof *guarantee_names)

adamoe_status adamoe_read_announcement(const json_t *message, const json_t **kernels)
{
    const json_t *version = json_object_get(message, "adamoe");
    *kernels = json_object_get(message, "kernels");
    if (!json_is_integer(version)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "announcement: no `adamoe', the version of the protocol");
    }
    if (json_integer_value(version) != ADAMOE_REMOTE_VERSION) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "announcement: version %lld of the protocol; this program speaks %d",
                            (long long)json_integer_value(version), ADAMOE_REMOTE_VERSION);
    }
    return json_array_size(*kernels) > 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "announcement: `kernels': it brings none");
}

/* The index of a text in names[count]; `count` where it is none of them. */
static size_t find(const json_t *text, const char *const *names, size_t count)
{
    size_t i = 0;
    while (i < count && (!json_is_string(text) || strcmp(json_string_value(text), names[i]) != 0)) {
        ++i;
    }
    return i;
}

static adamoe_status wrong(const char *name, const char *key, const char *expected)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "announcement: kernel %.60s: `%s': expected %s", name, key,
                        expected);
}

static adamoe_status read_arithmetic(const json_t *kernel, const char *name, const char *key,
                                     adamoe_arithmetic *out)
{
    const size_t i =
        find(json_object_get(kernel, key), adamoe_remote_arithmetic_names, ADAMOE_REMOTE_ARITHMETICS);
    *out = (adamoe_arithmetic)i;
    return i < ADAMOE_REMOTE_ARITHMETICS ? adamoe_ok()
                                         : wrong(name, key, "float32, bfloat16, int8, int32 or float64");
}

/* What need not be said: float32 then. */
static adamoe_status read_result(const json_t *kernel, const char *name, const char *key,
                                 adamoe_arithmetic *out)
{
    *out = ADAMOE_FLOAT32;
    return json_object_get(kernel, key) == NULL ? adamoe_ok() : read_arithmetic(kernel, name, key, out);
}

/* A list of names as bits; 0 where there is no list. */
static adamoe_status read_set(const json_t *kernel, const char *name, const char *key,
                              const char *const *names, size_t count, uint32_t *out)
{
    const json_t *list = json_object_get(kernel, key);
    *out = 0;
    if (list != NULL && !json_is_array(list)) {
        return wrong(name, key, "a list");
    }
    for (size_t i = 0; i < json_array_size(list); ++i) {
        const size_t bit = find(json_array_get(list, i), names, count);
        if (bit == count) {
            return wrong(name, key, "a list of the names that the protocol has");
        }
        *out |= 1u << bit;
    }
    return adamoe_ok();
}

static adamoe_status read_tiles(const json_t *kernel, const char *name, adamoe_tiles *out)
{
    const json_t *tiles = json_object_get(kernel, "tiles");
    uint32_t *const sizes[] = {&out->rows, &out->columns, &out->depth};
    static const char *const keys[] = {"rows", "columns", "depth"};
    for (size_t i = 0; i < 3; ++i) {
        const json_t *size = json_object_get(tiles, keys[i]);
        const json_int_t value = json_integer_value(size);
        if (size != NULL && (!json_is_integer(size) || value < 0 || value > (1 << 20))) {
            return wrong(name, "tiles", "sizes from 0 to 1048576");
        }
        *sizes[i] = (uint32_t)value;
    }
    return tiles == NULL || json_is_object(tiles) ? adamoe_ok() : wrong(name, "tiles", "an object");
}

/* A text or nothing. */
static adamoe_status read_text(const json_t *kernel, const char *name, const char *key, const char **out)
{
    const json_t *text = json_object_get(kernel, key);
    *out = json_string_value(text);
    return text == NULL || json_is_null(text) || json_is_string(text) ? adamoe_ok()
                                                                      : wrong(name, key, "a text");
}

static adamoe_status read_declarations(const json_t *kernel, const char *name, adamoe_announced *out)
{
    adamoe_kernel *k = &out->declared;
    const json_t *silu_error = json_object_get(kernel, "silu_error");
    ADAMOE_TRY(read_arithmetic(kernel, name, "x", &k->x));
    ADAMOE_TRY(read_arithmetic(kernel, name, "h", &k->h));
    ADAMOE_TRY(read_arithmetic(kernel, name, "weight", &k->weight));
    ADAMOE_TRY(read_arithmetic(kernel, name, "accumulate", &k->accumulate));
    ADAMOE_TRY(read_result(kernel, name, "up", &k->up));
    ADAMOE_TRY(read_result(kernel, name, "down", &k->down));
    ADAMOE_TRY(read_result(kernel, name, "y", &k->y));
    if (!json_is_number(silu_error)) {
        return wrong(name, "silu_error", "a number, in units of 2^-24");
    }
    k->silu_error = (float)json_number_value(silu_error);
    ADAMOE_TRY(read_set(kernel, name, "guarantees", guarantee_names, GUARANTEES, &k->guarantees));
    return read_tiles(kernel, name, &k->tiles);
}

adamoe_status adamoe_read_announced(const json_t *kernel, adamoe_announced *out)
{
    uint32_t dtypes = 0;
    *out = (adamoe_announced){.declared = {.abi = ADAMOE_ABI, .struct_size = sizeof(adamoe_kernel)}};
    const char *name = json_string_value(json_object_get(kernel, "name"));
    if (name == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "announcement: a kernel without `name'");
    }
    if (strpbrk(name, "\"\\") != NULL) {
        return wrong(name, "name", "a text without quotes"); /* it comes back in messages */
    }
    ADAMOE_TRY(read_declarations(kernel, name, out));
    ADAMOE_TRY(read_set(kernel, name, "weights", adamoe_remote_dtype_names, ADAMOE_REMOTE_DTYPES, &dtypes));
    ADAMOE_TRY(read_text(kernel, name, "summary", &out->declared.summary));
    ADAMOE_TRY(read_text(kernel, name, "why_not", &out->why_not));
    ADAMOE_TRY(read_text(kernel, name, "implementation", &out->implementation));
    out->declared.name = name;
    out->dtypes = dtypes != 0 ? dtypes : 1u << ADAMOE_F32;
    if (out->declared.summary == NULL) {
        out->declared.summary = "in a process of its own";
    }
    return adamoe_ok();
}
