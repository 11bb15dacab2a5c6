/*
 * What stands around the products and is done on vectors: silu and its product, the weighted sum over a
 * token's rows, the largest magnitude of a row. Included once for each instruction set, after its lanes.h.
 * Whose inputs are neither floats nor made of floats later on defines before it:
 *   STORE_HIDDEN(to, h, outputs)              stores the first outputs of a vector as input groups
 */
#include "vector/lanes_math.h"
#include "packed/tile.h"

#ifndef STORE_HIDDEN
#define STORE_HIDDEN store_floats
static inline void store_floats(float *to, lanes h, size_t outputs)
{
    if (outputs >= LANES) {
        lanes_store(to, h);
    } else {
        lanes_store_first(to, h, outputs);
    }
}
#endif

static void gate(const float *sums, size_t stride, size_t rows, size_t outputs, float *h, size_t row_stride)
{
    for (size_t r = 0; r < rows; ++r) {
        const lanes z = lanes_load(sums + r * stride), up = lanes_load(sums + r * stride + LANES);
        STORE_HIDDEN(h + r * row_stride, lanes_multiply(lanes_silu(z), up), outputs);
    }
}

/* `count` columns from c on; a whole vector takes the path without masks, which are
 * slow on some processors. */
static inline lanes load_columns(const float *from, size_t count)
{
    return count >= LANES ? lanes_load(from) : lanes_load_first(from, count);
}

static void combine(size_t width, size_t rows, const float *weight, const float *slots, const uint32_t *row,
                    float self_scale, const float *x, float *y)
{
    for (size_t c = 0; c < width; c += LANES) {
        const size_t count = width - c;
        lanes sum = lanes_all(0.0f);
        for (size_t i = 0; i < rows; ++i) {
            sum = lanes_fma(lanes_all(weight[i]), load_columns(slots + row[i] * width + c, count), sum);
        }
        if (x != NULL) {
            sum = lanes_fma(lanes_all(self_scale), load_columns(x + c, count), sum);
        }
        if (count >= LANES) {
            lanes_store(y + c, sum);
        } else {
            lanes_store_first(y + c, sum, count);
        }
    }
}

static float largest(const float *terms, size_t count)
{
    lanes most = lanes_all(0.0f);
    for (size_t c = 0; c < count; c += LANES) {
        most = lanes_larger(most, lanes_magnitude(load_columns(terms + c, count - c)));
    }
    return lanes_largest(most);
}

/* What all products of an instruction set have in common. */
#define FINISH .lanes = LANES, .largest = largest, .gate = gate, .combine = combine
