/*
 * adamoe-generate: writes anew what the tests use, in tests/golden/generated. Everything follows from one
 * seed.
 *
 *     FOLDER/arc-style/questions.jsonl     questions made from the tables of facts
 *     FOLDER/random-adamoe/tokenizer.json  a vocabulary learned from those questions
 *     FOLDER/random-adamoe/config.json     and model.safetensors: an AdaMoE checkpoint with random weights
 *
 * or, with --wordnet, what ships in datasets/wordnet, from the files of Debian's package wordnet-base:
 *
 *     FOLDER/wordnet/corpus.txt            WordNet's facts as sentences
 *     FOLDER/wordnet/train.jsonl, dev.jsonl, test.jsonl
 *
 * Left out: training.
 */
#include "generate/question_set.h"
#include "generate/random_checkpoint.h"
#include "generate/tokenizer_file.h"
#include "generate/wordnet_set.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct options {
    const char *folder;
    uint64_t seed;
    size_t questions, vocabulary, concepts;
    const char *wordnet; /* the folder with WordNet's files, or NULL */
    bool write_questions, write_tokenizer, write_checkpoint;
} options;

/* ---------------------------------------------------------------------------------------------- arguments */

enum {
    KEY_ONLY = 256, /* without a short form: -o names an output file elsewhere */
    KEY_WORDNET,
    KEY_CONCEPTS,
};

static uint64_t parse_number(const char *text, const char *name, struct argp_state *state)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        argp_error(state, "--%s: \"%s\" is not a number", name, text);
    }
    return number;
}

static void parse_only(const char *part, options *out, struct argp_state *state)
{
    out->write_questions = strcmp(part, "questions") == 0;
    out->write_tokenizer = strcmp(part, "tokenizer") == 0;
    out->write_checkpoint = strcmp(part, "checkpoint") == 0;
    if (!out->write_questions && !out->write_tokenizer && !out->write_checkpoint) {
        argp_error(state, "--only: \"%s\" is none of questions, tokenizer, checkpoint", part);
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    options *out = state->input;
    switch (key) {
    case 's':
        out->seed = parse_number(argument, "seed", state);
        return 0;
    case 'q':
        out->questions = parse_number(argument, "questions", state);
        return 0;
    case 'v':
        out->vocabulary = parse_number(argument, "vocabulary", state);
        return 0;
    case KEY_ONLY:
        parse_only(argument, out, state);
        return 0;
    case KEY_WORDNET:
        out->wordnet = argument;
        return 0;
    case KEY_CONCEPTS:
        out->concepts = parse_number(argument, "concepts", state);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            argp_error(state, "more than one FOLDER");
        }
        out->folder = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "FOLDER is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"seed", 's', "N", 0, "Seed of everything (default 1)", 0},
    {"questions", 'q', "N", 0, "Number of questions (default 200)", 0},
    {"vocabulary", 'v', "N", 0, "Size of the vocabulary (default 512)", 0},
    {"wordnet", KEY_WORDNET, "DIR", 0,
     "Write FOLDER/wordnet, from WordNet's files in DIR (/usr/share/wordnet), and nothing else", 0},
    {"concepts", KEY_CONCEPTS, "N", 0, "With --wordnet: number of nouns (default 4000)", 0},
    {"only", KEY_ONLY, "PART", 0, "Write only questions, tokenizer or checkpoint", 0},
    {0},
};

static const struct argp argp = {
    argp_options,
    parse_option,
    "FOLDER",
    "Writes the question set, the tokenizer and the random checkpoint that ship in datasets/ into FOLDER; "
    "or, "
    "with --wordnet, questions and a text corpus from WordNet.\v"
    "Examples: adamoe-generate --seed 1 datasets\n"
    "          adamoe-generate --seed 1 --wordnet /usr/share/wordnet datasets",
    NULL,
    NULL,
    NULL,
};

/* -------------------------------------------------------------------------------------------------- steps */

static adamoe_status make_folder(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: create: %s", path, strerror(errno));
    }
    return adamoe_ok();
}

