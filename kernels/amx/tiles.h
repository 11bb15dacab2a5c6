/*
 * The tile instructions, by the compiler's names, and what the kernels' tiles are: of the eight registers, 0 to 3 hold
 * sums, and the others operands. In a build that emulates instruction sets the names stand for the tiles in software.
 */
#ifndef ADAMOE_AMX_TILES_H
#define ADAMOE_AMX_TILES_H

#include "amx/software_tiles.h"

#include <immintrin.h>

/* Strides are bytes from row to row. Numbers of tiles are written as digits: they are part of an instruction. */
#ifdef ADAMOE_SOFTWARE_TILES
#define TILES_LOAD_CONFIG(config)      adamoe_tile_loadconfig(config)
#define TILES_RELEASE()                adamoe_tile_release()
#define TILE_ZERO(tile)                adamoe_tile_zero(tile)
#define TILE_LOAD(tile, base, stride)  adamoe_tile_loadd(tile, base, (ptrdiff_t)(stride))
#define TILE_STORE(tile, base, stride) adamoe_tile_stored(tile, base, (ptrdiff_t)(stride))
#define TILE_BF16(sum, left, right)    adamoe_tile_dpbf16ps(sum, left, right)
#define TILE_INT8(sum, left, right)    adamoe_tile_dpbssd(sum, left, right)
#else
#define TILES_LOAD_CONFIG(config)      _tile_loadconfig(config)
#define TILES_RELEASE()                _tile_release()
#define TILE_ZERO(tile)                _tile_zero(tile)
#define TILE_LOAD(tile, base, stride)  _tile_loadd(tile, base, (size_t)(stride))
#define TILE_STORE(tile, base, stride) _tile_stored(tile, base, (size_t)(stride))
#define TILE_BF16(sum, left, right)    _tile_dpbf16ps(sum, left, right)
#define TILE_INT8(sum, left, right)    _tile_dpbssd(sum, left, right)
#endif

/* What gcc 12 and others know of the intrinsics: of a configuration that its first eight bytes are read, of a load that
 * no memory is. So what is written before must be in memory, and what is read after from it. No instruction comes of
 * it. */
#define TILES_READ_MEMORY(address) __asm__ volatile("" : : "r"(address) : "memory")

/* For `rows` rows, up to 32, in tiles of 16: sums of the first 16 in 0 and 1, of the others in 2 and 3, with inputs in
 * 4 and 5 and weights in 6 and 7. Up to 16 rows have 4 alone: four sums side by side in 0 to 3, weights in 5 to 7. */
static inline void tiles_configure(size_t rows)
{
    const uint8_t first = (uint8_t)(rows < ADAMOE_TILE_ROWS ? rows : ADAMOE_TILE_ROWS);
    const uint8_t second = (uint8_t)(rows > ADAMOE_TILE_ROWS ? rows - ADAMOE_TILE_ROWS : first);
    const uint8_t fifth = rows > ADAMOE_TILE_ROWS ? second : ADAMOE_TILE_ROWS, all = ADAMOE_TILE_ROWS;
    adamoe_tile_config config = {.palette = 1,
                                 .rows = {first, first, second, second, first, fifth, all, all}};
    for (size_t t = 0; t < ADAMOE_TILES; ++t) {
        config.row_bytes[t] = ADAMOE_TILE_ROW_BYTES;
    }
    TILES_READ_MEMORY(&config);
    TILES_LOAD_CONFIG(&config);
}

static inline void tiles_release(void)
{
    TILES_RELEASE();
}

#endif
