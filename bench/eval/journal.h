/*
 * What an evaluation has finished, kept in a file while it runs, so that one that was ended can be gone on with: a JSON
 * line that says whose run it is, then one for each step with its log-probabilities and the counts so far. A line that
 * was cut off by the end is left out, and so is one that no step can have written, with what follows it: its questions
 * are run again.
 */
#ifndef ADAMOE_EVAL_JOURNAL_H
#define ADAMOE_EVAL_JOURNAL_H

#include "eval/journal_step.h"
#include "ranks/facts.h"

typedef struct adamoe_journal adamoe_journal;

/* Begins the file, or reads what is in it into the subject, which must outlive the journal. `run`: model, questions, kernel,
 * options; others must not go on with it. Errors: BAD_INPUT where the file is of another run, or no journal, and it stays
 * as it is; ENVIRONMENT. */
adamoe_status adamoe_journal_open(const char *path, const adamoe_rank_facts *run,
                                  const adamoe_journal_subject *subject, adamoe_journal **out);

/* Adds questions first .. *subject->next - 1 and the counts. Errors: a log-probability that is not finite, which JSON
 * does not have (BAD_INPUT); ENVIRONMENT. */
adamoe_status adamoe_journal_add(adamoe_journal *journal, size_t first);

/* Accepts NULL. A file that is no longer needed is removed. */
void adamoe_journal_close(adamoe_journal *journal, bool is_needed);

#endif
