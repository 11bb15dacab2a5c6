/*
 * The normalizers NFC, Prepend and Replace (with a string as the pattern), alone or in a Sequence. Every other
 * one, Unicode's other normal forms among them, is refused.
 */
#include "tokenizer/nfc.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status read_prepend(const adamoe_part *part, adamoe_normalizer_step *step)
{
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, (const char *const[]){"type", "prepend", NULL}));
    adamoe_view content;
    ADAMOE_TRY(adamoe_json_string(&part->place, part->object, "prepend", &content));
    step->content = adamoe_view_copy(content);
    step->content_length = content.length;
    return step->content == NULL ? adamoe_tokenizer_out_of_memory() : adamoe_ok();
}

static adamoe_status read_replace(const adamoe_part *part, adamoe_normalizer_step *step)
{
    adamoe_view pattern;
    adamoe_view content;
    ADAMOE_TRY(adamoe_json_replacement(part, &pattern, &content));
    step->pattern = adamoe_view_copy(pattern);
    step->pattern_length = pattern.length;
    step->content = adamoe_view_copy(content);
    step->content_length = content.length;
    return step->pattern == NULL || step->content == NULL ? adamoe_tokenizer_out_of_memory() : adamoe_ok();
}

static adamoe_status read_step(const adamoe_part *part, void *context)
{
    adamoe_normalizer *normalizer = context;
    if (normalizer->steps == ADAMOE_PARTS_MOST) {
        return adamoe_place_error(&part->place, "more than %d normalizers", ADAMOE_PARTS_MOST);
    }
    adamoe_normalizer_step *step = &normalizer->step[normalizer->steps++];
    if (strcmp(part->type, "NFC") == 0) {
        step->nfc = true;
        return adamoe_json_keys(&part->place, part->object, (const char *const[]){"type", NULL});
    }
    if (strcmp(part->type, "Prepend") == 0) {
        return read_prepend(part, step);
    }
    if (strcmp(part->type, "Replace") == 0) {
        return read_replace(part, step);
    }
    return adamoe_part_refused(part);
}

adamoe_status adamoe_normalizer_read(const adamoe_place *place, const json_t *value, adamoe_normalizer *out)
{
    return adamoe_read_parts(place, value, "normalizers", read_step, out);
}

static adamoe_status apply(const adamoe_normalizer_step *step, adamoe_view text, adamoe_text *out)
{
    if (step->nfc) {
        return adamoe_text_append_nfc(out, text);
    }
    const adamoe_view content = {step->content, step->content_length};
    if (step->pattern != NULL) {
        const adamoe_view pattern = {step->pattern, step->pattern_length};
        return adamoe_text_append_replaced(out, text, pattern, content);
    }
    if (text.length > 0) {
        ADAMOE_TRY(adamoe_text_append(out, content));
    }
    return adamoe_text_append(out, text);
}

adamoe_status adamoe_normalize(const adamoe_normalizer *normalizer, adamoe_view text, adamoe_text *out,
                               adamoe_text *other)
{
    out->length = 0;
    ADAMOE_TRY(adamoe_text_append(out, text));
    for (size_t i = 0; i < normalizer->steps; i++) {
        other->length = 0;
        ADAMOE_TRY(apply(&normalizer->step[i], adamoe_text_view(out), other));
        const adamoe_text swapped = *out;
        *out = *other;
        *other = swapped;
    }
    return adamoe_ok();
}

void adamoe_normalizer_free(adamoe_normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->steps; i++) {
        free(normalizer->step[i].pattern);
        free(normalizer->step[i].content);
    }
    *normalizer = (adamoe_normalizer){0};
}
