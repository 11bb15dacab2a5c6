/*
 * The facts as sentences.
 */
#include "files/output_file.h"
#include "splitmix64.h"
#include "generate/wordnet_set.h"

#include <stdlib.h>
#include <string.h>

enum { FORMS = 4, MEANING = ADAMOE_FACT_VALUE_OF + 1 };

/* %a is the subject with its article, %s the subject, %b the object with its article, %o the object, which
 * for a meaning is the whole of it. */
static const char *const sentence[][FORMS] = {
    [ADAMOE_FACT_KIND_OF] = {"%a is a kind of %o.", "the %s is %b.", "one kind of %o is the %s.",
                             "every %s is %b."},
    [ADAMOE_FACT_PART_OF] = {"%a is part of %b.", "%b has %a.", "the %s is one part of the %o.",
                             "one part of %b is the %s."},
    [ADAMOE_FACT_VALUE_OF] = {"the word %s describes %o.", "%o can be %s.", "%s is one value of %o.",
                              "one value of %o is %s."},
    [MEANING] = {"the word %s means %o.", "%s is defined as %o.", "what is defined as %o is called %s.",
                 "the meaning of %s is %o."},
};

const char *adamoe_article(const char *word)
{
    return strchr("aeiou", word[0]) != NULL ? "an" : "a";
}

static void print_sentence(FILE *stream, const char *form, const char *subject, const char *object)
{
    for (const char *c = form; *c != '\0'; ++c) {
        if (*c != '%') {
            (void)fputc(*c, stream);
            continue;
        }
        ++c;
        const char *word = *c == 'a' || *c == 's' ? subject : object;
        if (*c == 'a' || *c == 'b') {
            (void)fprintf(stream, "%s ", adamoe_article(word));
        }
        (void)fputs(word, stream);
    }
    (void)fputc('\n', stream);
}

/* A line that is to be written: a fact, or from index `facts` on the meaning of a concept. */
typedef struct line {
    uint32_t fact;
    uint32_t form;
} line;

static size_t list_lines(const adamoe_knowledge *k, size_t forms, adamoe_splitmix64 *random, line *out)
{
    size_t count = 0;
    for (size_t f = 0; f < k->facts + k->concepts; ++f) {
        if (f >= k->facts && k->concept[f - k->facts].meaning == NULL) {
            continue;
        }
        uint32_t form[FORMS] = {0, 1, 2, 3};
        for (size_t i = 0; i < forms; ++i) {
            const size_t j = i + adamoe_splitmix64_below(random, FORMS - i);
            const uint32_t drawn = form[j];
            form[j] = form[i];
            out[count++] = (line){(uint32_t)f, drawn};
        }
    }
    for (size_t i = count; i > 1; --i) {
        const size_t j = adamoe_splitmix64_below(random, i);
        const line swapped = out[i - 1];
        out[i - 1] = out[j];
        out[j] = swapped;
    }
    return count;
}

static void print_line(FILE *stream, const adamoe_knowledge *k, line l)
{
    if (l.fact >= k->facts) {
        const adamoe_concept *concept = &k->concept[l.fact - k->facts];
        print_sentence(stream, sentence[MEANING][l.form], concept->word, concept->meaning);
        return;
    }
    const adamoe_concept_fact *fact = &k->fact[l.fact];
    print_sentence(stream, sentence[fact->kind][l.form], k->concept[fact->subject].word,
                   k->concept[fact->object].word);
}

adamoe_status adamoe_wordnet_corpus_write(const char *path, const adamoe_knowledge *knowledge, uint64_t seed,
                                          size_t forms, size_t *sentences)
{
    adamoe_splitmix64 random = {seed};
    if (forms < 1 || forms > FORMS) {
        return adamoe_error(ADAMOE_BAD_INPUT, "corpus: %zu forms of a fact are not between 1 and %d", forms,
                            FORMS);
    }
    line *lines = calloc((knowledge->facts + knowledge->concepts) * forms + 1, sizeof *lines);
    adamoe_output_file *file = NULL;
    if (lines == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "corpus: out of memory");
    }
    adamoe_status status = adamoe_output_file_open(path, &file);
    if (status.code == ADAMOE_OK) {
        *sentences = list_lines(knowledge, forms, &random, lines);
        for (size_t i = 0; i < *sentences; ++i) {
            print_line(adamoe_output_file_stream(file), knowledge, lines[i]);
        }
        status = adamoe_output_file_commit(file);
    }
    free(lines);
    return status;
}
