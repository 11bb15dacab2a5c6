/*
 * Sums that are floats, for tile_loop.h. After a lanes.h.
 */
#ifndef ADAMOE_PACKED_TILE_SUMS_H
#define ADAMOE_PACKED_TILE_SUMS_H

typedef lanes tile_sum;

static inline lanes tile_zero(void)
{
    return lanes_all(0.0f);
}

static inline lanes tile_load(const char *at)
{
    return lanes_load((const float *)(const void *)at);
}

static inline void tile_store(char *at, lanes sum)
{
    lanes_store((float *)(void *)at, sum);
}

#endif
