/*
 * What the files of the batched forward pass share; not for others.
 */
#ifndef ADAMOE_MODEL_FORWARD_PARTS_H
#define ADAMOE_MODEL_FORWARD_PARTS_H

#include "model/forward.h"
#include "model/plan_build.h"
#include "model/route.h"
#include "machine/clock.h"
#include "vector/vector_ops.h"

/* One layer's weights as the kernel holds them. */
typedef struct forward_block {
    adamoe_prepared *experts, *shared; /* `shared` is NULL where there is no shared expert */
    adamoe_block gains;      /* the layer's weights; its vectors, which are read row by row, are float32 */
    float *gain_values;      /* what they point to */
    unsigned char *qkv_rows; /* the rows of q, k and v as one matrix, since they share their input */
    adamoe_prepared_matrix *qkv; /* the same for the kernel, which may have copied it or not */
    adamoe_prepared_matrix *o;
    float *router_rows;             /* gate and gate2 as one matrix; NULL for a dense layer */
    adamoe_prepared_matrix *router; /* the same for the kernel; NULL where it would round its operands */
} forward_block;

struct adamoe_forward {
    const adamoe_kernel *kernel;
    const adamoe_model *model;
    const adamoe_team *team;
    const adamoe_vector_ops *ops;
    adamoe_placement placement;
    adamoe_host host; /* of the weights */
    bool resident;
    forward_block *block;              /* [layers] where resident, otherwise [1] */
    adamoe_prepared_matrix **head;     /* [forward_head_blocks]; NULL where not held */
    const adamoe_model_router *router; /* NULL: the model's rule */
    struct forward_state *state;       /* kept from batch to batch, so that nothing is allocated again */
    adamoe_forward_clock *clock;       /* or NULL */
    char implementation[128];          /* what the first layer's experts ran on in the last batch */
};

/* What has happened since the last stage ended was this one. */
static inline void forward_end_stage(const adamoe_forward *forward, adamoe_forward_stage stage)
{
    if (forward->clock != NULL) {
        const double now = adamoe_now();
        forward->clock->seconds[stage] += now - forward->clock->last;
        forward->clock->last = now;
    }
}

/* Prepares one layer; on failure nothing is left prepared. */
adamoe_status forward_block_prepare(const adamoe_forward *forward, size_t layer, forward_block *block);
void forward_block_release(const adamoe_forward *forward, forward_block *block);

/* The head is prepared and multiplied in blocks of so many entries of the vocabulary, for so many positions
 * at a time: the logits of a block are used while they are in cache, and a model that is not held needs
 * memory for one block. */
#define FORWARD_HEAD_COLUMNS 3072
#define FORWARD_HEAD_ROWS    256
size_t forward_head_blocks(const adamoe_config *config);
size_t forward_head_columns(const adamoe_config *config, size_t block);
adamoe_status forward_head_prepare(const adamoe_forward *forward, size_t block, adamoe_prepared_matrix **out);
void forward_head_release(adamoe_forward *forward);

/* A position whose logits are wanted. */
typedef struct forward_wanted {
    size_t segment, position, row;
    size_t first_target; /* where tokens are scored: its targets are this one to the next one's first */
} forward_wanted;

/* Some neighbouring rows of the batch. */
typedef struct forward_rows {
    size_t first, count;
} forward_rows;

/* Segments that continue none before them and are continued by none after them: attention, and what stands
 * around it, can be computed for a part alone. */
typedef struct forward_part {
    size_t first_segment, segments;
    forward_rows rows;
} forward_part;

/* The arrays of a batch. Rows are the tokens of all segments, in their order. Each array has room for the
 * largest batch so far. What belongs to a part begins with the part's first row. */
