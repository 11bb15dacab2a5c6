/*
 * Blocked products: a task is a block of one result. For each block of depth it packs its part of b once, and
 * of a some tiles at a time, so that a panel of b stays in the first cache while the tiles pass over it, and
 * both blocks in the second.
 */
#include "train/gemm.h"
#include "train/gemm_pack.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_BLOCK  ADAMOE_GEMM_MOST_TERMS /* a panel of 16 columns: 16 KiB */
#define DEPTH_UNIT   4
#define MOST_COLUMNS 256 /* of a task: what is packed of b takes 256 KiB */
#define MOST_ROWS    768 /* of a task */
#define ROWS_AT_ONCE 96  /* of a, packed together */

/* Multiply-adds in about the time that it takes to pack an element. No result depends on it. */
#define PACKING 16.0

/* Rows and columns of a task, from the cheapest to pack to the finest. No result depends on them. */
typedef struct task_size {
    size_t rows, columns;
} task_size;

static const task_size task_sizes[] = {
    {MOST_ROWS, MOST_COLUMNS}, {384, 256}, {192, 256}, {96, 128}, {48, 64}};

/* A product among those of a call. */
typedef struct queued_gemm {
    size_t index; /* in the call's list */
    size_t work;  /* multiply-adds of one of its tasks */
    size_t first_task;
} queued_gemm;

struct adamoe_gemm_space {
    const packed_products *tiles;
    const adamoe_team *team;
    size_t most;
    queued_gemm *queue; /* [most + 1] */
    float *packed;      /* [threads, packed_floats] */
};

/* One call. */
typedef struct gemm_call {
    const adamoe_gemm_space *space;
    const adamoe_gemm *gemm;
    size_t count;
    task_size size;
} gemm_call;

/* Room for the last panel and the last tile to be whole. */
static size_t packed_floats_a(void)
{
    return (ROWS_AT_ONCE + PACKED_VECTOR_ROWS) * DEPTH_BLOCK;
}

static size_t panel_width(const packed_products *tiles)
{
    return PACKED_VECTORS * tiles->lanes;
}

static size_t packed_floats_b(const packed_products *tiles)
{
    return (MOST_COLUMNS + panel_width(tiles)) * DEPTH_BLOCK;
}

adamoe_gemm adamoe_gemm_forward(const float *x, const float *w, size_t rows, size_t in, size_t out, float *y)
{
    return (adamoe_gemm){rows, out, in, {x, in, NULL, false}, {w, in, NULL, true}, y, out, false};
}

adamoe_gemm adamoe_gemm_to_input(const float *dy, const float *w, size_t rows, size_t in, size_t out,
                                 float *dx)
{
    return (adamoe_gemm){rows, in, out, {dy, out, NULL, false}, {w, in, NULL, false}, dx, in, false};
}

adamoe_gemm adamoe_gemm_to_weight(const float *dy, const float *x, size_t rows, size_t in, size_t out,
                                  float *dw)
{
    return (adamoe_gemm){out, in, rows, {dy, out, NULL, true}, {x, in, NULL, false}, dw, in, false};
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t packed_bytes(const packed_products *tiles, uint32_t threads)
{
    return threads * (packed_floats_a() + packed_floats_b(tiles)) * sizeof(float);
}

size_t adamoe_gemm_space_bytes(const packed_products *tiles, uint32_t threads, size_t most)
{
    return aligned(sizeof(adamoe_gemm_space)) + aligned(packed_bytes(tiles, threads)) +
           aligned((most + 1) * sizeof(queued_gemm));
}

adamoe_gemm_space *adamoe_gemm_space_place(const packed_products *tiles, const adamoe_team *team, size_t most,
                                           void *memory)
{
    adamoe_gemm_space *space = memory;
    char *packed = (char *)memory + aligned(sizeof *space);
    *space = (adamoe_gemm_space){
        .tiles = tiles,
        .team = team,
        .most = most,
        .queue = (queued_gemm *)(void *)(packed + aligned(packed_bytes(tiles, team->threads))),
        .packed = (float *)(void *)packed};
    return space;
}

adamoe_status adamoe_gemm_space_create(const packed_products *tiles, const adamoe_team *team, size_t most,
                                       adamoe_gemm_space **out)
{
    void *memory = aligned_alloc(64, adamoe_gemm_space_bytes(tiles, team->threads, most));
    if (memory == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "products: out of memory for %u threads", team->threads);
    }
    *out = adamoe_gemm_space_place(tiles, team, most, memory);
    return adamoe_ok();
}

void adamoe_gemm_space_free(adamoe_gemm_space *space)
{
    free(space);
}

