/*
 * The generator of pseudo-random numbers behind everything that ships: SplitMix64 (Steele, Lea and Flood,
 * Fast Splittable Pseudorandom Number Generators, 2014). Integer arithmetic and exact sums only, so that a
 * seed gives the same files, and the same weights to begin training with, on every machine.
 */
#ifndef ADAMOE_SPLITMIX64_H
#define ADAMOE_SPLITMIX64_H

#include <stddef.h>
#include <stdint.h>

/* The state may start at any value; the seed is the state. */
typedef struct adamoe_splitmix64 {
    uint64_t state;
} adamoe_splitmix64;

static inline uint64_t adamoe_splitmix64_next(adamoe_splitmix64 *random)
{
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 .. bound-1, each equally likely: draws from the incomplete last interval are thrown away. bound > 0. */
static inline size_t adamoe_splitmix64_below(adamoe_splitmix64 *random, size_t bound)
{
    const uint64_t incomplete = (UINT64_MAX - bound + 1) % bound;
    uint64_t draw;
    do {
        draw = adamoe_splitmix64_next(random);
    } while (draw < incomplete);
    return (size_t)(draw % bound);
}

/* Stream `number` of a seed: one for each matrix, epoch, ..., so that none depends on how much another has
 * drawn. */
static inline adamoe_splitmix64 adamoe_splitmix64_stream(uint64_t seed, uint64_t number)
{
    adamoe_splitmix64 random = {seed};
    random.state = adamoe_splitmix64_next(&random) ^ (number * UINT64_C(0xd1342543de82ef95));
    random.state = adamoe_splitmix64_next(&random);
    return random;
}

/* -1 .. 1 in steps of 2^-23, each exactly a float. */
static inline float adamoe_splitmix64_uniform(adamoe_splitmix64 *random)
{
    return (float)((int64_t)(adamoe_splitmix64_next(random) >> 40) - (INT64_C(1) << 23)) * 0x1p-23f;
}

/* Nearly normal, mean 0, deviation 1, within ±6: the sum of twelve uniform numbers of 21 bits, which a double
 * holds exactly. A logarithm or a cosine would differ in its last bit between mathematical libraries. */
static inline double adamoe_splitmix64_normal(adamoe_splitmix64 *random)
{
    const uint64_t mask = (UINT64_C(1) << 21) - 1;
    uint64_t sum = 0;
    for (int i = 0; i < 4; i++) {
        const uint64_t draw = adamoe_splitmix64_next(random);
        sum += (draw & mask) + (draw >> 21 & mask) + (draw >> 42 & mask);
    }
    return ((double)sum + 6.0) / (double)(mask + 1) - 6.0;
}

#endif
