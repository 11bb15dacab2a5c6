/*
 * Reading WordNet's files, and the questions and the corpus made from them: on a WordNet of a dozen synsets,
 * and on what ships.
 */
#include "temporary_folder.h"
#include "generate/question_set.h"
#include "generate/wordnet_set.h"

#define SHIPPED(name) SOURCE_PATH("datasets/wordnet/" name)
#define WORDNET       "/usr/share/wordnet"

/* ------------------------------------------------------------------------------------------------ reading */

/* Synsets of a line each; {N} stands for the offset of line N, so that a text can be
 * changed and stay right. */
typedef struct small_wordnet {
    char noun[8192], adjective[2048], index[4096];
} small_wordnet;

/* Replaces {N} by the eight digits of the place where line N of `lines` will stand; all are as long as {N}
 * becomes, so that places are known. */
static void place_lines(const char *const *lines, size_t count, const size_t *offset, char *out)
{
    for (size_t i = 0; i < count; ++i) {
        for (const char *c = lines[i]; *c != '\0'; ++c) {
            if (*c == '{') {
                out += sprintf(out, "%08zu", offset[strtoul(c + 1, NULL, 10)]);
                c = strchr(c, '}');
            } else {
                *out++ = *c;
            }
        }
        *out++ = '\n';
    }
    *out = '\0';
}

/* Where each line begins once every {N} is eight digits. */
static void measure_lines(const char *const *lines, size_t count, size_t *offset)
{
    size_t at = 0;
    for (size_t i = 0; i < count; ++i) {
        offset[i] = at;
        for (const char *c = lines[i]; *c != '\0'; ++c, ++at) {
            if (*c == '{') {
                c = strchr(c, '}');
                at += 7;
            }
        }
        ++at;
    }
}

static const char *const small_noun[] = {
    "  the licence stands in lines that begin with a blank",
    "{1} 05 n 01 animal 0 000 | a living thing that moves; \"an animal ran\"",
    "{2} 05 n 01 bird 0 002 @ {1} n 0000 ~ {4} n 0000 | an animal that flies (mostly)",
    "{3} 05 n 02 wing 0 pinion 1 002 #p {2} n 0000 + 00000000 v 0101 | what a bird flies with",
    "{4} 05 n 01 robin 0 001 @ {2} n 0000 | a small bird with a red breast",
    "{5} 05 n 01 dog 0 001 @ {1} n 0000 | an animal that barks",
    "{6} 05 n 01 crane 0 001 @ {2} n 0000 | a large bird",
    "{7} 06 n 01 crane 1 000 | lifts things",
    "{8} 07 n 01 size 0 001 = 00000000 a 0000 | how large a thing is",
};

static const char *const small_adjective[] = {
    "{0} 00 s 01 large(a) 0 002 = 00000000 n 0000 = 00000000 n 0101 | of great size",
};

