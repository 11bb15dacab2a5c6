/*
 * Float32 products, with weights in float32 or in pairs of bfloat16 that are widened on the way into
 * registers: part 0 is the even, part 1 the odd term of a pair. Included once for each instruction set, after
 * its lanes.h. One source file cannot have both kinds of weights: WEIGHT_PAIRS says which; NAME_THE_SUM is 1
 * where the sums need it (tile_add).
 */
#include "packed/tile_sums.h"

typedef lanes tile_row;
typedef lanes tile_weights;

#define INPUT_BYTES  sizeof(float)
#define WEIGHT_BYTES sizeof(lanes)
#define FEW_ROWS     3

static inline lanes tile_input(const char *at)
{
    return lanes_all(*(const float *)(const void *)at);
}

static inline lanes tile_weight(size_t part, const char *at)
{
    if (!WEIGHT_PAIRS) {
        return lanes_load((const float *)(const void *)at);
    }
    return part == 0 ? lanes_even(lanes_load_pairs(at)) : lanes_odd(lanes_load_pairs(at));
}

/* A widened weight dies with its last product, and compilers then put the sum where the weight was and move
 * it back, one instruction in three. So where NAME_THE_SUM says that it pays, the instruction is named whose
 * third operand is its own sum. Weights as they stand are operands in memory, which needs the intrinsic. */
static inline lanes tile_add(lanes input, lanes weight, lanes sum)
{
#if NAME_THE_SUM
    __asm__("vfmadd231ps %[weight], %[input], %[sum]"
            : [sum] "+v"(sum)
            : [weight] "v"(weight), [input] "v"(input));
    return sum;
#else
    return lanes_fma(input, weight, sum);
#endif
}

#include "packed/tile_loop.h"
