/*
 * The tiles of AMX in software: their products, on vectors of AVX2, so that whole checks run in seconds.
 */
#include "amx/software_state.h"

#include <immintrin.h>
#include <string.h>

/* Round to nearest even, denormals are zero, flush to zero, and no exceptions: what TDPBF16PS does whatever MXCSR says
 * is what the vector unit does when MXCSR says this. */
#define MODES_OF_THE_PRODUCT 0x9fc0u

/* A half of a tile's row: eight doublewords. */
#define HALVES 2

static __m256i half_row(const adamoe_software_tiles *tiles, unsigned tile, size_t row, size_t half)
{
    return _mm256_load_si256((const __m256i *)(const void *)tiles->data[tile][row] + half);
}

static void set_half_row(adamoe_software_tiles *tiles, unsigned tile, size_t row, size_t half, __m256i to)
{
    _mm256_store_si256((__m256i *)(void *)tiles->data[tile][row] + half, to);
}

/* All four bytes of a doubleword, in every lane. */
static __m256i doubleword(const adamoe_software_tiles *tiles, unsigned tile, size_t row, size_t k)
{
    int32_t value;
    memcpy(&value, tiles->data[tile][row] + 4 * k, sizeof value);
    return _mm256_set1_epi32(value);
}

/* The even term of each pair of bfloat16 as a float, and the odd one. */
static __m256 even_term(__m256i pairs)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}

static __m256 odd_term(__m256i pairs)
{
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u)));
}

/* Terms of `right`, widened once for all rows of `left`. */
typedef struct widened_rows {
    __m256 even[ADAMOE_TILE_ROWS][HALVES], odd[ADAMOE_TILE_ROWS][HALVES];
} widened_rows;

static void multiply_row(adamoe_software_tiles *tiles, unsigned sum, unsigned left, size_t m, size_t pairs,
                         const widened_rows *right)
{
    __m256 even[HALVES] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, odd[HALVES] = {even[0], even[0]};
    for (size_t k = 0; k < pairs; ++k) {
        const __m256i pair = doubleword(tiles, left, m, k);
        for (size_t h = 0; h < HALVES; ++h) {
            even[h] = _mm256_fmadd_ps(even_term(pair), right->even[k][h], even[h]);
            odd[h] = _mm256_fmadd_ps(odd_term(pair), right->odd[k][h], odd[h]);
        }
    }
    for (size_t h = 0; h < HALVES; ++h) {
        const __m256 before = _mm256_castsi256_ps(half_row(tiles, sum, m, h));
        const __m256 after = _mm256_add_ps(before, _mm256_add_ps(even[h], odd[h]));
        set_half_row(tiles, sum, m, h, _mm256_castps_si256(after));
    }
}

/* No operation on floats may leave this function: a compiler does not know that MXCSR governs it, and what it reads
 * from memory and writes there stays between the fences. */
__attribute__((noinline)) static void multiply_in_modes(adamoe_software_tiles *tiles, unsigned sum,
                                                        unsigned left, unsigned right)
{
    const unsigned before = _mm_getcsr();
    const size_t pairs = tiles->config.rows[right];
    widened_rows widened;
    _mm_setcsr(MODES_OF_THE_PRODUCT);
    __asm__ volatile("" : : "r"(tiles) : "memory");
    for (size_t k = 0; k < pairs; ++k) {
        for (size_t h = 0; h < HALVES; ++h) {
            widened.even[k][h] = even_term(half_row(tiles, right, k, h));
            widened.odd[k][h] = odd_term(half_row(tiles, right, k, h));
        }
    }
    for (size_t m = 0; m < tiles->config.rows[sum]; ++m) {
        multiply_row(tiles, sum, left, m, pairs, &widened);
    }
    __asm__ volatile("" : : "r"(tiles) : "memory");
    _mm_setcsr(before);
}

void adamoe_tile_dpbf16ps(unsigned sum, unsigned left, unsigned right)
{
    adamoe_software_tiles *tiles = adamoe_software_product("tdpbf16ps", sum, left, right);
    multiply_in_modes(tiles, sum, left, right);
    adamoe_software_zero_beyond(tiles, sum);
}

/* Bytes 0 and 2 of each doubleword as words, and bytes 1 and 3. */
static __m256i even_bytes(__m256i fours)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(fours, 8), 8);
}

static __m256i odd_bytes(__m256i fours)
{
    return _mm256_srai_epi16(fours, 8);
}

/* Modulo 2^32; two products of bytes fit a doubleword. */
void adamoe_tile_dpbssd(unsigned sum, unsigned left, unsigned right)
{
    adamoe_software_tiles *tiles = adamoe_software_product("tdpbssd", sum, left, right);
    const size_t fours = tiles->config.rows[right];
    for (size_t m = 0; m < tiles->config.rows[sum]; ++m) {
        for (size_t h = 0; h < HALVES; ++h) {
            __m256i all = half_row(tiles, sum, m, h);
            for (size_t k = 0; k < fours; ++k) {
                const __m256i a = doubleword(tiles, left, m, k), b = half_row(tiles, right, k, h);
                all = _mm256_add_epi32(all, _mm256_madd_epi16(even_bytes(a), even_bytes(b)));
                all = _mm256_add_epi32(all, _mm256_madd_epi16(odd_bytes(a), odd_bytes(b)));
            }
            set_half_row(tiles, sum, m, h, all);
        }
    }
    adamoe_software_zero_beyond(tiles, sum);
}
