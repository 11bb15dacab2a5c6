/*
 * The pre-tokenizers of tokenizer.json that are implemented: ByteLevel, Digits, Metaspace and Split, alone or
 * in a Sequence. Every other one is refused.
 */
#include "tokenizer/parts.h"

#include <string.h>

static adamoe_status compile_own(const adamoe_part *part, const char *expression, adamoe_split_pattern *out)
{
    return adamoe_pattern_compile(&part->place, (adamoe_view){expression, strlen(expression)},
                                  ADAMOE_SYNTAX_PCRE2, out);
}

static adamoe_status read_byte_level(const adamoe_part *part, adamoe_pre_tokenizer_step *step)
{
    static const char *const keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
    /* GPT-2's: contractions, words, numbers and runs of other characters, each with the blank before it; and
     * white space, whose last character stays with what follows. */
    static const char gpt2[] = "'(?:[stmd]|re|ve|ll)"
                               "| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+"
                               "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, keys));
    bool use_regex = false;
    ADAMOE_TRY(adamoe_json_boolean(&part->place, part->object, "add_prefix_space", &step->add_prefix_space));
    ADAMOE_TRY(adamoe_json_boolean_or(&part->place, part->object, "use_regex", true, &use_regex));
    step->kind = ADAMOE_PRE_TOKENIZER_BYTE_LEVEL;
    step->behavior = ADAMOE_SPLIT_ISOLATED;
    return use_regex ? compile_own(part, gpt2, &step->pattern) : adamoe_ok();
}

static adamoe_status read_digits(const adamoe_part *part, adamoe_pre_tokenizer_step *step)
{
    static const char *const keys[] = {"type", "individual_digits", NULL};
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, keys));
    bool individual = false;
    ADAMOE_TRY(adamoe_json_boolean(&part->place, part->object, "individual_digits", &individual));
    step->kind = ADAMOE_PRE_TOKENIZER_SPLIT;
    step->behavior = ADAMOE_SPLIT_ISOLATED;
    return compile_own(part, individual ? "\\p{N}" : "\\p{N}+", &step->pattern);
}

adamoe_status adamoe_json_prepend_scheme(const adamoe_part *part, adamoe_prepend_scheme *out)
{
    static const char *const names[] = {"always", "first", "never"};
    const adamoe_place place = adamoe_place_key(&part->place, "prepend_scheme");
    adamoe_view name = {names[0], strlen(names[0])};
    if (json_object_get(part->object, "prepend_scheme") != NULL) {
        ADAMOE_TRY(adamoe_json_string(&part->place, part->object, "prepend_scheme", &name));
    }
    size_t i = 0;
    while (i < sizeof names / sizeof names[0] && strcmp(name.data, names[i]) != 0) {
        i++;
    }
    if (i == sizeof names / sizeof names[0]) {
        return adamoe_place_error(&place, "\"%.60s\" is not implemented", name.data);
    }
    *out = (adamoe_prepend_scheme)i;
    /* The older key must agree with the newer one. */
    bool add_prefix_space = true;
    ADAMOE_TRY(
        adamoe_json_boolean_or(&part->place, part->object, "add_prefix_space", true, &add_prefix_space));
    return !add_prefix_space && *out != ADAMOE_PREPEND_NEVER
               ? adamoe_place_error(&place, "disagrees with add_prefix_space")
               : adamoe_ok();
}

static adamoe_status read_metaspace(const adamoe_part *part, const adamoe_pre_tokenizer *pre_tokenizer,
                                    adamoe_pre_tokenizer_step *step)
{
    static const char *const keys[] = {
        "type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep", NULL};
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, keys));
    adamoe_view replacement;
    bool split = false;
    ADAMOE_TRY(adamoe_json_character(&part->place, part->object, "replacement", &replacement));
    ADAMOE_TRY(adamoe_json_boolean_or(&part->place, part->object, "split", true, &split));
    ADAMOE_TRY(adamoe_json_prepend_scheme(part, &step->prepend));
    /* Steps before this one could move or remove what stood first in the text. */
    if (step->prepend == ADAMOE_PREPEND_FIRST &&
        (pre_tokenizer->normalized || step != &pre_tokenizer->step[0])) {
        return adamoe_place_error(&part->place,
                                  "prepend_scheme \"first\" after another step is not implemented");
    }
    memcpy(step->replacement, replacement.data, replacement.length);
    step->replacement_length = replacement.length;
    step->kind = ADAMOE_PRE_TOKENIZER_METASPACE;
    step->behavior = ADAMOE_SPLIT_MERGED_WITH_NEXT;
    return split ? adamoe_pattern_compile(&part->place, replacement, ADAMOE_SYNTAX_LITERAL, &step->pattern)
                 : adamoe_ok();
}

