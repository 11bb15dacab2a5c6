/*
 * The float32 FMA peak of the threads of a team.
 */
#include "peaks/fma_peak.h"
#include "machine/clock.h"
#include "machine/cpu.h"

/* Seconds of a repetition: a hundred times what it takes to wake the threads, and little beside the shortest evaluation. */
#define SHORTEST 0.005

typedef struct loop {
    float (*rounds)(size_t rounds);
    size_t count;
} loop;

static void run_loop(void *context, size_t i, uint32_t thread)
{
    (void)i;
    (void)thread;
    const loop *l = context;
    volatile float keep = l->rounds(l->count); /* so that the loop is not optimised away */
    (void)keep;
}

/* One task for each thread. A thread that is quick to finish may take the task of one that is slow to wake,
 * which makes that repetition slow: the fastest counts. */
static double time_team(const adamoe_team *team, const loop *l)
{
    const double start = adamoe_now();
    team->run(team->state, team->threads, run_loop, (void *)(uintptr_t)l);
    return adamoe_now() - start;
}

adamoe_fma_peak adamoe_measure_fma_peak(const adamoe_team *team, size_t repetitions)
{
    adamoe_fma_peak peak = {0.0, "none"};
    loop l = {NULL, 1000};
    size_t lanes = 0;
    if (adamoe_cpu_has("avx512f")) {
        l.rounds = adamoe_fma_rounds_avx512;
        lanes = 16;
        peak.instruction = "avx512f";
    } else if (adamoe_cpu_has("avx2") && adamoe_cpu_has("fma")) {
        l.rounds = adamoe_fma_rounds_avx2;
        lanes = 8;
        peak.instruction = "avx2";
    } else {
        return peak;
    }
    while (time_team(team, &l) < SHORTEST) {
        l.count *= 2;
    }
    for (size_t i = 0; i < repetitions; ++i) {
        const double flops =
            2.0 * ADAMOE_FMA_CHAINS * (double)lanes * (double)l.count * (double)team->threads;
        const double gflops = flops / time_team(team, &l) * 1e-9;
        peak.gflops = gflops > peak.gflops ? gflops : peak.gflops;
    }
    return peak;
}
