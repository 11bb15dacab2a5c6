/*
 * The cases of `adamoe check`: sizes, routings and kinds of stored weights, each with a name that says all of
 * it:
 *
 *   experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:skewed/weights:bf16
 *   experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/null:identity/weights:f32
 *   experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/dispatch/weights:f32
 *   multiply/rows:65/columns:33/count:7/weights:f16
 *
 * No name is a part of another one, so that a whole name picks exactly its case.
 */
#ifndef ADAMOE_CHECK_CASES_H
#define ADAMOE_CHECK_CASES_H

#include "routing_pattern.h"

typedef enum adamoe_case_kind {
    ADAMOE_CASE_EXPERTS = 0,  /* adamoe_kernel.experts */
    ADAMOE_CASE_MULTIPLY = 1, /* adamoe_kernel.multiply; among the rows of the matrix are equal ones */
} adamoe_case_kind;

typedef struct adamoe_case {
    adamoe_case_kind kind;
    adamoe_dtype weights;
    size_t tokens; /* also the count of a dense product */
    /* of experts */
    size_t hidden_size, intermediate_size;
    adamoe_mixture mixture;
    adamoe_pattern pattern;
    adamoe_null_kind null_kind;
    bool dispatch; /* the plan scales the inputs */
    /* of a dense product */
    size_t rows, columns;
} adamoe_case;

typedef struct adamoe_case_name {
    char text[160];
} adamoe_case_name;

adamoe_case_name adamoe_name_case(const adamoe_case *c);

/* The case of a name, which need not be in the grid. False where it is no name, where n, m, k and the routing
 * do not fit together, or where it is too large to be checked (2^28 weights, 2^28 outputs). */
bool adamoe_parse_case(const char *name, adamoe_case *out);

/* All cases that are checked by default, to be freed with free(). Errors: memory. */
adamoe_status adamoe_check_grid(adamoe_case **out, size_t *count);

#endif
