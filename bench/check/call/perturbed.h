/*
 * A run of a team in which the order of tasks, the thread that each belongs to and delays at their borders are
 * drawn from a seed. The contract allows all of it: what a kernel wrongly takes for granted (that tasks begin in
 * ascending order, that neighbours in time are neighbours in number, that no task is far behind the others) is
 * not so here.
 *
 * What each thread does, in which order and with which delays, is the same in each run with the same seed; how
 * the threads' instructions interleave is the machine's matter, as ever. Left out: delays inside of tasks, of
 * which only the kernel could know the places; ThreadSanitizer finds races that need them (ci/tsan_plugin.sh).
 */
#ifndef ADAMOE_CHECK_CALL_PERTURBED_H
#define ADAMOE_CHECK_CALL_PERTURBED_H

#include "adamoe.h"

/* Runs task(context, i, thread) once for each i < tasks, on the threads of `inner`. `number` is that of the run
 * among those with this seed. */
void adamoe_run_perturbed(const adamoe_team *inner, uint64_t seed, uint64_t number, size_t tasks,
                          void (*task)(void *context, size_t i, uint32_t thread), void *context);

/* The i-th of `count` in an order drawn from `key`: each i < count gives another number below it. */
size_t adamoe_perturbed_place(uint64_t key, size_t count, size_t i);

#endif
