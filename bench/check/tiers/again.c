/*
 * What all kinds of bitwise cases do alike: run once more, and with other threads.
 */
#include "check/tiers/again.h"
#include "machine/host.h"
#include "machine/team.h"

#include <stdio.h>

adamoe_status adamoe_check_runs(const adamoe_checking *k, adamoe_check_again *again, const void *subject,
                                bool *go_on)
{
    adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_BACK);
    ADAMOE_TRY(again(subject, &manner, "a second run and the first", go_on));
    if (!*go_on) {
        return adamoe_ok();
    }
    manner.end = ADAMOE_GUARD_FRONT;
    return again(subject, &manner, "a run with buffers elsewhere and the first", go_on);
}

static adamoe_status run_threads(const adamoe_checking *k, adamoe_check_again *again, const void *subject,
                                 uint32_t threads, bool *go_on)
{
    adamoe_team *team = NULL;
    char what[80];
    ADAMOE_TRY(adamoe_team_create(threads, &team));
    adamoe_call_manner manner = {.kernel = k->kernel, .team = team, .placement = adamoe_one_node(threads)};
    (void)snprintf(what, sizeof what, "%u threads and %u", threads, k->team->threads);
    const adamoe_status status = again(subject, &manner, what, go_on);
    adamoe_team_free(team);
    return status;
}

static adamoe_status run_backwards(const adamoe_checking *k, adamoe_check_again *again, const void *subject,
                                   uint32_t threads, bool *go_on)
{
    const adamoe_call_manner manner = {.kernel = k->kernel, .placement = adamoe_one_node(threads)};
    char what[80];
    (void)snprintf(what, sizeof what, "%u threads with tasks run backwards, and %u forwards", threads,
                   k->team->threads);
    return again(subject, &manner, what, go_on);
}

/* More threads than a small machine has, so that some wait in the middle of a task. */
static adamoe_status run_perturbed(const adamoe_checking *k, adamoe_check_again *again, const void *subject,
                                   bool *go_on)
{
    enum { THREADS = 4, TIMES = 6 };
    adamoe_team *team = NULL;
    ADAMOE_TRY(adamoe_team_create(THREADS, &team));
    adamoe_status status = adamoe_ok();
    for (uint64_t i = 0; i < TIMES && *go_on && status.code == ADAMOE_OK; ++i) {
        const adamoe_call_manner manner = {.kernel = k->kernel,
                                           .team = team,
                                           .placement = adamoe_one_node(THREADS),
                                           .perturbed = true,
                                           .seed = k->seed + i};
        char what[80];
        (void)snprintf(what, sizeof what, "%d threads with tasks in random order, and %u in turn", THREADS,
                       k->team->threads);
        status = again(subject, &manner, what, go_on);
    }
    adamoe_team_free(team);
    return status;
}

/* The contract: the placement's threads are the most that a team may have, not those that it has. */
static adamoe_status run_smaller_team(const adamoe_checking *k, adamoe_check_again *again,
                                      const void *subject, bool *go_on)
{
    const uint32_t threads = k->team->threads, placed = threads + 6;
    const adamoe_call_manner manner = {
        .kernel = k->kernel, .team = k->team, .placement = adamoe_one_node(placed)};
    char what[80];
    (void)snprintf(what, sizeof what, "%u threads of a placement of %u, and of %u", threads, placed, threads);
    return again(subject, &manner, what, go_on);
}

/* Few real threads; as few and as many as large machines have in name, which cost no more than one. */
adamoe_status adamoe_check_threads(const adamoe_checking *k, adamoe_check_again *again, const void *subject)
{
    static const uint32_t real[] = {1, 2, 3, 7}, in_name[] = {1, 2, 3, 7, 9, 17, 33, 64};
    bool go_on = true;
    for (size_t i = 0; i < sizeof real / sizeof *real && go_on; ++i) {
        ADAMOE_TRY(run_threads(k, again, subject, real[i], &go_on));
    }
    for (size_t i = 0; i < sizeof in_name / sizeof *in_name && go_on; ++i) {
        ADAMOE_TRY(run_backwards(k, again, subject, in_name[i], &go_on));
    }
    if (go_on) {
        ADAMOE_TRY(run_perturbed(k, again, subject, &go_on));
    }
    return go_on ? run_smaller_team(k, again, subject, &go_on) : adamoe_ok();
}

bool adamoe_check_claimed(const adamoe_checking *k)
{
    if ((k->kernel->guarantees >> k->c->guarantee & 1u) == 0) {
        adamoe_check_settle(k, ADAMOE_CHECK_SKIPPED, "same bits for %s: not claimed",
                            adamoe_guarantee_names[k->c->guarantee]);
        return false;
    }
    return true;
}

static adamoe_status check_runs(const adamoe_checking *k, const adamoe_bitwise *of, const void *subject)
{
    bool go_on = true;
    ADAMOE_TRY(adamoe_check_runs(k, of->again, subject, &go_on));
    return go_on && of->after != NULL ? of->after(subject) : adamoe_ok();
}

adamoe_status adamoe_check_promise(const adamoe_checking *k, const adamoe_bitwise *of, const void *subject,
                                   bool empty)
{
    const adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_BACK);
    bool go_on = true;
    ADAMOE_TRY(of->first(subject, &manner, &go_on));
    if (!go_on) {
        return adamoe_ok();
    }
    if (empty) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "there is nothing to compare");
    }
    switch (k->c->guarantee) {
    case ADAMOE_GUARANTEE_RUNS:
        return check_runs(k, of, subject);
    case ADAMOE_GUARANTEE_THREADS:
        return adamoe_check_threads(k, of->again, subject);
    case ADAMOE_GUARANTEE_BATCH:
        return of->batch(subject);
    default:
        return of->placement(subject);
    }
}
