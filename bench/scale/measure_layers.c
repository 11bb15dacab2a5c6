/*
 * Layers whose experts are spread over the ranks of this run, timed, beside what the cost model says of them.
 */
#include "layers/random_layer.h"
#include "mpi/placement.h"
#include "plan.h"
#include "ranks/spread_layer.h"
#include "router.h"
#include "scale/measure.h"
#include "scale/selections.h"
#include "scale/timed_call.h"
#include "statistics/statistics.h"
#include "timing/roofline.h"

#include <math.h>
#include <stdlib.h>

enum { ADAPTIVE, BASELINE, SIDES };

static const char *const side_names[SIDES] = {"null experts", "top-k0"};

#define VARIANTS (SIDES * 2) /* side, and with overlap or without: side * 2 + overlap */

static const size_t token_counts[] = {4, 16, 64, 256};

#define TOKEN_COUNTS (sizeof token_counts / sizeof *token_counts)

/* What the tokens of one round select. */
typedef struct drawn_round {
    adamoe_plan *plan[SIDES];        /* of this rank */
    adamoe_crossing crossing[SIDES]; /* of all ranks */
} drawn_round;

/* The layer at one number of tokens of each rank. */
typedef struct token_run {
    size_t tokens, calls; /* of which a mean is taken */
    drawn_round round[ADAMOE_MOST_ROUNDS];
    adamoe_timed_call call;
    double cost; /* seconds of a round */
    double seconds[VARIANTS][ADAMOE_MOST_ROUNDS];
} token_run;

/* One layer, whose experts live on the ranks in blocks. */
struct adamoe_layer_timer {
    const adamoe_measure *measure;
    adamoe_spread_layer layer;
    adamoe_spread_kernel kernel;
    size_t runs;
    token_run run[TOKEN_COUNTS];
};

/* ------------------------------------------------------------------------------------------------- the layer */

static adamoe_status open_layer(adamoe_layer_timer *t)
{
    const adamoe_measure *m = t->measure;
    const size_t experts = m->preset->mixture.experts;
    const adamoe_expert_use none = {.experts = experts};
    const adamoe_sharded_options options = {.world = m->world, .chunks = m->chunks, .overlap = true};
    uint32_t *rank_of_expert = calloc(experts, sizeof *rank_of_expert);
    adamoe_status status = rank_of_expert == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "layers: out of memory")
                                                  : adamoe_place_experts(ADAMOE_EXPERTS_BLOCK, &none,
                                                                         m->world->ranks, rank_of_expert);
    if (status.code == ADAMOE_OK) {
        status = adamoe_spread_layer_create(m->preset, m->seed, m->world->rank, rank_of_expert, &t->layer);
    }
    free(rank_of_expert);
    ADAMOE_TRY(status);
    ADAMOE_TRY(adamoe_spread_kernel_open(m->kernel, &options, &t->layer, &t->kernel));
    return adamoe_spread_kernel_hold(&t->kernel, m->machine, 1);
}

/* --------------------------------------------------------------------------------------------------- runs */

/* The routing that selects id [tokens, k]: selected experts have logits in (1, 2], the others -1. */
static adamoe_status route_ids(adamoe_mixture mixture, const uint32_t *id, size_t tokens,
                               adamoe_routing **out)
{
    const size_t all = mixture.experts + mixture.null_experts, k = mixture.top_k;
    const adamoe_rule rule = {.top_k = k, .norm = ADAMOE_NORM_TRUE, .null_kind = ADAMOE_NULL_ZERO};
    float *logits = malloc(tokens * all * sizeof *logits);
    if (logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "selections: out of memory");
    }
    for (size_t i = 0; i < tokens * all; ++i) {
        logits[i] = -1.0f;
    }
    for (size_t i = 0; i < tokens * k; ++i) {
        logits[i / k * all + id[i]] = 2.0f - (float)(i % k) / (float)k;
    }
    const adamoe_status status =
        adamoe_routing_create(logits, tokens, mixture.experts, mixture.null_experts, rule, out);
    free(logits);
    return status;
}

