/*
 * The loop of every tile, whatever it multiplies. Before it is included these are defined:
 *   tile_row                                  what is held of a row's inputs
 *   tile_weights                              what is held of a vector's weights; a pointer leaves them where
 *                                             they are
 *   tile_sum                                  a register of sums
 *   tile_input(at)                            one row's INPUT_BYTES of a group, in every lane
 *   tile_weight(part, at)                     part 0 or 1 of the weights of one vector
 *   tile_add(input, weight, sum)              sum + input * weight
 *   tile_zero(), tile_load(at), tile_store(at, sum)
 *   INPUT_BYTES                               of one row's input for one term, or for one group where an
 *                                             instruction multiplies groups
 *   WEIGHT_BYTES                              of one group of terms and one vector
 *   LANES                                     sums of a vector, four bytes each
 *   FEW_ROWS                                  up to so many rows, inputs are kept in registers and weights
 *                                             pass by; beyond, the other way round
 */
#include "packed/tile.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Complete unrolling, without which the sums would not be registers; and none at all, where it would make the
 * compiler move loads from one term into another until there are too few registers. */
#ifdef __clang__
#define UNROLL    _Pragma("clang loop unroll(full)")
#define KEEP_LOOP _Pragma("clang loop unroll(disable)")
#else
#define UNROLL    _Pragma("GCC unroll 16")
#define KEEP_LOOP _Pragma("GCC unroll 1")
#endif

/* Says that the register is read and written here, so that a compiler does not move a sum from register to
 * register. No instruction comes of it. */
#ifndef STAY_IN_REGISTER /* which whoever emulates the instruction set defines as nothing */
#define STAY_IN_REGISTER(a) __asm__("" : "+v"(a))
#endif

/* The sums of a tile; all bounds are constants where a function is inlined, so that each is a register. */
#define MOST_VECTORS (4 * PACKED_VECTORS)
typedef tile_sum (*tile_sums)[MOST_VECTORS];

/* A group of terms in each of the panels that lie side by side. */
#define MOST_PANELS (MOST_VECTORS / PACKED_VECTORS)
typedef struct tile_groups {
    const char *at[MOST_PANELS];
} tile_groups;

ALWAYS_INLINE tile_weights vector_weight(size_t part, const tile_groups *group, size_t i, size_t v)
{
    return tile_weight(part, group->at[v / PACKED_VECTORS] +
                                 (i * PACKED_VECTORS + v % PACKED_VECTORS) * WEIGHT_BYTES);
}

/* sum[r][v] += input[r] * weight[v], for one part of the i-th group from `group` on. */
ALWAYS_INLINE void add_part(size_t rows, size_t vectors, const char *input, size_t part,
                            const tile_groups *group, size_t i, tile_sums sum)
{
    if (rows <= FEW_ROWS) {
        tile_row kept[PACKED_VECTOR_ROWS];
        UNROLL
        for (size_t r = 0; r < rows; ++r) {
            kept[r] = tile_input(input + r * INPUT_BYTES);
        }
        UNROLL
        for (size_t v = 0; v < vectors; ++v) {
            const tile_weights weight = vector_weight(part, group, i, v);
            UNROLL
            for (size_t r = 0; r < rows; ++r) {
                sum[r][v] = tile_add(kept[r], weight, sum[r][v]);
                STAY_IN_REGISTER(sum[r][v]);
            }
        }
        return;
    }
    tile_weights kept[MOST_VECTORS];
    UNROLL
    for (size_t v = 0; v < vectors; ++v) {
        kept[v] = vector_weight(part, group, i, v);
    }
    UNROLL
    for (size_t r = 0; r < rows; ++r) {
        const tile_row x = tile_input(input + r * INPUT_BYTES);
        UNROLL
        for (size_t v = 0; v < vectors; ++v) {
            sum[r][v] = tile_add(x, kept[v], sum[r][v]);
            STAY_IN_REGISTER(sum[r][v]);
        }
    }
}

/* Groups between two rounds of prefetching. */
#define STEP 4

