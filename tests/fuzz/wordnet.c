/*
 * Any bytes as WordNet's files, parted by zero bytes: an error, or a WordNet that keeps what wordnet.h
 * promises, and that concepts, facts and questions can be made of.
 */
#include "generate/wordnet_set.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check(const adamoe_wordnet *w)
{
    require(w->nouns <= w->synsets);
    for (size_t s = 0; s < w->synsets; ++s) {
        const adamoe_synset *synset = &w->synset[s];
        require(synset->word[0] != '\0' && synset->gloss != NULL);
        require(s == 0 || s == w->nouns || synset[-1].offset < synset->offset);
        for (uint32_t i = 0; i < synset->links; ++i) {
            const adamoe_wordnet_link link = w->link[synset->first_link + i];
            const bool adjective = (s >= w->nouns) != (link.relation == ADAMOE_ATTRIBUTE);
            require(link.target < w->synsets && (link.target >= w->nouns) == adjective);
        }
    }
    for (size_t l = 0; l < w->lemmas; ++l) {
        require(w->lemma[l].senses > 0 && adamoe_wordnet_find(w, w->lemma[l].word) == &w->lemma[l]);
        for (uint32_t i = 0; i < w->lemma[l].senses; ++i) {
            require(w->sense[w->lemma[l].first_sense + i] < w->nouns);
        }
    }
}

static void use(const adamoe_wordnet *w)
{
    static const size_t limit[ADAMOE_SPLITS] = {100, 100, 100};
    adamoe_knowledge *k = NULL;
    adamoe_questions *questions[ADAMOE_SPLITS] = {NULL};
    require(adamoe_knowledge_create(w, 1, 100, &k).code == ADAMOE_OK);
    require(adamoe_wordnet_questions(k, 1, limit, questions).code == ADAMOE_OK);
    for (size_t s = 0; s < ADAMOE_SPLITS; ++s) {
        adamoe_questions_free(questions[s]);
    }
    adamoe_knowledge_free(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    adamoe_wordnet_file file[ADAMOE_WORDNET_FILES];
    adamoe_wordnet *wordnet = NULL;
    const char *text = (const char *)data;
    for (size_t i = 0; i < ADAMOE_WORDNET_FILES; ++i) {
        const char *end = size == 0 || i + 1 == ADAMOE_WORDNET_FILES ? NULL : memchr(text, '\0', size);
        const size_t length = end == NULL ? size : (size_t)(end - text);
        file[i] = (adamoe_wordnet_file){"fuzz", text, length};
        text += end == NULL ? length : length + 1;
        size -= end == NULL ? length : length + 1;
    }
    const adamoe_status status = adamoe_wordnet_parse(file, &wordnet);
    require((status.code == ADAMOE_OK) == (status.message[0] == '\0'));
    if (status.code == ADAMOE_OK) {
        check(wordnet);
        use(wordnet);
    }
    adamoe_wordnet_free(wordnet);
    return 0;
}
