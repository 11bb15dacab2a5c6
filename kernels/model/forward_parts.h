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

/* The matrices around attention as the kernel holds them, which may have copied them or not. */
typedef struct forward_dense {
    adamoe_prepared_matrix *qkv, *o;
    adamoe_prepared_matrix *router; /* NULL where the kernel would round its operands */
} forward_dense;

/* One layer's weights as the kernel holds them. */
typedef struct forward_block {
    adamoe_prepared *experts, *shared; /* `shared` is NULL where there is no shared expert */
    adamoe_block gains;      /* the layer's weights; its vectors, which are read row by row, are float32 */
    float *gain_values;      /* what they point to */
    unsigned char *qkv_rows; /* the rows of q, k and v as one matrix, since they share their input */
    float *router_rows;      /* gate and gate2 as one matrix; NULL for a dense layer */
    forward_dense *dense;    /* [forward->copies] */
} forward_block;

struct adamoe_forward {
    const adamoe_kernel *kernel;
    const adamoe_model *model;
    const adamoe_team *team;
    const adamoe_vector_ops *ops;
    adamoe_placement placement;
    adamoe_host host; /* of the weights */
    bool resident;
    uint32_t copies;      /* of the matrices around attention: 1, or one for each thread of the team */
    forward_block *block; /* [layers] where resident, otherwise [1] */
    adamoe_prepared_matrix **head;     /* [forward_head_blocks]; NULL where not held */
    const adamoe_model_router *router; /* NULL: the model's rule */
    struct forward_state *state;       /* kept from batch to batch, so that nothing is allocated again */
    adamoe_forward_clock *clock;       /* or NULL */
    char implementation[128];          /* what the first layer's experts ran on in the last batch */
};

/* What has happened since the last stage ended was this one. The clock may be NULL. */
static inline void forward_end_stage(adamoe_forward_clock *clock, adamoe_forward_stage stage)
{
    if (clock != NULL) {
        const double now = adamoe_now();
        clock->seconds[stage] += now - clock->last;
        clock->last = now;
    }
}

/* Prepares one layer; on failure nothing is left prepared. */
adamoe_status forward_block_prepare(const adamoe_forward *forward, size_t layer, forward_block *block);
void forward_block_release(const adamoe_forward *forward, forward_block *block);

/* The head is prepared and multiplied in blocks of so many entries of the vocabulary, for so many positions of a thread
 * at a time: the logits of a block are used while they are in cache, and a model that is not held needs
 * memory for one block. */
#define FORWARD_HEAD_COLUMNS 1024
#define FORWARD_HEAD_ROWS    64
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

/* Who computes something: the whole team, or one of its threads alone while others compute other things. */
typedef struct forward_crew {
    adamoe_team alone;    /* of one thread */
    adamoe_run run;       /* the team that it runs its steps on, and the kernel's workspace */
    uint32_t copy;        /* of the matrices around attention */
    float *projected;     /* [rows, (heads + 2 key_value_heads) * head_dim] of a part, like all that follow */
    float *query, *mixed; /* [rows, heads * head_dim] */
    float *keys, *values; /* [rows, key_value_heads * head_dim] */
    size_t row_room;
    float *logits; /* [logits_room] of one block of the head, or of the whole vocabulary */
    size_t logits_room;
    adamoe_forward_clock own, *clock; /* `clock` is `own`, the forward pass's, or NULL */
    adamoe_status status;             /* of its tasks: of the first one that failed */
    size_t failed;                    /* that task */
} forward_crew;

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
    adamoe_log_sum *log_sum;   /* [rows] */
    adamoe_log_sum *block_sum; /* [sum_room] those of blocks of the vocabulary */
    size_t sum_room;
    forward_crew whole;  /* all threads of the team together */
    forward_crew *alone; /* [threads] one each, once they were needed; or NULL */
    uint32_t threads;    /* of `alone` */
    bool parts_apart;    /* this batch's parts are computed by one thread each */
} forward_state;

/* Gives the state room for a batch and fills in its spans, positions and angles. With a cache, `segment` is
 * one that continues it. */
adamoe_status forward_state_begin(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                  adamoe_key_value_cache *cache);
void forward_state_free(forward_state *state);

/* Gives block_sum room for at least so many. */
adamoe_status forward_state_reserve_sums(forward_state *state, size_t count);

/* How many copies of the matrices around attention a resident model should have: each call of the kernel has its
 * prepared matrix to itself (adamoe.h), so that threads that compute parts alone need one each. Where a layer's fit into
 * a thread's cache, reading them costs nothing, and what is saved is a meeting of all threads after each small step; so
 * there are copies then, unless all of them would take more than some 64 MB. */
uint32_t forward_copies(const adamoe_forward *forward);

/* Whether threads may work alone: there are several, weights are held, and lie on one node. */
bool forward_may_part(const adamoe_forward *forward);

/* How many rows a part should have, so that what one step writes is still in the second-level cache when the
 * next one reads it; as many as there are where that would be so few that the weights were read too often. No
 * result depends on it. */
size_t forward_part_rows(const adamoe_config *config);

/* Makes the crews that a batch of parts of at most `rows` rows needs. Errors: memory. */
adamoe_status forward_crews_begin(adamoe_forward *forward, size_t rows);
void forward_crews_free(forward_state *state);

/* Gives a crew's workspace at least this size; its `logits` room for so many floats. */
adamoe_status forward_reserve_work(forward_crew *crew, size_t bytes);
adamoe_status forward_reserve_logits(forward_crew *crew, size_t count);

/* Calls task(context, crew, i) for each i < tasks, each by one thread alone. The status of the first that fails. */
typedef adamoe_status forward_task(const void *context, forward_crew *crew, size_t i);
adamoe_status forward_each_alone(const adamoe_forward *forward, size_t tasks, forward_task *task,
                                 const void *context);

/* Calls compute(forward, crew, layer, part) for each part: one after the other by the whole team, or each by one thread.
 * The status of the first part that fails. */
typedef adamoe_status forward_part_function(const adamoe_forward *forward, forward_crew *crew, size_t layer,
                                            const forward_block *block, const forward_part *part);
adamoe_status forward_each_part(const adamoe_forward *forward, size_t layer, const forward_block *block,
                                forward_part_function *compute);

/* residual = the embeddings of the batch's tokens. */
void forward_embed(const adamoe_forward *forward);

/* residual += `update`, the row of each, unless it is NULL; to = RMSNorm(residual) by one of the gains of a
 * forward_block. Both begin with the first of `rows`. */
void forward_norm(const adamoe_forward *forward, const forward_crew *crew, const adamoe_matrix *gain,
                  forward_rows rows, const float *update, float *to);

/* The same for the rows of state->wanted, in their order, by a gain of any type: normed[i] is that of wanted
 * i. */
void forward_norm_wanted(const adamoe_forward *forward, const adamoe_matrix *gain);

/* The part's queries, and its keys and values, from state->normed; queries and keys rotated. */
adamoe_status forward_project(const adamoe_forward *forward, forward_crew *crew, const forward_block *block,
                              forward_rows rows, float *keys, float *values);

/* update [rows, hidden_size] = what crew->mixed gives after the output projection and its bias. */
adamoe_status forward_output(const adamoe_forward *forward, forward_crew *crew, const forward_block *block,
                             forward_rows rows, float *update);

/* logits [rows, n + m] from state->normed and the block's router_rows, in float32; `logits` are those of the
 * whole batch. */
void forward_router(const adamoe_forward *forward, const forward_crew *crew, const forward_block *block,
                    forward_rows rows, float *logits);

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
