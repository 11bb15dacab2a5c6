/*
 * The team: each task once, whether threads spin, sleep or are too many; which processors threads are pinned
 * to, and that they are there; that the creating thread gets its freedom back.
 */
#include "machine/pinning.h"
#include "machine/placement.h"
#include "machine/team.h"
#include "test.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define MOST_TASKS 100

typedef struct counted {
    atomic_uint calls[MOST_TASKS];
    uint32_t threads; /* of the team */
    size_t sum;       /* written by one task, read after the call */
} counted;

static void count_call(void *context, size_t i, uint32_t thread)
{
    counted *c = context;
    assert_true(thread < c->threads);
    atomic_fetch_add_explicit(&c->calls[i], 1, memory_order_relaxed);
    if (i == 0) {
        ++c->sum; /* no atomic: the team orders one call before the next */
    }
}

static void run_counted(const adamoe_team *team, size_t tasks, counted *c)
{
    team->run(team->state, tasks, count_call, c);
    for (size_t i = 0; i < MOST_TASKS; ++i) {
        assert_int_equal(atomic_exchange_explicit(&c->calls[i], 0, memory_order_relaxed), i < tasks);
    }
}

/* One after the other without a gap, and with gaps after which all threads sleep. */
static void every_task_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 7, MOST_TASKS};
    for (uint32_t threads = 1; threads <= 6; ++threads) {
        adamoe_team *team = NULL;
        counted c = {.threads = threads};
        size_t calls = 0;
        assert_ok(adamoe_team_create(threads, &team));
        assert_int_equal(team->threads, threads);
        for (int round = 0; round < 600; ++round) {
            const size_t tasks = sizes[round % 6];
            run_counted(team, tasks, &c);
            calls += tasks > 0;
            if (round % 60 == 0) {
                const struct timespec gap = {.tv_nsec = 1000000};
                nanosleep(&gap, NULL);
            }
        }
        assert_int_equal(c.sum, calls);
        adamoe_team_free(team);
    }
}

static void no_threads(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    assert_error(adamoe_team_create(0, &team), ADAMOE_BAD_INPUT, "threads: a team has at least 1");
    adamoe_team_free(NULL);
}

/* ---------------------------------------------------------------------------------------------- choosing */

