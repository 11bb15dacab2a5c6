/*
 * Writing JSON values to files.
 */
#ifndef ADAMOE_GENERATE_JSON_PRINT_H
#define ADAMOE_GENERATE_JSON_PRINT_H

#include "files/output_file.h"
#include <jansson.h>

/* Prints `value` and a newline, with jansson's flags. Takes the value over, also on an error; NULL stands for
 * one that could not be built and is an error (ENVIRONMENT), which names `path`. */
adamoe_status adamoe_json_print(const char *path, adamoe_output_file *file, json_t *value, size_t flags);

/* The same as a whole file, indented by one blank. */
adamoe_status adamoe_json_print_file(const char *path, json_t *value);

#endif
