/*
 * The log of a training run: FOLDER/log.jsonl with a line for each step, and lines for a person.
 */
#ifndef ADAMOE_TRAIN_LOG_H
#define ADAMOE_TRAIN_LOG_H

#include "train/model/backprop.h"

#include <stdio.h>

typedef struct adamoe_train_log {
    char *path;
    FILE *file;
    size_t steps, every; /* of the run; from one line for a person to the next */
    double began, seen;  /* when this process began, and when it last wrote a line for a person */
    size_t tokens;       /* since then */
} adamoe_train_log;

/* What a step has to say. */
typedef struct adamoe_train_step {
    size_t step, epoch; /* from 1, and from 0 */
    const adamoe_backprop_result *result;
    double gradient_norm, learning_rate;
} adamoe_train_step;

/* Opens the log; the lines up to step `kept` stay, those after it were written by a process that was killed
 * before it saved its state. Errors: disk. */
adamoe_status adamoe_train_log_open(const char *folder, size_t kept, size_t steps, size_t every,
                                    adamoe_train_log *out);

/* Writes a line, at once, so that it survives the process. Errors: disk. */
adamoe_status adamoe_train_log_step(adamoe_train_log *log, const adamoe_train_step *step);

void adamoe_train_log_close(adamoe_train_log *log);

#endif
