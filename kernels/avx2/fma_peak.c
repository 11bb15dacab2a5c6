/*
 * The fused multiply-add loop for AVX2 and FMA.
 */
#define FMA_VECTOR_BYTES 32
#include "peaks/fma_loop.h"

float adamoe_fma_rounds_avx2(size_t rounds)
{
    return fma_loop(rounds);
}
