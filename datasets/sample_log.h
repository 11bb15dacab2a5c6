/*
 * A line of the evaluation harness's sample log. Private to datasets/.
 */
#ifndef ADAMOE_SAMPLE_LOG_H
#define ADAMOE_SAMPLE_LOG_H

#include "question_line.h"

/* Fills *question but for its id, as adamoe_question_from_json does. */
adamoe_status adamoe_sample_log_read(const adamoe_line *line, const json_t *object,
                                     adamoe_question *question);

#endif
