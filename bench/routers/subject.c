/*
 * One layer and hidden states that arrive at it: drawn, or those of a model that reads a text.
 */
#include "files/mapped_file.h"
#include "layers/random_layer.h"
#include "model.h"
#include "program/model_folder.h"
#include "routers/side_by_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "routers: out of memory");
}

void adamoe_subject_free(adamoe_subject *subject)
{
    free(subject->x);
    if (subject->release != NULL) {
        subject->release(subject->owned);
    }
    *subject = (adamoe_subject){.x = NULL};
}

static void connect(adamoe_subject *out, size_t tokens, size_t top_k, uint64_t seed)
{
    out->tokens = (adamoe_router_subject){
        .tokens = tokens, .top_k = top_k, .x = out->x, .layer = &out->layer, .seed = seed};
}

/* ------------------------------------------------------------------------------------------------- presets */

static void release_random(void *owned)
{
    adamoe_random_layer_free(owned);
    free(owned);
}

adamoe_status adamoe_subject_of_preset(const adamoe_preset *preset, size_t tokens, uint64_t seed,
                                       adamoe_subject *out)
{
    const adamoe_layer_sizes sizes = {.hidden_size = preset->hidden_size,
                                      .intermediate_size = preset->intermediate_size,
                                      .experts = preset->mixture.experts};
    adamoe_random_layer *layer = calloc(1, sizeof *layer);
    adamoe_splitmix64 random = adamoe_random_for("routers", seed);
    *out = (adamoe_subject){
        .owned = layer, .release = release_random, .x = calloc(tokens * preset->hidden_size, sizeof *out->x)};
    if (layer == NULL || out->x == NULL) {
        free(layer);
        out->release = NULL;
        adamoe_subject_free(out);
        return no_memory();
    }
    const adamoe_status status = adamoe_random_layer_create(sizes, preset->weights, 0, &random, layer);
    if (status.code != ADAMOE_OK) {
        free(layer);
        out->release = NULL;
        adamoe_subject_free(out);
        return status;
    }
    out->layer = layer->layer;
    adamoe_random_states(&random, tokens * preset->hidden_size, out->x);
    connect(out, tokens, preset->baseline_top_k, seed);
    (void)snprintf(out->text, sizeof out->text, "%s, random weights, %zu random tokens", preset->name,
                   tokens);
    return adamoe_ok();
}

/* -------------------------------------------------------------------------------------------------- models */

typedef struct opened_model {
    adamoe_model_folder folder;
    adamoe_expert *expert; /* copies of a dense layer's views, or NULL */
} opened_model;

static void release_model(void *owned)
{
    opened_model *opened = owned;
    adamoe_model_folder_close(&opened->folder);
    free(opened->expert);
    free(opened);
}

/* What is needed to stop a model where its layer's experts begin: the same blocks, the last of which has experts
 * that give 0, so that the final norm, which is the one before those experts, sees what they would. */
typedef struct cut_model {
    adamoe_model model;
    adamoe_block *block;   /* [layers] */
    adamoe_expert *expert; /* [experts] of the last block */
    float *zeros;
    adamoe_cache *cache;
} cut_model;

static void free_cut(cut_model *cut)
{
    free(cut->block);
    free(cut->expert);
    free(cut->zeros);
    adamoe_cache_free(cut->cache);
}

static adamoe_status create_cut(const adamoe_model *model, size_t layer, size_t tokens, cut_model *cut)
{
    const adamoe_layer *moe = &model->block[layer].moe;
    const adamoe_expert *shared = &model->block[layer].shared;
    const size_t widest =
        moe->intermediate_size > shared->w2.columns ? moe->intermediate_size : shared->w2.columns;
    *cut = (cut_model){.model = *model,
                       .block = calloc(layer + 1, sizeof *cut->block),
                       .expert = calloc(moe->experts, sizeof *cut->expert),
                       .zeros = calloc(model->config.hidden_size * widest + 1, sizeof *cut->zeros)};
    if (cut->block == NULL || cut->expert == NULL || cut->zeros == NULL) {
        return no_memory();
    }
    memcpy(cut->block, model->block, (layer + 1) * sizeof *cut->block);
    for (size_t e = 0; e < moe->experts; ++e) {
        cut->expert[e] = moe->expert[e];
        cut->expert[e].w2.data = cut->zeros;
        cut->expert[e].w2.dtype = ADAMOE_F32;
    }
    adamoe_block *last = &cut->block[layer];
    last->moe.expert = cut->expert;
    if (model->config.architecture.shared_expert) {
        last->shared.w2.data = cut->zeros;
        last->shared.w2.dtype = ADAMOE_F32;
    }
    cut->model.block = cut->block;
    cut->model.config.layers = layer + 1;
    cut->model.final_norm = last->post_attention_norm;
    return adamoe_cache_create(&cut->model.config, tokens, &cut->cache);
}

