/*
 * The bfloat16 tiles of AMX: x and h are rounded to bfloat16, tdpbf16ps.
 */
#include "avx512/lanes.h"

#include "avx512/tile_bfloat16.h"

#define INPUT_PARTS                    1
#define WEIGHT_PARTS                   1
#define TILE_PRODUCT(sum, left, right) TILE_BF16(sum, left, right)
#include "amx/tile_loop.h"

TILES(bf16)

const packed_products adamoe_products_bf16_amx = {
    FINISH,
    TILE_TABLE(bf16),
    .input_group = ROW_BYTES / sizeof(uint16_t),
    .weight_group = ROW_BYTES / sizeof(uint16_t),
    .neighbours = INPUT_TERMS,
    .input_bytes = sizeof(uint16_t),
    .weight_bytes = sizeof(uint16_t),
    .round = round_terms,
};
