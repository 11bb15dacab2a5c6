/*
 * The three forms of a question: AI2's, Hugging Face's, and a line of the evaluation harness's sample log.
 *
 * A sample log holds requests: gen_args_i is choice i, arg_0 its context, arg_1 its continuation. `doc` is
 * the question as the task's data set has it, `target` the index of the answer as text. Left out: logs of
 * generation tasks and of tasks whose context differs between choices; both are refused.
 */
#include "question_forms.h"

#include <stdlib.h>
#include <string.h>

adamoe_status adamoe_line_error(const adamoe_line *line, const char *format, ...)
{
    char reason[sizeof((adamoe_status *)NULL)->message];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: line %zu: %s", line->path, line->number, reason);
}

adamoe_status adamoe_line_out_of_memory(const adamoe_line *line)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: line %zu: out of memory", line->path, line->number);
}

static adamoe_status copy_text(const adamoe_line *line, const char *text, char **out)
{
    *out = strdup(text);
    return *out == NULL ? adamoe_line_out_of_memory(line) : adamoe_ok();
}

static adamoe_status get_text(const adamoe_line *line, const json_t *value, const char *name,
                              const char **out)
{
    if (value == NULL) {
        return adamoe_line_error(line, "%s is missing", name);
    }
    if (!json_is_string(value)) {
        return adamoe_line_error(line, "%s is not a string", name);
    }
    *out = json_string_value(value);
    return adamoe_ok();
}

static adamoe_status copy_json_text(const adamoe_line *line, const json_t *value, const char *name,
                                    char **out)
{
    const char *text = "";
    ADAMOE_TRY(get_text(line, value, name, &text));
    return copy_text(line, text, out);
}

static adamoe_status read_id(const adamoe_line *line, const json_t *value, char **out)
{
    if (json_is_string(value)) {
        return copy_text(line, json_string_value(value), out);
    }
    char text[32];
    if (json_is_integer(value)) {
        (void)snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        (void)snprintf(text, sizeof text, "%zu", line->number);
    }
    return copy_text(line, text, out);
}

static adamoe_status allocate_choices(const adamoe_line *line, size_t choices, adamoe_question *question)
{
    if (choices < 2) {
        return adamoe_line_error(line, "%zu choices; there must be at least 2", choices);
    }
    if (choices > ADAMOE_QUESTION_MAX_CHOICES) {
        return adamoe_line_error(line, "%zu choices; there may be at most %d", choices,
                                 ADAMOE_QUESTION_MAX_CHOICES);
    }
    question->choices = choices;
    question->text = calloc(choices, sizeof *question->text);
    question->label = calloc(choices, sizeof *question->label);
    return question->text == NULL || question->label == NULL ? adamoe_line_out_of_memory(line) : adamoe_ok();
}

/* ----------------------------------------------------------------------------------- AI2 and Hugging Face */

static adamoe_status read_ai2_choices(const adamoe_line *line, const json_t *choices,
                                      adamoe_question *question)
{
    if (!json_is_array(choices)) {
        return adamoe_line_error(line, "question.choices is not an array");
    }
    ADAMOE_TRY(allocate_choices(line, json_array_size(choices), question));
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
    ADAMOE_TRY(allocate_choices(line, json_array_size(text), question));
    for (size_t i = 0; i < question->choices; i++) {
        ADAMOE_TRY(copy_json_text(line, json_array_get(text, i), "choices.text[]", &question->text[i]));
        ADAMOE_TRY(copy_json_text(line, json_array_get(label, i), "choices.label[]", &question->label[i]));
    }
    return adamoe_ok();
}

static adamoe_status find_gold(const adamoe_line *line, const char *name, const char *answer,
                               adamoe_question *question)
{
    for (size_t i = 0; i < question->choices; i++) {
        if (strcmp(question->label[i], answer) == 0) {
            question->gold = i;
            return adamoe_ok();
        }
    }
    return adamoe_line_error(line, "%s \"%s\" is not among the labels", name, answer);
}

/* Stem, choices and answer. AI2 nests the stem and the choices in `question`, Hugging Face does not. */
static adamoe_status read_stated(const adamoe_line *line, const json_t *object, adamoe_question *question)
{
    const json_t *stem = json_object_get(object, "question");
    if (json_is_object(stem)) {
        ADAMOE_TRY(copy_json_text(line, json_object_get(stem, "stem"), "question.stem", &question->stem));
        ADAMOE_TRY(read_ai2_choices(line, json_object_get(stem, "choices"), question));
    } else {
        ADAMOE_TRY(copy_json_text(line, stem, "question", &question->stem));
        ADAMOE_TRY(read_hugging_face_choices(line, json_object_get(object, "choices"), question));
    }
    const char *answer = "";
    ADAMOE_TRY(get_text(line, json_object_get(object, "answerKey"), "answerKey", &answer));
    return find_gold(line, "answerKey", answer, question);
}

