/*
 * The experts of a layer on packed weights.
 *
 * A call has stages, each shared out by the team: pack the rows' inputs; w1 and w3 of every expert with
 * silu(w1 x) * (w3 x) before anything is stored, rounded if inputs are bfloat16; for inputs in steps, those; w2
 * into a slot for each row; for every token the sum over its slots in the plan's order. An expert without a
 * row is not touched.
 */
#include "packed/experts.h"
#include "machine/clock.h"
#include "machine/node_tasks.h"
#include "machine/keep_placement.h"
#include "packed/tasks.h"
#include "machine/placement.h"

#include <string.h>

typedef struct packed_expert {
    packed_matrix up;   /* w1 and w3, paired */
    packed_matrix down; /* w2 */
} packed_expert;

struct adamoe_prepared {
    adamoe_host host;
    adamoe_placement placement; /* thread_node is our own */
    const packed_products *products;
    size_t hidden_size, intermediate_size, experts;
    packed_expert *expert; /* [experts] */
};

void adamoe_packed_release(adamoe_prepared *prepared)
{
    if (prepared == NULL) {
        return;
    }
    const adamoe_host host = prepared->host;
    for (size_t e = 0; e < prepared->experts && prepared->expert != NULL; ++e) {
        adamoe_packed_free(&host, &prepared->expert[e].up);
        adamoe_packed_free(&host, &prepared->expert[e].down);
    }
    if (prepared->expert != NULL) {
        host.release(host.context, prepared->expert);
    }
    adamoe_free_kept_placement(&host, &prepared->placement);
    host.release(host.context, prepared);
}

static adamoe_status pack_experts(const adamoe_layer *layer, const adamoe_placement *placement,
                                  adamoe_prepared *p)
{
    for (size_t e = 0; e < layer->experts; ++e) {
        const adamoe_expert *expert = &layer->expert[e];
        const uint32_t node = placement->policy == ADAMOE_NUMA_EXPERTS
                                  ? adamoe_expert_node(placement, e, layer->experts)
                                  : ADAMOE_ALL_NODES;
        ADAMOE_TRY(adamoe_packed_create(&p->host, p->products, &expert->w1, &expert->w3, placement, node,
                                        &p->expert[e].up));
        ADAMOE_TRY(adamoe_packed_create(&p->host, p->products, &expert->w2, NULL, placement, node,
                                        &p->expert[e].down));
    }
    return adamoe_ok();
}

adamoe_status adamoe_packed_prepare(const packed_products *products, const adamoe_host *host,
                                    const adamoe_layer *layer, const adamoe_placement *placement,
                                    adamoe_prepared **out)
{
    if (layer->experts == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "a layer without experts");
    }
    const adamoe_status out_of_memory = adamoe_error(ADAMOE_ENVIRONMENT, "packed experts: out of memory");
    adamoe_prepared *prepared = host->allocate(host->context, sizeof *prepared, _Alignof(adamoe_prepared));
    if (prepared == NULL) {
        return out_of_memory;
    }
    *prepared = (adamoe_prepared){.host = *host,
                                  .products = products,
                                  .hidden_size = layer->hidden_size,
                                  .intermediate_size = layer->intermediate_size,
                                  .experts = layer->experts};
    const size_t bytes = layer->experts * sizeof *prepared->expert;
    prepared->expert = host->allocate(host->context, bytes, _Alignof(packed_expert));
    adamoe_status status = out_of_memory;
    if (prepared->expert != NULL) {
        memset(prepared->expert, 0, bytes);
        status = adamoe_keep_placement(host, placement, &prepared->placement);
    }
    if (status.code == ADAMOE_OK) {
        status = pack_experts(layer, placement, prepared);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_packed_release(prepared);
        return status;
    }
    *out = prepared;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------- workspace */

typedef struct layout {
    size_t groups;                                      /* the most that there can be */
    size_t group, share;                                /* offsets in bytes */
    size_t inputs, input_scale;                         /* of w1 and w3 */
    size_t hidden;                                      /* packed; for inputs in steps floats, row by row */
    size_t quantised, hidden_scale;                     /* inputs in steps only */
    size_t slots;                                       /* [rows, hidden_size] */
    size_t sums, widened, scratch, node_first;          /* sums, widened and scratch for each thread */
    size_t thread_sums, thread_widened, thread_scratch; /* bytes */
    size_t total;
} layout;

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Adds an array of `bytes` bytes and returns where it begins. */
static size_t add(layout *l, size_t bytes)
{
    const size_t at = l->total;
    l->total += aligned(bytes);
    return at;
}

