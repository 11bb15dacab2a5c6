/*
 * What `adamoe check` was asked for; its child processes are asked the same.
 */
#ifndef ADAMOE_CHECK_OPTIONS_H
#define ADAMOE_CHECK_OPTIONS_H

#include "check/cases/cases.h"
#include "program/options.h"

#include <string.h>

#define ADAMOE_CHECK_KERNELS 64

/* Of a kernel that none of options.common.command brings. */
#define ADAMOE_NO_COMMAND SIZE_MAX

/* Of a kernel that one of them may bring, nobody knows which. */
#define ADAMOE_ANY_COMMAND (SIZE_MAX - 1)

typedef struct adamoe_check_options {
    adamoe_common_options common;             /* its `kernel` is not used */
    const char *kernel[ADAMOE_CHECK_KERNELS]; /* [kernels]; none: all of them */
    size_t kernels;
    const char *part; /* of the names of cases; NULL: all */
    unsigned tiers;   /* bits by adamoe_tier; 0: all */
    bool exhaustive, list, fail_fast;
    bool readable_guards; /* see adamoe_guarded_allow_reads */
    const char *json, *junit, *tap;
    uint32_t jobs;    /* child processes at once */
    uint32_t timeout; /* seconds for one case */
    /* of a child: "list", or "FROM:TO", indices of cases; behind "again:" where that could not be done before, and
     * nothing else runs. NULL in the parent */
    const char *work;
} adamoe_check_options;

/* Whether the cases of the kernel of that name are wanted. */
static inline bool adamoe_check_asks_for(const adamoe_check_options *options, const char *kernel)
{
    bool asked = options->kernels == 0;
    for (size_t i = 0; i < options->kernels; ++i) {
        asked = asked || strcmp(options->kernel[i], kernel) == 0;
    }
    return asked;
}

#endif