static adamoe_status read_behavior(const adamoe_part *part, adamoe_split_behavior *out)
{
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious",
                                        "MergedWithNext"};
    adamoe_view name;
    ADAMOE_TRY(adamoe_json_string(&part->place, part->object, "behavior", &name));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name.data, names[i]) == 0) {
            *out = (adamoe_split_behavior)i;
            return adamoe_ok();
        }
    }
    const adamoe_place place = adamoe_place_key(&part->place, "behavior");
    return adamoe_place_error(&place, "\"%.60s\" is not implemented", name.data);
}

static adamoe_status read_split(const adamoe_part *part, adamoe_pre_tokenizer_step *step)
{
    static const char *const keys[] = {"type", "pattern", "behavior", "invert", NULL};
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, keys));
    ADAMOE_TRY(read_behavior(part, &step->behavior));
    ADAMOE_TRY(adamoe_json_boolean(&part->place, part->object, "invert", &step->invert));
    const adamoe_place place = adamoe_place_key(&part->place, "pattern");
    const json_t *pattern = json_object_get(part->object, "pattern");
    ADAMOE_TRY(adamoe_json_keys(&place, pattern, (const char *const[]){"Regex", "String", NULL}));
    const bool literal = json_object_get(pattern, "Regex") == NULL;
    adamoe_view expression;
    ADAMOE_TRY(adamoe_json_string(&place, pattern, literal ? "String" : "Regex", &expression));
    if (json_object_size(pattern) != 1) {
        return adamoe_place_error(&place, "both a String and a Regex");
    }
    step->kind = ADAMOE_PRE_TOKENIZER_SPLIT;
    return adamoe_pattern_compile(&place, expression,
                                  literal ? ADAMOE_SYNTAX_LITERAL : ADAMOE_SYNTAX_ONIGURUMA, &step->pattern);
}

static adamoe_status read_step(const adamoe_part *part, void *context)
{
    adamoe_pre_tokenizer *pre_tokenizer = context;
    if (pre_tokenizer->steps == ADAMOE_PARTS_MOST) {
        return adamoe_place_error(&part->place, "more than %d pre-tokenizers", ADAMOE_PARTS_MOST);
    }
    adamoe_pre_tokenizer_step *step = &pre_tokenizer->step[pre_tokenizer->steps++];
    if (strcmp(part->type, "ByteLevel") == 0) {
        return read_byte_level(part, step);
    }
    if (strcmp(part->type, "Digits") == 0) {
        return read_digits(part, step);
    }
    if (strcmp(part->type, "Metaspace") == 0) {
        return read_metaspace(part, pre_tokenizer, step);
    }
    if (strcmp(part->type, "Split") == 0) {
        return read_split(part, step);
    }
    return adamoe_part_refused(part);
}

adamoe_status adamoe_pre_tokenizer_read(const adamoe_place *place, const json_t *value, bool normalized,
                                        adamoe_pre_tokenizer *out)
{
    out->normalized = normalized;
    return adamoe_read_parts(place, value, "pretokenizers", read_step, out);
}

void adamoe_pre_tokenizer_free(adamoe_pre_tokenizer *pre_tokenizer)
{
    for (size_t i = 0; i < pre_tokenizer->steps; i++) {
        adamoe_pattern_free(&pre_tokenizer->step[i].pattern);
    }
    *pre_tokenizer = (adamoe_pre_tokenizer){0};
}
