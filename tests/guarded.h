/*
 * Arrays that end where an inaccessible page begins: a read or write of one element too many is a crash.
 */
#ifndef ADAMOE_TESTS_GUARDED_H
#define ADAMOE_TESTS_GUARDED_H

#include "test.h"

#include <sys/mman.h>

typedef struct guarded {
    void *pages;
    size_t bytes;
} guarded;

static void *guarded_array(guarded *memory, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (bytes + page - 1) / page * page;
    memory->bytes = inside + page;
    memory->pages = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory->pages, MAP_FAILED);
    assert_int_equal(mprotect((char *)memory->pages + inside, page, PROT_NONE), 0);
    return (char *)memory->pages + inside - bytes;
}

static void guarded_free(guarded *memory)
{
    munmap(memory->pages, memory->bytes);
}

#endif
