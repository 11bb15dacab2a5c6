/*
 * Added tokens: texts that are recognised before the model sees the rest, such as <s>.
 *
 * Patterns stand in ascending order, and the search narrows down the range of those that agree with the text
 * byte by byte; their length is bounded, so that a text takes time in proportion to its length.
 */
#include "tokenizer/parts.h"
#include "files/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { PATTERN_BYTES_MOST = 256 };

static int compare_tokens(const void *left, const void *right)
{
    const adamoe_added_token *a = left;
    const adamoe_added_token *b = right;
    const int order = memcmp(a->pattern, b->pattern, a->length < b->length ? a->length : b->length);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

/* ------------------------------------------------------------------------------------------------ reading */

/* Appends to a set that is sorted later. */
static adamoe_status set_append(adamoe_added_set *set, adamoe_view pattern, adamoe_added_token token)
{
    adamoe_added_token *moved = adamoe_grown(set->token, &set->capacity, set->count + 1, sizeof *moved);
    if (moved == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    set->token = moved;
    token.pattern = adamoe_view_copy(pattern);
    token.length = pattern.length;
    if (token.pattern == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    set->token[set->count++] = token;
    set->begins[(uint8_t)pattern.data[0]] = true;
    return adamoe_ok();
}

/* Sorts a set that is complete. Two texts may have one normal form; which of them is meant nothing says. */
static adamoe_status set_finish(const adamoe_place *place, adamoe_added_set *set)
{
    bool words = false;
    for (size_t i = 0; i < set->count; i++) {
        words = words || set->token[i].single_word;
    }
    if (set->count > 0) {
        qsort(set->token, set->count, sizeof *set->token, compare_tokens);
    }
    for (size_t i = 1; i < set->count; i++) {
        if (compare_tokens(&set->token[i - 1], &set->token[i]) == 0) {
            return adamoe_place_error(place, "the ids %u and %u have the same normal form",
                                      (unsigned)set->token[i - 1].id, (unsigned)set->token[i].id);
        }
    }
    if (!words) {
        return adamoe_ok();
    }
    /* What \w means in the package (UTS 18). */
    static const char word[] = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
    return adamoe_pattern_compile(place, (adamoe_view){word, sizeof word - 1}, ADAMOE_SYNTAX_PCRE2,
                                  &set->word_character);
}

/* An added token gets the id of the same text in the vocabulary, else the one after the last: so the package gives
 * them, whatever the file says. Where a list is only out of order, *id becomes the package's; a file whose ids the
 * package gives to no token asks for what nobody gives it (check_ids). */
static adamoe_status add_to_vocabulary(const adamoe_place *place, adamoe_view content, bool special,
                                       adamoe_vocabulary *vocabulary, uint32_t *id)
{
    const uint32_t flags = ADAMOE_TOKEN_ADDED | (special ? ADAMOE_TOKEN_SPECIAL : 0);
    const uint32_t known =
        adamoe_vocabulary_find(vocabulary, content, ADAMOE_TOKEN_MODEL | ADAMOE_TOKEN_ADDED);
    if (known != ADAMOE_NO_TOKEN && (vocabulary->token[known].flags & ADAMOE_TOKEN_ADDED) != 0) {
        return adamoe_place_error(place, "the text of id %u is given twice", (unsigned)known);
    }
    *id = known != ADAMOE_NO_TOKEN ? known : (uint32_t)vocabulary->count;
    if (known != ADAMOE_NO_TOKEN) {
        vocabulary->token[known].flags |= flags;
        return adamoe_ok();
    }
    return adamoe_vocabulary_add(vocabulary, place, content, *id, flags);
}

static adamoe_status wrong_id(const adamoe_place *place, uint32_t said, uint32_t demanded)
{
    return adamoe_place_error(place, "the id %u where the vocabulary demands %u", (unsigned)said,
                              (unsigned)demanded);
}

/* What reading the list needs. */
typedef struct added_reader {
    const adamoe_normalizer *normalizer;
    adamoe_vocabulary *vocabulary;
    adamoe_added_tokens *out;
    adamoe_text scratch[2];
    uint32_t
        *said; /* [texts] the ids that the file gives to texts that the model does not have, in order ... */
    size_t *item; /* ... where in the list they stand ... */
    size_t texts;
    uint32_t first; /* ... and the first of those that the package gives them, one after the other */
} added_reader;

/* The id of a token as the package gives it. */
static adamoe_status take_id(added_reader *r, const adamoe_place *place, size_t item, adamoe_view content,
                             bool special, uint32_t *id)
{
    const uint32_t said = *id;
    const size_t before = r->vocabulary->count;
    ADAMOE_TRY(add_to_vocabulary(place, content, special, r->vocabulary, id));
    if (r->vocabulary->count == before) {
        return said == *id ? adamoe_ok() : wrong_id(place, said, *id);
    }
    r->first = r->texts == 0 ? *id : r->first;
    r->said[r->texts] = said;
    r->item[r->texts++] = item;
    return adamoe_ok();
}

/* The ids that the file gives must be those that the package gives, in whatever order. */
static adamoe_status check_ids(const adamoe_place *place, added_reader *r)
{
    size_t wrong = SIZE_MAX;
    bool permuted = true;
    bool *seen = calloc(r->texts + 1, sizeof *seen);
    if (seen == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    for (size_t i = 0; i < r->texts; i++) {
        const size_t place_of_said = (size_t)r->said[i] - r->first; /* huge where it is below */
        permuted = permuted && place_of_said < r->texts && !seen[place_of_said];
        if (place_of_said < r->texts) {
            seen[place_of_said] = true;
        }
        wrong = wrong == SIZE_MAX && place_of_said != i ? i : wrong;
    }
    free(seen);
    r->out->reordered = wrong != SIZE_MAX;
    if (permuted || wrong == SIZE_MAX) {
        return adamoe_ok();
    }
    const adamoe_place item = adamoe_place_index(place, r->item[wrong]);
    return wrong_id(&item, r->said[wrong], r->first + (uint32_t)wrong);
}

static adamoe_status read_token(added_reader *r, const adamoe_place *place, size_t item, const json_t *value)
{
    adamoe_text *scratch = r->scratch;
    static const char *const keys[] = {"id",     "content",    "single_word", "lstrip",
                                       "rstrip", "normalized", "special",     NULL};
    ADAMOE_TRY(adamoe_json_keys(place, value, keys));
    adamoe_added_token token = {0};
    adamoe_view content;
    bool normalized = false;
    bool special = false;
    ADAMOE_TRY(adamoe_json_id(place, value, "id", &token.id));
    ADAMOE_TRY(adamoe_json_string(place, value, "content", &content));
    ADAMOE_TRY(adamoe_json_boolean(place, value, "single_word", &token.single_word));
    ADAMOE_TRY(adamoe_json_boolean(place, value, "lstrip", &token.lstrip));
    ADAMOE_TRY(adamoe_json_boolean(place, value, "rstrip", &token.rstrip));
    ADAMOE_TRY(adamoe_json_boolean(place, value, "normalized", &normalized));
    ADAMOE_TRY(adamoe_json_boolean(place, value, "special", &special));
    if (content.length == 0 || content.length > PATTERN_BYTES_MOST) {
        return adamoe_place_error(place, "a text of 0 or more than %d bytes", PATTERN_BYTES_MOST);
    }
    ADAMOE_TRY(take_id(r, place, item, content, special, &token.id));
    if (!normalized) {
        return set_append(&r->out->raw, content, token);
    }
    /* It is looked for in the normal form of the text, as its own: the beginning of Llama 1's "<s>" becomes a
     * blank's sign, so that it is found at the start of a text and nowhere else. */
    ADAMOE_TRY(adamoe_normalize(r->normalizer, content, &scratch[0], &scratch[1]));
    const adamoe_view pattern = adamoe_text_view(&scratch[0]);
    if (pattern.length == 0 || pattern.length > PATTERN_BYTES_MOST) {
        return adamoe_place_error(place, "a normal form of 0 or more than %d bytes", PATTERN_BYTES_MOST);
    }
    if (!adamoe_view_equal(pattern, content)) {
        /* In the package it decodes to that form, which is no special token's text. */
        ADAMOE_TRY(adamoe_vocabulary_decode_as(r->vocabulary, token.id, pattern));
        r->vocabulary->token[token.id].flags &= ~(uint32_t)ADAMOE_TOKEN_SPECIAL;
    }
    return set_append(&r->out->normalized, pattern, token);
}

adamoe_status adamoe_added_tokens_read(const adamoe_place *place, const json_t *value,
                                       const adamoe_normalizer *normalizer, adamoe_vocabulary *vocabulary,
                                       adamoe_added_tokens *out)
{
    if (!adamoe_json_is_set(value)) {
        return adamoe_ok();
    }
    if (!json_is_array(value)) {
        return adamoe_place_error(place, "not a list");
    }
    added_reader r = {.normalizer = normalizer,
                      .vocabulary = vocabulary,
                      .out = out,
                      .said = calloc(json_array_size(value) + 1, sizeof *r.said),
                      .item = calloc(json_array_size(value) + 1, sizeof *r.item)};
    adamoe_status status = r.said == NULL || r.item == NULL ? adamoe_tokenizer_out_of_memory() : adamoe_ok();
    for (size_t i = 0; i < json_array_size(value) && status.code == ADAMOE_OK; i++) {
        const adamoe_place item = adamoe_place_index(place, i);
        status = read_token(&r, &item, i, json_array_get(value, i));
    }
    if (status.code == ADAMOE_OK) {
        status = check_ids(place, &r);
    }
    adamoe_text_free(&r.scratch[0]);
    adamoe_text_free(&r.scratch[1]);
    free(r.said);
    free(r.item);
    ADAMOE_TRY(status);
    ADAMOE_TRY(set_finish(place, &out->raw));
    return set_finish(place, &out->normalized);
}

/* ---------------------------------------------------------------------------------------------- searching */

/* The first token of [low, high) whose byte at `depth` is at least `byte`. All are longer than depth. */
static size_t first_from(const adamoe_added_set *set, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((uint8_t)set->token[middle].pattern[depth] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token that begins the text; NULL where there is none. */
static const adamoe_added_token *longest_at(const adamoe_added_set *set, adamoe_view text)
{
    const adamoe_added_token *longest = NULL;
    size_t low = 0;
    size_t high = set->count;
    for (size_t depth = 0; low < high; depth++) {
        if (set->token[low].length == depth) {
            longest = &set->token[low++];
        }
        if (depth == text.length) {
            break;
        }
        const unsigned byte = (uint8_t)text.data[depth];
        low = first_from(set, low, high, depth, byte);
        high = first_from(set, low, high, depth, byte + 1);
    }
    return longest;
}

/* The bytes of the character that ends at `end`, which is not 0. */
static size_t character_before(adamoe_view text, size_t end)
{
    size_t length = 1;
    while (length < 4 && length < end && ((uint8_t)text.data[end - length] & 0xC0) == 0x80) {
        length++;
    }
    return length;
}

static adamoe_status is_word(const adamoe_added_set *set, adamoe_view character, pcre2_match_data *match_data,
                             bool *word)
{
    size_t start;
    size_t end;
    return adamoe_pattern_next(&set->word_character, character, 0, match_data, word, &start, &end);
}

/* Whether text[start..end) has no word character on either side. */
static adamoe_status stands_alone(const adamoe_added_set *set, adamoe_view text, size_t start, size_t end,
                                  pcre2_match_data *match_data, bool *alone)
{
    bool before = false;
    bool after = false;
    if (start > 0) {
        const size_t length = character_before(text, start);
        ADAMOE_TRY(is_word(set, (adamoe_view){text.data + start - length, length}, match_data, &before));
    }
    if (end < text.length) {
        uint32_t character;
        const size_t length = adamoe_utf8_next(text.data + end, text.length - end, &character);
        ADAMOE_TRY(is_word(set, (adamoe_view){text.data + end, length}, match_data, &after));
    }
    *alone = !before && !after;
    return adamoe_ok();
}

/* Where the white space that ends at `end` begins, `least` at the least. */
static size_t white_space_before(adamoe_view text, size_t end, size_t least)
{
    while (end > least) {
        const size_t length = character_before(text, end);
        uint32_t character;
        (void)adamoe_utf8_next(text.data + end - length, length, &character);
        if (!adamoe_is_white_space(character)) {
            break;
        }
        end -= length;
    }
    return end;
}

/* Where the white space that begins at `start` ends. It is measured once for all the tokens within it. */
static size_t white_space_after(adamoe_view text, size_t start, adamoe_added_walk *walk)
{
    if (start >= walk->space_begins && start < walk->space_ends) {
        return walk->space_ends;
    }
    size_t end = start;
    while (end < text.length) {
        uint32_t character;
        const size_t length = adamoe_utf8_next(text.data + end, text.length - end, &character);
        if (!adamoe_is_white_space(character)) {
            break;
        }
        end += length;
    }
    walk->space_begins = start;
    walk->space_ends = end;
    return end;
}

adamoe_status adamoe_added_next(const adamoe_added_set *set, adamoe_view text, pcre2_match_data *match_data,
                                adamoe_added_walk *walk, bool *found, adamoe_added_match *match)
{
    *found = false;
    while (set->count > 0 && walk->position < text.length) {
        const size_t start = walk->position;
        const adamoe_added_token *token = NULL;
        if (set->begins[(uint8_t)text.data[start]]) {
            token = longest_at(set, (adamoe_view){text.data + start, text.length - start});
        }
        if (token == NULL) {
            walk->position++;
            continue;
        }
        const size_t end = start + token->length;
        walk->position = end;
        bool alone = true;
        if (token->single_word) {
            ADAMOE_TRY(stands_alone(set, text, start, end, match_data, &alone));
        }
        if (!alone) {
            continue;
        }
        match->id = token->id;
        match->start = token->lstrip ? white_space_before(text, start, walk->done) : start;
        match->end = token->rstrip ? white_space_after(text, end, walk) : end;
        walk->done = match->end;
        *found = true;
        break;
    }
    return adamoe_ok();
}

static void set_free(adamoe_added_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->token[i].pattern);
    }
    free(set->token);
    adamoe_pattern_free(&set->word_character);
}

void adamoe_added_tokens_free(adamoe_added_tokens *added)
{
    set_free(&added->raw);
    set_free(&added->normalized);
    *added = (adamoe_added_tokens){0};
}