static layout plan_layout(const adamoe_prepared *p, size_t rows)
{
    const packed_matrix *up = &p->expert[0].up, *down = &p->expert[0].down;
    const bool steps = p->products->quantise != NULL;
    const size_t depth = larger(p->hidden_size, p->intermediate_size), threads = p->placement.threads;
    layout l = {.groups = (p->experts < rows ? p->experts : rows) + rows / up->blocks.rows};
    l.thread_sums = aligned(larger(adamoe_packed_sums(up), adamoe_packed_sums(down)) * sizeof(float));
    l.thread_widened = aligned(larger(adamoe_packed_widened_bytes(up), adamoe_packed_widened_bytes(down)));
    l.thread_scratch = aligned(depth * sizeof(float));
    l.group = add(&l, l.groups * sizeof(packed_group));
    l.share = add(&l, larger(up->parts, down->parts) * l.groups * sizeof(packed_share));
    l.inputs = add(&l, adamoe_packed_input_bytes(p->products, rows, p->hidden_size));
    l.input_scale = add(&l, rows * sizeof(packed_row_scale));
    l.hidden = add(&l, steps ? rows * p->intermediate_size * sizeof(float)
                             : adamoe_packed_input_bytes(p->products, rows, p->intermediate_size));
    l.quantised = add(&l, steps ? adamoe_packed_input_bytes(p->products, rows, p->intermediate_size) : 0);
    l.hidden_scale = add(&l, rows * sizeof(packed_row_scale));
    l.slots = add(&l, rows * p->hidden_size * sizeof(float));
    l.sums = add(&l, threads * l.thread_sums);
    l.widened = add(&l, threads * l.thread_widened);
    l.scratch = add(&l, threads * l.thread_scratch);
    l.node_first = add(&l, (p->placement.nodes + 1) * sizeof(size_t));
    return l;
}

size_t adamoe_packed_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)tokens;
    return plan_layout(prepared, rows).total;
}

/* ------------------------------------------------------------------------------------------------ stages */

typedef struct call {
    const adamoe_prepared *prepared;
    const adamoe_run *run;
    const adamoe_plan *plan;
    const float *x;
    float *y;
    layout layout;
    char *work;
    packed_group *group; /* [groups] */
    size_t groups, tiles;
    packed_share *share;
} call;

static float *floats_at(const call *c, size_t offset)
{
    return (float *)(void *)(c->work + offset);
}

static packed_row_scale *scales_at(const call *c, size_t offset)
{
    return (packed_row_scale *)(void *)(c->work + offset);
}

/* The inputs of a group among those of all groups; `depth` as in adamoe_packed_input_bytes. */
static char *inputs_of(const call *c, size_t offset, const packed_group *group, size_t depth)
{
    return c->work + offset + adamoe_packed_input_bytes(c->prepared->products, group->first_row, depth);
}

/* The group that has tile `tile` of all tiles. */
static const packed_group *group_of_tile(const call *c, size_t tile)
{
    size_t low = 0, high = c->groups;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (c->group[middle].first_tile <= tile) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &c->group[low];
}

static void pack_inputs_task(void *context, size_t i, uint32_t thread)
{
    const call *c = context;
    const adamoe_prepared *p = c->prepared;
    const packed_group *group = group_of_tile(c, i);
    const packed_rows rows = adamoe_packed_tile_rows(group, i - group->first_tile);
    const size_t first = group->first_row + rows.first;
    const float *terms[PACKED_MOST_ROWS];
    for (size_t r = 0; r < rows.count; ++r) {
        terms[r] = c->x + c->plan->input[first + r] * p->hidden_size;
    }
    adamoe_packed_store_tile(&p->expert[group->expert].up, group, i - group->first_tile, terms,
                             c->plan->dispatch == NULL ? NULL : c->plan->dispatch + first,
                             floats_at(c, c->layout.scratch + thread * c->layout.thread_scratch),
                             inputs_of(c, c->layout.inputs, group, p->hidden_size),
                             scales_at(c, c->layout.input_scale) + first);
}

