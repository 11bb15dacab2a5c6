/*
 * The shares of nodes in threads, experts and panels, and tasks shared out by node: each task once, on its
 * own node under experts and split wherever one of that node's threads is there.
 */
#include "machine/host.h"
#include "machine/node_tasks.h"
#include "machine/placement.h"
#include "machine/team.h"
#include "test.h"

#include <stdatomic.h>

/* A topology of `nodes` nodes of `cpus` processors each, numbered from 1000 so that the caller is on none. */
static adamoe_topology make_topology(uint32_t nodes, uint32_t cpus, uint32_t *cpu)
{
    adamoe_topology topology = {.nodes = nodes};
    for (uint32_t i = 0; i < nodes * cpus; ++i) {
        cpu[i] = 1000 + i;
    }
    for (uint32_t n = 0; n < nodes; ++n) {
        topology.node[n] = (adamoe_topology_node){.cpus = cpus, .cpu = cpu + n * cpus};
    }
    return topology;
}

static void assert_threads(const adamoe_topology *topology, adamoe_numa_policy policy, uint32_t threads,
                           const uint32_t *expected)
{
    adamoe_placement *placement = NULL;
    assert_ok(adamoe_placement_create(topology, policy, threads, &placement));
    assert_int_equal(placement->nodes, topology->nodes);
    assert_int_equal(placement->threads, threads);
    for (uint32_t t = 0; t < threads; ++t) {
        assert_int_equal(adamoe_thread_node(placement, t), expected[t]);
    }
    adamoe_placement_free(placement);
}

static void threads_on_nodes(void **state)
{
    (void)state;
    uint32_t cpu[8];
    const adamoe_topology two = make_topology(2, 4, cpu);
    assert_threads(&two, ADAMOE_NUMA_EXPERTS, 4, (uint32_t[]){0, 0, 1, 1});
    assert_threads(&two, ADAMOE_NUMA_SPLIT, 3, (uint32_t[]){0, 0, 1});
    assert_threads(&two, ADAMOE_NUMA_INTERLEAVE, 1, (uint32_t[]){0});
    assert_threads(&two, ADAMOE_NUMA_LOCAL, 4, (uint32_t[]){0, 0, 0, 0});
    assert_threads(&two, ADAMOE_NUMA_LOCAL, 6, (uint32_t[]){0, 0, 0, 1, 1, 1});
    const adamoe_topology four = make_topology(4, 2, cpu);
    assert_threads(&four, ADAMOE_NUMA_SPLIT, 2, (uint32_t[]){0, 2});
    assert_threads(&four, ADAMOE_NUMA_SPLIT, 6, (uint32_t[]){0, 0, 1, 2, 2, 3});
    adamoe_placement *placement = NULL;
    assert_error(adamoe_placement_create(&two, ADAMOE_NUMA_LOCAL, 0, &placement), ADAMOE_BAD_INPUT,
                 "no threads");
}

/* For all sizes: the parts follow each other, differ by one at most, and contain what expert_node says. */
static void parts_of_nodes(void **state)
{
    (void)state;
    for (uint32_t nodes = 1; nodes <= 5; ++nodes) {
        const adamoe_placement placement = {.nodes = nodes, .threads = 1};
        for (size_t count = 0; count <= 17; ++count) {
            size_t at = 0, smallest = SIZE_MAX, largest = 0;
            for (uint32_t n = 0; n < nodes; ++n) {
                size_t first = 0, end = 0;
                adamoe_split_range(&placement, n, count, &first, &end);
                assert_int_equal(first, at);
                assert_true(end >= first);
                for (size_t e = first; e < end; ++e) {
                    assert_int_equal(adamoe_expert_node(&placement, e, count), n);
                }
                smallest = end - first < smallest ? end - first : smallest;
                largest = end - first > largest ? end - first : largest;
                at = end;
            }
            assert_int_equal(at, count);
            assert_true(largest - smallest <= 1);
        }
    }
}

/* A host that notes which node was asked for. */
typedef struct asked {
    uint32_t node;
    bool anywhere;
} asked;

static void *note_anywhere(void *context, size_t bytes, size_t alignment)
{
    *(asked *)context = (asked){.anywhere = true};
    return adamoe_heap_host.allocate(NULL, bytes, alignment);
}

static void *note_node(void *context, size_t bytes, size_t alignment, uint32_t node)
{
    *(asked *)context = (asked){.node = node};
    return adamoe_heap_host.allocate(NULL, bytes, alignment);
}

static asked allocate_under(adamoe_numa_policy policy, bool has_nodes)
{
    asked noted = {0};
    const adamoe_host host = {.context = &noted,
                              .allocate = note_anywhere,
                              .allocate_on = has_nodes ? note_node : NULL,
                              .release = adamoe_heap_host.release};
    const adamoe_placement placement = {.policy = policy, .nodes = 4, .threads = 1};
    void *memory = adamoe_placed_allocate(&host, &placement, 3, 100, 64);
    assert_non_null(memory);
    host.release(NULL, memory);
    return noted;
}

