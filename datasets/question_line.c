/*
 * What every form of a question is read with: errors that name the line, texts, room for choices.
 */
#include "question_line.h"

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

adamoe_status adamoe_line_copy(const adamoe_line *line, const char *text, char **out)
{
    *out = strdup(text);
    return *out == NULL ? adamoe_line_out_of_memory(line) : adamoe_ok();
}

adamoe_status adamoe_line_text(const adamoe_line *line, const json_t *value, const char *name,
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

adamoe_status adamoe_line_choices(const adamoe_line *line, size_t choices, adamoe_question *question)
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