static adamoe_status make_plan(const adamoe_layer_timer *t, adamoe_mixture mixture, const uint32_t *id,
                               size_t tokens, int side, drawn_round *out)
{
    const adamoe_measure *m = t->measure;
    const size_t k = mixture.top_k;
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_crossing_create(m->world->ranks, mixture.experts, t->layer.rank_of_expert,
                                      adamoe_wire_of(m->kernel, m->preset->hidden_size),
                                      &out->crossing[side]));
    adamoe_crossing_add(&out->crossing[side], id, m->world->ranks * tokens, k);
    ADAMOE_TRY(route_ids(mixture, id + m->world->rank * tokens * k, tokens, &routing));
    const adamoe_status status = adamoe_plan_create(routing, &out->plan[side]);
    adamoe_routing_free(routing);
    return status;
}

/* The selections of all ranks, which each rank draws for itself; and the plans of its own. */
static adamoe_status draw_round(const adamoe_layer_timer *t, size_t tokens, size_t round, drawn_round *out)
{
    const adamoe_preset *p = t->measure->preset;
    const adamoe_mixture mixture[SIDES] = {p->mixture, {p->mixture.experts, 0, p->baseline_top_k}};
    const size_t all = t->measure->world->ranks * tokens;
    adamoe_splitmix64 random =
        adamoe_random_for("scale: runs", t->measure->seed + tokens * ADAMOE_MOST_ROUNDS + round);
    uint32_t *id = malloc(all * (p->mixture.top_k + p->baseline_top_k) * sizeof *id);
    uint32_t *const ids[SIDES] = {id, id == NULL ? NULL : id + all * p->mixture.top_k};
    adamoe_status status = id == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "selections: out of memory")
                                      : adamoe_selections_pair(p->mixture, p->load, p->baseline_top_k, all,
                                                               &random, ids[ADAPTIVE], ids[BASELINE]);
    for (int side = 0; side < SIDES && status.code == ADAMOE_OK; ++side) {
        status = make_plan(t, mixture[side], ids[side], tokens, side, out);
    }
    free(id);
    return status;
}

static void close_run(token_run *run)
{
    if (run->call.host != NULL) {
        adamoe_timed_call_close(&run->call);
    }
    for (size_t i = 0; i < ADAMOE_MOST_ROUNDS; ++i) {
        for (int side = 0; side < SIDES; ++side) {
            if (run->round[i].plan[side] != NULL) {
                adamoe_plan_free(run->round[i].plan[side]);
            }
            adamoe_crossing_free(&run->round[i].crossing[side]);
        }
    }
}

static void choose(adamoe_layer_timer *t, token_run *run, size_t round, size_t variant)
{
    run->call.plan = run->round[round].plan[variant / 2];
    adamoe_sharded_set_overlap(t->kernel.sharded, variant % 2 == 1);
}

/* How many calls a mean is taken of, and the seconds of a round; *longest is those of a call. */
static adamoe_status warm_up(adamoe_layer_timer *t, token_run *run, double *longest)
{
    double sum = 0.0;
    *longest = 0.0;
    run->calls = 1;
    for (size_t v = 0; v < VARIANTS; ++v) {
        double seconds;
        size_t calls;
        choose(t, run, 0, v);
        ADAMOE_TRY(adamoe_timed_call_warm_up(t->measure, &run->call, &seconds, &calls));
        run->calls = calls > run->calls ? calls : run->calls;
        *longest = fmax(*longest, seconds);
        sum += seconds;
    }
    run->cost = sum * (double)(run->calls + (run->calls > 1));
    return adamoe_ok();
}

static adamoe_status open_run(adamoe_layer_timer *t, size_t tokens, double *longest)
{
    token_run *run = &t->run[t->runs++];
    run->tokens = tokens;
    for (size_t i = 0; i < ADAMOE_MOST_ROUNDS; ++i) {
        ADAMOE_TRY(draw_round(t, tokens, i, &run->round[i]));
    }
    /* A layer over ranks has workspace of its own, whatever its rows. */
    ADAMOE_TRY(adamoe_timed_call_open(t->measure, adamoe_sharded_kernel(t->kernel.sharded),
                                      t->kernel.prepared[0], t->measure->preset->hidden_size,
                                      run->round[0].plan[BASELINE], &run->call));
    return warm_up(t, run, longest);
}

