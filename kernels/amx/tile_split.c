/*
 * float32 inputs on the bfloat16 tiles of AMX: a float has 24 significant bits, which are three bfloat16s of eight. Each
 * part has a product of its own with the same weights, the smallest first, so that inputs are multiplied as they are.
 *
 * A row is divided by a power of two before it is cut, so that its largest magnitude is between 1 and 2, and its sums
 * are multiplied by it: tdpbf16ps makes zeros of denormals. What is lost so is less than 2^-126 of the largest
 * magnitude of a row, in each term.
 */
#include "avx512/lanes.h"

#include "packed/tile_finish.h"

#include <string.h>

#define INPUT_PARTS                    3
#define TILE_PRODUCT(sum, left, right) TILE_BF16(sum, left, right)
#include "amx/tile_loop.h"

#define GROUP_TERMS (ROW_BYTES / sizeof(uint16_t))

/* The power of two below; 1 for rows of zeros and such with an infinity. The smallest that there is as a float with all
 * its bits serves denormals. */
static float step_of(float largest)
{
    uint32_t bits;
    memcpy(&bits, &largest, sizeof bits);
    const uint32_t exponent = bits >> 23 & 0xff, least = 1, none = 127;
    bits = (largest == 0.0f || exponent == 0xff ? none : exponent == 0 ? least : exponent) << 23;
    float step;
    memcpy(&step, &bits, sizeof step);
    return step;
}

/* The first eight significant bits. */
static inline lanes first_bits(lanes a)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32((int)0xffff0000u)));
}

static inline void store_part(lanes part, char *to)
{
    const __m256bh rounded = _mm512_cvtneps_pbh(part); /* exact: it has eight bits */
    memcpy(to, &rounded, sizeof rounded);
}

/* Sixteen terms, of which those that do not exist are 0. Nothing is left over of infinity and NaN. */
static void cut(lanes terms, char *to)
{
    const lanes high = first_bits(terms);
    const lanes is_finite = lanes_subtract(lanes_all(0x1.fffffep127f), lanes_magnitude(terms));
    const lanes rest = lanes_where_positive(is_finite, lanes_subtract(terms, high), lanes_all(0.0f));
    const lanes middle = first_bits(rest);
    store_part(high, to);
    store_part(middle, to + ROW_BYTES);
    store_part(lanes_subtract(rest, middle), to + (size_t)2 * ROW_BYTES);
}

static int32_t split(const float *terms, size_t count, float scale, void *to, size_t stride)
{
    const lanes step = lanes_all(scale);
    for (size_t c = 0; c < count; c += LANES) {
        cut(lanes_divide(load_columns(terms + c, count - c), step),
            (char *)to + c / GROUP_TERMS * stride + c % GROUP_TERMS * sizeof(uint16_t));
    }
    return 0;
}

static void scale_sums(void *sums, size_t stride, size_t rows, packed_scales scales)
{
    for (size_t r = 0; r < rows; ++r) {
        const lanes step = lanes_all(scales.row[r].step);
        for (size_t v = 0; v < PACKED_VECTORS; ++v) {
            float *const at = (float *)sums + r * stride + v * LANES;
            lanes_store(at, lanes_multiply(lanes_load(at), step));
        }
    }
}

TILES(split)

const packed_products adamoe_products_split_amx = {
    FINISH,
    TILE_TABLE(split),
    .input_group = GROUP_TERMS,
    .weight_group = GROUP_TERMS,
    .neighbours = 2,
    .input_bytes = sizeof(uint16_t),
    .weight_bytes = sizeof(uint16_t),
    .step = step_of,
    .quantise = split,
    .scale_sums = scale_sums,
};