typedef struct path_text {
    char text[PATH_MAX];
} path_text;

static adamoe_status join(const char *folder, const char *name, path_text *out)
{
    const int length = snprintf(out->text, sizeof out->text, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof out->text) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%.200s...: open: the path is too long", folder);
    }
    return adamoe_ok();
}

/* What a model reads: the question with its answer, and each wrong choice by itself, so that the wrong ones
 * have pieces too. The texts are the caller's to free, also on an error. */
static adamoe_status make_texts(const adamoe_questions *questions, char **text, size_t *texts)
{
    for (size_t i = 0; i < questions->count; i++) {
        const adamoe_question *question = &questions->question[i];
        for (size_t j = 0; j < question->choices; j++) {
            const char *choice = question->text[j];
            char *made = NULL;
            const int length = j == question->gold
                                   ? asprintf(&made, "Question: %s\nAnswer: %s", question->stem, choice)
                                   : asprintf(&made, "%s", choice);
            if (length < 0) {
                return adamoe_error(ADAMOE_ENVIRONMENT, "vocabulary: out of memory");
            }
            text[(*texts)++] = made;
        }
    }
    return adamoe_ok();
}

static adamoe_status learn(const adamoe_questions *questions, size_t vocabulary, adamoe_byte_pairs **out)
{
    if (vocabulary <= ADAMOE_TOKENIZER_FIXED_TOKENS || vocabulary > 65536) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--vocabulary %zu: must be %d to 65536", vocabulary,
                            ADAMOE_TOKENIZER_FIXED_TOKENS + 1);
    }
    size_t capacity = 0, texts = 0;
    for (size_t i = 0; i < questions->count; i++) {
        capacity += questions->question[i].choices;
    }
    char **text = calloc(capacity, sizeof *text);
    if (text == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "vocabulary: out of memory");
    }
    adamoe_status status = make_texts(questions, text, &texts);
    if (status.code == ADAMOE_OK) {
        const size_t pieces = vocabulary - ADAMOE_TOKENIZER_FIXED_TOKENS;
        status = adamoe_byte_pairs_train((const char *const *)text, texts, pieces, out);
    }
    for (size_t i = 0; i < texts; i++) {
        free(text[i]);
    }
    free(text);
    return status;
}

static adamoe_status write_questions(const options *chosen, const adamoe_questions *questions)
{
    path_text folder, file;
    ADAMOE_TRY(join(chosen->folder, "arc-style", &folder));
    ADAMOE_TRY(join(folder.text, "questions.jsonl", &file));
    ADAMOE_TRY(make_folder(folder.text));
    ADAMOE_TRY(adamoe_question_set_write(file.text, questions));
    printf("%s: %zu questions\n", file.text, questions->count);
    return adamoe_ok();
}

static adamoe_status write_model(const options *chosen, const adamoe_byte_pairs *pairs)
{
    path_text folder, file;
    ADAMOE_TRY(join(chosen->folder, "random-adamoe", &folder));
    const size_t vocab_size = ADAMOE_TOKENIZER_FIXED_TOKENS + pairs->pieces;
    ADAMOE_TRY(make_folder(folder.text));
    if (chosen->write_tokenizer) {
        ADAMOE_TRY(join(folder.text, "tokenizer.json", &file));
        ADAMOE_TRY(adamoe_tokenizer_file_write(file.text, pairs));
        printf("%s: %zu tokens, %zu merges\n", file.text, vocab_size, pairs->merges);
    }
    if (chosen->write_checkpoint) {
        ADAMOE_TRY(adamoe_random_checkpoint_write(folder.text, chosen->seed, vocab_size));
        printf("%s: config.json, model.safetensors\n", folder.text);
    }
    return adamoe_ok();
}

