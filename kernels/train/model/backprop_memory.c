/*
 * The arrays of a batch, cut from one block of memory. What a layer keeps grows with the tokens, and the
 * rows of its plan are at most min(k, n) for each of them, or n where a router decides.
 */
#include "model/span_attention.h"
#include "train/model/backprop_parts.h"

/* Room for one size in a workspace, and what aligns it. */
#define LINE_BYTES 64

static size_t most_rows(const adamoe_backprop *b)
{
    const size_t k = b->config->rule.top_k, n = b->config->experts;
    return b->tokens * (k < n && b->router == NULL ? k : n);
}

/* The rows of a shared expert: all tokens, where there is one. */
static size_t shared_rows(const adamoe_backprop *b)
{
    return b->config->architecture.shared_expert ? b->tokens : 0;
}

static bool is_normed(const adamoe_backprop *b)
{
    return b->config->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void cut_layer(const adamoe_backprop *b, adamoe_cutter *c, backprop_layer *layer)
{
    const adamoe_config *config = b->config;
    const size_t t = b->tokens, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim;
    layer->attention_input = adamoe_cut_floats(c, t * config->hidden_size);
    layer->query = adamoe_cut_floats(c, t * q);
    layer->key = adamoe_cut_floats(c, t * kv);
    layer->value = adamoe_cut_floats(c, t * kv);
    layer->raw_query = is_normed(b) ? adamoe_cut_floats(c, t * q) : layer->query;
    layer->raw_key = is_normed(b) ? adamoe_cut_floats(c, t * kv) : layer->key;
    layer->query_cut = adamoe_cut(c, config->architecture.clipped ? t * q : 0, 1);
    layer->key_cut = adamoe_cut(c, config->architecture.clipped ? t * kv : 0, 1);
    layer->value_cut = adamoe_cut(c, config->architecture.clipped ? t * kv : 0, 1);
    layer->mixed = adamoe_cut_floats(c, t * q);
    layer->experts_input = adamoe_cut_floats(c, t * config->hidden_size);
    layer->gate = adamoe_cut_floats(c, most_rows(b) * config->intermediate_size);
    layer->up = adamoe_cut_floats(c, most_rows(b) * config->intermediate_size);
    layer->shared_gate = adamoe_cut_floats(c, shared_rows(b) * config->shared_intermediate_size);
    layer->shared_up = adamoe_cut_floats(c, shared_rows(b) * config->shared_intermediate_size);
    layer->shared_scale = adamoe_cut_floats(c, shared_rows(b));
}

static void cut_shared(const adamoe_backprop *b, adamoe_cutter *c, backprop_arrays *at)
{
    const adamoe_config *config = b->config;
    const size_t t = b->tokens, d = config->hidden_size, q = config->heads * config->head_dim;
    const size_t kv = config->key_value_heads * config->head_dim, rows = most_rows(b);
    const size_t shared = shared_rows(b),
                 hidden = larger(rows * config->intermediate_size, shared * config->shared_intermediate_size);
    const size_t angles = b->longest * (config->head_dim / 2);
    at->output = adamoe_cut_floats(c, t * d);
    at->normed = adamoe_cut_floats(c, t * d);
    at->dresidual = adamoe_cut_floats(c, t * d);
    at->dnormed = adamoe_cut_floats(c, t * d);
    at->inverse_rms = adamoe_cut_floats(c, t * config->heads);
    at->dquery = adamoe_cut_floats(c, t * q);
    at->dkey = adamoe_cut_floats(c, t * kv);
    at->dvalue = adamoe_cut_floats(c, t * kv);
    at->draw = adamoe_cut_floats(c, is_normed(b) ? t * larger(q, kv) : 0);
    at->dmixed = adamoe_cut_floats(c, t * q);
    at->hidden = adamoe_cut_floats(c, hidden);
    at->dhidden = adamoe_cut_floats(c, hidden);
    at->slots = adamoe_cut_floats(c, larger(rows, shared) * d);
    at->dweight = adamoe_cut_floats(c, rows);
    at->dshared = adamoe_cut_floats(c, shared * d);
    at->dshared_scale = adamoe_cut_floats(c, shared);
    at->identity = adamoe_cut(c, shared + 1, sizeof *at->identity);
    at->dlogits = adamoe_cut_floats(c, t * (config->experts + config->null_experts));
    at->dself = adamoe_cut_floats(c, t);
    at->cosine = adamoe_cut_floats(c, angles);
    at->sine = adamoe_cut_floats(c, angles);
    at->minus_sine = adamoe_cut_floats(c, angles);
    at->shares = adamoe_cut_floats(c, b->team->threads * 2 * b->longest);
    at->final_normed = adamoe_cut_floats(c, b->targets * d);
    at->dfinal_normed = adamoe_cut_floats(c, b->targets * d);
    at->head_logits = adamoe_cut_floats(c, b->head_rows * config->vocab_size);
    at->token_loss = adamoe_cut(c, b->targets, sizeof *at->token_loss);
    at->position = adamoe_cut(c, t, sizeof *at->position);
    at->number = adamoe_cut(c, t, sizeof *at->number);
    at->wanted = adamoe_cut(c, t, sizeof *at->wanted);
    at->span = adamoe_cut(c, b->batch->sequences, sizeof *at->span);
}

/* Returns the bytes that are needed. */
static size_t cut_all(adamoe_backprop *b, unsigned char *block)
{
    adamoe_cutter c = {block, 0};
    for (size_t layer = 0; layer < b->config->layers; ++layer) {
        cut_layer(b, &c, &b->layer[layer]);
    }
    cut_shared(b, &c, &b->at);
    b->at.work = adamoe_cut(&c, b->work_bytes, 1);
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
    const size_t fit = ADAMOE_HEAD_FLOATS / b->config->vocab_size + 1;
    b->head_rows = b->targets < fit ? b->targets : fit;
    b->work_bytes = attention_bytes(b);
    ADAMOE_TRY(adamoe_batch_memory_reserve(&b->memory, cut_all(b, NULL), "training", b->tokens));
    (void)cut_all(b, b->memory.block);
    fill_spans(b);
    b->call.span = b->at.span;
    b->call.spans = b->batch->sequences;
    return adamoe_ok();
}
