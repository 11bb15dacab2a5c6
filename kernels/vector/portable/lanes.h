/*
 * Vectors of four floats in plain C with the compilers' vector extension: the vocabulary of
 * kernels/avx2/lanes.h for any processor. There is no fused multiply-add here: lanes_fma rounds twice.
 */
#ifndef ADAMOE_VECTOR_PORTABLE_LANES_H
#define ADAMOE_VECTOR_PORTABLE_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES            4
#define LANES_NAME(name) name##_portable

typedef float lanes __attribute__((vector_size(16)));
typedef int32_t lanes_int __attribute__((vector_size(16)));
typedef uint32_t lanes_bits __attribute__((vector_size(16)));

static inline lanes lanes_all(float value)
{
    return (lanes){value, value, value, value};
}

static inline lanes lanes_load(const float *from)
{
    lanes a;
    memcpy(&a, from, sizeof a);
    return a;
}

static inline void lanes_store(float *to, lanes a)
{
    memcpy(to, &a, sizeof a);
}

/* The first `count` lanes, the others 0; reads and writes nothing beyond. */
static inline lanes lanes_load_first(const float *from, size_t count)
{
    lanes a = {0};
    memcpy(&a, from, (count < LANES ? count : LANES) * sizeof *from);
    return a;
}

static inline void lanes_store_first(float *to, lanes a, size_t count)
{
    memcpy(to, &a, (count < LANES ? count : LANES) * sizeof *to);
}

/* The first `count` lanes of a, the others of `rest`. */
static inline lanes lanes_first_of(lanes a, size_t count, lanes rest)
{
    memcpy(&rest, &a, (count < LANES ? count : LANES) * sizeof(float));
    return rest;
}

static inline lanes lanes_add(lanes a, lanes b)
{
    return a + b;
}

static inline lanes lanes_subtract(lanes a, lanes b)
{
    return a - b;
}

static inline lanes lanes_multiply(lanes a, lanes b)
{
    return a * b;
}

static inline lanes lanes_divide(lanes a, lanes b)
{
    return a / b;
}

/* a b + c, rounded after each of the two. */
static inline lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return a * b + c;
}

static inline lanes lanes_choose(lanes_int condition, lanes yes, lanes no)
{
    return (lanes)((condition & (lanes_int)yes) | (~condition & (lanes_int)no));
}

/* b where a or b is NaN, as on x86. */
static inline lanes lanes_larger(lanes a, lanes b)
{
    return lanes_choose(a > b, a, b);
}

static inline lanes lanes_smaller(lanes a, lanes b)
{
    return lanes_choose(a < b, a, b);
}

static inline lanes lanes_magnitude(lanes a)
{
    return (lanes)((lanes_int)a & (lanes_int){INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX});
}

static inline lanes lanes_square_root(lanes a)
{
    return (lanes){__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]),
                   __builtin_sqrtf(a[3])};
}

/* To the nearest integer, ties to even, for magnitudes below 2^22: at 1.5 * 2^23 the last bit is worth 1. */
static inline lanes lanes_round(lanes a)
{
    const lanes large = lanes_all(12582912.0f);
    return a + large - large;
}

/* yes where a >= 0 (no for NaN), no elsewhere. */
static inline lanes lanes_where_positive(lanes a, lanes yes, lanes no)
{
    return lanes_choose(a >= (lanes){0}, yes, no);
}

/* a * 2^n for integral n in -252 .. 252, with gradual underflow: 2^n in two halves, both normal. n becomes an
 * integer in the last bits of a large float, because a conversion has no meaning for NaN. */
static inline lanes lanes_scale(lanes a, lanes n)
{
    const lanes large = lanes_all(12582912.0f);
    const lanes_bits biased = (lanes_bits)(n + large) - (lanes_bits)large + 256u;
    const lanes_bits half = biased >> 1, rest = biased - half;
    return a * (lanes)((half - 1u) << 23) * (lanes)((rest - 1u) << 23);
}

/* (0 + 2) + (1 + 3). */
static inline float lanes_sum(lanes a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}

static inline float lanes_largest(lanes a)
{
    float largest = a[0];
    for (int i = 1; i < LANES; ++i) {
        largest = a[i] > largest ? a[i] : largest;
    }
    return largest;
}

/* Lane i is the sum of a[i], in the order of lanes_sum. */
static inline lanes lanes_sums(const lanes a[LANES])
{
    return (lanes){lanes_sum(a[0]), lanes_sum(a[1]), lanes_sum(a[2]), lanes_sum(a[3])};
}

/* Bit i is set where lane i of a is larger than that of b. */
static inline uint32_t lanes_bits_larger(lanes a, lanes b)
{
    uint32_t bits = 0;
    for (int i = 0; i < LANES; ++i) {
        bits |= (uint32_t)(a[i] > b[i]) << i;
    }
    return bits;
}

static inline uint32_t lanes_bits_equal(lanes a, lanes b)
{
    uint32_t bits = 0;
    for (int i = 0; i < LANES; ++i) {
        bits |= (uint32_t)(a[i] == b[i]) << i;
    }
    return bits;
}

/* Lane i of a where bit i is set, of `rest` where it is not. */
static inline lanes lanes_keep(lanes a, uint32_t bits, lanes rest)
{
    for (int i = 0; i < LANES; ++i) {
        rest[i] = (bits >> i & 1u) != 0 ? a[i] : rest[i];
    }
    return rest;
}

#endif
