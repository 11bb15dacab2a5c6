/*
 * What a run is made of: see facts.h.
 */
#include "ranks/facts.h"
#include "fnv1a.h"
#include "ranks/command_line.h"
#include "ranks/fingerprint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One more, of a text of any length. */
static void add(adamoe_rank_facts *facts, const char *name, const char *value, size_t length,
                uint64_t content)
{
    if (facts->count < ADAMOE_RANK_FACTS) {
        adamoe_rank_fact *fact = &facts->fact[facts->count++];
        memset(fact, 0, sizeof *fact); /* it is sent as it is */
        (void)snprintf(fact->name, sizeof fact->name, "%s", name);
        (void)snprintf(fact->value, sizeof fact->value, "%.*s", (int)(length < 1023 ? length : 1023), value);
        fact->whole = adamoe_fnv1a(ADAMOE_FNV1A_START, value, length);
        fact->content = content;
    }
}

void adamoe_rank_fact_add(adamoe_rank_facts *facts, const char *name, const char *format, ...)
{
    char value[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    add(facts, name, value, strlen(value), 0);
}

adamoe_status adamoe_rank_fact_program(adamoe_rank_facts *facts)
{
    uint64_t print = 0;
    ADAMOE_TRY(adamoe_fingerprint("/proc/self/exe", &print));
    add(facts, "program", "adamoe", strlen("adamoe"), print);
    return adamoe_ok();
}

adamoe_status adamoe_rank_fact_file(adamoe_rank_facts *facts, const char *name, const char *path)
{
    uint64_t print = 0;
    size_t length = strlen(path);
    ADAMOE_TRY(adamoe_fingerprint(path, &print));
    while (length > 1 && path[length - 1] == '/') {
        --length;
    }
    add(facts, name, path, length, print);
    return adamoe_ok();
}

adamoe_status adamoe_rank_fact_options_without(adamoe_rank_facts *facts, const struct argp *argp, int count,
                                               char *const *argument, const char *const *without,
                                               size_t withouts)
{
    char *text = adamoe_command_line(argp, count, argument, without, withouts);
    if (text == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "options: out of memory");
    }
    add(facts, "options", text, strlen(text), 0);
    free(text);
    return adamoe_ok();
}

adamoe_status adamoe_rank_fact_options(adamoe_rank_facts *facts, const struct argp *argp, int count,
                                       char *const *argument)
{
    static const char *const of_machines[] = {"--threads", "--numa"};
    return adamoe_rank_fact_options_without(facts, argp, count, argument, of_machines,
                                            sizeof of_machines / sizeof *of_machines);
}

/* --------------------------------------------------------------------------------------------- differences */

static const adamoe_rank_fact *find(const adamoe_rank_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->count; ++i) {
        if (strcmp(facts->fact[i].name, name) == 0) {
            return &facts->fact[i];
        }
    }
    return NULL;
}

static bool same(const adamoe_rank_fact *one, const adamoe_rank_fact *other)
{
    return one != NULL && other != NULL && one->whole == other->whole && one->content == other->content;
}

/* Where the word begins in which two texts part: two long ones may have the same beginning. */
static size_t first_other_word(const char *one, const char *other)
{
    size_t at = 0, word = 0;
    for (; one[at] != '\0' && one[at] == other[at]; ++at) {
        word = one[at] == ' ' ? at + 1 : word;
    }
    /* Of a word that is long itself, a part before that is enough to know the place. */
    return at - word > 60 ? at - 20 : word;
}

/* What `fact` has that `other` has not. */
static void tell(const adamoe_rank_fact *fact, const adamoe_rank_fact *other, char *text, size_t size)
{
    if (fact == NULL) {
        (void)snprintf(text, size, "none");
    } else if (other == NULL) {
        (void)snprintf(text, size, "%.120s", fact->value);
    } else if (fact->whole == other->whole) {
        (void)snprintf(text, size, "%.100s with other contents (%016llx)", fact->value,
                       (unsigned long long)fact->content);
    } else if (strcmp(fact->value, other->value) == 0) {
        (void)snprintf(text, size, "%.60s and so on, of which the end differs (%016llx)", fact->value,
                       (unsigned long long)fact->whole);
    } else {
        const size_t at = first_other_word(fact->value, other->value);
        (void)snprintf(text, size, "%s%.120s", at == 0 ? "" : "... ", fact->value + at);
    }
}

static bool take_first(const adamoe_rank_facts *one, const adamoe_rank_facts *other,
                       adamoe_rank_difference *out)
{
    for (size_t i = 0; i < one->count; ++i) {
        const adamoe_rank_fact *here = &one->fact[i], *there = find(other, here->name);
        if (!same(here, there)) {
            (void)snprintf(out->name, sizeof out->name, "%s", here->name);
            tell(here, there, out->one, sizeof out->one);
            tell(there, here, out->other, sizeof out->other);
            return true;
        }
    }
    return false;
}

bool adamoe_rank_facts_differ(const adamoe_rank_facts *one, const adamoe_rank_facts *other,
                              adamoe_rank_difference *out)
{
    adamoe_rank_difference turned;
    if (take_first(one, other, out)) {
        return true;
    }
    /* What the other alone has. */
    const bool found = take_first(other, one, &turned);
    if (found) {
        *out = turned;
        memcpy(out->one, turned.other, sizeof out->one);
        memcpy(out->other, turned.one, sizeof out->other);
    }
    return found;
}
