/*
 * Memory that two processes share: a memfd, mapped here and sent there. It can neither grow nor shrink, so that nobody
 * meets a page that is gone; and of one that is to be read the other process can make no writable mapping.
 *
 * Where pages end there is no guard that would reach into the other process. Arrays stand between bytes of one pattern
 * instead: as a float or bfloat16 it is a NaN, so that what is read beside an array shows in the result; and around
 * what is written it is compared afterwards.
 */
#ifndef ADAMOE_REMOTE_REGION_H
#define ADAMOE_REMOTE_REGION_H

#include "adamoe.h"

/* What stands between arrays. */
#define ADAMOE_REMOTE_PATTERN 0xff

/* Bytes of pattern before and behind each array that is read, and each that is written. */
#define ADAMOE_REMOTE_GAP   256
#define ADAMOE_REMOTE_GUARD 4096

/* Arrays begin at multiples of this, in bytes. */
#define ADAMOE_REMOTE_ALIGNMENT 64

typedef struct adamoe_remote_region {
    unsigned char *data; /* [bytes]; NULL: none */
    size_t bytes;
    int descriptor;
} adamoe_remote_region;

/* Zeroed. Errors: memory, descriptors (ENVIRONMENT). */
adamoe_status adamoe_remote_region_create(size_t bytes, bool read_only_there, adamoe_remote_region *out);

/* Accepts one of zeros. */
void adamoe_remote_region_free(adamoe_remote_region *region);

/* Where arrays go in a region, one behind the other. */
typedef struct adamoe_remote_layout {
    size_t end; /* of the last one, in bytes */
} adamoe_remote_layout;

/* The offset of the next array, with a gap before it. */
size_t adamoe_remote_place(adamoe_remote_layout *layout, size_t bytes);

/* Bytes of the region, with a gap behind the last array. */
size_t adamoe_remote_layout_bytes(const adamoe_remote_layout *layout);

/* Fills from .. to - 1 with the pattern; whether it is still there. */
void adamoe_remote_guard(unsigned char *data, size_t from, size_t to);
bool adamoe_remote_is_intact(const unsigned char *data, size_t from, size_t to);

#endif