/* A machine of two nodes of four processors, and what is given by hand on it. */
static void with_topology(const char *text, void (*use)(const adamoe_topology *, const void *),
                          const void *with)
{
    uint32_t cpu[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    adamoe_topology machine = {
        .nodes = 2,
        .node = {{.machine_node = 0, .cpus = 4, .cpu = cpu}, {.machine_node = 1, .cpus = 4, .cpu = cpu + 4}}};
    adamoe_topology *by_hand = NULL;
    assert_ok(adamoe_topology_parse(text, &machine, &by_hand));
    use(by_hand, with);
    adamoe_topology_free(by_hand);
}

typedef struct expected_pins {
    const char *topology;
    adamoe_numa_policy policy;
    uint32_t threads;
    int current;
    bool apart;
    int cpu[8]; /* of each thread; ANY: its node's, FREE: not pinned */
} expected_pins;

#define ANY  (-1)
#define FREE (-2)

static void assert_pins(const adamoe_topology *topology, const void *context)
{
    const expected_pins *expected = context;
    adamoe_placement *placement = NULL;
    adamoe_pin pins[8];
    assert_ok(adamoe_placement_create(topology, expected->policy, expected->threads, &placement));
    assert_int_equal(adamoe_choose_pins(topology, placement, expected->current, pins), expected->apart);
    for (uint32_t t = 0; t < expected->threads; ++t) {
        const int cpu = expected->cpu[t];
        assert_int_equal(pins[t].kind, cpu == FREE  ? ADAMOE_PIN_NOWHERE
                                       : cpu == ANY ? ADAMOE_PIN_NODE
                                                    : ADAMOE_PIN_CPU);
        assert_int_equal(pins[t].node, adamoe_thread_node(placement, t));
        if (cpu >= 0) {
            assert_int_equal(pins[t].cpu, cpu);
        }
    }
    adamoe_placement_free(placement);
}

/* Without processor 0 the node that threads gather on under local does not depend on where this test runs. */
static void which_processor(void **state)
{
    (void)state;
    static const expected_pins cases[] = {
        {"4-7", ADAMOE_NUMA_LOCAL, 4, 6, true, {6, 7, 4, 5}},
        {"4-7", ADAMOE_NUMA_LOCAL, 2, 6, true, {FREE, FREE}},
        {"4-7", ADAMOE_NUMA_LOCAL, 5, 6, false, {FREE, FREE, FREE, FREE, FREE}},
        {"4-7", ADAMOE_NUMA_SPLIT, 2, 7, true, {7, 4}},
        {"0-3:4-7", ADAMOE_NUMA_SPLIT, 4, 2, true, {2, 3, 4, 5}},
        {"0-3:4-7", ADAMOE_NUMA_EXPERTS, 2, -1, true, {0, 4}},
        {"0-3:4-7", ADAMOE_NUMA_LOCAL, 6, 0, true, {ANY, ANY, ANY, ANY, ANY, ANY}},
        {"0-3:4-7", ADAMOE_NUMA_LOCAL, 8, 1, true, {1, 2, 3, 0, 4, 5, 6, 7}},
        {"0-1:4", ADAMOE_NUMA_SPLIT, 4, 0, false, {0, 1, ANY, ANY}},
        {"0:0:1:1", ADAMOE_NUMA_SPLIT, 4, 0, false, {0, 0, 1, 1}},
        {"0-1:0-1", ADAMOE_NUMA_INTERLEAVE, 2, 0, true, {0, 1}},
        {"0-1:0-1", ADAMOE_NUMA_SPLIT, 4, 1, false, {1, 0, 1, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        with_topology(cases[i].topology, assert_pins, &cases[i]);
    }
}

/* ----------------------------------------------------------------------------------------------- pinned */

typedef struct seen {
    const adamoe_topology *topology;
    const adamoe_placement *placement;
    atomic_uint away; /* threads found on a processor that is not of their node */
    atomic_uint present;
} seen;

/* Waits for the others, so that no thread takes the task of another. */
static void look_where(void *context, size_t i, uint32_t thread)
{
    (void)i;
    seen *s = context;
    atomic_fetch_add(&s->present, 1);
    while (atomic_load(&s->present) < s->placement->threads) {
        sched_yield();
    }
    const adamoe_topology_node *node = &s->topology->node[adamoe_thread_node(s->placement, thread)];
    const int cpu = sched_getcpu();
    bool found = false;
    for (uint32_t c = 0; c < node->cpus; ++c) {
        found = found || node->cpu[c] == (uint32_t)cpu;
    }
    atomic_fetch_add(&s->away, !found);
}

static void assert_pinned(const adamoe_topology *topology, adamoe_numa_policy policy, uint32_t threads)
{
    adamoe_placement *placement = NULL;
    adamoe_team *team = NULL;
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_ok(adamoe_placement_create(topology, policy, threads, &placement));
    assert_ok(adamoe_team_create_on(topology, placement, &team));
    for (int round = 0; round < 20; ++round) {
        seen s = {.topology = topology, .placement = placement};
        team->run(team->state, threads, look_where, &s);
        assert_int_equal(atomic_load(&s.away), 0);
        assert_int_equal(atomic_load(&s.present), threads);
    }
    adamoe_team_free(team);
    adamoe_placement_free(placement);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
}

static void threads_are_where_they_belong(void **state)
{
    (void)state;
    adamoe_topology *machine = NULL;
    assert_ok(adamoe_topology_detect(&machine));
    for (int policy = ADAMOE_NUMA_LOCAL; policy <= ADAMOE_NUMA_SPLIT; ++policy) {
        for (uint32_t threads = 1; threads <= 4; ++threads) {
            assert_pinned(machine, (adamoe_numa_policy)policy, threads);
        }
    }
    /* Every processor a node of its own, and four nodes of one thread on the first two. */
    char each[256] = "", four[64];
    const adamoe_topology_node *node = &machine->node[machine->nodes - 1];
    for (uint32_t c = 0; c < node->cpus && c < 16; ++c) {
        (void)snprintf(each + strlen(each), sizeof each - strlen(each), "%s%u", c == 0 ? "" : ":",
                       node->cpu[c]);
    }
    const uint32_t a = node->cpu[0], b = node->cpu[node->cpus - 1];
    (void)snprintf(four, sizeof four, "%u:%u:%u:%u", a, b, a, b);
    const char *const by_hand[] = {each, four};
    for (size_t i = 0; i < 2; ++i) {
        adamoe_topology *topology = NULL;
        assert_ok(adamoe_topology_parse(by_hand[i], machine, &topology));
        assert_pinned(topology, ADAMOE_NUMA_SPLIT, topology->nodes);
        assert_pinned(topology, ADAMOE_NUMA_INTERLEAVE, 2 * topology->nodes + 1);
        adamoe_topology_free(topology);
    }
    adamoe_topology_free(machine);
}

/* A processor that is not there. */
static void a_refused_pin(void **state)
{
    (void)state;
    uint32_t cpu[] = {60000, 60001};
    adamoe_topology topology = {.nodes = 1, .node = {{.cpus = 2, .cpu = cpu}}};
    adamoe_team *team = NULL;
    for (uint32_t threads = 1; threads <= 2; ++threads) {
        const adamoe_placement placement = {.policy = ADAMOE_NUMA_SPLIT, .nodes = 1, .threads = threads};
        assert_error(adamoe_team_create_on(&topology, &placement, &team), ADAMOE_ENVIRONMENT,
                     threads == 1 ? "threads: pin thread 0 of 1: " : "threads: worker 1 of 2: ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_once), cmocka_unit_test(no_threads),
        cmocka_unit_test(which_processor), cmocka_unit_test(threads_are_where_they_belong),
        cmocka_unit_test(a_refused_pin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
