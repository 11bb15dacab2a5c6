/*
 * Reading memory with vectors of READ_VECTOR_BYTES bytes. Included by one file for each instruction set,
 * which has the compile flags for it.
 */
#include "peaks/peak_loops.h"

typedef uint64_t read_vector __attribute__((vector_size(READ_VECTOR_BYTES), may_alias));

#define READ_BLOCK 128 /* bytes of a stream at a time: two lines */

/* `streams` is a constant where this is called, so that the loops unroll. */
static inline __attribute__((always_inline)) uint64_t
read_side_by_side(const unsigned char *data, size_t bytes, size_t streams, size_t ahead)
{
    read_vector sum[8] = {{0}};
    const size_t each = bytes / streams;
    for (size_t at = 0; at < each; at += READ_BLOCK) {
        for (size_t s = 0; s < streams; ++s) {
            const unsigned char *from = data + s * each + at;
            if (ahead != 0) {
                __builtin_prefetch(from + ahead, 0, 3);
                __builtin_prefetch(from + ahead + 64, 0, 3);
            }
            for (size_t i = 0; i < READ_BLOCK; i += READ_VECTOR_BYTES) {
                sum[s] += *(const read_vector *)(const void *)(from + i);
            }
        }
    }
    for (size_t s = 1; s < streams; ++s) {
        sum[0] += sum[s];
    }
    uint64_t total = 0;
    for (size_t lane = 0; lane < READ_VECTOR_BYTES / sizeof total; ++lane) {
        total += sum[0][lane];
    }
    return total;
}

static uint64_t read_streams(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead)
{
    switch (streams) {
    case 8:
        return read_side_by_side(data, bytes, 8, ahead);
    case 4:
        return read_side_by_side(data, bytes, 4, ahead);
    case 2:
        return read_side_by_side(data, bytes, 2, ahead);
    default:
        return read_side_by_side(data, bytes, 1, ahead);
    }
}
