/*
 * The experts of a layer as dense products of oneDNN, one for each expert and part.
 *
 * A call has phases, each shared out by the team: gather the rows' inputs; for every block of an expert's
 * rows and of intermediate_size, the gate and the up product and h = silu(gate) * up; for every block of rows
 * and of hidden_size, the down product into a slot for each row; for every token, the sum over its slots in
 * the plan's order. The blocks do not depend on the number of threads, so neither do the bits of the result.
 */
#include "onednn/packed.h"
#include "machine/keep_placement.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>

typedef struct packed_expert {
    onednn_packed w1, w3, w2;
} packed_expert;

struct adamoe_prepared {
    adamoe_arithmetic type;
    size_t hidden_size, intermediate_size, experts;
    size_t input_depth, hidden_depth; /* elements of a row of x and of h: onednn_depth of the sizes */
    adamoe_host host;
    adamoe_placement placement;
    size_t scratch_bytes;  /* for each thread */
    packed_expert *expert; /* [experts] */
};

void onednn_release(adamoe_prepared *prepared)
{
    if (prepared == NULL) {
        return;
    }
    for (size_t e = 0; e < prepared->experts && prepared->expert != NULL; ++e) {
        onednn_packed_free(&prepared->expert[e].w1);
        onednn_packed_free(&prepared->expert[e].w3);
        onednn_packed_free(&prepared->expert[e].w2);
    }
    adamoe_free_kept_placement(&prepared->host, &prepared->placement);
    free(prepared->expert);
    free(prepared);
}

/* All experts have the same shapes, and so have w1 and w3: the first ones tell what
 * scratch memory all need. */
static adamoe_status find_scratch(adamoe_prepared *prepared)
{
    size_t up = 0, down = 0;
    ADAMOE_TRY(onednn_packed_largest_scratch(&prepared->expert[0].w1, &up));
    ADAMOE_TRY(onednn_packed_largest_scratch(&prepared->expert[0].w2, &down));
    prepared->scratch_bytes = up > down ? up : down;
    return adamoe_ok();
}

static adamoe_status pack_experts(const adamoe_host *host, const adamoe_layer *layer,
                                  adamoe_prepared *prepared)
{
    const adamoe_placement *placement = &prepared->placement;
    for (size_t e = 0; e < layer->experts; ++e) {
        const onednn_place place = {host, placement,
                                    placement->policy == ADAMOE_NUMA_EXPERTS
                                        ? adamoe_expert_node(placement, e, layer->experts)
                                        : ONEDNN_SPREAD};
        ADAMOE_TRY(onednn_packed_create(&layer->expert[e].w1, prepared->type, true, &place,
                                        &prepared->expert[e].w1));
        ADAMOE_TRY(onednn_packed_create(&layer->expert[e].w3, prepared->type, true, &place,
                                        &prepared->expert[e].w3));
        ADAMOE_TRY(onednn_packed_create(&layer->expert[e].w2, prepared->type, false, &place,
                                        &prepared->expert[e].w2));
    }
    return find_scratch(prepared);
}

adamoe_status onednn_prepare(adamoe_arithmetic type, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    if (layer->experts == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "oneDNN: a layer without experts");
    }
    adamoe_prepared *prepared = calloc(1, sizeof *prepared);
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    }
    *prepared = (adamoe_prepared){.type = type,
                                  .hidden_size = layer->hidden_size,
                                  .intermediate_size = layer->intermediate_size,
                                  .input_depth = onednn_depth(type, layer->hidden_size),
                                  .hidden_depth = onednn_depth(type, layer->intermediate_size),
                                  .experts = layer->experts,
                                  .host = *host,
                                  .expert = calloc(layer->experts, sizeof *prepared->expert)};
    adamoe_status status = adamoe_keep_placement(host, placement, &prepared->placement);
    if (status.code == ADAMOE_OK && prepared->expert == NULL) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    }
    if (status.code == ADAMOE_OK) {
        status = pack_experts(host, layer, prepared);
    }
    if (status.code != ADAMOE_OK) {
        onednn_release(prepared);
        return status;
    }
    *out = prepared;
    return adamoe_ok();
}

