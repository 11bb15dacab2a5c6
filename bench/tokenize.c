/*
 * adamoe tokenize: a line of ids for each line of text on standard input, or the other way round.
 */
#include "tokenizer/tokenizer.h"
#include "program/model_folder.h"
#include "program/options.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_MODEL = 1,
    OPTION_NO_SPECIAL,
    OPTION_DECODE,
};

typedef struct tokenize_options {
    const char *model;
    bool no_special, decode;
} tokenize_options;

static const struct argp_option options_list[] = {
    {"model", OPTION_MODEL, "DIR", 0, "Folder with tokenizer.json (required)", 0},
    {"no-special", OPTION_NO_SPECIAL, 0, 0, "Add no special tokens; with --decode, leave them out", 0},
    {"decode", OPTION_DECODE, 0, 0, "Lines of ids to lines of text", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    tokenize_options *o = state->input;
    switch (key) {
    case OPTION_MODEL:
        o->model = value;
        return 0;
    case OPTION_NO_SPECIAL:
        o->no_special = true;
        return 0;
    case OPTION_DECODE:
        o->decode = true;
        return 0;
    case ARGP_KEY_END:
        if (o->model == NULL) {
            argp_error(state, "--model is required");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp tokenize_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Reads lines from standard input and writes a line of token ids for each."
           "\vExample, in the project's folder:\n"
           "  echo 'Question: What is ice?' | \\\n"
           "      adamoe tokenize --model datasets/tiny-adamoe\n",
};

static void print_ids(const adamoe_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; ++i) {
        printf("%s%u", i == 0 ? "" : " ", tokens->id[i]);
    }
    putchar('\n');
}

static adamoe_status encode_line(const tokenize_options *o, const adamoe_tokenizer *tokenizer,
                                 const char *line, size_t length)
{
    adamoe_tokens tokens = {0};
    adamoe_status status = adamoe_tokenizer_encode(tokenizer, line, length, !o->no_special, &tokens);
    if (status.code == ADAMOE_OK) {
        print_ids(&tokens);
    }
    adamoe_tokens_free(&tokens);
    return status;
}

static adamoe_status parse_ids(const char *line, adamoe_tokens *tokens)
{
    const char *at = line;
    for (;;) {
        at += strspn(at, " \t");
        if (*at == '\0') {
            return adamoe_ok();
        }
        char *end = NULL;
        errno = 0;
        const unsigned long id = strtoul(at, &end, 10);
        if (errno != 0 || strchr("0123456789", *at) == NULL || id > UINT32_MAX ||
            strchr(" \t", *end) == NULL) {
            return adamoe_error(ADAMOE_BAD_INPUT, "`%.40s' is not a token id", at);
        }
        ADAMOE_TRY(adamoe_tokens_append(tokens, (uint32_t)id));
        at = end;
    }
}

/* Lines may end as on Windows. */
static adamoe_status decode_line(const tokenize_options *o, const adamoe_tokenizer *tokenizer, char *line,
                                 size_t line_length)
{
    if (line_length > 0 && line[line_length - 1] == '\r') {
        line[--line_length] = '\0';
    }
    if (strlen(line) != line_length) {
        return adamoe_error(ADAMOE_BAD_INPUT, "a zero byte is not part of a token id");
    }
    adamoe_tokens tokens = {0};
    char *text = NULL;
    size_t length = 0;
    adamoe_status status = parse_ids(line, &tokens);
    if (status.code == ADAMOE_OK) {
        status = adamoe_tokenizer_decode(tokenizer, tokens.id, tokens.count, o->no_special, &text, &length);
    }
    if (status.code == ADAMOE_OK) {
        fwrite(text, 1, length, stdout);
        putchar('\n');
    }
    free(text);
    adamoe_tokens_free(&tokens);
    return status;
}

/* getline ends with -1 at the end of the input, and where it fails: to read, or for want of memory. */
static adamoe_status input_error(void)
{
    const int reason = errno;
    return feof(stdin) && !ferror(stdin)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "standard input: read: %s", strerror(reason));
}

static adamoe_status run_lines(const tokenize_options *o, const adamoe_tokenizer *tokenizer)
{
    char *line = NULL;
    size_t capacity = 0, number = 0;
    adamoe_status status = adamoe_ok();
    ssize_t length;
    while (status.code == ADAMOE_OK && (length = getline(&line, &capacity, stdin)) >= 0) {
        ++number;
        if (length > 0 && line[length - 1] == '\n') {
            line[--length] = '\0';
        }
        status = o->decode ? decode_line(o, tokenizer, line, (size_t)length)
                           : encode_line(o, tokenizer, line, (size_t)length);
        if (status.code != ADAMOE_OK) {
            status = adamoe_error(status.code, "standard input: line %zu: %.400s", number, status.message);
        }
    }
    if (status.code == ADAMOE_OK) {
        status = input_error();
    }
    free(line);
    return status;
}

static adamoe_status run(const tokenize_options *o)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/tokenizer.json", o->model) >= sizeof path) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--model: the path is too long");
    }
    adamoe_tokenizer *tokenizer = NULL;
    ADAMOE_TRY(adamoe_tokenizer_open(path, &tokenizer));
    adamoe_model_folder_say_note(path, tokenizer);
    const adamoe_status status = run_lines(o, tokenizer);
    adamoe_tokenizer_close(tokenizer);
    return status;
}

int adamoe_verb_tokenize(int count, char **arguments)
{
    tokenize_options options = {0};
    adamoe_parse(&tokenize_argp, count, arguments, &options);
    return adamoe_finish("tokenize", run(&options));
}
