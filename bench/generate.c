/*
 * adamoe generate: greedy text from a model. Each token is computed once, and those after it find its keys
 * and values in a cache.
 */
#include "generation_config.h"
#include "model/forward.h"
#include "machine/host.h"
#include "machine/memory.h"
#include "program/model_folder.h"
#include "program/options.h"
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
    adamoe_common_options common;
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
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
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

static const struct argp_child children[] = {{&adamoe_common_argp, 0, 0, 0}, {0}};

static const struct argp generate_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Continues a prompt with the most probable token each time, until the end-of-text token, the "
           "model's "
           "context or --tokens ends it."
           "\vExample, in the project's folder:\n"
           "  adamoe generate --model datasets/tiny-adamoe \\\n"
           "      --prompt 'a penthouse is a kind of' --tokens 16\n",
    .children = children,
};

static uint32_t most_probable(const float *logits, size_t vocab_size)
{
    size_t best = 0;
    for (size_t v = 1; v < vocab_size; ++v) {
        best = logits[v] > logits[best] ? v : best;
    }
    return (uint32_t)best;
}

/* Who computes the logits, and what it remembers: the naive model, or a prepared one. */
typedef struct writer {
    const adamoe_model *model;
    adamoe_cache *naive_cache; /* NULL where `forward` is there */
    adamoe_machine machine;    /* not opened for the naive model */
    adamoe_forward *forward;
    adamoe_key_value_cache *cache;
    const adamoe_tokens *end; /* of generation_config.json; those of the config end a text too */
    float *logits;            /* [vocab_size] that follow the last token */
} writer;

static void free_writer(writer *w)
{
    adamoe_cache_free(w->naive_cache);
    adamoe_key_value_cache_free(w->cache);
    adamoe_forward_free(w->forward);
    adamoe_machine_close(&w->machine);
    free(w->logits);
}

static adamoe_status prepare(const adamoe_common_options *options, const adamoe_kernel *kernel,
                             size_t positions, writer *w)
{
    const adamoe_config *config = &w->model->config;
    w->logits = calloc(config->vocab_size, sizeof *w->logits);
    if (w->logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "logits: out of memory");
    }
    if (strcmp(kernel->name, "reference") == 0) {
        return adamoe_cache_create(config, positions, &w->naive_cache);
    }
    const adamoe_machine_options wanted = adamoe_options_for_machine(options);
    ADAMOE_TRY(adamoe_machine_open(&wanted, &w->machine));
    ADAMOE_TRY(adamoe_key_value_cache_create(config, positions, &w->cache));
    return adamoe_forward_create(kernel, w->model, w->machine.team, w->machine.placement, &w->machine.host,
                                 adamoe_available_memory() / 2, &w->forward);
}

static void keep_logits(void *context, size_t segment, size_t position, const float *logits)
{
    (void)segment;
    (void)position;
    const writer *w = context;
    memcpy(w->logits, logits, w->model->config.vocab_size * sizeof *logits);
}

/* Runs what the cache does not hold yet, with logits for the last token alone. */
static adamoe_status next_logits(writer *w, const adamoe_tokens *text)
{
    if (w->forward != NULL) {
        const adamoe_batch_hooks hooks = {.context = w, .logits = keep_logits};
        return adamoe_forward_continue(w->forward, w->cache, text->id + w->cache->length,
                                       text->count - w->cache->length, &hooks);
    }
    adamoe_cache *cache = w->naive_cache;
    const size_t quiet = text->count - cache->length - 1;
    ADAMOE_TRY(adamoe_model_forward(w->model, cache, text->id + cache->length, quiet, NULL, NULL, NULL));
    return adamoe_model_forward(w->model, cache, text->id + cache->length, 1, NULL, NULL, w->logits);
}

static bool ends_text(const writer *w, uint32_t token)
{
    const adamoe_config *config = &w->model->config;
    for (size_t i = 0; i < config->eos_count; ++i) {
        if (token == config->eos[i]) {
            return true;
        }
    }
    for (size_t i = 0; i < w->end->count; ++i) {
        if (token == w->end->id[i]) {
            return true;
        }
    }
    return false;
}

static adamoe_status extend(writer *w, size_t tokens, adamoe_tokens *text)
{
    const adamoe_config *config = &w->model->config;
    for (size_t i = 0; i < tokens && text->count < config->context; ++i) {
        ADAMOE_TRY(next_logits(w, text));
        const uint32_t token = most_probable(w->logits, config->vocab_size);
        if (ends_text(w, token)) {
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
    ADAMOE_TRY(
        adamoe_model_folder_knows(adamoe_checkpoint_model(folder->checkpoint)->config.vocab_size, text));
    if (text->count > context) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%zu tokens, the model's context is %zu", text->count, context);
    }
    return adamoe_ok();
}

/* `text` fits into the model's context. */
static adamoe_status generate(const adamoe_model *model, const adamoe_common_options *options,
                              const adamoe_kernel *kernel, size_t tokens, const adamoe_tokens *end,
                              adamoe_tokens *text)
{
    const size_t room = model->config.context - text->count;
    writer w = {.model = model, .end = end};
    adamoe_status status = prepare(options, kernel, text->count + (tokens < room ? tokens : room), &w);
    if (status.code == ADAMOE_OK) {
        status = extend(&w, tokens, text);
    }
    free_writer(&w);
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

static adamoe_status run_on(const adamoe_model_folder *folder, const generate_options *o,
                            const adamoe_kernel *kernel)
{
    adamoe_tokens text = {0}, end = {0};
    adamoe_status status = about("--prompt", encode_prompt(folder, o->prompt, &text));
    if (status.code == ADAMOE_OK) {
        status = adamoe_generation_end_tokens(o->model, &end);
    }
    if (status.code == ADAMOE_OK) {
        status = about(o->model, generate(adamoe_checkpoint_model(folder->checkpoint), &o->common, kernel,
                                          o->tokens, &end, &text));
    }
    if (status.code == ADAMOE_OK) {
        status = about(o->model, print_text(folder->tokenizer, &text));
    }
    adamoe_tokens_free(&end);
    adamoe_tokens_free(&text);
    return status;
}

static adamoe_status run(const generate_options *o, const adamoe_kernel *kernel)
{
    adamoe_model_folder folder;
    ADAMOE_TRY(adamoe_model_folder_open(o->model, &folder));
    const adamoe_status status = run_on(&folder, o, kernel);
    adamoe_model_folder_close(&folder);
    return status;
}

int adamoe_verb_generate(int count, char **arguments)
{
    generate_options options = {.common = {.seed = 1}, .prompt = "", .tokens = 64};
    adamoe_parse(&generate_argp, count, arguments, &options);
    adamoe_registry *registry = NULL;
    const adamoe_kernel *kernel = NULL;
    adamoe_status status = adamoe_choose_kernel(&options.common, &registry, &kernel);
    if (status.code == ADAMOE_OK) {
        const char *product = NULL;
        const adamoe_kernel whole = adamoe_with_dense_product(registry, kernel, &product);
        status = run(&options, &whole);
    }
    adamoe_registry_free(registry);
    return adamoe_finish("generate", status);
}
