/*
 * Memory on NUMA nodes. Pages are asked for by mbind with a preference, not by force: with force, a full node
 * ends the process, whereas a preference that was not met is found by looking. Their places are asked of
 * move_pages. Left out: moving pages that are in the wrong place.
 */
#include "machine/placed_memory.h"
#include "machine/host.h"
#include "machine/huge_pages.h"
#include "machine/memory.h"

#include <errno.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The heap serves less than this where no node was named. */
#define LOCAL_BLOCK ((size_t)64 << 10)

/* Linux has at most 1024 nodes. */
#define MASK_BITS  1024
#define WORD_BITS  (8 * sizeof(unsigned long))
#define MASK_WORDS (MASK_BITS / WORD_BITS)

typedef struct block {
    void *memory;          /* first, so that a pointer to it finds the block */
    size_t bytes;          /* whole pages */
    uint32_t machine_node; /* or ADAMOE_ALL_NODES */
    bool huge;             /* advised to lie on huge pages */
    bool placed;           /* the system took the wish */
} block;

struct adamoe_placed_memory {
    adamoe_host host;
    const adamoe_topology *topology;
    size_t page;
    pthread_mutex_t mutex;
    void *blocks; /* a tree by address (tsearch) of what is mapped */
    bool verifies_released;
    adamoe_memory_report released;
    int refusal; /* errno of the first mbind that failed */
};

static int compare_blocks(const void *a, const void *b)
{
    const uintptr_t left = (uintptr_t)((const block *)a)->memory,
                    right = (uintptr_t)((const block *)b)->memory;
    return (left > right) - (left < right);
}

/* ------------------------------------------------------------------------------------------- allocation */

/* Whole pages at a multiple of `alignment`; NULL where there are none. */
static void *map_pages(size_t bytes, size_t alignment, size_t page)
{
    const size_t extra = alignment > page ? alignment - page : 0;
    if (bytes > SIZE_MAX - extra) {
        return NULL;
    }
    char *start = mmap(NULL, bytes + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    const size_t skip = alignment > page ? (alignment - (uintptr_t)start % alignment) % alignment : 0;
    if (skip > 0) {
        (void)munmap(start, skip);
    }
    if (extra > skip) {
        (void)munmap(start + skip + bytes, extra - skip);
    }
    return start + skip;
}

static void set_bit(unsigned long mask[MASK_WORDS], uint32_t node)
{
    if (node < MASK_BITS) {
        mask[node / WORD_BITS] |= 1ul << node % WORD_BITS;
    }
}

/* Tells the system where the pages shall come from; errno, or 0. */
static int place(const adamoe_placed_memory *memory, const block *b)
{
    unsigned long mask[MASK_WORDS] = {0};
    const bool all = b->machine_node == ADAMOE_ALL_NODES;
    for (uint32_t n = 0; n < memory->topology->nodes && all; ++n) {
        set_bit(mask, memory->topology->node[n].machine_node);
    }
    if (!all) {
        set_bit(mask, b->machine_node);
    }
    return mbind(b->memory, b->bytes, all ? MPOL_INTERLEAVE : MPOL_PREFERRED, mask, MASK_BITS, 0) == 0
               ? 0
               : errno;
}

static void *map_block(adamoe_placed_memory *memory, size_t bytes, size_t alignment, uint32_t machine_node)
{
    block *b = calloc(1, sizeof *b);
    if (b == NULL || bytes > SIZE_MAX - memory->page || !adamoe_has_memory(bytes)) {
        free(b);
        return NULL;
    }
    *b = (block){.bytes = (bytes + memory->page - 1) / memory->page * memory->page,
                 .machine_node = machine_node,
                 .huge = bytes >= ADAMOE_HUGE_BLOCK};
    const size_t at_least = b->huge && alignment < ADAMOE_HUGE_PAGE ? ADAMOE_HUGE_PAGE : alignment;
    b->memory = map_pages(b->bytes, at_least, memory->page);
    if (b->memory == NULL) {
        free(b);
        return NULL;
    }
    const int refusal = place(memory, b);
    b->placed = refusal == 0;
    if (b->huge) {
        adamoe_advise_huge_pages(b->memory, b->bytes);
    } else if (machine_node == ADAMOE_ALL_NODES) {
        /* A system that gives huge pages to everybody would put a block of two of them on two nodes. */
        (void)madvise(b->memory, b->bytes, MADV_NOHUGEPAGE);
    }
    pthread_mutex_lock(&memory->mutex);
    const bool kept = tsearch(b, &memory->blocks, compare_blocks) != NULL;
    memory->refusal = memory->refusal == 0 ? refusal : memory->refusal;
    pthread_mutex_unlock(&memory->mutex);
    if (!kept) {
        (void)munmap(b->memory, b->bytes);
        free(b);
        return NULL;
    }
    return b->memory;
}

/* Where the memory of the node is that the caller runs on. */
static uint32_t current_machine_node(const adamoe_topology *topology)
{
    unsigned cpu = 0, machine_node = 0;
    if (getcpu(&cpu, &machine_node) != 0) {
        return topology->node[0].machine_node;
    }
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        for (uint32_t i = 0; i < topology->node[n].cpus; ++i) {
            if (topology->node[n].cpu[i] == cpu) {
                return topology->node[n].machine_node;
            }
        }
    }
    return machine_node;
}

