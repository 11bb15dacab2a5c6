/*
 * Questions from JSON lines, each line read by a function of the caller's. Private to datasets/.
 */
#ifndef ADAMOE_QUESTION_READER_H
#define ADAMOE_QUESTION_READER_H

#include "question_line.h"
#include "questions.h"

/* Fills *question, which is zeroed before; on an error what was filled stays for the caller to free. */
typedef adamoe_status (*adamoe_question_reader)(const void *context, const adamoe_line *line,
                                                const json_t *object, adamoe_question *question);

/* As adamoe_questions_parse. */
adamoe_status adamoe_questions_parse_with(const char *path, const char *text, size_t length,
                                          adamoe_question_reader reader, const void *context,
                                          adamoe_questions **out);

#endif