static adamoe_status write_parts(const options *chosen, const adamoe_questions *questions,
                                 const adamoe_byte_pairs *pairs)
{
    ADAMOE_TRY(make_folder(chosen->folder));
    if (chosen->write_questions) {
        ADAMOE_TRY(write_questions(chosen, questions));
    }
    return chosen->write_tokenizer || chosen->write_checkpoint ? write_model(chosen, pairs) : adamoe_ok();
}

static adamoe_status write_wordnet(const options *chosen, const adamoe_knowledge *knowledge,
                                   adamoe_questions *const questions[ADAMOE_SPLITS])
{
    static const char *const name[ADAMOE_SPLITS] = {"train.jsonl", "dev.jsonl", "test.jsonl"};
    enum { FORMS_OF_A_FACT = 3 };
    path_text folder, file;
    size_t sentences = 0;
    ADAMOE_TRY(join(chosen->folder, "wordnet", &folder));
    ADAMOE_TRY(make_folder(chosen->folder));
    ADAMOE_TRY(make_folder(folder.text));
    for (size_t s = 0; s < ADAMOE_SPLITS; s++) {
        ADAMOE_TRY(join(folder.text, name[s], &file));
        ADAMOE_TRY(adamoe_question_set_write(file.text, questions[s]));
        printf("%s: %zu questions\n", file.text, questions[s]->count);
    }
    ADAMOE_TRY(join(folder.text, "corpus.txt", &file));
    ADAMOE_TRY(adamoe_wordnet_corpus_write(file.text, knowledge, chosen->seed, FORMS_OF_A_FACT, &sentences));
    printf("%s: %zu sentences of %zu facts about %zu concepts\n", file.text, sentences, knowledge->facts,
           knowledge->concepts);
    return adamoe_ok();
}

static adamoe_status generate_wordnet(const options *chosen)
{
    static const size_t limit[ADAMOE_SPLITS] = {1500, 300, 1000};
    adamoe_wordnet *wordnet = NULL;
    adamoe_knowledge *knowledge = NULL;
    adamoe_questions *questions[ADAMOE_SPLITS] = {NULL};
    adamoe_status status = adamoe_wordnet_open(chosen->wordnet, &wordnet);
    if (status.code == ADAMOE_OK) {
        status = adamoe_knowledge_create(wordnet, chosen->seed, chosen->concepts, &knowledge);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_wordnet_questions(knowledge, chosen->seed, limit, questions);
    }
    if (status.code == ADAMOE_OK) {
        status = write_wordnet(chosen, knowledge, questions);
    }
    for (size_t s = 0; s < ADAMOE_SPLITS; s++) {
        adamoe_questions_free(questions[s]);
    }
    adamoe_knowledge_free(knowledge);
    adamoe_wordnet_free(wordnet);
    return status;
}

/* All is made before anything is written, so that a wrong option leaves nothing behind. */
static adamoe_status generate(const options *chosen)
{
    adamoe_questions *questions = NULL;
    adamoe_byte_pairs *pairs = NULL;
    adamoe_status status = adamoe_question_set_make(chosen->seed, chosen->questions, &questions);
    if (status.code == ADAMOE_OK) {
        status = learn(questions, chosen->vocabulary, &pairs);
    }
    if (status.code == ADAMOE_OK) {
        status = write_parts(chosen, questions, pairs);
    }
    adamoe_byte_pairs_free(pairs);
    adamoe_questions_free(questions);
    return status;
}

int main(int argc, char **argv)
{
    options chosen = {
        .seed = 1,
        .questions = 200,
        .vocabulary = 512,
        .concepts = 4000,
        .write_questions = true,
        .write_tokenizer = true,
        .write_checkpoint = true,
    };
    argp_err_exit_status = ADAMOE_BAD_INPUT;
    argp_parse(&argp, argc, argv, 0, NULL, &chosen);

    const adamoe_status status = chosen.wordnet != NULL ? generate_wordnet(&chosen) : generate(&chosen);
    if (status.code != ADAMOE_OK) {
        fprintf(stderr, "adamoe-generate: %s\n", status.message);
    }
    return (int)status.code;
}