typedef struct layout {
    size_t input, hidden, slots, gate, up, scratch, status, total; /* offsets in bytes */
    size_t thread_gate, thread_scratch;                            /* bytes for each thread */
} layout;

static layout plan_layout(const adamoe_prepared *p, size_t rows)
{
    layout l = {0};
    const size_t block_rows = rows < ONEDNN_ROW_BLOCK ? rows : ONEDNN_ROW_BLOCK;
    const size_t block_columns =
        p->intermediate_size < ONEDNN_WIDEST_BLOCK ? p->intermediate_size : ONEDNN_WIDEST_BLOCK;
    l.thread_gate = onednn_aligned(block_rows * block_columns * sizeof(float));
    l.thread_scratch = p->scratch_bytes;
    l.hidden = onednn_aligned(rows * p->input_depth * adamoe_arithmetic_bytes(p->type));
    l.slots = l.hidden + onednn_aligned(rows * p->hidden_depth * adamoe_arithmetic_bytes(p->type));
    l.gate = l.slots + onednn_aligned(rows * p->hidden_size * sizeof(float));
    l.up = l.gate + p->placement.threads * l.thread_gate;
    l.scratch = l.up + p->placement.threads * l.thread_gate;
    l.status = l.scratch + p->placement.threads * l.thread_scratch;
    l.total = l.status + onednn_aligned(p->placement.threads * sizeof(adamoe_status));
    return l;
}

size_t onednn_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)tokens;
    return plan_layout(prepared, rows).total;
}

typedef struct call {
    adamoe_prepared *prepared;
    const adamoe_plan *plan;
    const float *x;
    float *y;
    unsigned char *work;
    layout at;
    size_t row_blocks[ADAMOE_MAX_NODES + 1]; /* of the experts before those of a node, under experts */
    onednn_shares shares;                    /* of the product that runs */
    onednn_failures failed;
} call;

static float *thread_floats(const call *c, size_t offset, size_t bytes, uint32_t thread)
{
    return (float *)(void *)(c->work + offset + thread * bytes);
}

static unsigned char *operand_row(const call *c, size_t offset, size_t row, size_t depth)
{
    return c->work + offset + row * depth * adamoe_arithmetic_bytes(c->prepared->type);
}

/* Task: the inputs of ONEDNN_ROW_BLOCK rows of the plan. */
static void gather_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const call *c = context;
    const size_t d = c->prepared->hidden_size, depth = c->prepared->input_depth;
    const size_t end = (i + 1) * ONEDNN_ROW_BLOCK;
    for (size_t row = i * ONEDNN_ROW_BLOCK; row < end && row < c->plan->rows; ++row) {
        const float scale = c->plan->dispatch == NULL ? 1.0f : c->plan->dispatch[row];
        onednn_store_row(c->prepared->type, c->x + c->plan->input[row] * d, scale, d, depth,
                         operand_row(c, c->at.input, row, depth));
    }
}

/* A task of the two product phases: a block of an expert's rows, and a block of output columns. */
typedef struct tile {
    size_t expert, first_row, rows, block;
} tile;

static tile find_tile(const call *c, size_t i)
{
    const adamoe_plan *plan = c->plan;
    size_t row_block = 0;
    tile t = {0};
    onednn_find_tile(&c->shares, i, &row_block, &t.block);
    for (;; ++t.expert) {
        const size_t rows = plan->offset[t.expert + 1] - plan->offset[t.expert];
        const size_t count = onednn_row_blocks(rows);
        if (row_block < count) {
            t.first_row = plan->offset[t.expert] + row_block * ONEDNN_ROW_BLOCK;
            t.rows = onednn_row_block_size(rows, row_block);
            return t;
        }
        row_block -= count;
    }
}

