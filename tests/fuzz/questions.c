/*
 * Any bytes as a file of questions: an error, or questions that keep what questions.h promises.
 */
#include "questions.h"

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
    require(question->stem != NULL || question->prompt != NULL);
    require((question->prompt != NULL) == (question->continuation != NULL));
    for (size_t i = 0; i < question->choices; i++) {
        require(question->text[i][0] != '\0');
        require(question->continuation == NULL || question->continuation[i][0] != '\0');
        for (size_t j = 0; j < i; j++) {
            require(strcmp(question->label[i], question->label[j]) != 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    adamoe_questions *questions = NULL;
    const adamoe_status status = adamoe_questions_parse("fuzz", (const char *)data, size, &questions);
    require((status.code == ADAMOE_OK) == (questions != NULL));
    if (questions != NULL) {
        require(questions->count > 0);
        for (size_t i = 0; i < questions->count; i++) {
            check(&questions->question[i]);
        }
    }
    adamoe_questions_free(questions);
    return 0;
}
