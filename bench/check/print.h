/*
 * What `adamoe check` says about kernels: as text, as JSON, as JUnit XML, and in the Test Anything Protocol.
 */
#ifndef ADAMOE_CHECK_PRINT_H
#define ADAMOE_CHECK_PRINT_H

#include "check/jobs.h"

#include <jansson.h>

typedef struct adamoe_check_summary {
    size_t count[ADAMOE_CHECK_STATUSES];
    /* over the cases that were compared by a bound; 0 where there is none */
    double largest_ratio, median_ratio, largest_rms_ratio;
} adamoe_check_summary;

/* Errors: memory. */
adamoe_status adamoe_summarise_check(const adamoe_kernel_check *check, adamoe_check_summary *out);

/* Whether the kernel's own work was not looked at: of all cases, every one that calls `experts` was skipped, by the kernel
 * or for it. The rest would be the program's own router and attention, which serve in its name. *reason is the
 * first of theirs. False where some cases alone were asked for. */
bool adamoe_check_ran_nothing(const adamoe_check_options *options, const adamoe_kernel_check *check,
                              const char **reason);

/* The tier whose rule decided case i. */
const char *adamoe_check_tier_text(const adamoe_kernel_check *check, size_t i);

/* A failure in one text of one or several lines without the last line's end: what is wrong where, by how
 * much, and the command line that repeats it. */
typedef struct adamoe_failure_text {
    char text[4096];
} adamoe_failure_text;

adamoe_failure_text adamoe_describe_failure(const adamoe_check_options *options,
                                            const adamoe_kernel_check *check, size_t i);

void adamoe_print_failure(const adamoe_check_options *options, const adamoe_kernel_check *check, size_t i);

/* `widest` is the length of the longest name among the kernels. One line for the kernel and one for each tier, one for each
 * reason for which cases were skipped, and one for all that was not tried. */
void adamoe_print_check(const adamoe_kernel_check *check, const adamoe_check_summary *summary, int widest);

/* NULL where there is no memory. */
json_t *adamoe_check_json(const adamoe_check_options *options, const adamoe_kernel_check *check,
                          const adamoe_check_summary *summary);

/* Whole files, or none. Errors name the file. */
adamoe_status adamoe_check_write_junit(const adamoe_check_options *options,
                                       const adamoe_kernel_checks *checks);
adamoe_status adamoe_check_write_tap(const adamoe_check_options *options, const adamoe_kernel_checks *checks);

#endif
