/*
 * A run of `adamoe train`.
 */
#ifndef ADAMOE_TRAIN_RUN_H
#define ADAMOE_TRAIN_RUN_H

#include "train/options.h"

/* The whole verb after its options are parsed. */
adamoe_status adamoe_train_run(const adamoe_train_options *options);

#endif
