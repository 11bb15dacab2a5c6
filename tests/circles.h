/*
 * Who needs whom, and the circles in it, for layers_test.c: a graph of units that are known by name.
 */
#ifndef ADAMOE_CIRCLES_H
#define ADAMOE_CIRCLES_H

#include "test.h"

#define MOST_UNITS 1024

typedef struct path_name {
    char text[256];
} path_name;

/* What a test has complained of; it fails at its end where that is not 0. */
static size_t failures;

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_error("%s\n", text);
    ++failures;
}

__attribute__((format(printf, 1, 2))) static path_name path_of(const char *format, ...)
{
    path_name path;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(path.text, sizeof path.text, format, arguments);
    va_end(arguments);
    assert_true(length >= 0 && (size_t)length < sizeof path.text);
    return path;
}

/* Index in a list, or the list's length. */
static size_t find(const path_name *list, size_t count, const char *text)
{
    size_t i = 0;
    while (i < count && strcmp(list[i].text, text) != 0) {
        ++i;
    }
    return i;
}

/* Units by name, "kernels/machine/team", and why one needs another: a place or a name; NULL where it does not. */
static path_name units[MOST_UNITS];
static size_t unit_count;
static const char *needs[MOST_UNITS][MOST_UNITS];

static void clear_graph(void)
{
    unit_count = 0;
    memset(needs, 0, sizeof needs);
}

static size_t add_unit(const char *name)
{
    const size_t at = find(units, unit_count, name);
    if (at == unit_count) {
        assert_true(unit_count < MOST_UNITS);
        units[unit_count++] = path_of("%s", name);
    }
    return at;
}

/* The first reason of an arrow is kept, and must live as long as the graph. */
static void add_arrow(const path_name *from, const path_name *to, const char *why)
{
    const size_t a = add_unit(from->text), b = add_unit(to->text);
    if (a != b && needs[a][b] == NULL) {
        needs[a][b] = why;
    }
}

/* reaches[a][b]: there is a way of one arrow or more from a to b. */
static bool reaches[MOST_UNITS][MOST_UNITS];

static void find_ways(void)
{
    for (size_t a = 0; a < unit_count; ++a) {
        for (size_t b = 0; b < unit_count; ++b) {
            reaches[a][b] = needs[a][b] != NULL;
        }
    }
    for (size_t via = 0; via < unit_count; ++via) {
        for (size_t a = 0; a < unit_count; ++a) {
            for (size_t b = 0; reaches[a][via] && b < unit_count; ++b) {
                reaches[a][b] = reaches[a][b] || reaches[via][b];
            }
        }
    }
}

static bool in_one_circle(size_t a, size_t b)
{
    return reaches[a][b] && reaches[b][a];
}

/* Units that reach each other are a circle. Returns how many circles there are, and complains of each with its
 * arrows. */
static size_t count_circles(const char *how)
{
    size_t circles = 0;
    find_ways();
    for (size_t a = 0; a < unit_count; ++a) {
        size_t first = 0; /* the circle is told where its first unit is met */
        while (first < a && !in_one_circle(first, a)) {
            ++first;
        }
        if (first < a || !reaches[a][a]) {
            continue;
        }
        ++circles;
        complain("a circle by %s:", how);
        for (size_t b = 0; b < unit_count; ++b) {
            for (size_t c = 0; c < unit_count; ++c) {
                if (needs[b][c] != NULL && in_one_circle(a, b) && in_one_circle(a, c)) {
                    print_error("    %s -> %s (%s)\n", units[b].text, units[c].text, needs[b][c]);
                }
            }
        }
    }
    return circles;
}

#endif
