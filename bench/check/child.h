/*
 * The child process of `adamoe check`, in which kernels run, and what it tells its parent: a line of JSON for
 * each event, on a descriptor of its own.
 *
 *   {"started":true}                                                             it is this program now
 *   {"kernel":"avx2-f32","why_not":null,"cases":["exact/experts/...", ...],
 *    "not_tried":[],"command":0}                                                 `list`: one for each kernel;
 *                                                                                which --command brings it, if one
 *   {"not_loaded":0,"message":"..."}                                             `list`: a --command that brings none
 *   {"begin":17}   {"end":17,"status":0,...}                                     before and after each case
 *   {"error":"out of memory","code":4}                                           the child gave up, or
 *                                                                                its plugin was refused
 *
 * A kernel that says that memory or the like is short is believed once: the child gives up. Where a work is done
 * again, the child first sees whether anything is short (check/shortage.h), and gives up where it is; a
 * kernel that says so then has failed.
 *
 * A child that ends without a last line was ended by what it ran.
 */
#ifndef ADAMOE_CHECK_CHILD_H
#define ADAMOE_CHECK_CHILD_H

#include "check/options.h"
#include "check/run.h"

#include <jansson.h>

/* The descriptor that the parent has opened for the lines. */
#define ADAMOE_CHECK_LINES 3

/* Does options->work and returns the exit code: 0, whatever the cases came to. */
int adamoe_check_child(const adamoe_check_options *options);

/* A result as a line and back: numbers keep all their bits. False where fields are missing. */
json_t *adamoe_check_result_line(size_t i, const adamoe_check_result *result);
bool adamoe_check_read_result(const json_t *line, adamoe_check_result *out);

#endif
