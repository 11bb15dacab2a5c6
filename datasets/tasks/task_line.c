/*
 * One line of a task's data set, by the task's row: context, choices and answer, and out of them what the
 * evaluation harness would log as the arguments of its requests.
 */
#include "tasks/task_line.h"
#include "question_forms.h"
#include "tasks/python_text.h"

#include <stdlib.h>
#include <string.h>

/* Where the lines of ARC and OpenBookQA have them; the other tasks name their fields. */
static bool is_stated(const adamoe_task *task)
{
    return task->answer_is == ADAMOE_ANSWER_LABEL;
}

/* -------------------------------------------------------------------------------------------------- context */

typedef struct field {
    char name[32];
    bool capitalize;
    size_t length; /* of the template's text for it, braces included */
} field;

/* The field at the beginning of a template's text, "{name}" or "{name|capitalize}". */
static field parse_field(const char *text)
{
    const char *end = strchr(text, '}'), *bar = memchr(text, '|', (size_t)(end - text));
    field f = {.capitalize = bar != NULL, .length = (size_t)(end - text) + 1};
    const char *name_end = bar != NULL ? bar : end;
    (void)snprintf(f.name, sizeof f.name, "%.*s", (int)(name_end - text - 1), text + 1);
    return f;
}

static adamoe_status append_field(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                                  const adamoe_question *question, const field *f, adamoe_growing_text *out)
{
    const char *text = question->stem;
    if (!is_stated(task)) {
        ADAMOE_TRY(adamoe_line_text(line, json_object_get(object, f->name), f->name, &text));
    }
    if (f->capitalize && adamoe_text_has_sigma(text)) {
        return adamoe_line_error(line, "%s: a capital sigma, whose lower case is not implemented", f->name);
    }
    const bool added =
        f->capitalize ? adamoe_text_add_capitalized(out, text) : adamoe_text_add(out, text, strlen(text));
    return added ? adamoe_ok() : adamoe_line_out_of_memory(line);
}

