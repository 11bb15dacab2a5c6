/*
 * Choosing concepts, and the facts between them.
 */
#include "generate/knowledge.h"
#include "splitmix64.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORTEST_WORD = 3,
    LONGEST_WORD = 12,
    SHORTEST_MEANING = 3, /* words */
    LONGEST_MEANING = 12,
    COMMON_WORD = 3, /* in so many definitions at least */
};

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "knowledge: out of memory");
}

uint64_t adamoe_synset_hash(const adamoe_knowledge *knowledge, uint64_t seed, uint32_t synset)
{
    /* The offset, not the index: what WordNet holds before a synset does not matter. */
    adamoe_splitmix64 random = {seed * UINT64_C(0x9e3779b97f4a7c15) +
                                knowledge->wordnet->synset[synset].offset};
    (void)adamoe_splitmix64_next(&random);
    return adamoe_splitmix64_next(&random);
}

/* ----------------------------------------------------------------------------------------------- concepts */

static bool is_plain_word(const char *word)
{
    const size_t length = strspn(word, "abcdefghijklmnopqrstuvwxyz");
    return word[length] == '\0' && length >= SHORTEST_WORD && length <= LONGEST_WORD;
}

/* Concrete things: animals, artifacts, the body, food, objects, phenomena, plants, shapes, substances; of the
 * topmost nouns those that stand far enough below `entity` to mean something. */
static bool is_concrete(uint32_t lexical_file)
{
    static const uint32_t concrete[] = {5, 6, 8, 13, 17, 19, 20, 25, 27};
    for (size_t i = 0; i < sizeof concrete / sizeof *concrete; ++i) {
        if (lexical_file == concrete[i]) {
            return true;
        }
    }
    return false;
}

