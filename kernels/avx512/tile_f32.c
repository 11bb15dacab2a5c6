/*
 * The float32 tiles of AVX-512: 28 of the 32 registers hold sums.
 */
#include "avx512/lanes.h"

#include "vector/portable/interleave.h"
#include "packed/tile_finish.h"

#define WEIGHT_PAIRS 0
#define NAME_THE_SUM 0
#include "packed/tile_float.h"

#include "avx512/tile_shapes.h"

TILES(float32, 1)

const packed_products adamoe_products_f32_avx512 = {
    FINISH,
    .interleave = adamoe_interleave_avx512,
    .copy_groups = adamoe_copy_groups_avx512,
    TILE_TABLE(float32),
    .input_group = 1,
    .weight_group = 1,
    .input_bytes = sizeof(float),
    .weight_bytes = sizeof(float),
};
