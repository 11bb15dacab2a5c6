/*
 * The model of tokenizer.json: its vocabulary, and its merges as a table by pairs of ids. Models other than
 * BPE are refused, and so are dropout and prefixes or suffixes of word parts where they are set.
 */
#include "tokenizer/parts.h"

#include <stdlib.h>
#include <string.h>

/* See tokenizer/vocabulary.c: a table that needs more was made to be slow. */
enum { PROBES_MOST = 512 };

/* Every bit of the pair changes about half of the result (the mix of splitmix64). */
static uint64_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t hash = (uint64_t)left << 32 | right;
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

/* The slot of a pair, or the free one where it belongs; NULL where that is too far away. */
static adamoe_bpe_merge *slot_of(const adamoe_bpe *bpe, uint32_t left, uint32_t right)
{
    const size_t mask = bpe->slots - 1;
    const uint64_t hash = pair_hash(left, right);
    for (size_t probe = 0; probe < PROBES_MOST; probe++) {
        adamoe_bpe_merge *slot = &bpe->slot[((size_t)hash + probe) & mask];
        if (slot->merged == ADAMOE_NO_TOKEN || (slot->left == left && slot->right == right)) {
            return slot;
        }
    }
    return NULL;
}

const adamoe_bpe_merge *adamoe_merge_find(const adamoe_bpe *bpe, uint32_t left, uint32_t right)
{
    const adamoe_bpe_merge *slot = slot_of(bpe, left, right);
    return slot == NULL || slot->merged == ADAMOE_NO_TOKEN ? NULL : slot;
}

static adamoe_status create_slots(adamoe_bpe *bpe, size_t merges)
{
    size_t slots = 16;
    while (slots / 2 < merges) {
        slots *= 2; /* the merges are in memory as JSON, which takes more */
    }
    bpe->slot = reallocarray(NULL, slots, sizeof *bpe->slot);
    if (bpe->slot == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    bpe->slots = slots;
    for (size_t i = 0; i < slots; i++) {
        bpe->slot[i].merged = ADAMOE_NO_TOKEN;
    }
    return adamoe_ok();
}

/* The two sides of a merge, "left right" or ["left", "right"]. */
static adamoe_status read_sides(const adamoe_place *place, const json_t *value, adamoe_view *left,
                                adamoe_view *right)
{
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        const size_t length = json_string_length(value);
        const char *blank = memchr(text, ' ', length);
        if (blank == NULL || blank == text || strchr(blank + 1, ' ') != NULL) {
            return adamoe_place_error(place, "not two tokens with a blank between");
        }
        *left = (adamoe_view){text, (size_t)(blank - text)};
        *right = (adamoe_view){blank + 1, length - left->length - 1};
        return adamoe_ok();
    }
    const json_t *first = json_array_get(value, 0);
    const json_t *second = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_string(first) || !json_is_string(second)) {
        return adamoe_place_error(place, "neither a string nor a list of two");
    }
    *left = (adamoe_view){json_string_value(first), json_string_length(first)};
    *right = (adamoe_view){json_string_value(second), json_string_length(second)};
    return adamoe_ok();
}

static adamoe_status find_token(const adamoe_place *place, const adamoe_vocabulary *vocabulary,
                                adamoe_view content, uint32_t *id)
{
    *id = adamoe_vocabulary_find(vocabulary, content, ADAMOE_TOKEN_MODEL);
    if (*id == ADAMOE_NO_TOKEN) {
        return adamoe_place_error(place, "\"%.*s\" is not in the vocabulary",
                                  content.length > 60 ? 60 : (int)content.length, content.data);
    }
    return adamoe_ok();
}

static adamoe_status read_merge(const adamoe_place *place, const json_t *value, uint32_t rank,
                                const adamoe_vocabulary *vocabulary, adamoe_text *joined, adamoe_bpe *out)
{
    adamoe_view left;
    adamoe_view right;
    ADAMOE_TRY(read_sides(place, value, &left, &right));
    adamoe_bpe_merge merge = {.rank = rank};
    ADAMOE_TRY(find_token(place, vocabulary, left, &merge.left));
    ADAMOE_TRY(find_token(place, vocabulary, right, &merge.right));
    joined->length = 0;
    ADAMOE_TRY(adamoe_text_append(joined, left));
    ADAMOE_TRY(adamoe_text_append(joined, right));
    ADAMOE_TRY(find_token(place, vocabulary, adamoe_text_view(joined), &merge.merged));
    adamoe_bpe_merge *slot = slot_of(out, merge.left, merge.right);
    if (slot == NULL) {
        return adamoe_place_error(place, "more than %d merges collide in the hash table", PROBES_MOST);
    }
    *slot = merge; /* of two merges of one pair the later counts, as in the package */
    return adamoe_ok();
}

/* Older files begin the list with the first line of merges.txt. */
static bool is_version(const json_t *value)
{
    return json_is_string(value) && strncmp(json_string_value(value), "#version", 8) == 0;
}

