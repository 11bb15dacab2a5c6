/*
 * Post-processors: the special tokens that TemplateProcessing puts around a text. ByteLevel is accepted
 * because it changes offsets only, which nobody keeps here. Pairs of texts are left out, and so the template
 * for them.
 */
#include "tokenizer/parts.h"

#include <string.h>

typedef struct reading {
    const adamoe_vocabulary *vocabulary;
    adamoe_template *out;
    bool seen; /* a template */
} reading;

/* Appends the ids that "special_tokens" gives to a name. */
static adamoe_status append_special(const adamoe_part *part, const adamoe_place *piece, const char *name,
                                    const adamoe_vocabulary *vocabulary, adamoe_tokens *out)
{
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(part->object, "special_tokens"), name), "ids");
    if (!json_is_array(ids)) {
        return adamoe_place_error(piece, "special_tokens has no list of ids for \"%.60s\"", name);
    }
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *value = json_array_get(ids, i);
        const json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= ADAMOE_IDS_MOST ||
            !adamoe_vocabulary_has(vocabulary, (uint32_t)id)) {
            return adamoe_place_error(piece, "\"%.60s\" has an id that no token has", name);
        }
        ADAMOE_TRY(adamoe_tokens_append(out, (uint32_t)id));
    }
    return adamoe_ok();
}

/* One piece of the template: {"SpecialToken": {"id": NAME}} or {"Sequence": {"id": "A"}}. */
static adamoe_status read_piece(const adamoe_part *part, const adamoe_place *place, const json_t *piece,
                                const adamoe_vocabulary *vocabulary, bool *text_seen, adamoe_template *out)
{
    ADAMOE_TRY(adamoe_json_keys(place, piece, (const char *const[]){"SpecialToken", "Sequence", NULL}));
    adamoe_view name;
    const json_t *special = json_object_get(piece, "SpecialToken");
    if (special != NULL) {
        ADAMOE_TRY(adamoe_json_string(place, special, "id", &name));
        return append_special(part, place, name.data, vocabulary, *text_seen ? &out->after : &out->before);
    }
    ADAMOE_TRY(adamoe_json_string(place, json_object_get(piece, "Sequence"), "id", &name));
    if (strcmp(name.data, "A") != 0 || *text_seen) {
        return adamoe_place_error(place, "a template for one text holds the sequence A once");
    }
    *text_seen = true;
    return adamoe_ok();
}

static adamoe_status read_template(const adamoe_part *part, const adamoe_vocabulary *vocabulary,
                                   adamoe_template *out)
{
    static const char *const keys[] = {"type", "single", "pair", "special_tokens", NULL};
    ADAMOE_TRY(adamoe_json_keys(&part->place, part->object, keys));
    const adamoe_place place = adamoe_place_key(&part->place, "single");
    const json_t *single = json_object_get(part->object, "single");
    if (!json_is_array(single)) {
        return adamoe_place_error(&place, "not a list");
    }
    bool text_seen = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const adamoe_place item = adamoe_place_index(&place, i);
        ADAMOE_TRY(read_piece(part, &item, json_array_get(single, i), vocabulary, &text_seen, out));
    }
    return text_seen ? adamoe_ok() : adamoe_place_error(&place, "the sequence A is missing");
}

static adamoe_status read_part(const adamoe_part *part, void *context)
{
    reading *self = context;
    if (strcmp(part->type, "ByteLevel") == 0) {
        static const char *const keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
        return adamoe_json_keys(&part->place, part->object, keys);
    }
    if (strcmp(part->type, "TemplateProcessing") != 0) {
        return adamoe_part_refused(part);
    }
    if (self->seen) {
        return adamoe_place_error(&part->place, "a second template is not implemented");
    }
    self->seen = true;
    return read_template(part, self->vocabulary, self->out);
}

adamoe_status adamoe_template_read(const adamoe_place *place, const json_t *value,
                                   const adamoe_vocabulary *vocabulary, adamoe_template *out)
{
    reading self = {vocabulary, out, false};
    return adamoe_read_parts(place, value, "processors", read_part, &self);
}

void adamoe_template_free(adamoe_template *template)
{
    adamoe_tokens_free(&template->before);
    adamoe_tokens_free(&template->after);
}
