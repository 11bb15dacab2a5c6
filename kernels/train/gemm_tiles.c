/*
 * The tiles of each instruction set: the packed kernels' own on x86-64, and portable ones in plain C.
 */
#include "train/gemm_tiles.h"
#include "vector/portable/interleave.h"
#include "vector/portable/lanes.h"
#include "vector/vector_ops.h"

#define PORTABLE_ROWS    4
#define PORTABLE_COLUMNS (PACKED_VECTORS * LANES)

/* `rows` is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void portable_tile(size_t rows, size_t depth, const float *a,
                                                                const float *b, float *sums, size_t stride,
                                                                bool first)
{
    lanes sum[PORTABLE_ROWS][PACKED_VECTORS];
    for (size_t r = 0; r < rows; ++r) {
        for (size_t v = 0; v < PACKED_VECTORS; ++v) {
            sum[r][v] = first ? lanes_all(0.0f) : lanes_load(sums + r * stride + v * LANES);
        }
    }
    for (size_t k = 0; k < depth; ++k) {
        for (size_t r = 0; r < rows; ++r) {
            for (size_t v = 0; v < PACKED_VECTORS; ++v) {
                const lanes weight = lanes_load(b + k * PORTABLE_COLUMNS + v * LANES);
                sum[r][v] = lanes_fma(lanes_all(a[k * rows + r]), weight, sum[r][v]);
            }
        }
    }
    for (size_t r = 0; r < rows; ++r) {
        for (size_t v = 0; v < PACKED_VECTORS; ++v) {
            lanes_store(sums + r * stride + v * LANES, sum[r][v]);
        }
    }
}

#define PORTABLE_TILE(rows)                                                                                  \
    static void portable_##rows(size_t groups, const void *inputs, const void *weights, size_t panel_bytes,  \
                                void *sums, size_t stride, bool first, packed_ahead ahead)                   \
    {                                                                                                        \
        (void)panel_bytes;                                                                                   \
        (void)ahead;                                                                                         \
        portable_tile(rows, groups, inputs, weights, sums, stride, first);                                   \
    }
PORTABLE_TILE(1)
PORTABLE_TILE(2)
PORTABLE_TILE(3)
PORTABLE_TILE(4)

static const packed_products portable_products = {
    .lanes = LANES,
    .most_rows = PORTABLE_ROWS,
    .input_group = 1,
    .weight_group = 1,
    .input_bytes = sizeof(float),
    .weight_bytes = sizeof(float),
    .interleave = adamoe_interleave,
    .copy_groups = adamoe_copy_groups,
    .tile = {[1] = {{portable_1, NULL, NULL}},
             [2] = {{portable_2, NULL, NULL}},
             [3] = {{portable_3, NULL, NULL}},
             [4] = {{portable_4, NULL, NULL}}},
};

#if defined(__x86_64__)
static const packed_products *const tables[] = {&portable_products, &adamoe_products_f32_avx2,
                                                &adamoe_products_f32_avx512};
#else
static const packed_products *const tables[] = {&portable_products};
#endif

/* The instruction sets are those of the vector functions, in the same order. */
const packed_products *adamoe_gemm_tiles_at(size_t index, bool *runs_here)
{
    (void)adamoe_vector_ops_at(index, runs_here);
    return index < sizeof tables / sizeof *tables ? tables[index] : NULL;
}

const packed_products *adamoe_gemm_tiles_best(void)
{
    const packed_products *best = &portable_products;
    bool runs_here = false;
    for (size_t i = 0; adamoe_gemm_tiles_at(i, &runs_here) != NULL; ++i) {
        best = runs_here ? tables[i] : best;
    }
    return best;
}
