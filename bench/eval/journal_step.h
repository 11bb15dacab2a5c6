/*
 * A step of an evaluation as a line of its journal: the log-probabilities of the step, and the counts of all steps so far.
 */
#ifndef ADAMOE_EVAL_JOURNAL_STEP_H
#define ADAMOE_EVAL_JOURNAL_STEP_H

#include "eval/result.h"

#include <jansson.h>

/* What a journal keeps. */
typedef struct adamoe_journal_subject {
    size_t count;
    const adamoe_prompt *prompt; /* [count] */
    adamoe_outcome *outcome;     /* [count] */
    adamoe_scorer *scorer;       /* counts and work of all finished questions */
    double *seconds;             /* that they took */
    size_t *next;                /* questions before it are finished */
} adamoe_journal_subject;

/* Questions first .. *subject->next - 1. Errors: as adamoe_journal_add; on OK the caller owns *out. */
adamoe_status adamoe_journal_step_write(const adamoe_journal_subject *subject, size_t first, json_t **out);

/* Takes a line into the subject, as a whole or not at all: *taken is false where it is none, does not follow the last
 * step, or has numbers that no run of these questions can have. `line` may be NULL. Errors: memory. */
adamoe_status adamoe_journal_step_take(const adamoe_journal_subject *subject, const json_t *line,
                                       bool *taken);

#endif
