/*
 * What both kinds of bitwise cases, forward and backward, do alike: run once more, and with other threads.
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

adamoe_status adamoe_check_threads(const adamoe_checking *k, adamoe_check_again *again, const void *subject)
{
    static const uint32_t counts[] = {1, 2, 3, 7};
    bool go_on = true;
    for (size_t i = 0; i < 4 && go_on; ++i) {
        adamoe_team *team = NULL;
        char what[80];
        ADAMOE_TRY(adamoe_team_create(counts[i], &team));
        adamoe_call_manner manner = {
            .kernel = k->kernel, .team = team, .placement = adamoe_one_node(counts[i])};
        (void)snprintf(what, sizeof what, "%u threads and %u", counts[i], k->team->threads);
        adamoe_status status = again(subject, &manner, what, &go_on);
        adamoe_team_free(team);
        if (status.code == ADAMOE_OK && go_on) {
            manner.team = NULL;
            (void)snprintf(what, sizeof what, "%u threads with tasks run backwards, and %u forwards",
                           counts[i], k->team->threads);
            status = again(subject, &manner, what, &go_on);
        }
        ADAMOE_TRY(status);
    }
    return adamoe_ok();
}
