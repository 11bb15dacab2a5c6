/*
 * Memory on nodes: alignment, sizes, huge pages, the report of what lies where. Where the machine has several
 * nodes each page is looked for on the right one, and found out where it was moved away.
 */
#include "machine/host.h"
#include "machine/huge_pages.h"
#include "machine/placed_memory.h"
#include "machine/system_file.h"
#include "machine/team.h"
#include "test.h"

#include <numaif.h>
#include <sys/mman.h>

typedef struct fixture {
    adamoe_topology *topology;
    adamoe_placed_memory *memory;
    const adamoe_host *host;
    size_t page;
} fixture;

static int open_memory(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL || adamoe_topology_detect(&f->topology).code != ADAMOE_OK ||
        adamoe_placed_memory_create(f->topology, &f->memory).code != ADAMOE_OK) {
        return -1;
    }
    f->host = adamoe_placed_memory_host(f->memory);
    f->page = (size_t)sysconf(_SC_PAGESIZE);
    *state = f;
    return 0;
}

static int close_memory(void **state)
{
    fixture *f = *state;
    adamoe_placed_memory_free(f->memory);
    adamoe_topology_free(f->topology);
    free(f);
    return 0;
}

/* Containers may forbid it; that is said, and then nothing more can be asked of the pages. */
static void skip_where_forbidden(const adamoe_memory_report *report)
{
    if (report->unverified > 0) {
        assert_true(report->reason[0] != '\0');
        print_message("skipped: pages cannot be verified here: %s\n", report->reason);
        skip();
    }
    assert_string_equal(report->reason, "");
}

static void assert_report(fixture *f, size_t blocks, size_t verified, size_t misplaced, size_t untouched)
{
    const adamoe_memory_report report = adamoe_placed_memory_verify(f->memory);
    assert_int_equal(report.blocks, blocks);
    skip_where_forbidden(&report);
    assert_int_equal(report.misplaced, misplaced);
    assert_int_equal(report.untouched, untouched);
    assert_int_equal(report.verified, verified);
}

static void *take(const fixture *f, size_t bytes, size_t alignment, uint32_t node)
{
    void *memory = f->host->allocate_on(f->host->context, bytes, alignment, node);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % alignment, 0);
    return memory;
}

/* Every node, and all in turn: written from end to end, each page is where it was asked for. */
static void pages_are_where_they_were_asked_for(void **state)
{
    fixture *f = *state;
    size_t pages = 0, blocks = 0;
    for (uint32_t n = 0; n <= f->topology->nodes; ++n) {
        const uint32_t node = n < f->topology->nodes ? n : ADAMOE_ALL_NODES;
        static const size_t sizes[] = {1, 17, 64, 1024, 1536 + 3};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
            const size_t bytes = sizes[i] * f->page - (i == 0 ? 0 : 5);
            memset(take(f, bytes, 64, node), 1, bytes);
            pages += sizes[i];
            ++blocks;
        }
    }
    assert_report(f, blocks, pages, 0, 0);
}

/* Small blocks are not counted; a block that nobody wrote to is nowhere; a released one is what it was. */
static void what_is_counted(void **state)
{
    fixture *f = *state;
    void *small = take(f, f->page - 1, 8, 0);
    void *heap = f->host->allocate(f->host->context, 100, 64);
    void *placed = take(f, 3 * f->page, 64, 0);
    assert_report(f, 1, 0, 0, 3);
    memset(placed, 1, f->page + 1);
    assert_report(f, 1, 2, 0, 1);
    f->host->release(f->host->context, placed);
    f->host->release(f->host->context, small);
    f->host->release(f->host->context, heap);
    f->host->release(f->host->context, NULL);
    assert_report(f, 1, 2, 0, 1);
    adamoe_placed_memory_verify_released(f->memory, false);
    f->host->release(f->host->context, take(f, 2 * f->page, 64, 0));
    assert_report(f, 1, 2, 0, 1);
}

/* A large block without a node is on the caller's. */
static void local_blocks(void **state)
{
    fixture *f = *state;
    const size_t bytes = (size_t)300 << 10;
    memset(f->host->allocate(f->host->context, bytes, 4096), 1, bytes);
    assert_report(f, 1, bytes / f->page, 0, 0);
}

static void alignments(void **state)
{
    fixture *f = *state;
    for (size_t alignment = 1; alignment <= (size_t)8 << 20; alignment *= 2) {
        unsigned char *memory = take(f, 3 * f->page + 1, alignment, 0);
        memory[0] = memory[3 * f->page] = 1;
    }
    assert_report(f, 24, 48, 0, 48);
}

static void refused_sizes(void **state)
{
    fixture *f = *state;
    assert_null(f->host->allocate_on(f->host->context, SIZE_MAX - 10, 64, 0));
    assert_null(f->host->allocate_on(f->host->context, SIZE_MAX - 2 * f->page, (size_t)2 << 20, 0));
    assert_null(f->host->allocate_on(f->host->context, (size_t)1 << 60, 64, 0));
    assert_null(f->host->allocate_on(f->host->context, f->page, 64, f->topology->nodes));
    assert_report(f, 0, 0, 0, 0);
}

