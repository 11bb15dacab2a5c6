/*
 * adamoe generate: greedy text from a model on the reference kernel.
 */
#include "model_folder.h"
#include "options.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_MODEL = 1,
    OPTION_PROMPT,
    OPTION_TOKENS,
};

typedef struct generate_options {
    const char *model, *prompt;
    size_t tokens;
} generate_options;

static const struct argp_option options_list[] = {
    {"model", OPTION_MODEL, "DIR", 0, "Hugging Face folder (required)", 0},
    {"prompt", OPTION_PROMPT, "TEXT", 0, "What the text begins with (default: nothing)", 0},
    {"tokens", OPTION_TOKENS, "N", 0, "Tokens to add at most (default: 64)", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    generate_options *o = state->input;
    switch (key) {
    case OPTION_MODEL:
        o->model = value;
        return 0;
    case OPTION_PROMPT:
        o->prompt = value;
        return 0;
    case OPTION_TOKENS:
        o->tokens = (size_t)adamoe_parse_count(state, "--tokens", value, 0, 1u << 30);
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

static const struct argp generate_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Continues a prompt with the most probable token each time, on the reference kernel, until the "
           "end-of-text "
           "token, the model's context or --tokens ends it."
           "\vExample, in the project's folder:\n"
           "  adamoe generate --model datasets/tiny-adamoe \\\n"
           "      --prompt 'Question:' --tokens 16\n",
};

static uint32_t most_probable(const float *logits, size_t vocab_size)
{
    size_t best = 0;
    for (size_t v = 1; v < vocab_size; ++v) {
        best = logits[v] > logits[best] ? v : best;
    }
    return (uint32_t)best;
}

/* Runs what the cache does not hold yet, without logits but for the last token. */
static adamoe_status next_logits(const adamoe_model *model, adamoe_cache *cache, const adamoe_tokens *text,
                                 float *logits)
{
    const size_t quiet = text->count - cache->length - 1;
    ADAMOE_TRY(adamoe_model_forward(model, cache, text->id + cache->length, quiet, NULL, NULL, NULL));
    return adamoe_model_forward(model, cache, text->id + cache->length, 1, NULL, NULL, logits);
}

static adamoe_status extend(const adamoe_model *model, adamoe_cache *cache, size_t tokens,
                            adamoe_tokens *text, float *logits)
{
    const adamoe_config *config = &model->config;
    for (size_t i = 0; i < tokens && text->count < config->context; ++i) {
        ADAMOE_TRY(next_logits(model, cache, text, logits));
        const uint32_t token = most_probable(logits, config->vocab_size);
        if (config->has_eos && token == config->eos) {
            return adamoe_ok();
        }
        ADAMOE_TRY(adamoe_tokens_append(text, token));
    }
    return adamoe_ok();
}

static adamoe_status encode_prompt(const adamoe_model_folder *folder, const char *prompt, adamoe_tokens *text)
{
    const size_t context = adamoe_checkpoint_model(folder->checkpoint)->config.context;
    ADAMOE_TRY(adamoe_tokenizer_encode(folder->tokenizer, prompt, strlen(prompt), true, text));
    if (text->count == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "it has no token, and the tokenizer adds none at the beginning");
    }
    if (text->count > context) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%zu tokens, the model's context is %zu", text->count, context);
    }
    return adamoe_ok();
}

/* `text` fits into the model's context. */
static adamoe_status generate(const adamoe_model *model, size_t tokens, adamoe_tokens *text)
{
    const adamoe_config *config = &model->config;
    const size_t room = config->context - text->count;
    adamoe_cache *cache = NULL;
    float *logits = calloc(config->vocab_size, sizeof *logits);
    if (logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "logits: out of memory");
    }
    adamoe_status status = adamoe_cache_create(config, text->count + (tokens < room ? tokens : room), &cache);
    if (status.code == ADAMOE_OK) {
        status = extend(model, cache, tokens, text, logits);
    }
    adamoe_cache_free(cache);
    free(logits);
    return status;
}

static adamoe_status print_text(const adamoe_tokenizer *tokenizer, const adamoe_tokens *tokens)
{
    char *text = NULL;
    size_t length = 0;
    ADAMOE_TRY(adamoe_tokenizer_decode(tokenizer, tokens->id, tokens->count, true, &text, &length));
    fwrite(text, 1, length, stdout);
    putchar('\n');
    free(text);
    return adamoe_ok();
}

/* The same error, with what it is about in front. */
static adamoe_status about(const char *what, adamoe_status status)
{
    return status.code == ADAMOE_OK ? status : adamoe_error(status.code, "%s: %.400s", what, status.message);
}

static adamoe_status run_on(const adamoe_model_folder *folder, const generate_options *o)
{
    adamoe_tokens text = {0};
    adamoe_status status = about("--prompt", encode_prompt(folder, o->prompt, &text));
    if (status.code == ADAMOE_OK) {
        status = about(o->model, generate(adamoe_checkpoint_model(folder->checkpoint), o->tokens, &text));
    }
    if (status.code == ADAMOE_OK) {
        status = about(o->model, print_text(folder->tokenizer, &text));
    }
    adamoe_tokens_free(&text);
    return status;
}

int adamoe_verb_generate(int count, char **arguments)
{
    generate_options options = {.prompt = "", .tokens = 64};
    adamoe_parse(&generate_argp, count, arguments, &options);
    adamoe_model_folder folder;
    adamoe_status status = adamoe_model_folder_open(options.model, &folder);
    if (status.code == ADAMOE_OK) {
        status = run_on(&folder, &options);
        adamoe_model_folder_close(&folder);
    }
    return adamoe_finish("generate", status);
}
