/*
 * What AVX2 can do with int8 operands: two sequences without a dot product of bytes. Signs of the operands of
 * vpmaddubsw are the kernel's business, and so is the widening to int16 for vpmaddwd: both can be done once
 * for many products, so neither is in the loops.
 *
 * In assembly, because gcc takes products of equal operands out of the loop, and keeps the sums in memory
 * where it is kept from that.
 */
#include "peaks/peak_loops.h"

#include <immintrin.h>

/* sum += left * right in pairs of 16 bits. */
#define MADD(sum)                                                                                            \
    __asm__ volatile("vpmaddwd %[right], %[left], %[product]\n\tvpaddd %[product], %[total], %[total]"       \
                     : [total] "+x"(sum), [product] "=&x"(product)                                           \
                     : [left] "x"(left), [right] "x"(right))

/* sum += left * right in quadruples of 8 bits. */
#define MADDUBS(sum)                                                                                         \
    __asm__ volatile("vpmaddubsw %[right], %[left], %[product]\n\tvpmaddwd %[ones], %[product], %[product]"  \
                     "\n\tvpaddd %[product], %[total], %[total]"                                             \
                     : [total] "+x"(sum), [product] "=&x"(product)                                           \
                     : [left] "x"(left), [right] "x"(right), [ones] "x"(ones))

static float first_lane(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    return (float)_mm256_extract_epi32(sum, 0);
}

float adamoe_madd_rounds_avx2(size_t rounds)
{
    const __m256i left = _mm256_set1_epi16(3), right = _mm256_set1_epi16(-5), zero = _mm256_setzero_si256();
    __m256i a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero, product;
    for (size_t i = 0; i < rounds; ++i) {
        MADD(a);
        MADD(b);
        MADD(c);
        MADD(d);
        MADD(e);
        MADD(f);
        MADD(g);
        MADD(h);
    }
    return first_lane(a, b, c, d) + first_lane(e, f, g, h);
}

float adamoe_maddubs_rounds_avx2(size_t rounds)
{
    const __m256i left = _mm256_set1_epi8(3), right = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1);
    const __m256i zero = _mm256_setzero_si256();
    __m256i a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero, product;
    for (size_t i = 0; i < rounds; ++i) {
        MADDUBS(a);
        MADDUBS(b);
        MADDUBS(c);
        MADDUBS(d);
        MADDUBS(e);
        MADDUBS(f);
        MADDUBS(g);
        MADDUBS(h);
    }
    return first_lane(a, b, c, d) + first_lane(e, f, g, h);
}
