/*
 * Writing JSON results: whole or not at all; to a file, or to standard output alone.
 */
#ifndef ADAMOE_JSON_OUTPUT_H
#define ADAMOE_JSON_OUTPUT_H

#include "adamoe.h"

#include <jansson.h>

/* Writes `document` to `path`, or to standard output where path is "-"; takes over the reference. A NULL
 * document is reported as out of memory. */
adamoe_status adamoe_json_write(const char *path, json_t *document);

/* A number, or null where it is NaN or infinite: JSON has neither. */
json_t *adamoe_json_number(double value);

/* True where text for people may go to standard output: unless the JSON goes there. */
bool adamoe_json_leaves_stdout(const char *path);

#endif
