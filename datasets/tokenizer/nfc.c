/*
 * Unicode's normal form NFC: characters decomposed, combining ones put in the order of their classes, and what composes
 * composed again (the Unicode Standard, D117). Of Unicode it knows what the package `tokenizers` knows
 * (nfc_table.py). Left out: the other normal forms.
 */
#include "tokenizer/nfc.h"
#include "tokenizer/nfc_table.h"
#include "files/utf8.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Hangul syllables are a formula of their parts: leading consonant, vowel, and a trailing consonant or none. */
enum {
    SYLLABLES = 0xAC00,
    LEADING = 0x1100,
    VOWELS = 0x1161,
    TRAILING = 0x11A7, /* itself stands for none */
    LEADING_COUNT = 19,
    VOWEL_COUNT = 21,
    TRAILING_COUNT = 28,
    SYLLABLE_COUNT = LEADING_COUNT * VOWEL_COUNT * TRAILING_COUNT,
};

/* A character of the text at work, and its class. */
typedef struct unit {
    uint32_t character;
    uint8_t class;
} unit;

typedef struct units {
    unit *at, *sorted; /* [capacity] */
    size_t count, capacity, sorted_capacity;
} units;

static uint8_t class_of(uint32_t character)
{
    size_t low = 0, high = COUNT(nfc_classes);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (nfc_classes[middle].last < character) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < COUNT(nfc_classes) && nfc_classes[low].first <= character ? nfc_classes[low].value : 0;
}

static const struct nfc_decomposition *decomposition_of(uint32_t character)
{
    size_t low = 0, high = COUNT(nfc_decompositions);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (nfc_decompositions[middle].character < character) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const bool found = low < COUNT(nfc_decompositions) && nfc_decompositions[low].character == character;
    return found ? &nfc_decompositions[low] : NULL;
}

/* --------------------------------------------------------------------------------------------- decomposition */