/* h of one tile and panel, `outputs` of them from `output` on, among the inputs of w2. */
static void store_inputs(const call *c, const packed_group *group, size_t tile, const float *sums,
                         size_t stride, size_t output, size_t outputs)
{
    const packed_products *products = c->prepared->products;
    const packed_matrix *down = &c->prepared->expert[group->expert].down;
    const size_t rows = adamoe_packed_tile_rows(group, tile).count, ff = c->prepared->intermediate_size;
    const size_t first = output / down->blocks.depth * down->blocks.depth;
    float hidden[PACKED_MOST_ROWS][PACKED_MOST_LANES];
    const float *row[PACKED_MOST_ROWS];
    for (size_t r = 0; r < rows; ++r) {
        row[r] = hidden[r];
    }
    char *const inputs = inputs_of(c, c->layout.hidden, group, ff);
    products->gate(sums, stride, rows, outputs, hidden[0], PACKED_MOST_LANES);
    adamoe_packed_store_terms(products, rows, row, output - first, outputs,
                              inputs + adamoe_packed_input_at(down, group, tile, first));
    if (output + outputs == ff) {
        adamoe_packed_pad(down, group, tile, inputs);
    }
}

/* h of the panels of a task, from the sums of w1 and w3. */
static void store_hidden(const call *c, const packed_group *group, const packed_part *part,
                         const packed_task *task, const float *sums)
{
    const adamoe_prepared *p = c->prepared;
    const size_t lanes = p->products->lanes, ff = p->intermediate_size;
    const size_t stride = task->panels * PACKED_VECTORS * lanes;
    for (size_t t = 0; t < group->tiles; ++t) {
        const packed_rows rows = adamoe_packed_tile_rows(group, t);
        for (size_t panel = 0; panel < task->panels; ++panel) {
            const size_t output = (part->first_panel + task->first_panel + panel) * lanes;
            const size_t outputs = ff - output < lanes ? ff - output : lanes;
            const float *from = sums + rows.first * stride + panel * PACKED_VECTORS * lanes;
            if (p->products->quantise != NULL) {
                float *to = floats_at(c, c->layout.hidden) + (group->first_row + rows.first) * ff + output;
                p->products->gate(from, stride, rows.count, outputs, to, ff);
            } else {
                store_inputs(c, group, t, from, stride, output, outputs);
            }
        }
    }
}

static void up_task(void *context, size_t i, uint32_t thread)
{
    const call *c = context;
    const adamoe_prepared *p = c->prepared;
    const packed_task task = adamoe_packed_task(&p->expert[0].up, c->share, c->groups, i);
    const packed_group *group = &c->group[task.group];
    const packed_matrix *up = &p->expert[group->expert].up;
    const packed_sums sums = {floats_at(c, c->layout.sums + thread * c->layout.thread_sums),
                              task.panels * PACKED_VECTORS * p->products->lanes};
    adamoe_packed_multiply(up, &up->part[task.part], task.first_panel, task.panels, group,
                           inputs_of(c, c->layout.inputs, group, p->hidden_size),
                           scales_at(c, c->layout.input_scale) + group->first_row, sums,
                           c->work + c->layout.widened + thread * c->layout.thread_widened);
    store_hidden(c, group, &up->part[task.part], &task, sums.at);
}

/* Inputs in steps only. */
static void quantise_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const call *c = context;
    const adamoe_prepared *p = c->prepared;
    const size_t ff = p->intermediate_size;
    const packed_group *group = group_of_tile(c, i);
    const packed_rows rows = adamoe_packed_tile_rows(group, i - group->first_tile);
    const size_t first = group->first_row + rows.first;
    const float *terms[PACKED_MOST_ROWS];
    for (size_t r = 0; r < rows.count; ++r) {
        terms[r] = floats_at(c, c->layout.hidden) + (first + r) * ff;
    }
    adamoe_packed_store_tile(&p->expert[group->expert].down, group, i - group->first_tile, terms, NULL, NULL,
                             inputs_of(c, c->layout.quantised, group, ff),
                             scales_at(c, c->layout.hidden_scale) + first);
}

static void down_task(void *context, size_t i, uint32_t thread)
{
    const call *c = context;
    const adamoe_prepared *p = c->prepared;
    const packed_task task = adamoe_packed_task(&p->expert[0].down, c->share, c->groups, i);
    const packed_group *group = &c->group[task.group];
    const packed_matrix *down = &p->expert[group->expert].down;
    const packed_part *part = &down->part[task.part];
    const size_t offset = p->products->quantise != NULL ? c->layout.quantised : c->layout.hidden;
    float *const own = floats_at(c, c->layout.sums + thread * c->layout.thread_sums);
    float *const out = floats_at(c, c->layout.slots) + group->first_row * p->hidden_size;
    const packed_sums sums = adamoe_packed_sums_of(down, &task, own, out, p->hidden_size);
    adamoe_packed_multiply(down, part, task.first_panel, task.panels, group,
                           inputs_of(c, offset, group, p->intermediate_size),
                           scales_at(c, c->layout.hidden_scale) + group->first_row, sums,
                           c->work + c->layout.widened + thread * c->layout.thread_widened);
    adamoe_packed_store(down, &task, group->rows, sums, out, p->hidden_size);
}

