/*
 * Byte-pair encoding, the learning half, on distinct words with their counts. Pairs are counted anew for each
 * merge: quick enough for the small texts it is for, and easy to see right.
 */
#include "generate/byte_pair_trainer.h"

#include <stdlib.h>
#include <string.h>

static const char metaspace[] = "\xe2\x96\x81"; /* U+2581 */

typedef struct word {
    size_t *piece;
    size_t length, count;
} word;

/* Words as text, in the order in which they stand; afterwards sorted. */
typedef struct word_list {
    char **text;
    size_t count, capacity;
} word_list;

typedef struct pair_count {
    size_t left, right, count;
} pair_count;

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "vocabulary: out of memory");
}

/* ----------------------------------------------------------------------------------------- texts to words */

static size_t character_bytes(const char *text)
{
    const unsigned char lead = (unsigned char)text[0];
    const size_t bytes = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return strnlen(text, bytes);
}

static bool is_metaspace(const char *text)
{
    return strncmp(text, metaspace, strlen(metaspace)) == 0;
}

static bool is_letter(const char *text)
{
    const unsigned char lead = (unsigned char)text[0];
    return (lead >= 'a' && lead <= 'z') || (lead >= 'A' && lead <= 'Z') || lead >= 0x80;
}

static bool is_control(const char *text)
{
    return (unsigned char)text[0] < 0x20 || text[0] == 0x7f;
}

static adamoe_status append_word(word_list *list, const char *text, size_t bytes)
{
    if (list->count == list->capacity) {
        const size_t larger = list->capacity == 0 ? 1024 : list->capacity * 2;
        char **moved = reallocarray(list->text, larger, sizeof *moved);
        if (moved == NULL) {
            return out_of_memory();
        }
        list->text = moved;
        list->capacity = larger;
    }
    char *copy = strndup(text, bytes);
    if (copy == NULL) {
        return out_of_memory();
    }
    list->text[list->count++] = copy;
    return adamoe_ok();
}

static size_t word_bytes(const char *text)
{
    size_t bytes = character_bytes(text);
    if (!is_metaspace(text) && !is_letter(text)) {
        return bytes;
    }
    while (is_letter(text + bytes) && !is_metaspace(text + bytes)) {
        bytes += character_bytes(text + bytes);
    }
    return bytes;
}

static adamoe_status split_normalised(word_list *list, const char *text)
{
    while (text[0] != '\0') {
        const size_t bytes = word_bytes(text);
        if (!is_control(text)) {
            ADAMOE_TRY(append_word(list, text, bytes));
        }
        text += bytes;
    }
    return adamoe_ok();
}

/* The normalizer that the tokenizer will have: a metaspace in front, and one for each blank. */
static adamoe_status split(word_list *list, const char *text)
{
    char *normalised = malloc((strlen(text) + 1) * strlen(metaspace) + 1);
    if (normalised == NULL) {
        return out_of_memory();
    }
    char *end = stpcpy(normalised, metaspace);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == ' ') {
            end = stpcpy(end, metaspace);
        } else {
            *end++ = *at;
        }
    }
    *end = '\0';
    const adamoe_status status = split_normalised(list, normalised);
    free(normalised);
    return status;
}

static void free_word_list(word_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->text[i]);
    }
    free(list->text);
}

/* ---------------------------------------------------------------------------------------- words to pieces */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_pieces(const void *a, const void *b)
{
    return strcmp(((const adamoe_piece *)a)->text, ((const adamoe_piece *)b)->text);
}

/* The index of a piece, or the number of pieces where there is none of that text. */
static size_t find(const adamoe_byte_pairs *pairs, const char *text, size_t bytes)
{
    size_t i = 0;
    while (i < pairs->pieces &&
           (strncmp(pairs->piece[i].text, text, bytes) != 0 || pairs->piece[i].text[bytes] != '\0')) {
        i++;
    }
    return i;
}

/* Room for the pieces was made for the target; characters beyond it are the error. */
static adamoe_status collect_characters(const word_list *list, size_t target, adamoe_byte_pairs *pairs)
{
    for (size_t i = 0; i < list->count; i++) {
        for (const char *text = list->text[i]; *text != '\0'; text += character_bytes(text)) {
            const size_t bytes = character_bytes(text);
            if (find(pairs, text, bytes) < pairs->pieces) {
                continue;
            }
            if (pairs->pieces == target) {
                return adamoe_error(ADAMOE_BAD_INPUT,
                                    "vocabulary: the texts hold more than %zu different characters", target);
            }
            adamoe_piece *piece = &pairs->piece[pairs->pieces++];
            memcpy(piece->text, text, bytes);
            piece->characters = 1;
        }
    }
    qsort(pairs->piece, pairs->pieces, sizeof *pairs->piece, compare_pieces);
    pairs->characters = pairs->pieces;
    return adamoe_ok();
}

static adamoe_status spell(const adamoe_byte_pairs *pairs, const char *text, word *out)
{
    out->piece = calloc(strlen(text), sizeof *out->piece);
    if (out->piece == NULL) {
        return out_of_memory();
    }
    for (; *text != '\0'; text += character_bytes(text)) {
        out->piece[out->length++] = find(pairs, text, character_bytes(text));
    }
    return adamoe_ok();
}

