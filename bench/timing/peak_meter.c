/*
 * The machine's peaks during a measurement.
 */
#include "timing/peak_meter.h"
#include "machine/last_level_cache.h"
#include "machine/memory.h"
#include "peaks/memory_peak.h"
#include "statistics/statistics.h"

#include <stdlib.h>
#include <string.h>

#define BURST_SECONDS 0.001

/* Of the available memory: what is measured needs the rest. */
#define READING_SHARE 4

/* The rates of one way to be busy. */
typedef struct series {
    double *rate; /* [count] */
    size_t count, room;
} series;

struct adamoe_peak_meter {
    const adamoe_team *team;
    adamoe_memory_peak *memory;
    adamoe_cache_rates caches;
    series arithmetic[ADAMOE_ARITHMETIC_PATHS], reading;
};

adamoe_status adamoe_peak_meter_create(const adamoe_team *team, adamoe_peak_meter **out)
{
    adamoe_peak_meter *meter = calloc(1, sizeof *meter);
    if (meter == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "peaks: out of memory");
    }
    meter->team = team;
    const adamoe_status status = adamoe_memory_peak_create(
        team, adamoe_last_level_cache(), adamoe_available_memory() / READING_SHARE, &meter->memory);
    if (status.code != ADAMOE_OK) {
        adamoe_peak_meter_free(meter);
        return status;
    }
    while (adamoe_memory_peak_trials(meter->memory) > 0) {
        (void)adamoe_memory_burst(meter->memory);
    }
    meter->caches = adamoe_measure_cache_rates(team);
    *out = meter;
    return adamoe_ok();
}

void adamoe_peak_meter_free(adamoe_peak_meter *meter)
{
    if (meter == NULL) {
        return;
    }
    for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
        free(meter->arithmetic[i].rate);
    }
    free(meter->reading.rate);
    adamoe_memory_peak_free(meter->memory);
    free(meter);
}

void adamoe_peak_meter_begin(adamoe_peak_meter *meter)
{
    for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
        meter->arithmetic[i].count = 0;
    }
    meter->reading.count = 0;
}

static adamoe_status add(series *s, double rate)
{
    if (s->count == s->room) {
        const size_t room = 2 * s->room + 64;
        double *grown = realloc(s->rate, room * sizeof *grown);
        if (grown == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "peaks: out of memory");
        }
        s->rate = grown;
        s->room = room;
    }
    s->rate[s->count++] = rate;
    return adamoe_ok();
}

adamoe_status adamoe_peak_meter_burst(adamoe_peak_meter *meter, adamoe_operand_pairs pairs, size_t slices)
{
    double rate[ADAMOE_ARITHMETIC_PATHS] = {0.0}, seconds = 0.0;
    for (size_t slice = 0; slice < slices; ++slice) {
        for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
            const adamoe_arithmetic_path *path = &adamoe_arithmetic_paths[i];
            if ((path->pairs & pairs) != 0 && adamoe_arithmetic_path_runs(path)) {
                rate[i] += adamoe_arithmetic_burst(meter->team, path, BURST_SECONDS);
            }
        }
        seconds += 1.0 / adamoe_memory_burst(meter->memory);
    }
    /* Slices of arithmetic take equal time, those of reading read equal bytes. */
    for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
        if (rate[i] > 0.0) {
            ADAMOE_TRY(add(&meter->arithmetic[i], rate[i] / (double)slices));
        }
    }
    return add(&meter->reading, (double)slices / seconds);
}

void adamoe_peak_meter_empty_caches(adamoe_peak_meter *meter)
{
    const size_t all = 2 * adamoe_last_level_cache(), buffer = adamoe_memory_peak_bytes(meter->memory);
    const size_t bytes = all < buffer ? all : buffer, piece = adamoe_memory_peak_piece(meter->memory);
    for (size_t read = 0; read < bytes; read += piece) {
        (void)adamoe_memory_burst(meter->memory);
    }
}

/* The largest and the middle one of a series that is not empty. */
static adamoe_status best_and_median(const series *s, double *best, double *median)
{
    double *sorted = malloc(s->count * sizeof *sorted);
    if (sorted == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "peaks: out of memory");
    }
    memcpy(sorted, s->rate, s->count * sizeof *sorted);
    adamoe_sort(sorted, s->count);
    *best = sorted[s->count - 1];
    *median = adamoe_median(sorted, s->count);
    free(sorted);
    return adamoe_ok();
}

/* The path that is fastest in the middle of the run. */
static adamoe_status read_arithmetic(const adamoe_peak_meter *meter, adamoe_operand_pairs pairs,
                                     adamoe_peak *out)
{
    for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
        const adamoe_arithmetic_path *path = &adamoe_arithmetic_paths[i];
        double best = 0.0, median = 0.0;
        if (!adamoe_arithmetic_path_serves(path, pairs) || meter->arithmetic[i].count == 0) {
            continue;
        }
        ADAMOE_TRY(best_and_median(&meter->arithmetic[i], &best, &median));
        if (median > out->gflops_median) {
            out->gflops = best;
            out->gflops_median = median;
            out->gflops_of = meter->arithmetic[i].rate;
            out->path = path->name;
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_peak_meter_read(const adamoe_peak_meter *meter, adamoe_operand_pairs pairs,
                                     adamoe_peak *out)
{
    *out = (adamoe_peak){.path = "none",
                         .bursts = meter->reading.count,
                         .gbytes_of = meter->reading.rate,
                         .caches = meter->caches,
                         .read_bytes = adamoe_memory_peak_bytes(meter->memory),
                         .read_bytes_wanted = adamoe_memory_peak_wanted(meter->memory)};
    ADAMOE_TRY(read_arithmetic(meter, pairs, out));
    return meter->reading.count == 0
               ? adamoe_ok()
               : best_and_median(&meter->reading, &out->gbytes_per_second, &out->gbytes_per_second_median);
}