static adamoe_status record(const adamoe_model *model, size_t layer, const adamoe_tokens *text, size_t tokens,
                            float *x)
{
    cut_model cut;
    if (model->config.rule.null_kind == ADAMOE_NULL_IDENTITY && model->config.null_experts > 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "a model with identity experts cannot be stopped before them");
    }
    adamoe_status status = create_cut(model, layer, tokens, &cut);
    if (status.code == ADAMOE_OK) {
        status = adamoe_model_forward(&cut.model, cut.cache, text->id, tokens, NULL, x, NULL);
    }
    free_cut(&cut);
    return status;
}

/* The first `tokens` tokens of a file of text. */
static adamoe_status encode(const adamoe_model_folder *folder, const char *path, size_t tokens,
                            adamoe_tokens *text)
{
    const adamoe_config *config = &adamoe_checkpoint_model(folder->checkpoint)->config;
    adamoe_mapped_file file;
    if (tokens > config->context) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--tokens: %zu, the model's context is %zu", tokens,
                            config->context);
    }
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    /* no token of the tokenizers that are read stands for more than this */
    const size_t most = tokens * 64, length = file.size < most ? file.size : most;
    size_t end = length;
    while (end > 0 && end < file.size && (file.data[end] & 0xc0u) == 0x80u) {
        --end; /* a character stays whole */
    }
    adamoe_status status =
        adamoe_tokenizer_encode(folder->tokenizer, (const char *)file.data, end, true, text);
    adamoe_mapped_file_close(&file);
    if (status.code == ADAMOE_OK && text->count < tokens) {
        status = adamoe_error(ADAMOE_BAD_INPUT, "%zu tokens, fewer than %zu", text->count, tokens);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_model_folder_knows(config->vocab_size, text);
    }
    return status;
}

/* A dense layer becomes copies of itself, whose gate is left to be drawn. */
static adamoe_status upcycle(opened_model *opened, size_t experts, adamoe_layer *layer)
{
    opened->expert = calloc(experts, sizeof *opened->expert);
    if (opened->expert == NULL) {
        return no_memory();
    }
    for (size_t e = 0; e < experts; ++e) {
        opened->expert[e] = layer->expert[0];
    }
    layer->expert = opened->expert;
    layer->experts = experts;
    return adamoe_ok();
}

static adamoe_status fill(opened_model *opened, const char *text, size_t index, size_t tokens, size_t experts,
                          adamoe_subject *out)
{
    const adamoe_model *model = adamoe_checkpoint_model(opened->folder.checkpoint);
    adamoe_tokens ids = {0};
    if (index >= model->config.layers) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--layer: %zu, the model has %zu", index, model->config.layers);
    }
    out->x = calloc(tokens * model->config.hidden_size, sizeof *out->x);
    if (out->x == NULL) {
        return no_memory();
    }
    adamoe_status status = encode(&opened->folder, text, tokens, &ids);
    if (status.code == ADAMOE_OK) {
        status = record(model, index, &ids, tokens, out->x);
    }
    adamoe_tokens_free(&ids);
    ADAMOE_TRY(status);
    out->layer = model->block[index].moe;
    out->layer.null_experts = 0;
    out->layer.gate2.rows = 0;
    return model->config.architecture.dense ? upcycle(opened, experts, &out->layer) : adamoe_ok();
}

adamoe_status adamoe_subject_of_model(const char *folder, const char *text, size_t layer, size_t tokens,
                                      size_t experts, uint64_t seed, adamoe_subject *out)
{
    opened_model *opened = calloc(1, sizeof *opened);
    *out = (adamoe_subject){.owned = opened};
    if (opened == NULL) {
        return no_memory();
    }
    adamoe_status status = adamoe_model_folder_open(folder, &opened->folder);
    if (status.code != ADAMOE_OK) {
        free(opened);
        return status;
    }
    out->release = release_model;
    status = fill(opened, text, layer, tokens, experts, out);
    if (status.code != ADAMOE_OK) {
        adamoe_subject_free(out);
        return adamoe_error(status.code, "%.200s: %.280s", folder, status.message);
    }
    const adamoe_config *config = &adamoe_checkpoint_model(opened->folder.checkpoint)->config;
    const bool dense = config->architecture.dense;
    const size_t top_k = config->null_experts > 0 || dense ? 2 : config->rule.top_k;
    connect(out, tokens, top_k < out->layer.experts ? top_k : out->layer.experts, seed);
    (void)snprintf(out->text, sizeof out->text, "layer %zu of %.120s%s, %zu tokens of %.80s", layer, folder,
                   dense ? " as copies" : "", tokens, text);
    return adamoe_ok();
}
