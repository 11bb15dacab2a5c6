/*
 * Walks through WordNet's links: what a thing is a kind of, and what it is part of. A synset is entered once,
 * so cycles end.
 */
#include "generate/knowledge.h"

#include <string.h>

void adamoe_walk_begin(adamoe_knowledge *knowledge)
{
    ++knowledge->now;
    knowledge->reached_count = 0;
}

bool adamoe_walk_reached(const adamoe_knowledge *knowledge, uint32_t synset)
{
    return knowledge->stamp[synset] == knowledge->now;
}

static void reach(adamoe_knowledge *knowledge, uint32_t synset)
{
    if (!adamoe_walk_reached(knowledge, synset)) {
        knowledge->stamp[synset] = knowledge->now;
        knowledge->reached[knowledge->reached_count++] = synset;
    }
}

void adamoe_walk_up(adamoe_knowledge *knowledge, uint32_t synset)
{
    const adamoe_wordnet *wordnet = knowledge->wordnet;
    size_t next = knowledge->reached_count;
    for (reach(knowledge, synset); next < knowledge->reached_count; ++next) {
        const adamoe_synset *at = &wordnet->synset[knowledge->reached[next]];
        for (uint32_t i = 0; i < at->links; ++i) {
            const adamoe_wordnet_link link = wordnet->link[at->first_link + i];
            if (link.relation == ADAMOE_HYPERNYM || link.relation == ADAMOE_INSTANCE) {
                reach(knowledge, link.target);
            }
        }
    }
}

static void walk_up_senses(adamoe_knowledge *knowledge, const adamoe_lemma *lemma)
{
    adamoe_walk_begin(knowledge);
    for (uint32_t i = 0; i < lemma->senses; ++i) {
        adamoe_walk_up(knowledge, knowledge->wordnet->sense[lemma->first_sense + i]);
    }
}

/* Whether a walk up from any sense of `word` meets any sense of `kind`. */
static bool is_below(adamoe_knowledge *knowledge, const adamoe_lemma *word, const adamoe_lemma *kind)
{
    const uint32_t *sense = knowledge->wordnet->sense;
    walk_up_senses(knowledge, word);
    for (uint32_t i = 0; i < kind->senses; ++i) {
        if (adamoe_walk_reached(knowledge, sense[kind->first_sense + i])) {
            return true;
        }
    }
    return false;
}

bool adamoe_may_be_kind(adamoe_knowledge *knowledge, const char *word, const char *kind)
{
    const adamoe_lemma *a = adamoe_wordnet_find(knowledge->wordnet, word);
    const adamoe_lemma *b = adamoe_wordnet_find(knowledge->wordnet, kind);
    return a != NULL && b != NULL && (is_below(knowledge, a, b) || is_below(knowledge, b, a));
}

static void reach_wholes(adamoe_knowledge *knowledge, uint32_t part)
{
    const adamoe_synset *synset = &knowledge->wordnet->synset[part];
    for (uint32_t i = 0; i < synset->links; ++i) {
        const adamoe_wordnet_link link = knowledge->wordnet->link[synset->first_link + i];
        if (link.relation == ADAMOE_PART_OF) {
            reach(knowledge, link.target);
        }
    }
}

static void keep_reached(adamoe_knowledge *knowledge)
{
    knowledge->kept_count = knowledge->reached_count;
    memcpy(knowledge->kept, knowledge->reached, knowledge->reached_count * sizeof *knowledge->kept);
}

/* Keeps what `part`, by any sense, or anything that it is a kind of is part of, directly or not. */
static void keep_wholes(adamoe_knowledge *knowledge, const adamoe_lemma *part)
{
    walk_up_senses(knowledge, part);
    keep_reached(knowledge);
    adamoe_walk_begin(knowledge); /* a whole may be something that the part is a kind of, too */
    for (size_t i = 0; i < knowledge->kept_count; ++i) {
        reach_wholes(knowledge, knowledge->kept[i]);
    }
    for (size_t i = 0; i < knowledge->reached_count; ++i) {
        reach_wholes(knowledge, knowledge->reached[i]);
    }
    keep_reached(knowledge);
}

/* A whole has the parts of all that it is a kind of; and where some of its kinds have a part,
 * it may have it. */
bool adamoe_may_be_part(adamoe_knowledge *knowledge, const char *part, const char *whole)
{
    const adamoe_lemma *p = adamoe_wordnet_find(knowledge->wordnet, part);
    const adamoe_lemma *w = adamoe_wordnet_find(knowledge->wordnet, whole);
    bool found = false;
    if (p == NULL || w == NULL) {
        return false;
    }
    keep_wholes(knowledge, p);
    walk_up_senses(knowledge, w);
    for (size_t i = 0; i < knowledge->kept_count; ++i) {
        found = found || adamoe_walk_reached(knowledge, knowledge->kept[i]);
    }
    adamoe_walk_begin(knowledge);
    for (size_t i = 0; i < knowledge->kept_count; ++i) {
        adamoe_walk_up(knowledge, knowledge->kept[i]);
    }
    for (uint32_t i = 0; i < w->senses; ++i) {
        found = found || adamoe_walk_reached(knowledge, knowledge->wordnet->sense[w->first_sense + i]);
    }
    return found;
}

bool adamoe_may_be_value(const adamoe_knowledge *knowledge, const char *value, const char *attribute)
{
    const adamoe_wordnet *wordnet = knowledge->wordnet;
    const adamoe_lemma *lemma = adamoe_wordnet_find(wordnet, attribute);
    for (uint32_t i = 0; lemma != NULL && i < lemma->senses; ++i) {
        const adamoe_synset *sense = &wordnet->synset[wordnet->sense[lemma->first_sense + i]];
        for (uint32_t j = 0; j < sense->links; ++j) {
            const adamoe_wordnet_link link = wordnet->link[sense->first_link + j];
            if (link.relation == ADAMOE_ATTRIBUTE && strcmp(wordnet->synset[link.target].word, value) == 0) {
                return true;
            }
        }
    }
    return false;
}
