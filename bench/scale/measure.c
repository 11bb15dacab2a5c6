/*
 * Rounds of a calibration: planned, said, run, judged by what else the machine had to do, and evaluated.
 */
#include "scale/measure.h"
#include "machine/clock.h"
#include "ranks/machines.h"
#include "ranks/shared_load.h"

#include <stdio.h>

/* ---------------------------------------------------------------------------------------------- disturbance */

/* Whether a machine of the run had more to do besides than `reproduce` allows a side. */
static adamoe_status judge_round(const adamoe_measure *m, const adamoe_shared_load *load, bool *disturbed,
                                 double *other_share)
{
    adamoe_load_mark before, after;
    ADAMOE_TRY(adamoe_shared_load_end(m->world, load, &before));
    adamoe_mark_load(&after);
    const adamoe_disturbance d = adamoe_disturbance_between(&before, &after);
    double any;
    ADAMOE_TRY(adamoe_measure_slowest(m->world, d.disturbed ? 1.0 : 0.0, &any));
    *disturbed = any > 0.0;
    *other_share = d.other_share;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- a run */

typedef struct timers {
    adamoe_own_experts experts;
    adamoe_expert_timer *expert;
    adamoe_wire_timer *wire;
    adamoe_layer_timer *layers;
    size_t planned;
} timers;

static void close_timers(timers *t)
{
    adamoe_expert_timer_close(t->expert);
    adamoe_wire_timer_close(t->wire);
    adamoe_layer_timer_close(t->layers);
}

static adamoe_status find_sharing(const adamoe_measure *m, adamoe_calibration *out)
{
    double sharing;
    ADAMOE_TRY(adamoe_ranks_per_processor(m->world, m->machine->team->threads, &sharing));
    return adamoe_measure_slowest(m->world, sharing, &out->ranks_per_processor);
}

/* Numbers of tokens that fit into the budget with enough rounds, from the smallest on, and how many rounds. */
static void plan(const adamoe_measure *m, timers *t, double parts)
{
    double cost = parts;
    size_t sizes = 0;
    if (t->layers != NULL) {
        sizes = adamoe_layer_timer_sizes(t->layers);
        while (sizes > 1 &&
               (parts + adamoe_layer_timer_cost(t->layers, sizes)) * ADAMOE_LEAST_ROUNDS > m->budget) {
            --sizes;
        }
        adamoe_layer_timer_keep(t->layers, sizes);
        cost += adamoe_layer_timer_cost(t->layers, sizes);
    }
    t->planned = adamoe_rounds_planned(cost, m->budget);
    if (m->quiet || m->world->rank != 0) {
        return;
    }
    printf(
        "Plan: %zu rounds of about %.2g s, %.3g s in all, half as many more where some are disturbed: %.3g s",
        t->planned, cost, cost * (double)t->planned, 1.5 * cost * (double)t->planned);
    for (size_t i = 0; i < sizes; ++i) {
        printf("%s %zu", i == 0 ? "; layers at" : ",", adamoe_layer_timer_tokens(t->layers, i));
    }
    printf("%s\n", sizes == 0 ? "" : " tokens of each rank");
    (void)fflush(stdout);
}

static adamoe_status open_timers(const adamoe_measure *m, timers *t, adamoe_calibration *out)
{
    double expert = 0.0, wire = 0.0;
    ADAMOE_TRY(find_sharing(m, out));
    if (m->world->ranks > 1) {
        ADAMOE_TRY(adamoe_wire_timer_open(m, &t->wire, &wire));
        ADAMOE_TRY(adamoe_layer_timer_open(m, &t->layers));
        t->experts = adamoe_layer_timer_own(t->layers);
    }
    ADAMOE_TRY(adamoe_expert_timer_open(m, m->world->ranks > 1 ? &t->experts : NULL, &t->expert, &expert));
    plan(m, t, expert + wire);
    return adamoe_ok();
}

static adamoe_status run_round(timers *t, size_t round)
{
    ADAMOE_TRY(adamoe_expert_timer_round(t->expert, round));
    if (t->wire != NULL) {
        ADAMOE_TRY(adamoe_wire_timer_round(t->wire, round));
        ADAMOE_TRY(adamoe_layer_timer_round(t->layers, round));
    }
    return adamoe_ok();
}

/* Until enough rounds were undisturbed, or half as many again as were planned are done. With fewer than the least number
 * of undisturbed ones all count, and nothing is judged by them. */
static adamoe_status run_rounds(const adamoe_measure *m, timers *t, adamoe_rounds *rounds,
                                adamoe_calibration *out)
{
    const size_t most = t->planned + t->planned / 2;
    size_t done = 0;
    for (; done < most && rounds->count < t->planned; ++done) {
        adamoe_shared_load load;
        bool disturbed = false;
        double other_share = 0.0;
        adamoe_shared_load_begin(&load);
        ADAMOE_TRY(run_round(t, done));
        ADAMOE_TRY(judge_round(m, &load, &disturbed, &other_share));
        out->other_share += other_share;
        if (!disturbed) {
            rounds->number[rounds->count++] = done;
        }
    }
    out->other_share /= (double)done;
    out->disturbed_rounds = done - rounds->count;
    out->disturbed = rounds->count < ADAMOE_LEAST_ROUNDS;
    if (out->disturbed) {
        for (rounds->count = 0; rounds->count < done; ++rounds->count) {
            rounds->number[rounds->count] = rounds->count;
        }
    }
    out->rounds = rounds->count;
    return adamoe_ok();
}

static adamoe_status measure(const adamoe_measure *m, timers *t, adamoe_calibration *out)
{
    adamoe_rounds rounds = {.count = 0};
    if (m->world->ranks > m->preset->mixture.experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--preset: %s: %zu experts, too few for %u ranks",
                            m->preset->name, m->preset->mixture.experts, m->world->ranks);
    }
    ADAMOE_TRY(open_timers(m, t, out));
    ADAMOE_TRY(run_rounds(m, t, &rounds, out));
    adamoe_expert_timer_finish(t->expert, &rounds, out);
    if (t->wire == NULL) {
        return adamoe_ok();
    }
    adamoe_wire_timer_finish(t->wire, &rounds, out);
    return adamoe_layer_timer_finish(t->layers, &rounds, out);
}

adamoe_status adamoe_measure_all(const adamoe_measure *m, adamoe_calibration *out)
{
    timers t = {.expert = NULL};
    *out = (adamoe_calibration){.checks = 0};
    const adamoe_status status = measure(m, &t, out);
    if (status.code != ADAMOE_OK && m->stop != NULL) {
        m->stop(m->stop_context, &status);
    }
    close_timers(&t);
    return status;
}
