/*
 * Vectors of eight floats for AVX2 and FMA: the vocabulary in which the kernels' inner loops are written once
 * for every instruction set. kernels/avx512/lanes.h has the same names for sixteen. Only for files that are
 * compiled with -mavx2 -mfma and called where the processor has them.
 *
 * Every function is a fixed sequence of correctly rounded operations, so a lane's result depends on its own
 * operands alone; lanes_sum and lanes_largest say the order in which they join lanes.
 */
#ifndef ADAMOE_AVX2_LANES_H
#define ADAMOE_AVX2_LANES_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define LANES            8
#define LANES_REGISTERS  16
#define LANES_NAME(name) name##_avx2

typedef __m256 lanes;
typedef __m256i lanes_int; /* eight 32-bit integers */

static inline lanes lanes_all(float value)
{
    return _mm256_set1_ps(value);
}

static inline lanes lanes_load(const float *from)
{
    return _mm256_loadu_ps(from);
}

static inline void lanes_store(float *to, lanes a)
{
    _mm256_storeu_ps(to, a);
}

/* All ones in the first `count` lanes. */
static inline __m256i lanes_first(size_t count)
{
    const __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count < LANES ? (int)count : LANES), number);
}

/* The first `count` lanes, the others 0; reads and writes nothing beyond. */
static inline lanes lanes_load_first(const float *from, size_t count)
{
    return _mm256_maskload_ps(from, lanes_first(count));
}

static inline void lanes_store_first(float *to, lanes a, size_t count)
{
    _mm256_maskstore_ps(to, lanes_first(count), a);
}

/* The first `count` lanes of a, the others of `rest`. */
static inline lanes lanes_first_of(lanes a, size_t count, lanes rest)
{
    return _mm256_blendv_ps(rest, a, _mm256_castsi256_ps(lanes_first(count)));
}

static inline lanes lanes_add(lanes a, lanes b)
{
    return _mm256_add_ps(a, b);
}

static inline lanes lanes_subtract(lanes a, lanes b)
{
    return _mm256_sub_ps(a, b);
}

static inline lanes lanes_multiply(lanes a, lanes b)
{
    return _mm256_mul_ps(a, b);
}

static inline lanes lanes_divide(lanes a, lanes b)
{
    return _mm256_div_ps(a, b);
}

/* a b + c, rounded once. */
static inline lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline lanes lanes_larger(lanes a, lanes b)
{
    return _mm256_max_ps(a, b);
}

static inline lanes lanes_smaller(lanes a, lanes b)
{
    return _mm256_min_ps(a, b);
}

static inline lanes lanes_magnitude(lanes a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

static inline lanes lanes_square_root(lanes a)
{
    return _mm256_sqrt_ps(a);
}

/* To the nearest integer, ties to even. */
static inline lanes lanes_round(lanes a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* yes where a >= 0 (no for NaN), no elsewhere. */
static inline lanes lanes_where_positive(lanes a, lanes yes, lanes no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_GE_OQ));
}

/* a * 2^n for integral n in -252 .. 252, with gradual underflow: 2^n in two halves, both normal. */
static inline lanes lanes_scale(lanes a, lanes n)
{
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    const __m256i rest = _mm256_sub_epi32(whole, half), bias = _mm256_set1_epi32(127);
    a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

/* ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)). */
static inline float lanes_sum(lanes a)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline float lanes_largest(lanes a)
{
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* Lane i is the sum of a[i], in the order of lanes_sum. */
static inline lanes lanes_sums(const lanes a[LANES])
{
    lanes four[4], two[2];
    for (int i = 0; i < 4; ++i) { /* each half of a vector is one sum's from here on */
        four[i] = _mm256_add_ps(_mm256_permute2f128_ps(a[i], a[i + 4], 0x20),
                                _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
    for (int i = 0; i < 2; ++i) {
        two[i] = _mm256_add_ps(_mm256_shuffle_ps(four[2 * i], four[2 * i + 1], 0x44),
                               _mm256_shuffle_ps(four[2 * i], four[2 * i + 1], 0xee));
    }
    return _mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], 0x88), _mm256_shuffle_ps(two[0], two[1], 0xdd));
}

/* Bit i is set where lane i of a is larger than that of b. */
static inline uint32_t lanes_bits_larger(lanes a, lanes b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

static inline uint32_t lanes_bits_equal(lanes a, lanes b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}

/* Lane i of a where bit i is set, of `rest` where it is not. */
static inline lanes lanes_keep(lanes a, uint32_t bits, lanes rest)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i chosen = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), bit), bit);
    return _mm256_blendv_ps(rest, a, _mm256_castsi256_ps(chosen));
}

/* Eight pairs of bfloat16 from 32 bytes: each 32-bit lane holds an even element in its low half and the odd
 * one that follows in its high half. */
static inline lanes_int lanes_load_pairs(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline lanes lanes_even(lanes_int pairs)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}

static inline lanes lanes_odd(lanes_int pairs)
{
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u)));
}

#endif
