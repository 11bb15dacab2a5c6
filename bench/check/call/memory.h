/*
 * Memory that betrays who leaves it: every buffer lies between two inaccessible pages, so that an access
 * beyond one of its ends is a segmentation fault at the instruction that does it, and what the pages leave
 * free at the other end holds a pattern that must stay.
 */
#ifndef ADAMOE_CHECK_CALL_MEMORY_H
#define ADAMOE_CHECK_CALL_MEMORY_H

#include "adamoe.h"

#include <pthread.h>

/* Which end of a buffer touches an inaccessible page. */
typedef enum adamoe_guard_end {
    ADAMOE_GUARD_BACK = 0, /* the last byte is the last of its page, as nearly as the alignment allows */
    ADAMOE_GUARD_FRONT =
        1, /* it begins one unit of alignment behind the first page, no better aligned than that */
} adamoe_guard_end;

typedef struct adamoe_guarded {
    unsigned char *data;
    size_t bytes;
    unsigned char *body; /* the accessible pages */
    size_t body_bytes, page;
} adamoe_guarded;

/* From now on the pages around buffers can be read, and hold NaNs (all bits set); writing there is still a
 * fault. For emulators whose masked loads also touch the elements that the mask leaves out, as those of QEMU
 * 7.2 do: there a kernel that keeps the rules would end by a fault. A read beyond the end then shows only
 * where its value is used. For the whole process, and not while other threads take buffers. */
void adamoe_guarded_allow_reads(void);

/* No case needs so much at once: who asks for more is wrong, and no shortage. */
#define ADAMOE_GUARDED_MOST ((size_t)1 << 36)

/* `bytes` bytes, aligned to `alignment` (a power of two), filled with 0xff: a NaN in every
 * float and double. Errors: memory. */
adamoe_status adamoe_guarded_create(size_t bytes, size_t alignment, adamoe_guard_end end,
                                    adamoe_guarded *out);

/* The same, holding a copy of `data`, and read-only: a kernel that writes to its inputs is stopped too. */
adamoe_status adamoe_guarded_copy(const void *data, size_t bytes, size_t alignment, adamoe_guard_end end,
                                  adamoe_guarded *out);

/* As adamoe_guarded_create at ADAMOE_GUARD_FRONT, in the pages of *buffer as far as they suffice: then the data begin
 * where they did. With `as_left` the data are not filled, and hold what was left there. Accepts a buffer of zeros. Errors:
 * memory. */
adamoe_status adamoe_guarded_renew(size_t bytes, size_t alignment, bool as_left, adamoe_guarded *buffer);

/* From now on every write is a fault. Errors: the system's. */
adamoe_status adamoe_guarded_lock(const adamoe_guarded *buffer);

/* False where the pattern before or behind the data has changed. */
bool adamoe_guarded_intact(const adamoe_guarded *buffer);

/* From now on every access is a fault. Accepts a buffer of zeros. */
void adamoe_guarded_close(const adamoe_guarded *buffer);

/* Accepts a buffer of zeros. */
void adamoe_guarded_free(adamoe_guarded *buffer);

/* A host whose allocations are guarded, and which knows what was not given back. `host.context` points to
 * this structure, which therefore must not move. Not for several threads at once: a kernel allocates in
 * prepare. */
typedef struct adamoe_guarded_host {
    adamoe_host host;
    pthread_mutex_t mutex;
    struct adamoe_guarded_allocation *first;
    uint32_t nodes;    /* of the placement: allocate_on knows no others */
    size_t asked;      /* allocations so far, refused or not */
    size_t refused;    /* the allocation before which there were so many is refused; SIZE_MAX: none is */
    bool failed;       /* one that should not have been: there is no memory for it */
    bool unknown_node; /* memory was asked for on another node */
    bool damaged;      /* an allocation was given back with a changed pattern */
    bool unknown_free; /* something was given back that had not been taken */
} adamoe_guarded_host;

void adamoe_guarded_host_create(uint32_t nodes, adamoe_guarded_host *out);

/* Takes back what is left; returns how many allocations that were. */
size_t adamoe_guarded_host_free(adamoe_guarded_host *host);

#endif
