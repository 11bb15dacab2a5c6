/*
 * One question out of one JSON object, in any of its forms. Private to datasets/.
 */
#ifndef ADAMOE_QUESTION_FORMS_H
#define ADAMOE_QUESTION_FORMS_H

#include "question_line.h"

/* Fills *question, which is zeroed before; on an error what was filled stays for the caller to
 * free. On success there are choices, each with text and label (which may be empty or equal), and
 * gold is one of them. */
adamoe_status adamoe_question_from_json(const adamoe_line *line, const json_t *object,
                                        adamoe_question *question);

/* Stem, choices and answer of AI2's form, or of Hugging Face's with the stem in that field. */
adamoe_status adamoe_question_stated(const adamoe_line *line, const json_t *object, const char *stem_name,
                                     adamoe_question *question);

/* *out = the id that a value is, a text or a whole number; of anything else the line's number. The caller frees. */
adamoe_status adamoe_question_id(const adamoe_line *line, const json_t *value, char **out);

#endif
