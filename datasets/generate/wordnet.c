/*
 * Reading WordNet's files. Each is copied into memory once and cut up there: words and glosses are pieces of
 * the copy.
 */
#include "generate/wordnet.h"
#include "files/mapped_file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* One line that is being read; `at` is NULL behind the last field. */
typedef struct line_reader {
    const char *path;
    size_t line;
    char *at;
} line_reader;

static adamoe_status bad_line(const line_reader *reader, const char *reason)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: line %zu: %s", reader->path, reader->line, reason);
}

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "WordNet: out of memory");
}

/* Cuts off the text up to the next blank. */
static adamoe_status read_field(line_reader *reader, const char *what, char **out)
{
    char *field = reader->at;
    *out = field;
    if (field == NULL || *field == '\0' || *field == ' ') {
        return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: line %zu: %s is missing", reader->path, reader->line,
                            what);
    }
    reader->at = strchr(field, ' ');
    if (reader->at != NULL) {
        *reader->at++ = '\0';
    }
    return adamoe_ok();
}

/* A field of digits only, `digits` of them, or any number up to 9 where digits is 0. */
static adamoe_status read_number(line_reader *reader, const char *what, int base, size_t digits,
                                 uint32_t *out)
{
    static const char digit[] = "0123456789abcdef";
    char *field;
    ADAMOE_TRY(read_field(reader, what, &field));
    const size_t length = strlen(field);
    *out = 0;
    for (const char *c = field; *c != '\0'; ++c) {
        const char *found = memchr(digit, *c, (size_t)base);
        if (found == NULL || length > 9 || (digits != 0 && length != digits)) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "%.300s: line %zu: %s is \"%.40s\", not a number of its kind", reader->path,
                                reader->line, what, field);
        }
        *out = *out * (uint32_t)base + (uint32_t)(found - digit);
    }
    return adamoe_ok();
}

/* Arrays while they grow; links and senses still name offsets, not indices. */
typedef struct builder {
    adamoe_wordnet *wordnet;
    size_t synsets, links, lemmas, senses; /* capacities */
    size_t link_count, sense_count;
} builder;

/* The array with room for one more, or NULL: then it is as it was. */
static void *grown(void *array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity) {
        return array;
    }
    const size_t larger = *capacity == 0 ? 1024 : *capacity * 2;
    void *moved = larger > UINT32_MAX ? NULL : reallocarray(array, larger, element);
    if (moved != NULL) {
        *capacity = larger;
    }
    return moved;
}

/* ------------------------------------------------------------------------------------------------ synsets */

static bool relation_of(const char *symbol, adamoe_wordnet_relation *out)
{
    static const struct {
        const char *symbol;
        adamoe_wordnet_relation relation;
    } known[] = {
        {"@", ADAMOE_HYPERNYM}, {"@i", ADAMOE_INSTANCE}, {"#p", ADAMOE_PART_OF}, {"=", ADAMOE_ATTRIBUTE}};
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        if (strcmp(symbol, known[i].symbol) == 0) {
            *out = known[i].relation;
            return true;
        }
    }
    return false;
}

/* Each link once: a file repeats those that hold for single words of the synset too. */
static adamoe_status append_link(builder *b, adamoe_synset *synset, adamoe_wordnet_link link)
{
    for (uint32_t i = 0; i < synset->links; ++i) {
        const adamoe_wordnet_link *known = &b->wordnet->link[synset->first_link + i];
        if (known->relation == link.relation && known->target == link.target) {
            return adamoe_ok();
        }
    }
    adamoe_wordnet_link *moved = grown(b->wordnet->link, b->link_count, &b->links, sizeof *moved);
    if (moved == NULL) {
        return out_of_memory();
    }
    b->wordnet->link = moved;
    moved[b->link_count++] = link;
    ++synset->links;
    return adamoe_ok();
}

