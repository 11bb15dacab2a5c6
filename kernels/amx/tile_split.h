/*
 * float32 on the bfloat16 tiles of AMX: a float has 24 significant bits, which are three bfloat16s of eight. Parts of
 * an input have products of their own with parts of a weight, the smallest part of the weight first. Before it is included is
 * defined:
 *   WEIGHT_PARTS              1 for bfloat16 weights: three products, and nothing but sums is rounded;
 *                             3 for float32 weights: six products of nine. The others, of either sign, are together at
 *                             most two units of 2^-24 of the product, and mostly a fifth of one.
 *
 * Rows of inputs, and the weights of an output, are multiplied by a power of two before they are cut, so that the largest
 * magnitude is between 2^52 and 2^53, and sums by what undoes both: tdpbf16ps makes zeros of denormals, and two million
 * products of such numbers are no infinity yet. What is lost so is, of a number, less than 2^-178 of the largest beside
 * it, and of a product less than 2^-230 of that of both largest.
 */
#include "avx512/lanes.h"

#include "packed/tile_finish.h"

#include <string.h>

#define INPUT_PARTS                    3
#define TILE_PRODUCT(sum, left, right) TILE_BF16(sum, left, right)
#include "amx/tile_loop.h"

#define GROUP_TERMS      (ROW_BYTES / sizeof(uint16_t))
#define LARGEST_EXPONENT 52

/* The power of two below; 1 for zeros and where there is an infinity. The smallest that there is as a float with all
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

/* Of sixteen powers of two. */
static inline lanes exponents_of(lanes steps)
{
    const __m512i biased = _mm512_srli_epi32(_mm512_castps_si512(steps), 23);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(biased, _mm512_set1_epi32(127)));
}

/* Stores the bfloat16s nearest to sixteen floats; returns them as floats. */
static inline lanes store_nearest(lanes a, char *to)
{
    const __m256bh nearest = _mm512_cvtneps_pbh(a);
    __m256i bits;
    memcpy(&bits, &nearest, sizeof bits);
    memcpy(to, &nearest, sizeof nearest);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

/* Sixteen terms, of which those that do not exist are 0. Nothing is left over of infinity and NaN. What is left of a
 * float after its nearest bfloat16 has sixteen bits, and eight after that. */
static void cut(lanes terms, char *to)
{
    const lanes is_finite = lanes_subtract(lanes_all(0x1.fffffep127f), lanes_magnitude(terms));
    const lanes first = store_nearest(terms, to);
    const lanes rest = lanes_where_positive(is_finite, lanes_subtract(terms, first), lanes_all(0.0f));
    const lanes second = store_nearest(rest, to + ROW_BYTES);
    (void)store_nearest(lanes_subtract(rest, second), to + (size_t)2 * ROW_BYTES);
}

static int32_t split(const float *terms, size_t count, float scale, void *to, size_t stride)
{
    const lanes power = lanes_subtract(lanes_all(LARGEST_EXPONENT), exponents_of(lanes_all(scale)));
    for (size_t c = 0; c < count; c += LANES) {
        cut(lanes_scale(load_columns(terms + c, count - c), power),
            (char *)to + c / GROUP_TERMS * stride + c % GROUP_TERMS * sizeof(uint16_t));
    }
    return 0;
}

/* Both powers at once: one alone may leave the range that the result is in. */
static void scale_sums(void *sums, size_t stride, size_t rows, packed_scales scales)
{
    for (size_t r = 0; r < rows; ++r) {
        const lanes row =
            lanes_subtract(exponents_of(lanes_all(scales.row[r].step)), lanes_all(2 * LARGEST_EXPONENT));
        for (size_t v = 0; v < PACKED_VECTORS; ++v) {
            float *const at = (float *)sums + r * stride + v * LANES;
            const lanes power = lanes_add(row, exponents_of(lanes_load(scales.output + v * LANES)));
            lanes_store(at, lanes_scale(lanes_load(at), power));
        }
    }
}

TILES(split)

/* Members of packed_products. */
#define SPLIT_TABLE                                                                                          \
    FINISH, TILE_TABLE(split), .input_group = GROUP_TERMS, .weight_group = GROUP_TERMS, .neighbours = 2,     \
                               .weight_parts = WEIGHT_PARTS, .input_bytes = sizeof(uint16_t),                \
                               .weight_bytes = sizeof(uint16_t), .step = step_of, .quantise = split,         \
                               .scale_sums = scale_sums