/* -------------------------------------------------------------------------------------------- sample log */

/* A request of the log: what stands at gen_args_{choice}.arg_{part}. */
static adamoe_status get_argument(const adamoe_line *line, const json_t *requests, size_t choice, size_t part,
                                  const char **out)
{
    char request[32], argument[32], name[80];
    (void)snprintf(request, sizeof request, "gen_args_%zu", choice);
    (void)snprintf(argument, sizeof argument, "arg_%zu", part);
    (void)snprintf(name, sizeof name, "arguments.%s.%s", request, argument);
    return get_text(line, json_object_get(json_object_get(requests, request), argument), name, out);
}

static adamoe_status read_requests(const adamoe_line *line, const json_t *requests, adamoe_question *question)
{
    question->continuation = calloc(question->choices, sizeof *question->continuation);
    if (question->continuation == NULL) {
        return adamoe_line_out_of_memory(line);
    }
    for (size_t i = 0; i < question->choices; i++) {
        const char *prompt = "", *continuation = "";
        ADAMOE_TRY(get_argument(line, requests, i, 0, &prompt));
        ADAMOE_TRY(get_argument(line, requests, i, 1, &continuation));
        if (i == 0) {
            ADAMOE_TRY(copy_text(line, prompt, &question->prompt));
        } else if (strcmp(prompt, question->prompt) != 0) {
            return adamoe_line_error(line, "arguments.gen_args_%zu.arg_0 differs from that of gen_args_0", i);
        }
        if (continuation[0] == '\0') {
            return adamoe_line_error(line, "arguments.gen_args_%zu.arg_1 is empty", i);
        }
        ADAMOE_TRY(copy_text(line, continuation, &question->continuation[i]));
    }
    return adamoe_ok();
}

/* Without a doc the choices are the continuations less the blank that joins them to the prompt. */
static adamoe_status name_choices(const adamoe_line *line, adamoe_question *question)
{
    for (size_t i = 0; i < question->choices; i++) {
        const char *text = question->continuation[i];
        const char label[2] = {(char)('A' + (int)i), '\0'};
        ADAMOE_TRY(copy_text(line, text[0] == ' ' ? text + 1 : text, &question->text[i]));
        ADAMOE_TRY(copy_text(line, label, &question->label[i]));
    }
    return adamoe_ok();
}

/* The target of a multiple-choice task is the index of the answer, which the harness writes as text; a letter
 * is taken as a label. */
static adamoe_status read_target(const adamoe_line *line, const json_t *target, adamoe_question *question)
{
    json_int_t index = -1;
    if (json_is_integer(target)) {
        index = json_integer_value(target);
    } else {
        const char *text = "";
        ADAMOE_TRY(get_text(line, target, "target", &text));
        const size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 2 || text[digits] != '\0') {
            return find_gold(line, "target", text, question);
        }
        index = atoi(text);
    }
    if (index < 0 || (uintmax_t)index >= question->choices) {
        return adamoe_line_error(line, "target %" JSON_INTEGER_FORMAT " with %zu choices", index,
                                 question->choices);
    }
    question->gold = (size_t)index;
    return adamoe_ok();
}

/* A doc counts as a question where it has choices; other tasks' docs have keys of their own. */
static adamoe_status read_sample(const adamoe_line *line, const json_t *object, adamoe_question *question)
{
    const json_t *requests = json_object_get(object, "arguments");
    if (!json_is_object(requests)) {
        return adamoe_line_error(line, "arguments is not an object");
    }
    const json_t *doc = json_object_get(object, "doc");
    const bool stated =
        json_object_get(doc, "choices") != NULL || json_is_object(json_object_get(doc, "question"));
    if (!stated) {
        ADAMOE_TRY(allocate_choices(line, json_object_size(requests), question));
        ADAMOE_TRY(read_requests(line, requests, question));
        ADAMOE_TRY(name_choices(line, question));
        return read_target(line, json_object_get(object, "target"), question);
    }
    ADAMOE_TRY(read_stated(line, doc, question));
    if (json_object_size(requests) != question->choices) {
        return adamoe_line_error(line, "%zu arguments for %zu choices", json_object_size(requests),
                                 question->choices);
    }
    return read_requests(line, requests, question);
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
        ADAMOE_TRY(read_id(line, id != NULL ? id : json_object_get(object, "doc_id"), &question->id));
        return read_sample(line, object, question);
    }
    ADAMOE_TRY(read_id(line, json_object_get(object, "id"), &question->id));
    return read_stated(line, object, question);
}
