/*
 * The processor's modes that a call must leave as it found them, and a team that looks at them after every
 * task.
 *
 * A kernel may set its own rounding, flush denormals or walk backwards, as long as it puts everything back:
 * what it leaves behind changes the results of code that has nothing to do with it. The modes belong to a
 * thread, so each task is watched in the thread that runs it; so are the thread's own settings (process.h).
 *
 * Left out: the exception flags, which every operation may raise. Elsewhere than on x86-64 nothing is
 * watched.
 */
#ifndef ADAMOE_CHECK_CALL_STATE_H
#define ADAMOE_CHECK_CALL_STATE_H

#include "adamoe.h"

#include <stdatomic.h>

/* What can be left changed; bits of a mask. */
enum {
    ADAMOE_STATE_SSE_CONTROL = 1u << 0,    /* MXCSR: rounding, flush to zero, denormals are zero, masks */
    ADAMOE_STATE_X87_CONTROL = 1u << 1,    /* precision, rounding, masks */
    ADAMOE_STATE_UPPER_VECTORS = 1u << 2,  /* the upper halves of vector registers: vzeroupper is missing */
    ADAMOE_STATE_DIRECTION_FLAG = 1u << 3, /* string instructions go backwards */
    ADAMOE_STATE_X87_REGISTERS = 1u << 4,  /* MMX was used and emms is missing */
    ADAMOE_STATE_TILES = 1u << 5,          /* AMX was used and tilerelease is missing */
};

typedef struct adamoe_control_state {
    uint32_t sse_control, x87_control;
    bool upper_vectors, backwards, x87_registers, tiles;
} adamoe_control_state;

adamoe_control_state adamoe_control_state_read(void);

/* Which parts differ from `before`; the modes are put back. */
unsigned adamoe_control_state_restore(const adamoe_control_state *before);

/* The names of the parts in `changed`, separated by commas, and of settings of check/call/process.h: "MXCSR
 * (rounding, denormals or masks), the umask". */
void adamoe_control_state_describe(unsigned changed, char *text, size_t size);

/* In which order a watched team runs its tasks. The contract allows any, from any thread. */
typedef enum adamoe_task_order {
    ADAMOE_TASKS_BY_TEAM = 0, /* as the inner team does */
    ADAMOE_TASKS_BACKWARDS =
        1, /* the calling thread alone, last task first, in the name of each thread in turn */
    ADAMOE_TASKS_PERTURBED = 2, /* by the inner team, in an order and with delays of a seed (perturbed.h) */
} adamoe_task_order;

/* `team` is for the kernel; its state points to this structure, which therefore must not move. */
typedef struct adamoe_watched_team {
    adamoe_team team;
    const adamoe_team *inner; /* may be NULL for ADAMOE_TASKS_BACKWARDS */
    adamoe_task_order order;
    uint64_t seed, runs; /* for ADAMOE_TASKS_PERTURBED; runs so far */
    atomic_uint changed; /* what tasks left changed so far */
} adamoe_watched_team;

/* inner->threads threads. */
void adamoe_watch_team(const adamoe_team *inner, adamoe_watched_team *out);

void adamoe_watch_perturbed(const adamoe_team *inner, uint64_t seed, adamoe_watched_team *out);

/* `threads` threads in name, one in fact. */
void adamoe_watch_backwards(uint32_t threads, adamoe_watched_team *out);

#endif
