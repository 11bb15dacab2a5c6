/*
 * Regular expressions. tokenizer.json has them in Oniguruma's syntax; PCRE2 matches them here. What both read
 * in the same way is passed on, \s is spelled out because the two disagree on U+180E, and everything else is
 * refused: anchors, \w and \b, back references, groups with names or options, scripts, classes within
 * classes.
 *
 * Properties are those of the Unicode version that PCRE2 was built with, so a character that Unicode has
 * added since may be taken for something else than by the package.
 */
#include "tokenizer/parts.h"

#include <string.h>

/* An expression on its way into PCRE2's syntax. */
typedef struct translation {
    const adamoe_place *place;
    const char *expression; /* zero-terminated */
    size_t position;
    adamoe_text out;
} translation;

static adamoe_status refuse(const translation *self, const char *what)
{
    return adamoe_place_error(self->place, "byte %zu of the pattern: %s not implemented", self->position + 1,
                              what);
}

/* Passes the next `length` bytes on as they are. */
static adamoe_status pass(translation *self, size_t length)
{
    ADAMOE_TRY(adamoe_text_append(&self->out, (adamoe_view){self->expression + self->position, length}));
    self->position += length;
    return adamoe_ok();
}

static adamoe_status replace(translation *self, size_t length, const char *by)
{
    self->position += length;
    return adamoe_text_append(&self->out, (adamoe_view){by, strlen(by)});
}

/* \p{L}, \p{Lu} or \p{^L}: only general categories mean the same in both. */
static adamoe_status translate_property(translation *self)
{
    const char *name = self->expression + self->position + 2;
    size_t length = strncmp(name, "{^", 2) == 0 ? 2 : 1;
    if (name[0] != '{' || name[length] == '\0' || strchr("CLMNPSZ", name[length]) == NULL) {
        return refuse(self, "a property that is not a general category is");
    }
    length += name[length + 1] >= 'a' && name[length + 1] <= 'z' ? 2 : 1;
    if (name[length] != '}') {
        return refuse(self, "a property that is not a general category is");
    }
    return pass(self, 2 + length + 1);
}

static adamoe_status translate_escape(translation *self)
{
    const char escaped = self->expression[self->position + 1];
    switch (escaped) {
    case 's':
        return replace(self, 2, "\\p{White_Space}");
    case 'S':
        return replace(self, 2, "\\P{White_Space}");
    case 'p':
    case 'P':
        return translate_property(self);
    default:
        break;
    }
    if (escaped == '\0' || strchr("dDrntf.,:;!?*+-/|()[]{}^$#&%=@~\"_\\ ", escaped) == NULL) {
        return refuse(self, "this escape is");
    }
    return pass(self, 2);
}

static adamoe_status translate_class(translation *self)
{
    const char *rest = self->expression + self->position;
    ADAMOE_TRY(pass(self, rest[1] == '^' ? 2 : 1));
    if (self->expression[self->position] == ']') {
        return refuse(self, "a class that begins with ] is");
    }
    for (;;) {
        rest = self->expression + self->position;
        if (rest[0] == '\0' || rest[0] == '[' || (rest[0] == '&' && rest[1] == '&')) {
            return refuse(self, "an open class, or a class in a class, is");
        }
        if (rest[0] == '\\') {
            ADAMOE_TRY(translate_escape(self));
        } else {
            ADAMOE_TRY(pass(self, 1));
        }
        if (rest[0] == ']') {
            return adamoe_ok();
        }
    }
}

static adamoe_status translate_group(translation *self)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};
    const char *rest = self->expression + self->position;
    if (rest[1] != '?' && rest[1] != '*') {
        return pass(self, 1);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(rest, known[i], strlen(known[i])) == 0) {
            return pass(self, strlen(known[i]));
        }
    }
    return refuse(self, "this kind of group is");
}

