/*
 * The forms of a question: AI2's and Hugging Face's here, a line of the evaluation harness's sample log in
 * sample_log.c.
 */
#include "question_forms.h"
#include "sample_log.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status copy_json_text(const adamoe_line *line, const json_t *value, const char *name,
                                    char **out)
{
    const char *text = "";
    ADAMOE_TRY(adamoe_line_text(line, value, name, &text));
    return adamoe_line_copy(line, text, out);
}

adamoe_status adamoe_question_id(const adamoe_line *line, const json_t *value, char **out)
{
    if (json_is_string(value)) {
        return adamoe_line_copy(line, json_string_value(value), out);
    }
    char text[32];
    if (json_is_integer(value)) {
        (void)snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        (void)snprintf(text, sizeof text, "%zu", line->number);
    }
    return adamoe_line_copy(line, text, out);
}

/* ----------------------------------------------------------------------------------- AI2 and Hugging Face */

static adamoe_status read_ai2_choices(const adamoe_line *line, const json_t *choices,
                                      adamoe_question *question)
{
    if (!json_is_array(choices)) {
        return adamoe_line_error(line, "question.choices is not an array");
    }
    ADAMOE_TRY(adamoe_line_choices(line, json_array_size(choices), question));
    for (size_t i = 0; i < question->choices; i++) {
        const json_t *choice = json_array_get(choices, i);
        ADAMOE_TRY(copy_json_text(line, json_object_get(choice, "text"), "question.choices[].text",
                                  &question->text[i]));
        ADAMOE_TRY(copy_json_text(line, json_object_get(choice, "label"), "question.choices[].label",
                                  &question->label[i]));
    }
    return adamoe_ok();
}

static adamoe_status read_hugging_face_choices(const adamoe_line *line, const json_t *choices,
                                               adamoe_question *question)
{
    const json_t *text = json_object_get(choices, "text");
    const json_t *label = json_object_get(choices, "label");
    if (!json_is_array(text) || !json_is_array(label)) {
        return adamoe_line_error(line, "choices.text and choices.label are not both arrays");
    }
    if (json_array_size(text) != json_array_size(label)) {
        return adamoe_line_error(line, "%zu choices.text but %zu choices.label", json_array_size(text),
                                 json_array_size(label));
    }
    ADAMOE_TRY(adamoe_line_choices(line, json_array_size(text), question));
    for (size_t i = 0; i < question->choices; i++) {
        ADAMOE_TRY(copy_json_text(line, json_array_get(text, i), "choices.text[]", &question->text[i]));
        ADAMOE_TRY(copy_json_text(line, json_array_get(label, i), "choices.label[]", &question->label[i]));
    }
    return adamoe_ok();
}

/* A key of OpenBookQA may have blanks before it, which the harness takes off. */
static adamoe_status find_gold(const adamoe_line *line, const char *name, const char *answer,
                               adamoe_question *question)
{
    const char *bare = answer + strspn(answer, " \t");
    for (size_t i = 0; i < question->choices; i++) {
        if (strcmp(question->label[i], answer) == 0 || strcmp(question->label[i], bare) == 0) {
            question->gold = i;
            return adamoe_ok();
        }
    }
    return adamoe_line_error(line, "%s \"%s\" is not among the labels", name, answer);
}

/* AI2 nests the stem and the choices in `question`, Hugging Face does not. */
adamoe_status adamoe_question_stated(const adamoe_line *line, const json_t *object, const char *stem_name,
                                     adamoe_question *question)
{
    const json_t *nested = json_object_get(object, "question");
    if (json_is_object(nested)) {
        ADAMOE_TRY(copy_json_text(line, json_object_get(nested, "stem"), "question.stem", &question->stem));
        ADAMOE_TRY(read_ai2_choices(line, json_object_get(nested, "choices"), question));
    } else {
        ADAMOE_TRY(copy_json_text(line, json_object_get(object, stem_name), stem_name, &question->stem));
        ADAMOE_TRY(read_hugging_face_choices(line, json_object_get(object, "choices"), question));
    }
    const char *answer = "";
    ADAMOE_TRY(adamoe_line_text(line, json_object_get(object, "answerKey"), "answerKey", &answer));
    return find_gold(line, "answerKey", answer, question);
}

/* ------------------------------------------------------------------------------------------------------- */

adamoe_status adamoe_question_from_json(const adamoe_line *line, const json_t *object,
                                        adamoe_question *question)
{
    if (!json_is_object(object)) {
        return adamoe_line_error(line, "not a JSON object");
    }
    if (json_object_get(object, "arguments") != NULL) {
        const json_t *id = json_object_get(json_object_get(object, "doc"), "id");
        ADAMOE_TRY(
            adamoe_question_id(line, id != NULL ? id : json_object_get(object, "doc_id"), &question->id));
        return adamoe_sample_log_read(line, object, question);
    }
    ADAMOE_TRY(adamoe_question_id(line, json_object_get(object, "id"), &question->id));
    return adamoe_question_stated(line, object, "question", question);
}
