/*
 * The rate at which the threads of a team can read memory.
 */
#define READ_VECTOR_BYTES 16
#include "peaks/read_loop.h"
#include "peaks/burst.h"
#include "machine/cpu.h"
#include "peaks/memory_peak.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LEAST_BYTES   ((size_t)64 << 20)
#define HUGE_PAGE     ((size_t)2 << 20)
#define PART_MULTIPLE ((size_t)4096) /* of a thread's part: eight streams of whole blocks */
#define PIECES        4              /* of a buffer: one is read at a time */
#define TRIES         5              /* of each way, in turn, so that a slow moment is one for all of them */
#define ALL_STREAMS   4
#define ALL_AHEAD     3
#define WAYS          (2 * ALL_STREAMS * ALL_AHEAD)
#define TRIALS        ((size_t)TRIES * WAYS)

static const unsigned all_streams[ALL_STREAMS] = {1, 2, 4, 8};
static const size_t all_ahead[ALL_AHEAD] = {0, 512, 2048};

struct adamoe_memory_peak {
    const adamoe_team *team;
    unsigned char *buffer[2]; /* on ordinary pages, on huge pages */
    size_t piece;             /* bytes that one burst reads */
    size_t next[2];           /* the piece of each buffer whose turn it is */
    uint64_t (*read)(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead);
    adamoe_reading way[WAYS]; /* the best one first once all have been tried */
    size_t bursts;
};

uint64_t adamoe_read(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead)
{
    return read_streams(data, bytes, streams, ahead);
}

static void list_ways(adamoe_reading *way)
{
    for (size_t i = 0; i < WAYS; ++i) {
        way[i] = (adamoe_reading){.streams = all_streams[i / 2 % ALL_STREAMS],
                                  .ahead = all_ahead[i / 2 / ALL_STREAMS],
                                  .huge_pages = i % 2 != 0};
    }
}

/* Pages of zeros would all be the same one: the buffer is written by the threads that will read it. */
static void fill_part(void *context, uint32_t i)
{
    adamoe_memory_peak *peak = context;
    const size_t each = PIECES * peak->piece / peak->team->threads;
    for (size_t b = 0; b < 2; ++b) {
        memset(peak->buffer[b] + i * each, (int)(b + 1), each);
    }
}

adamoe_status adamoe_memory_peak_create(const adamoe_team *team, size_t cache_bytes, adamoe_memory_peak **out)
{
    adamoe_memory_peak *peak = calloc(1, sizeof *peak);
    const size_t wanted = 5 * cache_bytes > LEAST_BYTES ? 5 * cache_bytes : LEAST_BYTES;
    const size_t multiple = PART_MULTIPLE * team->threads,
                 piece = (wanted / PIECES + multiple - 1) / multiple * multiple;
    const size_t bytes = (PIECES * piece + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    if (peak != NULL) {
        peak->team = team;
        peak->piece = piece;
        peak->read = adamoe_cpu_has("avx512f") ? adamoe_read_avx512
                     : adamoe_cpu_has("avx2")  ? adamoe_read_avx2
                                               : adamoe_read;
        list_ways(peak->way);
        peak->buffer[0] = aligned_alloc(HUGE_PAGE, bytes);
        peak->buffer[1] = aligned_alloc(HUGE_PAGE, bytes);
    }
    if (peak == NULL || peak->buffer[0] == NULL || peak->buffer[1] == NULL) {
        adamoe_memory_peak_free(peak);
        return adamoe_error(ADAMOE_ENVIRONMENT,
                            "measuring the memory: out of memory for two buffers of %zu bytes", wanted);
    }
    /* Hints: where they fail, both buffers are what the system gives. */
    (void)madvise(peak->buffer[0], bytes, MADV_NOHUGEPAGE);
    (void)madvise(peak->buffer[1], bytes, MADV_HUGEPAGE);
    (void)adamoe_burst(team, fill_part, peak);
    *out = peak;
    return adamoe_ok();
}

void adamoe_memory_peak_free(adamoe_memory_peak *peak)
{
    if (peak != NULL) {
        free(peak->buffer[0]);
        free(peak->buffer[1]);
        free(peak);
    }
}

typedef struct pass {
    const adamoe_memory_peak *peak;
    const adamoe_reading *way;
    const unsigned char *data;
} pass;

static void read_part(void *context, uint32_t i)
{
    const pass *p = context;
    const size_t each = p->peak->piece / p->peak->team->threads;
    volatile uint64_t keep = p->peak->read(p->data + i * each, each, p->way->streams, p->way->ahead);
    (void)keep;
}

/* The fastest way comes first, and stays there. */
static void choose_way(adamoe_memory_peak *peak)
{
    adamoe_reading *best = &peak->way[0];
    for (size_t i = 1; i < WAYS; ++i) {
        best = peak->way[i].best > best->best ? &peak->way[i] : best;
    }
    const adamoe_reading first = peak->way[0];
    peak->way[0] = *best;
    *best = first;
}

double adamoe_memory_burst(adamoe_memory_peak *peak)
{
    adamoe_reading *way = &peak->way[peak->bursts < TRIALS ? peak->bursts % WAYS : 0];
    size_t *next = &peak->next[way->huge_pages];
    pass p = {peak, way, peak->buffer[way->huge_pages] + *next * peak->piece};
    *next = (*next + 1) % PIECES;
    const double rate = (double)peak->piece / adamoe_burst(peak->team, read_part, &p) * 1e-9;
    way->best = rate > way->best ? rate : way->best;
    if (++peak->bursts == TRIALS) {
        choose_way(peak);
    }
    return rate;
}

size_t adamoe_memory_peak_trials(const adamoe_memory_peak *peak)
{
    return peak->bursts < TRIALS ? TRIALS - peak->bursts : 0;
}

adamoe_reading adamoe_memory_peak_best(const adamoe_memory_peak *peak)
{
    adamoe_reading best = peak->way[0];
    for (size_t i = 1; i < WAYS; ++i) {
        best = peak->way[i].best > best.best ? peak->way[i] : best;
    }
    return best;
}
