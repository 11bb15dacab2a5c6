/*
 * The float32 tiles of AVX2: twelve of the sixteen registers hold sums.
 */
#include "avx2/lanes.h"

#include "vector/portable/interleave.h"
#include "packed/tile_finish.h"

#define WEIGHT_PAIRS 0
#define NAME_THE_SUM 0
#include "packed/tile_float.h"

TILE(float32, 1, 1, 1)
TILE(float32, 1, 1, 4)
TILE(float32, 1, 2, 1)
TILE(float32, 1, 2, 2)
TILE(float32, 1, 3, 1)
TILE(float32, 1, 3, 2)
TILE(float32, 1, 4, 1)
TILE(float32, 1, 5, 1)
TILE(float32, 1, 6, 1)

const packed_products adamoe_products_f32_avx2 = {
    FINISH,
    .interleave = adamoe_interleave,
    .copy_groups = adamoe_copy_groups,
    .most_rows = 6,
    .input_group = 1,
    .weight_group = 1,
    .input_bytes = sizeof(float),
    .weight_bytes = sizeof(float),
    .tile = {[1] = {{float32_1x1, NULL, float32_1x4}},
             [2] = {{float32_2x1, float32_2x2, NULL}},
             [3] = {{float32_3x1, float32_3x2, NULL}},
             [4] = {{float32_4x1, NULL, NULL}},
             [5] = {{float32_5x1, NULL, NULL}},
             [6] = {{float32_6x1, NULL, NULL}}},
};
