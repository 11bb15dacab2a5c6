/*
 * What an evaluation has finished, kept in a file while it runs: see journal.h.
 */
#include "eval/journal.h"
#include "program/json_output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct adamoe_journal {
    adamoe_journal_subject subject;
    char *path;
    FILE *file;
};

static adamoe_status failed(const adamoe_journal *j, const char *doing)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: %s: %s", j->path, doing, strerror(errno));
}

/* ------------------------------------------------------------------------------------------------ numbers */

/* The arrays of the counts, one after the other. */
typedef struct numbers {
    const char *name;
    uint64_t *value;
    size_t count;
} numbers;

#define NUMBERS 5

static void list_numbers(const adamoe_journal *j, uint64_t work[4], numbers list[NUMBERS])
{
    adamoe_scorer *s = j->subject.scorer;
    adamoe_route_counts *c = &s->counts;
    list[0] = (numbers){"work", work, 4};
    list[1] = (numbers){"expert_rows", c->expert_rows, c->layers};
    list[2] = (numbers){"histogram", c->histogram, c->layers * (c->top_k + 1)};
    list[3] = (numbers){"selections", c->selections, c->layers * c->experts};
    list[4] = (numbers){"adapted_rows", s->adapted_rows, ADAMOE_MAPS};
}

static json_t *numbers_json(const numbers *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->count; ++i) {
        (void)json_array_append_new(list, json_integer((json_int_t)n->value[i]));
    }
    return list;
}

static bool take_numbers(const json_t *line, numbers *n)
{
    const json_t *list = json_object_get(line, n->name);
    bool good = json_array_size(list) == n->count;
    for (size_t i = 0; i < n->count && good; ++i) {
        const json_t *value = json_array_get(list, i);
        good = json_is_integer(value) && json_integer_value(value) >= 0;
        n->value[i] = (uint64_t)json_integer_value(value);
    }
    return good;
}

/* ------------------------------------------------------------------------------------------------ reading */

static bool take_logprobs(const adamoe_journal *j, const json_t *list, size_t q)
{
    const adamoe_prompt *prompt = &j->subject.prompt[q];
    adamoe_outcome *outcome = &j->subject.outcome[q];
    bool good = json_array_size(list) == prompt->choices;
    for (size_t c = 0; c < prompt->choices && good; ++c) {
        const json_t *value = json_array_get(list, c);
        good = json_is_number(value);
        outcome->logprob[c] = json_number_value(value);
    }
    if (good) {
        adamoe_predict(prompt, outcome);
    }
    return good;
}

/* False where the line is not a step that follows the last one. */
static bool take_step(adamoe_journal *j, const json_t *line)
{
    const json_t *list = json_object_get(line, "logprob"), *seconds = json_object_get(line, "seconds");
    const size_t first = *j->subject.next, count = json_array_size(list);
    uint64_t work[4] = {0};
    numbers all[NUMBERS];
    if (json_integer_value(json_object_get(line, "first")) != (json_int_t)first ||
        count > j->subject.count - first || !json_is_number(seconds)) {
        return false;
    }
    for (size_t i = 0; i < count; ++i) {
        if (!take_logprobs(j, json_array_get(list, i), first + i)) {
            return false;
        }
    }
    list_numbers(j, work, all);
    for (size_t i = 0; i < NUMBERS; ++i) {
        if (!take_numbers(line, &all[i])) {
            return false;
        }
    }
    j->subject.scorer->work = (adamoe_work){work[0], work[1], work[2], work[3]};
    *j->subject.seconds = json_number_value(seconds);
    *j->subject.next = first + count;
    return true;
}

