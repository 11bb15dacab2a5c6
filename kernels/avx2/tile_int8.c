/*
 * The int8 tiles of AVX2: four terms at a time, vpmaddubsw. It multiplies unsigned by signed, so a row is
 * stored as magnitudes and a mask of signs, and the mask is put on the weights: where x < 0,
 *
 *     |x| * (w ^ -1) = |x| * (-w - 1) = x * w - |x|,
 *
 * so that a row's sums are short of the sum of |x| over its negative terms. A pair is at most 2 * 127 * 128,
 * and never saturates.
 *
 * Instructions bound these tiles: four for 32 multiply-adds at the least. So weights are operands in memory,
 * a tile is few rows of many vectors, and nothing is loaded for its own sake but a row's inputs.
 */
#include "avx2/lanes.h"

#include "packed/tile_finish.h"

typedef struct tile_row {
    __m256i magnitude, sign; /* bytes; the sign is 0 or -1 */
} tile_row;
typedef const __m256i *tile_weights;
typedef __m256i tile_sum;

#define INPUT_TERMS  4
#define INPUT_BYTES  8 /* four magnitudes, four signs */
#define WEIGHT_BYTES 32
#define FEW_ROWS     1

#define NEGATIVE_EXCESS 1

static inline __m256i four_bytes(const char *at)
{
    return _mm256_castps_si256(_mm256_broadcast_ss((const float *)(const void *)at));
}

static inline tile_row tile_input(const char *at)
{
    return (tile_row){four_bytes(at), four_bytes(at + INPUT_TERMS)};
}

static inline const __m256i *tile_weight(size_t part, const char *at)
{
    (void)part;
    return (const __m256i *)(const void *)at;
}

/* In assembly, because compilers load weights once for all rows, and there is no register for them. The one
 * for the product is named: left to them, they move sums to make room for it. */
static inline __m256i tile_add(tile_row input, const __m256i *weights, __m256i sum)
{
    __asm__("vpxor %[weights], %[sign], %%ymm15\n\t"
            "vpmaddubsw %%ymm15, %[magnitude], %%ymm15\n\t"
            "vpmaddwd %%ymm15, %[ones], %%ymm15\n\t"
            "vpaddd %%ymm15, %[sum], %[sum]"
            : [sum] "+x"(sum)
            : [weights] "m"(*weights), [sign] "x"(input.sign), [magnitude] "x"(input.magnitude),
              [ones] "x"(_mm256_set1_epi16(1))
            : "xmm15");
    return sum;
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

static inline lanes tile_to_lanes(__m256i sum, const int32_t *excess, int32_t row_excess)
{
    const __m256i all = _mm256_add_epi32(tile_load((const char *)excess), _mm256_set1_epi32(row_excess));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, all));
}

/* Eight steps are two groups. */
static inline void store_steps(lanes steps, size_t groups, char *to, size_t stride)
{
    const __m256i q = _mm256_cvtps_epi32(steps);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    const __m128i sign = _mm_cmpgt_epi8(_mm_setzero_si128(), bytes);
    const __m128i stored = _mm_unpacklo_epi32(_mm_abs_epi8(bytes), sign);
    _mm_storel_epi64((__m128i *)(void *)to, stored);
    if (groups > 1) {
        _mm_storeh_pd((double *)(void *)(to + stride), _mm_castsi128_pd(stored));
    }
}

#include "packed/tile_loop.h"

#include "packed/tile_int8.h"

TILE(int8, 1, 1, 1)
TILE(int8, 1, 1, 4)
TILE(int8, 1, 2, 1)
TILE(int8, 1, 2, 2)
TILE(int8, 1, 3, 1)
TILE(int8, 1, 3, 2)

const packed_products adamoe_products_int8_avx2 = {
    FINISH,
    .most_rows = 3,
    .wide = 1,
    .input_group = INPUT_TERMS,
    .weight_group = INPUT_TERMS,
    .input_bytes = INPUT_BYTES / INPUT_TERMS,
    .weight_bytes = sizeof(int8_t),
    .step = step_of,
    .quantise = quantise,
    .scale_sums = scale_sums,
    .tile = {[1] = {{int8_1x1, NULL, int8_1x4}},
             [2] = {{int8_2x1, int8_2x2, NULL}},
             [3] = {{int8_3x1, int8_3x2, NULL}}},
};