/* {n}, {n,} and {n,m}. Followed by another quantifier they mean something else in each syntax. */
static adamoe_status translate_interval(translation *self)
{
    const char *rest = self->expression + self->position;
    size_t length = 1 + strspn(rest + 1, "0123456789");
    const bool counted = length > 1;
    if (rest[length] == ',') {
        length++;
        length += strspn(rest + length, "0123456789");
    }
    if (!counted || rest[length] != '}' ||
        (rest[length + 1] != '\0' && strchr("?+*{", rest[length + 1]) != NULL)) {
        return refuse(self, "this interval is");
    }
    return pass(self, length + 1);
}

static adamoe_status translate(translation *self)
{
    while (self->expression[self->position] != '\0') {
        switch (self->expression[self->position]) {
        case '\\':
            ADAMOE_TRY(translate_escape(self));
            break;
        case '[':
            ADAMOE_TRY(translate_class(self));
            break;
        case '(':
            ADAMOE_TRY(translate_group(self));
            break;
        case '{':
            ADAMOE_TRY(translate_interval(self));
            break;
        case '^':
        case '$':
            return refuse(self, "an anchor is");
        default:
            ADAMOE_TRY(pass(self, 1));
            break;
        }
    }
    return adamoe_ok();
}

static adamoe_status compile(const adamoe_place *place, adamoe_view expression, uint32_t options,
                             adamoe_split_pattern *out)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF); /* what . does not match, in both syntaxes */
    int error = 0;
    PCRE2_SIZE offset = 0;
    out->code = pcre2_compile((PCRE2_SPTR)expression.data, expression.length, PCRE2_UTF | options, &error,
                              &offset, context);
    pcre2_compile_context_free(context);
    if (out->code == NULL && error == PCRE2_ERROR_HEAP_FAILED) {
        return adamoe_tokenizer_out_of_memory();
    }
    if (out->code == NULL) {
        PCRE2_UCHAR reason[128] = {0};
        (void)pcre2_get_error_message(error, reason, sizeof reason);
        return adamoe_place_error(place, "the pattern: %s", (const char *)reason);
    }
    uint32_t empty = 0;
    (void)pcre2_pattern_info(out->code, PCRE2_INFO_MATCHEMPTY, &empty);
    return empty != 0 ? adamoe_place_error(place, "the pattern: may match an empty text") : adamoe_ok();
}

adamoe_status adamoe_pattern_compile(const adamoe_place *place, adamoe_view expression, adamoe_syntax syntax,
                                     adamoe_split_pattern *out)
{
    if (expression.length == 0) {
        return adamoe_place_error(place, "the pattern: empty");
    }
    if (syntax != ADAMOE_SYNTAX_ONIGURUMA) {
        return compile(place, expression, syntax == ADAMOE_SYNTAX_LITERAL ? PCRE2_LITERAL : PCRE2_UCP, out);
    }
    translation self = {.place = place, .expression = expression.data};
    adamoe_status status = translate(&self);
    if (status.code == ADAMOE_OK) {
        status = compile(place, adamoe_text_view(&self.out), PCRE2_UCP, out);
    }
    adamoe_text_free(&self.out);
    return status;
}

adamoe_status adamoe_pattern_next(const adamoe_split_pattern *pattern, adamoe_view text, size_t from,
                                  pcre2_match_data *match, bool *found, size_t *start, size_t *end)
{
    /* Checking the whole text for each match would take quadratic time; the encoder has checked it. */
    const int result =
        pcre2_match(pattern->code, (PCRE2_SPTR)text.data, text.length, from, PCRE2_NO_UTF_CHECK, match, NULL);
    *found = result != PCRE2_ERROR_NOMATCH;
    if (!*found) {
        return adamoe_ok();
    }
    if (result == PCRE2_ERROR_NOMEMORY) {
        return adamoe_tokenizer_out_of_memory();
    }
    if (result < 0) {
        PCRE2_UCHAR reason[128] = {0};
        (void)pcre2_get_error_message(result, reason, sizeof reason);
        return adamoe_error(ADAMOE_BAD_INPUT, "text: the pre-tokenizer's pattern: %s", (const char *)reason);
    }
    const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(match);
    *start = bounds[0];
    *end = bounds[1];
    return adamoe_ok();
}

void adamoe_pattern_free(adamoe_split_pattern *pattern)
{
    pcre2_code_free(pattern->code);
    pattern->code = NULL;
}
