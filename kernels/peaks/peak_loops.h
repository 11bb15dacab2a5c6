/*
 * The loops that peaks are measured with, one file for each instruction set; called only where the processor
 * has it. Each returns a value that depends on all that it did, so that none of it is optimised away and a
 * test can count it.
 */
#ifndef ADAMOE_PEAKS_PEAK_LOOPS_H
#define ADAMOE_PEAKS_PEAK_LOOPS_H

#include <stddef.h>
#include <stdint.h>

/* Products of one round: enough for the latency of two units, few enough for the registers. vdpbf16ps takes 6
 * cycles on Zen 5, where 12 chains reach 0.94 of what 14 and more do. */
#define ADAMOE_MADD_CHAINS 8
#define ADAMOE_DOT_CHAINS  16

/* AVX2: vpmaddwd and vpaddd on int16 pairs, 16 multiply-adds a product; vpmaddubsw, vpmaddwd and vpaddd on
 * bytes, 32 a product. */
float adamoe_madd_rounds_avx2(size_t rounds);
float adamoe_maddubs_rounds_avx2(size_t rounds);

/* AVX-512: vpdpbusd, 64 multiply-adds a product; vdpbf16ps, 32. */
float adamoe_vnni_rounds_avx512(size_t rounds);
float adamoe_bf16_rounds_avx512(size_t rounds);

/* AMX: four products of tiles, tdpbf16ps of 16 x 16 sums over 32 terms each, and tdpbssd over 64. The value is that of
 * one sum of each tile. */
#define ADAMOE_TILE_PRODUCTS 4
float adamoe_tile_bf16_rounds_amx(size_t rounds);
float adamoe_tile_int8_rounds_amx(size_t rounds);

/* Reads data[bytes], a multiple of 4096, as `streams` runs side by side (1, 2, 4 or 8), asking for what
 * stands `ahead` bytes further on (0: not asking). data is aligned to 64 bytes.
 * The result is the sum of its 64-bit words. */
uint64_t adamoe_read(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead);
uint64_t adamoe_read_avx2(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead);
uint64_t adamoe_read_avx512(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead);

#endif
