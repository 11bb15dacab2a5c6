/*
 * Cases to names and back.
 */
#include "check/cases/cases.h"
#include "check/cases/models.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const adamoe_tier_names[ADAMOE_TIERS] = {"exact",    "bound",   "bitwise",
                                                     "property", "routing", "model"};

const char *const adamoe_property_names[ADAMOE_PROPERTIES] = {
    "permuted-tokens", "permuted-experts", "split-batch",   "unused-null-experts",
    "scaled-combine",  "poisoned-token",   "refused-memory"};

const char *const adamoe_guarantee_names[ADAMOE_GUARANTEES] = {"runs", "threads", "batch", "placement"};

static const char *const magnitude_names[] = {"usual", "denormal", "huge"};
static const char *const logits_names[ADAMOE_LOGITS_KINDS] = {
    "random",   "ties",       "copies",   "near-ties", "all-equal", "signed-zeros",
    "all-null", "one-expert", "denormal", "huge",      "nan",       "infinite"};
static const char *const norm_names[] = {"true", "all", "none"};  /* in the order of adamoe_norm */
static const char *const weight_names[] = {"f32", "f16", "bf16"}; /* in the order of adamoe_dtype */

/* ---------------------------------------------------------------------------------------------- to a name */

__attribute__((format(printf, 2, 3))) static void append(adamoe_case_name *name, const char *format, ...)
{
    const size_t used = strlen(name->text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(name->text + used, sizeof name->text - used, format, arguments);
    va_end(arguments);
}

static void append_magnitude(adamoe_case_name *name, const adamoe_case *c)
{
    if (c->magnitude != ADAMOE_MAGNITUDE_USUAL) {
        append(name, "/values:%s", magnitude_names[c->magnitude]);
    }
}

static void append_experts(adamoe_case_name *name, const char *what, const adamoe_case *c)
{
    append(name, "%s/d:%zu/ff:%zu/n:%zu/m:%zu/k:%zu/tokens:%zu/routing:%s", what, c->hidden_size,
           c->intermediate_size, c->mixture.experts, c->mixture.null_experts, c->mixture.top_k, c->tokens,
           adamoe_pattern_names[c->pattern]);
    append(name, "%s%s%s", c->null_kind == ADAMOE_NULL_IDENTITY ? "/null:identity" : "",
           c->dispatch ? "/dispatch" : "", c->slots ? "/slots" : "");
    append_magnitude(name, c);
    append(name, "/weights:%s", weight_names[c->weights]);
}

adamoe_case_name adamoe_name_case(const adamoe_case *c)
{
    adamoe_case_name name = {""};
    append(&name, "%s/", adamoe_tier_names[c->tier]);
    if (c->tier == ADAMOE_TIER_PROPERTY) {
        append(&name, "%s/", adamoe_property_names[c->property]);
    }
    if (c->tier == ADAMOE_TIER_BITWISE) {
        append(&name, "%s/", adamoe_guarantee_names[c->guarantee]);
    }
    switch (c->kind) {
    case ADAMOE_CASE_EXPERTS:
        append_experts(&name, "experts", c);
        break;
    case ADAMOE_CASE_GRADIENT:
        append_experts(&name, "gradient", c);
        break;
    case ADAMOE_CASE_MULTIPLY:
        append(&name, "multiply/rows:%zu/columns:%zu/count:%zu/weights:%s", c->rows, c->columns, c->tokens,
               weight_names[c->weights]);
        break;
    case ADAMOE_CASE_ROUTE:
        append(&name, "route/n:%zu/m:%zu/k:%zu/tokens:%zu/logits:%s/norm:%s", c->mixture.experts,
               c->mixture.null_experts, c->mixture.top_k, c->tokens, logits_names[c->logits],
               norm_names[c->norm]);
        break;
    case ADAMOE_CASE_LOGITS:
        append(&name, "logits/d:%zu/n:%zu/m:%zu/k:%zu/tokens:%zu/weights:%s", c->hidden_size,
               c->mixture.experts, c->mixture.null_experts, c->mixture.top_k, c->tokens,
               weight_names[c->weights]);
        break;
    case ADAMOE_CASE_ATTENTION:
        append(&name, "attention/heads:%zu/kv:%zu/dim:%zu/window:%zu/tokens:%zu", c->heads,
               c->key_value_heads, c->head_dim, c->window, c->tokens);
        append_magnitude(&name, c);
        append(&name, "/%s", c->shared ? "shared" : "single");
        break;
    case ADAMOE_CASE_MODEL:
        append(&name, "%s", adamoe_check_model_names[c->model]);
        break;
    }
    return name;
}

/* -------------------------------------------------------------------------------------------- from a name */

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
    const bool read = errno == 0 && end != *cursor && value <= 1u << 22;
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

static bool take_mixture(const char **cursor, adamoe_case *c)
{
    return take_size(cursor, "/n:", &c->mixture.experts) &&
           take_size(cursor, "/m:", &c->mixture.null_experts) &&
           take_size(cursor, "/k:", &c->mixture.top_k) && take_size(cursor, "/tokens:", &c->tokens);
}

static bool take_weights(const char **cursor, adamoe_case *c)
{
    size_t weights = 0;
    const bool read = take_word(cursor, "/weights:", weight_names, 3, &weights);
    c->weights = (adamoe_dtype)weights;
    return read;
}

static void take_magnitude(const char **cursor, adamoe_case *c)
{
    size_t magnitude = 0;
    (void)take_word(cursor, "/values:", magnitude_names, 3, &magnitude);
    c->magnitude = (adamoe_magnitude)magnitude;
}

static bool parse_experts(const char *cursor, adamoe_case *c)
{
    size_t pattern = 0;
    if (!take_size(&cursor, "/d:", &c->hidden_size) || !take_size(&cursor, "/ff:", &c->intermediate_size) ||
        !take_mixture(&cursor, c) ||
        !take_word(&cursor, "/routing:", adamoe_pattern_names, ADAMOE_PATTERNS, &pattern)) {
        return false;
    }
    c->null_kind = take(&cursor, "/null:identity") ? ADAMOE_NULL_IDENTITY : ADAMOE_NULL_ZERO;
    c->dispatch = take(&cursor, "/dispatch");
    c->pattern = (adamoe_pattern)pattern;
    c->slots = take(&cursor, "/slots");
    take_magnitude(&cursor, c);
    return take_weights(&cursor, c);
}

static bool parse_multiply(const char *cursor, adamoe_case *c)
{
    return take_size(&cursor, "/rows:", &c->rows) && take_size(&cursor, "/columns:", &c->columns) &&
           take_size(&cursor, "/count:", &c->tokens) && take_weights(&cursor, c);
}

static bool parse_route(const char *cursor, adamoe_case *c)
{
    size_t logits = 0, norm = 0;
    const bool read = take_mixture(&cursor, c) &&
                      take_word(&cursor, "/logits:", logits_names, ADAMOE_LOGITS_KINDS, &logits) &&
                      take_word(&cursor, "/norm:", norm_names, 3, &norm);
    c->logits = (adamoe_logits_kind)logits;
    c->norm = (adamoe_norm)norm;
    return read;
}

static bool parse_logits(const char *cursor, adamoe_case *c)
{
    return take_size(&cursor, "/d:", &c->hidden_size) && take_mixture(&cursor, c) && take_weights(&cursor, c);
}

static bool parse_attention(const char *cursor, adamoe_case *c)
{
    static const char *const spans[] = {"single", "shared"};
    size_t shared = 0;
    if (!take_size(&cursor, "/heads:", &c->heads) || !take_size(&cursor, "/kv:", &c->key_value_heads) ||
        !take_size(&cursor, "/dim:", &c->head_dim) || !take_size(&cursor, "/window:", &c->window) ||
        !take_size(&cursor, "/tokens:", &c->tokens)) {
        return false;
    }
    take_magnitude(&cursor, c);
    const bool read = take_word(&cursor, "/", spans, 2, &shared);
    c->shared = shared == 1;
    return read;
}

static bool parse_model(const char *cursor, adamoe_case *c)
{
    return take_word(&cursor, "", adamoe_check_model_names, ADAMOE_CHECK_MODELS, &c->model);
}

/* a b c <= 2^28, where each is at most 2^22. */
static bool is_bearable(size_t a, size_t b, size_t c)
{
    return (double)a * (double)b * (double)c <= 0x1p28;
}

static bool mixture_fits(const adamoe_case *c)
{
    const adamoe_mixture *mixture = &c->mixture;
    const size_t all = mixture->experts + mixture->null_experts;
    return mixture->experts > 0 && mixture->top_k > 0 && mixture->top_k <= all &&
           is_bearable(c->tokens, all, 1);
}

/* An identity expert passes on the input of its token, which slots do not have. */
static bool slots_fit(const adamoe_case *c)
{
    return !c->slots || (c->tier == ADAMOE_TIER_EXACT && c->null_kind == ADAMOE_NULL_ZERO &&
                         is_bearable(c->tokens, c->tokens, c->mixture.top_k));
}

static bool experts_fit(const adamoe_case *c)
{
    return mixture_fits(c) && c->hidden_size > 0 && c->intermediate_size > 0 &&
           adamoe_pattern_fits(c->pattern, c->mixture) && slots_fit(c) &&
           is_bearable(3 * c->mixture.experts, c->hidden_size, c->intermediate_size) &&
           is_bearable(c->tokens, c->hidden_size, 1);
}

/* The contract's backward takes float32 and plans of a routing. */
static bool gradient_fits(const adamoe_case *c)
{
    return experts_fit(c) && c->weights == ADAMOE_F32 && !c->dispatch && !c->slots &&
           c->mixture.experts <= ADAMOE_MOST_GRADIENT_EXPERTS &&
           !(c->tier == ADAMOE_TIER_BITWISE && c->guarantee == ADAMOE_GUARANTEE_PLACEMENT);
}

static bool fits(const adamoe_case *c)
{
    switch (c->kind) {
    case ADAMOE_CASE_MULTIPLY:
        return !(c->tier == ADAMOE_TIER_PROPERTY && c->property != ADAMOE_PROPERTY_REFUSED_MEMORY) &&
               c->rows > 0 && c->columns > 0 && is_bearable(c->rows, c->columns, 1) &&
               is_bearable(c->tokens, c->rows, 1) && is_bearable(c->tokens, c->columns, 1);
    case ADAMOE_CASE_EXPERTS:
        return experts_fit(c);
    case ADAMOE_CASE_GRADIENT:
        return gradient_fits(c);
    case ADAMOE_CASE_ROUTE:
        return mixture_fits(c);
    case ADAMOE_CASE_LOGITS:
        return mixture_fits(c) && c->hidden_size > 0 && is_bearable(c->tokens, c->hidden_size, 1);
    case ADAMOE_CASE_ATTENTION:
        return c->key_value_heads > 0 && c->heads >= c->key_value_heads && c->head_dim > 0 && c->tokens > 0 &&
               c->tokens <= 1024 && is_bearable(c->tokens, c->heads, c->head_dim);
    case ADAMOE_CASE_MODEL:
        return true;
    }
    return false;
}

/* What each tier is there for. */
static bool parse_kind(const char *cursor, adamoe_case *c)
{
    static const struct {
        const char *name;
        adamoe_case_kind kind;
        unsigned tiers;
        bool (*parse)(const char *, adamoe_case *);
    } kinds[] = {
        {"experts", ADAMOE_CASE_EXPERTS,
         1u << ADAMOE_TIER_EXACT | 1u << ADAMOE_TIER_BOUND | 1u << ADAMOE_TIER_BITWISE |
             1u << ADAMOE_TIER_PROPERTY,
         parse_experts},
        {"gradient", ADAMOE_CASE_GRADIENT,
         1u << ADAMOE_TIER_EXACT | 1u << ADAMOE_TIER_BOUND | 1u << ADAMOE_TIER_BITWISE, parse_experts},
        {"multiply", ADAMOE_CASE_MULTIPLY,
         1u << ADAMOE_TIER_EXACT | 1u << ADAMOE_TIER_BOUND | 1u << ADAMOE_TIER_BITWISE |
             1u << ADAMOE_TIER_PROPERTY,
         parse_multiply},
        {"attention", ADAMOE_CASE_ATTENTION, 1u << ADAMOE_TIER_BOUND, parse_attention},
        {"", ADAMOE_CASE_MODEL, 1u << ADAMOE_TIER_MODEL, parse_model},
        {"route", ADAMOE_CASE_ROUTE, 1u << ADAMOE_TIER_ROUTING, parse_route},
        {"logits", ADAMOE_CASE_LOGITS, 1u << ADAMOE_TIER_ROUTING, parse_logits},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        const char *behind = cursor;
        if ((kinds[i].tiers >> c->tier & 1u) != 0 && take(&behind, kinds[i].name)) {
            c->kind = kinds[i].kind;
            return kinds[i].parse(behind, c);
        }
    }
    return false;
}

static bool parse_tier(const char **cursor, adamoe_case *c)
{
    size_t word = 0;
    for (size_t i = 0; i < ADAMOE_TIERS; ++i) {
        const char *behind = *cursor;
        if (take(&behind, adamoe_tier_names[i]) && take(&behind, "/")) {
            c->tier = (adamoe_tier)i;
            *cursor = behind;
        }
    }
    bool read = true;
    if (c->tier == ADAMOE_TIER_PROPERTY) {
        read = take_word(cursor, "", adamoe_property_names, ADAMOE_PROPERTIES, &word) && take(cursor, "/");
        c->property = (adamoe_property)word;
    } else if (c->tier == ADAMOE_TIER_BITWISE) {
        read = take_word(cursor, "", adamoe_guarantee_names, ADAMOE_GUARANTEES, &word) && take(cursor, "/");
        c->guarantee = (adamoe_guarantee)word;
    }
    return read;
}

bool adamoe_parse_case(const char *name, adamoe_case *out)
{
    const char *cursor = name;
    adamoe_case c = {.tier = ADAMOE_TIER_BOUND};
    if (!parse_tier(&cursor, &c) || !parse_kind(cursor, &c) || !fits(&c)) {
        return false;
    }
    /* Spellings that name the same case differently, `d:033`, are none; nor is what has text behind it. */
    const adamoe_case_name whole = adamoe_name_case(&c);
    const bool bare = cursor == name && c.tier == ADAMOE_TIER_BOUND;
    if (strcmp(whole.text + (bare ? strlen("bound/") : 0), name) != 0) {
        return false;
    }
    *out = c;
    return true;
}