static const char *const small_index[] = {
    "  a licence",         "animal n 1 0 1 1 {1}",  "bird n 1 2 @ ~ 1 1 {2}", "crane n 2 1 @ 2 1 {6} {7}",
    "dog n 1 1 @ 1 0 {5}", "robin n 1 1 @ 1 0 {4}", "size n 1 1 = 1 1 {8}",   "wing n 1 1 #p 1 1 {3}",
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void make_small(small_wordnet *out)
{
    size_t offset[COUNT(small_noun)], adjective[1] = {0};
    measure_lines(small_noun, COUNT(small_noun), offset);
    place_lines(small_noun, COUNT(small_noun), offset, out->noun);
    place_lines(small_index, COUNT(small_index), offset, out->index);
    place_lines(small_adjective, 1, adjective, out->adjective);
    char size[9];
    (void)snprintf(size, sizeof size, "%08zu", offset[8]);
    for (char *at = strstr(out->adjective, "= 0"); at != NULL; at = strstr(at + 1, "= 0")) {
        memcpy(at + 2, size, 8);
    }
}

static adamoe_status parse(const small_wordnet *w, adamoe_wordnet **out)
{
    const adamoe_wordnet_file file[] = {{"data.noun", w->noun, strlen(w->noun)},
                                        {"data.adj", w->adjective, strlen(w->adjective)},
                                        {"index.noun", w->index, strlen(w->index)}};
    return adamoe_wordnet_parse(file, out);
}

static void a_small_wordnet(void **state)
{
    (void)state;
    small_wordnet text;
    adamoe_wordnet *w = NULL;
    make_small(&text);
    assert_ok(parse(&text, &w));
    assert_int_equal(w->synsets, 9);
    assert_int_equal(w->nouns, 8);
    assert_int_equal(w->lemmas, 7);
    const adamoe_lemma *crane = adamoe_wordnet_find(w, "crane");
    assert_non_null(crane);
    assert_int_equal(crane->senses, 2);
    assert_int_equal(w->sense[crane->first_sense], 5);
    assert_int_equal(w->sense[crane->first_sense + 1], 6);
    assert_null(adamoe_wordnet_find(w, "cranes"));
    const adamoe_synset *wing = &w->synset[2], *large = &w->synset[8];
    assert_string_equal(wing->word, "wing");
    assert_int_equal(wing->links, 1); /* the derivation from a verb is not kept */
    assert_int_equal(w->link[wing->first_link].relation, ADAMOE_PART_OF);
    assert_int_equal(w->link[wing->first_link].target, 1);
    assert_string_equal(large->word, "large");
    assert_int_equal(large->links, 1); /* given twice, kept once */
    assert_string_equal(w->synset[w->link[large->first_link].target].word, "size");
    assert_string_equal(w->synset[0].gloss, "a living thing that moves; \"an animal ran\"");
    adamoe_wordnet_free(w);
}

/* Replaces the first `from` in one of the texts by as many characters, and expects an error. */
static void expect_error(size_t which, const char *from, const char *to, const char *message)
{
    small_wordnet text;
    adamoe_wordnet *w = NULL;
    make_small(&text);
    char *at = strstr(which == 0 ? text.noun : which == 1 ? text.adjective : text.index, from);
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    assert_error(parse(&text, &w), ADAMOE_BAD_INPUT, message);
    assert_null(w);
}

static void what_a_file_must_not_hold(void **state)
{
    (void)state;
    expect_error(0, " 05 n 01 animal", " 05 n 00 animal", "data.noun: line 2: ");
    expect_error(0, " 05 n 01 animal", " 05 n 02 animal", "data.noun: line 2: number of a word is \"|\"");
    expect_error(0, " 05 n 01 bird", " 05 v 01 bird", "line 3: the type does not belong");
    expect_error(0, " 05 n 01 bird", " x5 n 01 bird", "line 3: lexical file is \"x5\"");
    expect_error(0, "bird 0 002", "bird 0 003", "line 3: offset of a link is");
    expect_error(0, "bird 0 002", "bird 0 001", "line 3: a definition is missing");
    expect_error(0, "bird 0 002", "bird 0 999", "line 3: ");
    expect_error(0, "| what", "  what", "line 4: the bar before the definition is missing");
    expect_error(0, " blank\n0", " blank\n1", "line 2: the offset is not the line's place");
    expect_error(0, "@ 0", "@ 9", "data.noun: synset ");
    expect_error(0, "#p", "= ", "line 4: ");
    expect_error(1, "= 0", "= 9", "data.adj: synset 00000000: a link to 9");
    expect_error(1, " n 0000", " v 0000", "data.adj: line 1: a link to another part of speech");
    expect_error(1, "size\n", "size ", "data.adj: line 1: the file ends within the line");
    expect_error(2, "animal n 1", "animal n 2", "index.noun: line 2: the numbers of senses do not agree");
    expect_error(2, "animal n 1", "animal n 0", "index.noun: line 2: ");
    expect_error(2, "animal", "cat   ", "line 2: part of speech is missing");
    expect_error(2, "animal", "pigeon", "line 3: the words are not in order");
    expect_error(2, "dog n 1 1 @ 1 0 0", "dog n 1 1 @ 1 0 7", "index.noun: synset 7");
    expect_error(2, "dog n 1 1 @ 1 0 0", "dog n 1 1 @ 1 2 0", "line 5: the numbers of senses");
    assert_error(adamoe_wordnet_open("/nonexistent", &(adamoe_wordnet *){NULL}), ADAMOE_BAD_INPUT,
                 "/nonexistent/data.noun: open");
}

static bool has_fact(const adamoe_knowledge *k, adamoe_fact_kind kind, const char *subject,
                     const char *object)
{
    for (size_t f = 0; f < k->facts; ++f) {
        if (k->fact[f].kind == kind && strcmp(k->concept[k->fact[f].subject].word, subject) == 0 &&
            strcmp(k->concept[k->fact[f].object].word, object) == 0) {
            return true;
        }
    }
    return false;
}

static void facts_of_a_small_wordnet(void **state)
{
    (void)state;
    small_wordnet text;
    adamoe_wordnet *w = NULL;
    adamoe_knowledge *k = NULL;
    make_small(&text);
    assert_ok(parse(&text, &w));
    assert_ok(adamoe_knowledge_create(w, 1, 100, &k));
    /* the second meaning of crane is no concept, size is one for large's sake */
    assert_int_equal(k->concepts, 8);
    assert_int_equal(k->facts, 6);
    assert_true(has_fact(k, ADAMOE_FACT_KIND_OF, "bird", "animal"));
    assert_true(has_fact(k, ADAMOE_FACT_KIND_OF, "robin", "bird"));
    assert_true(has_fact(k, ADAMOE_FACT_KIND_OF, "crane", "bird"));
    assert_true(has_fact(k, ADAMOE_FACT_KIND_OF, "dog", "animal"));
    assert_true(has_fact(k, ADAMOE_FACT_PART_OF, "wing", "bird"));
    assert_true(has_fact(k, ADAMOE_FACT_VALUE_OF, "large", "size"));
    assert_true(adamoe_may_be_kind(k, "robin", "animal") && adamoe_may_be_kind(k, "animal", "robin"));
    assert_false(adamoe_may_be_kind(k, "robin", "dog"));
    assert_true(adamoe_may_be_part(k, "wing", "bird"));
    assert_true(adamoe_may_be_part(k, "wing", "robin"));  /* a robin is a bird */
    assert_true(adamoe_may_be_part(k, "wing", "animal")); /* some animals are birds */
    assert_false(adamoe_may_be_part(k, "wing", "dog"));
    assert_false(adamoe_may_be_part(k, "bird", "wing"));
    assert_true(adamoe_may_be_value(k, "large", "size"));
    assert_false(adamoe_may_be_value(k, "robin", "size"));
    adamoe_knowledge_free(k);
    adamoe_wordnet_free(w);
}

/* Things that are kinds of each other, in a ring: every walk ends. */
static void a_ring_of_kinds(void **state)
{
    (void)state;
    const char *const ring[] = {"{0} 05 n 01 egg 0 002 @ {1} n 0000 #p {1} n 0000 | what comes from a hen",
                                "{1} 05 n 01 hen 0 002 @ {0} n 0000 #p {0} n 0000 | what comes from an egg"};
    const char *const lemmas[] = {"egg n 1 1 @ 1 1 {0}", "hen n 1 1 @ 1 1 {1}"};
    size_t offset[2];
    small_wordnet text;
    adamoe_wordnet *w = NULL;
    adamoe_knowledge *k = NULL;
    adamoe_questions *questions[ADAMOE_SPLITS];
    measure_lines(ring, 2, offset);
    place_lines(ring, 2, offset, text.noun);
    place_lines(lemmas, 2, offset, text.index);
    text.adjective[0] = '\0';
    assert_ok(parse(&text, &w));
    assert_ok(adamoe_knowledge_create(w, 1, 100, &k));
    assert_true(adamoe_may_be_kind(k, "egg", "hen") && adamoe_may_be_part(k, "hen", "egg"));
    assert_ok(adamoe_wordnet_questions(k, 1, (const size_t[]){9, 9, 9}, questions));
    for (size_t s = 0; s < ADAMOE_SPLITS; ++s) {
        assert_int_equal(questions[s]->count, 0); /* nothing is certainly wrong */
        adamoe_questions_free(questions[s]);
    }
    adamoe_knowledge_free(k);
    adamoe_wordnet_free(w);
}

/* -------------------------------------------------------------------------------------------- what ships */

static adamoe_questions *read_shipped(const char *path, size_t count)
{
    adamoe_questions *questions = NULL;
    assert_ok(adamoe_questions_read(path, &questions));
    assert_int_equal(questions->count, count);
    return questions;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All that may be chosen in a file, sorted. */
static char **all_choices(const adamoe_questions *questions)
{
    char **text = calloc(questions->count * 4, sizeof *text);
    assert_non_null(text);
    for (size_t i = 0; i < questions->count * 4; ++i) {
        text[i] = questions->question[i / 4].text[i % 4];
    }
    qsort(text, questions->count * 4, sizeof *text, compare_text);
    return text;
}

static void shipped_splits_share_no_choice(void **state)
{
    (void)state;
    adamoe_questions *train = read_shipped(SHIPPED("train.jsonl"), 1500);
    adamoe_questions *dev = read_shipped(SHIPPED("dev.jsonl"), 300);
    adamoe_questions *test = read_shipped(SHIPPED("test.jsonl"), 952);
    char **known = all_choices(train);
    size_t compared = 0;
    adamoe_questions *const other[] = {dev, test};
    for (size_t o = 0; o < 2; ++o) {
        for (size_t i = 0; i < other[o]->count; ++i) {
            const adamoe_question *question = &other[o]->question[i];
            for (size_t j = 0; j < 4; ++j, ++compared) {
                if (bsearch(&question->text[j], known, train->count * 4, sizeof *known, compare_text) !=
                    NULL) {
                    fail_msg("%s: %s is a choice in train.jsonl too", question->id, question->text[j]);
                }
            }
        }
    }
    assert_true(compared == 4 * (dev->count + test->count));
    free(known);
    adamoe_questions_free(train);
    adamoe_questions_free(dev);
    adamoe_questions_free(test);
}

/* Four different choices, and none that the stem names; the right one's place says nothing: with equal
 * chances each place has a quarter, and a deviation of six standard errors is no chance. */
static void shipped_questions_are_fair(void **state)
{
    (void)state;
    adamoe_questions *test = read_shipped(SHIPPED("test.jsonl"), 952);
    size_t at[4] = {0};
    for (size_t i = 0; i < test->count; ++i) {
        const adamoe_question *question = &test->question[i];
        assert_int_equal(question->choices, 4);
        ++at[question->gold];
        for (size_t j = 0; j < 4; ++j) {
            for (size_t other = 0; other < j; ++other) {
                assert_string_not_equal(question->text[j], question->text[other]);
            }
        }
    }
    const double n = (double)test->count, error = sqrt(n * 0.25 * 0.75);
    for (size_t j = 0; j < 4; ++j) {
        assert_true(fabs((double)at[j] - n / 4.0) < 6.0 * error);
    }
    adamoe_questions_free(test);
}

static bool same_file(const char *path, const char *other)
{
    size_t size, other_size;
    char *bytes = read_bytes(path, &size), *other_bytes = read_bytes(other, &other_size);
    const bool same = size > 0 && size == other_size && memcmp(bytes, other_bytes, size) == 0;
    free(bytes);
    free(other_bytes);
    return same;
}

/* Every wrong choice is wrong, and the right one right, by WordNet as it is installed. */
static void check_answer(adamoe_knowledge *k, const adamoe_question *question)
{
    char about[64];
    const bool kind = sscanf(question->stem, "which of these is a kind of %63[a-z]?", about) == 1;
    const bool part = sscanf(question->stem, "which of these is part of %*[an] %63[a-z]?", about) == 1;
    const bool owner = sscanf(question->stem, "which of these has %*[an] %63[a-z]?", about) == 1;
    const bool value = sscanf(question->stem, "which of these words describes %63[a-z]?", about) == 1;
    for (size_t j = 0; j < 4; ++j) {
        const char *word = question->text[j];
        const bool may_be = kind    ? adamoe_may_be_kind(k, word, about)
                            : part  ? adamoe_may_be_part(k, word, about)
                            : owner ? adamoe_may_be_part(k, about, word)
                            : value ? adamoe_may_be_value(k, word, about)
                                    : j == question->gold;
        if (may_be != (j == question->gold)) {
            fail_msg("%s: %s %s", question->id, question->stem, word);
        }
    }
}

static void the_same_seed_gives_what_ships(void **state)
{
    SKIP_WITHOUT(WORDNET "/data.noun");
    adamoe_wordnet *w = NULL;
    adamoe_knowledge *k = NULL;
    adamoe_questions *questions[ADAMOE_SPLITS];
    static const char *const shipped[] = {SHIPPED("train.jsonl"), SHIPPED("dev.jsonl"),
                                          SHIPPED("test.jsonl")};
    size_t sentences;
    assert_ok(adamoe_wordnet_open(WORDNET, &w));
    assert_ok(adamoe_knowledge_create(w, 1, 4000, &k));
    assert_ok(adamoe_wordnet_questions(k, 1, (const size_t[]){1500, 300, 1000}, questions));
    for (size_t s = 0; s < ADAMOE_SPLITS; ++s) {
        const folder_path made = in_folder(state, "questions.jsonl");
        assert_ok(adamoe_question_set_write(made.text, questions[s]));
        assert_true(same_file(made.text, shipped[s]));
        for (size_t i = 0; i < questions[s]->count; ++i) {
            check_answer(k, &questions[s]->question[i]);
        }
        adamoe_questions_free(questions[s]);
    }
    const folder_path made = in_folder(state, "corpus.txt");
    assert_ok(adamoe_wordnet_corpus_write(made.text, k, 1, 3, &sentences));
    assert_true(same_file(made.text, SHIPPED("corpus.txt")));
    assert_ok(adamoe_wordnet_corpus_write(made.text, k, 2, 3, &sentences));
    assert_false(same_file(made.text, SHIPPED("corpus.txt")));
    assert_error(adamoe_wordnet_corpus_write(made.text, k, 1, 5, &sentences), ADAMOE_BAD_INPUT, "5 forms");
    adamoe_knowledge_free(k);
    adamoe_wordnet_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_wordnet),
        cmocka_unit_test(what_a_file_must_not_hold),
        cmocka_unit_test(facts_of_a_small_wordnet),
        cmocka_unit_test(a_ring_of_kinds),
        cmocka_unit_test(shipped_splits_share_no_choice),
        cmocka_unit_test(shipped_questions_are_fair),
        cmocka_unit_test_setup_teardown(the_same_seed_gives_what_ships, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
