/*
 * ARC-style multiple-choice questions, one JSON object a line, in three forms: AI2's (`question.stem`,
 * `question.choices[].text/.label`, `answerKey`), Hugging Face's (`question`, `choices.text[]/.label[]`,
 * `answerKey`), and the evaluation harness's sample log (`arguments.gen_args_i.arg_0/arg_1`, `doc`,
 * `target`).
 */
#ifndef ADAMOE_QUESTIONS_H
#define ADAMOE_QUESTIONS_H

#include "question.h"

typedef struct adamoe_questions {
    adamoe_question *question;
    size_t count;
} adamoe_questions;

/* The form is recognised line by line. Empty lines are skipped. Errors: BAD_INPUT, "FILE: line N: reason": no
 * JSON, invalid UTF-8, no answerKey, an answerKey that is not among the labels, labels given twice, fewer
 * than 2 choices or more than the maximum, a choice without text or label, a sample log with an empty
 * continuation or whose target names none of its choices, no question at all, a file of another kind (files/foreign.h), a JSON list. A byte-order mark at the
 * beginning is skipped; so are Python's NaN and Infinity, wherever no text or number is needed. */
adamoe_status adamoe_questions_read(const char *path, adamoe_questions **out);
adamoe_status adamoe_questions_parse(const char *path, const char *text, size_t length,
                                     adamoe_questions **out);
void adamoe_questions_free(adamoe_questions *questions);

#endif
