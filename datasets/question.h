/*
 * A multiple-choice question.
 */
#ifndef ADAMOE_QUESTION_H
#define ADAMOE_QUESTION_H

#include "adamoe.h"

/* As many as there are letters: labels that a sample log leaves out, and the letter format's. */
#define ADAMOE_QUESTION_MAX_CHOICES 26

typedef struct adamoe_question {
    char *id;       /* never NULL: where the file has none, the sample's doc_id or the line number */
    char *stem;     /* NULL of a sample log */
    size_t choices; /* 2 .. ADAMOE_QUESTION_MAX_CHOICES */
    char **text; /* [choices] of a sample log: arg_1 less its leading blank; acc_norm divides by its length */
    char **label;  /* [choices] as in the file, "A" or "1"; of a sample log "A", "B", ... */
    size_t gold;   /* index of the answer */
    char **prompt; /* [choices] of a sample log or task, exactly as logged, often all the same; else NULL */
    char **continuation; /* [choices] of a sample log or task, exactly as logged; else NULL */
} adamoe_question;

#endif
