/*
 * Wrong kernels that need more threads or nodes than a desktop has, another team than they expect, or tasks in an
 * order that is neither up nor down.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

/* --------------------------------------------------------------------------------- C: how many threads */

/* Which threads have work is kept in the bits of a byte. Wrong from 9 threads on. */
static void row_of_8_threads(void *call, size_t row, uint32_t thread)
{
    const kernel_call *c = call;
    const size_t d = c->prepared->hidden_size;
    honest_row_task(call, row, thread);
    if (thread >= 8) {
        memset(c->outputs + row * d, 0, d * sizeof *c->outputs);
    }
}

static void run_with_8_threads(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    team->run(team->state, c->plan->rows, row_of_8_threads, c);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}
WRONG_KERNEL(threads_9, "wrong-threads-8", "what threads from the ninth on compute is lost", ADAMOE_FLOAT32,
             .run = run_with_8_threads);

/* The scratch of 16 threads is asked for, that of all is used. Wrong from 17 threads on: writes outside of its
 * workspace. */
static size_t work_of_16_threads(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    const size_t each = (prepared->hidden_size + prepared->intermediate_size) * sizeof(float);
    const size_t without = prepared->threads > 16 ? prepared->threads - 16 : 0;
    return honest_work_bytes(prepared, rows, tokens) - without * each;
}
WRONG_KERNEL(threads_17, "wrong-work-of-16-threads", "workspace for 16 threads at most is asked for",
             ADAMOE_FLOAT32, .work_bytes = work_of_16_threads);

/* As right as any sum, but it promises the same bits for any number of threads. Other bits from 16 threads on. */
static float dot_in_parts_of_8(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                               const operand *x)
{
    const size_t threads = c->run->team->threads, parts = threads < 16 ? 1 : threads / 8;
    const float *weight = matrix->value + r * matrix->columns;
    float total = 0.0f;
    (void)row;
    for (size_t part = 0; part < parts; ++part) {
        float sum = 0.0f;
        for (size_t i = part; i < matrix->columns; i += parts) {
            sum = fmaf(weight[i], x->value[i], sum);
        }
        total = part == 0 ? sum : total + sum;
    }
    return total;
}
WRONG_KERNEL(order_over_8, "wrong-order-by-threads-over-8", "groups of eight threads sum a part each",
             ADAMOE_FLOAT32, .dot = dot_in_parts_of_8);

/* ------------------------------------------------------------------------------------------ C: which team */

/* So many shares as the placement has threads, so many tasks as the team has. Wrong for a team that is smaller
 * than the placement, which the contract allows. */
static void share_of_placement(void *call, size_t share, uint32_t thread)
{
    const kernel_call *c = call;
    for (size_t row = share; row < c->plan->rows; row += c->prepared->threads) {
        honest_row_task(call, row, thread);
    }
}

static void run_in_shares(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    memset(c->outputs, 0, c->plan->rows * c->prepared->hidden_size * sizeof *c->outputs);
    team->run(team->state, team->threads, share_of_placement, c);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}
WRONG_KERNEL(smaller_team, "wrong-smaller-team", "rows are shared out to threads that the team does not have",
             ADAMOE_FLOAT32, .run = run_in_shares);

/* A table of four nodes. Wrong for five nodes and more. */
static void down_of_4_nodes(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                            float *output)
{
    honest_down(c, row, expert, h, output);
    if ((size_t)(expert - c->prepared->expert) % c->nodes >= 4) {
        memset(output, 0, expert->w2.rows * sizeof *output);
    }
}
WRONG_KERNEL(nodes_5, "wrong-nodes-4", "experts on nodes from the fifth on are not computed", ADAMOE_FLOAT32,
             .down = down_of_4_nodes);

/* thread_node may be NULL: all threads are on node 0 then, however many nodes there are. Crashes there. */
KERNEL_PIECES(node_of_thread, ADAMOE_FLOAT32, .run = honest_run);
KERNEL_PREPARES_MATRIX(node_of_thread)

static volatile uint32_t home;

static adamoe_status node_of_thread_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                            const adamoe_placement *placement, adamoe_prepared **out)
{
    home = placement->nodes > 1 ? placement->thread_node[0] : 0;
    return prepare_pieces(&node_of_thread_pieces, host, layer, placement, out);
}
KERNEL_TABLE(node_of_thread, "wrong-thread-node-null", "the nodes of threads are read where none are given",
             ADAMOE_FLOAT32, (.tiles = {4, 8, 4}, .silu_error = 4.0f, HONEST_RELEASES));