/* symbol, offset, part of speech, source and target words; kept are the relations that are wanted here. */
static adamoe_status read_link(line_reader *reader, builder *b, bool adjectives, adamoe_synset *synset)
{
    char *symbol, *part_of_speech;
    uint32_t words;
    adamoe_wordnet_link link;
    ADAMOE_TRY(read_field(reader, "symbol of a link", &symbol));
    ADAMOE_TRY(read_number(reader, "offset of a link", 10, 8, &link.target));
    ADAMOE_TRY(read_field(reader, "part of speech of a link", &part_of_speech));
    ADAMOE_TRY(read_number(reader, "source and target of a link", 16, 4, &words));
    if (!relation_of(symbol, &link.relation)) {
        return adamoe_ok();
    }
    const bool to_adjective = adjectives != (link.relation == ADAMOE_ATTRIBUTE);
    if (strcmp(part_of_speech, to_adjective ? "a" : "n") != 0 &&
        !(to_adjective && strcmp(part_of_speech, "s") == 0)) {
        return bad_line(reader, "a link to another part of speech than its symbol has");
    }
    return append_link(b, synset, link);
}

/* "red(a)": the marker says where an adjective stands. */
static void cut_marker(char *word)
{
    char *marker = strchr(word, '(');
    if (marker != NULL && marker != word) {
        *marker = '\0';
    }
}

