/*
 * What an evaluation has finished, kept in a file while it runs, so that one that was ended can be gone on with: a JSON
 * line that says whose run it is, then one for each step with its log-probabilities and the counts so far. A line that
 * was cut off by the end is left out.
 */
#ifndef ADAMOE_EVAL_JOURNAL_H
#define ADAMOE_EVAL_JOURNAL_H

#include "eval/result.h"

typedef struct adamoe_journal adamoe_journal;

/* What a journal keeps. */
typedef struct adamoe_journal_subject {
    const char *identity; /* of the run: model, questions, kernel, options; others must not go on with it */
    size_t count;
    const adamoe_prompt *prompt; /* [count] */
    adamoe_outcome *outcome;     /* [count] */
    adamoe_scorer *scorer;       /* counts and work of all finished questions */
    double *seconds;             /* that they took */
    size_t *next;                /* questions before it are finished */
} adamoe_journal_subject;

/* Begins the file, or reads what is in it into the subject, which must outlive the journal. Errors: BAD_INPUT where the
 * file is of another run, or no journal; ENVIRONMENT. */
adamoe_status adamoe_journal_open(const char *path, const adamoe_journal_subject *subject,
                                  adamoe_journal **out);

/* Adds questions first .. *subject->next - 1 and the counts. Errors: ENVIRONMENT. */
adamoe_status adamoe_journal_add(adamoe_journal *journal, size_t first);

/* Accepts NULL. A file that is no longer needed is removed. */
void adamoe_journal_close(adamoe_journal *journal, bool is_needed);

#endif
