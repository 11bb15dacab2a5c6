/*
 * Multiple-choice questions from JSON lines. Here: the file, its lines, and what a question must fulfil in
 * every form. How each form spells it is in question_forms.c. Left out: prompts and scoring.
 */
#include "questions.h"
#include "question_forms.h"
#include "question_reader.h"
#include "files/foreign.h"
#include "files/mapped_file.h"

#include <stdlib.h>
#include <string.h>

static void free_texts(char **text, size_t count)
{
    for (size_t i = 0; text != NULL && i < count; i++) {
        free(text[i]);
    }
    free(text);
}

static void free_question(adamoe_question *question)
{
    free(question->id);
    free(question->stem);
    free_texts(question->prompt, question->choices);
    free_texts(question->text, question->choices);
    free_texts(question->label, question->choices);
    free_texts(question->continuation, question->choices);
}

void adamoe_questions_free(adamoe_questions *questions)
{
    if (questions == NULL) {
        return;
    }
    for (size_t i = 0; i < questions->count; i++) {
        free_question(&questions->question[i]);
    }
    free(questions->question);
    free(questions);
}

/* A choice without text has no length to divide its log-probability by, and labels name choices uniquely. */
static adamoe_status check_choices(const adamoe_line *line, const adamoe_question *question)
{
    for (size_t i = 0; i < question->choices; i++) {
        if (question->text[i][0] == '\0') {
            return adamoe_line_error(line, "choice %zu has no text", i + 1);
        }
        if (question->label[i][0] == '\0') {
            return adamoe_line_error(line, "choice %zu has no label", i + 1);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(question->label[i], question->label[j]) == 0) {
                return adamoe_line_error(line, "the label \"%s\" is given twice", question->label[i]);
            }
        }
    }
    return adamoe_ok();
}

static adamoe_status parse_error(const adamoe_line *line, const json_error_t *error)
{
    if (json_error_code(error) == json_error_out_of_memory) {
        return adamoe_line_out_of_memory(line);
    }
    if (json_error_code(error) == json_error_invalid_utf8) {
        return adamoe_line_error(line, "column %d: invalid UTF-8: %s", error->column, error->text);
    }
    return adamoe_line_error(line, "column %d: %s", error->column, error->text);
}

/* How long a literal is that Python writes and JSON does not have; 0 where there is none. */
static size_t python_literal(const char *text, size_t left)
{
    static const char *const names[] = {"NaN", "-Infinity", "Infinity"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t length = strlen(names[i]);
        if (left >= length && memcmp(text, names[i], length) == 0) {
            return length;
        }
    }
    return 0;
}

/* Copies a line with null in place of each such literal outside of texts; *out has room for a third more than
 * the line. Returns the length. */
static size_t without_literals(const char *text, size_t length, char *out)
{
    bool quoted = false;
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        const size_t literal = quoted ? 0 : python_literal(text + i, length - i);
        if (literal > 0) {
            memcpy(out + written, "null", 4);
            written += 4;
            i += literal - 1;
            continue;
        }
        out[written++] = text[i];
        if (text[i] == '"') {
            quoted = !quoted;
        } else if (quoted && text[i] == '\\' && i + 1 < length) {
            out[written++] = text[++i];
        }
    }
    return written;
}

/* Python's logs hold NaN and Infinity where a metric has no value, which harms nobody who does not need it. A
 * line without them is read as it is; the error of one that is wrong otherwise too is that of the whole. */
static json_t *load(const char *text, size_t length, json_error_t *error)
{
    json_error_t ignored;
    json_t *document = json_loadb(text, length, JSON_REJECT_DUPLICATES, error);
    char *copy = document == NULL && json_error_code(error) == json_error_invalid_syntax
                     ? malloc(length + length / 3 + 2)
                     : NULL;
    if (copy != NULL) {
        document = json_loadb(copy, without_literals(text, length, copy), JSON_REJECT_DUPLICATES, &ignored);
        free(copy);
    }
    return document;
}

/* Who reads a line's object. */
typedef struct reading {
    adamoe_question_reader reader;
    const void *context;
} reading;

