/*
 * Learning a vocabulary of byte pairs from texts: the trainer of byte-pair encoding with metaspace.
 */
#ifndef ADAMOE_GENERATE_BYTE_PAIR_TRAINER_H
#define ADAMOE_GENERATE_BYTE_PAIR_TRAINER_H

#include "adamoe.h"

/* No piece is longer, so that a vocabulary does not learn its texts by heart. */
#define ADAMOE_PIECE_CHARACTERS 16

/* A piece of text in UTF-8, with U+2581 for a blank. */
typedef struct adamoe_piece {
    char text[4 * ADAMOE_PIECE_CHARACTERS + 1];
    size_t characters;
} adamoe_piece;

typedef struct adamoe_merge {
    size_t left, right, result; /* indices of pieces */
} adamoe_merge;

typedef struct adamoe_byte_pairs {
    adamoe_piece *piece; /* [pieces] single characters first, then what merging made, in order */
    size_t pieces, characters;
    adamoe_merge *merge; /* [merges] in the order in which they are to be tried */
    size_t merges;
} adamoe_byte_pairs;

/* Merges the most frequent pair of neighbours until there are `pieces` pieces, or no pair stands twice. Among
 * equally frequent pairs the one with the lower indices wins. Pieces never cross a word: a word is a run of
 * letters with the blank before it, and any other character stands alone. Control characters are left to byte
 * fallback. Texts are UTF-8. Errors: BAD_INPUT where the characters alone are more than `pieces`. */
adamoe_status adamoe_byte_pairs_train(const char *const *text, size_t texts, size_t pieces,
                                      adamoe_byte_pairs **out);
void adamoe_byte_pairs_free(adamoe_byte_pairs *pairs);

#endif
