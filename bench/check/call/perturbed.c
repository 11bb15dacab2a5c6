/*
 * The perturbed run. Each of the inner team's tasks is all that one thread does: so it is known before which
 * thread takes what, and two of these may safely come one after the other.
 */
#include "check/call/perturbed.h"
#include "splitmix64.h"

#include <sched.h>
#include <time.h>

/* A thread is delayed so many times in a run, about. */
#define DELAYS 16

typedef struct perturbed_run {
    void (*task)(void *context, size_t i, uint32_t thread);
    void *context;
    size_t tasks;
    uint32_t threads;
    uint64_t key;
} perturbed_run;

/* A Feistel network permutes the numbers below a power of 4; who lands at or above `count` goes on until he
 * does not, which keeps it a permutation. */
size_t adamoe_perturbed_place(uint64_t key, size_t count, size_t i)
{
    enum { ROUNDS = 4 };
    unsigned half = 1;
    while (half < 32 && (uint64_t)count > UINT64_C(1) << (2 * half)) {
        ++half;
    }
    const uint64_t mask = (UINT64_C(1) << half) - 1;
    uint64_t at = i;
    do {
        for (uint64_t round = 0; round < ROUNDS; ++round) {
            adamoe_splitmix64 mixed = adamoe_splitmix64_stream(key + round, at & mask);
            at = (at & mask) << half | ((at >> half) ^ (adamoe_splitmix64_next(&mixed) & mask));
        }
    } while (at >= count);
    return (size_t)at;
}

/* Nothing, most of the time; or another thread's turn, or some time at work, or some asleep. */
static void delay(adamoe_splitmix64 *random, size_t chances)
{
    enum { KINDS = 3, MOST_TURNS = 20000, MOST_NANOSECONDS = 100000 };
    if (adamoe_splitmix64_below(random, chances) >= DELAYS) {
        return;
    }
    switch (adamoe_splitmix64_below(random, KINDS)) {
    case 0:
        (void)sched_yield();
        return;
    case 1:
        for (volatile size_t turns = adamoe_splitmix64_below(random, MOST_TURNS); turns > 0; --turns) {
        }
        return;
    default: {
        const struct timespec time = {0, (long)adamoe_splitmix64_below(random, MOST_NANOSECONDS)};
        (void)nanosleep(&time, NULL);
    }
    }
}

static void do_share(void *opaque, size_t share, uint32_t inner_thread)
{
    const perturbed_run *run = opaque;
    const size_t mine = (run->tasks + run->threads - 1 - share) / run->threads;
    const size_t chances = 2 * mine < DELAYS ? DELAYS : 2 * mine; /* before and after each */
    adamoe_splitmix64 random = adamoe_splitmix64_stream(run->key, share);
    (void)inner_thread;
    for (size_t i = share; i < run->tasks; i += run->threads) {
        delay(&random, chances);
        run->task(run->context, adamoe_perturbed_place(run->key, run->tasks, i), (uint32_t)share);
        delay(&random, chances);
    }
}

void adamoe_run_perturbed(const adamoe_team *inner, uint64_t seed, uint64_t number, size_t tasks,
                          void (*task)(void *context, size_t i, uint32_t thread), void *context)
{
    adamoe_splitmix64 random = adamoe_splitmix64_stream(seed, number);
    perturbed_run run = {task, context, tasks, inner->threads, adamoe_splitmix64_next(&random)};
    const size_t shares = tasks < inner->threads ? tasks : inner->threads;
    inner->run(inner->state, shares, do_share, &run);
}