adamoe_status adamoe_layer_timer_open(const adamoe_measure *m, adamoe_layer_timer **out)
{
    adamoe_layer_timer *t = calloc(1, sizeof *t);
    double longest = 0.0;
    *out = t;
    if (t == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "layers: out of memory");
    }
    t->measure = m;
    ADAMOE_TRY(open_layer(t));
    for (size_t i = 0; i < TOKEN_COUNTS && longest < m->most_seconds; ++i) {
        ADAMOE_TRY(open_run(t, token_counts[i], &longest));
    }
    return adamoe_ok();
}

void adamoe_layer_timer_close(adamoe_layer_timer *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < TOKEN_COUNTS; ++i) {
        close_run(&t->run[i]);
    }
    adamoe_spread_kernel_close(&t->kernel);
    adamoe_spread_layer_free(&t->layer);
    free(t);
}

adamoe_own_experts adamoe_layer_timer_own(const adamoe_layer_timer *t)
{
    return (adamoe_own_experts){adamoe_sharded_own(t->kernel.prepared[0]), t->layer.own};
}

size_t adamoe_layer_timer_sizes(const adamoe_layer_timer *t)
{
    return t->runs;
}

size_t adamoe_layer_timer_tokens(const adamoe_layer_timer *t, size_t size)
{
    return t->run[size].tokens;
}

double adamoe_layer_timer_cost(const adamoe_layer_timer *t, size_t count)
{
    double cost = 0.0;
    for (size_t i = 0; i < count; ++i) {
        cost += t->run[i].cost;
    }
    return cost;
}

void adamoe_layer_timer_keep(adamoe_layer_timer *t, size_t count)
{
    t->runs = count;
}

/* All variants in turn, each round beginning with another one. Where a call is short, one goes before that is not timed:
 * the plan is new. */
