/*
 * The dot product of bytes of AVX-512 VNNI.
 */
#include "peaks/peak_loops.h"

#include <immintrin.h>

float adamoe_vnni_rounds_avx512(size_t rounds)
{
    __m512i sum[ADAMOE_DOT_CHAINS];
    const __m512i left = _mm512_set1_epi8(3), right = _mm512_set1_epi8(5);
    for (int c = 0; c < ADAMOE_DOT_CHAINS; ++c) {
        sum[c] = _mm512_set1_epi32(c);
    }
    for (size_t i = 0; i < rounds; ++i) {
        for (size_t c = 0; c < ADAMOE_DOT_CHAINS; ++c) {
            sum[c] = _mm512_dpbusd_epi32(sum[c], left, right);
        }
    }
    for (size_t c = 1; c < ADAMOE_DOT_CHAINS; ++c) {
        sum[0] = _mm512_add_epi32(sum[0], sum[c]);
    }
    return (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(sum[0]));
}
