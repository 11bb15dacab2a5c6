/*
 * The fused multiply-add loop for AVX-512.
 */
#define FMA_VECTOR_BYTES 64
#include "peaks/fma_loop.h"

float adamoe_fma_rounds_avx512(size_t rounds)
{
    return fma_loop(rounds);
}
