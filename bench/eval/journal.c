/*
 * What an evaluation has finished, kept in a file while it runs: see journal.h.
 */
#include "eval/journal.h"
#include "program/json_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static adamoe_status no_journal(const adamoe_journal *j)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%s: it is not what an interrupted `adamoe eval --resume' left",
                        j->path);
}

/* ---------------------------------------------------------------------------------------------- whose it is */

static json_t *fact_json(const adamoe_rank_fact *fact)
{
    char print[40];
    (void)snprintf(print, sizeof print, "%016llx-%016llx", (unsigned long long)fact->whole,
                   (unsigned long long)fact->content);
    return json_pack("{s:o,s:s}", "value", adamoe_json_text(fact->value), "print", print);
}

static bool read_fact(const char *name, const json_t *json, adamoe_rank_facts *facts)
{
    const char *value = json_string_value(json_object_get(json, "value")),
               *print = json_string_value(json_object_get(json, "print"));
    unsigned long long whole, content;
    char more;
    if (value == NULL || print == NULL || facts->count == ADAMOE_RANK_FACTS ||
        sscanf(print, "%16llx-%16llx%c", &whole, &content, &more) != 2) {
        return false;
    }
    adamoe_rank_fact *fact = &facts->fact[facts->count++];
    (void)snprintf(fact->name, sizeof fact->name, "%s", name);
    (void)snprintf(fact->value, sizeof fact->value, "%s", value);
    fact->whole = whole;
    fact->content = content;
    return true;
}

/* The first line, with its end; NULL for want of memory. */
static char *write_header(const adamoe_rank_facts *run)
{
    json_t *facts = json_object(), *all = json_pack("{s:b,s:o}", "partial", 1, "run", facts);
    for (size_t i = 0; i < run->count; ++i) {
        (void)json_object_set_new(facts, run->fact[i].name, fact_json(&run->fact[i]));
    }
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT), *line = NULL;
    if (text != NULL && asprintf(&line, "%s\n", text) < 0) {
        line = NULL;
    }
    free(text);
    json_decref(all);
    return line;
}

static adamoe_status check_header(const adamoe_journal *j, const json_t *line, const adamoe_rank_facts *run)
{
    const json_t *facts = json_object_get(line, "run"), *fact;
    adamoe_rank_facts left = {.count = 0};
    adamoe_rank_difference d;
    const char *name;
    bool good = json_is_true(json_object_get(line, "partial")) && json_is_object(facts);
    json_object_foreach((json_t *)(uintptr_t)facts, name, fact)
    {
        good = good && read_fact(name, fact, &left);
    }
    if (!good) {
        return no_journal(j);
    }
    return !adamoe_rank_facts_differ(&left, run, &d)
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_BAD_INPUT,
                     "%s: it was left by another run, which differs in its %s: %s; this one: %s. Remove it to "
                     "begin anew",
                     j->path, d.name, d.one, d.other);
}

/* ------------------------------------------------------------------------------------------------ reading */

static json_t *parse(const char *text, ssize_t length)
{
    return json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, NULL);
}

/* The first line, of which the end may have cut off a part; *end is where it ends, or 0 where it is to be written. */
static adamoe_status read_header(adamoe_journal *j, const adamoe_rank_facts *run, const char *header,
                                 long *end)
{
    char *text = NULL;
    size_t room = 0;
    errno = 0;
    const ssize_t length = getline(&text, &room, j->file);
    adamoe_status status = adamoe_ok();
    *end = 0;
    if (length < 0 && (ferror(j->file) || errno == ENOMEM)) {
        status = failed(j, "read");
    } else if (length > 0 && text[length - 1] != '\n') {
        /* What is written over must be known to be worth nothing. */
        status = (size_t)length < strlen(header) && memcmp(text, header, (size_t)length) == 0 ? adamoe_ok()
                                                                                              : no_journal(j);
    } else if (length > 0) {
        json_t *line = parse(text, length);
        status = check_header(j, line, run);
        json_decref(line);
        *end = ftell(j->file);
    }
    free(text);
    return status;
}

/* Whole lines; *end is where the first one begins that is none. */
static adamoe_status read_steps(adamoe_journal *j, long *end)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t length = 0;
    bool taken = true;
    adamoe_status status = adamoe_ok();
    while (taken && status.code == ADAMOE_OK && (length = getline(&text, &room, j->file)) > 0 &&
           text[length - 1] == '\n') {
        json_t *line = parse(text, length);
        status = adamoe_journal_step_take(&j->subject, line, &taken);
        json_decref(line);
        if (taken) {
            *end = ftell(j->file);
        }
    }
    free(text);
    return status;
}

/* ------------------------------------------------------------------------------------------------ writing */

static adamoe_status begin_with(adamoe_journal *j, const adamoe_rank_facts *run, const char *header)
{
    long end;
    ADAMOE_TRY(read_header(j, run, header, &end));
    if (end > 0) {
        ADAMOE_TRY(read_steps(j, &end));
    }
    if (ftruncate(fileno(j->file), end) != 0 || fseek(j->file, end, SEEK_SET) != 0) {
        return failed(j, "write");
    }
    return end > 0 || (fputs(header, j->file) != EOF && fflush(j->file) == 0) ? adamoe_ok()
                                                                              : failed(j, "write");
}

/* Nothing but a file can be gone on with; a pipe would be waited for. */
static adamoe_status open_file(adamoe_journal *j)
{
    struct stat facts;
    const int file = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (file < 0) {
        return failed(j, "create");
    }
    if (fstat(file, &facts) == 0 && !S_ISREG(facts.st_mode)) {
        (void)close(file);
        return no_journal(j);
    }
    j->file = fdopen(file, "r+");
    if (j->file == NULL) {
        const adamoe_status status = failed(j, "create");
        (void)close(file);
        return status;
    }
    return adamoe_ok();
}

adamoe_status adamoe_journal_open(const char *path, const adamoe_rank_facts *run,
                                  const adamoe_journal_subject *subject, adamoe_journal **out)
{
    adamoe_journal *j = calloc(1, sizeof *j);
    if (j == NULL || (j->path = strdup(path)) == NULL) {
        free(j);
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    j->subject = *subject;
    *out = j;
    ADAMOE_TRY(open_file(j));
    char *header = write_header(run);
    const adamoe_status status = header == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path)
                                                : begin_with(j, run, header);
    free(header);
    return status;
}

adamoe_status adamoe_journal_add(adamoe_journal *j, size_t first)
{
    json_t *line = NULL;
    ADAMOE_TRY(adamoe_journal_step_write(&j->subject, first, &line));
    errno = ENOMEM;
    const bool written =
        json_dumpf(line, j->file, JSON_COMPACT) == 0 && fputc('\n', j->file) != EOF && fflush(j->file) == 0;
    const adamoe_status status = written ? adamoe_ok() : failed(j, "write");
    json_decref(line);
    return status;
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
