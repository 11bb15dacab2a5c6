/*
 * The arrays of a batch, cut from one block of memory. What a layer keeps grows with the tokens, and the
 * rows of its plan are at most min(k, n) for each of them.
 */
#include "huge_pages.h"
#include "span_attention.h"
#include "train/backprop_parts.h"

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

static size_t most_rows(const adamoe_backprop *b)
{
    const size_t k = b->config->rule.top_k, n = b->config->experts;
    return b->tokens * (k < n ? k : n);
}

static void cut_layer(const adamoe_backprop *b, cutter *c, backprop_layer *layer)
{
    const adamoe_config *config = b->config;
    const size_t t = b->tokens, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim;
    layer->attention_input = cut_floats(c, t * config->hidden_size);
    layer->query = cut_floats(c, t * q);
    layer->key = cut_floats(c, t * kv);
    layer->value = cut_floats(c, t * kv);
    layer->mixed = cut_floats(c, t * q);
    layer->experts_input = cut_floats(c, t * config->hidden_size);
    layer->gate = cut_floats(c, most_rows(b) * config->intermediate_size);
    layer->up = cut_floats(c, most_rows(b) * config->intermediate_size);
}

static void cut_shared(const adamoe_backprop *b, cutter *c, backprop_arrays *at)
{
    const adamoe_config *config = b->config;
    const size_t t = b->tokens, d = config->hidden_size, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim, rows = most_rows(b);
    const size_t angles = b->longest * (config->head_dim / 2);
    at->output = cut_floats(c, t * d);
    at->normed = cut_floats(c, t * d);
    at->dresidual = cut_floats(c, t * d);
    at->dnormed = cut_floats(c, t * d);
    at->inverse_rms = cut_floats(c, t);
    at->dquery = cut_floats(c, t * q);
    at->dkey = cut_floats(c, t * kv);
    at->dvalue = cut_floats(c, t * kv);
    at->dmixed = cut_floats(c, t * q);
    at->hidden = cut_floats(c, rows * config->intermediate_size);
    at->dhidden = cut_floats(c, rows * config->intermediate_size);
    at->slots = cut_floats(c, rows * d);
    at->dweight = cut_floats(c, rows);
    at->dlogits = cut_floats(c, t * (config->experts + config->null_experts));
    at->dself = cut_floats(c, t);
    at->cosine = cut_floats(c, angles);
    at->sine = cut_floats(c, angles);
    at->minus_sine = cut_floats(c, angles);
    at->shares = cut_floats(c, b->team->threads * 2 * b->longest);
    at->final_normed = cut_floats(c, b->targets * d);
    at->dfinal_normed = cut_floats(c, b->targets * d);
    at->head_logits = cut_floats(c, b->head_rows * config->vocab_size);
    at->token_loss = cut(c, b->targets, sizeof *at->token_loss);
    at->position = cut(c, t, sizeof *at->position);
    at->number = cut(c, t, sizeof *at->number);
    at->wanted = cut(c, t, sizeof *at->wanted);
    at->span = cut(c, b->batch->sequences, sizeof *at->span);
}

/* Returns the bytes that are needed. */
static size_t cut_all(adamoe_backprop *b, unsigned char *memory)
{
    cutter c = {memory, 0};
    for (size_t layer = 0; layer < b->config->layers; ++layer) {
        cut_layer(b, &c, &b->layer[layer]);
    }
    cut_shared(b, &c, &b->at);
    b->at.work = cut(&c, b->work_bytes, 1);
    return c.used;
}

static void fill_spans(adamoe_backprop *b)
{
    for (size_t s = 0; s < b->batch->sequences; ++s) {
        const size_t first = b->batch->offset[s];
        b->at.span[s] = (adamoe_attention_span){.first_query = first,
                                                .first_key = first,
                                                .count = b->batch->offset[s + 1] - first,
                                                .parent = ADAMOE_NO_PARENT};
    }
}

/* The workspace of the forward attention depends on the longest sequence and on their number. */
static size_t attention_bytes(const adamoe_backprop *b)
{
    const adamoe_attention_span longest = {.count = b->longest, .parent = ADAMOE_NO_PARENT};
    adamoe_attention_call call = b->call;
    call.spans = 1;
    call.span = &longest;
    return adamoe_span_attention_work_bytes(&call, b->team->threads) +
           (b->batch->sequences + LINE_BYTES) * sizeof(size_t);
}

adamoe_status backprop_lay_out(adamoe_backprop *b)
{
    const size_t fit = HEAD_FLOATS / b->config->vocab_size + 1;
    b->head_rows = b->targets < fit ? b->targets : fit;
    b->work_bytes = attention_bytes(b);
    const size_t bytes = cut_all(b, NULL);
    if (bytes > b->memory_bytes) {
        free(b->memory);
        b->memory_bytes = 0;
        b->memory = aligned_alloc(LINE_BYTES, bytes);
        if (b->memory == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "training: out of memory for %zu tokens", b->tokens);
        }
        adamoe_advise_huge_pages(b->memory, bytes);
        b->memory_bytes = bytes;
    }
    (void)cut_all(b, b->memory);
    fill_spans(b);
    b->call.span = b->at.span;
    b->call.spans = b->batch->sequences;
    return adamoe_ok();
}