static bool is_unfit_for_print(const char *gloss)
{
    static const char *const sign[] = {"slang",  "obscene", "offensive", "disparaging",
                                       "vulgar", "slur",    "sex"};
    for (size_t i = 0; i < sizeof sign / sizeof *sign; ++i) {
        if (strstr(gloss, sign[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool has_link(const adamoe_wordnet *wordnet, uint32_t s, adamoe_wordnet_relation relation)
{
    const adamoe_synset *synset = &wordnet->synset[s];
    for (uint32_t i = 0; i < synset->links; ++i) {
        if (wordnet->link[synset->first_link + i].relation == relation) {
            return true;
        }
    }
    return false;
}

/* The noun's own word, where this is what the word means first. */
static const adamoe_lemma *first_meaning(const adamoe_wordnet *wordnet, uint32_t s)
{
    const adamoe_synset *synset = &wordnet->synset[s];
    if (!is_plain_word(synset->word) || is_unfit_for_print(synset->gloss)) {
        return NULL;
    }
    const adamoe_lemma *lemma = adamoe_wordnet_find(wordnet, synset->word);
    return lemma != NULL && wordnet->sense[lemma->first_sense] == s ? lemma : NULL;
}

/* A noun that may be taken, with its place in the order of taking. */
typedef struct candidate {
    uint32_t synset;
    bool common;
    uint64_t hash;
} candidate;

static int compare_candidates(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->common != y->common) {
        return x->common ? -1 : 1;
    }
    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    return (x->synset > y->synset) - (x->synset < y->synset);
}

static size_t list_candidates(const adamoe_knowledge *k, uint64_t seed, candidate *list)
{
    size_t count = 0;
    for (uint32_t s = 0; s < k->wordnet->nouns; ++s) {
        const adamoe_lemma *lemma = first_meaning(k->wordnet, s);
        if (lemma != NULL && is_concrete(k->wordnet->synset[s].lexical_file) &&
            !has_link(k->wordnet, s, ADAMOE_INSTANCE)) {
            list[count++] = (candidate){s, lemma->tagged > 0, adamoe_synset_hash(k, seed, s)};
        }
    }
    return count;
}

/* Attributes, which are abstract nouns, and their values. chosen[s] becomes true for both. */
static void choose_values(const adamoe_wordnet *wordnet, bool *chosen)
{
    for (uint32_t s = (uint32_t)wordnet->nouns; s < wordnet->synsets; ++s) {
        const adamoe_synset *value = &wordnet->synset[s];
        for (uint32_t i = 0; i < value->links && is_plain_word(value->word); ++i) {
            const uint32_t attribute = wordnet->link[value->first_link + i].target;
            if (!is_unfit_for_print(value->gloss) && first_meaning(wordnet, attribute) != NULL) {
                chosen[s] = chosen[attribute] = true;
            }
        }
    }
}

/* A word's first meaning is one noun, but adjectives share words with each other and with nouns. */
static bool is_taken(const adamoe_knowledge *k, const char *word)
{
    for (size_t c = 0; c < k->concepts; ++c) {
        if (strcmp(k->concept[c].word, word) == 0) {
            return true;
        }
    }
    return false;
}

static adamoe_status choose_concepts(adamoe_knowledge *k, uint64_t seed, size_t limit)
{
    const size_t synsets = k->wordnet->synsets;
    candidate *list = calloc(k->wordnet->nouns + 1, sizeof *list);
    bool *chosen = calloc(synsets + 1, sizeof *chosen);
    k->concept = calloc(synsets + 1, sizeof *k->concept);
    if (list == NULL || chosen == NULL || k->concept == NULL) {
        free(list);
        free(chosen);
        return out_of_memory();
    }
    const size_t count = list_candidates(k, seed, list);
    qsort(list, count, sizeof *list, compare_candidates);
    for (size_t i = 0; i < count && i < limit; ++i) {
        chosen[list[i].synset] = true;
    }
    choose_values(k->wordnet, chosen);
    for (uint32_t s = 0; s < synsets; ++s) {
        const bool kept = chosen[s] && (s < k->wordnet->nouns || !is_taken(k, k->wordnet->synset[s].word));
        k->concept_of[s] = kept ? (uint32_t)k->concepts : UINT32_MAX;
        if (kept) {
            k->concept[k->concepts++] =
                (adamoe_concept){.synset = s, .word = k->wordnet->synset[s].word, .family = s};
        }
    }
    free(list);
    free(chosen);
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- meanings */

/* The first part of a definition, without what stands in brackets, if that is words and blanks only. */
static char *plain_meaning(const adamoe_synset *synset)
{
    char *out = strdup(synset->gloss);
    size_t length = 0, depth = 0;
    for (const char *c = synset->gloss; out != NULL && *c != '\0' && *c != ';'; ++c) {
        depth += *c == '(';
        if (depth == 0 && !(*c == ' ' && (length == 0 || out[length - 1] == ' '))) {
            out[length++] = *c;
        }
        depth -= *c == ')' && depth > 0;
    }
    while (length > 0 && out[length - 1] == ' ') {
        --length;
    }
    if (out != NULL) {
        out[length] = '\0';
        if (strspn(out, "abcdefghijklmnopqrstuvwxyz ") != length) {
            out[0] = '\0';
        }
    }
    return out;
}

/* Cuts `text` at its blanks in place; returns the number of words put into word[], at most `capacity`. */
static size_t split(char *text, const char **word, size_t capacity)
{
    size_t count = 0;
    char *rest = NULL;
    for (char *w = strtok_r(text, " ", &rest); w != NULL && count < capacity;
         w = strtok_r(NULL, " ", &rest)) {
        word[count++] = w;
    }
    return count;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted words of all definitions, and those of the concepts. */
typedef struct word_list {
    const char **word;
    size_t count;
} word_list;

static bool is_common(const word_list *list, const char *word)
{
    const char *const *found =
        list->count == 0 ? NULL : bsearch(&word, list->word, list->count, sizeof *list->word, compare_words);
    size_t same = 0;
    if (found == NULL) {
        return false;
    }
    for (const char *const *w = found; w > list->word && strcmp(w[-1], word) == 0; --w) {
        ++same;
    }
    for (const char *const *w = found; w < list->word + list->count && strcmp(*w, word) == 0; ++w) {
        ++same;
    }
    return same >= COMMON_WORD;
}

/* Keeps a meaning that is short, does not contain the word itself, and has common words only. */
static bool is_learnable(const word_list *list, const char *word, const char *meaning)
{
    char *copy = strdup(meaning);
    const char *part[LONGEST_MEANING + 1];
    const size_t count = copy == NULL ? 0 : split(copy, part, LONGEST_MEANING + 1);
    bool fit = count >= SHORTEST_MEANING && count <= LONGEST_MEANING;
    for (size_t i = 0; i < count && fit; ++i) {
        fit = strcmp(part[i], word) != 0 && is_common(list, part[i]);
    }
    free(copy);
    return fit;
}

static adamoe_status choose_meanings(adamoe_knowledge *k)
{
    enum { MOST_WORDS = 64 };
    char **copy = calloc(k->concepts + 1, sizeof *copy);
    word_list list = {.word = calloc(k->concepts * MOST_WORDS + 1, sizeof *list.word)};
    bool complete = copy != NULL && list.word != NULL;
    for (size_t c = 0; c < k->concepts && complete; ++c) {
        k->concept[c].meaning = plain_meaning(&k->wordnet->synset[k->concept[c].synset]);
        copy[c] = k->concept[c].meaning == NULL ? NULL : strdup(k->concept[c].meaning);
        complete = copy[c] != NULL;
        list.count += complete ? split(copy[c], list.word + list.count, MOST_WORDS) : 0;
    }
    if (complete) {
        qsort(list.word, list.count, sizeof *list.word, compare_words);
    }
    for (size_t c = 0; c < k->concepts && complete; ++c) {
        if (!is_learnable(&list, k->concept[c].word, k->concept[c].meaning)) {
            free(k->concept[c].meaning);
            k->concept[c].meaning = NULL;
        }
    }
    for (size_t c = 0; c < k->concepts && copy != NULL; ++c) {
        free(copy[c]);
    }
    free(copy);
    free(list.word);
    return complete ? adamoe_ok() : out_of_memory();
}

/* -------------------------------------------------------------------------------------------------- facts */

static adamoe_status append_fact(adamoe_knowledge *k, size_t *capacity, adamoe_fact_kind kind,
                                 uint32_t subject, uint32_t object)
{
    if (k->facts == *capacity) {
        const size_t larger = *capacity == 0 ? 1024 : *capacity * 2;
        adamoe_concept_fact *moved = reallocarray(k->fact, larger, sizeof *moved);
        if (moved == NULL) {
            return out_of_memory();
        }
        k->fact = moved;
        *capacity = larger;
    }
    k->fact[k->facts++] = (adamoe_concept_fact){kind, subject, object};
    return adamoe_ok();
}

/* The nearest concepts that a concept is a kind of: what stands in between has no plain word. */
static adamoe_status append_kinds(adamoe_knowledge *k, size_t *capacity, uint32_t subject)
{
    const adamoe_wordnet *wordnet = k->wordnet;
    adamoe_concept *concept = &k->concept[subject];
    adamoe_walk_begin(k);
    k->stamp[concept->synset] = k->now;
    k->reached[k->reached_count++] = concept->synset;
    for (size_t i = 0; i < k->reached_count; ++i) {
        const adamoe_synset *synset = &wordnet->synset[k->reached[i]];
        for (uint32_t j = 0; j < synset->links; ++j) {
            const adamoe_wordnet_link link = wordnet->link[synset->first_link + j];
            if (link.relation != ADAMOE_HYPERNYM || adamoe_walk_reached(k, link.target)) {
                continue;
            }
            k->stamp[link.target] = k->now;
            if (k->concept_of[link.target] == UINT32_MAX) {
                k->reached[k->reached_count++] = link.target;
            } else {
                concept->family = concept->family == concept->synset ? link.target : concept->family;
                ADAMOE_TRY(
                    append_fact(k, capacity, ADAMOE_FACT_KIND_OF, subject, k->concept_of[link.target]));
            }
        }
    }
    return adamoe_ok();
}

static adamoe_status append_links(adamoe_knowledge *k, size_t *capacity, uint32_t subject)
{
    adamoe_concept *concept = &k->concept[subject];
    const adamoe_synset *synset = &k->wordnet->synset[concept->synset];
    const bool adjective = concept->synset >= k->wordnet->nouns;
    for (uint32_t i = 0; i < synset->links; ++i) {
        const adamoe_wordnet_link link = k->wordnet->link[synset->first_link + i];
        const uint32_t object = k->concept_of[link.target];
        if (object == UINT32_MAX) {
            continue;
        }
        if (link.relation == ADAMOE_PART_OF) {
            ADAMOE_TRY(append_fact(k, capacity, ADAMOE_FACT_PART_OF, subject, object));
        } else if (link.relation == ADAMOE_ATTRIBUTE && adjective) {
            concept->family = concept->family == concept->synset ? link.target : concept->family;
            ADAMOE_TRY(append_fact(k, capacity, ADAMOE_FACT_VALUE_OF, subject, object));
        }
    }
    return adamoe_ok();
}

static adamoe_status collect(adamoe_knowledge *k, uint64_t seed, size_t concepts)
{
    size_t capacity = 0;
    ADAMOE_TRY(choose_concepts(k, seed, concepts));
    ADAMOE_TRY(choose_meanings(k));
    for (uint32_t c = 0; c < k->concepts; ++c) {
        ADAMOE_TRY(append_kinds(k, &capacity, c));
        ADAMOE_TRY(append_links(k, &capacity, c));
    }
    return adamoe_ok();
}

adamoe_status adamoe_knowledge_create(const adamoe_wordnet *wordnet, uint64_t seed, size_t concepts,
                                      adamoe_knowledge **out)
{
    adamoe_knowledge *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return out_of_memory();
    }
    k->wordnet = wordnet;
    k->concept_of = calloc(wordnet->synsets + 1, sizeof *k->concept_of);
    k->stamp = calloc(wordnet->synsets + 1, sizeof *k->stamp);
    k->reached = calloc(wordnet->synsets + 1, sizeof *k->reached);
    k->kept = calloc(wordnet->synsets + 1, sizeof *k->kept);
    const adamoe_status status =
        k->concept_of == NULL || k->stamp == NULL || k->reached == NULL || k->kept == NULL
            ? out_of_memory()
            : collect(k, seed, concepts);
    if (status.code != ADAMOE_OK) {
        adamoe_knowledge_free(k);
        return status;
    }
    *out = k;
    return status;
}

void adamoe_knowledge_free(adamoe_knowledge *knowledge)
{
    if (knowledge != NULL) {
        for (size_t c = 0; c < knowledge->concepts; ++c) {
            free(knowledge->concept[c].meaning);
        }
        free(knowledge->concept);
        free(knowledge->fact);
        free(knowledge->concept_of);
        free(knowledge->stamp);
        free(knowledge->reached);
        free(knowledge->kept);
        free(knowledge);
    }
}
