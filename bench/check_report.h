/*
 * What `adamoe check` says about a kernel: as text, and as JSON.
 */
#ifndef ADAMOE_CHECK_REPORT_H
#define ADAMOE_CHECK_REPORT_H

#include "check_run.h"
#include "options.h"

#include <jansson.h>

/* The results of one kernel on a list of cases. */
typedef struct adamoe_kernel_check {
    const adamoe_kernel *kernel;
    const char *why_not; /* the kernel cannot run here, and has no results; or NULL */
    const adamoe_case *cases;
    const adamoe_check_result *results; /* [count] */
    size_t count;
    /* for the command line that repeats a case */
    const adamoe_common_options *options;
    uint32_t threads;
} adamoe_kernel_check;

typedef struct adamoe_check_summary {
    size_t count[ADAMOE_CHECK_STATUSES];
    /* over the cases that passed or failed and compared something; 0 where there is none */
    double largest_ratio, median_ratio, largest_rms_ratio;
} adamoe_check_summary;

/* Errors: memory. */
adamoe_status adamoe_summarise_check(const adamoe_kernel_check *check, adamoe_check_summary *out);

/* A failed case: what is wrong where, and the command line that repeats it. */
void adamoe_print_failure(const adamoe_kernel_check *check, size_t i);

/* One line for the kernel, and one for each reason for which cases were skipped. */
void adamoe_print_check(const adamoe_kernel_check *check, const adamoe_check_summary *summary);

/* NULL where there is no memory. */
json_t *adamoe_check_json(const adamoe_kernel_check *check, const adamoe_check_summary *summary);

#endif
