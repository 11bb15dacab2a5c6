/*
 * What every form of a question is read with: errors that name the line, texts, room for choices. Private to
 * datasets/.
 */
#ifndef ADAMOE_QUESTION_LINE_H
#define ADAMOE_QUESTION_LINE_H

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

/* *out = a copy, which the caller frees. Errors: memory. */
adamoe_status adamoe_line_copy(const adamoe_line *line, const char *text, char **out);

/* *out = the text of a JSON value, which must be one; `name` is what it is called. Valid as long as it is. */
adamoe_status adamoe_line_text(const adamoe_line *line, const json_t *value, const char *name,
                               const char **out);

/* Room for texts and labels of so many choices. Errors: fewer than 2, or more than the most; memory. */
adamoe_status adamoe_line_choices(const adamoe_line *line, size_t choices, adamoe_question *question);

#endif
