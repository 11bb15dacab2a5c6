/*
 * A line of the evaluation harness's sample log, of whatever task.
 *
 * `arguments` holds the requests: gen_args_i is choice i, arg_0 its context, arg_1 its continuation. They are
 * all that is scored, and contexts may differ between choices (WinoGrande's do). `target` says which choice is
 * right: its index, as a number or as text; its letter; or its text. `doc`, the question as the task's data
 * set has it, is different for every task. It is asked for the answer alone, and only where the target does
 * not decide: where there is none, or where it is WinoGrande's, the continuation that both choices share.
 * Left out: logs of generation tasks, which have no continuation.
 */
#include "sample_log.h"

#include <stdlib.h>
#include <string.h>

/* A request: what stands at gen_args_{choice}.arg_{part}. */
static adamoe_status get_argument(const adamoe_line *line, const json_t *requests, size_t choice, size_t part,
                                  const char **out)
{
    char request[32], argument[32], name[80];
    (void)snprintf(request, sizeof request, "gen_args_%zu", choice);
    (void)snprintf(argument, sizeof argument, "arg_%zu", part);
    (void)snprintf(name, sizeof name, "arguments.%s.%s", request, argument);
    return adamoe_line_text(line, json_object_get(json_object_get(requests, request), argument), name, out);
}

static adamoe_status read_requests(const adamoe_line *line, const json_t *requests, adamoe_question *question)
{
    question->prompt = calloc(question->choices, sizeof *question->prompt);
    question->continuation = calloc(question->choices, sizeof *question->continuation);
    if (question->prompt == NULL || question->continuation == NULL) {
        return adamoe_line_out_of_memory(line);
    }
    for (size_t i = 0; i < question->choices; i++) {
        const char *prompt = "", *continuation = "";
        ADAMOE_TRY(get_argument(line, requests, i, 0, &prompt));
        ADAMOE_TRY(get_argument(line, requests, i, 1, &continuation));
        if (continuation[0] == '\0') {
            return adamoe_line_error(line, "arguments.gen_args_%zu.arg_1 is empty", i);
        }
        ADAMOE_TRY(adamoe_line_copy(line, prompt, &question->prompt[i]));
        ADAMOE_TRY(adamoe_line_copy(line, continuation, &question->continuation[i]));
    }
    return adamoe_ok();
}

/* The choices are the continuations less the blank that joins them to the prompt. */
static adamoe_status name_choices(const adamoe_line *line, adamoe_question *question)
{
    for (size_t i = 0; i < question->choices; i++) {
        const char *text = question->continuation[i];
        const char label[2] = {(char)('A' + (int)i), '\0'};
        ADAMOE_TRY(adamoe_line_copy(line, text[0] == ' ' ? text + 1 : text, &question->text[i]));
        ADAMOE_TRY(adamoe_line_copy(line, label, &question->label[i]));
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------- the answer */

/* The one choice whose text it is, blanks before it aside. */
static bool find_text(const adamoe_question *question, const char *text, size_t *gold)
{
    size_t found = 0;
    text += strspn(text, " ");
    for (size_t i = 0; i < question->choices; i++) {
        const char *choice = question->continuation[i];
        if (strcmp(choice + strspn(choice, " "), text) == 0) {
            *gold = i;
            ++found;
        }
    }
    return found == 1;
}

/* False where a text names no choice, or more than one. */
static bool find_target(const adamoe_question *question, const char *text, size_t *gold)
{
    const size_t digits = strspn(text, "0123456789");
    if (find_text(question, text, gold)) {
        return true;
    }
    if (digits > 0 && digits <= 2 && text[digits] == '\0') {
        *gold = (size_t)atoi(text);
        return *gold < question->choices;
    }
    if (text[0] >= 'A' && text[0] <= 'Z' && text[1] == '\0') {
        *gold = (size_t)(text[0] - 'A');
        return *gold < question->choices;
    }
    return false;
}

/* The label of choice i of a doc in AI2's or Hugging Face's form, or NULL. */
static const char *doc_label(const json_t *doc, size_t i)
{
    const json_t *nested = json_object_get(json_object_get(doc, "question"), "choices");
    const json_t *flat = json_object_get(json_object_get(doc, "choices"), "label");
    return json_string_value(nested != NULL ? json_object_get(json_array_get(nested, i), "label")
                                            : json_array_get(flat, i));
}

static bool find_in_doc(const json_t *doc, const adamoe_question *question, size_t *gold)
{
    const char *key = json_string_value(json_object_get(doc, "answerKey"));
    for (size_t i = 0; key != NULL && i < question->choices; i++) {
        const char *label = doc_label(doc, i);
        if (label != NULL && strcmp(label, key) == 0) {
            *gold = i;
            return true;
        }
    }
    const char *option = json_string_value(json_object_get(doc, "answer")); /* WinoGrande's "1" or "2" */
    if (json_object_get(doc, "option1") != NULL && option != NULL && strspn(option, "12") == 1 &&
        option[1] == '\0') {
        *gold = (size_t)(option[0] - '1');
        return *gold < question->choices;
    }
    return false;
}

static adamoe_status read_answer(const adamoe_line *line, const json_t *target, const json_t *doc,
                                 adamoe_question *question)
{
    const char *text = "";
    if (json_is_integer(target)) {
        const json_int_t index = json_integer_value(target);
        if (index < 0 || (uintmax_t)index >= question->choices) {
            return adamoe_line_error(line, "target %" JSON_INTEGER_FORMAT " with %zu choices", index,
                                     question->choices);
        }
        question->gold = (size_t)index;
        return adamoe_ok();
    }
    if (json_is_string(target) && find_target(question, json_string_value(target), &question->gold)) {
        return adamoe_ok();
    }
    if (find_in_doc(doc, question, &question->gold)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_line_text(line, target, "target", &text));
    return adamoe_line_error(line, "target \"%s\" names none of the %zu choices, and doc does not either",
                             text, question->choices);
}

adamoe_status adamoe_sample_log_read(const adamoe_line *line, const json_t *object, adamoe_question *question)
{
    const json_t *requests = json_object_get(object, "arguments");
    if (!json_is_object(requests)) {
        return adamoe_line_error(line, "arguments is not an object");
    }
    ADAMOE_TRY(adamoe_line_choices(line, json_object_size(requests), question));
    ADAMOE_TRY(read_requests(line, requests, question));
    ADAMOE_TRY(name_choices(line, question));
    return read_answer(line, json_object_get(object, "target"), json_object_get(object, "doc"), question);
}
