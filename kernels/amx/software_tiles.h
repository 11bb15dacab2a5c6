/*
 * The tiles of AMX in software, for builds that emulate instruction sets and for the test that holds them against
 * Intel's description and against the processor: configuration, loads, stores, and the two products that the
 * kernels use.
 *
 * Implemented as the operation sections of Intel's Software Developer's Manual say (volume 2: LDTILECFG, STTILECFG,
 * TILELOADD, TILESTORED, TILEZERO, TILERELEASE, TDPBF16PS, TDPBSSD; volume 1, chapter on AMX): palette 1, which has
 * eight tiles of at most 16 rows of 64 bytes. What raises #GP there raises SIGSEGV here, and #UD SIGILL, as Linux
 * delivers them, with a line on standard error that says why.
 *
 * Left out: the other products, transactions, faults in the middle of a load (start_row is honoured where a
 * configuration brings it), and which NaN comes of several.
 */
#ifndef ADAMOE_AMX_SOFTWARE_TILES_H
#define ADAMOE_AMX_SOFTWARE_TILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADAMOE_TILES          8
#define ADAMOE_TILE_ROWS      16
#define ADAMOE_TILE_ROW_BYTES 64

/* What LDTILECFG reads: 64 bytes. */
typedef struct adamoe_tile_config {
    uint8_t palette, start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[ADAMOE_TILES]; /* colsb */
    uint16_t reserved_row_bytes[8];
    uint8_t rows[ADAMOE_TILES];
    uint8_t reserved_rows[8];
} adamoe_tile_config;

/* The tiles of the calling thread. */
typedef struct adamoe_software_tiles {
    bool configured;
    adamoe_tile_config config; /* zeros unless configured */
    _Alignas(64) unsigned char data[ADAMOE_TILES][ADAMOE_TILE_ROWS][ADAMOE_TILE_ROW_BYTES];
} adamoe_software_tiles;

const adamoe_software_tiles *adamoe_software_tiles_now(void);

/* The instructions. Strides are bytes from row to row. */
void adamoe_tile_loadconfig(const void *config);
void adamoe_tile_storeconfig(void *config);
void adamoe_tile_release(void);
void adamoe_tile_zero(unsigned tile);
void adamoe_tile_loadd(unsigned tile, const void *base, ptrdiff_t stride);
void adamoe_tile_stored(unsigned tile, void *base, ptrdiff_t stride);

/* sum[m][n] += left[m][k] * right[k][n], in pairs of bfloat16 and in fours of signed bytes. Only where the processor
 * has AVX2 and FMA. TDPBF16PS has two sums for each element, of the even terms and of the odd ones; each begins at 0,
 * is added to by fused multiply-adds in ascending order, and in the end they are added to each other, and then to
 * what stands in `sum`. All of it rounds to nearest even, takes denormal operands for zeros and makes zeros of
 * denormal results; MXCSR is neither asked nor changed. */
void adamoe_tile_dpbf16ps(unsigned sum, unsigned left, unsigned right);
void adamoe_tile_dpbssd(unsigned sum, unsigned left, unsigned right);

/* Whether the calling thread has configured tiles, and how many threads of the process have, those that ended with
 * them among them: what was configured must be released, or every switch of threads saves eight kilobytes. */
bool adamoe_software_tiles_in_use(void);
size_t adamoe_software_tiles_unreleased(void);

#endif