/* What one task has at hand. */
typedef struct block {
    const adamoe_gemm *gemm;
    const packed_products *tiles;
    size_t most_rows, width; /* of a tile */
    size_t row, rows, column, columns;
    float *a, *b; /* packed: tile after tile, panel after panel */
} block;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void pack_a(const block *t, size_t row, size_t rows, size_t first, size_t depth)
{
    const adamoe_gemm_operand *a = &t->gemm->a;
    adamoe_gemm_pack(t->tiles, &(gemm_part){a, !a->transposed, row, rows, first, depth}, t->most_rows, false,
                     t->a);
}

static void pack_b(const block *t, size_t first, size_t depth)
{
    const adamoe_gemm_operand *b = &t->gemm->b;
    adamoe_gemm_pack(t->tiles, &(gemm_part){b, b->transposed, t->column, t->columns, first, depth}, t->width,
                     true, t->b);
}

static void tile(const block *t, size_t depth, size_t rows, const float *a, const float *b, float *c,
                 size_t stride, bool first)
{
    t->tiles->tile[rows].panels[0](depth, a, b, 0, c, stride, first, (packed_ahead){NULL, 0});
}

/* A tile at the right edge computes whole vectors beside the result. */
static void edge_tile(const block *t, size_t depth, size_t rows, const float *a, const float *b, float *c,
                      size_t columns, bool first)
{
    float sums[PACKED_VECTOR_ROWS * 64] = {0};
    for (size_t r = 0; r < rows && !first; ++r) {
        memcpy(sums + r * t->width, c + r * t->gemm->stride, columns * sizeof *sums);
    }
    tile(t, depth, rows, a, b, sums, t->width, first);
    for (size_t r = 0; r < rows; ++r) {
        memcpy(c + r * t->gemm->stride, sums + r * t->width, columns * sizeof *sums);
    }
}

static void multiply(const block *t, size_t row, size_t rows, size_t depth, bool first)
{
    const size_t stride = t->gemm->stride;
    for (size_t c = 0; c < t->columns; c += t->width) {
        const size_t columns = smaller(t->columns - c, t->width);
        const float *b = t->b + c * depth;
        for (size_t r = 0; r < rows; r += t->most_rows) {
            const size_t here = smaller(rows - r, t->most_rows);
            const float *a = t->a + r * depth;
            float *to = t->gemm->c + (row + r) * stride + t->column + c;
            if (columns < t->width) {
                edge_tile(t, depth, here, a, b, to, columns, first);
            } else {
                tile(t, depth, here, a, b, to, stride, first);
            }
        }
    }
}

static void clear(const block *t)
{
    for (size_t r = 0; r < t->rows; ++r) {
        memset(t->gemm->c + (t->row + r) * t->gemm->stride + t->column, 0, t->columns * sizeof(float));
    }
}

static size_t pieces(size_t whole, size_t piece)
{
    return (whole + piece - 1) / piece;
}

/* Cuts into as few pieces as `most` allows, of equal length but for what makes it a multiple of `unit`. */
static size_t piece_of(size_t whole, size_t most, size_t unit)
{
    const size_t count = pieces(whole, most);
    return count == 0 ? most : pieces(pieces(whole, count), unit) * unit;
}

static void compute(const block *t)
{
    if (t->gemm->depth == 0 && !t->gemm->add) {
        clear(t);
    }
    const size_t depth_block = piece_of(t->gemm->depth, DEPTH_BLOCK, DEPTH_UNIT);
    for (size_t k = 0; k < t->gemm->depth; k += depth_block) {
        const size_t depth = smaller(t->gemm->depth - k, depth_block);
        pack_b(t, k, depth);
        const size_t at_once = ROWS_AT_ONCE / t->most_rows * t->most_rows;
        for (size_t r = 0; r < t->rows; r += at_once) {
            const size_t rows = smaller(t->rows - r, at_once);
            pack_a(t, t->row + r, rows, k, depth);
            multiply(t, t->row + r, rows, depth, k == 0 && !t->gemm->add);
        }
    }
}

/* The product that a task belongs to. */
static const queued_gemm *find_gemm(const gemm_call *call, size_t task)
{
    const queued_gemm *queue = call->space->queue;
    size_t low = 0, high = call->count;
    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        if (queue[middle].first_task <= task) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &queue[low];
}

/* Tasks of one product are of equal size, in whole tiles and panels. */
static task_size fit(const adamoe_gemm_space *space, const adamoe_gemm *gemm, task_size most)
{
    return (task_size){piece_of(gemm->rows, most.rows, space->tiles->most_rows),
                       piece_of(gemm->columns, most.columns, panel_width(space->tiles))};
}

