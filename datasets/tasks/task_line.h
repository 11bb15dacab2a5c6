/*
 * One line of a task's data set. Private to datasets/tasks/.
 */
#ifndef ADAMOE_TASKS_TASK_LINE_H
#define ADAMOE_TASKS_TASK_LINE_H

#include "question_line.h"
#include "tasks/tasks.h"

/* Fills *question, which is zeroed before; on an error what was filled stays for the caller to free. */
adamoe_status adamoe_task_line(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                               adamoe_question *question);

#endif
