/*
 * A command line in one form: see command_line.h.
 */
#include "ranks/command_line.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is looked for: a name, or the beginning of one, or a single letter. */
typedef struct wanted {
    const char *name; /* NULL: the letter */
    size_t length;
    bool whole;
    int letter;
} wanted;

static bool is_end(const struct argp_option *o)
{
    return o->name == NULL && o->key == 0 && o->doc == NULL && o->group == 0;
}

static bool fits(const struct argp_option *o, const wanted *w)
{
    if (o->name == NULL || w->name == NULL) {
        return o->name != NULL && o->key == w->letter;
    }
    return strncmp(o->name, w->name, w->length) == 0 && (!w->whole || o->name[w->length] == '\0');
}

static const struct argp_option *find(const struct argp *argp, const wanted *w)
{
    const struct argp_option *found = NULL;
    for (const struct argp_option *o = argp->options; o != NULL && !is_end(o); ++o) {
        if (fits(o, w)) {
            return o;
        }
    }
    for (const struct argp_child *c = argp->children; c != NULL && c->argp != NULL && found == NULL; ++c) {
        found = find(c->argp, w);
    }
    return found;
}

/* An option of a word, and where its value begins, or NULL. */
static const struct argp_option *find_option(const struct argp *argp, const char *word, const char **value)
{
    *value = NULL;
    if (argp == NULL || word[0] != '-' || word[1] == '\0') {
        return NULL;
    }
    if (word[1] != '-') {
        *value = word[2] == '\0' ? NULL : word + 2;
        return find(argp, &(wanted){.letter = word[1]});
    }
    const char *equals = strchr(word, '=');
    const size_t length = equals == NULL ? strlen(word + 2) : (size_t)(equals - word) - 2;
    *value = equals == NULL ? NULL : equals + 1;
    if (length == 0) {
        return NULL; /* `--', after which there are no options */
    }
    const struct argp_option *exact = find(argp, &(wanted){word + 2, length, true, 0});
    return exact != NULL ? exact : find(argp, &(wanted){word + 2, length, false, 0});
}

static bool is_without(const char *word, const char *const *without, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count && !found; ++i) {
        found = strncmp(word, without[i], strlen(without[i])) == 0;
    }
    return found;
}

/* Writes a word; of one that is left out nothing. */
static void write_word(FILE *out, const char *name, const char *value, const char *const *without,
                       size_t withouts)
{
    if (!is_without(name, without, withouts)) {
        fprintf(out, "%s%s%s%s", ftell(out) == 0 ? "" : " ", name, value == NULL ? "" : "=",
                value == NULL ? "" : value);
    }
}

char *adamoe_command_line(const struct argp *argp, int count, char *const *argument,
                          const char *const *without, size_t withouts)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return NULL;
    }
    for (int i = 0; i < count; ++i) {
        const char *value;
        const struct argp_option *option = find_option(argp, argument[i], &value);
        if (option == NULL) {
            write_word(out, argument[i], NULL, without, withouts);
            continue;
        }
        char name[64];
        (void)snprintf(name, sizeof name, "--%s", option->name);
        if (option->arg != NULL && value == NULL && i + 1 < count) {
            value = argument[++i]; /* whatever it begins with, as `-' for standard output does */
        }
        write_word(out, name, value, without, withouts);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
