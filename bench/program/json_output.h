/*
 * Writing JSON results: whole or not at all; to a file, or to standard output alone.
 */
#ifndef ADAMOE_PROGRAM_JSON_OUTPUT_H
#define ADAMOE_PROGRAM_JSON_OUTPUT_H

#include "adamoe.h"

#include <jansson.h>

/* Writes `document` to `path`, or to standard output where path is "-"; takes over the reference. A NULL
 * document is what jansson gives for a text that is not UTF-8, a number that is not finite, or for want of
 * memory; it is reported as what cannot be expressed. */
adamoe_status adamoe_json_write(const char *path, json_t *document);

/* A number, or null where it is NaN or infinite: JSON has neither. */
json_t *adamoe_json_number(double value);

/* A text, with U+FFFD in place of what is not UTF-8: paths and names need not be. NULL for want of memory. */
json_t *adamoe_json_text(const char *text);

/* True where text for people may go to standard output: unless the JSON goes there. */
bool adamoe_json_leaves_stdout(const char *path);

#endif