static adamoe_status append_context(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                                    const adamoe_question *question, adamoe_growing_text *out)
{
    if (!adamoe_text_add(out, "", 0)) {
        return adamoe_line_out_of_memory(line);
    }
    for (const char *text = task->context; *text != '\0';) {
        if (*text == '{') {
            const field f = parse_field(text);
            ADAMOE_TRY(append_field(task, line, object, question, &f, out));
            text += f.length;
            continue;
        }
        const size_t plain = strcspn(text, "{");
        if (!adamoe_text_add(out, text, plain)) {
            return adamoe_line_out_of_memory(line);
        }
        text += plain;
    }
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------------- markup */

/* The text with every `from` replaced, from left to right. */
static bool replace(const adamoe_growing_text *text, const char *from, const char *to,
                    adamoe_growing_text *out)
{
    const char *rest = text->data;
    bool added = adamoe_text_add(out, "", 0);
    for (const char *found; added && (found = strstr(rest, from)) != NULL; rest = found + strlen(from)) {
        added = adamoe_text_add(out, rest, (size_t)(found - rest)) && adamoe_text_add(out, to, strlen(to));
    }
    return added && adamoe_text_add(out, rest, strlen(rest));
}

/* The text without the shortest [...] on one line, from left to right: re.sub("\\[.*?\\]", ""). */
static bool remove_brackets(const adamoe_growing_text *text, adamoe_growing_text *out)
{
    const char *rest = text->data;
    bool added = adamoe_text_add(out, "", 0);
    while (added && *rest != '\0') {
        const size_t plain = strcspn(rest, "["), inside = strcspn(rest + plain, "]\n");
        const bool closed = rest[plain + inside] == ']';
        added = adamoe_text_add(out, rest, closed ? plain : plain + inside);
        rest += plain + inside + closed;
        if (added && !closed && *rest == '\n') {
            added = adamoe_text_add(out, rest++, 1);
        }
    }
    return added;
}

/* preprocess() of lm_eval/tasks/hellaswag/utils.py. */
static bool without_markup(const char *text, adamoe_growing_text *out)
{
    const adamoe_text_part stripped = adamoe_text_strip(text, strlen(text));
    adamoe_growing_text a = {0}, b = {0}, c = {0};
    const bool done = adamoe_text_add(&a, stripped.begin, stripped.length) &&
                      replace(&a, " [title]", ". ", &b) && remove_brackets(&b, &c) &&
                      replace(&c, "  ", " ", out);
    free(a.data);
    free(b.data);
    free(c.data);
    return done;
}

/* A copy of a text, cleaned where the task wants it, which the caller frees. */
static adamoe_status finished(const adamoe_task *task, const adamoe_line *line, const char *text, char **out)
{
    if (!task->without_markup) {
        return adamoe_line_copy(line, text, out);
    }
    adamoe_growing_text clean = {0};
    const bool done = without_markup(text, &clean);
    *out = clean.data;
    return done ? adamoe_ok() : adamoe_line_out_of_memory(line);
}

/* -------------------------------------------------------------------------------------------------- choices */

static adamoe_status read_list(const adamoe_task *task, const adamoe_line *line, const json_t *list,
                               adamoe_question *question)
{
    if (!json_is_array(list)) {
        return adamoe_line_error(line, "%s is %s", task->choices, list == NULL ? "missing" : "not an array");
    }
    ADAMOE_TRY(adamoe_line_choices(line, json_array_size(list), question));
    for (size_t i = 0; i < question->choices; ++i) {
        const char *text = "";
        ADAMOE_TRY(adamoe_line_text(line, json_array_get(list, i), task->choices, &text));
        ADAMOE_TRY(finished(task, line, text, &question->text[i]));
    }
    return adamoe_ok();
}

/* From fields whose names stand in the row with blanks between them. */
static adamoe_status read_fields(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                                 adamoe_question *question)
{
    size_t choices = 1;
    for (const char *blank = task->choices; (blank = strchr(blank, ' ')) != NULL; ++blank) {
        ++choices;
    }
    ADAMOE_TRY(adamoe_line_choices(line, choices, question));
    const char *name = task->choices;
    for (size_t i = 0; i < choices; ++i) {
        char field_name[32];
        const char *text = "";
        const size_t length = strcspn(name, " ");
        (void)snprintf(field_name, sizeof field_name, "%.*s", (int)length, name);
        ADAMOE_TRY(adamoe_line_text(line, json_object_get(object, field_name), field_name, &text));
        ADAMOE_TRY(finished(task, line, text, &question->text[i]));
        name += length + 1;
    }
    return adamoe_ok();
}

static adamoe_status name_choices(const adamoe_line *line, adamoe_question *question)
{
    for (size_t i = 0; i < question->choices; ++i) {
        const char label[2] = {(char)('A' + (int)i), '\0'};
        ADAMOE_TRY(adamoe_line_copy(line, label, &question->label[i]));
    }
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------------- answer */

/* A number, or a text that is one within whitespace; *out is negative where it is neither. */
static adamoe_status read_number(const adamoe_line *line, const json_t *value, const char *name,
                                 json_int_t *out)
{
    const char *text = "";
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_line_text(line, value, name, &text));
    const adamoe_text_part part = adamoe_text_strip(text, strlen(text));
    const bool number =
        part.length > 0 && part.length <= 2 && strspn(part.begin, "0123456789") >= part.length;
    *out = number ? (json_int_t)atoi(part.begin) : -1;
    return adamoe_ok();
}

static adamoe_status read_answer(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                                 adamoe_question *question)
{
    const json_t *value = json_object_get(object, task->answer);
    json_int_t number = -1;
    ADAMOE_TRY(read_number(line, value, task->answer, &number));
    const json_int_t gold = task->answer_is == ADAMOE_ANSWER_FROM_ONE ? number - 1 : number;
    if (gold < 0 || (uintmax_t)gold >= question->choices) {
        return adamoe_line_error(
            line, "%s: not the number of one of %zu choices (a split without answers has no accuracy)",
            task->answer, question->choices);
    }
    question->gold = (size_t)gold;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- requests */

static adamoe_status joined(const adamoe_line *line, const char *first, size_t length, const char *second,
                            size_t second_length, char **out)
{
    adamoe_growing_text both = {0};
    const bool done = adamoe_text_add(&both, first, length) && adamoe_text_add(&both, second, second_length);
    *out = both.data;
    return done ? adamoe_ok() : adamoe_line_out_of_memory(line);
}

/* The context once for each choice, and behind a blank the choice. */
static adamoe_status ask_for_choices(const adamoe_line *line, const char *context, adamoe_question *question)
{
    for (size_t i = 0; i < question->choices; ++i) {
        ADAMOE_TRY(adamoe_line_copy(line, context, &question->prompt[i]));
        ADAMOE_TRY(
            joined(line, " ", 1, question->text[i], strlen(question->text[i]), &question->continuation[i]));
    }
    return adamoe_ok();
}

/* Each choice in the place of the blank; what is asked for is the rest, which is the same for all. */
static adamoe_status ask_for_rest(const adamoe_line *line, const char *context, adamoe_question *question)
{
    const char *blank = strchr(context, '_');
    if (blank == NULL) {
        return adamoe_line_error(line, "sentence: no blank (_) for the choices");
    }
    const adamoe_text_part rest = adamoe_text_strip(blank + 1, strlen(blank + 1));
    for (size_t i = 0; i < question->choices; ++i) {
        ADAMOE_TRY(joined(line, context, (size_t)(blank - context), question->text[i],
                          strlen(question->text[i]), &question->prompt[i]));
        ADAMOE_TRY(joined(line, " ", 1, rest.begin, rest.length, &question->continuation[i]));
        free(question->text[i]);
        question->text[i] = NULL;
        ADAMOE_TRY(adamoe_line_copy(line, question->prompt[i], &question->text[i]));
    }
    return adamoe_ok();
}

static adamoe_status make_requests(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                                   adamoe_question *question)
{
    question->prompt = calloc(question->choices, sizeof *question->prompt);
    question->continuation = calloc(question->choices, sizeof *question->continuation);
    if (question->prompt == NULL || question->continuation == NULL) {
        return adamoe_line_out_of_memory(line);
    }
    adamoe_growing_text raw = {0};
    char *context = NULL;
    adamoe_status status = append_context(task, line, object, question, &raw);
    if (status.code == ADAMOE_OK) {
        status = finished(task, line, raw.data, &context);
    }
    if (status.code == ADAMOE_OK) {
        status =
            task->blank ? ask_for_rest(line, context, question) : ask_for_choices(line, context, question);
    }
    free(raw.data);
    free(context);
    return status;
}

/* ---------------------------------------------------------------------------------------------------------- */

/* The field that the first {} of the context names. */
static field stem_field(const adamoe_task *task)
{
    return parse_field(strchr(task->context, '{'));
}

static adamoe_status read_named(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                                adamoe_question *question)
{
    ADAMOE_TRY(strchr(task->choices, ' ') == NULL
                   ? read_list(task, line, json_object_get(object, task->choices), question)
                   : read_fields(task, line, object, question));
    ADAMOE_TRY(name_choices(line, question));
    return read_answer(task, line, object, question);
}

adamoe_status adamoe_task_line(const adamoe_task *task, const adamoe_line *line, const json_t *object,
                               adamoe_question *question)
{
    if (!json_is_object(object)) {
        return adamoe_line_error(line, "not a JSON object");
    }
    if (json_object_get(object, "arguments") != NULL) {
        return adamoe_line_error(line,
                                 "a sample log of the harness, which says itself what is scored: read it "
                                 "without --task");
    }
    ADAMOE_TRY(
        adamoe_question_id(line, task->id == NULL ? NULL : json_object_get(object, task->id), &question->id));
    ADAMOE_TRY(is_stated(task) ? adamoe_question_stated(line, object, stem_field(task).name, question)
                               : read_named(task, line, object, question));
    return make_requests(task, line, object, question);
}
