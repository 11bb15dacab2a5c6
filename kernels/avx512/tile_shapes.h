/*
 * The shapes of AVX-512's tiles, whatever they multiply: 28 of the 32 registers hold sums, or fewer where
 * there are fewer rows; two panels and four keep enough of them in flight for few rows. After
 * packed/tile_loop.h.
 */
#ifndef ADAMOE_AVX512_TILE_SHAPES_H
#define ADAMOE_AVX512_TILE_SHAPES_H

/* Defines the tiles TYPE_ROWSxPANELS. */
#define TILES(type, parts)                                                                                   \
    TILE(type, parts, 1, 1)                                                                                  \
    TILE(type, parts, 1, 4)                                                                                  \
    TILE(type, parts, 2, 1)                                                                                  \
    TILE(type, parts, 2, 4)                                                                                  \
    TILE(type, parts, 3, 1)                                                                                  \
    TILE(type, parts, 3, 4)                                                                                  \
    TILE(type, parts, 4, 1)                                                                                  \
    TILE(type, parts, 4, 2)                                                                                  \
    TILE(type, parts, 5, 1)                                                                                  \
    TILE(type, parts, 5, 2)                                                                                  \
    TILE(type, parts, 6, 1)                                                                                  \
    TILE(type, parts, 6, 2)                                                                                  \
    TILE(type, parts, 7, 1)                                                                                  \
    TILE(type, parts, 8, 1)                                                                                  \
    TILE(type, parts, 9, 1)                                                                                  \
    TILE(type, parts, 10, 1)                                                                                 \
    TILE(type, parts, 11, 1)                                                                                 \
    TILE(type, parts, 12, 1)                                                                                 \
    TILE(type, parts, 13, 1)                                                                                 \
    TILE(type, parts, 14, 1)

/* They as members of packed_products. */
#define TILE_TABLE(type)                                                                                     \
    .most_rows = 14, .tile = {                                                                               \
                         [1] = {{type##_1x1, NULL, type##_1x4}}, [2] = {{type##_2x1, NULL, type##_2x4}},     \
                         [3] = {{type##_3x1, NULL, type##_3x4}}, [4] = {{type##_4x1, type##_4x2, NULL}},     \
                         [5] = {{type##_5x1, type##_5x2, NULL}}, [6] = {{type##_6x1, type##_6x2, NULL}},     \
                         [7] = {{type##_7x1, NULL, NULL}},       [8] = {{type##_8x1, NULL, NULL}},           \
                         [9] = {{type##_9x1, NULL, NULL}},       [10] = {{type##_10x1, NULL, NULL}},         \
                         [11] = {{type##_11x1, NULL, NULL}},     [12] = {{type##_12x1, NULL, NULL}},         \
                         [13] = {{type##_13x1, NULL, NULL}},     [14] = {{type##_14x1, NULL, NULL}},         \
    }

#endif
