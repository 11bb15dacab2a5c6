/*
 * The arrays of a batch, cut from one block of memory.
 */
#include "train/lora_network_parts.h"

#include <stdlib.h>

#define LINE_BYTES 64

/* Logits that are held at a time, in floats: 32 MiB. */
#define HEAD_FLOATS ((size_t)8 << 20)

/* Hands out parts of a block; without one it only counts. */
typedef struct cutter {
    unsigned char *memory;
    size_t used;
} cutter;

static void *cut(cutter *c, size_t count, size_t element_bytes)
{
    void *part = c->memory == NULL ? NULL : c->memory + c->used;
    c->used += (count * element_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    return part;
}

static float *cut_floats(cutter *c, size_t count)
{
    return cut(c, count, sizeof(float));
}

/* Selected true experts of a token at most. */
static size_t most_places(const adamoe_lora_network *n)
{
    return n->sizes.rule.top_k < n->sizes.experts ? n->sizes.rule.top_k : n->sizes.experts;
}

static void cut_layer(const adamoe_lora_network *n, cutter *c, network_layer *layer)
{
    const adamoe_config *config = n->config;
    const size_t t = n->tokens, d = config->hidden_size, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim, places = t * most_places(n);
    layer->attention_input = cut_floats(c, t * d);
    layer->query = cut_floats(c, t * q);
    layer->key = cut_floats(c, t * kv);
    layer->value = cut_floats(c, t * kv);
    layer->mixed = cut_floats(c, t * q);
    layer->middle = cut_floats(c, t * d);
    layer->gate = cut_floats(c, t * config->intermediate_size);
    layer->up = cut_floats(c, t * config->intermediate_size);
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        layer->map[map].h = cut_floats(c, places * n->sizes.rank);
        layer->map[map].place = cut(c, places, sizeof(uint32_t));
    }
}

/* What only the way back needs. */
static void cut_backward(const adamoe_lora_network *n, cutter *c, network_arrays *at)
{
    const adamoe_config *config = n->config;
    const size_t t = n->tokens, d = config->hidden_size, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim;
    at->dresidual = cut_floats(c, t * d);
    at->dnormed = cut_floats(c, t * d);
    at->dhidden = cut_floats(c, t * config->intermediate_size);
    at->dquery = cut_floats(c, t * q);
    at->dkey = cut_floats(c, t * kv);
    at->dvalue = cut_floats(c, t * kv);
    at->dmixed = cut_floats(c, t * q);
    at->dh = cut_floats(c, t * most_places(n) * n->sizes.rank);
    at->dlogits = cut_floats(c, t * network_all(n));
    at->shares = cut_floats(c, n->with.team->threads * 2 * n->longest);
    at->dfinal_normed = cut_floats(c, n->wanted * d);
}

static void cut_shared(const adamoe_lora_network *n, cutter *c, network_arrays *at)
{
    const adamoe_config *config = n->config;
    const size_t t = n->tokens, d = config->hidden_size, angles = n->longest * (config->head_dim / 2);
    const size_t numbers = t > network_all(n) ? t : network_all(n);
    at->output = cut_floats(c, t * d);
    at->normed = cut_floats(c, t * d);
    at->update = cut_floats(c, t * d);
    at->hidden = cut_floats(c, t * config->intermediate_size);
    at->thread_floats = cut_floats(c, n->with.team->threads * n->thread_room);
    at->thread_rows = cut(c, n->with.team->threads * n->thread_room, sizeof(size_t));
    at->cosine = cut_floats(c, angles);
    at->sine = cut_floats(c, angles);
    at->minus_sine = cut_floats(c, angles);
    at->final_normed = cut_floats(c, n->wanted * d);
    at->head_logits = cut_floats(c, n->head_rows * config->vocab_size);
    at->position = cut(c, t, sizeof(size_t));
    at->number = cut(c, numbers, sizeof(size_t));
    at->wanted = cut(c, n->wanted, sizeof(uint32_t));
    at->first_goal = cut(c, n->wanted + 1, sizeof(size_t));
    at->goal = cut(c, n->goals, sizeof(uint32_t));
    at->log_probability = cut(c, n->goals, sizeof(double));
}

/* Returns the bytes that are needed. */
static size_t cut_all(adamoe_lora_network *n, unsigned char *memory)
{
    cutter c = {memory, 0};
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
    const size_t fit = HEAD_FLOATS / n->config->vocab_size + 1;
    n->head_rows = n->wanted < fit ? n->wanted : fit;
    n->thread_room = most_places(n) * n->sizes.rank;
    const size_t bytes = cut_all(n, NULL) + LINE_BYTES;
    if (bytes > n->memory_bytes) {
        free(n->memory);
        n->memory_bytes = 0;
        n->memory = aligned_alloc(LINE_BYTES, bytes);
        if (n->memory == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA network: out of memory for %zu tokens", n->tokens);
        }
        n->memory_bytes = bytes;
    }
    (void)cut_all(n, n->memory);
    return network_reserve(n);
}