/* offset lexical_file type words {word lex_id} links {link} | gloss */
static adamoe_status read_synset(line_reader *reader, size_t place, bool adjectives, builder *b)
{
    adamoe_synset synset = {.first_link = (uint32_t)b->link_count};
    char *type, *word, *bar;
    uint32_t words, links, lex_id;
    ADAMOE_TRY(read_number(reader, "offset", 10, 8, &synset.offset));
    if (synset.offset != place) {
        return bad_line(reader, "the offset is not the line's place in the file");
    }
    ADAMOE_TRY(read_number(reader, "lexical file", 10, 2, &synset.lexical_file));
    ADAMOE_TRY(read_field(reader, "type", &type));
    if (strcmp(type, adjectives ? "a" : "n") != 0 && !(adjectives && strcmp(type, "s") == 0)) {
        return bad_line(reader, "the type does not belong into this file");
    }
    ADAMOE_TRY(read_number(reader, "number of words", 16, 2, &words));
    for (uint32_t i = 0; i < words; ++i) {
        ADAMOE_TRY(read_field(reader, "word", &word));
        ADAMOE_TRY(read_number(reader, "number of a word", 16, 1, &lex_id));
        cut_marker(word);
        synset.word = i == 0 ? word : synset.word;
    }
    if (synset.word == NULL) {
        return bad_line(reader, "a synset without a word");
    }
    ADAMOE_TRY(read_number(reader, "number of links", 10, 3, &links));
    for (uint32_t i = 0; i < links; ++i) {
        ADAMOE_TRY(read_link(reader, b, adjectives, &synset));
    }
    ADAMOE_TRY(read_field(reader, "the bar before the definition", &bar));
    if (strcmp(bar, "|") != 0 || reader->at == NULL) {
        return bad_line(reader, "a definition is missing");
    }
    synset.gloss = reader->at;
    adamoe_synset *moved = grown(b->wordnet->synset, b->wordnet->synsets, &b->synsets, sizeof *moved);
    if (moved == NULL) {
        return out_of_memory();
    }
    b->wordnet->synset = moved;
    moved[b->wordnet->synsets++] = synset;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- lemmas */

static adamoe_status append_sense(builder *b, uint32_t offset)
{
    uint32_t *moved = grown(b->wordnet->sense, b->sense_count, &b->senses, sizeof *moved);
    if (moved == NULL) {
        return out_of_memory();
    }
    b->wordnet->sense = moved;
    moved[b->sense_count++] = offset;
    return adamoe_ok();
}

/* lemma n synsets links {symbol} senses tagged {offset} */
static adamoe_status read_lemma(line_reader *reader, builder *b)
{
    adamoe_lemma lemma = {.first_sense = (uint32_t)b->sense_count};
    char *word, *symbol;
    uint32_t links, again, offset;
    ADAMOE_TRY(read_field(reader, "word", &word));
    ADAMOE_TRY(read_field(reader, "part of speech", &symbol));
    ADAMOE_TRY(read_number(reader, "number of synsets", 10, 0, &lemma.senses));
    ADAMOE_TRY(read_number(reader, "number of symbols", 10, 0, &links));
    for (uint32_t i = 0; i < links; ++i) {
        ADAMOE_TRY(read_field(reader, "symbol", &symbol));
    }
    ADAMOE_TRY(read_number(reader, "number of senses", 10, 0, &again));
    ADAMOE_TRY(read_number(reader, "number of tagged senses", 10, 0, &lemma.tagged));
    if (lemma.senses == 0 || again != lemma.senses || lemma.tagged > lemma.senses) {
        return bad_line(reader, "the numbers of senses do not agree");
    }
    for (uint32_t i = 0; i < lemma.senses; ++i) {
        ADAMOE_TRY(read_number(reader, "offset of a sense", 10, 8, &offset));
        ADAMOE_TRY(append_sense(b, offset));
    }
    adamoe_wordnet *wordnet = b->wordnet;
    if (wordnet->lemmas > 0 && strcmp(wordnet->lemma[wordnet->lemmas - 1].word, word) >= 0) {
        return bad_line(reader, "the words are not in order");
    }
    adamoe_lemma *moved = grown(wordnet->lemma, wordnet->lemmas, &b->lemmas, sizeof *moved);
    if (moved == NULL) {
        return out_of_memory();
    }
    wordnet->lemma = moved;
    lemma.word = word;
    moved[wordnet->lemmas++] = lemma;
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------- files and links */

/* Lines that begin with a blank are the licence. */
static adamoe_status read_lines(const adamoe_wordnet_file *file, size_t which, builder *b)
{
    line_reader reader = {.path = file->path};
    char *text = malloc(file->size + 1);
    if (text == NULL) {
        return out_of_memory();
    }
    b->wordnet->text[which] = text;
    if (file->size > 0) {
        memcpy(text, file->text, file->size);
    }
    text[file->size] = '\0';
    for (char *line = text; line < text + file->size;) {
        char *end = memchr(line, '\n', (size_t)(text + file->size - line));
        char *next = end == NULL ? text + file->size : end + 1;
        ++reader.line;
        if (end == NULL || memchr(line, '\0', (size_t)(end - line)) != NULL) {
            return bad_line(&reader, end == NULL ? "the file ends within the line" : "a zero byte");
        }
        *end = '\0';
        reader.at = line;
        if (*line != ' ') {
            ADAMOE_TRY(which == ADAMOE_INDEX_NOUN
                           ? read_lemma(&reader, b)
                           : read_synset(&reader, (size_t)(line - text), which == ADAMOE_DATA_ADJECTIVE, b));
        }
        line = next;
    }
    return adamoe_ok();
}

/* Index of the synset at `offset` among `count` from `first` on, or UINT32_MAX. */
static uint32_t find_synset(const adamoe_wordnet *wordnet, size_t first, size_t count, uint32_t offset)
{
    while (count > 0) {
        const size_t half = count / 2;
        const uint32_t found = wordnet->synset[first + half].offset;
        if (found == offset) {
            return (uint32_t)(first + half);
        }
        first += found < offset ? half + 1 : 0;
        count = found < offset ? count - half - 1 : half;
    }
    return UINT32_MAX;
}

static adamoe_status resolve_links(adamoe_wordnet *wordnet, const adamoe_wordnet_file *file)
{
    for (size_t s = 0; s < wordnet->synsets; ++s) {
        const adamoe_synset *synset = &wordnet->synset[s];
        for (size_t i = synset->first_link; i < synset->first_link + synset->links; ++i) {
            adamoe_wordnet_link *link = &wordnet->link[i];
            const bool adjective = (s >= wordnet->nouns) != (link->relation == ADAMOE_ATTRIBUTE);
            const size_t first = adjective ? wordnet->nouns : 0;
            const size_t count = adjective ? wordnet->synsets - wordnet->nouns : wordnet->nouns;
            const uint32_t target = find_synset(wordnet, first, count, link->target);
            if (target == UINT32_MAX) {
                return adamoe_error(ADAMOE_BAD_INPUT,
                                    "%.300s: synset %08u: a link to %08u, which does not exist",
                                    file[s < wordnet->nouns ? ADAMOE_DATA_NOUN : ADAMOE_DATA_ADJECTIVE].path,
                                    synset->offset, link->target);
            }
            link->target = target;
        }
    }
    return adamoe_ok();
}

static adamoe_status resolve_senses(adamoe_wordnet *wordnet, const adamoe_wordnet_file *file, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        const uint32_t synset = find_synset(wordnet, 0, wordnet->nouns, wordnet->sense[i]);
        if (synset == UINT32_MAX) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%.300s: synset %08u: a sense that does not exist",
                                file[ADAMOE_INDEX_NOUN].path, wordnet->sense[i]);
        }
        wordnet->sense[i] = synset;
    }
    return adamoe_ok();
}

