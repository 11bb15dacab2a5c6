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

#include "packed/tile_int8.h"

TILE(int8, 1, 1, 1)
TILE(int8, 1, 1, 4)
TILE(int8, 1, 2, 1)
TILE(int8, 1, 2, 4)
TILE(int8, 1, 3, 1)
TILE(int8, 1, 3, 4)
TILE(int8, 1, 4, 1)
TILE(int8, 1, 4, 2)
TILE(int8, 1, 5, 1)
TILE(int8, 1, 5, 2)
TILE(int8, 1, 6, 1)
TILE(int8, 1, 6, 2)
TILE(int8, 1, 7, 1)
TILE(int8, 1, 8, 1)
TILE(int8, 1, 9, 1)
TILE(int8, 1, 10, 1)
TILE(int8, 1, 11, 1)
TILE(int8, 1, 12, 1)
TILE(int8, 1, 13, 1)
TILE(int8, 1, 14, 1)

const packed_products adamoe_products_int8_avx512 = {
    FINISH,
    .most_rows = 14,
    .input_group = INPUT_TERMS,
    .weight_group = INPUT_TERMS,
    .input_bytes = INPUT_BYTES / INPUT_TERMS,
    .weight_bytes = sizeof(int8_t),
    .excess = EXCESS,
    .quantise = quantise,
    .scale_sums = scale_sums,
    .tile = {[1] = {{int8_1x1, NULL, int8_1x4}},
             [2] = {{int8_2x1, NULL, int8_2x4}},
             [3] = {{int8_3x1, NULL, int8_3x4}},
             [4] = {{int8_4x1, int8_4x2, NULL}},
             [5] = {{int8_5x1, int8_5x2, NULL}},
             [6] = {{int8_6x1, int8_6x2, NULL}},
             [7] = {{int8_7x1, NULL, NULL}},
             [8] = {{int8_8x1, NULL, NULL}},
             [9] = {{int8_9x1, NULL, NULL}},
             [10] = {{int8_10x1, NULL, NULL}},
             [11] = {{int8_11x1, NULL, NULL}},
             [12] = {{int8_12x1, NULL, NULL}},
             [13] = {{int8_13x1, NULL, NULL}},
             [14] = {{int8_14x1, NULL, NULL}}},
};
