/*
 * Cases to names and back.
 */
#include "check_cases.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"experts", "multiply"};
static const char *const weight_names[] = {"f32", "f16", "bf16"}; /* in the order of adamoe_dtype */

adamoe_case_name adamoe_name_case(const adamoe_case *c)
{
    adamoe_case_name name;
    if (c->kind == ADAMOE_CASE_MULTIPLY) {
        (void)snprintf(name.text, sizeof name.text, "multiply/rows:%zu/columns:%zu/count:%zu/weights:%s",
                       c->rows, c->columns, c->tokens, weight_names[c->weights]);
        return name;
    }
    (void)snprintf(name.text, sizeof name.text,
                   "experts/d:%zu/ff:%zu/n:%zu/m:%zu/k:%zu/tokens:%zu/routing:%s%s%s/weights:%s",
                   c->hidden_size, c->intermediate_size, c->mixture.experts, c->mixture.null_experts,
                   c->mixture.top_k, c->tokens, adamoe_pattern_names[c->pattern],
                   c->null_kind == ADAMOE_NULL_IDENTITY ? "/null:identity" : "",
                   c->dispatch ? "/dispatch" : "", weight_names[c->weights]);
    return name;
}

/* Moves *cursor behind `text` if it is there. */
static bool take(const char **cursor, const char *text)
{
    const size_t length = strlen(text);
    if (strncmp(*cursor, text, length) != 0) {
        return false;
    }
    *cursor += length;
    return true;
}

static bool take_size(const char **cursor, const char *label, size_t *out)
{
    if (!take(cursor, label)) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(*cursor, &end, 10);
    const bool read = errno == 0 && end != *cursor && value <= 1u << 20;
    *cursor = end;
    *out = (size_t)value;
    return read;
}

static bool take_word(const char **cursor, const char *label, const char *const *words, size_t count,
                      size_t *out)
{
    if (!take(cursor, label)) {
        return false;
    }
    for (size_t i = 0; i < count; ++i) {
        const size_t length = strlen(words[i]);
        const char after = strncmp(*cursor, words[i], length) == 0 ? (*cursor)[length] : 'x';
        if (after == '/' || after == '\0') {
            *cursor += length;
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_experts(const char *cursor, adamoe_case *c)
{
    size_t pattern = 0, weights = 0;
    if (!take_size(&cursor, "/d:", &c->hidden_size) || !take_size(&cursor, "/ff:", &c->intermediate_size) ||
        !take_size(&cursor, "/n:", &c->mixture.experts) ||
        !take_size(&cursor, "/m:", &c->mixture.null_experts) ||
        !take_size(&cursor, "/k:", &c->mixture.top_k) || !take_size(&cursor, "/tokens:", &c->tokens) ||
        !take_word(&cursor, "/routing:", adamoe_pattern_names, ADAMOE_PATTERNS, &pattern)) {
        return false;
    }
    c->null_kind = take(&cursor, "/null:identity") ? ADAMOE_NULL_IDENTITY : ADAMOE_NULL_ZERO;
    c->dispatch = take(&cursor, "/dispatch");
    c->pattern = (adamoe_pattern)pattern;
    const bool read = take_word(&cursor, "/weights:", weight_names, 3, &weights);
    c->weights = (adamoe_dtype)weights;
    return read;
}

static bool parse_multiply(const char *cursor, adamoe_case *c)
{
    size_t weights = 0;
    const bool read = take_size(&cursor, "/rows:", &c->rows) &&
                      take_size(&cursor, "/columns:", &c->columns) &&
                      take_size(&cursor, "/count:", &c->tokens) &&
                      take_word(&cursor, "/weights:", weight_names, 3, &weights);
    c->weights = (adamoe_dtype)weights;
    return read;
}

/* a b c <= 2^28, where each is at most 2^20. */
static bool is_bearable(size_t a, size_t b, size_t c)
{
    return (double)a * (double)b * (double)c <= 0x1p28;
}

static bool fits(const adamoe_case *c)
{
    if (c->kind == ADAMOE_CASE_MULTIPLY) {
        return c->rows > 0 && c->columns > 0 && is_bearable(c->rows, c->columns, 1) &&
               is_bearable(c->tokens, c->rows, 1) && is_bearable(c->tokens, c->columns, 1);
    }
    const adamoe_mixture *mixture = &c->mixture;
    const size_t all = mixture->experts + mixture->null_experts;
    return c->hidden_size > 0 && c->intermediate_size > 0 && mixture->experts > 0 && mixture->top_k > 0 &&
           mixture->top_k <= all && adamoe_pattern_fits(c->pattern, *mixture) &&
           is_bearable(3 * mixture->experts, c->hidden_size, c->intermediate_size) &&
           is_bearable(c->tokens, c->hidden_size, 1) && is_bearable(c->tokens, all, 1);
}

bool adamoe_parse_case(const char *name, adamoe_case *out)
{
    const char *cursor = name;
    adamoe_case c = {.kind = take(&cursor, kind_names[0]) ? ADAMOE_CASE_EXPERTS : ADAMOE_CASE_MULTIPLY};
    const bool read = c.kind == ADAMOE_CASE_EXPERTS
                          ? parse_experts(cursor, &c)
                          : take(&cursor, kind_names[1]) && parse_multiply(cursor, &c);
    /* Spellings that name the same case differently, `d:033`, are none; nor is what has text behind it. */
    if (!read || !fits(&c) || strcmp(adamoe_name_case(&c).text, name) != 0) {
        return false;
    }
    *out = c;
    return true;
}