static void *allocate(void *context, size_t bytes, size_t alignment)
{
    adamoe_placed_memory *memory = context;
    return bytes < LOCAL_BLOCK ? adamoe_heap_host.allocate(NULL, bytes, alignment)
                               : map_block(memory, bytes, alignment, current_machine_node(memory->topology));
}

static void *allocate_on(void *context, size_t bytes, size_t alignment, uint32_t node)
{
    adamoe_placed_memory *memory = context;
    if (bytes < memory->page) {
        return adamoe_heap_host.allocate(NULL, bytes, alignment);
    }
    if (node != ADAMOE_ALL_NODES && node >= memory->topology->nodes) {
        return NULL;
    }
    return map_block(memory, bytes, alignment,
                     node == ADAMOE_ALL_NODES ? node : memory->topology->node[node].machine_node);
}

/* ----------------------------------------------------------------------------------------- verification */

#define PAGES_AT_ONCE 512

/* Pages of a block by what the system says about them. */
typedef struct page_count {
    size_t on[MASK_BITS]; /* by the machine's number of the node */
    size_t untouched, unknown;
    int error; /* errno of the question */
} page_count;

static void count_page(int status, page_count *count)
{
    if (status >= 0 && status < MASK_BITS) {
        ++count->on[status];
    } else if (status == -ENOENT || status == -EFAULT) {
        ++count->untouched; /* not there, or the page of zeros that stands for it */
    } else {
        ++count->unknown;
        count->error = count->error == 0 ? -status : count->error;
    }
}

static void count_pages(const block *b, size_t page, page_count *count)
{
    const size_t pages = b->bytes / page;
    void *address[PAGES_AT_ONCE];
    int status[PAGES_AT_ONCE];
    for (size_t done = 0; done < pages;) {
        const size_t some = pages - done < PAGES_AT_ONCE ? pages - done : PAGES_AT_ONCE;
        for (size_t i = 0; i < some; ++i) {
            address[i] = (char *)b->memory + (done + i) * page;
            status[i] = -EIO;
        }
        if (move_pages(0, some, address, NULL, status, 0) < 0) {
            count->error = errno;
            count->unknown += pages - done;
            return;
        }
        for (size_t i = 0; i < some; ++i) {
            count_page(status[i], count);
        }
        done += some;
    }
}

/* True for one of the nodes of the topology that share their memory. */
static bool is_first_of_its_memory(const adamoe_topology *topology, uint32_t node)
{
    for (uint32_t n = 0; n < node; ++n) {
        if (topology->node[n].machine_node == topology->node[node].machine_node) {
            return false;
        }
    }
    return true;
}

/* Pages in excess of the even share of each node of the topology, and those on no such node. A huge page that
 * was not to be had is interleaved as small ones; that keeps within one unit of the share too. */