typedef struct forward_state {
    const adamoe_segment *segment; /* [segments] */
    adamoe_attention_span *span;   /* [segments] as attention to the segment's part takes it */
    forward_part *part;            /* [parts] */
    size_t *reach;                 /* [segments] the first segment that it or a later one belongs to */
    size_t segments, parts, rows, longest;
    size_t segment_room, row_room, position_room;
    adamoe_key_value_cache *cache;     /* where keys and values go and come from, or NULL: below */
    float *residual, *normed, *update; /* [rows, hidden_size] */
    bool has_update;                   /* the residual is still to receive `update` */
    float *projected;                  /* [rows, (heads + 2 key_value_heads) * head_dim] of a part */
    float *query, *mixed;              /* [rows, heads * head_dim] of a part */
    float *keys, *values;              /* [rows, key_value_heads * head_dim] of a part */
    float *cosine, *sine;              /* [longest, head_dim / 2] */
    float *gain;                       /* [hidden_size] of the final norm */
    float *shared;       /* [rows, hidden_size] what the shared expert gives, where there is one */
    float *shared_scale; /* [rows] */
    uint32_t *identity;  /* [rows + 1] 0, 1, 2, ... */
    uint32_t shared_offset[2];
    uint32_t *token;  /* [rows] */
    size_t *position; /* [rows] */
    adamoe_routing_space routing;
    adamoe_plan_space plan;
    adamoe_routed_layer routed; /* of the layer at work, where there is a router */
    bool has_plan;              /* a dense model has one plan for all its layers */
    forward_wanted *wanted;     /* [rows + 1] */
    size_t wanted_count;
    float *logits; /* [logits_room] of one block of the head, or of the whole vocabulary */
    size_t logits_room;
    adamoe_log_sum *log_sum; /* [rows] */
    adamoe_run run;          /* workspace of the kernel */
} forward_state;

/* Gives the state room for a batch and fills in its spans, positions and angles. With a cache, `segment` is
 * one that continues it. */
adamoe_status forward_state_begin(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                  adamoe_key_value_cache *cache);
void forward_state_free(forward_state *state);

/* Gives the kernel's workspace at least this size; `logits` room for at least so many floats. */
adamoe_status forward_state_reserve_work(forward_state *state, size_t bytes);
adamoe_status forward_state_reserve_logits(forward_state *state, size_t count);

/* residual = the embeddings of the batch's tokens. */
void forward_embed(const adamoe_forward *forward);

/* residual += `update`, the row of each, unless it is NULL; to = RMSNorm(residual) by one of the gains of a
 * forward_block. Both begin with the first of `rows`. */
void forward_norm(const adamoe_forward *forward, const adamoe_matrix *gain, forward_rows rows,
                  const float *update, float *to);

/* The same for the rows of state->wanted, in their order, by a gain of any type: normed[i] is that of wanted
 * i. */
void forward_norm_wanted(const adamoe_forward *forward, const adamoe_matrix *gain);

/* The part's queries, and its keys and values, from state->normed; queries and keys rotated. */
adamoe_status forward_project(const adamoe_forward *forward, const forward_block *block, forward_rows rows,
                              float *keys, float *values);

/* update [rows, hidden_size] = what state->mixed gives after the output projection and its bias. */
adamoe_status forward_output(const adamoe_forward *forward, const forward_block *block, forward_rows rows,
                             float *update);

/* logits [rows, n + m] from state->normed and the block's router_rows, in float32; `logits` are those of the
 * whole batch. */
void forward_router(const adamoe_forward *forward, const forward_block *block, forward_rows rows,
                    float *logits);

/* Prepares the shared expert of a layer, where there is one. */
adamoe_status forward_shared_prepare(const adamoe_forward *forward, size_t layer, forward_block *block);

/* state->update += what the shared expert gives for state->normed, where there is one. */
adamoe_status forward_shared(const adamoe_forward *forward, const forward_block *block);

/* The head at state->wanted: calls hooks->logits for each position. */
adamoe_status forward_head_logits(adamoe_forward *forward, const adamoe_batch_hooks *hooks);

/* The head at state->wanted: log_probability[t] of each target. */
adamoe_status forward_head_score(adamoe_forward *forward, const adamoe_target *target,
                                 double *log_probability);

#endif
