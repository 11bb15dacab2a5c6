/*
 * A byte that picks a task, and any bytes as its data set: an error, or questions that keep what tasks.h promises.
 */
#include "tasks/tasks.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check(const adamoe_question *question)
{
    require(question->id != NULL);
    require(question->choices >= 2 && question->choices <= ADAMOE_QUESTION_MAX_CHOICES);
    require(question->gold < question->choices);
    for (size_t i = 0; i < question->choices; i++) {
        require(question->text[i][0] != '\0');
        require(question->prompt[i] != NULL && question->continuation[i][0] == ' ');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    adamoe_questions *questions = NULL;
    if (size == 0) {
        return 0;
    }
    const adamoe_status status = adamoe_task_parse(&adamoe_tasks[data[0] % ADAMOE_TASKS], "fuzz",
                                                   (const char *)data + 1, size - 1, &questions);
    require((status.code == ADAMOE_OK) == (questions != NULL));
    for (size_t i = 0; questions != NULL && i < questions->count; i++) {
        check(&questions->question[i]);
    }
    adamoe_questions_free(questions);
    return 0;
}
