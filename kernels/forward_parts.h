/*
 * What the files of the batched forward pass share; not for others.
 */
#ifndef ADAMOE_FORWARD_PARTS_H
#define ADAMOE_FORWARD_PARTS_H

#include "forward.h"

/* One layer's weights as the kernel holds them. */
typedef struct forward_block {
    adamoe_prepared *experts;
    adamoe_prepared_matrix *q, *k, *v, *o;
    float *router_rows;             /* gate and gate2 as one matrix; NULL for a dense layer */
    adamoe_prepared_matrix *router; /* the same for the kernel; NULL where it would round its operands */
} forward_block;

struct adamoe_forward {
    const adamoe_kernel *kernel;
    const adamoe_model *model;
    const adamoe_team *team;
    adamoe_placement placement;
    bool resident;
    forward_block *block; /* [layers] where resident, otherwise [1] */
    adamoe_prepared_matrix *head;
    char implementation[128]; /* what the first layer's experts ran on in the last batch */
    struct forward_state
        *state; /* kept from batch to batch, so that its memory is touched for the first time once */
};

/* Prepares one layer; on failure nothing is left prepared. */
adamoe_status forward_block_prepare(const adamoe_forward *forward, size_t layer, forward_block *block);
void forward_block_release(const adamoe_forward *forward, forward_block *block);

/* Where a segment's tokens stand: row `first_row` on among the rows of the batch, position `start` on in its
 * sequence. */
typedef struct forward_span {
    size_t first_row, start, count, parent;
} forward_span;

/* The arrays of a batch. Rows are the tokens of all segments, in their order. Each array has room for the
 * largest batch so far. */
typedef struct forward_state {
    const adamoe_segment *segment; /* [segments] */
    forward_span *span;            /* [segments] */
    size_t segments, rows, longest;
    size_t segment_room, row_room, position_room;
    float *residual, *normed, *update; /* [rows, hidden_size] */
    float *query, *mixed;              /* [rows, heads * head_dim] */
    float *keys, *values;              /* [rows, key_value_heads * head_dim], of the layer at work */
    float *router_logits;              /* [rows, n + m] */
    float *cosine, *sine;              /* [longest, head_dim / 2] */
    float *gain;                       /* [hidden_size] of the norm at work */
    float *scores;                     /* [threads, longest] */
    size_t *row_at;                    /* [threads, longest] the row of each position of a sequence */
    size_t *listed;                    /* [threads] which segment's sequence that is, plus 1; 0 for none */
    size_t *position;                  /* [rows] */
    float *logits;                     /* [FORWARD_HEAD_ROWS, vocab_size] */
    adamoe_run run;                    /* workspace of the kernel */
} forward_state;

/* Logits are computed for so many positions at a time: enough rows for the product, little enough memory. */
#define FORWARD_HEAD_ROWS 128

/* Gives the state room for a batch and fills in its spans, positions and angles. */
adamoe_status forward_state_begin(adamoe_forward *forward, const adamoe_segment *segment, size_t count);
void forward_state_free(forward_state *state);

/* Gives the kernel's workspace at least this size. */
adamoe_status forward_state_reserve_work(forward_state *state, size_t bytes);

/* Rotates queries and keys and mixes the values: mixed[row, head] for every row. */
void forward_attention(const adamoe_forward *forward, forward_state *state);

/* state->router_logits from state->normed and the block's router_rows, in float32. */
void forward_router(const adamoe_forward *forward, const forward_block *block, forward_state *state);

/* out = x / sqrt(mean(x^2) + eps) * gain for each row. */
void forward_rms_norm(const adamoe_forward *forward, forward_state *state, const adamoe_matrix *gain,
                      const float *x, size_t rows, float *out);

#endif
