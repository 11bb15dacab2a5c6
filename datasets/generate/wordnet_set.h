/*
 * Questions and a text corpus from WordNet's facts.
 *
 * The corpus states every fact, those that the test asks about too: what is tested is whether a model can use
 * in a question what it read as a statement. What it does not see before the test is the test's questions.
 * Every word that may be chosen belongs to one split, that of its family (a family is what has the same
 * nearest kind above it, or the same attribute), and a question's four choices are of one split; what is
 * asked about belongs to that split as well. So no choice of the test, right or wrong, is a choice in
 * training, and nothing that the test asks about is asked about in training in the same role.
 */
#ifndef ADAMOE_GENERATE_WORDNET_SET_H
#define ADAMOE_GENERATE_WORDNET_SET_H

#include "generate/knowledge.h"
#include "questions.h"

typedef enum adamoe_split { ADAMOE_TRAIN, ADAMOE_DEV, ADAMOE_TEST, ADAMOE_SPLITS } adamoe_split;

/* The forms of questions, and the names of the forms that stand in their ids. */
typedef enum adamoe_question_kind {
    ADAMOE_ASK_KIND,     /* kind:     which is a kind of B: the fact is in the corpus */
    ADAMOE_ASK_KIND_FAR, /* kind-far: the same over two facts, A is a kind of C, and C of B */
    ADAMOE_ASK_PART,     /* part:     which is part of B */
    ADAMOE_ASK_OWNER,    /* owner:    which has a B: A is a kind of C, and B is part of C */
    ADAMOE_ASK_VALUE,    /* value:    which describes B */
    ADAMOE_ASK_MEANING,  /* meaning:  which is defined as ... */
    ADAMOE_QUESTION_KINDS,
} adamoe_question_kind;

/* At most `limit[s]` questions of split s, each kind's share as even as the facts allow, in random order,
 * with four choices A to D each: one right by WordNet, and three near it of which WordNet allows none, by no
 * sense of any of the words. Ids are "SPLIT-KIND-NUMBER". All three are the caller's to free. */
adamoe_status adamoe_wordnet_questions(adamoe_knowledge *knowledge, uint64_t seed,
                                       const size_t limit[ADAMOE_SPLITS],
                                       adamoe_questions *out[ADAMOE_SPLITS]);

/* Writes a sentence for each line: each fact and each meaning in `forms` (1 to 4) of its four forms, in
 * random order. */
adamoe_status adamoe_wordnet_corpus_write(const char *path, const adamoe_knowledge *knowledge, uint64_t seed,
                                          size_t forms, size_t *sentences);

/* "an" before a vowel, else "a". */
const char *adamoe_article(const char *word);

#endif