#define TOKENS_PER_TASK 4

typedef struct combine_call {
    const packed_products *products;
    size_t hidden_size;
    const float *x, *slots;
    const adamoe_plan *plan;
    float *y;
} combine_call;

static void combine_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const combine_call *c = context;
    const adamoe_plan *plan = c->plan;
    const size_t d = c->hidden_size, first = i * TOKENS_PER_TASK;
    const size_t end = plan->tokens - first < TOKENS_PER_TASK ? plan->tokens : first + TOKENS_PER_TASK;
    for (size_t t = first; t < end; ++t) {
        const size_t place = plan->token_offset[t];
        c->products->combine(d, plan->token_offset[t + 1] - place, plan->combine + place, c->slots,
                             plan->token_row + place, plan->self_scale == NULL ? 0.0f : plan->self_scale[t],
                             plan->self_scale == NULL ? NULL : c->x + t * d, c->y + t * d);
    }
}

adamoe_status adamoe_packed_combine(const packed_products *products, const adamoe_run *run,
                                    size_t hidden_size, const float *x, const float *outputs,
                                    const adamoe_plan *plan, float *y)
{
    combine_call c = {products, hidden_size, x, outputs, plan, y};
    run->team->run(run->team->state, (plan->tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK, combine_task,
                   &c);
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- a call */

static void cut_rows(call *c)
{
    const adamoe_prepared *p = c->prepared;
    for (size_t e = 0; e < c->plan->experts; ++e) {
        const size_t first = c->plan->offset[e], rows = c->plan->offset[e + 1] - first;
        const size_t groups = adamoe_packed_cut(p->products, p->expert[0].up.blocks.rows, e, first, rows,
                                                c->tiles, c->group + c->groups);
        c->groups += groups;
        if (groups > 0) {
            c->tiles = c->group[c->groups - 1].first_tile + c->group[c->groups - 1].tiles;
        }
    }
}

static uint32_t group_node(const void *context, size_t group)
{
    const call *c = context;
    return adamoe_expert_node(&c->prepared->placement, c->group[group].expert, c->prepared->experts);
}

static void run_product(call *c, const packed_matrix *matrix,
                        void (*task)(void *context, size_t i, uint32_t thread))
{
    size_t *first = (size_t *)(void *)(c->work + c->layout.node_first);
    const size_t tasks =
        adamoe_packed_share(matrix, c->group, c->groups, c->prepared->placement.threads, c->share);
    adamoe_packed_node_tasks(matrix, c->share, c->groups, tasks, &c->prepared->placement, group_node, c,
                             first);
    adamoe_run_by_node(c->run->team, &c->prepared->placement, first, task, c);
}

static double add_stage(const call *c, int stage, double start)
{
    const double now = adamoe_now();
    if (c->run->stage_seconds != NULL) {
        c->run->stage_seconds[stage] += now - start;
    }
    return now;
}

adamoe_status adamoe_packed_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                    const adamoe_plan *plan, float *y)
{
    call c = {.prepared = prepared,
              .run = run,
              .plan = plan,
              .x = x,
              .y = y,
              .layout = plan_layout(prepared, plan->rows),
              .work = run->work};
    if (run->work_bytes < c.layout.total) {
        return adamoe_error(ADAMOE_BAD_INPUT, "packed experts: workspace too small");
    }
    const adamoe_team *team = run->team;
    c.group = (packed_group *)(void *)(c.work + c.layout.group);
    c.share = (packed_share *)(void *)(c.work + c.layout.share);
    double start = adamoe_now();
    if (plan->rows > 0) {
        cut_rows(&c);
        team->run(team->state, c.tiles, pack_inputs_task, &c);
        run_product(&c, &prepared->expert[0].up, up_task);
        start = add_stage(&c, ADAMOE_STAGE_UP, start);
        if (prepared->products->quantise != NULL) {
            team->run(team->state, c.tiles, quantise_task, &c);
        }
        run_product(&c, &prepared->expert[0].down, down_task);
        start = add_stage(&c, ADAMOE_STAGE_DOWN, start);
    }
    const adamoe_status status = adamoe_packed_combine(prepared->products, run, prepared->hidden_size, x,
                                                       floats_at(&c, c.layout.slots), plan, y);
    (void)add_stage(&c, ADAMOE_STAGE_COMBINE, start);
    return status;
}
