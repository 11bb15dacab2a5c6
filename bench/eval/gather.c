/*
 * What ranks found, brought together on rank 0: see gather.h.
 */
#include "eval/gather.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_OUTCOMES = 100 };

static size_t count_choices(const adamoe_prompt *prompt, size_t first, size_t end)
{
    size_t choices = 0;
    for (size_t q = first; q < end; ++q) {
        choices += prompt[q].choices;
    }
    return choices;
}

/* Between a rank's list and the outcomes of its questions. */
static void copy_outcomes(const adamoe_prompt *prompt, size_t first, size_t end, adamoe_outcome *outcome,
                          double *list, bool into_list)
{
    for (size_t q = first; q < end; ++q) {
        const size_t bytes = prompt[q].choices * sizeof *list;
        memcpy(into_list ? list : outcome[q].logprob, into_list ? outcome[q].logprob : list, bytes);
        list += prompt[q].choices;
    }
}

static adamoe_status pass_outcomes(const adamoe_world *world, const size_t *bound,
                                   const adamoe_prompt *prompt, adamoe_outcome *outcome, double *list)
{
    adamoe_message message = {0};
    const uint32_t own = world->rank;
    if (own != 0) {
        const size_t bytes = count_choices(prompt, bound[own], bound[own + 1]) * sizeof *list;
        copy_outcomes(prompt, bound[own], bound[own + 1], outcome, list, true);
        ADAMOE_TRY(world->send(world->state, 0, TAG_OUTCOMES, list, bytes, &message));
        return adamoe_world_wait(world, &message, 1);
    }
    for (uint32_t r = 1; r < world->ranks; ++r) {
        const size_t bytes = count_choices(prompt, bound[r], bound[r + 1]) * sizeof *list;
        ADAMOE_TRY(world->receive(world->state, r, TAG_OUTCOMES, list, bytes, &message));
        ADAMOE_TRY(adamoe_world_wait(world, &message, 1));
        copy_outcomes(prompt, bound[r], bound[r + 1], outcome, list, false);
    }
    return adamoe_ok();
}

adamoe_status adamoe_gather_outcomes(const adamoe_world *world, const size_t *bound,
                                     const adamoe_prompt *prompt, adamoe_outcome *outcome)
{
    if (world->ranks == 1) {
        return adamoe_ok();
    }
    double *list = calloc(count_choices(prompt, bound[0], bound[world->ranks]) + 1, sizeof *list);
    if (list == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    const adamoe_status status = pass_outcomes(world, bound, prompt, outcome, list);
    free(list);
    return status;
}

/* Adds up count numbers of every rank on rank 0; those of the others become 0. */
static adamoe_status sum_counts(const adamoe_world *world, uint64_t *value, size_t count)
{
    uint64_t *all = calloc(count * world->ranks + 1, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    const adamoe_status status = adamoe_world_gather(world, value, count * sizeof *value, all);
    for (uint32_t r = 1; r < world->ranks && status.code == ADAMOE_OK && world->rank == 0; ++r) {
        for (size_t i = 0; i < count; ++i) {
            value[i] += all[r * count + i];
        }
    }
    if (world->rank != 0) {
        memset(value, 0, count * sizeof *value);
    }
    free(all);
    return status;
}

adamoe_status adamoe_gather_counts(const adamoe_world *world, adamoe_scorer *scorer)
{
    adamoe_route_counts *c = &scorer->counts;
    adamoe_work *work = &scorer->work;
    if (world->ranks == 1) {
        return adamoe_ok();
    }
    uint64_t parts[4] = {work->tokens, work->expert_rows, work->visible_keys, work->head_positions};
    ADAMOE_TRY(sum_counts(world, parts, 4));
    *work = (adamoe_work){parts[0], parts[1], parts[2], parts[3]};
    ADAMOE_TRY(sum_counts(world, scorer->adapted_rows, ADAMOE_MAPS));
    ADAMOE_TRY(sum_counts(world, c->expert_rows, c->layers));
    ADAMOE_TRY(sum_counts(world, c->histogram, c->layers * (c->top_k + 1)));
    return sum_counts(world, c->selections, c->layers * c->experts);
}

adamoe_status adamoe_gather_sum(const adamoe_world *world, double *value)
{
    double *all = calloc(world->ranks, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    const adamoe_status status = adamoe_world_gather(world, value, sizeof *value, all);
    for (uint32_t r = 1; r < world->ranks && status.code == ADAMOE_OK && world->rank == 0; ++r) {
        *value += all[r];
    }
    free(all);
    return status;
}
