/*
 * The loop of every tile of AMX, whatever it multiplies. Before it is included these are defined:
 *   INPUT_PARTS, WEIGHT_PARTS                 parts of a term, of which each smaller one begins where the one before
 *                                             ends. Products of parts that are together as small as a further part
 *                                             would be are left out; of the others those of the last parts come first
 *   TILE_PRODUCT(sum, left, right)            the instruction
 *
 * Depth is whole, so that sums stay in their registers: up to 32 rows by two tiles of outputs, or up to 16 rows by
 * four, and every weight that is loaded meets all rows. A panel's group is two tiles of weights of a kilobyte each for
 * each part, as packed/tile.h says. The next panel is fetched into the second level meanwhile, a few lines for each group.
 */
#include "amx/tiles.h"
#include "packed/tile.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define ROW_BYTES     ADAMOE_TILE_ROW_BYTES
#define TILE_BYTES    (ADAMOE_TILE_ROWS * ADAMOE_TILE_ROW_BYTES)
#define INPUT_STRIDE  (INPUT_PARTS * ROW_BYTES)     /* from row to row of inputs */
#define PART_BYTES    (PACKED_VECTORS * TILE_BYTES) /* a panel's group of one part of weights */
#define SUMS_OF_TILE  (ROW_BYTES / sizeof(float))
#define FETCH_TO_NEXT 2 /* the level: into the first is slower */

#define LOAD_SUM(tile, from, first)                                                                          \
    do {                                                                                                     \
        if (first) {                                                                                         \
            TILE_ZERO(tile);                                                                                 \
        } else {                                                                                             \
            TILE_LOAD(tile, from, sum_stride);                                                               \
        }                                                                                                    \
    } while (0)

/* What is fetched while groups go by. */
typedef struct fetching {
    const char *next, *end;
    size_t lines; /* for each group */
} fetching;

ALWAYS_INLINE fetching begin_fetching(packed_ahead ahead, size_t groups)
{
    return (fetching){ahead.from, ahead.from + ahead.lines * 64,
                      groups == 0 ? 0 : (ahead.lines + groups - 1) / groups};
}

ALWAYS_INLINE void fetch(fetching *f)
{
    for (size_t l = 0; l < f->lines && f->next < f->end; ++l, f->next += 64) {
        __builtin_prefetch(f->next, 0, FETCH_TO_NEXT);
    }
}

/* 17 to 32 rows, one panel. */
ALWAYS_INLINE void two_by_two(size_t rows, size_t groups, const char *input, const char *weight, float *sums,
                              size_t stride, bool first, packed_ahead ahead)
{
    const size_t sum_stride = stride * sizeof(float);
    float *const below = sums + ADAMOE_TILE_ROWS * stride;
    fetching f = begin_fetching(ahead, groups);
    LOAD_SUM(0, sums, first);
    LOAD_SUM(1, sums + SUMS_OF_TILE, first);
    LOAD_SUM(2, below, first);
    LOAD_SUM(3, below + SUMS_OF_TILE, first);
    for (size_t g = 0; g < groups; ++g) {
        fetch(&f);
        for (size_t w = WEIGHT_PARTS; w-- > 0;) {
            TILE_LOAD(6, weight + w * PART_BYTES, ROW_BYTES);
            TILE_LOAD(7, weight + w * PART_BYTES + TILE_BYTES, ROW_BYTES);
            for (size_t part = INPUT_PARTS - w; part-- > 0;) {
                const char *at = input + part * ROW_BYTES;
                TILE_LOAD(4, at, INPUT_STRIDE);
                TILE_PRODUCT(0, 4, 6);
                TILE_PRODUCT(1, 4, 7);
                TILE_LOAD(5, at + (size_t)ADAMOE_TILE_ROWS * INPUT_STRIDE, INPUT_STRIDE);
                TILE_PRODUCT(2, 5, 6);
                TILE_PRODUCT(3, 5, 7);
            }
        }
        input += rows * INPUT_STRIDE;
        weight += WEIGHT_PARTS * PART_BYTES;
    }
    TILE_STORE(0, sums, sum_stride);
    TILE_STORE(1, sums + SUMS_OF_TILE, sum_stride);
    TILE_STORE(2, below, sum_stride);
    TILE_STORE(3, below + SUMS_OF_TILE, sum_stride);
}

/* The products of part `part` of inputs with the weights of one part, of one panel or two. */
ALWAYS_INLINE void add_one_by_four(size_t panels, size_t part, const char *input, const char *weight,
                                   size_t panel_bytes)
{
    TILE_LOAD(4, input + part * ROW_BYTES, INPUT_STRIDE);
    TILE_LOAD(5, weight, ROW_BYTES);
    TILE_PRODUCT(0, 4, 5);
    TILE_LOAD(6, weight + TILE_BYTES, ROW_BYTES);
    TILE_PRODUCT(1, 4, 6);
    if (panels == 2) {
        TILE_LOAD(7, weight + panel_bytes, ROW_BYTES);
        TILE_PRODUCT(2, 4, 7);
        TILE_LOAD(5, weight + panel_bytes + TILE_BYTES, ROW_BYTES);
        TILE_PRODUCT(3, 4, 5);
    }
}

