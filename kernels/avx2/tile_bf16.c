/*
 * The bfloat16 tiles of AVX2: twelve of the sixteen registers hold sums. A pair of weights is read twice, the
 * odd terms by a mask in a register, so that widening needs no room beside the operands.
 */
#include "avx2/lanes.h"

#include "vector/portable/interleave.h"
#include "packed/tile_finish.h"

#define WEIGHT_PAIRS 1
#define NAME_THE_SUM 0
#include "packed/tile_float.h"

TILE(bfloat16, 2, 1, 1)
TILE(bfloat16, 2, 1, 4)
TILE(bfloat16, 2, 2, 1)
TILE(bfloat16, 2, 2, 2)
TILE(bfloat16, 2, 3, 1)
TILE(bfloat16, 2, 4, 1)
TILE(bfloat16, 2, 5, 1)
TILE(bfloat16, 2, 6, 1)

/* Pairs as floats, term by term. */
static void widen(const void *weights, size_t groups, void *to)
{
    const char *group = weights;
    float *out = to;
    for (size_t i = 0; i < groups; ++i) {
        for (size_t v = 0; v < PACKED_VECTORS; ++v) {
            lanes_store(out + v * LANES, tile_weight(0, group + v * WEIGHT_BYTES));
            lanes_store(out + (PACKED_VECTORS + v) * LANES, tile_weight(1, group + v * WEIGHT_BYTES));
        }
        group += PACKED_VECTORS * WEIGHT_BYTES;
        out += 2 * PACKED_VECTORS * LANES;
    }
}

const packed_products adamoe_products_bf16_avx2 = {
    FINISH,
    .interleave = adamoe_interleave,
    .most_rows = 6,
    .input_group = 1,
    .weight_group = 2,
    .input_bytes = sizeof(float),
    .weight_bytes = sizeof(uint16_t),
    .tile = {[1] = {{bfloat16_1x1, NULL, bfloat16_1x4}},
             [2] = {{bfloat16_2x1, bfloat16_2x2, NULL}},
             [3] = {{bfloat16_3x1, NULL, NULL}},
             [4] = {{bfloat16_4x1, NULL, NULL}},
             [5] = {{bfloat16_5x1, NULL, NULL}},
             [6] = {{bfloat16_6x1, NULL, NULL}}},
    .widen = widen,
    .widened = &adamoe_products_f32_avx2,
    .tiles_before_widening = 12,
};
