/*
 * Random numbers of training: splitmix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number
 * Generators, 2014). Integers and exact floats only, so that a seed gives the same bits on every machine.
 */
#ifndef ADAMOE_TRAIN_RANDOM_H
#define ADAMOE_TRAIN_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t adamoe_random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The state of stream `number` of a seed: one for each matrix, epoch, ..., so that none depends on how much
 * another has drawn. */
static inline uint64_t adamoe_random_stream(uint64_t seed, uint64_t number)
{
    uint64_t state = seed;
    const uint64_t mixed = adamoe_random_next(&state);
    state = mixed ^ (number * UINT64_C(0xd1342543de82ef95));
    return adamoe_random_next(&state);
}

/* -1 .. 1 in steps of 2^-23, each exactly a float. */
static inline float adamoe_random_uniform(uint64_t *state)
{
    return (float)((int64_t)(adamoe_random_next(state) >> 40) - (INT64_C(1) << 23)) * 0x1p-23f;
}

/* 0 .. bound-1, each equally likely: draws from the incomplete last interval are thrown away. bound > 0. */
static inline size_t adamoe_random_below(uint64_t *state, size_t bound)
{
    const uint64_t incomplete = (UINT64_MAX - bound + 1) % bound;
    uint64_t draw;
    do {
        draw = adamoe_random_next(state);
    } while (draw < incomplete);
    return (size_t)(draw % bound);
}

#endif
