/*
 * The table of tasks, as lm_eval/tasks/ of the evaluation harness describes them (its version 0.4.13).
 */
#include "tasks/tasks.h"

#define ARC(task)                                                                                            \
    {                                                                                                        \
        .name = task, .version = 1.0, .context = "Question: {question}\nAnswer:", .choices = "choices",      \
        .answer = "answerKey", .answer_is = ADAMOE_ANSWER_LABEL, .id = "id"                                  \
    }

const adamoe_task adamoe_tasks[ADAMOE_TASKS] = {
    ARC("arc_challenge"),
    ARC("arc_easy"),
    {.name = "openbookqa",
     .version = 1.0,
     .context = "{question_stem}",
     .choices = "choices",
     .answer = "answerKey",
     .answer_is = ADAMOE_ANSWER_LABEL,
     .id = "id"},
    {.name = "hellaswag",
     .version = 1.0,
     .context = "{activity_label}: {ctx_a} {ctx_b|capitalize}",
     .choices = "endings",
     .answer = "label",
     .answer_is = ADAMOE_ANSWER_FROM_ZERO,
     .id = "ind",
     .without_markup = true},
    {.name = "piqa",
     .version = 1.0,
     .context = "Question: {goal}\nAnswer:",
     .choices = "sol1 sol2",
     .answer = "label",
     .answer_is = ADAMOE_ANSWER_FROM_ZERO},
    {.name = "social_iqa",
     .version = 0.0,
     .context = "Q: {context} {question}\nA:",
     .choices = "answerA answerB answerC",
     .answer = "label",
     .answer_is = ADAMOE_ANSWER_FROM_ONE},
    {.name = "winogrande",
     .version = 1.0,
     .context = "{sentence}",
     .choices = "option1 option2",
     .answer = "answer",
     .answer_is = ADAMOE_ANSWER_FROM_ONE,
     .id = "qID",
     .blank = true},
};