adamoe_status adamoe_layer_timer_round(adamoe_layer_timer *t, size_t round)
{
    for (size_t i = 0; i < t->runs * VARIANTS; ++i) {
        token_run *run = &t->run[i / VARIANTS];
        const size_t v = (i + round) % VARIANTS;
        choose(t, run, round, v);
        if (run->calls > 1) {
            ADAMOE_TRY(adamoe_timed_call_mean(t->measure, &run->call, 1, &run->seconds[v][round]));
        }
        ADAMOE_TRY(adamoe_timed_call_mean(t->measure, &run->call, run->calls, &run->seconds[v][round]));
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- judging */

static adamoe_status predict(const adamoe_measure *m, const adamoe_calibration *c, const token_run *run,
                             size_t round, size_t variant, double hidden, double *seconds)
{
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(m->preset->hidden_size, m->preset->intermediate_size, m->kernel->weight);
    const adamoe_cost_layer layer = {.row_flops = cost.flops_per_row, .expert_bytes = cost.bytes};
    adamoe_cost_network network = c->network;
    adamoe_layer_time time = {.total = 0.0};
    network.hidden = hidden;
    network.overlap = variant % 2 == 1;
    ADAMOE_TRY(
        adamoe_cost_of_layer(&run->round[round].crossing[variant / 2], &network, &c->compute, &layer, &time));
    *seconds = time.total;
    return adamoe_ok();
}

/* Predicted over measured in each round, ascending; the mean of what was predicted. */
static adamoe_status find_ratios(const adamoe_measure *m, const adamoe_calibration *c, const token_run *run,
                                 const adamoe_rounds *rounds, size_t variant, double hidden, double *ratio,
                                 double *mean)
{
    *mean = 0.0;
    for (size_t i = 0; i < rounds->count; ++i) {
        const size_t round = rounds->number[i];
        double seconds;
        ADAMOE_TRY(predict(m, c, run, round, variant, hidden, &seconds));
        ratio[i] = seconds / run->seconds[variant][round];
        *mean += seconds / (double)rounds->count;
    }
    adamoe_sort(ratio, rounds->count);
    return adamoe_ok();
}

/* What can be hidden: least squares of the relative errors at top-k0 with overlap, all numbers of tokens together, in
 * steps of a hundredth. */
static adamoe_status fit_hidden(const adamoe_layer_timer *t, const adamoe_rounds *rounds,
                                adamoe_calibration *c)
{
    double best = 0.0, least = (double)INFINITY;
    for (int percent = 0; percent <= 100; ++percent) {
        double error = 0.0;
        for (size_t i = 0; i < t->runs; ++i) {
            double ratio[ADAMOE_MOST_ROUNDS], mean;
            ADAMOE_TRY(find_ratios(t->measure, c, &t->run[i], rounds, BASELINE * 2 + 1, 0.01 * percent, ratio,
                                   &mean));
            const double off = adamoe_median(ratio, rounds->count) - 1.0;
            error += off * off;
        }
        if (error < least) {
            least = error;
            best = 0.01 * percent;
        }
    }
    c->network.hidden = best;
    return adamoe_ok();
}

static adamoe_status add_check(const adamoe_layer_timer *t, const adamoe_rounds *rounds, const token_run *run,
                               size_t variant, adamoe_calibration *out)
{
    double ratio[ADAMOE_MOST_ROUNDS], mean;
    char what[96];
    ADAMOE_TRY(find_ratios(t->measure, out, run, rounds, variant, out->network.hidden, ratio, &mean));
    const adamoe_interval interval = adamoe_median_interval(ratio, rounds->count, 0.95);
    (void)snprintf(what, sizeof what, "layer, %u ranks, %zu tokens of each, %s%s", t->measure->world->ranks,
                   run->tokens, side_names[variant / 2], variant % 2 == 1 ? "" : ", no overlap");
    adamoe_calibration_check *check = adamoe_calibration_add(
        out, what, mean, mean / adamoe_median(ratio, rounds->count), variant == BASELINE * 2 + 1);
    if (check != NULL) {
        check->low = interval.low;
        check->high = interval.high;
    }
    return adamoe_ok();
}

static adamoe_status saving_of(const double *saved, size_t count, adamoe_calibration_saving *out)
{
    adamoe_interval interval;
    ADAMOE_TRY(adamoe_signed_rank_centre(saved, count, 0.95, &out->centre, &interval));
    out->low = interval.low;
    out->high = interval.high;
    return adamoe_ok();
}

static double bytes_of(const adamoe_crossing *crossing)
{
    const adamoe_crossing_sum sum = adamoe_crossing_total(crossing);
    return (double)(sum.request_bytes + sum.result_bytes);
}

static adamoe_status add_reduction(const adamoe_layer_timer *t, const adamoe_rounds *rounds,
                                   const token_run *run, adamoe_calibration *out)
{
    double seconds[ADAMOE_MOST_ROUNDS], bytes[ADAMOE_MOST_ROUNDS], model[SIDES] = {0.0, 0.0};
    if (out->reductions == ADAMOE_CALIBRATION_REDUCTIONS) {
        return adamoe_ok();
    }
    adamoe_calibration_reduction *r = &out->reduction[out->reductions++];
    for (size_t i = 0; i < rounds->count; ++i) {
        const size_t n = rounds->number[i];
        seconds[i] = 1.0 - run->seconds[ADAPTIVE * 2 + 1][n] / run->seconds[BASELINE * 2 + 1][n];
        bytes[i] =
            1.0 - bytes_of(&run->round[n].crossing[ADAPTIVE]) / bytes_of(&run->round[n].crossing[BASELINE]);
        for (size_t side = 0; side < SIDES; ++side) {
            double predicted;
            ADAMOE_TRY(predict(t->measure, out, run, n, side * 2 + 1, out->network.hidden, &predicted));
            model[side] += predicted;
        }
    }
    *r = (adamoe_calibration_reduction){
        .tokens = run->tokens, .rounds = rounds->count, .predicted = 1.0 - model[ADAPTIVE] / model[BASELINE]};
    ADAMOE_TRY(saving_of(seconds, rounds->count, &r->seconds));
    return saving_of(bytes, rounds->count, &r->bytes);
}

adamoe_status adamoe_layer_timer_finish(const adamoe_layer_timer *t, const adamoe_rounds *rounds,
                                        adamoe_calibration *out)
{
    ADAMOE_TRY(fit_hidden(t, rounds, out));
    for (size_t i = 0; i < t->runs; ++i) {
        for (size_t v = 0; v < VARIANTS; ++v) {
            ADAMOE_TRY(add_check(t, rounds, &t->run[i], v, out));
        }
        ADAMOE_TRY(add_reduction(t, rounds, &t->run[i], out));
    }
    return adamoe_ok();
}
