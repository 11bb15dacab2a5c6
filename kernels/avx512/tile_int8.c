/*
 * The int8 tiles of AVX-512 with VNNI: four terms at a time, vpdpbusd. It multiplies unsigned by signed, so
 * inputs are stored as q + 128, and 128 times the sum of an output's weights is taken off in the end.
 */
#include "avx512/lanes.h"

#include "packed/tile_finish.h"

#include <string.h>

typedef __m512i tile_row;
typedef __m512i tile_weights;
typedef __m512i tile_sum;

#define INPUT_TERMS  4
#define INPUT_BYTES  4
#define EXCESS       128
#define WEIGHT_BYTES 64
#define FEW_ROWS     3

#define NEGATIVE_EXCESS 0

static inline __m512i tile_input(const char *at)
{
    return _mm512_castps_si512(_mm512_set1_ps(*(const float *)(const void *)at));
}

static inline __m512i tile_weight(size_t part, const char *at)
{
    (void)part;
    return _mm512_loadu_si512(at);
}

static inline __m512i tile_add(__m512i input, __m512i weight, __m512i sum)
{
    return _mm512_dpbusd_epi32(sum, input, weight);
}

static inline __m512i tile_zero(void)
{
    return _mm512_setzero_si512();
}

static inline __m512i tile_load(const char *at)
{
    return _mm512_loadu_si512(at);
}

static inline void tile_store(char *at, __m512i sum)
{
    _mm512_storeu_si512(at, sum);
}

static inline lanes tile_to_lanes(__m512i sum, const int32_t *excess, int32_t row_excess)
{
    const __m512i all = _mm512_add_epi32(_mm512_loadu_si512(excess), _mm512_set1_epi32(row_excess));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, all));
}

/* q + EXCESS each, which in eight bits is the other sign. Sixteen steps are four groups. */
static inline void store_steps(lanes steps, size_t groups, char *to, size_t stride)
{
    const __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(steps));
    uint32_t group[LANES / INPUT_TERMS];
    _mm_storeu_si128((__m128i *)(void *)group, _mm_xor_si128(bytes, _mm_set1_epi8((char)EXCESS)));
    for (size_t i = 0; i < groups; ++i) {
        memcpy(to + i * stride, &group[i], INPUT_TERMS);
    }
}

#include "packed/tile_loop.h"

#include "avx512/tile_shapes.h"

#include "packed/tile_int8.h"

TILES(int8, 1)

const packed_products adamoe_products_int8_avx512 = {
    FINISH,
    TILE_TABLE(int8),
    .input_group = INPUT_TERMS,
    .weight_group = INPUT_TERMS,
    .input_bytes = INPUT_BYTES / INPUT_TERMS,
    .weight_bytes = sizeof(int8_t),
    .excess = EXCESS,
    .step = step_of,
    .quantise = quantise,
    .scale_sums = scale_sums,
};
