/*
 * AVX-512 in software, for builds with ADAMOE_EMULATE_AVX512: the compiler includes this file before each
 * file of this folder, which is compiled for AVX2 and otherwise as it stands. SIMDe
 * (github.com/simd-everywhere) supplies most intrinsics under Intel's names; here is what its version 0.7.4
 * lacks, or does otherwise than the instruction: masked loads and stores, abs of -0, scalef, conversions, and
 * the products of bfloat16. An intrinsic that neither has does not compile, because the compiler's own asks
 * for AVX-512.
 *
 * Left out: exception flags, payloads of NaN, and every form of an intrinsic that no kernel here uses.
 */
#ifndef ADAMOE_AVX512_EMULATED_H
#define ADAMOE_AVX512_EMULATED_H

#include <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

/* packed/tile_loop.h would ask for a register that this build does not have. */
#define STAY_IN_REGISTER(a) ((void)0)

#define EMULATED_LANES 16

typedef union emulated_vector {
    __m512 floats;
    __m512i integers;
    __m256 half[2];
    __m256i integer_half[2];
    float lane[EMULATED_LANES];
    uint32_t bits[EMULATED_LANES];
} emulated_vector;

/* vmovups with zeroing: a lane whose bit is 0 is not read. */
static inline __m512 emulated_maskz_loadu_ps(__mmask16 mask, const void *from)
{
    emulated_vector out = {.lane = {0}};
    for (size_t i = 0; i < EMULATED_LANES; ++i) {
        if ((mask >> i & 1) != 0) {
            memcpy(&out.lane[i], (const char *)from + i * sizeof(float), sizeof(float));
        }
    }
    return out.floats;
}

/* vmovups with a mask: a lane whose bit is 0 is not written. */
static inline void emulated_mask_storeu_ps(void *to, __mmask16 mask, __m512 a)
{
    const emulated_vector in = {.floats = a};
    for (size_t i = 0; i < EMULATED_LANES; ++i) {
        if ((mask >> i & 1) != 0) {
            memcpy((char *)to + i * sizeof(float), &in.lane[i], sizeof(float));
        }
    }
}

/* vpandd with the sign taken off, of NaN and -0 too. */
static inline __m512 emulated_abs_ps(__m512 a)
{
    emulated_vector v = {.floats = a};
    for (size_t i = 0; i < EMULATED_LANES; ++i) {
        v.bits[i] &= 0x7fffffffu;
    }
    return v.floats;
}

/* The cases of vscalefps that are not a * 2^floor(n): Intel's table of special cases. */
static inline float emulated_scalef_special(float a, float n)
{
    if (isnan(n)) {
        return isnan(a) ? a : n;
    }
    if (isnan(a)) {
        return isinf(n) ? (n > 0.0f ? HUGE_VALF : 0.0f) : a;
    }
    if (isinf(n) && (n > 0.0f ? a == 0.0f : isinf(a))) {
        return NAN;
    }
    return n > 0.0f && isinf(n) ? copysignf(HUGE_VALF, a) : copysignf(isinf(a) ? HUGE_VALF : 0.0f, a);
}

/* a * 2^floor(n), rounded once. Beyond 2^300 in either direction every float overflows or vanishes, and
 * within it the product is exact in double. */
static inline float emulated_scalef_lane(float a, float n)
{
    if (isnan(a) || isnan(n) || isinf(n) || isinf(a)) {
        return emulated_scalef_special(a, n);
    }
    const float power = floorf(n > 300.0f ? 300.0f : n < -300.0f ? -300.0f : n);
    const uint64_t bits = (uint64_t)(1023 + (int)power) << 52;
    double factor;
    memcpy(&factor, &bits, sizeof factor);
    return (float)((double)a * factor);
}

static inline __m512 emulated_scalef_ps(__m512 a, __m512 n)
{
    emulated_vector v = {.floats = a};
    const emulated_vector powers = {.floats = n};
    for (size_t i = 0; i < EMULATED_LANES; ++i) {
        v.lane[i] = emulated_scalef_lane(v.lane[i], powers.lane[i]);
    }
    return v.floats;
}

/* vcvtps2dq: to the nearest integer, ties to even. */
static inline __m512i emulated_cvtps_epi32(__m512 a)
{
    emulated_vector v = {.floats = a};
    v.integer_half[0] = _mm256_cvtps_epi32(v.half[0]);
    v.integer_half[1] = _mm256_cvtps_epi32(v.half[1]);
    return v.integers;
}

/* vcvtdq2ps. */
static inline __m512 emulated_cvtepi32_ps(__m512i a)
{
    emulated_vector v = {.integers = a};
    v.half[0] = _mm256_cvtepi32_ps(v.integer_half[0]);
    v.half[1] = _mm256_cvtepi32_ps(v.integer_half[1]);
    return v.floats;
}

/* vpmovzxwd. */
static inline __m512i emulated_cvtepu16_epi32(__m256i a)
{
    emulated_vector v;
    v.integer_half[0] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(a));
    v.integer_half[1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1));
    return v.integers;
}

/* vpdpbusd: four products of unsigned and signed bytes and the sum, modulo 2^32; nothing saturates between.
 * In two halves of words, because SIMDe's own form takes compilers minutes where a tile repeats it. */
