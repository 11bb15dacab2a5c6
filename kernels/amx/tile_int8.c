/*
 * The int8 tiles of AMX: four terms at a time, both signed, tdpbssd. Sums of integers have the same bits in any order,
 * and what is done to them afterwards is what avx512/tile_int8.c does: so are the results.
 */
#include "avx512/lanes.h"

#include "packed/tile_finish.h"

#define INPUT_PARTS                    1
#define WEIGHT_PARTS                   1
#define TILE_PRODUCT(sum, left, right) TILE_INT8(sum, left, right)
#include "amx/tile_loop.h"

#define INPUT_TERMS     4
#define NEGATIVE_EXCESS 0

static inline __m512i tile_load(const char *at)
{
    return _mm512_loadu_si512(at);
}

/* Nothing is too much in a sum. */
static inline lanes tile_to_lanes(__m512i sum, const int32_t *excess, int32_t row_excess)
{
    (void)excess;
    (void)row_excess;
    return _mm512_cvtepi32_ps(sum);
}

/* A row of inputs has 64 steps in a group; sixteen of them are always whole. */
#define STEPS_AT(to, c, stride) ((to) + (c) / ROW_BYTES * (stride) + (c) % ROW_BYTES)

static inline void store_steps(lanes steps, size_t groups, char *to, size_t stride)
{
    (void)groups;
    (void)stride;
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(steps)));
}

#include "packed/tile_int8.h"

TILES(int8)

const packed_products adamoe_products_int8_amx = {
    FINISH,
    TILE_TABLE(int8),
    .input_group = ROW_BYTES,
    .weight_group = ROW_BYTES,
    .neighbours = INPUT_TERMS,
    .input_bytes = sizeof(int8_t),
    .weight_bytes = sizeof(int8_t),
    .step = step_of,
    .quantise = quantise,
    .scale_sums = scale_sums,
};
