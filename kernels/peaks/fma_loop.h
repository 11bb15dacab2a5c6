/*
 * A loop of nothing but fused multiply-adds in registers, for vectors of FMA_VECTOR_BYTES bytes. Included by
 * one file for each instruction set, which has the compile flags for it; floating-point contraction is on
 * there, and nowhere else, because this loop is there to execute FMA instructions and its sums mean nothing.
 */
#include "peaks/fma_peak.h"

#include <stddef.h>

typedef float fma_vector __attribute__((vector_size(FMA_VECTOR_BYTES)));

/* Executes `rounds` times ADAMOE_FMA_CHAINS vector FMAs; returns a value that depends on all of them. */
static float fma_loop(size_t rounds)
{
    fma_vector chain[ADAMOE_FMA_CHAINS], factor = {0}, addend = {0};
    factor += 0.999f;
    addend += 0.001f;
    for (size_t c = 0; c < ADAMOE_FMA_CHAINS; ++c) {
        chain[c] = addend * (float)c;
    }
    for (size_t i = 0; i < rounds; ++i) {
        for (size_t c = 0; c < ADAMOE_FMA_CHAINS; ++c) {
            chain[c] = chain[c] * factor + addend;
        }
    }
    float sum = 0.0f;
    for (size_t c = 0; c < ADAMOE_FMA_CHAINS; ++c) {
        sum += chain[c][0];
    }
    return sum;
}