/* Up to 16 rows, one panel or two: few rows need several, because one would not keep enough products in flight. */
ALWAYS_INLINE void one_by_four(size_t rows, size_t panels, size_t groups, const char *input,
                               const char *weight, size_t panel_bytes, float *sums, size_t stride, bool first,
                               packed_ahead ahead)
{
    const size_t sum_stride = stride * sizeof(float);
    fetching f = begin_fetching(ahead, groups);
    LOAD_SUM(0, sums, first);
    LOAD_SUM(1, sums + SUMS_OF_TILE, first);
    if (panels == 2) {
        LOAD_SUM(2, sums + 2 * SUMS_OF_TILE, first);
        LOAD_SUM(3, sums + 3 * SUMS_OF_TILE, first);
    }
    for (size_t g = 0; g < groups; ++g) {
        fetch(&f);
        for (size_t w = WEIGHT_PARTS; w-- > 0;) {
            for (size_t part = INPUT_PARTS - w; part-- > 0;) {
                add_one_by_four(panels, part, input, weight + w * PART_BYTES, panel_bytes);
            }
        }
        input += rows * INPUT_STRIDE;
        weight += WEIGHT_PARTS * PART_BYTES;
    }
    TILE_STORE(0, sums, sum_stride);
    TILE_STORE(1, sums + SUMS_OF_TILE, sum_stride);
    if (panels == 2) {
        TILE_STORE(2, sums + 2 * SUMS_OF_TILE, sum_stride);
        TILE_STORE(3, sums + 3 * SUMS_OF_TILE, sum_stride);
    }
}

ALWAYS_INLINE void compute_tile(size_t rows, size_t panels, size_t groups, const void *inputs,
                                const void *weights, size_t panel_bytes, void *sums, size_t stride,
                                bool first, packed_ahead ahead)
{
    TILES_READ_MEMORY(sums);
    if (rows > ADAMOE_TILE_ROWS) {
        two_by_two(rows, groups, inputs, weights, sums, stride, first, ahead);
    } else {
        one_by_four(rows, panels, groups, inputs, weights, panel_bytes, sums, stride, first, ahead);
    }
    TILES_READ_MEMORY(sums);
}

/* Defines the packed_tile TYPE_ROWSxPANELS. */
#define TILE(type, rows, count)                                                                              \
    static void type##_##rows##x##count(size_t groups, const void *inputs, const void *weights,              \
                                        size_t panel_bytes, void *sums, size_t stride, bool first,           \
                                        packed_ahead ahead)                                                  \
    {                                                                                                        \
        compute_tile(rows, count, groups, inputs, weights, panel_bytes, sums, stride, first, ahead);         \
    }

#define LOW_TILES(type, rows) TILE(type, rows, 1) TILE(type, rows, 2)

/* All shapes. */
#define TILES(type)                                                                                          \
    LOW_TILES(type, 1)                                                                                       \
    LOW_TILES(type, 2)                                                                                       \
    LOW_TILES(type, 3)                                                                                       \
    LOW_TILES(type, 4)                                                                                       \
    LOW_TILES(type, 5)                                                                                       \
    LOW_TILES(type, 6)                                                                                       \
    LOW_TILES(type, 7)                                                                                       \
    LOW_TILES(type, 8)                                                                                       \
    LOW_TILES(type, 9)                                                                                       \
    LOW_TILES(type, 10)                                                                                      \
    LOW_TILES(type, 11)                                                                                      \
    LOW_TILES(type, 12)                                                                                      \
    LOW_TILES(type, 13)                                                                                      \
    LOW_TILES(type, 14)                                                                                      \
    LOW_TILES(type, 15)                                                                                      \
    LOW_TILES(type, 16)                                                                                      \
    TILE(type, 17, 1)                                                                                        \
    TILE(type, 18, 1)                                                                                        \
    TILE(type, 19, 1)                                                                                        \
    TILE(type, 20, 1)                                                                                        \
    TILE(type, 21, 1)                                                                                        \
    TILE(type, 22, 1)                                                                                        \
    TILE(type, 23, 1)                                                                                        \
    TILE(type, 24, 1)                                                                                        \
    TILE(type, 25, 1)                                                                                        \
    TILE(type, 26, 1)                                                                                        \
    TILE(type, 27, 1)                                                                                        \
    TILE(type, 28, 1)                                                                                        \
    TILE(type, 29, 1)                                                                                        \
    TILE(type, 30, 1)                                                                                        \
    TILE(type, 31, 1)                                                                                        \
    TILE(type, 32, 1)

#define LOW_ROW(type, rows)  [rows] = {{type##_##rows##x1, type##_##rows##x2, NULL}}
#define HIGH_ROW(type, rows) [rows] = {{type##_##rows##x1, NULL, NULL}}

/* They as members of packed_products, and what all tiles have in common. */
#define TILE_TABLE(type)                                                                                     \
    .most_rows = 32, .input_parts = INPUT_PARTS, .whole_depth = true, .configure = tiles_configure,          \
    .release = tiles_release,                                                                                \
    .tile = {                                                                                                \
        LOW_ROW(type, 1),   LOW_ROW(type, 2),   LOW_ROW(type, 3),   LOW_ROW(type, 4),   LOW_ROW(type, 5),    \
        LOW_ROW(type, 6),   LOW_ROW(type, 7),   LOW_ROW(type, 8),   LOW_ROW(type, 9),   LOW_ROW(type, 10),   \
        LOW_ROW(type, 11),  LOW_ROW(type, 12),  LOW_ROW(type, 13),  LOW_ROW(type, 14),  LOW_ROW(type, 15),   \
        LOW_ROW(type, 16),  HIGH_ROW(type, 17), HIGH_ROW(type, 18), HIGH_ROW(type, 19), HIGH_ROW(type, 20),  \
        HIGH_ROW(type, 21), HIGH_ROW(type, 22), HIGH_ROW(type, 23), HIGH_ROW(type, 24), HIGH_ROW(type, 25),  \
        HIGH_ROW(type, 26), HIGH_ROW(type, 27), HIGH_ROW(type, 28), HIGH_ROW(type, 29), HIGH_ROW(type, 30),  \
        HIGH_ROW(type, 31), HIGH_ROW(type, 32),                                                              \
    }
