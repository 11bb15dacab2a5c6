/*
 * What came of a case of `adamoe check`.
 */
#ifndef ADAMOE_CHECK_TIERS_RESULT_H
#define ADAMOE_CHECK_TIERS_RESULT_H

#include "check/call/call.h"
#include "check/cases/cases.h"

typedef enum adamoe_check_status {
    ADAMOE_CHECK_PASSED = 0,
    ADAMOE_CHECK_FAILED = 1,
    ADAMOE_CHECK_SKIPPED = 2, /* the kernel does not do this; detail says why */
    ADAMOE_CHECK_VACUOUS = 3, /* done, but it proves nothing; detail says why */
} adamoe_check_status;

#define ADAMOE_CHECK_STATUSES 4

/* "passed", "failed", "skipped", "vacuous". */
extern const char *const adamoe_check_status_names[ADAMOE_CHECK_STATUSES];

/* The elements around one: the row above it and the row below, two columns on each side, as far as there are any. */
#define ADAMOE_AROUND_ROWS    3
#define ADAMOE_AROUND_COLUMNS 5

typedef struct adamoe_surroundings {
    size_t above, left;   /* rows and columns of them that are before it */
    size_t rows, columns; /* 0 where there are none to show */
    double got[ADAMOE_AROUND_ROWS][ADAMOE_AROUND_COLUMNS];
    double expected[ADAMOE_AROUND_ROWS][ADAMOE_AROUND_COLUMNS];
    double share[ADAMOE_AROUND_ROWS][ADAMOE_AROUND_COLUMNS]; /* error / bound; infinite where 0 is allowed */
} adamoe_surroundings;

typedef struct adamoe_check_result {
    adamoe_check_status status;
    adamoe_tier tier;     /* of the rule that failed, or of the case */
    char detail[320];     /* a line for a person; empty where it passed and there is nothing to say */
    bool has_element;     /* the outputs were compared: all that follows is set */
    size_t row, column;   /* of the element that is worst: token and channel, or input and matrix row */
    double got;           /* there */
    double expected;      /* there */
    double bound;         /* how far it may be off; 0 where it must be equal */
    double largest_ratio; /* of error / bound, at that element; infinite for a NaN, or where 0 is allowed */
    double rms_ratio;     /* of the whole tensor; above 1 fails */
    adamoe_surroundings around;
    bool shortage; /* failed: the kernel says that memory, threads or the like are short */
    /* of a gradient that is judged by a bound: the largest of each tensor; a child process
     * does not tell it */
    double tensor_ratio[ADAMOE_GRADIENT_TENSORS];
} adamoe_check_result;

#endif