/* ----------------------------------------------------------------------------------- D: order, and real races */

/* Each thread keeps the packed weights of two experts, by the parity of their ids, and takes the expert before the
 * last for one of them: which it is not where an expert of the same parity came between. Wrong where a thread's
 * tasks go from expert e to e + 2 and back; never where they ascend or descend. */
enum { MOST_THREADS = 64 };

typedef struct two_experts {
    const packed_expert *kept[2];
    size_t last, before; /* 1 + the expert; 0: none */
} two_experts;

static void row_of_two_experts(void *call, size_t row, uint32_t thread)
{
    const kernel_call *c = call;
    const size_t e = honest_expert_of(c->plan, row);
    two_experts *mine = (two_experts *)c->prepared->own + thread % MOST_THREADS;
    if (mine->last != e + 1) {
        if (mine->before != e + 1) {
            mine->kept[e % 2] = &c->prepared->expert[e];
        }
        mine->before = mine->last;
        mine->last = e + 1;
    }
    honest_compute_row(c, row, mine->kept[e % 2], thread);
}

static void run_with_two_experts(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    memset(c->prepared->own, 0, MOST_THREADS * sizeof(two_experts));
    team->run(team->state, c->plan->rows, row_of_two_experts, c);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}
WRONG_KERNEL(order_of_tasks, "wrong-order-of-tasks", "a thread's tasks must ascend, or descend",
             ADAMOE_FLOAT32, .run = run_with_two_experts, .own_bytes = MOST_THREADS * sizeof(two_experts));

/* What a task computes on is slot `task mod 32` of a ring, as if no task were ever 32 behind another: as they are
 * where tasks begin in ascending order and none is held up. A data race where one is. */
enum { SLOTS = 32 };

static size_t work_of_ring(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    const size_t each = (prepared->hidden_size + prepared->intermediate_size) * sizeof(float);
    return honest_work_bytes(prepared, rows, tokens) + SLOTS * each;
}

static void row_in_ring(void *call, size_t row, uint32_t thread)
{
    (void)thread;
    honest_row_task(call, row, (uint32_t)(row % SLOTS));
}

static void run_in_ring(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    c->scratch = c->outputs + c->plan->rows * c->prepared->hidden_size;
    team->run(team->state, c->plan->rows, row_in_ring, c);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}
WRONG_KERNEL(ring_of_32, "wrong-ring-of-32", "a task's memory is a slot of a ring, by its number",
             ADAMOE_FLOAT32, .run = run_in_ring, .work_bytes = work_of_ring);

/* The first task that needs a copy of a row of weights makes it, and says that it is there before its last value
 * is. Wrong where another thread reads it within that nanosecond: a data race by the letter of C, and seen by
 * ThreadSanitizer in every run with two threads. */
enum { COPIED = 64 };

typedef struct copied_row {
    int ready;
    float value[COPIED];
} copied_row;

static void copy_row(const packed_matrix *matrix, copied_row *copy)
{
    const size_t count = matrix->columns < COPIED ? matrix->columns : COPIED;
    memcpy(copy->value, matrix->value, (count - 1) * sizeof *copy->value);
    copy->ready = 1;
    copy->value[count - 1] = matrix->value[count - 1];
}

static float dot_of_copy(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                         const operand *x)
{
    if (c->plan == NULL || r != 0 || matrix->columns > COPIED || matrix != &c->prepared->expert[0].w2) {
        return honest_dot(c, row, matrix, r, x);
    }
    copied_row *copy = c->prepared->own;
    if (!copy->ready) {
        copy_row(matrix, copy);
    }
    const packed_matrix one = {1, matrix->columns, copy->value, matrix->scale};
    return honest_dot(c, row, &one, 0, x);
}
WRONG_KERNEL(published_early, "wrong-published-early",
             "a copy is declared complete before its last value is there", ADAMOE_FLOAT32, .dot = dot_of_copy,
             .own_bytes = sizeof(copied_row));

EXPORT_KERNELS(&threads_9, &threads_17, &order_over_8, &smaller_team, &nodes_5, &node_of_thread,
               &order_of_tasks, &ring_of_32, &published_early);
