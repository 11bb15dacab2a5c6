/*
 * Reading a JSON document: jansson with strict settings, and its errors as "FILE: line N column M: reason".
 */
#ifndef ADAMOE_FILES_JSON_FILE_H
#define ADAMOE_FILES_JSON_FILE_H

#include "adamoe.h"
#include <jansson.h>

/* Parses text[length], which must be one object or array and nothing else. Refused (BAD_INPUT): a key that
 * stands twice in one object, invalid UTF-8, a zero character in a string, integers beyond 64 bits, nesting
 * deeper than jansson's limit (2048). A byte-order mark before it is skipped. Keys keep their order. *out is given back with json_decref. */
adamoe_status adamoe_json_parse(const char *path, const char *text, size_t length, json_t **out);

/* The same from a file. Errors: also those of adamoe_mapped_file_open. */
adamoe_status adamoe_json_read(const char *path, json_t **out);

/* True, and *out set, where the value is an integer that a size_t can hold. NULL is allowed and false. */
bool adamoe_json_size(const json_t *value, size_t *out);

#endif
