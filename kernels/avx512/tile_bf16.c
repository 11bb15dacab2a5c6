/*
 * The bfloat16 tiles of AVX-512: 28 of the 32 registers hold sums.
 */
#include "avx512/lanes.h"

#include "interleave.h"
#include "packed/tile_finish.h"

#define WEIGHT_PAIRS 1
#ifdef ADAMOE_AVX512_EMULATED_H
#define NAME_THE_SUM 0
#else
#define NAME_THE_SUM 1
#endif
#include "packed/tile_float.h"

TILE(bfloat16, 2, 1, 1)
TILE(bfloat16, 2, 1, 4)
TILE(bfloat16, 2, 2, 1)
TILE(bfloat16, 2, 2, 4)
TILE(bfloat16, 2, 3, 1)
TILE(bfloat16, 2, 3, 4)
TILE(bfloat16, 2, 4, 1)
TILE(bfloat16, 2, 4, 2)
TILE(bfloat16, 2, 5, 1)
TILE(bfloat16, 2, 5, 2)
TILE(bfloat16, 2, 6, 1)
TILE(bfloat16, 2, 6, 2)
TILE(bfloat16, 2, 7, 1)
TILE(bfloat16, 2, 8, 1)
TILE(bfloat16, 2, 9, 1)
TILE(bfloat16, 2, 10, 1)
TILE(bfloat16, 2, 11, 1)
TILE(bfloat16, 2, 12, 1)
TILE(bfloat16, 2, 13, 1)
TILE(bfloat16, 2, 14, 1)

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

const packed_products adamoe_products_bf16_avx512 = {
    FINISH,
    .interleave = adamoe_interleave_avx512,
    .copy_groups = adamoe_copy_groups_avx512,
    .most_rows = 14,
    .input_group = 1,
    .weight_group = 2,
    .input_bytes = sizeof(float),
    .weight_bytes = sizeof(uint16_t),
    .tile = {[1] = {{bfloat16_1x1, NULL, bfloat16_1x4}},
             [2] = {{bfloat16_2x1, NULL, bfloat16_2x4}},
             [3] = {{bfloat16_3x1, NULL, bfloat16_3x4}},
             [4] = {{bfloat16_4x1, bfloat16_4x2, NULL}},
             [5] = {{bfloat16_5x1, bfloat16_5x2, NULL}},
             [6] = {{bfloat16_6x1, bfloat16_6x2, NULL}},
             [7] = {{bfloat16_7x1, NULL, NULL}},
             [8] = {{bfloat16_8x1, NULL, NULL}},
             [9] = {{bfloat16_9x1, NULL, NULL}},
             [10] = {{bfloat16_10x1, NULL, NULL}},
             [11] = {{bfloat16_11x1, NULL, NULL}},
             [12] = {{bfloat16_12x1, NULL, NULL}},
             [13] = {{bfloat16_13x1, NULL, NULL}},
             [14] = {{bfloat16_14x1, NULL, NULL}}},
    .widen = widen,
    .widened = &adamoe_products_f32_avx512,
    .tiles_before_widening = 2,
};
