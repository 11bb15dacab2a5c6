/*
 * The rate at which the threads of a team can read their caches.
 */
#include "peaks/cache_peak.h"
#include "machine/cpu.h"
#include "machine/last_level_cache.h"
#include "peaks/burst.h"
#include "peaks/peak_loops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_READ ((size_t)64 << 20) /* of a third level: enough to be beyond the second levels */
#define READ_AT_ONCE ((size_t)8 << 20)  /* bytes of a thread in one burst, about a millisecond */
#define TRIES        6
#define PART         ((size_t)4096) /* as peak_loops.h wants it */

typedef struct pass {
    unsigned char *data;
    size_t each; /* bytes of a thread */
    unsigned streams;
    uint64_t (*read)(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead);
} pass;

static size_t times(const pass *p)
{
    return p->each >= READ_AT_ONCE ? 1 : READ_AT_ONCE / p->each;
}

static void fill(void *context, uint32_t i)
{
    const pass *p = context;
    memset(p->data + i * p->each, (int)(i + 1), p->each);
}

static void read_again(void *context, uint32_t i)
{
    const pass *p = context;
    volatile uint64_t keep = 0;
    for (size_t n = 0; n < times(p); ++n) {
        keep = keep + p->read(p->data + i * p->each, p->each, p->streams, 0);
    }
}

/* The fastest of all tries. */
static double measure(const adamoe_team *team, size_t each)
{
    pass p = {.each = each / PART * PART,
              .read = adamoe_cpu_has("avx512f") ? adamoe_read_avx512
                      : adamoe_cpu_has("avx2")  ? adamoe_read_avx2
                                                : adamoe_read};
    double best = 0.0;
    p.data = p.each == 0 ? NULL : aligned_alloc(PART, team->threads * p.each);
    if (p.data == NULL) {
        return 0.0;
    }
    (void)adamoe_burst(team, fill, &p);
    for (size_t i = 0; i < TRIES; ++i) {
        p.streams = i % 2 == 0 ? 1 : 4;
        const double bytes = (double)(times(&p) * p.each) * (double)team->threads;
        best = fmax(best, bytes / adamoe_burst(team, read_again, &p) * 1e-9);
    }
    free(p.data);
    return best;
}

static size_t level_bytes(int level)
{
    adamoe_cpu cpu;
    adamoe_cpu_describe(&cpu);
    for (size_t i = 0; i < cpu.caches; ++i) {
        if (cpu.cache[i].level == level && strcmp(cpu.cache[i].type, "Instruction") != 0) {
            return cpu.cache[i].bytes;
        }
    }
    return 0;
}

adamoe_cache_rates adamoe_measure_cache_rates(const adamoe_team *team)
{
    const size_t second = level_bytes(2), third = adamoe_last_level_cache(), all = second * team->threads;
    adamoe_cache_rates rates = {
        .level2_bytes = (double)all, .level3_bytes = (double)third, .level2 = measure(team, second / 2)};
    const size_t read = third / 2 < LARGEST_READ ? third / 2 : LARGEST_READ;
    if (level_bytes(3) > 0 && read > 2 * all) {
        rates.level3 = measure(team, read / team->threads);
    }
    return rates;
}

/* Seconds times 10^9 of `bytes`, part by part. */
typedef struct parts {
    double level2, level3, memory;
} parts;

static double divide(double bytes, double rate)
{
    return bytes <= 0.0 ? 0.0 : rate > 0.0 ? bytes / rate : 0.0;
}

static parts read_parts(const adamoe_cache_rates *rates, double bytes, double memory)
{
    const double second = fmin(bytes, rates->level2_bytes);
    const double third = fmin(bytes, fmax(rates->level3_bytes, second)) - second;
    return (parts){divide(second, rates->level2), divide(third, rates->level3),
                   divide(bytes - second - third, memory)};
}

double adamoe_hot_rate(const adamoe_cache_rates *rates, double bytes, double memory)
{
    const parts p = read_parts(rates, bytes, memory);
    const double time = p.level2 + p.level3 + p.memory;
    return time > 0.0 ? bytes / time : INFINITY;
}

int adamoe_hot_level(const adamoe_cache_rates *rates, double bytes, double memory)
{
    const parts p = read_parts(rates, bytes, memory);
    return p.memory > fmax(p.level2, p.level3) ? 4 : p.level3 > p.level2 ? 3 : 2;
}