/* Blocks of rows, all of them and those before each node's experts. */
static size_t count_row_blocks(call *c)
{
    const adamoe_plan *plan = c->plan;
    const adamoe_placement *placement = &c->prepared->placement;
    size_t count = 0;
    uint32_t node = 0;
    c->row_blocks[0] = 0;
    for (size_t e = 0; e < plan->experts; ++e) {
        while (node < adamoe_expert_node(placement, e, plan->experts)) {
            c->row_blocks[++node] = count;
        }
        count += onednn_row_blocks(plan->offset[e + 1] - plan->offset[e]);
    }
    while (node < placement->nodes) {
        c->row_blocks[++node] = count;
    }
    return count;
}

/* Runs a product whose output has `columns` columns. */
static void run_product(call *c, const adamoe_team *team, size_t row_blocks, size_t columns,
                        void (*task)(void *context, size_t i, uint32_t thread))
{
    const adamoe_placement *placement = &c->prepared->placement;
    const size_t blocks = onednn_column_blocks(columns);
    if (placement->policy == ADAMOE_NUMA_EXPERTS) {
        onednn_share_rows(placement, c->row_blocks, blocks, &c->shares);
    } else {
        onednn_share_columns(placement, row_blocks, blocks, &c->shares);
    }
    onednn_run_tiles(team, placement, &c->shares, task, c);
}

/* silu(z) = z / (1 + exp(-z)); the exponential is of -|z|, because exp(-z) overflows for z < -88 already,
 * where silu(z) = z exp(z) is still a number. */
static float silu(float z)
{
    const float t = expf(-fabsf(z));
    return z >= 0.0f ? z / (1.0f + t) : z * t / (1.0f + t);
}

/* gate = silu(gate) * up, in place. */
static void silu_times(float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        gate[i] = silu(gate[i]) * up[i];
    }
}

static void up_task(void *context, size_t i, uint32_t thread)
{
    call *c = context;
    adamoe_prepared *p = c->prepared;
    const size_t ff = p->intermediate_size;
    const tile t = find_tile(c, i);
    const packed_expert *expert = &p->expert[t.expert];
    const size_t columns = onednn_column_block_size(ff, t.block);
    float *gate = thread_floats(c, c->at.gate, c->at.thread_gate, thread);
    float *up = thread_floats(c, c->at.up, c->at.thread_gate, thread);
    void *scratch = thread_floats(c, c->at.scratch, c->at.thread_scratch, thread);
    const void *x = operand_row(c, c->at.input, t.first_row, p->input_depth);
    onednn_note(&c->failed, thread, onednn_product_run(expert->w1.block[t.block], x, t.rows, gate, scratch));
    onednn_note(&c->failed, thread, onednn_product_run(expert->w3.block[t.block], x, t.rows, up, scratch));
    silu_times(gate, up, t.rows * columns);
    const size_t first = t.block * ONEDNN_COLUMN_BLOCK;
    const size_t depth = first + columns == ff ? p->hidden_depth - first : columns; /* the last one pads */
    for (size_t r = 0; r < t.rows; ++r) {
        onednn_store_row(p->type, gate + r * columns, 1.0f, columns, depth,
                         operand_row(c, c->at.hidden, t.first_row + r, p->hidden_depth) +
                             first * adamoe_arithmetic_bytes(p->type));
    }
}

static void down_task(void *context, size_t i, uint32_t thread)
{
    call *c = context;
    adamoe_prepared *p = c->prepared;
    const size_t d = p->hidden_size;
    const tile t = find_tile(c, i);
    float *slots = (float *)(void *)(c->work + c->at.slots) + t.first_row * d + t.block * ONEDNN_COLUMN_BLOCK;
    onednn_note(&c->failed, thread,
                onednn_product_run(p->expert[t.expert].w2.block[t.block],
                                   operand_row(c, c->at.hidden, t.first_row, p->hidden_depth), t.rows, slots,
                                   thread_floats(c, c->at.scratch, c->at.thread_scratch, thread)));
}

#define TOKENS_PER_TASK 16

typedef struct combine_call {
    size_t hidden_size;
    const float *x, *slots;
    const adamoe_plan *plan;
    float *y;
} combine_call;