static adamoe_status read_files(const adamoe_wordnet_file *file, adamoe_wordnet *wordnet)
{
    builder b = {.wordnet = wordnet};
    ADAMOE_TRY(read_lines(&file[ADAMOE_DATA_NOUN], ADAMOE_DATA_NOUN, &b));
    wordnet->nouns = wordnet->synsets;
    ADAMOE_TRY(read_lines(&file[ADAMOE_DATA_ADJECTIVE], ADAMOE_DATA_ADJECTIVE, &b));
    ADAMOE_TRY(read_lines(&file[ADAMOE_INDEX_NOUN], ADAMOE_INDEX_NOUN, &b));
    ADAMOE_TRY(resolve_links(wordnet, file));
    return resolve_senses(wordnet, file, b.sense_count);
}

adamoe_status adamoe_wordnet_parse(const adamoe_wordnet_file file[ADAMOE_WORDNET_FILES], adamoe_wordnet **out)
{
    adamoe_wordnet *wordnet = calloc(1, sizeof *wordnet);
    if (wordnet == NULL) {
        return out_of_memory();
    }
    const adamoe_status status = read_files(file, wordnet);
    if (status.code != ADAMOE_OK) {
        adamoe_wordnet_free(wordnet);
        return status;
    }
    *out = wordnet;
    return status;
}

adamoe_status adamoe_wordnet_open(const char *folder, adamoe_wordnet **out)
{
    static const char *const name[ADAMOE_WORDNET_FILES] = {"data.noun", "data.adj", "index.noun"};
    char path[ADAMOE_WORDNET_FILES][PATH_MAX];
    adamoe_mapped_file mapped[ADAMOE_WORDNET_FILES] = {{NULL, 0}};
    adamoe_wordnet_file file[ADAMOE_WORDNET_FILES];
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < ADAMOE_WORDNET_FILES && status.code == ADAMOE_OK; ++i) {
        const int length = snprintf(path[i], PATH_MAX, "%s/%s", folder, name[i]);
        status = length < 0 || length >= PATH_MAX
                     ? adamoe_error(ADAMOE_BAD_INPUT, "%.200s...: open: the path is too long", folder)
                     : adamoe_mapped_file_open(path[i], &mapped[i]);
        file[i] = (adamoe_wordnet_file){path[i], (const char *)mapped[i].data, mapped[i].size};
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_wordnet_parse(file, out);
    }
    for (size_t i = 0; i < ADAMOE_WORDNET_FILES; ++i) {
        adamoe_mapped_file_close(&mapped[i]);
    }
    return status;
}

void adamoe_wordnet_free(adamoe_wordnet *wordnet)
{
    if (wordnet != NULL) {
        free(wordnet->synset);
        free(wordnet->link);
        free(wordnet->lemma);
        free(wordnet->sense);
        for (size_t i = 0; i < ADAMOE_WORDNET_FILES; ++i) {
            free(wordnet->text[i]);
        }
        free(wordnet);
    }
}

static int compare_word(const void *word, const void *lemma)
{
    return strcmp(word, ((const adamoe_lemma *)lemma)->word);
}

const adamoe_lemma *adamoe_wordnet_find(const adamoe_wordnet *wordnet, const char *word)
{
    return wordnet->lemmas == 0
               ? NULL
               : bsearch(word, wordnet->lemma, wordnet->lemmas, sizeof *wordnet->lemma, compare_word);
}
