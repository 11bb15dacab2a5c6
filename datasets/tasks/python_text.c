/*
 * What Python's str does to a text.
 */
#include "tasks/python_text.h"
#include "tasks/case_table.h"
#include "files/utf8.h"

#include <stdlib.h>
#include <string.h>

#define CAPITAL_SIGMA 0x3a3
#define DOTTED_I      0x130

bool adamoe_text_add(adamoe_growing_text *out, const char *text, size_t length)
{
    if (out->room - out->length < length + 1) {
        const size_t room = 2 * out->room + length + 1;
        char *grown = realloc(out->data, room);
        if (grown == NULL) {
            return false;
        }
        out->data = grown;
        out->room = room;
    }
    memcpy(out->data + out->length, text, length);
    out->length += length;
    out->data[out->length] = '\0';
    return true;
}

adamoe_text_part adamoe_text_strip(const char *text, size_t length)
{
    size_t begin = length, end = length;
    for (size_t i = 0; i < length;) {
        uint32_t character;
        const size_t bytes = adamoe_utf8_next(text + i, length - i, &character);
        if (!adamoe_is_python_space(character)) {
            begin = begin == length ? i : begin;
            end = i + bytes;
        }
        i += bytes;
    }
    return (adamoe_text_part){text + begin, end - begin};
}

/* ----------------------------------------------------------------------------------------------------- case */

static uint32_t moved(const struct case_run *runs, size_t count, uint32_t character)
{
    for (size_t i = 0; i < count && runs[i].first <= character; ++i) {
        if (character <= runs[i].last && (character - runs[i].first) % runs[i].step == 0) {
            return (uint32_t)((int32_t)character + runs[i].move);
        }
    }
    return character;
}

static bool add_character(adamoe_growing_text *out, uint32_t character)
{
    char bytes[4];
    return adamoe_text_add(out, bytes, adamoe_utf8_write(character, bytes));
}

static bool add_title(adamoe_growing_text *out, uint32_t character)
{
    for (size_t i = 0; i < sizeof case_title_long / sizeof *case_title_long; ++i) {
        if (case_title_long[i].from == character) {
            bool added = true;
            for (size_t j = 0; j < 3 && case_title_long[i].to[j] != 0; ++j) {
                added = added && add_character(out, case_title_long[i].to[j]);
            }
            return added;
        }
    }
    return add_character(out, moved(case_title, sizeof case_title / sizeof *case_title, character));
}

static bool add_lower(adamoe_growing_text *out, uint32_t character)
{
    if (character == DOTTED_I) {
        return adamoe_text_add(out, "i\xcc\x87", 3);
    }
    return add_character(out, moved(case_lower, sizeof case_lower / sizeof *case_lower, character));
}

bool adamoe_text_add_capitalized(adamoe_growing_text *out, const char *text)
{
    const size_t length = strlen(text);
    bool added = adamoe_text_add(out, "", 0);
    for (size_t i = 0; i < length && added;) {
        uint32_t character;
        const bool first = i == 0;
        i += adamoe_utf8_next(text + i, length - i, &character);
        added = first ? add_title(out, character) : add_lower(out, character);
    }
    return added;
}

bool adamoe_text_has_sigma(const char *text)
{
    const size_t length = strlen(text);
    for (size_t i = 0; i < length;) {
        uint32_t character;
        const bool first = i == 0;
        i += adamoe_utf8_next(text + i, length - i, &character);
        if (character == CAPITAL_SIGMA && !first) {
            return true;
        }
    }
    return false;
}
