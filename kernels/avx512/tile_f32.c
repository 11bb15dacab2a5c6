/*
 * The float32 tiles of AVX-512: 28 of the 32 registers hold sums.
 */
#include "avx512/lanes.h"

#include "interleave.h"
#include "packed/tile_finish.h"

#define WEIGHT_PAIRS 0
#define NAME_THE_SUM 0
#include "packed/tile_float.h"

TILE(float32, 1, 1, 1)
TILE(float32, 1, 1, 4)
TILE(float32, 1, 2, 1)
TILE(float32, 1, 2, 4)
TILE(float32, 1, 3, 1)
TILE(float32, 1, 3, 4)
TILE(float32, 1, 4, 1)
TILE(float32, 1, 4, 2)
TILE(float32, 1, 5, 1)
TILE(float32, 1, 5, 2)
TILE(float32, 1, 6, 1)
TILE(float32, 1, 6, 2)
TILE(float32, 1, 7, 1)
TILE(float32, 1, 8, 1)
TILE(float32, 1, 9, 1)
TILE(float32, 1, 10, 1)
TILE(float32, 1, 11, 1)
TILE(float32, 1, 12, 1)
TILE(float32, 1, 13, 1)
TILE(float32, 1, 14, 1)

const packed_products adamoe_products_f32_avx512 = {
    FINISH,
    .interleave = adamoe_interleave_avx512,
    .copy_groups = adamoe_copy_groups_avx512,
    .most_rows = 14,
    .input_group = 1,
    .weight_group = 1,
    .input_bytes = sizeof(float),
    .weight_bytes = sizeof(float),
    .tile = {[1] = {{float32_1x1, NULL, float32_1x4}},
             [2] = {{float32_2x1, NULL, float32_2x4}},
             [3] = {{float32_3x1, NULL, float32_3x4}},
             [4] = {{float32_4x1, float32_4x2, NULL}},
             [5] = {{float32_5x1, float32_5x2, NULL}},
             [6] = {{float32_6x1, float32_6x2, NULL}},
             [7] = {{float32_7x1, NULL, NULL}},
             [8] = {{float32_8x1, NULL, NULL}},
             [9] = {{float32_9x1, NULL, NULL}},
             [10] = {{float32_10x1, NULL, NULL}},
             [11] = {{float32_11x1, NULL, NULL}},
             [12] = {{float32_12x1, NULL, NULL}},
             [13] = {{float32_13x1, NULL, NULL}},
             [14] = {{float32_14x1, NULL, NULL}}},
};