/* Groups that are written out one after the other, so that few instructions beside the products are left: a
 * sibling hyperthread takes half of what a core can decode, and the products need most of the other half.
 * Fewer rows wait for memory, and pairs are two terms already. */
#define WRITTEN_OUT(parts, rows) ((parts) == 1 && (rows) > FEW_ROWS ? STEP : 1)

/* Keeps a compiler from moving loads from one group into another until there are too few registers. No
 * instruction comes of it. */
#define MOVE_NOTHING_ACROSS() __asm__ volatile("" ::: "memory")

/* `count` groups, a constant where this is inlined. */
ALWAYS_INLINE void add_groups(size_t count, size_t parts, size_t rows, size_t vectors, const char *input,
                              const char *group, size_t panel_bytes, tile_sums sum)
{
    tile_groups first = {{group}};
    UNROLL
    for (size_t p = 1; p < vectors / PACKED_VECTORS; ++p) {
        first.at[p] = group + p * panel_bytes;
        if (rows > FEW_ROWS) {
            __asm__("" : "+r"(first.at[p])); /* or compilers work it out anew for each product */
        }
    }
    UNROLL
    for (size_t i = 0; i < count; ++i) {
        UNROLL
        for (size_t part = 0; part < parts; ++part) {
            add_part(rows, vectors, input + (i * parts + part) * rows * INPUT_BYTES, part, &first, i, sum);
            MOVE_NOTHING_ACROSS();
        }
    }
}

/* A packed_tile of `rows` rows and `panels` panels, whose weights have `parts` parts. */
ALWAYS_INLINE void compute_tile(size_t parts, size_t rows, size_t panels, size_t groups, const void *inputs,
                                const void *weights, size_t panel_bytes, void *sums, size_t stride,
                                bool first, packed_ahead ahead)
{
    const size_t vectors = panels * PACKED_VECTORS, steps = (groups + STEP - 1) / STEP;
    const size_t lines = steps == 0 ? 0 : (ahead.lines + steps - 1) / steps;
    const char *input = inputs, *group = weights, *const fetched = ahead.from + ahead.lines * 64;
    const size_t count = WRITTEN_OUT(parts, rows);
    char *const to = sums;
    tile_sum sum[PACKED_VECTOR_ROWS][MOST_VECTORS];
    UNROLL
    for (size_t r = 0; r < rows; ++r) {
        UNROLL
        for (size_t v = 0; v < vectors; ++v) {
            sum[r][v] = first ? tile_zero() : tile_load(to + (r * stride + v * LANES) * sizeof(float));
        }
    }
    KEEP_LOOP
    for (; groups >= STEP; groups -= STEP) {
        for (size_t l = 0; l < lines && ahead.from < fetched; ++l, ahead.from += 64) {
            __builtin_prefetch(ahead.from, 0, 2); /* into the second level: the first is full */
        }
        KEEP_LOOP
        for (size_t i = 0; i < STEP; i += count) {
            add_groups(count, parts, rows, vectors, input, group, panel_bytes, sum);
            input += count * parts * rows * INPUT_BYTES;
            group += count * PACKED_VECTORS * WEIGHT_BYTES;
        }
    }
    KEEP_LOOP
    for (; groups > 0; --groups) {
        add_groups(1, parts, rows, vectors, input, group, panel_bytes, sum);
        input += parts * rows * INPUT_BYTES;
        group += PACKED_VECTORS * WEIGHT_BYTES;
    }
    UNROLL
    for (size_t r = 0; r < rows; ++r) {
        UNROLL
        for (size_t v = 0; v < vectors; ++v) {
            tile_store(to + (r * stride + v * LANES) * sizeof(float), sum[r][v]);
        }
    }
}

/* Defines the packed_tile TYPE_ROWSxPANELS. */
#define TILE(type, parts, rows, count)                                                                       \
    static void type##_##rows##x##count(size_t groups, const void *inputs, const void *weights,              \
                                        size_t panel_bytes, void *sums, size_t stride, bool first,           \
                                        packed_ahead ahead)                                                  \
    {                                                                                                        \
        compute_tile(parts, rows, count, groups, inputs, weights, panel_bytes, sums, stride, first, ahead);  \
    }
