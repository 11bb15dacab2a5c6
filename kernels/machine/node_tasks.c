/*
 * Tasks shared out by NUMA node: a queue for each node, from which the node's own threads take first.
 *
 * Each thread of the team gets a seat, one task of the team's run, but a quick thread may take two seats
 * before a sleeping one wakes. So a seat is finished only when the node that it stands for has been seen to:
 * by a thread of that node, which leaves only when the node's queue is empty, or by whoever took the seat.
 */
#include "machine/node_tasks.h"

#include <stdatomic.h>

/* Apart by a cache line, and by the one that is fetched beside it. */
#define LINES 128

typedef struct node_queue {
    _Alignas(LINES) atomic_size_t next;
    size_t end;
    atomic_bool attended; /* a thread of the node takes from it, and will until it is empty */
    bool has_thread;      /* in this team */
} node_queue;

typedef struct node_tasks {
    const adamoe_placement *placement;
    bool help; /* other nodes' tasks may be taken while their own threads are at work */
    void (*task)(void *context, size_t i, uint32_t thread);
    void *context;
    node_queue queue[ADAMOE_MAX_NODES];
} node_tasks;

static void empty_queue(node_tasks *tasks, uint32_t node, uint32_t thread)
{
    node_queue *queue = &tasks->queue[node];
    for (;;) {
        const size_t i = atomic_fetch_add_explicit(&queue->next, 1, memory_order_relaxed);
        if (i >= queue->end) {
            return;
        }
        tasks->task(tasks->context, i, thread);
    }
}

/* Seat i of the team's run, taken by a thread. */
static void take_seat(void *context, size_t seat, uint32_t thread)
{
    node_tasks *tasks = context;
    const uint32_t nodes = tasks->placement->nodes, home = adamoe_thread_node(tasks->placement, thread);
    const uint32_t seat_node = adamoe_thread_node(tasks->placement, (uint32_t)seat);
    atomic_store_explicit(&tasks->queue[home].attended, true, memory_order_relaxed);
    empty_queue(tasks, home, thread);
    for (uint32_t step = 1; step < nodes; ++step) {
        const uint32_t node = (home + step) % nodes;
        node_queue *queue = &tasks->queue[node];
        const bool alone = !atomic_load_explicit(&queue->attended, memory_order_relaxed);
        if (tasks->help || !queue->has_thread || (node == seat_node && alone)) {
            empty_queue(tasks, node, thread);
        }
    }
}

void adamoe_run_by_node(const adamoe_team *team, const adamoe_placement *placement, const size_t *first,
                        void (*task)(void *context, size_t i, uint32_t thread), void *context)
{
    const uint32_t nodes = placement->nodes;
    if (nodes == 1 || team->threads == 1) {
        team->run(team->state, first[nodes], task, context);
        return;
    }
    node_tasks tasks = {.placement = placement,
                        .help = placement->policy == ADAMOE_NUMA_LOCAL ||
                                placement->policy == ADAMOE_NUMA_INTERLEAVE,
                        .task = task,
                        .context = context};
    for (uint32_t n = 0; n < nodes; ++n) {
        atomic_init(&tasks.queue[n].next, first[n]);
        tasks.queue[n].end = first[n + 1];
    }
    for (uint32_t t = 0; t < team->threads; ++t) {
        tasks.queue[adamoe_thread_node(placement, t)].has_thread = true;
    }
    team->run(team->state, team->threads, take_seat, &tasks);
}
