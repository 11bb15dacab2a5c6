/*
 * The decoders of tokenizer.json that are implemented: Replace, ByteFallback, Fuse, Strip, ByteLevel and
 * Metaspace, alone or in a Sequence. Every other one is refused.
 */
#include "tokenizer/parts.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status set_texts(adamoe_decoder_step *step, adamoe_view pattern, adamoe_view content)
{
    step->pattern = adamoe_view_copy(pattern);
    step->pattern_length = pattern.length;
    step->content = adamoe_view_copy(content);
    step->content_length = content.length;
    return step->pattern == NULL || step->content == NULL ? adamoe_tokenizer_out_of_memory() : adamoe_ok();
}

static adamoe_status read_replace(const adamoe_part *part, adamoe_decoder_step *step)
{
    adamoe_view pattern;
    adamoe_view content;
    ADAMOE_TRY(adamoe_json_replacement(part, &pattern, &content));
    return set_texts(step, pattern, content);
}

static adamoe_status read_count(const adamoe_part *part, const char *key, size_t *out)
{
    const json_t *value = json_object_get(part->object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        const adamoe_place place = adamoe_place_key(&part->place, key);
        return adamoe_place_error(&place, value == NULL ? "absent" : "not a number of characters");
    }
    *out = (size_t)json_integer_value(value);
    return adamoe_ok();
}

static adamoe_status read_strip(const adamoe_part *part, adamoe_decoder_step *step)
{
    static const char *const keys[] = {"type", "content", "start", "stop", NULL};
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, keys));
    adamoe_view character;
    ADAMOE_TRY(adamoe_json_character(&part->place, part->object, "content", &character));
    ADAMOE_TRY(read_count(part, "start", &step->strip_start));
    ADAMOE_TRY(read_count(part, "stop", &step->strip_stop));
    return set_texts(step, character, (adamoe_view){"", 0});
}

static adamoe_status read_metaspace(const adamoe_part *part, adamoe_decoder_step *step)
{
    static const char *const keys[] = {
        "type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep", NULL};
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, keys));
    adamoe_view replacement;
    ADAMOE_TRY(adamoe_json_character(&part->place, part->object, "replacement", &replacement));
    adamoe_prepend_scheme scheme = ADAMOE_PREPEND_ALWAYS;
    ADAMOE_TRY(adamoe_json_prepend_scheme(part, &scheme));
    step->drop_first = scheme != ADAMOE_PREPEND_NEVER;
    return set_texts(step, replacement, (adamoe_view){" ", 1});
}

static adamoe_status read_step(const adamoe_part *part, void *context)
{
    static const char *const type_only[] = {"type", NULL};
    static const char *const byte_level[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
    adamoe_decoder *decoder = context;
    if (decoder->steps == ADAMOE_PARTS_MOST) {
        return adamoe_place_error(&part->place, "more than %d decoders", ADAMOE_PARTS_MOST);
    }
    adamoe_decoder_step *step = &decoder->step[decoder->steps++];
    if (strcmp(part->type, "Replace") == 0) {
        step->kind = ADAMOE_DECODER_REPLACE;
        return read_replace(part, step);
    }
    if (strcmp(part->type, "ByteFallback") == 0) {
        step->kind = ADAMOE_DECODER_BYTE_FALLBACK;
        return adamoe_json_keys(&part->place, part->object, type_only);
    }
    if (strcmp(part->type, "Fuse") == 0) {
        step->kind = ADAMOE_DECODER_FUSE;
        return adamoe_json_keys(&part->place, part->object, type_only);
    }
    if (strcmp(part->type, "Strip") == 0) {
        step->kind = ADAMOE_DECODER_STRIP;
        return read_strip(part, step);
    }
    if (strcmp(part->type, "ByteLevel") == 0) {
        step->kind = ADAMOE_DECODER_BYTE_LEVEL;
        return adamoe_json_keys(&part->place, part->object, byte_level);
    }
    if (strcmp(part->type, "Metaspace") == 0) {
        step->kind = ADAMOE_DECODER_METASPACE;
        return read_metaspace(part, step);
    }
    return adamoe_part_refused(part);
}

adamoe_status adamoe_decoder_read(const adamoe_place *place, const json_t *value, adamoe_decoder *out)
{
    out->present = adamoe_json_is_set(value);
    return adamoe_read_parts(place, value, "decoders", read_step, out);
}

void adamoe_decoder_free(adamoe_decoder *decoder)
{
    for (size_t i = 0; i < decoder->steps; i++) {
        free(decoder->step[i].pattern);
        free(decoder->step[i].content);
    }
    *decoder = (adamoe_decoder){0};
}
