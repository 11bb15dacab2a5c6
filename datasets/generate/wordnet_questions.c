/*
 * Questions from WordNet's facts: what can be asked, which split it belongs to, and three wrong choices that
 * are near the right one.
 */
#include "splitmix64.h"
#include "generate/wordnet_set.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHOICES = 4,
    NEAREST = 8,     /* the wrong choices are drawn from so many nearest ones */
    MOST_ASKED = 8,  /* so many questions of one kind about one thing */
    LONGEST_UP = 32, /* links of the way up from a candidate that are followed */
    TRAIN_PERCENT = 60,
    DEV_PERCENT = 10,
};

static const char *const split_name[ADAMOE_SPLITS] = {"train", "dev", "test"};
static const char *const kind_name[ADAMOE_QUESTION_KINDS] = {"kind",  "kind-far", "part",
                                                             "owner", "value",    "meaning"};

/* What could be asked. */
typedef struct item {
    adamoe_question_kind kind;
    uint32_t asked, right; /* concepts; `asked` is `right` where its meaning is asked for */
} item;

typedef struct maker {
    adamoe_knowledge *knowledge;
    uint64_t seed;
    adamoe_splitmix64 random;
    item *list;
    size_t count, capacity;
    uint32_t *first_fact;  /* [concepts + 1] facts of a subject */
    struct nearness *near; /* [concepts] */
} maker;

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "questions: out of memory");
}

/* ------------------------------------------------------------------------------------------------- splits */

static adamoe_split split_of(const maker *m, uint32_t synset)
{
    const uint64_t percent = adamoe_synset_hash(m->knowledge, m->seed, synset) % 100;
    if (percent < TRAIN_PERCENT) {
        return ADAMOE_TRAIN;
    }
    return percent < TRAIN_PERCENT + DEV_PERCENT ? ADAMOE_DEV : ADAMOE_TEST;
}

static adamoe_split choice_split(const maker *m, uint32_t concept)
{
    return split_of(m, m->knowledge->concept[concept].family);
}

/* -------------------------------------------------------------------------------------------- what to ask */

static adamoe_status append(maker *m, adamoe_question_kind kind, uint32_t asked, uint32_t right)
{
    const adamoe_concept *concept = m->knowledge->concept;
    if (kind != ADAMOE_ASK_MEANING && (split_of(m, concept[asked].synset) != choice_split(m, right) ||
                                       strcmp(concept[asked].word, concept[right].word) == 0)) {
        return adamoe_ok();
    }
    if (m->count == m->capacity) {
        const size_t larger = m->capacity == 0 ? 1024 : m->capacity * 2;
        item *moved = reallocarray(m->list, larger, sizeof *moved);
        if (moved == NULL) {
            return out_of_memory();
        }
        m->list = moved;
        m->capacity = larger;
    }
    m->list[m->count++] = (item){kind, asked, right};
    return adamoe_ok();
}

/* A is a kind of C: what is said of C holds for A too. */
static adamoe_status append_far(maker *m, uint32_t a, uint32_t c)
{
    const adamoe_knowledge *k = m->knowledge;
    for (uint32_t f = m->first_fact[c]; f < m->first_fact[c + 1]; ++f) {
        if (k->fact[f].kind == ADAMOE_FACT_KIND_OF) {
            ADAMOE_TRY(append(m, ADAMOE_ASK_KIND_FAR, k->fact[f].object, a));
        }
    }
    for (size_t f = 0; f < k->facts; ++f) {
        if (k->fact[f].kind == ADAMOE_FACT_PART_OF && k->fact[f].object == c) {
            ADAMOE_TRY(append(m, ADAMOE_ASK_OWNER, k->fact[f].subject, a));
        }
    }
    return adamoe_ok();
}