static inline __m512i emulated_dpbusd_epi32(__m512i sum, __m512i a, __m512i b)
{
    emulated_vector v = {.integers = sum};
    const emulated_vector left = {.integers = a}, right = {.integers = b};
    const __m256i low = _mm256_set1_epi16(0xff);
    for (size_t h = 0; h < 2; ++h) {
        const __m256i x = left.integer_half[h], y = right.integer_half[h];
        const __m256i even =
            _mm256_madd_epi16(_mm256_and_si256(x, low), _mm256_srai_epi16(_mm256_slli_epi16(y, 8), 8));
        const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(y, 8));
        v.integer_half[h] = _mm256_add_epi32(v.integer_half[h], _mm256_add_epi32(even, odd));
    }
    return v.integers;
}

static inline float emulated_cvtss_f32(__m512 a)
{
    const emulated_vector v = {.floats = a};
    return v.lane[0];
}

/* A denormal as the zero of its sign: the bfloat16 instructions know none, whatever MXCSR says. */
static inline uint32_t emulated_flush(uint32_t bits)
{
    return (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits;
}

/* To nearest, ties to even; a NaN is cut off and made quiet. */
static inline uint32_t emulated_bfloat16(uint32_t bits)
{
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return bits >> 16 | 0x40u;
    }
    bits = emulated_flush(bits);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits >> 16 : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

/* vcvtne2ps2bf16: the sixteen of b, then those of a. */
static inline __m512bh emulated_cvtne2ps_pbh(__m512 a, __m512 b)
{
    const emulated_vector from[2] = {{.floats = b}, {.floats = a}};
    uint16_t rounded[2 * EMULATED_LANES];
    for (size_t i = 0; i < 2 * EMULATED_LANES; ++i) {
        rounded[i] = (uint16_t)emulated_bfloat16(from[i / EMULATED_LANES].bits[i % EMULATED_LANES]);
    }
    __m512bh out;
    memcpy(&out, rounded, sizeof out);
    return out;
}

/* vcvtneps2bf16. */
static inline __m256bh emulated_cvtneps_pbh(__m512 a)
{
    const emulated_vector from = {.floats = a};
    uint16_t rounded[EMULATED_LANES];
    for (size_t i = 0; i < EMULATED_LANES; ++i) {
        rounded[i] = (uint16_t)emulated_bfloat16(from.bits[i]);
    }
    __m256bh out;
    memcpy(&out, rounded, sizeof out);
    return out;
}

/* Eight floats, the denormal ones as zeros of their sign. */
static inline __m256 emulated_flushed(__m256i bits)
{
    const __m256i exponent = _mm256_set1_epi32(0x7f800000), magnitude = _mm256_set1_epi32(0x7fffffff);
    const __m256i small = _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), _mm256_setzero_si256());
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_and_si256(small, magnitude), bits));
}

/* a b + c, rounded once; a result that is denormal after rounding is flushed. c is flushed already. */
static inline __m256 emulated_fma_flushed(__m256i a, __m256i b, __m256 c)
{
    return emulated_flushed(
        _mm256_castps_si256(_mm256_fmadd_ps(emulated_flushed(a), emulated_flushed(b), c)));
}

/* vdpbf16ps: the odd term of each pair is added, rounded, then the even one. In two halves, because a lane at
 * a time takes compilers minutes where a tile repeats it. */
static inline __m512 emulated_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b)
{
    emulated_vector v = {.floats = sum}, left, right;
    const __m256i odd = _mm256_set1_epi32((int)0xffff0000u);
    memcpy(&left, &a, sizeof left);
    memcpy(&right, &b, sizeof right);
    for (size_t h = 0; h < 2; ++h) {
        const __m256i x = left.integer_half[h], y = right.integer_half[h];
        v.half[h] = emulated_fma_flushed(_mm256_and_si256(x, odd), _mm256_and_si256(y, odd),
                                         emulated_flushed(v.integer_half[h]));
        v.half[h] = emulated_fma_flushed(_mm256_slli_epi32(x, 16), _mm256_slli_epi32(y, 16), v.half[h]);
    }
    return v.floats;
}

#undef _mm512_abs_ps
#undef _mm512_scalef_ps
#undef _mm512_roundscale_ps
#undef _mm512_cvtneps_pbh
#undef _mm512_dpbf16_ps
#undef _mm512_dpbusd_epi32
#undef _mm512_shuffle_f32x4
#define _mm512_maskz_loadu_ps(mask, from)  emulated_maskz_loadu_ps(mask, from)
#define _mm512_mask_storeu_ps(to, mask, a) emulated_mask_storeu_ps(to, mask, a)
#define _mm512_abs_ps(a)                   emulated_abs_ps(a)
#define _mm512_scalef_ps(a, n)             emulated_scalef_ps(a, n)
#define _mm512_cvtepi32_ps(a)              emulated_cvtepi32_ps(a)
#define _mm512_cvtepu16_epi32(a)           emulated_cvtepu16_epi32(a)
#define _mm512_cvtps_epi32(a)              emulated_cvtps_epi32(a)
#define _mm512_cvtss_f32(a)                emulated_cvtss_f32(a)
#define _mm512_cvtne2ps_pbh(a, b)          emulated_cvtne2ps_pbh(a, b)
#define _mm512_cvtneps_pbh(a)              emulated_cvtneps_pbh(a)
#define _mm512_dpbf16_ps(sum, a, b)        emulated_dpbf16_ps(sum, a, b)
#define _mm512_dpbusd_epi32(sum, a, b)     emulated_dpbusd_epi32(sum, a, b)
/* SIMDe's macro forgets the parentheses round its second argument. */
#define _mm512_roundscale_ps(a, how) simde_mm512_roundscale_ps(a, (how))
/* SIMDe has this one, and does not give it Intel's name. */
#define _mm512_shuffle_f32x4(a, b, lanes) simde_mm512_shuffle_f32x4(a, b, lanes)

#endif
