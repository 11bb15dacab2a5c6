/*
 * What a run of `adamoe check` cannot or does not try on a kernel, so that "passed" is not taken for more than
 * it is.
 */
#ifndef ADAMOE_CHECK_NOT_TRIED_H
#define ADAMOE_CHECK_NOT_TRIED_H

#include "check/options.h"

#include <jansson.h>

/* An array of texts: "model, multiply, logits: the kernel has no dense product", of the kinds among the cases
 * that it cannot take part in; where no part of a name was asked for also "sizes above 262144 at its tile of
 * 1000000 columns". NULL where there is no memory. */
json_t *adamoe_check_not_tried(const adamoe_check_options *options, const adamoe_kernel *kernel,
                               const adamoe_case *cases, size_t count);

#endif
