/*
 * Reading memory with AVX2.
 */
#define READ_VECTOR_BYTES 32
#include "peaks/read_loop.h"

uint64_t adamoe_read_avx2(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead)
{
    return read_streams(data, bytes, streams, ahead);
}
