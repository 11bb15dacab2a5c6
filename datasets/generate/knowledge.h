/*
 * Concepts and facts out of WordNet, few and plain enough for a small model to learn: nouns for concrete
 * things, adjectives, and what WordNet says of both.
 *
 * Left out: questions (wordnet_questions.c) and sentences (wordnet_corpus.c).
 */
#ifndef ADAMOE_GENERATE_KNOWLEDGE_H
#define ADAMOE_GENERATE_KNOWLEDGE_H

#include "generate/wordnet.h"

/* A synset with a word that is one run of 3 to 12 letters and has, for a noun, this meaning first. No two
 * concepts have the same word. */
typedef struct adamoe_concept {
    uint32_t synset;
    const char *word;
    char *meaning;   /* its definition where that is short and in words that occur elsewhere, or NULL */
    uint32_t family; /* the synset of the first concept that it is a kind of, or a value of; or its own */
} adamoe_concept;

typedef enum adamoe_fact_kind {
    ADAMOE_FACT_KIND_OF,  /* subject is a kind of object, with no concept in between */
    ADAMOE_FACT_PART_OF,  /* subject is part of object */
    ADAMOE_FACT_VALUE_OF, /* subject, an adjective, is a value of object, an attribute */
} adamoe_fact_kind;

typedef struct adamoe_concept_fact {
    adamoe_fact_kind kind;
    uint32_t subject, object; /* indices of concepts */
} adamoe_concept_fact;

typedef struct adamoe_knowledge {
    const adamoe_wordnet *wordnet;
    adamoe_concept *concept; /* [concepts] in the order of their synsets */
    size_t concepts;
    adamoe_concept_fact *fact; /* [facts] by subject */
    size_t facts;
    uint32_t *concept_of; /* [synsets] index of a concept, or UINT32_MAX */
    uint32_t *stamp, now; /* [synsets] of the walks below */
    uint32_t *reached;    /* [synsets] */
    size_t reached_count;
    uint32_t *kept; /* [synsets] of a walk before */
    size_t kept_count;
} adamoe_knowledge;

/* At most `concepts` nouns: first those of WordNet's tagged texts, then others as the seed picks them; with
 * the attributes and adjectives that go with them. Persons, and words that WordNet's definitions call slang
 * or offensive, are left out. `wordnet` must outlive *out. Errors: memory. */
adamoe_status adamoe_knowledge_create(const adamoe_wordnet *wordnet, uint64_t seed, size_t concepts,
                                      adamoe_knowledge **out);
void adamoe_knowledge_free(adamoe_knowledge *knowledge);

/* A number in 0 .. 2^64-1 that belongs to a seed and a synset. */
uint64_t adamoe_synset_hash(const adamoe_knowledge *knowledge, uint64_t seed, uint32_t synset);

/* Walks. begin forgets what was reached; up adds a synset and all that it is a kind or an instance of, level
 * by level. */
void adamoe_walk_begin(adamoe_knowledge *knowledge);
void adamoe_walk_up(adamoe_knowledge *knowledge, uint32_t synset);
bool adamoe_walk_reached(const adamoe_knowledge *knowledge, uint32_t synset);

/* Whether, by any sense of either word, one may be called a kind of the other; a part of the other (of some
 * of its kinds is enough); or a value of it. Where one may, it is no wrong choice. */
bool adamoe_may_be_kind(adamoe_knowledge *knowledge, const char *word, const char *kind);
bool adamoe_may_be_part(adamoe_knowledge *knowledge, const char *part, const char *whole);
bool adamoe_may_be_value(const adamoe_knowledge *knowledge, const char *value, const char *attribute);

#endif
