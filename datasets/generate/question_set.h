/*
 * ARC-style questions made from the tables of facts.h, and writing questions in AI2's form.
 */
#ifndef ADAMOE_GENERATE_QUESTION_SET_H
#define ADAMOE_GENERATE_QUESTION_SET_H

#include "questions.h"

/* `count` questions with four choices A to D and ids "adamoe-0001", ...: each has exactly one right choice,
 * no two have both stem and right choice in common, and each position is right equally often (to within one).
 * The same seed gives the same questions. Errors: BAD_INPUT where the tables do not hold that many. */
adamoe_status adamoe_question_set_make(uint64_t seed, size_t count, adamoe_questions **out);

/* Writes JSON lines in AI2's form. Every question needs a stem. */
adamoe_status adamoe_question_set_write(const char *path, const adamoe_questions *questions);

#endif
