/*
 * The options that a text names, for tests that hold texts against the program.
 */
#ifndef ADAMOE_OPTIONS_H
#define ADAMOE_OPTIONS_H

#include "program.h"

#include <ctype.h>

/* A text of the program that outlives the next run; to be freed. */
static inline char *text_of(const char *arguments)
{
    const outcome *got = run(ADAMOE " %s", arguments);
    if (got->code != 0) {
        fail_msg("adamoe %s: exit code %d: %s", arguments, got->code, got->text);
    }
    char *text = strdup(got->text);
    assert_non_null(text);
    return text;
}

/* argp writes the options of --usage by itself: every other text is held against that. */
static inline char *usage_of(const char *verb)
{
    char arguments[64];
    (void)snprintf(arguments, sizeof arguments, "%s --usage", verb);
    return text_of(arguments);
}

/* Calls visit for every `--option` in a text: the longest run of letters, digits and dashes behind --. */
static inline void each_option(const char *text, void (*visit)(const char *option, void *context),
                               void *context)
{
    for (const char *at = strstr(text, "--"); at != NULL; at = strstr(at + 2, "--")) {
        char option[64];
        size_t length = 2;
        while (isalnum((unsigned char)at[length]) || at[length] == '-') {
            ++length;
        }
        if (islower((unsigned char)at[2]) && at[length] != '_') { /* not one of Google Benchmark's */
            assert_in_range(length, 3, sizeof option - 1);
            (void)snprintf(option, sizeof option, "%.*s", (int)length, at);
            visit(option, context);
        }
    }
}

/* True where the option stands in the text and does not go on there. */
static inline bool has_word(const char *text, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        if (!isalnum((unsigned char)at[length]) && at[length] != '-' && at[length] != '\\') {
            return true;
        }
    }
    return false;
}

#endif