/* y = y + combine * e in the order of the plan, from 0 or from the identity experts' share. */
static void combine_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const combine_call *c = context;
    const adamoe_plan *plan = c->plan;
    const size_t d = c->hidden_size;
    const float *slots = c->slots;
    for (size_t t = i * TOKENS_PER_TASK; t < (i + 1) * TOKENS_PER_TASK && t < plan->tokens; ++t) {
        float *y = c->y + t * d;
        for (size_t j = 0; j < d; ++j) {
            y[j] = plan->self_scale == NULL ? 0.0f : plan->self_scale[t] * c->x[t * d + j];
        }
        for (size_t place = plan->token_offset[t]; place < plan->token_offset[t + 1]; ++place) {
            const size_t row = plan->token_row[place];
            const float weight = plan->combine[place];
            for (size_t j = 0; j < d; ++j) {
                y[j] = y[j] + weight * slots[row * d + j];
            }
        }
    }
}

adamoe_status onednn_combine(const adamoe_run *run, size_t hidden_size, const float *x, const float *outputs,
                             const adamoe_plan *plan, float *y)
{
    combine_call c = {hidden_size, x, outputs, plan, y};
    const adamoe_team *team = run->team;
    team->run(team->state, (plan->tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK, combine_task, &c);
    return adamoe_ok();
}

/* Compiles what the tasks will need, and checks that the scratch memory suffices. */
static adamoe_status reserve(adamoe_prepared *p, const adamoe_plan *plan)
{
    for (size_t e = 0; e < p->experts; ++e) {
        packed_expert *expert = &p->expert[e];
        const size_t rows = plan->offset[e + 1] - plan->offset[e];
        ADAMOE_TRY(onednn_packed_reserve(&expert->w1, rows));
        ADAMOE_TRY(onednn_packed_reserve(&expert->w3, rows));
        ADAMOE_TRY(onednn_packed_reserve(&expert->w2, rows));
        ADAMOE_TRY(onednn_check_scratch(&expert->w1, p->scratch_bytes));
        ADAMOE_TRY(onednn_check_scratch(&expert->w3, p->scratch_bytes));
        ADAMOE_TRY(onednn_check_scratch(&expert->w2, p->scratch_bytes));
    }
    return adamoe_ok();
}

adamoe_status onednn_experts(adamoe_prepared *p, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    call c = {
        .prepared = p, .plan = plan, .x = x, .y = y, .work = run->work, .at = plan_layout(p, plan->rows)};
    if (run->work_bytes < c.at.total || run->team->threads > p->placement.threads) {
        return adamoe_error(ADAMOE_BAD_INPUT, "oneDNN: workspace too small, or more threads than placed");
    }
    ADAMOE_TRY(reserve(p, plan));
    c.failed = (onednn_failures){(adamoe_status *)(void *)(c.work + c.at.status), run->team->threads};
    onednn_clear(&c.failed);
    const adamoe_team *team = run->team;
    const size_t row_blocks = count_row_blocks(&c);
    team->run(team->state, onednn_row_blocks(plan->rows), gather_task, &c);
    run_product(&c, team, row_blocks, p->intermediate_size, up_task);
    run_product(&c, team, row_blocks, p->hidden_size, down_task);
    ADAMOE_TRY(
        onednn_combine(run, p->hidden_size, x, (const float *)(const void *)(c.work + c.at.slots), plan, y));
    return onednn_first_failure(&c.failed);
}

static void add_packed_names(char *text, size_t size, const onednn_packed *packed)
{
    for (size_t b = 0; b < packed->blocks; ++b) {
        onednn_add_names(text, size, onednn_product_implementation(packed->block[b]));
    }
}

void onednn_prepared_implementation(const adamoe_prepared *prepared, char *text, size_t size)
{
    text[0] = '\0';
    for (size_t e = 0; e < prepared->experts; ++e) {
        add_packed_names(text, size, &prepared->expert[e].w1);
        add_packed_names(text, size, &prepared->expert[e].w3);
        add_packed_names(text, size, &prepared->expert[e].w2);
    }
}
