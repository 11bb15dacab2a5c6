/*
 * Tasks of the evaluation harness: how the lines of a data set become what is scored. A task is one row of one
 * table. Left out: few-shot examples, tasks with generated answers, and the data sets themselves.
 */
#ifndef ADAMOE_TASKS_TASKS_H
#define ADAMOE_TASKS_TASKS_H

#include "questions.h"

/* How a row says which choice is right. */
typedef enum adamoe_answer {
    ADAMOE_ANSWER_LABEL,     /* the label of a choice */
    ADAMOE_ANSWER_FROM_ZERO, /* its number, a JSON number or a text; the first is 0 */
    ADAMOE_ANSWER_FROM_ONE,  /* the same; the first is 1 */
} adamoe_answer;

/* {field} in `context` stands for the text of that field of a line, {field|capitalize} for what Python's
 * str.capitalize makes of it. A continuation is a blank and the choice. With a blank (`_`) in the context the
 * choices take its place, each in a context of its own, and what follows it is the continuation of all, as
 * WinoGrande's partial evaluation has it. */
typedef struct adamoe_task {
    const char *name;
    double version; /* of the harness's description */
    const char *context;
    const char *choices; /* fields, one for each choice; or a field that holds a list of them */
    const char *answer;  /* field */
    adamoe_answer answer_is;
    const char *id;      /* field; NULL: the number of the line */
    bool blank;          /* the context has a blank, `_` */
    bool without_markup; /* HellaSwag's [title], [header] and [step] are taken out of context and choices */
} adamoe_task;

#define ADAMOE_TASKS 7
extern const adamoe_task adamoe_tasks[ADAMOE_TASKS];

/* Reads a task's data set, a JSON object a line with the fields of the row, as the Hub's viewer and `datasets`
 * write them; of ARC and OpenBookQA in AI2's form too. Questions have prompt and continuation, and text holds
 * the choices, whose lengths acc_norm divides by. Errors (BAD_INPUT) as of adamoe_questions_read; a line without one
 * of the fields; a split without answers; a context without its blank. */
adamoe_status adamoe_task_read(const adamoe_task *task, const char *path, adamoe_questions **out);
adamoe_status adamoe_task_parse(const adamoe_task *task, const char *path, const char *text, size_t length,
                                adamoe_questions **out);

#endif