static void memory_by_policy(void **state)
{
    (void)state;
    assert_true(allocate_under(ADAMOE_NUMA_LOCAL, true).anywhere);
    assert_true(allocate_under(ADAMOE_NUMA_SPLIT, false).anywhere);
    assert_true(allocate_under(ADAMOE_NUMA_INTERLEAVE, true).node == ADAMOE_ALL_NODES);
    assert_int_equal(allocate_under(ADAMOE_NUMA_EXPERTS, true).node, 3);
    assert_int_equal(allocate_under(ADAMOE_NUMA_SPLIT, true).node, 3);
}

/* ---------------------------------------------------------------------------------------- tasks by node */

#define TASKS 64

typedef struct count_of_calls {
    atomic_uint calls[TASKS];
    uint32_t thread[TASKS];
} count_of_calls;

static void count_call(void *context, size_t i, uint32_t thread)
{
    count_of_calls *c = context;
    atomic_fetch_add(&c->calls[i], 1);
    c->thread[i] = thread;
}

/* Runs the seats of a round in a fixed order on chosen threads, as a team might. */
typedef struct scripted_team {
    const uint32_t *thread; /* [tasks] who takes each */
    uint32_t threads;
} scripted_team;

static void run_script(void *opaque, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                       void *context)
{
    const scripted_team *script = opaque;
    for (size_t i = 0; i < tasks; ++i) {
        task(context, i, script->thread[i]);
    }
}

static const size_t four_nodes[] = {0, 20, 20, 50, TASKS};

static void run_scripted(adamoe_numa_policy policy, const uint32_t *who, uint32_t threads,
                         const uint32_t *thread_node, count_of_calls *counted)
{
    scripted_team script = {who, threads};
    const adamoe_team team = {.state = &script, .threads = threads, .run = run_script};
    const adamoe_placement placement = {
        .policy = policy, .nodes = 4, .threads = threads, .thread_node = thread_node};
    *counted = (count_of_calls){0};
    adamoe_run_by_node(&team, &placement, four_nodes, count_call, counted);
    for (size_t i = 0; i < TASKS; ++i) {
        assert_int_equal(atomic_load(&counted->calls[i]), 1);
    }
}

/* The thread of each seat comes itself: under split each task runs on its node; under interleave the first
 * thread to come takes all. */
static void tasks_stay_on_their_node(void **state)
{
    (void)state;
    const uint32_t nodes[] = {0, 1, 2, 3}, who[] = {0, 1, 2, 3};
    count_of_calls counted;
    run_scripted(ADAMOE_NUMA_INTERLEAVE, who, 4, nodes, &counted);
    for (size_t i = 0; i < TASKS; ++i) {
        assert_int_equal(counted.thread[i], 0);
    }
    run_scripted(ADAMOE_NUMA_SPLIT, who, 4, nodes, &counted);
    for (size_t i = 0; i < TASKS; ++i) {
        assert_int_equal(counted.thread[i], i < 20 ? 0 : i < 50 ? 2 : 3);
    }
}

/* One thread takes all seats; threads take each other's; a node has no thread at all. */
static void every_task_runs_whoever_comes(void **state)
{
    (void)state;
    count_of_calls counted;
    for (int policy = ADAMOE_NUMA_LOCAL; policy <= ADAMOE_NUMA_SPLIT; ++policy) {
        run_scripted((adamoe_numa_policy)policy, (uint32_t[]){3, 3, 3, 3}, 4, (uint32_t[]){0, 1, 2, 3},
                     &counted);
        run_scripted((adamoe_numa_policy)policy, (uint32_t[]){3, 2, 1, 0}, 4, (uint32_t[]){0, 1, 2, 3},
                     &counted);
        run_scripted((adamoe_numa_policy)policy, (uint32_t[]){1, 0}, 2, (uint32_t[]){0, 2}, &counted);
        run_scripted((adamoe_numa_policy)policy, (uint32_t[]){0, 0}, 2, (uint32_t[]){1, 1}, &counted);
    }
}

static void every_task_runs_in_a_team(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 5; ++threads) {
        uint32_t cpu[8];
        const adamoe_topology topology = make_topology(4, 2, cpu);
        adamoe_team *team = NULL;
        adamoe_placement *placement = NULL;
        assert_ok(adamoe_team_create(threads, &team));
        for (int round = 0; round < 200; ++round) {
            const adamoe_numa_policy policy = (adamoe_numa_policy)(round % 4);
            assert_ok(adamoe_placement_create(&topology, policy, threads, &placement));
            count_of_calls counted = {0};
            adamoe_run_by_node(team, placement, four_nodes, count_call, &counted);
            for (size_t i = 0; i < TASKS; ++i) {
                assert_int_equal(atomic_load(&counted.calls[i]), 1);
            }
            adamoe_placement_free(placement);
        }
        adamoe_team_free(team);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_on_nodes),
        cmocka_unit_test(parts_of_nodes),
        cmocka_unit_test(memory_by_policy),
        cmocka_unit_test(tasks_stay_on_their_node),
        cmocka_unit_test(every_task_runs_whoever_comes),
        cmocka_unit_test(every_task_runs_in_a_team),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
