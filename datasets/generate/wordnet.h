/*
 * WordNet's nouns and adjectives as they stand on disk (wndb(5WN)): data.noun, data.adj, index.noun.
 *
 * Left out: verbs, adverbs, and all relations but hypernyms, parts and attributes.
 */
#ifndef ADAMOE_GENERATE_WORDNET_H
#define ADAMOE_GENERATE_WORDNET_H

#include "adamoe.h"

typedef enum adamoe_wordnet_relation {
    ADAMOE_HYPERNYM,  /* is a kind of */
    ADAMOE_INSTANCE,  /* is an instance of: a name, not a kind */
    ADAMOE_PART_OF,   /* is part of */
    ADAMOE_ATTRIBUTE, /* an adjective that is a value of a noun, and the other way round */
} adamoe_wordnet_relation;

typedef struct adamoe_wordnet_link {
    adamoe_wordnet_relation relation;
    uint32_t target; /* index of a synset */
} adamoe_wordnet_link;

typedef struct adamoe_synset {
    uint32_t offset;       /* in its file: its name in WordNet */
    uint32_t lexical_file; /* 0 .. 44, lexnames(5WN): 5 is noun.animal */
    const char *word;      /* its first, underscores for blanks, without the marker of an adjective's place */
    const char *gloss;     /* definition; examples in quotation marks, parted by semicolons */
    uint32_t first_link, links;
} adamoe_synset;

/* A noun as people write it, and all that it can mean. */
typedef struct adamoe_lemma {
    const char *word;
    uint32_t tagged; /* number of its senses that stand in WordNet's tagged texts: above 0 for common words */
    uint32_t first_sense, senses;
} adamoe_lemma;

typedef struct adamoe_wordnet {
    adamoe_synset *synset; /* [synsets] nouns, then adjectives; both by ascending offset */
    size_t synsets, nouns;
    adamoe_wordnet_link *link; /* of synset s: link[s.first_link] .. */
    adamoe_lemma *lemma;       /* [lemmas] by ascending word, compared as bytes */
    size_t lemmas;
    uint32_t *sense; /* of lemma l: the synsets sense[l.first_sense] .., most frequent first */
    char *text[3];   /* what the words and glosses point into */
} adamoe_wordnet;

/* The content of one file, and what it is called in messages. */
typedef struct adamoe_wordnet_file {
    const char *path;
    const char *text;
    size_t size;
} adamoe_wordnet_file;

enum { ADAMOE_DATA_NOUN, ADAMOE_DATA_ADJECTIVE, ADAMOE_INDEX_NOUN, ADAMOE_WORDNET_FILES };

/* Reads the three files out of a folder, or out of memory. Every line is checked: the offset of a synset
 * against its place in the file, counts against what follows, every link and every sense against the synsets
 * that there are. The hypernyms need not be free of cycles. Errors: BAD_INPUT, "FILE: line N: reason", or
 * "FILE: synset N: reason" for a link. */
adamoe_status adamoe_wordnet_open(const char *folder, adamoe_wordnet **out);
adamoe_status adamoe_wordnet_parse(const adamoe_wordnet_file file[ADAMOE_WORDNET_FILES],
                                   adamoe_wordnet **out);
void adamoe_wordnet_free(adamoe_wordnet *wordnet);

/* NULL where there is none. */
const adamoe_lemma *adamoe_wordnet_find(const adamoe_wordnet *wordnet, const char *word);

#endif
