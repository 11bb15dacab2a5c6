/*
 * `adamoe scale --calibrate`.
 */
#ifndef ADAMOE_SCALE_CALIBRATE_H
#define ADAMOE_SCALE_CALIBRATE_H

#include "scale/options.h"

/* Measures on all ranks of this run, writes the file on rank 0, and returns the exit code; does not return where one of
 * several ranks failed. `count` and `arguments` are the command line, which ranks must have in common. */
int adamoe_scale_calibrate(const adamoe_scale_options *options, int count, char *const *arguments);

#endif
