/*
 * The elements around the worst one of a failed case, for a person and for programs; and from child to parent.
 */
#ifndef ADAMOE_CHECK_SURROUNDINGS_H
#define ADAMOE_CHECK_SURROUNDINGS_H

#include "check/tiers/result.h"

#include <jansson.h>

/* A block of text, three lines for each row: what was expected, what was got, and the error in shares of the bound.
 * Prints nothing where there are none. */
void adamoe_print_surroundings(const adamoe_check_result *result);

/* {"index": [row, column] of the first, "expected": [[..]], "got": [[..]], "share": [[..]]}; numbers that JSON does not
 * have are null. NULL without memory. */
json_t *adamoe_surroundings_json(const adamoe_check_result *result);

/* Exact, for the parent, which knows the element. */
json_t *adamoe_surroundings_line(const adamoe_surroundings *around);
bool adamoe_surroundings_read(const json_t *line, adamoe_surroundings *out);

#endif
