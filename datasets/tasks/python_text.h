/*
 * What Python's str does to a text, where the evaluation harness has a task's texts changed by it. Private to
 * datasets/tasks/.
 */
#ifndef ADAMOE_TASKS_PYTHON_TEXT_H
#define ADAMOE_TASKS_PYTHON_TEXT_H

#include "adamoe.h"

/* A growing text, which ends with a zero; all zeros is an empty one. */
typedef struct adamoe_growing_text {
    char *data;
    size_t length, room;
} adamoe_growing_text;

/* False where memory is short. */
bool adamoe_text_add(adamoe_growing_text *out, const char *text, size_t length);

/* The part of a text within the whitespace around it, as str.strip(). */
typedef struct adamoe_text_part {
    const char *begin;
    size_t length;
} adamoe_text_part;

adamoe_text_part adamoe_text_strip(const char *text, size_t length);

/* Appends text.capitalize(): the first character in title case, the others in lower case. False where memory is
 * short. A capital sigma after the first character has no place here: see adamoe_text_has_sigma. */
bool adamoe_text_add_capitalized(adamoe_growing_text *out, const char *text);

/* A capital sigma after the first character: its lower case depends on the letters around it, which is not
 * implemented. */
bool adamoe_text_has_sigma(const char *text);

#endif
