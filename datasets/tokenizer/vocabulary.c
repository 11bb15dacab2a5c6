/*
 * A vocabulary: the texts of tokens by id, and ids by text.
 */
#include "tokenizer/parts.h"
#include "fnv1a.h"

#include <stdlib.h>
#include <string.h>

/* In a table that is at most half full, runs of occupied slots stay below a hundred for any vocabulary that
 * was not made to collide; one that was made so would make every look-up slow. */
enum { PROBES_MOST = 512 };

/* FNV-1a, then a mix, because a table looks at the low bits only. */
uint64_t adamoe_vocabulary_hash(adamoe_view content)
{
    const uint64_t hash = adamoe_fnv1a(ADAMOE_FNV1A_START, content.data, content.length);
    return hash ^ hash >> 32;
}

bool adamoe_vocabulary_has(const adamoe_vocabulary *vocabulary, uint32_t id)
{
    return id < vocabulary->ids && vocabulary->token[id].flags != 0;
}

adamoe_view adamoe_vocabulary_decoded(const adamoe_vocabulary *vocabulary, uint32_t id)
{
    const adamoe_vocabulary_token *token = &vocabulary->token[id];
    return (adamoe_view){token->decoded_length == 0 ? "" : vocabulary->bytes.data + token->decoded_offset,
                         token->decoded_length};
}

adamoe_status adamoe_vocabulary_decode_as(adamoe_vocabulary *vocabulary, uint32_t id, adamoe_view text)
{
    const size_t offset = vocabulary->bytes.length;
    ADAMOE_TRY(adamoe_text_append(&vocabulary->bytes, text));
    vocabulary->token[id].decoded_offset = offset;
    vocabulary->token[id].decoded_length = text.length;
    return adamoe_ok();
}

adamoe_view adamoe_vocabulary_text(const adamoe_vocabulary *vocabulary, uint32_t id)
{
    const adamoe_vocabulary_token *token = &vocabulary->token[id];
    return (adamoe_view){token->length == 0 ? "" : vocabulary->bytes.data + token->offset, token->length};
}

uint32_t adamoe_vocabulary_find(const adamoe_vocabulary *vocabulary, adamoe_view content, uint32_t flags)
{
    if (vocabulary->slots == 0) {
        return ADAMOE_NO_TOKEN;
    }
    const size_t mask = vocabulary->slots - 1;
    size_t i = (size_t)adamoe_vocabulary_hash(content) & mask;
    for (; vocabulary->slot[i] != ADAMOE_NO_TOKEN; i = (i + 1) & mask) {
        const uint32_t id = vocabulary->slot[i];
        if (adamoe_view_equal(adamoe_vocabulary_text(vocabulary, id), content)) {
            return (vocabulary->token[id].flags & flags) != 0 ? id : ADAMOE_NO_TOKEN;
        }
    }
    return ADAMOE_NO_TOKEN;
}

/* False where too many tokens fall on the same place. */
static bool occupy_slot(adamoe_vocabulary *vocabulary, uint32_t id)
{
    const size_t mask = vocabulary->slots - 1;
    const uint64_t hash = adamoe_vocabulary_hash(adamoe_vocabulary_text(vocabulary, id));
    for (size_t probe = 0; probe < PROBES_MOST; probe++) {
        uint32_t *slot = &vocabulary->slot[((size_t)hash + probe) & mask];
        if (*slot == ADAMOE_NO_TOKEN) {
            *slot = id;
            return true;
        }
    }
    return false;
}

/* Makes room for one more token in a table that stays at most half full. False where `occupy_slot` is. */
static adamoe_status grow_slots(adamoe_vocabulary *vocabulary, bool *fits)
{
    *fits = true;
    if (vocabulary->slots / 2 > vocabulary->count) {
        return adamoe_ok();
    }
    const size_t slots = vocabulary->slots == 0 ? 1024 : vocabulary->slots * 2;
    uint32_t *slot = reallocarray(vocabulary->slot, slots, sizeof *slot);
    if (slot == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    memset(slot, 0xFF, slots * sizeof *slot); /* ADAMOE_NO_TOKEN */
    vocabulary->slot = slot;
    vocabulary->slots = slots;
    for (size_t id = 0; id < vocabulary->ids && *fits; id++) {
        *fits = vocabulary->token[id].flags == 0 || occupy_slot(vocabulary, (uint32_t)id);
    }
    return adamoe_ok();
}

/* Makes ids up to `id` exist, those between without a token. */
static adamoe_status grow_ids(adamoe_vocabulary *vocabulary, uint32_t id)
{
    if (id < vocabulary->ids) {
        return adamoe_ok();
    }
    const size_t ids = (size_t)id + 1;
    adamoe_vocabulary_token *moved =
        adamoe_grown(vocabulary->token, &vocabulary->token_capacity, ids, sizeof *moved);
    if (moved == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    vocabulary->token = moved;
    memset(moved + vocabulary->ids, 0, (ids - vocabulary->ids) * sizeof *moved);
    vocabulary->ids = ids;
    return adamoe_ok();
}

adamoe_status adamoe_vocabulary_add(adamoe_vocabulary *vocabulary, const adamoe_place *place,
                                    adamoe_view content, uint32_t id, uint32_t flags)
{
    if (id >= ADAMOE_IDS_MOST) {
        return adamoe_place_error(place, "the id %u is above %u", (unsigned)id,
                                  (unsigned)ADAMOE_IDS_MOST - 1);
    }
    if (adamoe_vocabulary_has(vocabulary, id)) {
        const adamoe_view other = adamoe_vocabulary_text(vocabulary, id);
        return adamoe_place_error(place, "the id %u is that of \"%.*s\" already", (unsigned)id,
                                  other.length > 60 ? 60 : (int)other.length, other.data);
    }
    bool fits = false;
    ADAMOE_TRY(grow_slots(vocabulary, &fits));
    ADAMOE_TRY(grow_ids(vocabulary, id));
    const size_t offset = vocabulary->bytes.length;
    ADAMOE_TRY(adamoe_text_append(&vocabulary->bytes, content));
    vocabulary->token[id] = (adamoe_vocabulary_token){.offset = offset,
                                                      .length = content.length,
                                                      .decoded_offset = offset,
                                                      .decoded_length = content.length,
                                                      .flags = flags};
    vocabulary->count++;
    if (!fits || !occupy_slot(vocabulary, id)) {
        return adamoe_place_error(place, "more than %d tokens collide in the hash table", PROBES_MOST);
    }
    return adamoe_ok();
}

void adamoe_vocabulary_free(adamoe_vocabulary *vocabulary)
{
    adamoe_text_free(&vocabulary->bytes);
    free(vocabulary->token);
    free(vocabulary->slot);
    *vocabulary = (adamoe_vocabulary){0};
}
