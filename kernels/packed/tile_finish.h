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

/* So many vectors of a row are summed together: neighbours in memory, where the rows of a wide layer are pages apart. */
#define COMBINED 8

static inline void combine_vectors(size_t width, size_t rows, const float *weight, const float *slots,
                                   const uint32_t *row, float self_scale, const float *x, float *y)
{
    lanes sum[COMBINED];
    for (size_t v = 0; v < COMBINED; ++v) {
        sum[v] = lanes_all(0.0f);
    }
    for (size_t i = 0; i < rows; ++i) {
        const lanes w = lanes_all(weight[i]);
        const float *from = slots + row[i] * width;
        for (size_t v = 0; v < COMBINED; ++v) {
            sum[v] = lanes_fma(w, lanes_load(from + v * LANES), sum[v]);
        }
    }
    for (size_t v = 0; v < COMBINED && x != NULL; ++v) {
        sum[v] = lanes_fma(lanes_all(self_scale), lanes_load(x + v * LANES), sum[v]);
    }
    for (size_t v = 0; v < COMBINED; ++v) {
        lanes_store(y + v * LANES, sum[v]);
    }
}

/* y (+)= the weighted sum of `rows` rows, a constant wherever this is called, from one end to the other. */
static inline __attribute__((always_inline)) void add_rows(size_t rows, bool first, size_t width,
                                                           const float *weight, const float *slots,
                                                           const uint32_t *row, float *y)
{
    for (size_t c = 0; c < width; c += LANES) {
        const size_t count = width - c;
        lanes sum = first ? lanes_all(0.0f) : load_columns(y + c, count);
        for (size_t i = 0; i < rows; ++i) {
            sum = lanes_fma(lanes_all(weight[i]), load_columns(slots + row[i] * width + c, count), sum);
        }
        if (count >= LANES) {
            lanes_store(y + c, sum);
        } else {
            lanes_store_first(y + c, sum, count);
        }
    }
}

/* A token of Soft MoE sums every row that there is. Rows of a wide layer that are read column by column drive one another
 * out of the caches: these are read as they lie, some at a time, and it is y that stays. */
#define STREAMS 4

static void combine_many(size_t width, size_t rows, const float *weight, const float *slots,
                         const uint32_t *row, float self_scale, const float *x, float *y)
{
    static const uint32_t only = 0;
    size_t i = 0;
    for (; i + STREAMS <= rows; i += STREAMS) {
        add_rows(STREAMS, i == 0, width, weight + i, slots, row + i, y);
    }
    for (; i < rows; ++i) {
        add_rows(1, i == 0, width, weight + i, slots, row + i, y);
    }
    if (x != NULL) {
        add_rows(1, false, width, &self_scale, x, &only, y);
    }
}

/* Rows are summed in the same order on each of these ways, so that bits do not tell which was taken. */
static void combine(size_t width, size_t rows, const float *weight, const float *slots, const uint32_t *row,
                    float self_scale, const float *x, float *y)
{
    size_t c = 0;
    if (rows > 2 * STREAMS) {
        combine_many(width, rows, weight, slots, row, self_scale, x, y);
        return;
    }
    for (; c + COMBINED * LANES <= width; c += COMBINED * LANES) {
        combine_vectors(width, rows, weight, slots + c, row, self_scale, x == NULL ? NULL : x + c, y + c);
    }
    for (; c < width; c += LANES) {
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