static adamoe_status read_merges(const adamoe_place *place, const json_t *list,
                                 const adamoe_vocabulary *vocabulary, adamoe_bpe *out)
{
    if (!json_is_array(list)) {
        return adamoe_place_error(place, list == NULL ? "absent" : "not a list");
    }
    const size_t count = json_array_size(list);
    if (count >= UINT32_MAX) {
        return adamoe_place_error(place, "more than %u merges", (unsigned)UINT32_MAX - 1);
    }
    ADAMOE_TRY(create_slots(out, count));
    adamoe_text joined = {0};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; i++) {
        const json_t *value = json_array_get(list, i);
        if (!is_version(value)) {
            const adamoe_place item = adamoe_place_index(place, i);
            status = read_merge(&item, value, (uint32_t)i, vocabulary, &joined, out);
        }
    }
    adamoe_text_free(&joined);
    return status;
}

static adamoe_status read_vocabulary(const adamoe_place *place, const json_t *object,
                                     adamoe_vocabulary *vocabulary)
{
    if (!json_is_object(object)) {
        return adamoe_place_error(place, object == NULL ? "absent" : "not an object");
    }
    const char *content;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, content, value)
    {
        const json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= ADAMOE_IDS_MOST) {
            return adamoe_place_error(place, "\"%.60s\" has no id between 0 and %u", content,
                                      (unsigned)ADAMOE_IDS_MOST - 1);
        }
        ADAMOE_TRY(adamoe_vocabulary_add(vocabulary, place, (adamoe_view){content, strlen(content)},
                                         (uint32_t)id, ADAMOE_TOKEN_MODEL));
    }
    return adamoe_ok();
}

static adamoe_status read_unknown(const adamoe_place *place, const json_t *object,
                                  const adamoe_vocabulary *vocabulary, adamoe_bpe *out)
{
    out->unknown = ADAMOE_NO_TOKEN;
    if (!adamoe_json_is_set(json_object_get(object, "unk_token"))) {
        return adamoe_ok();
    }
    adamoe_view name;
    ADAMOE_TRY(adamoe_json_string(place, object, "unk_token", &name));
    out->unknown = adamoe_vocabulary_find(vocabulary, name, ADAMOE_TOKEN_MODEL);
    out->unknown_name = adamoe_view_copy(name);
    return out->unknown_name == NULL ? adamoe_tokenizer_out_of_memory() : adamoe_ok();
}

static void find_byte_tokens(const adamoe_vocabulary *vocabulary, adamoe_bpe *out)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        const int length = snprintf(name, sizeof name, "<0x%02X>", byte & 0xFF);
        out->byte_token[byte] =
            adamoe_vocabulary_find(vocabulary, (adamoe_view){name, (size_t)length}, ADAMOE_TOKEN_MODEL);
    }
}

/* What changes the result and is not implemented must be off: null, "" or 0. */
static adamoe_status refuse_settings(const adamoe_place *place, const json_t *object)
{
    static const char *const names[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(object, names[i]);
        const bool off = !adamoe_json_is_set(value) ||
                         (json_is_string(value) && json_string_length(value) == 0) ||
                         (json_is_number(value) && json_number_value(value) == 0.0);
        if (!off) {
            const adamoe_place setting = adamoe_place_key(place, names[i]);
            return adamoe_place_error(&setting, "not implemented");
        }
    }
    return adamoe_ok();
}

static adamoe_status check_type(const adamoe_place *place, const json_t *value)
{
    if (!json_is_object(value)) {
        return adamoe_place_error(place, value == NULL ? "absent" : "not an object");
    }
    adamoe_part part = {*place, value, NULL};
    adamoe_view type;
    ADAMOE_TRY(adamoe_json_string(place, value, "type", &type));
    part.type = type.data;
    return strcmp(type.data, "BPE") == 0 ? adamoe_ok() : adamoe_part_refused(&part);
}

adamoe_status adamoe_bpe_read(const adamoe_place *place, const json_t *value, adamoe_vocabulary *vocabulary,
                              adamoe_bpe *out)
{
    static const char *const keys[] = {"type",
                                       "dropout",
                                       "unk_token",
                                       "continuing_subword_prefix",
                                       "end_of_word_suffix",
                                       "fuse_unk",
                                       "byte_fallback",
                                       "ignore_merges",
                                       "vocab",
                                       "merges",
                                       NULL};
    ADAMOE_TRY(check_type(place, value));
    ADAMOE_TRY(adamoe_json_keys(place, value, keys));
    ADAMOE_TRY(refuse_settings(place, value));
    ADAMOE_TRY(adamoe_json_boolean_or(place, value, "fuse_unk", false, &out->fuse_unknown));
    ADAMOE_TRY(adamoe_json_boolean_or(place, value, "byte_fallback", false, &out->byte_fallback));
    ADAMOE_TRY(adamoe_json_boolean_or(place, value, "ignore_merges", false, &out->ignore_merges));
    const adamoe_place vocab = adamoe_place_key(place, "vocab");
    ADAMOE_TRY(read_vocabulary(&vocab, json_object_get(value, "vocab"), vocabulary));
    ADAMOE_TRY(read_unknown(place, value, vocabulary, out));
    find_byte_tokens(vocabulary, out);
    const adamoe_place merges = adamoe_place_key(place, "merges");
    return read_merges(&merges, json_object_get(value, "merges"), vocabulary, out);
}

void adamoe_bpe_free(adamoe_bpe *bpe)
{
    free(bpe->slot);
    free(bpe->unknown_name);
    *bpe = (adamoe_bpe){0};
}
