/*
 * A line of the evaluation harness's sample log, of whatever task.
 *
 * `arguments` holds the requests: gen_args_i is choice i, arg_0 its context, arg_1 its continuation; older logs have
 * lists in place of both objects. They are all that is scored, and contexts may differ between choices (WinoGrande's
 * do). Where acc_mutual_info was asked for, every continuation comes once more without a context, behind the others;
 * acc does not look at those. `target` says which choice is right: its index, as a number or as text (the harness
 * writes every target as text, so that "1" is the second choice, be there a choice "1" or not); its letter; or its
 * text. `doc`, the question as the task's data
 * set has it, is different for every task. It is asked for the answer alone, and only where the target does
 * not decide: where there is none, or where it is WinoGrande's, the continuation that both choices share.
 * Left out: logs of generation tasks, which have no continuation.
 */
#include "sample_log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *member(const json_t *whole, const char *name, size_t index)
{
    return json_is_array(whole) ? json_array_get(whole, index) : json_object_get(whole, name);
}

/* A request: what stands at gen_args_{choice}.arg_{part}, or in the place of these numbers. */
static adamoe_status get_argument(const adamoe_line *line, const json_t *requests, size_t choice, size_t part,
                                  const char **out)
{
    char request[32], argument[32], name[80];
    (void)snprintf(request, sizeof request, "gen_args_%zu", choice);
    (void)snprintf(argument, sizeof argument, "arg_%zu", part);
    (void)snprintf(name, sizeof name, "arguments.%s.%s", request, argument);
    return adamoe_line_text(line, member(member(requests, request, choice), argument, part), name, out);
}

static size_t count_requests(const json_t *requests)
{
    return json_is_array(requests) ? json_array_size(requests) : json_object_size(requests);
}

/* Tasks that generate have arguments of generation where a continuation would be, and those that score whole texts
 * have nothing there. */
static adamoe_status check_requests(const adamoe_line *line, const json_t *requests)
{
    const json_t *first = member(requests, "gen_args_0", 0), *second = member(first, "arg_1", 1);
    if (json_is_object(second)) {
        return adamoe_line_error(
            line, "the log of a task that generates text, and one of multiple choice is expected");
    }
    if (count_requests(requests) == 1 && second == NULL && json_is_string(member(first, "arg_0", 0))) {
        return adamoe_line_error(line,
                                 "the log of a task that scores whole texts, and one of multiple choice is "
                                 "expected");
    }
    return adamoe_ok();
}

/* How many choices there are: all requests, or the first half where the second has the same continuations without
 * any context. */
static size_t count_choices(const adamoe_line *line, const json_t *requests)
{
    const size_t all = count_requests(requests), half = all / 2;
    for (size_t i = 0; i < half; i++) {
        const char *context = "", *bare = "", *first = "", *second = "";
        if (all % 2 != 0 || get_argument(line, requests, i, 0, &context).code != ADAMOE_OK ||
            get_argument(line, requests, i, 1, &first).code != ADAMOE_OK ||
            get_argument(line, requests, half + i, 0, &bare).code != ADAMOE_OK ||
            get_argument(line, requests, half + i, 1, &second).code != ADAMOE_OK || context[0] == '\0' ||
            bare[0] != '\0' || strcmp(first, second) != 0) {
            return all;
        }
    }
    return half >= 2 ? half : all;
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

/* An index as Python writes it, by itself or as the one of a list. */
static bool find_index(const adamoe_question *question, const char *text, size_t *gold)
{
    const bool list = text[0] == '[';
    const char *first = text + list;
    const size_t digits = strspn(first, "0123456789");
    if (digits == 0 || digits > 2 || (digits == 2 && first[0] == '0') ||
        strcmp(first + digits, list ? "]" : "") != 0) {
        return false;
    }
    *gold = (size_t)atoi(first);
    return *gold < question->choices;
}

/* False where a text names no choice, or more than one. */
static bool find_target(const adamoe_question *question, const char *text, size_t *gold)
{
    if (find_text(question, text, gold)) {
        return true;
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
    if (json_is_array(target)) {
        if (json_array_size(target) != 1) {
            return adamoe_line_error(line, "target is a list of %zu answers, and one is expected",
                                     json_array_size(target));
        }
        target = json_array_get(target, 0);
    }
    const double number = json_number_value(target);
    if (json_is_integer(target) ||
        (json_is_real(target) && number >= 0.0 && number == (double)(unsigned)fmin(number, 1e3))) {
        const json_int_t index = (json_int_t)number;
        if (index < 0 || (uintmax_t)index >= question->choices) {
            return adamoe_line_error(line, "target %" JSON_INTEGER_FORMAT " with %zu choices", index,
                                     question->choices);
        }
        question->gold = (size_t)index;
        return adamoe_ok();
    }
    if (json_is_string(target) && find_index(question, json_string_value(target), &question->gold)) {
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
    if (!json_is_object(requests) && !json_is_array(requests)) {
        return adamoe_line_error(line, "arguments is neither an object nor a list");
    }
    ADAMOE_TRY(check_requests(line, requests));
    ADAMOE_TRY(adamoe_line_choices(line, count_choices(line, requests), question));
    ADAMOE_TRY(read_requests(line, requests, question));
    ADAMOE_TRY(name_choices(line, question));
    return read_answer(line, json_object_get(object, "target"), json_object_get(object, "doc"), question);
}
