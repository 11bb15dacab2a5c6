/*
 * The parts of the names of cases.
 */
#include "check/cases/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const magnitude_names[] = {"usual", "denormal", "huge", "sweep", "full"};
static const char *const weight_names[] = {"f32", "f16", "bf16"}; /* in the order of adamoe_dtype */

void adamoe_name_append_mixture(adamoe_case_name *name, const adamoe_case *c)
{
    adamoe_name_append(name, "/n:%zu/m:%zu/k:%zu/tokens:%zu", c->mixture.experts, c->mixture.null_experts,
                       c->mixture.top_k, c->tokens);
}

void adamoe_name_append_magnitude(adamoe_case_name *name, const adamoe_case *c)
{
    if (c->magnitude != ADAMOE_MAGNITUDE_USUAL) {
        adamoe_name_append(name, "/values:%s", magnitude_names[c->magnitude]);
    }
}

void adamoe_name_append_weights(adamoe_case_name *name, const adamoe_case *c)
{
    adamoe_name_append(name, "/weights:%s", weight_names[c->weights]);
}

bool adamoe_name_take(const char **cursor, const char *text)
{
    const size_t length = strlen(text);
    if (strncmp(*cursor, text, length) != 0) {
        return false;
    }
    *cursor += length;
    return true;
}

bool adamoe_name_take_size(const char **cursor, const char *label, size_t *out)
{
    if (!adamoe_name_take(cursor, label)) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(*cursor, &end, 10);
    const bool read = errno == 0 && end != *cursor && value <= 1u << 22;
    *cursor = end;
    *out = (size_t)value;
    return read;
}

bool adamoe_name_take_word(const char **cursor, const char *label, const char *const *words, size_t count,
                           size_t *out)
{
    if (!adamoe_name_take(cursor, label)) {
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

bool adamoe_name_take_mixture(const char **cursor, adamoe_case *c)
{
    return adamoe_name_take_size(cursor, "/n:", &c->mixture.experts) &&
           adamoe_name_take_size(cursor, "/m:", &c->mixture.null_experts) &&
           adamoe_name_take_size(cursor, "/k:", &c->mixture.top_k) &&
           adamoe_name_take_size(cursor, "/tokens:", &c->tokens);
}

void adamoe_name_take_magnitude(const char **cursor, adamoe_case *c)
{
    size_t magnitude = 0;
    (void)adamoe_name_take_word(cursor, "/values:", magnitude_names, ADAMOE_MAGNITUDES, &magnitude);
    c->magnitude = (adamoe_magnitude)magnitude;
}

bool adamoe_name_take_weights(const char **cursor, adamoe_case *c)
{
    size_t weights = 0;
    const bool read = adamoe_name_take_word(cursor, "/weights:", weight_names, 3, &weights);
    c->weights = (adamoe_dtype)weights;
    return read;
}

bool adamoe_is_bearable(size_t a, size_t b, size_t c)
{
    return (double)a * (double)b * (double)c <= 0x1p28;
}

bool adamoe_mixture_fits(const adamoe_case *c)
{
    const adamoe_mixture *mixture = &c->mixture;
    const size_t all = mixture->experts + mixture->null_experts;
    return mixture->experts > 0 && mixture->top_k > 0 && mixture->top_k <= all &&
           adamoe_is_bearable(c->tokens, all, 1);
}
