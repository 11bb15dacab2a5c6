/*
 * The 64-bit FNV-1a hash (Fowler, Noll and Vo; draft-eastlake-fnv): tells different data from the same, names of files
 * and generators apart, and no more. It does not resist who looks for collisions.
 */
#ifndef ADAMOE_FNV1A_H
#define ADAMOE_FNV1A_H

#include <stddef.h>
#include <stdint.h>

/* The hash of nothing. */
#define ADAMOE_FNV1A_START UINT64_C(0xcbf29ce484222325)

/* One more value: a byte in the hash as it is defined, a word where nobody else has to know it. */
static inline uint64_t adamoe_fnv1a_mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x100000001b3);
}

/* `bytes` more bytes. */
static inline uint64_t adamoe_fnv1a(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i) {
        hash = adamoe_fnv1a_mix(hash, ((const unsigned char *)data)[i]);
    }
    return hash;
}

#endif