static void gemm_task(void *context, size_t i, uint32_t thread)
{
    const gemm_call *call = context;
    const adamoe_gemm_space *space = call->space;
    const queued_gemm *queued = find_gemm(call, i);
    const adamoe_gemm *gemm = &call->gemm[queued->index];
    const task_size size = fit(space, gemm, call->size);
    const size_t across = pieces(gemm->columns, size.columns), at = i - queued->first_task;
    const size_t row = at / across * size.rows, column = at % across * size.columns;
    float *packed = space->packed + thread * (packed_floats_a() + packed_floats_b(space->tiles));
    const block t = {.gemm = gemm,
                     .tiles = space->tiles,
                     .most_rows = space->tiles->most_rows,
                     .width = panel_width(space->tiles),
                     .row = row,
                     .rows = smaller(gemm->rows - row, size.rows),
                     .column = column,
                     .columns = smaller(gemm->columns - column, size.columns),
                     .a = packed,
                     .b = packed + packed_floats_a()};
    compute(&t);
}

static size_t tasks_of(const adamoe_gemm *gemm, task_size size)
{
    return pieces(gemm->rows, size.rows) * pieces(gemm->columns, size.columns);
}

static int by_descending_work(const void *a, const void *b)
{
    const queued_gemm *x = a, *y = b;
    return x->work != y->work ? (x->work < y->work ? 1 : -1) : x->index > y->index ? 1 : -1;
}

/* The longest tasks first: where experts have few rows and many, the last task decides how long threads wait.
 * Products without a task come last, where find_gemm does not look. */
static void queue_products(const gemm_call *call)
{
    const adamoe_gemm_space *space = call->space;
    for (size_t g = 0; g < call->count; ++g) {
        const adamoe_gemm *gemm = &call->gemm[g];
        const task_size size = fit(space, gemm, call->size);
        const size_t rows = smaller(gemm->rows, size.rows), columns = smaller(gemm->columns, size.columns);
        space->queue[g] = (queued_gemm){.index = g, .work = rows * columns * (gemm->depth + 1)};
    }
    qsort(space->queue, call->count, sizeof *space->queue, by_descending_work);
    size_t tasks = 0;
    for (size_t i = 0; i < call->count; ++i) {
        const adamoe_gemm *gemm = &call->gemm[space->queue[i].index];
        space->queue[i].first_task = tasks;
        tasks += tasks_of(gemm, fit(space, gemm, call->size));
    }
}

/* What a call costs in multiply-adds, if its products are cut into tasks of this size. */
typedef struct call_cost {
    size_t tasks;
    double total, largest; /* of a task */
} call_cost;

static call_cost cost_of(const gemm_call *call, task_size most)
{
    call_cost cost = {0};
    for (size_t g = 0; g < call->count; ++g) {
        const adamoe_gemm *gemm = &call->gemm[g];
        const task_size size = fit(call->space, gemm, most);
        const size_t down = pieces(gemm->rows, size.rows), across = pieces(gemm->columns, size.columns);
        const size_t packed = gemm->rows * across + gemm->columns * down, tasks = down * across;
        const double work =
            ((double)gemm->rows * (double)gemm->columns + PACKING * (double)packed) * (double)gemm->depth;
        cost.tasks += tasks;
        cost.total += work;
        if (tasks > 0 && work / (double)tasks > cost.largest) {
            cost.largest = work / (double)tasks;
        }
    }
    return cost;
}

/* The time until the last thread is done, if the others wait for half of a task on the average. */
static double expected_time(call_cost cost, double threads)
{
    return (cost.total + 0.5 * (threads - 1.0) * cost.largest) / threads;
}

void adamoe_gemm_run(adamoe_gemm_space *space, const adamoe_gemm *gemm, size_t count)
{
    const size_t sizes = sizeof task_sizes / sizeof *task_sizes;
    const double threads = (double)space->team->threads;
    gemm_call call = {.space = space, .gemm = gemm, .count = count, .size = task_sizes[0]};
    call_cost best = cost_of(&call, task_sizes[0]);
    for (size_t s = 1; s < sizes; ++s) {
        const call_cost cost = cost_of(&call, task_sizes[s]);
        if (expected_time(cost, threads) < expected_time(best, threads)) {
            best = cost;
            call.size = task_sizes[s];
        }
    }
    if (best.tasks > 0) {
        queue_products(&call);
        space->team->run(space->team->state, best.tasks, gemm_task, &call);
    }
}