static adamoe_status check_identity(const adamoe_journal *j, const json_t *line)
{
    const char *identity = json_string_value(json_object_get(line, "run"));
    if (!json_is_true(json_object_get(line, "partial")) || identity == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: it is not what an interrupted `adamoe eval --resume' left",
                            j->path);
    }
    return strcmp(identity, j->subject.identity) == 0
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_BAD_INPUT,
                     "%s: it was left by another run: %.180s; this one is %.180s. Remove it to begin anew",
                     j->path, identity, j->subject.identity);
}

/* Whole lines from the beginning; *end is where the first one that is none begins. */
static adamoe_status read_lines(adamoe_journal *j, long *end)
{
    char *text = NULL;
    size_t room = 0, lines = 0;
    ssize_t length = 0;
    adamoe_status status = adamoe_ok();
    *end = 0;
    while (status.code == ADAMOE_OK && (length = getline(&text, &room, j->file)) > 0 &&
           text[length - 1] == '\n') {
        json_t *line = json_loadb(text, (size_t)length, 0, NULL);
        const bool good = line != NULL && (lines == 0 || take_step(j, line));
        if (lines == 0) {
            status = check_identity(j, line);
        }
        json_decref(line);
        if (!good) {
            break;
        }
        ++lines;
        *end = ftell(j->file);
    }
    free(text);
    return status;
}

/* ------------------------------------------------------------------------------------------------ writing */

/* Takes over the line. */
static adamoe_status write_line(adamoe_journal *j, json_t *line)
{
    errno = ENOMEM;
    const bool written = line != NULL && json_dumpf(line, j->file, JSON_COMPACT) == 0 &&
                         fputc('\n', j->file) != EOF && fflush(j->file) == 0;
    const adamoe_status status = written ? adamoe_ok() : failed(j, "write");
    json_decref(line);
    return status;
}

static adamoe_status begin(adamoe_journal *j)
{
    long end = 0;
    ADAMOE_TRY(read_lines(j, &end));
    if (ftruncate(fileno(j->file), end) != 0 || fseek(j->file, end, SEEK_SET) != 0) {
        return failed(j, "write");
    }
    return end > 0 ? adamoe_ok()
                   : write_line(j, json_pack("{s:b,s:s}", "partial", 1, "run", j->subject.identity));
}

adamoe_status adamoe_journal_open(const char *path, const adamoe_journal_subject *subject,
                                  adamoe_journal **out)
{
    adamoe_journal *j = calloc(1, sizeof *j);
    if (j == NULL || (j->path = strdup(path)) == NULL) {
        free(j);
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    j->subject = *subject;
    *out = j;
    j->file = fopen(path, "a+e"); /* creates it and keeps what is there */
    if (j->file != NULL) {
        j->file = freopen(path, "r+e", j->file);
    }
    return j->file == NULL ? failed(j, "create") : begin(j);
}

adamoe_status adamoe_journal_add(adamoe_journal *j, size_t first)
{
    const adamoe_work *w = &j->subject.scorer->work;
    uint64_t work[4] = {w->tokens, w->expert_rows, w->visible_keys, w->head_positions};
    numbers all[NUMBERS];
    json_t *logprob = json_array();
    for (size_t q = first; q < *j->subject.next; ++q) {
        json_t *list = json_array();
        for (size_t c = 0; c < j->subject.prompt[q].choices; ++c) {
            (void)json_array_append_new(list, json_real(j->subject.outcome[q].logprob[c]));
        }
        (void)json_array_append_new(logprob, list);
    }
    json_t *line = json_pack("{s:I,s:o,s:f}", "first", (json_int_t)first, "logprob", logprob, "seconds",
                             *j->subject.seconds);
    list_numbers(j, work, all);
    for (size_t i = 0; i < NUMBERS; ++i) {
        (void)json_object_set_new(line, all[i].name, numbers_json(&all[i]));
    }
    return write_line(j, line);
}

void adamoe_journal_close(adamoe_journal *j, bool is_needed)
{
    if (j == NULL) {
        return;
    }
    if (j->file != NULL) {
        (void)fclose(j->file);
        if (!is_needed) {
            (void)unlink(j->path);
        }
    }
    free(j->path);
    free(j);
}
