/*
 * The dot product of bfloat16 pairs of AVX512_BF16.
 */
#include "peaks/peak_loops.h"

#include <immintrin.h>

float adamoe_bf16_rounds_avx512(size_t rounds)
{
    __m512 sum[ADAMOE_DOT_CHAINS];
    const __m512bh one = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0f), _mm512_set1_ps(1.0f));
    for (int c = 0; c < ADAMOE_DOT_CHAINS; ++c) {
        sum[c] = _mm512_set1_ps((float)c);
    }
    for (size_t i = 0; i < rounds; ++i) {
        for (size_t c = 0; c < ADAMOE_DOT_CHAINS; ++c) {
            sum[c] = _mm512_dpbf16_ps(sum[c], one, one);
        }
    }
    for (size_t c = 1; c < ADAMOE_DOT_CHAINS; ++c) {
        sum[0] = _mm512_add_ps(sum[0], sum[c]);
    }
    return _mm512_cvtss_f32(sum[0]);
}