/* A node that the machine does not have: memory all the same, and the report says so. */
static void a_refused_placement(void **state)
{
    (void)state;
    uint32_t cpu = 0;
    adamoe_topology topology = {.nodes = 1, .node = {{.machine_node = 900, .cpus = 1, .cpu = &cpu}}};
    adamoe_placed_memory *memory = NULL;
    assert_ok(adamoe_placed_memory_create(&topology, &memory));
    const adamoe_host *host = adamoe_placed_memory_host(memory);
    const size_t bytes = 5 * (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *block = host->allocate_on(host->context, bytes, 64, 0);
    assert_non_null(block);
    memset(block, 1, bytes);
    const adamoe_memory_report report = adamoe_placed_memory_verify(memory);
    assert_int_equal(report.unverified, 5);
    assert_int_equal(report.verified + report.misplaced + report.untouched, 0);
    assert_memory_equal(report.reason, "mbind: ", 7);
    adamoe_placed_memory_free(memory);
}

/* Needs two nodes with memory: one page of the first node's block, and half of an interleaved one, go to the
 * other. */
static void moved_pages_are_found_out(void **state)
{
    fixture *f = *state;
    uint32_t other = 0;
    while (other < f->topology->nodes &&
           f->topology->node[other].machine_node == f->topology->node[0].machine_node) {
        ++other;
    }
    if (other == f->topology->nodes) {
        print_message(
            "skipped: this machine has one node with memory; ci/emulate_numa.sh emulates several\n");
        skip();
    }
    unsigned char *block = take(f, 8 * f->page, 64, 0), *all = take(f, 8 * f->page, 64, ADAMOE_ALL_NODES);
    memset(block, 1, 8 * f->page);
    memset(all, 1, 8 * f->page);
    assert_report(f, 2, 16, 0, 0);
    const int target = (int)f->topology->node[other].machine_node;
    for (size_t i = 0; i < 9; ++i) {
        void *page = i == 0 ? block + 3 * f->page : all + (i - 1) * f->page;
        int status = -1;
        assert_int_equal(move_pages(0, 1, &page, &target, &status, MPOL_MF_MOVE), 0);
        assert_int_equal(status, target);
    }
    const size_t share = (8 + f->topology->nodes - 1) / f->topology->nodes + 1; /* a page more than even */
    assert_report(f, 2, 16 - 1 - (8 - share), 1 + 8 - share, 0);
}

/* ------------------------------------------------------------------------------------------- huge pages */

/* Whether the mapping that holds `memory` has the flag `hg`: its pages may be huge. */
static bool is_advised(const void *memory)
{
    FILE *file = adamoe_system_file_open("/proc/self", "smaps");
    assert_non_null(file);
    char line[512];
    bool inside = false, advised = false;
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long start = 0, end = 0;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            inside = (uintptr_t)memory >= start && (uintptr_t)memory < end;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            advised = strstr(line, " hg") != NULL;
        }
    }
    fclose(file);
    return advised;
}

static void assert_advice(const adamoe_host *host)
{
    unsigned char *large = host->allocate(host->context, ADAMOE_HUGE_BLOCK, 64);
    unsigned char *less = host->allocate(host->context, ADAMOE_HUGE_BLOCK - 1, 64);
    assert_int_equal((uintptr_t)large % ADAMOE_HUGE_PAGE, 0);
    assert_true(is_advised(large));
    assert_true(is_advised(large + ADAMOE_HUGE_BLOCK - 1));
    assert_false(is_advised(less));
    host->release(host->context, large);
    host->release(host->context, less);
}

static void large_blocks_ask_for_huge_pages(void **state)
{
    const fixture *f = *state;
    char policy[32];
    adamoe_huge_page_policy(policy, sizeof policy);
    if (strcmp(policy, "unknown") == 0) {
        print_message("skipped: this system has no huge pages\n");
        skip();
    }
    assert_true(strcmp(policy, "always") == 0 || strcmp(policy, "madvise") == 0 ||
                strcmp(policy, "never") == 0);
    assert_advice(&adamoe_heap_host);
    assert_advice(f->host);
}

/* ---------------------------------------------------------------------------------------- several threads */

static void take_and_release(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const fixture *f = context;
    unsigned char *kept = f->host->allocate_on(f->host->context, f->page, 64, 0);
    unsigned char *passing = f->host->allocate_on(f->host->context, 2 * f->page, 64, ADAMOE_ALL_NODES);
    if (kept != NULL && passing != NULL) {
        *kept = (unsigned char)i;
        *passing = *kept;
    }
    f->host->release(f->host->context, passing);
}

static void any_thread_may_call(void **state)
{
    fixture *f = *state;
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(4, &team));
    team->run(team->state, 200, take_and_release, f);
    adamoe_team_free(team);
    assert_report(f, 400, 400, 0, 200);
}

#define WITH_MEMORY(test) cmocka_unit_test_setup_teardown(test, open_memory, close_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MEMORY(pages_are_where_they_were_asked_for),
        WITH_MEMORY(what_is_counted),
        WITH_MEMORY(local_blocks),
        WITH_MEMORY(alignments),
        WITH_MEMORY(refused_sizes),
        cmocka_unit_test(a_refused_placement),
        WITH_MEMORY(moved_pages_are_found_out),
        WITH_MEMORY(large_blocks_ask_for_huge_pages),
        WITH_MEMORY(any_thread_may_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
