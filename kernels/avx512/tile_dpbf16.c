/*
 * The tiles of AVX-512 with BF16: pairs of bfloat16 by pairs of bfloat16, vdpbf16ps. Inputs are rounded to
 * nearest even as they are packed, and h before it is stored.
 *
 * The instruction adds the odd term of a pair to the sum and then the even one, or both at once, as the
 * processor's vendor has it; either way a sum has one order, which no tile changes. It takes denormal
 * operands for 0 and gives 0 for a denormal sum, whatever MXCSR says, and so does the one that rounds: what a
 * float32 sum would hold below 2^-126 is lost here.
 */
#include "vector/portable/interleave.h"

#include "avx512/lanes.h"

#include "avx512/tile_bfloat16.h"

#define INPUT_BYTES  PAIR_BYTES
#define WEIGHT_BYTES 64
#define FEW_ROWS     3

#include "packed/tile_sums.h"

typedef __m512i tile_row;
typedef __m512i tile_weights;

static inline __m512i tile_input(const char *at)
{
    return _mm512_castps_si512(_mm512_set1_ps(*(const float *)(const void *)at));
}

static inline __m512i tile_weight(size_t part, const char *at)
{
    (void)part;
    return lanes_load_pairs(at);
}

/* Named, because compilers move sums from register to register, as in packed/tile_float.h. */
static inline lanes tile_add(__m512i input, __m512i weight, lanes sum)
{
#ifdef ADAMOE_AVX512_EMULATED_H
    return _mm512_dpbf16_ps(sum, (__m512bh)input, (__m512bh)weight);
#else
    __asm__("vdpbf16ps %[weight], %[input], %[sum]"
            : [sum] "+v"(sum)
            : [weight] "v"(weight), [input] "v"(input));
    return sum;
#endif
}

#include "packed/tile_loop.h"

#include "avx512/tile_shapes.h"

TILES(dpbf16, 1)

const packed_products adamoe_products_dpbf16_avx512 = {
    FINISH,
    TILE_TABLE(dpbf16),
    .input_group = INPUT_TERMS,
    .weight_group = INPUT_TERMS,
    .input_bytes = INPUT_BYTES / INPUT_TERMS,
    .weight_bytes = sizeof(uint16_t),
    .round = round_terms,
    .interleave = adamoe_interleave_avx512,
};
