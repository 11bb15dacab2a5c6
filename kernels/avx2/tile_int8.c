/*
 * The int8 tiles of AVX2: int8 weights are widened to 16 bits on the way into registers and multiplied in
 * pairs of terms, vpmaddwd, which cannot overflow: 2 * 127 * 127.
 */
#include "avx2/lanes.h"

#include "packed/tile_finish.h"

typedef __m256i tile_operand;
typedef __m256i tile_sum;
typedef int16_t input_term;

#define INPUT_TERMS  2
#define EXCESS       0
#define WEIGHT_BYTES 16

static inline __m256i tile_input(const char *at)
{
    return _mm256_castps_si256(_mm256_broadcast_ss((const float *)(const void *)at));
}

static inline __m256i tile_weight(size_t part, const char *at)
{
    (void)part;
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)at));
}

static inline __m256i tile_add(__m256i input, __m256i weight, __m256i sum)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(input, weight));
}

static inline __m256i tile_zero(void)
{
    return _mm256_setzero_si256();
}

static inline __m256i tile_load(const char *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline void tile_store(char *at, __m256i sum)
{
    _mm256_storeu_si256((__m256i *)(void *)at, sum);
}

static inline lanes tile_to_lanes(__m256i sum, const int32_t *excess)
{
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, tile_load((const char *)excess)));
}

#include "packed/tile_loop.h"

#include "packed/tile_int8.h"

TILE(int8, 1, 1, 1)
TILE(int8, 1, 1, 4)
TILE(int8, 1, 2, 1)
TILE(int8, 1, 2, 2)
TILE(int8, 1, 3, 1)
TILE(int8, 1, 3, 2)
TILE(int8, 1, 4, 1)
TILE(int8, 1, 5, 1)

const packed_products adamoe_products_int8_avx2 = {
    FINISH,
    .most_rows = 5,
    .input_group = INPUT_TERMS,
    .weight_group = INPUT_TERMS,
    .input_bytes = sizeof(input_term),
    .weight_bytes = sizeof(int8_t),
    .excess = EXCESS,
    .quantise = quantise,
    .scale_sums = scale_sums,
    .tile = {[1] = {{int8_1x1, NULL, int8_1x4}},
             [2] = {{int8_2x1, int8_2x2, NULL}},
             [3] = {{int8_3x1, int8_3x2, NULL}},
             [4] = {{int8_4x1, NULL, NULL}},
             [5] = {{int8_5x1, NULL, NULL}}},
};
