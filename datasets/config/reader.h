/*
 * Values of config.json, one at a time, and the errors that name them: "FILE: key: reason".
 */
#ifndef ADAMOE_CONFIG_READER_H
#define ADAMOE_CONFIG_READER_H

#include "adamoe.h"
#include "config/families.h"

#include <jansson.h>

typedef struct adamoe_config_reader {
    const char *path;
    const json_t *root;          /* an object */
    const adamoe_family *family; /* once it is known */
} adamoe_config_reader;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
adamoe_status
adamoe_config_error(const adamoe_config_reader *reader, const char *key, const char *format, ...);

/* NULL where the key is absent or null. */
const json_t *adamoe_config_get(const adamoe_config_reader *reader, const char *key);

/* A positive count. The first wants one; the second leaves *out alone where the key is absent or null. */
adamoe_status adamoe_config_size(const adamoe_config_reader *reader, const char *key, size_t *out);
adamoe_status adamoe_config_optional_size(const adamoe_config_reader *reader, const char *key, size_t *out);

/* A positive number that float32 can hold; `key` names it in messages. NULL is a missing one. */
adamoe_status adamoe_config_positive(const adamoe_config_reader *reader, const char *key, const json_t *value,
                                     double *out);

/* False where the key is absent or null. */
adamoe_status adamoe_config_boolean(const adamoe_config_reader *reader, const char *key, bool *out);

/* The index of a string among names[count]; 0 where the key is absent. */
adamoe_status adamoe_config_choice(const adamoe_config_reader *reader, const char *key,
                                   const char *const *names, size_t count, size_t *out);

bool adamoe_config_is_among(const char *key, const char *const *keys, size_t count);

#define ADAMOE_CONFIG_IS_AMONG(key, keys) adamoe_config_is_among(key, keys, sizeof(keys) / sizeof(keys)[0])

#endif