static adamoe_status append(units *out, uint32_t character)
{
    unit *moved = adamoe_grown(out->at, &out->capacity, out->count + 1, sizeof *moved);
    if (moved == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    out->at = moved;
    out->at[out->count++] = (unit){character, class_of(character)};
    return adamoe_ok();
}

static adamoe_status decompose_syllable(units *out, uint32_t index)
{
    ADAMOE_TRY(append(out, LEADING + index / (VOWEL_COUNT * TRAILING_COUNT)));
    ADAMOE_TRY(append(out, VOWELS + index / TRAILING_COUNT % VOWEL_COUNT));
    return index % TRAILING_COUNT == 0 ? adamoe_ok() : append(out, TRAILING + index % TRAILING_COUNT);
}

/* What a character decomposes to may decompose itself; only the first of two does. */
static adamoe_status decompose(units *out, uint32_t character)
{
    uint32_t after[8]; /* the second ones, the innermost last */
    size_t seconds = 0;
    if (character >= SYLLABLES && character < SYLLABLES + SYLLABLE_COUNT) {
        return decompose_syllable(out, character - SYLLABLES);
    }
    for (const struct nfc_decomposition *d = decomposition_of(character); d != NULL;
         d = decomposition_of(character)) {
        character = d->first;
        if (d->second != 0 && seconds < COUNT(after)) {
            after[seconds++] = d->second;
        }
    }
    ADAMOE_TRY(append(out, character));
    while (seconds > 0) {
        ADAMOE_TRY(append(out, after[--seconds]));
    }
    return adamoe_ok();
}

/* -------------------------------------------------------------------------------------------------- ordering */

/* Sorts a run of combining characters by class, those of one class in the order in which they stand, by counting: a
 * text may consist of them. */
static void sort_run(unit *run, size_t count, unit *sorted)
{
    size_t first[257] = {0};
    for (size_t i = 0; i < count; ++i) {
        ++first[run[i].class + 1];
    }
    for (size_t i = 0; i < 256; ++i) {
        first[i + 1] += first[i];
    }
    for (size_t i = 0; i < count; ++i) {
        sorted[first[run[i].class]++] = run[i];
    }
    for (size_t i = 0; i < count; ++i) {
        run[i] = sorted[i];
    }
}

static bool is_sorted(const unit *run, size_t count)
{
    for (size_t i = 1; i < count; ++i) {
        if (run[i].class < run[i - 1].class) {
            return false;
        }
    }
    return true;
}

static adamoe_status order(units *u)
{
    for (size_t first = 0; first < u->count;) {
        size_t end = first;
        while (end < u->count && u->at[end].class != 0) {
            ++end;
        }
        if (!is_sorted(u->at + first, end - first)) {
            unit *moved = adamoe_grown(u->sorted, &u->sorted_capacity, end - first, sizeof *moved);
            if (moved == NULL) {
                return adamoe_tokenizer_out_of_memory();
            }
            u->sorted = moved;
            sort_run(u->at + first, end - first, u->sorted);
        }
        first = end + 1;
    }
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- composition */

static bool compose_syllable(uint32_t first, uint32_t second, uint32_t *out)
{
    if (first >= LEADING && first < LEADING + LEADING_COUNT && second >= VOWELS &&
        second < VOWELS + VOWEL_COUNT) {
        *out = SYLLABLES + ((first - LEADING) * VOWEL_COUNT + (second - VOWELS)) * TRAILING_COUNT;
        return true;
    }
    const bool open =
        first >= SYLLABLES && first < SYLLABLES + SYLLABLE_COUNT && (first - SYLLABLES) % TRAILING_COUNT == 0;
    if (open && second > TRAILING && second < TRAILING + TRAILING_COUNT) {
        *out = first + second - TRAILING;
        return true;
    }
    return false;
}

/* The character that two compose to; false where they do not. */
static bool compose_pair(uint32_t first, uint32_t second, uint32_t *out)
{
    size_t low = 0, high = COUNT(nfc_compositions);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct nfc_decomposition *d = &nfc_decompositions[nfc_compositions[middle]];
        if (d->first < first || (d->first == first && d->second < second)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const struct nfc_decomposition *d =
        low < COUNT(nfc_compositions) ? &nfc_decompositions[nfc_compositions[low]] : NULL;
    if (d != NULL && d->first == first && d->second == second) {
        *out = d->character;
        return true;
    }
    return compose_syllable(first, second, out);
}

/* A character composes with the last one of class 0 unless one between them, which stayed, has its class or a higher
 * one; of class 0 itself it must stand right behind it. */
static void compose(units *u)
{
    size_t kept = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < u->count; ++i) {
        const unit now = u->at[i];
        const bool adjacent = starter != SIZE_MAX && kept == starter + 1;
        const bool free = adjacent || (starter != SIZE_MAX && u->at[kept - 1].class < now.class);
        uint32_t composed;
        if (free && compose_pair(u->at[starter].character, now.character, &composed)) {
            u->at[starter].character = composed;
            continue;
        }
        starter = now.class == 0 ? kept : starter;
        u->at[kept++] = now;
    }
    u->count = kept;
}

/* ----------------------------------------------------------------------------------------------------- whole */

/* ASCII is its own normal form. */
static bool is_plain(adamoe_view text)
{
    for (size_t i = 0; i < text.length; ++i) {
        if ((uint8_t)text.data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static adamoe_status write_units(const units *u, adamoe_text *out)
{
    for (size_t i = 0; i < u->count; ++i) {
        char bytes[4];
        const size_t length = adamoe_utf8_write(u->at[i].character, bytes);
        ADAMOE_TRY(adamoe_text_append(out, (adamoe_view){bytes, length}));
    }
    return adamoe_ok();
}

static adamoe_status normal_form(adamoe_view text, units *u)
{
    for (size_t at = 0; at < text.length;) {
        uint32_t character;
        at += adamoe_utf8_next(text.data + at, text.length - at, &character);
        ADAMOE_TRY(decompose(u, character));
    }
    ADAMOE_TRY(order(u));
    compose(u);
    return adamoe_ok();
}

adamoe_status adamoe_text_append_nfc(adamoe_text *out, adamoe_view text)
{
    if (is_plain(text)) {
        return adamoe_text_append(out, text);
    }
    units u = {0};
    adamoe_status status = normal_form(text, &u);
    if (status.code == ADAMOE_OK) {
        status = write_units(&u, out);
    }
    free(u.at);
    free(u.sorted);
    return status;
}
