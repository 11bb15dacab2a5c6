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

#define HUGE_PAGE     ((size_t)2 << 20)
#define USUAL_BYTES   ((size_t)64 << 20) /* at least, where there is memory enough */
#define LEAST_BYTES   (2 * HUGE_PAGE)    /* half on pages of each kind */
#define MOST_PIECE    ((size_t)64 << 20) /* one is read at a time: a millisecond or two */
#define PIECES        4                  /* of the buffer, at least */
#define PART_MULTIPLE ((size_t)4096)     /* of a thread's part: eight streams of whole blocks */
#define TRIES         5 /* of each way, in turn, so that a slow moment is one for all of them */
#define ALL_STREAMS   4
#define ALL_AHEAD     3
#define WAYS          (2 * ALL_STREAMS * ALL_AHEAD)
#define TRIALS        ((size_t)TRIES * WAYS)

static const unsigned all_streams[ALL_STREAMS] = {1, 2, 4, 8};
static const size_t all_ahead[ALL_AHEAD] = {0, 512, 2048};

struct adamoe_memory_peak {
    const adamoe_team *team;
    unsigned char *buffer; /* [2 * half] */
    size_t half, wanted;   /* bytes */
    size_t piece;          /* bytes that one burst reads */
    size_t pieces;         /* of each half */
    size_t next[2];        /* the piece of each half whose turn it is */
    bool second;           /* the half whose turn it is, once all ways have been tried */
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
    const size_t each = peak->piece / peak->team->threads;
    for (size_t p = 0; p < 2 * peak->pieces; ++p) {
        unsigned char *piece = peak->buffer + p / peak->pieces * peak->half + p % peak->pieces * peak->piece;
        memset(piece + i * each, (int)(p + 1), each);
    }
}

/* Hints: where they fail, both halves are what the system gives. */
static void advise(adamoe_memory_peak *peak, size_t which, bool huge)
{
    (void)madvise(peak->buffer + which * peak->half, peak->half, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static size_t round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* Pieces of whole parts, and halves of whole pieces and huge pages. */
static void choose_sizes(adamoe_memory_peak *peak, size_t cache_bytes, size_t most_bytes)
{
    peak->wanted = 5 * cache_bytes > USUAL_BYTES ? 5 * cache_bytes : USUAL_BYTES;
    const size_t bytes = peak->wanted < most_bytes ? peak->wanted : most_bytes;
    const size_t piece = bytes / PIECES < MOST_PIECE ? bytes / PIECES : MOST_PIECE;
    peak->piece = round_up(piece, PART_MULTIPLE * peak->team->threads);
    peak->pieces = round_up(bytes / 2, peak->piece) / peak->piece;
    peak->half = round_up(peak->pieces * peak->piece, HUGE_PAGE);
}

adamoe_status adamoe_memory_peak_create(const adamoe_team *team, size_t cache_bytes, size_t most_bytes,
                                        adamoe_memory_peak **out)
{
    if (most_bytes < LEAST_BYTES) {
        return adamoe_error(
            ADAMOE_ENVIRONMENT,
            "measuring the memory: a buffer of at least %zu bytes is needed, there is room for %zu",
            LEAST_BYTES, most_bytes);
    }
    adamoe_memory_peak *peak = calloc(1, sizeof *peak);
    if (peak != NULL) {
        peak->team = team;
        peak->read = adamoe_cpu_has("avx512f") ? adamoe_read_avx512
                     : adamoe_cpu_has("avx2")  ? adamoe_read_avx2
                                               : adamoe_read;
        list_ways(peak->way);
        choose_sizes(peak, cache_bytes, most_bytes);
        peak->buffer = aligned_alloc(HUGE_PAGE, 2 * peak->half);
    }
    if (peak == NULL || peak->buffer == NULL) {
        const double bytes = peak == NULL ? 0.0 : 2.0 * (double)peak->half;
        adamoe_memory_peak_free(peak);
        return adamoe_error(ADAMOE_ENVIRONMENT,
                            "measuring the memory: out of memory for a buffer of %.0f bytes", bytes);
    }
    advise(peak, 0, false);
    advise(peak, 1, true);
    (void)adamoe_burst(team, fill_part, peak);
    *out = peak;
    return adamoe_ok();
}

void adamoe_memory_peak_free(adamoe_memory_peak *peak)
{
    if (peak != NULL) {
        free(peak->buffer);
        free(peak);
    }
}

size_t adamoe_memory_peak_bytes(const adamoe_memory_peak *peak)
{
    return 2 * peak->pieces * peak->piece;
}

size_t adamoe_memory_peak_piece(const adamoe_memory_peak *peak)
{
    return peak->piece;
}

size_t adamoe_memory_peak_wanted(const adamoe_memory_peak *peak)
{
    return peak->wanted;
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

/* The fastest way comes first, and stays there; the half that has other pages than it wants gets new ones. */
static void choose_way(adamoe_memory_peak *peak)
{
    adamoe_reading *best = &peak->way[0];
    for (size_t i = 1; i < WAYS; ++i) {
        best = peak->way[i].best > best->best ? &peak->way[i] : best;
    }
    const adamoe_reading first = peak->way[0];
    peak->way[0] = *best;
    *best = first;
    const size_t other = peak->way[0].huge_pages ? 0 : 1;
    (void)madvise(peak->buffer + other * peak->half, peak->half, MADV_DONTNEED);
    advise(peak, other, peak->way[0].huge_pages);
    (void)adamoe_burst(peak->team, fill_part, peak);
}

/* Pieces of both halves in turn. */
static const unsigned char *next_piece(adamoe_memory_peak *peak, size_t which)
{
    const size_t piece = peak->next[which];
    peak->next[which] = (piece + 1) % peak->pieces;
    return peak->buffer + which * peak->half + piece * peak->piece;
}

double adamoe_memory_burst(adamoe_memory_peak *peak)
{
    const bool tries = peak->bursts < TRIALS;
    adamoe_reading *way = &peak->way[tries ? peak->bursts % WAYS : 0];
    peak->second = tries ? way->huge_pages : !peak->second;
    pass p = {peak, way, next_piece(peak, peak->second)};
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