static size_t uneven_pages(const adamoe_topology *topology, const page_count *count, size_t present,
                           size_t unit)
{
    size_t nodes = 0, in_place = 0;
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        nodes += is_first_of_its_memory(topology, n);
    }
    const size_t most = (present + nodes - 1) / nodes + unit + count->untouched;
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        const size_t here = count->on[topology->node[n].machine_node % MASK_BITS];
        if (is_first_of_its_memory(topology, n)) {
            in_place += here < most ? here : most;
        }
    }
    return present - in_place;
}

static void explain(adamoe_memory_report *report, const char *call, int error)
{
    if (report->reason[0] == '\0') {
        (void)snprintf(report->reason, sizeof report->reason, "%s: %s", call, strerror(error));
    }
}

static void verify_block(const adamoe_placed_memory *memory, const block *b, adamoe_memory_report *report)
{
    const size_t pages = b->bytes / memory->page;
    ++report->blocks;
    if (!b->placed) {
        report->unverified += pages;
        explain(report, "mbind", memory->refusal);
        return;
    }
    page_count count = {0};
    count_pages(b, memory->page, &count);
    const size_t unit = b->huge ? ADAMOE_HUGE_PAGE / memory->page : 1;
    const size_t present = pages - count.untouched - count.unknown;
    const size_t misplaced = b->machine_node == ADAMOE_ALL_NODES
                                 ? uneven_pages(memory->topology, &count, present, unit)
                                 : present - count.on[b->machine_node % MASK_BITS];
    report->verified += present - misplaced;
    report->misplaced += misplaced;
    report->untouched += count.untouched;
    report->unverified += count.unknown;
    if (count.unknown > 0) {
        explain(report, "move_pages", count.error);
    }
}

typedef struct verification {
    const adamoe_placed_memory *memory;
    adamoe_memory_report *report;
} verification;

static void visit(const void *node, VISIT order, void *context)
{
    const verification *v = context;
    if (order == postorder || order == leaf) {
        verify_block(v->memory, *(const block *const *)node, v->report);
    }
}

adamoe_memory_report adamoe_placed_memory_verify(adamoe_placed_memory *memory)
{
    pthread_mutex_lock(&memory->mutex);
    adamoe_memory_report report = memory->released;
    verification v = {memory, &report};
    twalk_r(memory->blocks, visit, &v);
    pthread_mutex_unlock(&memory->mutex);
    return report;
}

void adamoe_placed_memory_verify_released(adamoe_placed_memory *memory, bool verify)
{
    memory->verifies_released = verify;
}

/* ------------------------------------------------------------------------------------------ giving back */

static void release(void *context, void *address)
{
    adamoe_placed_memory *memory = context;
    const block wanted = {.memory = address};
    block *found = NULL;
    pthread_mutex_lock(&memory->mutex);
    block **node = tfind(&wanted, &memory->blocks, compare_blocks);
    if (node != NULL) {
        found = *node;
        (void)tdelete(found, &memory->blocks, compare_blocks);
        if (memory->verifies_released) {
            verify_block(memory, found, &memory->released);
        }
    }
    pthread_mutex_unlock(&memory->mutex);
    if (found == NULL) {
        adamoe_heap_host.release(NULL, address);
        return;
    }
    (void)munmap(found->memory, found->bytes);
    free(found);
}

adamoe_status adamoe_placed_memory_create(const adamoe_topology *topology, adamoe_placed_memory **out)
{
    adamoe_placed_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "memory: out of memory");
    }
    memory->host = (adamoe_host){
        .context = memory, .allocate = allocate, .release = release, .allocate_on = allocate_on};
    memory->topology = topology;
    memory->page = (size_t)sysconf(_SC_PAGESIZE);
    memory->verifies_released = true;
    pthread_mutex_init(&memory->mutex, NULL);
    *out = memory;
    return adamoe_ok();
}

static void free_block(void *node)
{
    block *b = node;
    (void)munmap(b->memory, b->bytes);
    free(b);
}

void adamoe_placed_memory_free(adamoe_placed_memory *memory)
{
    if (memory != NULL) {
        tdestroy(memory->blocks, free_block);
        pthread_mutex_destroy(&memory->mutex);
        free(memory);
    }
}

const adamoe_host *adamoe_placed_memory_host(const adamoe_placed_memory *memory)
{
    return &memory->host;
}
