/*
 * The arrays of a batch, cut from one block of memory.
 */
#include "train/lora/lora_network_parts.h"

#include <stdlib.h>

/* Selected true experts of a token at most. */
static size_t most_places(const adamoe_lora_network *n)
{
    return n->sizes.rule.top_k < n->sizes.experts ? n->sizes.rule.top_k : n->sizes.experts;
}

static bool is_normed(const adamoe_lora_network *n)
{
    return n->config->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE;
}

static void cut_layer(const adamoe_lora_network *n, adamoe_cutter *c, network_layer *layer)
{
    const adamoe_config *config = n->config;
    const size_t t = n->tokens, d = config->hidden_size, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim, places = t * most_places(n);
    layer->attention_input = adamoe_cut_floats(c, t * d);
    layer->query = adamoe_cut_floats(c, t * q);
    layer->key = adamoe_cut_floats(c, t * kv);
    layer->value = adamoe_cut_floats(c, t * kv);
    layer->raw_query = is_normed(n) ? adamoe_cut_floats(c, t * q) : layer->query;
    layer->raw_key = is_normed(n) ? adamoe_cut_floats(c, t * kv) : layer->key;
    layer->mixed = adamoe_cut_floats(c, t * q);
    layer->middle = adamoe_cut_floats(c, t * d);
    layer->gate = adamoe_cut_floats(c, t * config->intermediate_size);
    layer->up = adamoe_cut_floats(c, t * config->intermediate_size);
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        layer->map[map].h = adamoe_cut_floats(c, places * n->sizes.rank);
        layer->map[map].place = adamoe_cut(c, places, sizeof(uint32_t));
    }
}

/* What only the way back needs. */
static void cut_backward(const adamoe_lora_network *n, adamoe_cutter *c, network_arrays *at)
{
    const adamoe_config *config = n->config;
    const size_t t = n->tokens, d = config->hidden_size, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim;
    at->dresidual = adamoe_cut_floats(c, t * d);
    at->dnormed = adamoe_cut_floats(c, t * d);
    at->dhidden = adamoe_cut_floats(c, t * config->intermediate_size);
    at->dquery = adamoe_cut_floats(c, t * q);
    at->dkey = adamoe_cut_floats(c, t * kv);
    at->dvalue = adamoe_cut_floats(c, t * kv);
    at->draw = adamoe_cut_floats(c, is_normed(n) ? t * (q > kv ? q : kv) : 0);
    at->dmixed = adamoe_cut_floats(c, t * q);
    at->dh = adamoe_cut_floats(c, t * most_places(n) * n->sizes.rank);
    at->dlogits = adamoe_cut_floats(c, t * network_all(n));
    at->shares = adamoe_cut_floats(c, n->with.team->threads * 2 * n->longest);
    at->dfinal_normed = adamoe_cut_floats(c, n->wanted * d);
}

static void cut_shared(const adamoe_lora_network *n, adamoe_cutter *c, network_arrays *at)
{
    const adamoe_config *config = n->config;
    const size_t t = n->tokens, d = config->hidden_size, angles = n->longest * (config->head_dim / 2);
    const size_t numbers = t > network_all(n) ? t : network_all(n);
    at->output = adamoe_cut_floats(c, t * d);
    at->normed = adamoe_cut_floats(c, t * d);
    at->update = adamoe_cut_floats(c, t * d);
    at->hidden = adamoe_cut_floats(c, t * config->intermediate_size);
    at->thread_floats = adamoe_cut_floats(c, n->with.team->threads * n->thread_room);
    at->thread_rows = adamoe_cut(c, n->with.team->threads * n->thread_room, sizeof(size_t));
    at->cosine = adamoe_cut_floats(c, angles);
    at->sine = adamoe_cut_floats(c, angles);
    at->minus_sine = adamoe_cut_floats(c, angles);
    at->final_normed = adamoe_cut_floats(c, n->wanted * d);
    at->head_logits = adamoe_cut_floats(c, n->head_rows * config->vocab_size);
    at->position = adamoe_cut(c, t, sizeof(size_t));
    at->number = adamoe_cut(c, numbers, sizeof(size_t));
    at->wanted = adamoe_cut(c, n->wanted, sizeof(uint32_t));
    at->first_goal = adamoe_cut(c, n->wanted + 1, sizeof(size_t));
    at->goal = adamoe_cut(c, n->goals, sizeof(uint32_t));
    at->log_probability = adamoe_cut(c, n->goals, sizeof(double));
}

/* Returns the bytes that are needed. */
static size_t cut_all(adamoe_lora_network *n, unsigned char *block)
{
    adamoe_cutter c = {block, 0};
    for (size_t layer = 0; layer < (n->keeps ? n->config->layers : 1); ++layer) {
        cut_layer(n, &c, &n->layer[layer]);
    }
    cut_shared(n, &c, &n->at);
    if (n->gradient != NULL) {
        cut_backward(n, &c, &n->at);
    }
    return c.used;
}

adamoe_status network_lay_out_spans(adamoe_lora_network *n, size_t sequences)
{
    if (sequences > n->span_room) {
        free(n->span);
        n->span_room = 0;
        n->span = calloc(sequences, sizeof *n->span);
        if (n->span == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA network: out of memory for %zu sequences",
                                sequences);
        }
        n->span_room = sequences;
    }
    n->sequences = sequences;
    n->call.span = n->span;
    n->call.spans = sequences;
    return adamoe_ok();
}

adamoe_status network_lay_out(adamoe_lora_network *n)
{
    const size_t fit = ADAMOE_HEAD_FLOATS / n->config->vocab_size + 1;
    n->head_rows = n->wanted < fit ? n->wanted : fit;
    n->thread_room = most_places(n) * n->sizes.rank;
    ADAMOE_TRY(adamoe_batch_memory_reserve(&n->memory, cut_all(n, NULL), "LoRA network", n->tokens));
    (void)cut_all(n, n->memory.block);
    return network_reserve(n);
}
