/*
 * Vectors of sixteen floats for AVX-512 F: the same vocabulary as kernels/avx2/lanes.h. Only for files that
 * are compiled with -mavx512f and called where the processor has it.
 */
#ifndef ADAMOE_AVX512_LANES_H
#define ADAMOE_AVX512_LANES_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define LANES            16
#define LANES_REGISTERS  32
#define LANES_NAME(name) name##_avx512

typedef __m512 lanes;
typedef __m512i lanes_int; /* sixteen 32-bit integers */

static inline lanes lanes_all(float value)
{
    return _mm512_set1_ps(value);
}

static inline lanes lanes_load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline void lanes_store(float *to, lanes a)
{
    _mm512_storeu_ps(to, a);
}

static inline __mmask16 lanes_first(size_t count)
{
    return (__mmask16)(count < LANES ? (1u << count) - 1u : 0xffffu);
}

/* The first `count` lanes, the others 0; reads and writes nothing beyond. */
static inline lanes lanes_load_first(const float *from, size_t count)
{
    return _mm512_maskz_loadu_ps(lanes_first(count), from);
}

static inline void lanes_store_first(float *to, lanes a, size_t count)
{
    _mm512_mask_storeu_ps(to, lanes_first(count), a);
}

/* The first `count` lanes of a, the others of `rest`. */
static inline lanes lanes_first_of(lanes a, size_t count, lanes rest)
{
    return _mm512_mask_blend_ps(lanes_first(count), rest, a);
}

static inline lanes lanes_add(lanes a, lanes b)
{
    return _mm512_add_ps(a, b);
}

static inline lanes lanes_subtract(lanes a, lanes b)
{
    return _mm512_sub_ps(a, b);
}

static inline lanes lanes_multiply(lanes a, lanes b)
{
    return _mm512_mul_ps(a, b);
}

static inline lanes lanes_divide(lanes a, lanes b)
{
    return _mm512_div_ps(a, b);
}

/* a b + c, rounded once. */
static inline lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline lanes lanes_larger(lanes a, lanes b)
{
    return _mm512_max_ps(a, b);
}

static inline lanes lanes_smaller(lanes a, lanes b)
{
    return _mm512_min_ps(a, b);
}

static inline lanes lanes_magnitude(lanes a)
{
    return _mm512_abs_ps(a);
}

static inline lanes lanes_square_root(lanes a)
{
    return _mm512_sqrt_ps(a);
}

/* To the nearest integer, ties to even. */
static inline lanes lanes_round(lanes a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* yes where a >= 0 (no for NaN), no elsewhere. */
static inline lanes lanes_where_positive(lanes a, lanes yes, lanes no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GE_OQ), no, yes);
}

/* a * 2^n for integral n, with gradual underflow. */
static inline lanes lanes_scale(lanes a, lanes n)
{
    return _mm512_scalef_ps(a, n);
}

/* Joins halves: 16 lanes to 8, those to 4, and so on. */
static inline float lanes_sum(lanes a)
{
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline float lanes_largest(lanes a)
{
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* Lane i is the sum of a[i], in the order of lanes_sum. */
static inline lanes lanes_sums(const lanes a[LANES])
{
    lanes eight[8], four[4], two[2];
    for (int i = 0; i < 8; ++i) { /* each half of a vector is one sum's from here on */
        eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a[i], a[i + 8], 0x44),
                                 _mm512_shuffle_f32x4(a[i], a[i + 8], 0xee));
    }
    for (int i = 0; i < 4; ++i) { /* and each quarter: of a[i], a[i + 8], a[i + 4], a[i + 12] */
        four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(eight[i], eight[i + 4], 0x88),
                                _mm512_shuffle_f32x4(eight[i], eight[i + 4], 0xdd));
    }
    for (int i = 0; i < 2; ++i) {
        two[i] = _mm512_add_ps(_mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0x44),
                               _mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0xee));
    }
    const lanes one =
        _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88), _mm512_shuffle_ps(two[0], two[1], 0xdd));
    return _mm512_shuffle_f32x4(one, one, 0xd8); /* quarters 0, 8, 4, 12 into their order */
}

/* Bit i is set where lane i of a is larger than that of b. */
static inline uint32_t lanes_bits_larger(lanes a, lanes b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

static inline uint32_t lanes_bits_equal(lanes a, lanes b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

/* Lane i of a where bit i is set, of `rest` where it is not. */
static inline lanes lanes_keep(lanes a, uint32_t bits, lanes rest)
{
    return _mm512_mask_mov_ps(rest, (__mmask16)bits, a);
}

/* Sixteen pairs of bfloat16 from 64 bytes: each 32-bit lane holds an even element in its low half and the odd
 * one that follows in its high half. */
static inline lanes_int lanes_load_pairs(const void *from)
{
    return _mm512_loadu_si512(from);
}

static inline lanes lanes_even(lanes_int pairs)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

static inline lanes lanes_odd(lanes_int pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}

#endif