static adamoe_status list_items(maker *m)
{
    const adamoe_knowledge *k = m->knowledge;
    for (size_t f = 0; f < k->facts; ++f) {
        const adamoe_concept_fact *fact = &k->fact[f];
        static const adamoe_question_kind direct[] = {ADAMOE_ASK_KIND, ADAMOE_ASK_PART, ADAMOE_ASK_VALUE};
        ADAMOE_TRY(append(m, direct[fact->kind], fact->object, fact->subject));
        if (fact->kind == ADAMOE_FACT_KIND_OF) {
            ADAMOE_TRY(append_far(m, fact->subject, fact->object));
        }
    }
    for (uint32_t c = 0; c < k->concepts; ++c) {
        if (k->concept[c].meaning != NULL) {
            ADAMOE_TRY(append(m, ADAMOE_ASK_MEANING, c, c));
        }
    }
    for (size_t i = m->count; i > 1; --i) {
        const size_t j = adamoe_splitmix64_below(&m->random, i);
        const item swapped = m->list[i - 1];
        m->list[i - 1] = m->list[j];
        m->list[j] = swapped;
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------ wrong choices */

typedef struct nearness {
    size_t distance;
    uint64_t tie;
    uint32_t concept;
} nearness;

static int compare_nearness(const void *a, const void *b)
{
    const nearness *x = a, *y = b;
    if (x->distance != y->distance) {
        return x->distance < y->distance ? -1 : 1;
    }
    if (x->tie != y->tie) {
        return x->tie < y->tie ? -1 : 1;
    }
    return (x->concept > y->concept) - (x->concept < y->concept);
}

/* The first thing above `synset` that the walk reached, as the number of links up to it and its place in the
 * walk, which goes up level by level. Adjectives have nothing above them: all are equally near. */
static size_t distance(const adamoe_knowledge *k, uint32_t synset)
{
    for (size_t up = 0; up < LONGEST_UP; ++up) {
        const adamoe_synset *at = &k->wordnet->synset[synset];
        uint32_t next = synset;
        if (adamoe_walk_reached(k, synset)) {
            size_t place = 0;
            while (k->reached[place] != synset) {
                ++place;
            }
            return up + place;
        }
        for (uint32_t i = at->links; i-- > 0;) {
            const adamoe_wordnet_link link = k->wordnet->link[at->first_link + i];
            next = link.relation == ADAMOE_HYPERNYM ? link.target : next;
        }
        if (next == synset) {
            break;
        }
        synset = next;
    }
    return SIZE_MAX;
}

/* Concepts of the right one's split and lexical file, the nearest first. */
static size_t list_near(maker *m, uint32_t right)
{
    adamoe_knowledge *k = m->knowledge;
    const adamoe_wordnet *wordnet = k->wordnet;
    const uint32_t synset = k->concept[right].synset;
    size_t count = 0;
    adamoe_walk_begin(k);
    adamoe_walk_up(k, synset);
    for (uint32_t c = 0; c < k->concepts; ++c) {
        const uint32_t s = k->concept[c].synset;
        if (c != right && wordnet->synset[s].lexical_file == wordnet->synset[synset].lexical_file &&
            (s >= wordnet->nouns) == (synset >= wordnet->nouns) &&
            choice_split(m, c) == choice_split(m, right)) {
            m->near[count++] = (nearness){distance(k, s), adamoe_splitmix64_next(&m->random), c};
        }
    }
    qsort(m->near, count, sizeof *m->near, compare_nearness);
    return count;
}

static bool same_meaning(const adamoe_knowledge *k, uint32_t a, uint32_t b)
{
    const char *x = k->concept[a].meaning, *y = k->concept[b].meaning;
    return x != NULL && y != NULL && strcmp(x, y) == 0;
}

/* Whether WordNet leaves no room for this choice to be right. */
static bool is_wrong(maker *m, const item *asked, uint32_t choice)
{
    adamoe_knowledge *k = m->knowledge;
    const char *about = k->concept[asked->asked].word, *word = k->concept[choice].word;
    if (strcmp(word, about) == 0 || strcmp(word, k->concept[asked->right].word) == 0) {
        return false;
    }
    switch (asked->kind) {
    case ADAMOE_ASK_MEANING:
        return !adamoe_may_be_kind(k, word, about) && !same_meaning(k, asked->right, choice);
    case ADAMOE_ASK_KIND:
    case ADAMOE_ASK_KIND_FAR:
        return !adamoe_may_be_kind(k, word, about);
    case ADAMOE_ASK_PART:
        return !adamoe_may_be_part(k, word, about);
    case ADAMOE_ASK_OWNER:
        return !adamoe_may_be_part(k, about, word);
    case ADAMOE_ASK_VALUE:
        return !adamoe_may_be_value(k, word, about);
    case ADAMOE_QUESTION_KINDS:
        break;
    }
    return false;
}

/* Draws three of the nearest wrong ones; false where there are fewer. */
static bool draw_wrong(maker *m, const item *asked, const char *wrong[CHOICES - 1])
{
    const char *pool[NEAREST];
    size_t count = 0;
    const size_t near = list_near(m, asked->right);
    for (size_t i = 0; i < near && count < NEAREST; ++i) {
        const char *word = m->knowledge->concept[m->near[i].concept].word;
        bool fresh = is_wrong(m, asked, m->near[i].concept);
        for (size_t j = 0; j < count && fresh; ++j) {
            fresh = strcmp(pool[j], word) != 0;
        }
        if (fresh) {
            pool[count++] = word;
        }
    }
    for (size_t i = 0; i + 1 < CHOICES && count >= CHOICES - 1; ++i) {
        const size_t j = i + adamoe_splitmix64_below(&m->random, count - i);
        wrong[i] = pool[j];
        pool[j] = pool[i];
    }
    return count >= CHOICES - 1;
}

/* ---------------------------------------------------------------------------------------------- questions */

static char *make_stem(const adamoe_knowledge *k, const item *asked)
{
    const adamoe_concept *about = &k->concept[asked->asked];
    char *stem = NULL;
    int length = -1;
    switch (asked->kind) {
    case ADAMOE_ASK_KIND:
    case ADAMOE_ASK_KIND_FAR:
        length = asprintf(&stem, "which of these is a kind of %s?", about->word);
        break;
    case ADAMOE_ASK_PART:
        length =
            asprintf(&stem, "which of these is part of %s %s?", adamoe_article(about->word), about->word);
        break;
    case ADAMOE_ASK_OWNER:
        length = asprintf(&stem, "which of these has %s %s?", adamoe_article(about->word), about->word);
        break;
    case ADAMOE_ASK_VALUE:
        length = asprintf(&stem, "which of these words describes %s?", about->word);
        break;
    case ADAMOE_ASK_MEANING:
        length = asprintf(&stem, "which of these is defined as %s?", about->meaning);
        break;
    case ADAMOE_QUESTION_KINDS:
        break;
    }
    return length < 0 ? NULL : stem;
}

static adamoe_status make_question(maker *m, const item *asked, adamoe_split split,
                                   const char *const wrong[CHOICES - 1], size_t number,
                                   adamoe_question *question)
{
    const size_t gold = adamoe_splitmix64_below(&m->random, CHOICES);
    question->stem = make_stem(m->knowledge, asked);
    question->text = calloc(CHOICES, sizeof *question->text);
    question->label = calloc(CHOICES, sizeof *question->label);
    if (asprintf(&question->id, "%s-%s-%04zu", split_name[split], kind_name[asked->kind], number) < 0) {
        question->id = NULL;
    }
    if (question->id == NULL || question->stem == NULL || question->text == NULL || question->label == NULL) {
        return out_of_memory();
    }
    question->gold = gold;
    question->choices = CHOICES;
    for (size_t i = 0; i < CHOICES; ++i) {
        const char label[2] = {(char)('A' + (int)i), '\0'};
        const char *text = i == gold ? m->knowledge->concept[asked->right].word : wrong[i < gold ? i : i - 1];
        question->label[i] = strdup(label);
        question->text[i] = strdup(text);
        if (question->label[i] == NULL || question->text[i] == NULL) {
            return out_of_memory();
        }
    }
    return adamoe_ok();
}

/* Questions about the same thing are counted by kind and concept. */
static adamoe_status fill_kind(maker *m, adamoe_split split, adamoe_question_kind kind, size_t most,
                               uint8_t *asked, adamoe_questions *out)
{
    memset(asked, 0, m->knowledge->concepts);
    for (size_t i = 0, made = 0; i < m->count && made < most; ++i) {
        const item *now = &m->list[i];
        const char *wrong[CHOICES - 1];
        if (now->kind != kind || choice_split(m, now->right) != split || asked[now->asked] == MOST_ASKED ||
            !draw_wrong(m, now, wrong)) {
            continue;
        }
        ++asked[now->asked];
        ++made;
        ADAMOE_TRY(make_question(m, now, split, wrong, made, &out->question[out->count++]));
    }
    return adamoe_ok();
}

/* The rarest kinds first, so that what they leave goes to the others. */
static adamoe_status fill(maker *m, adamoe_split split, size_t limit, uint8_t *asked, adamoe_questions *out)
{
    static const adamoe_question_kind order[] = {ADAMOE_ASK_PART,    ADAMOE_ASK_VALUE,    ADAMOE_ASK_OWNER,
                                                 ADAMOE_ASK_MEANING, ADAMOE_ASK_KIND_FAR, ADAMOE_ASK_KIND};
    out->question = calloc(limit + 1, sizeof *out->question);
    if (out->question == NULL) {
        return out_of_memory();
    }
    for (size_t i = 0; i < ADAMOE_QUESTION_KINDS; ++i) {
        const size_t left = limit - out->count;
        ADAMOE_TRY(fill_kind(m, split, order[i], left / (ADAMOE_QUESTION_KINDS - i), asked, out));
    }
    for (size_t i = out->count; i > 1; --i) {
        const size_t j = adamoe_splitmix64_below(&m->random, i);
        const adamoe_question swapped = out->question[i - 1];
        out->question[i - 1] = out->question[j];
        out->question[j] = swapped;
    }
    return adamoe_ok();
}

static adamoe_status make_all(maker *m, const size_t limit[ADAMOE_SPLITS],
                              adamoe_questions *out[ADAMOE_SPLITS])
{
    const adamoe_knowledge *k = m->knowledge;
    m->first_fact = calloc(k->concepts + 2, sizeof *m->first_fact);
    m->near = calloc(k->concepts + 1, sizeof *m->near);
    uint8_t *asked = calloc(k->concepts + 1, sizeof *asked);
    adamoe_status status =
        m->first_fact == NULL || m->near == NULL || asked == NULL ? out_of_memory() : adamoe_ok();
    for (size_t f = 0; f < k->facts && status.code == ADAMOE_OK; ++f) {
        ++m->first_fact[k->fact[f].subject + 1];
    }
    for (size_t c = 0; c < k->concepts && status.code == ADAMOE_OK; ++c) {
        m->first_fact[c + 1] += m->first_fact[c];
    }
    if (status.code == ADAMOE_OK) {
        status = list_items(m);
    }
    for (size_t s = 0; s < ADAMOE_SPLITS && status.code == ADAMOE_OK; ++s) {
        out[s] = calloc(1, sizeof *out[s]);
        status = out[s] == NULL ? out_of_memory() : fill(m, (adamoe_split)s, limit[s], asked, out[s]);
    }
    free(m->list);
    free(m->first_fact);
    free(m->near);
    free(asked);
    return status;
}

adamoe_status adamoe_wordnet_questions(adamoe_knowledge *knowledge, uint64_t seed,
                                       const size_t limit[ADAMOE_SPLITS],
                                       adamoe_questions *out[ADAMOE_SPLITS])
{
    maker m = {.knowledge = knowledge, .seed = seed, .random = {seed}};
    adamoe_questions *made[ADAMOE_SPLITS] = {NULL};
    const adamoe_status status = make_all(&m, limit, made);
    for (size_t s = 0; s < ADAMOE_SPLITS; ++s) {
        if (status.code == ADAMOE_OK) {
            out[s] = made[s];
        } else {
            adamoe_questions_free(made[s]);
        }
    }
    return status;
}
