/*
 * One question out of one JSON object, in any of the three forms. Private to datasets/.
 */
#ifndef ADAMOE_QUESTION_FORMS_H
#define ADAMOE_QUESTION_FORMS_H

#include "question.h"
#include <jansson.h>

/* Where an object stands: for messages, and for the id of a question that has none. */
typedef struct adamoe_line {
    const char *path;
    size_t number; /* from 1 */
} adamoe_line;

/* BAD_INPUT with the message "FILE: line N: reason". */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
adamoe_status
adamoe_line_error(const adamoe_line *line, const char *format, ...);
adamoe_status adamoe_line_out_of_memory(const adamoe_line *line);

/* Fills *question, which is zeroed before; on an error what was filled stays for the caller to
 * free. On success there are choices, each with text and label (which may be empty or equal), and
 * gold is one of them. */
adamoe_status adamoe_question_from_json(const adamoe_line *line, const json_t *object,
                                        adamoe_question *question);

#endif