/* words[list->count] is zeroed; the distinct words come first. */
static adamoe_status count_words(const word_list *list, const adamoe_byte_pairs *pairs, word *words,
                                 size_t *distinct)
{
    for (size_t i = 0; i < list->count; i++) {
        if (i == 0 || strcmp(list->text[i], list->text[i - 1]) != 0) {
            ADAMOE_TRY(spell(pairs, list->text[i], &words[(*distinct)++]));
        }
        words[*distinct - 1].count++;
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ merging */

static int compare_pairs(const void *a, const void *b)
{
    const pair_count *left = a, *right = b;
    if (left->left != right->left) {
        return left->left < right->left ? -1 : 1;
    }
    return (left->right > right->right) - (left->right < right->right);
}

/* Lists every pair of neighbours that may be merged, with the count of its word; returns how many. */
static size_t list_pairs(const adamoe_byte_pairs *pairs, const word *words, size_t distinct, pair_count *out)
{
    size_t listed = 0;
    for (size_t i = 0; i < distinct; i++) {
        for (size_t j = 1; j < words[i].length; j++) {
            const size_t left = words[i].piece[j - 1], right = words[i].piece[j];
            if (pairs->piece[left].characters + pairs->piece[right].characters <= ADAMOE_PIECE_CHARACTERS) {
                out[listed++] = (pair_count){left, right, words[i].count};
            }
        }
    }
    return listed;
}

/* Sorted, equal pairs stand together and lower indices come first, so the first maximum is the one wanted. */
static pair_count most_frequent(pair_count *list, size_t listed)
{
    pair_count best = {0, 0, 0}, current = {0, 0, 0};
    qsort(list, listed, sizeof *list, compare_pairs);
    for (size_t i = 0; i < listed; i++) {
        if (i == 0 || compare_pairs(&list[i], &current) != 0) {
            current = (pair_count){list[i].left, list[i].right, 0};
        }
        current.count += list[i].count;
        if (current.count > best.count) {
            best = current;
        }
    }
    return best;
}

static void merge_in_word(word *in, const adamoe_merge *merge)
{
    size_t length = 0;
    for (size_t i = 0; i < in->length; i++) {
        const bool here =
            i + 1 < in->length && in->piece[i] == merge->left && in->piece[i + 1] == merge->right;
        in->piece[length++] = here ? merge->result : in->piece[i];
        i += here;
    }
    in->length = length;
}

/* The same text can come out of two pairs ("ab" + "c", "a" + "bc"); it is one piece with two merges. */
static size_t join(adamoe_byte_pairs *pairs, size_t left, size_t right)
{
    const adamoe_piece *a = &pairs->piece[left], *b = &pairs->piece[right];
    adamoe_piece joined = {.characters = a->characters + b->characters};
    stpcpy(stpcpy(joined.text, a->text), b->text);
    const size_t index = find(pairs, joined.text, strlen(joined.text));
    if (index == pairs->pieces) {
        pairs->piece[pairs->pieces++] = joined;
    }
    return index;
}

static adamoe_status append_merge(adamoe_byte_pairs *pairs, adamoe_merge merge)
{
    adamoe_merge *moved = reallocarray(pairs->merge, pairs->merges + 1, sizeof *moved);
    if (moved == NULL) {
        return out_of_memory();
    }
    pairs->merge = moved;
    pairs->merge[pairs->merges++] = merge;
    return adamoe_ok();
}

static adamoe_status merge_pairs(adamoe_byte_pairs *pairs, size_t target, word *words, size_t distinct)
{
    size_t neighbours = 0;
    for (size_t i = 0; i < distinct; i++) {
        neighbours += words[i].length;
    }
    pair_count *list = calloc(neighbours + 1, sizeof *list);
    if (list == NULL) {
        return out_of_memory();
    }
    adamoe_status status = adamoe_ok();
    while (status.code == ADAMOE_OK && pairs->pieces < target) {
        const pair_count best = most_frequent(list, list_pairs(pairs, words, distinct, list));
        if (best.count < 2) {
            break;
        }
        const adamoe_merge merge = {best.left, best.right, join(pairs, best.left, best.right)};
        for (size_t i = 0; i < distinct; i++) {
            merge_in_word(&words[i], &merge);
        }
        status = append_merge(pairs, merge);
    }
    free(list);
    return status;
}

/* ----------------------------------------------------------------------------------------------- training */

static adamoe_status train(word_list *list, size_t target, adamoe_byte_pairs *pairs)
{
    ADAMOE_TRY(collect_characters(list, target, pairs));
    qsort(list->text, list->count, sizeof *list->text, compare_texts);
    word *words = calloc(list->count + 1, sizeof *words);
    if (words == NULL) {
        return out_of_memory();
    }
    size_t distinct = 0;
    adamoe_status status = count_words(list, pairs, words, &distinct);
    if (status.code == ADAMOE_OK) {
        status = merge_pairs(pairs, target, words, distinct);
    }
    for (size_t i = 0; i < distinct; i++) {
        free(words[i].piece);
    }
    free(words);
    return status;
}

adamoe_status adamoe_byte_pairs_train(const char *const *text, size_t texts, size_t pieces,
                                      adamoe_byte_pairs **out)
{
    word_list list = {0};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < texts && status.code == ADAMOE_OK; i++) {
        status = split(&list, text[i]);
    }
    adamoe_byte_pairs *pairs = calloc(1, sizeof *pairs);
    if (pairs != NULL) {
        pairs->piece = calloc(pieces + 1, sizeof *pairs->piece);
    }
    if (pairs == NULL || pairs->piece == NULL) {
        status = out_of_memory();
    }
    if (status.code == ADAMOE_OK) {
        status = train(&list, pieces, pairs);
    }
    free_word_list(&list);
    if (status.code != ADAMOE_OK) {
        adamoe_byte_pairs_free(pairs);
        return status;
    }
    *out = pairs;
    return status;
}

void adamoe_byte_pairs_free(adamoe_byte_pairs *pairs)
{
    if (pairs != NULL) {
        free(pairs->piece);
        free(pairs->merge);
        free(pairs);
    }
}
