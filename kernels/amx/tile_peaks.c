/*
 * The products of AMX's tiles in registers: two tiles of rows by two of outputs, as the kernels have them.
 */
#include "amx/tiles.h"
#include "peaks/peak_loops.h"

#define ROW_BYTES ADAMOE_TILE_ROW_BYTES
#define ROWS      (2 * ADAMOE_TILE_ROWS)

/* Operands in 4 to 7, whose bytes are pairs or fours of one value; sums in 0 to 3 are zeros. */
static void begin(uint32_t left, uint32_t right)
{
    uint32_t rows[2][ADAMOE_TILE_ROWS][ROW_BYTES / sizeof(uint32_t)];
    for (size_t r = 0; r < ADAMOE_TILE_ROWS; ++r) {
        for (size_t c = 0; c < ROW_BYTES / sizeof(uint32_t); ++c) {
            rows[0][r][c] = left;
            rows[1][r][c] = right;
        }
    }
    tiles_configure(ROWS);
    TILES_READ_MEMORY(rows);
    TILE_LOAD(4, rows[0], ROW_BYTES);
    TILE_LOAD(5, rows[0], ROW_BYTES);
    TILE_LOAD(6, rows[1], ROW_BYTES);
    TILE_LOAD(7, rows[1], ROW_BYTES);
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
}

/* The first doubleword of each of the four sums. */
static void end(uint32_t sum[4])
{
    uint32_t stored[4][ADAMOE_TILE_ROWS][ROW_BYTES / sizeof(uint32_t)];
    TILES_READ_MEMORY(stored);
    TILE_STORE(0, stored[0], ROW_BYTES);
    TILE_STORE(1, stored[1], ROW_BYTES);
    TILE_STORE(2, stored[2], ROW_BYTES);
    TILE_STORE(3, stored[3], ROW_BYTES);
    TILES_READ_MEMORY(stored);
    tiles_release();
    for (size_t i = 0; i < 4; ++i) {
        sum[i] = stored[i][0][0];
    }
}

#define BFLOAT16_ONES 0x3f803f80u
#define BYTES_OF(n)   (0x01010101u * (n))

float adamoe_tile_bf16_rounds_amx(size_t rounds)
{
    uint32_t bits[4];
    float total = 0.0f;
    begin(BFLOAT16_ONES, BFLOAT16_ONES);
    for (size_t i = 0; i < rounds; ++i) {
        TILE_BF16(0, 4, 6);
        TILE_BF16(1, 4, 7);
        TILE_BF16(2, 5, 6);
        TILE_BF16(3, 5, 7);
    }
    end(bits);
    for (size_t i = 0; i < 4; ++i) {
        float sum;
        __builtin_memcpy(&sum, &bits[i], sizeof sum);
        total += sum;
    }
    return total;
}

float adamoe_tile_int8_rounds_amx(size_t rounds)
{
    uint32_t sum[4];
    begin(BYTES_OF(3), BYTES_OF(5));
    for (size_t i = 0; i < rounds; ++i) {
        TILE_INT8(0, 4, 6);
        TILE_INT8(1, 4, 7);
        TILE_INT8(2, 5, 6);
        TILE_INT8(3, 5, 7);
    }
    end(sum);
    return (float)sum[0] + (float)sum[1] + (float)sum[2] + (float)sum[3];
}
