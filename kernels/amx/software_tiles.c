/*
 * The tiles of AMX in software: their state, configuration, loads and stores.
 */
#include "amx/software_state.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local adamoe_software_tiles own;
static atomic_size_t unreleased;

const adamoe_software_tiles *adamoe_software_tiles_now(void)
{
    return &own;
}

bool adamoe_software_tiles_in_use(void)
{
    return own.configured;
}

size_t adamoe_software_tiles_unreleased(void)
{
    return atomic_load(&unreleased);
}

/* As the processor does; a handler that returns would go on with wrong tiles. */
static void fault(int signal, const char *instruction, const char *reason)
{
    (void)fprintf(stderr, "tiles in software: %s: %s: %s\n", instruction, signal == SIGSEGV ? "#GP" : "#UD",
                  reason);
    (void)raise(signal);
    abort();
}

static void set_configured(bool configured)
{
    if (configured && !own.configured) {
        atomic_fetch_add(&unreleased, 1);
    }
    if (!configured && own.configured) {
        atomic_fetch_sub(&unreleased, 1);
    }
    own.configured = configured;
}

static bool all_zero(const void *bytes, size_t count)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < count; ++i) {
        if (byte[i] != 0) {
            return false;
        }
    }
    return true;
}

/* What is wrong with it; NULL where nothing is. */
static const char *wrong_config(const adamoe_tile_config *config)
{
    if (config->palette > 1) {
        return "there is no such palette";
    }
    if (config->palette == 0) {
        return NULL; /* the rest is not read */
    }
    if (!all_zero(config->reserved, sizeof config->reserved) ||
        !all_zero(config->reserved_row_bytes, sizeof config->reserved_row_bytes) ||
        !all_zero(config->reserved_rows, sizeof config->reserved_rows)) {
        return "a reserved byte is not zero";
    }
    for (size_t t = 0; t < ADAMOE_TILES; ++t) {
        if (config->row_bytes[t] > ADAMOE_TILE_ROW_BYTES) {
            return "a row has more than 64 bytes";
        }
        if (config->rows[t] > ADAMOE_TILE_ROWS) {
            return "a tile has more than 16 rows";
        }
        if ((config->rows[t] == 0) != (config->row_bytes[t] == 0)) {
            return "a tile has rows without bytes, or bytes without rows";
        }
    }
    return NULL;
}

void adamoe_tile_release(void)
{
    memset(own.data, 0, sizeof own.data);
    own.config = (adamoe_tile_config){0};
    set_configured(false);
}

void adamoe_tile_loadconfig(const void *config)
{
    adamoe_tile_config wanted;
    memcpy(&wanted, config, sizeof wanted);
    const char *wrong = wrong_config(&wanted);
    if (wrong != NULL) {
        fault(SIGSEGV, "ldtilecfg", wrong);
    }
    adamoe_tile_release();
    if (wanted.palette != 0) {
        own.config = wanted;
        set_configured(true);
    }
}

void adamoe_tile_storeconfig(void *config)
{
    memcpy(config, &own.config, sizeof own.config);
}

static void check_tile(const char *instruction, unsigned tile)
{
    if (!own.configured) {
        fault(SIGILL, instruction, "no tiles are configured");
    }
    if (tile >= ADAMOE_TILES || own.config.rows[tile] == 0) {
        fault(SIGILL, instruction, "the tile is not configured");
    }
}

/* Of what is moved or multiplied. */
static void check_doublewords(const char *instruction, unsigned tile)
{
    check_tile(instruction, tile);
    if (own.config.row_bytes[tile] % 4 != 0) {
        fault(SIGILL, instruction, "a row is not of whole doublewords");
    }
}

static void check_moved(const char *instruction, unsigned tile)
{
    check_doublewords(instruction, tile);
    if (own.config.start_row >= own.config.rows[tile]) {
        fault(SIGILL, instruction, "start_row is beyond the rows of the tile");
    }
}

void adamoe_tile_zero(unsigned tile)
{
    check_tile("tilezero", tile);
    memset(own.data[tile], 0, sizeof own.data[tile]);
    own.config.start_row = 0;
}

void adamoe_software_zero_beyond(adamoe_software_tiles *tiles, unsigned tile)
{
    const size_t rows = tiles->config.rows[tile], bytes = tiles->config.row_bytes[tile];
    for (size_t r = 0; r < rows; ++r) {
        memset(tiles->data[tile][r] + bytes, 0, ADAMOE_TILE_ROW_BYTES - bytes);
    }
    memset(tiles->data[tile] + rows, 0, (ADAMOE_TILE_ROWS - rows) * ADAMOE_TILE_ROW_BYTES);
}

void adamoe_tile_loadd(unsigned tile, const void *base, ptrdiff_t stride)
{
    check_moved("tileloadd", tile);
    for (size_t r = own.config.start_row; r < own.config.rows[tile]; ++r) {
        memcpy(own.data[tile][r], (const char *)base + (ptrdiff_t)r * stride, own.config.row_bytes[tile]);
    }
    adamoe_software_zero_beyond(&own, tile);
    own.config.start_row = 0;
}

void adamoe_tile_stored(unsigned tile, void *base, ptrdiff_t stride)
{
    check_moved("tilestored", tile);
    for (size_t r = own.config.start_row; r < own.config.rows[tile]; ++r) {
        memcpy((char *)base + (ptrdiff_t)r * stride, own.data[tile][r], own.config.row_bytes[tile]);
    }
    own.config.start_row = 0;
}

adamoe_software_tiles *adamoe_software_product(const char *instruction, unsigned sum, unsigned left,
                                               unsigned right)
{
    const adamoe_tile_config *config = &own.config;
    if (sum == left || sum == right || left == right) {
        fault(SIGILL, instruction, "two of the three tiles are the same");
    }
    check_doublewords(instruction, sum);
    check_doublewords(instruction, left);
    check_doublewords(instruction, right);
    if (config->row_bytes[sum] != config->row_bytes[right]) {
        fault(SIGILL, instruction, "the sums and the right operand have rows of different length");
    }
    if (config->rows[sum] != config->rows[left]) {
        fault(SIGILL, instruction, "the sums and the left operand have different numbers of rows");
    }
    if (config->row_bytes[left] / 4 != config->rows[right]) {
        fault(SIGILL, instruction, "the left operand is not as wide as the right one is high");
    }
    own.config.start_row = 0;
    return &own;
}
