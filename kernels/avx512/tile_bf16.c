/*
 * The bfloat16 tiles of AVX-512: 28 of the 32 registers hold sums.
 */
#include "avx512/lanes.h"

#include "vector/portable/interleave.h"
#include "packed/tile_finish.h"

#define WEIGHT_PAIRS 1
#ifdef ADAMOE_AVX512_EMULATED_H
#define NAME_THE_SUM 0
#else
#define NAME_THE_SUM 1
#endif
#include "packed/tile_float.h"

#include "avx512/tile_shapes.h"

TILES(bfloat16, 2)

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
    TILE_TABLE(bfloat16),
    .input_group = 1,
    .weight_group = 2,
    .input_bytes = sizeof(float),
    .weight_bytes = sizeof(uint16_t),
    .widen = widen,
    .widened = &adamoe_products_f32_avx512,
    .tiles_before_widening = 2,
};