static adamoe_status parse_line(const reading *by, const adamoe_line *line, const char *text, size_t length,
                                adamoe_question *question)
{
    json_error_t error;
    json_t *document = load(text, length, &error);
    if (document == NULL) {
        return parse_error(line, &error);
    }
    adamoe_status status = by->reader(by->context, line, document, question);
    json_decref(document);
    if (status.code == ADAMOE_OK) {
        status = check_choices(line, question);
    }
    return status;
}

/* Room for one more question, zeroed; counted at once, so that freeing the whole frees
 * a half-read one too. */
static adamoe_question *append(adamoe_questions *questions, size_t *capacity)
{
    if (questions->count == *capacity) {
        const size_t larger = *capacity == 0 ? 64 : *capacity * 2;
        adamoe_question *moved = reallocarray(questions->question, larger, sizeof *moved);
        if (moved == NULL) {
            return NULL;
        }
        questions->question = moved;
        *capacity = larger;
    }
    adamoe_question *question = &questions->question[questions->count++];
    *question = (adamoe_question){0};
    return question;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* What the whole file says that it is, before its first line is taken for a question. */
static adamoe_status check_form(const char *path, const char *text, size_t length)
{
    const char *foreign = adamoe_foreign_file(text, length);
    if (foreign != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s", path, foreign);
    }
    size_t first = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (first < length && text[first] == '[') {
        return adamoe_error(
            ADAMOE_BAD_INPUT,
            "%s: a JSON list, and an object a line is expected; `jq -c '.[]'` makes lines of it", path);
    }
    while (first < length && text[first] != '\0' && strchr(" \t\r\n", text[first]) != NULL) {
        ++first;
    }
    if (first + 1 < length && text[first] == '{' && (text[first + 1] == '\n' || text[first + 1] == '\r')) {
        return adamoe_error(
            ADAMOE_BAD_INPUT,
            "%s: an object over several lines, and one a line is expected; `jq -c .` makes lines of it",
            path);
    }
    return adamoe_ok();
}

static adamoe_status parse_lines(const reading *by, const char *path, const char *text, size_t length,
                                 adamoe_questions *questions)
{
    adamoe_line line = {.path = path};
    size_t capacity = 0;
    ADAMOE_TRY(check_form(path, text, length));
    const size_t mark = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    for (size_t start = mark; start < length;) {
        const char *newline = memchr(text + start, '\n', length - start);
        const size_t end = newline == NULL ? length : (size_t)(newline - text);
        line.number++;
        if (!is_blank(text + start, end - start)) {
            adamoe_question *question = append(questions, &capacity);
            if (question == NULL) {
                return adamoe_line_out_of_memory(&line);
            }
            ADAMOE_TRY(parse_line(by, &line, text + start, end - start, question));
        }
        start = end + 1;
    }
    if (questions->count == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: line 1: the file holds no question", path);
    }
    return adamoe_ok();
}

adamoe_status adamoe_questions_parse_with(const char *path, const char *text, size_t length,
                                          adamoe_question_reader reader, const void *context,
                                          adamoe_questions **out)
{
    const reading by = {reader, context};
    adamoe_questions *questions = calloc(1, sizeof *questions);
    if (questions == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: questions: out of memory", path);
    }
    const adamoe_status status = parse_lines(&by, path, text, length, questions);
    if (status.code != ADAMOE_OK) {
        adamoe_questions_free(questions);
        return status;
    }
    *out = questions;
    return status;
}

/* Any of the forms, recognised line by line. */
static adamoe_status read_any_form(const void *context, const adamoe_line *line, const json_t *object,
                                   adamoe_question *question)
{
    (void)context;
    return adamoe_question_from_json(line, object, question);
}

adamoe_status adamoe_questions_parse(const char *path, const char *text, size_t length,
                                     adamoe_questions **out)
{
    return adamoe_questions_parse_with(path, text, length, read_any_form, NULL, out);
}

adamoe_status adamoe_questions_read(const char *path, adamoe_questions **out)
{
    adamoe_mapped_file file;
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    const adamoe_status status = adamoe_questions_parse(path, (const char *)file.data, file.size, out);
    adamoe_mapped_file_close(&file);
    return status;
}
