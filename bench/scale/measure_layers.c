/*
 * Layers whose experts are spread over the ranks of this run, timed, beside what the cost model says of them.
 */
#include "layers/random_layer.h"
#include "mpi/placement.h"
#include "mpi/sharded.h"
#include "plan.h"
#include "router.h"
#include "scale/measure.h"
#include "scale/selections.h"
#include "scale/timed_call.h"
#include "statistics/statistics.h"
#include "timing/roofline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ADAPTIVE, BASELINE, SIDES };

static const char *const side_names[SIDES] = {"null experts", "top-k0"};

#define MOST_ROUNDS 9
#define PASSES      3
#define VARIANTS    (SIDES * 2) /* side, and with overlap or without */

/* The layer at one number of tokens of each rank, one way to select: what every variant with it shares. */
typedef struct side_run {
    adamoe_plan *plan;
    adamoe_crossing crossing;
    adamoe_timed_call call[2]; /* [overlap] */
} side_run;

typedef struct token_run {
    size_t tokens;
    side_run side[SIDES];
    double seconds[VARIANTS][MOST_ROUNDS]; /* side * 2 + overlap */
    size_t rounds, each_pass, calls;       /* of which a mean is taken */
} token_run;

/* One layer on this rank, prepared twice: with overlap and without. */
typedef struct spread_layer {
    adamoe_random_layer layer;
    adamoe_sharded *sharded[2]; /* [overlap] */
    adamoe_prepared *prepared[2];
} spread_layer;

static adamoe_mixture mixture_of(const adamoe_preset *p, int side)
{
    return side == ADAPTIVE ? p->mixture : (adamoe_mixture){p->mixture.experts, 0, p->baseline_top_k};
}

static double load_of(const adamoe_preset *p, int side)
{
    return side == ADAPTIVE ? p->load : (double)p->baseline_top_k;
}

/* ------------------------------------------------------------------------------------------------ weights */

/* Weights of the experts that live here; the others' memory is never touched. */
static void fill_own(const adamoe_measure *m, const uint32_t *rank_of_expert, adamoe_random_layer *layer)
{
    for (size_t e = 0; e < layer->layer.experts; ++e) {
        const adamoe_expert *expert = &layer->layer.expert[e];
        const adamoe_matrix *const matrix[] = {&expert->w1, &expert->w3, &expert->w2};
        adamoe_splitmix64 random = adamoe_random_for("scale: layer", m->seed + e);
        for (size_t i = 0; i < 3 && rank_of_expert[e] == m->world->rank; ++i) {
            adamoe_random_values(&random, matrix[i]->dtype, adamoe_weight_bound(matrix[i]->columns),
                                 matrix[i]->rows * matrix[i]->columns, (void *)(uintptr_t)matrix[i]->data);
        }
    }
}

static void close_layer(spread_layer *s)
{
    for (size_t i = 0; i < 2; ++i) {
        if (s->prepared[i] != NULL) {
            adamoe_sharded_kernel(s->sharded[i])->release(s->prepared[i]);
        }
        adamoe_sharded_free(s->sharded[i]);
    }
    adamoe_random_layer_free(&s->layer);
}

static adamoe_status open_layer(const adamoe_measure *m, const uint32_t *rank_of_expert, spread_layer *s)
{
    const adamoe_preset *p = m->preset;
    const adamoe_layer_sizes sizes = {p->hidden_size, p->intermediate_size, p->mixture.experts, 0};
    memset(s, 0, sizeof *s);
    ADAMOE_TRY(adamoe_random_layer_allocate(sizes, p->weights, &s->layer));
    fill_own(m, rank_of_expert, &s->layer);
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < 2 && status.code == ADAMOE_OK; ++i) {
        const adamoe_sharded_options options = {.world = m->world, .chunks = m->chunks, .overlap = i == 1};
        status = adamoe_sharded_create(m->kernel, &options, &s->sharded[i]);
        if (status.code == ADAMOE_OK) {
            status =
                adamoe_sharded_kernel(s->sharded[i])
                    ->prepare(&m->machine->host, &s->layer.layer, m->machine->placement, &s->prepared[i]);
        }
    }
    if (status.code != ADAMOE_OK) {
        close_layer(s);
    }
    return status;
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

/* The selections of all ranks, which each rank draws for itself, counted; and the plan of its own. */
static adamoe_status make_plan(const adamoe_measure *m, size_t tokens, int side, side_run *out)
{
    const adamoe_mixture mixture = mixture_of(m->preset, side);
    const size_t k = mixture.top_k, all = m->world->ranks * tokens;
    adamoe_splitmix64 random = adamoe_random_for("scale: runs", m->seed + tokens);
    adamoe_selections selections = {.until = NULL};
    adamoe_routing *routing = NULL;
    uint32_t *id = malloc(all * k * sizeof *id);
    double *liking = malloc(mixture.experts * sizeof *liking);
    for (size_t e = 0; e < mixture.experts && liking != NULL; ++e) {
        liking[e] = 1.0;
    }
    adamoe_status status =
        id == NULL || liking == NULL
            ? adamoe_error(ADAMOE_ENVIRONMENT, "selections: out of memory")
            : adamoe_selections_drawn(mixture, load_of(m->preset, side), liking, &selections);
    if (status.code == ADAMOE_OK) {
        adamoe_selections_take(&selections, 0, all, &random, id);
        adamoe_crossing_add(&out->crossing, id, all, k);
        status = route_ids(mixture, id + m->world->rank * tokens * k, tokens, &routing);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_plan_create(routing, &out->plan);
        adamoe_routing_free(routing);
    }
    adamoe_selections_free(&selections);
    free(liking);
    free(id);
    return status;
}

static void close_run(token_run *run)
{
    for (int side = 0; side < SIDES; ++side) {
        side_run *s = &run->side[side];
        for (size_t o = 0; o < 2; ++o) {
            if (s->call[o].host != NULL) {
                adamoe_timed_call_close(&s->call[o]);
            }
        }
        if (s->plan != NULL) {
            adamoe_plan_free(s->plan);
        }
        adamoe_crossing_free(&s->crossing);
    }
}

static adamoe_status open_run(const adamoe_measure *m, const spread_layer *layer,
                              const uint32_t *rank_of_expert, token_run *run)
{
    const adamoe_preset *p = m->preset;
    for (int side = 0; side < SIDES; ++side) {
        side_run *s = &run->side[side];
        ADAMOE_TRY(adamoe_crossing_create(m->world->ranks, p->mixture.experts, rank_of_expert,
                                          adamoe_wire_of(m->kernel, p->hidden_size), &s->crossing));
        ADAMOE_TRY(make_plan(m, run->tokens, side, s));
        for (size_t o = 0; o < 2; ++o) {
            ADAMOE_TRY(adamoe_timed_call_open(m, adamoe_sharded_kernel(layer->sharded[o]), layer->prepared[o],
                                              p->hidden_size, s->plan, &s->call[o]));
        }
    }
    return adamoe_ok();
}

/* How often a mean of its calls is taken, and of how many. */
static adamoe_status warm_up(const adamoe_measure *m, token_run *run, double *seconds)
{
    size_t calls = 1;
    run->calls = 1;
    for (size_t v = 0; v < VARIANTS; ++v) {
        ADAMOE_TRY(adamoe_timed_call_warm_up(m, &run->side[v / 2].call[v % 2], seconds, &calls));
        run->calls = calls > run->calls ? calls : run->calls;
    }
    run->each_pass = *seconds > 2.0 ? 1 : MOST_ROUNDS / PASSES;
    return adamoe_ok();
}

/* All variants in turn, round after round. */
static adamoe_status time_run(const adamoe_measure *m, token_run *run)
{
    for (size_t round = 0; round < run->each_pass; ++round, ++run->rounds) {
        for (size_t i = 0; i < VARIANTS; ++i) {
            const size_t v = (i + run->rounds) % VARIANTS;
            ADAMOE_TRY(adamoe_timed_call_mean(m, &run->side[v / 2].call[v % 2], run->calls,
                                              &run->seconds[v][run->rounds]));
        }
    }
    return adamoe_ok();
}

/* What else the machine has to do makes a round slower, never faster. */
static double fastest_of(const double *values, size_t count)
{
    double least = values[0];
    for (size_t i = 1; i < count; ++i) {
        least = fmin(least, values[i]);
    }
    return least;
}

/* ------------------------------------------------------------------------------------------------- judging */

static double predicted(const adamoe_measure *m, const adamoe_calibration *c, const side_run *side,
                        double hidden)
{
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(m->preset->hidden_size, m->preset->intermediate_size, m->kernel->weight);
    const adamoe_cost_layer layer = {.row_flops = cost.flops_per_row, .expert_bytes = cost.bytes};
    adamoe_cost_network network = c->network;
    network.hidden = hidden;
    return adamoe_cost_of_layer(&side->crossing, &network, &c->compute, &layer).total;
}

/* What can be hidden, from what overlap saved at top-k0 over what it would save at best, all numbers of tokens together. */
static double fit_hidden(const adamoe_measure *m, const adamoe_calibration *c, const token_run *run,
                         size_t runs)
{
    double saved = 0.0, most = 0.0;
    for (size_t i = 0; i < runs; ++i) {
        const double with = fastest_of(run[i].seconds[BASELINE * 2 + 1], run[i].rounds);
        const double without = fastest_of(run[i].seconds[BASELINE * 2], run[i].rounds);
        const double at_best = predicted(m, c, &run[i].side[BASELINE], 1.0);
        const double not_at_all = predicted(m, c, &run[i].side[BASELINE], 0.0);
        saved += (without - with) / without;
        most += (not_at_all - at_best) / not_at_all;
    }
    return most > 0.0 ? fmin(1.0, fmax(0.0, saved / most)) : 0.0;
}

static void add_reduction(const token_run *run, adamoe_calibration *out)
{
    double ratio[MOST_ROUNDS];
    for (size_t i = 0; i < run->rounds; ++i) {
        ratio[i] = 1.0 - run->seconds[ADAPTIVE * 2 + 1][i] / run->seconds[BASELINE * 2 + 1][i];
    }
    adamoe_sort(ratio, run->rounds);
    const adamoe_crossing_sum with = adamoe_crossing_total(&run->side[ADAPTIVE].crossing);
    const adamoe_crossing_sum without = adamoe_crossing_total(&run->side[BASELINE].crossing);
    if (out->reductions < ADAMOE_CALIBRATION_REDUCTIONS) {
        const adamoe_interval interval = adamoe_median_interval(ratio, run->rounds, 0.95);
        out->reduction[out->reductions++] = (adamoe_calibration_reduction){
            .tokens = run->tokens,
            .bytes = 1.0 - (double)(with.request_bytes + with.result_bytes) /
                               (double)(without.request_bytes + without.result_bytes),
            .seconds = adamoe_median(ratio, run->rounds),
            .low = interval.low,
            .high = interval.high,
            .rounds = run->rounds};
    }
}

static void judge(const adamoe_measure *m, const token_run *run, size_t runs, adamoe_calibration *out)
{
    out->network.hidden = fit_hidden(m, out, run, runs);
    for (size_t i = 0; i < runs; ++i) {
        for (size_t v = 0; v < VARIANTS; ++v) {
            const bool overlap = v % 2 == 1;
            char what[96];
            (void)snprintf(what, sizeof what, "layer, %u ranks, %zu tokens of each, %s%s", m->world->ranks,
                           run[i].tokens, side_names[v / 2], overlap ? "" : ", no overlap");
            adamoe_calibration_add(
                out, what, predicted(m, out, &run[i].side[v / 2], overlap ? out->network.hidden : 0.0),
                fastest_of(run[i].seconds[v], run[i].rounds), v == BASELINE * 2 + 1);
        }
        add_reduction(&run[i], out);
    }
}

static const size_t token_counts[] = {4, 16, 64, 256};

#define TOKEN_COUNTS (sizeof token_counts / sizeof *token_counts)

/* All numbers of tokens and the expert in turn, and again: what disturbs one pass does not disturb the next, and the model
 * and what it is held against are of the same moments. */
static adamoe_status time_all(const adamoe_measure *m, adamoe_expert_timer *timer, token_run *run,
                              size_t runs, adamoe_calibration *out)
{
    for (size_t pass = 0; pass < PASSES; ++pass) {
        for (size_t i = 0; i < runs; ++i) {
            ADAMOE_TRY(time_run(m, &run[i]));
        }
        ADAMOE_TRY(adamoe_expert_timer_pass(timer, out));
    }
    return adamoe_ok();
}

static adamoe_status measure_runs(const adamoe_measure *m, adamoe_expert_timer *timer,
                                  const spread_layer *layer, const uint32_t *rank_of_expert,
                                  adamoe_calibration *out)
{
    token_run *run = calloc(TOKEN_COUNTS, sizeof *run);
    if (run == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "runs of layers: out of memory");
    }
    adamoe_status status = adamoe_ok();
    size_t runs = 0;
    double seconds = 0.0;
    while (status.code == ADAMOE_OK && runs < TOKEN_COUNTS && seconds < m->most_seconds) {
        run[runs].tokens = token_counts[runs];
        status = open_run(m, layer, rank_of_expert, &run[runs]);
        status = status.code == ADAMOE_OK ? warm_up(m, &run[runs], &seconds) : status;
        ++runs;
    }
    status = status.code == ADAMOE_OK ? time_all(m, timer, run, runs, out) : status;
    if (status.code == ADAMOE_OK) {
        judge(m, run, runs, out);
    }
    for (size_t i = 0; i < runs; ++i) {
        close_run(&run[i]);
    }
    free(run);
    return status;
}

adamoe_status adamoe_measure_layers(const adamoe_measure *m, adamoe_expert_timer *timer,
                                    adamoe_calibration *out)
{
    const size_t experts = m->preset->mixture.experts;
    const adamoe_expert_use none = {.experts = experts};
    if (m->world->ranks < 2) {
        return adamoe_ok();
    }
    uint32_t *rank_of_expert = calloc(experts, sizeof *rank_of_expert);
    spread_layer layer;
    adamoe_status status = rank_of_expert == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "layers: out of memory")
                                                  : adamoe_place_experts(ADAMOE_EXPERTS_BLOCK, &none,
                                                                         m->world->ranks, rank_of_expert);
    if (status.code == ADAMOE_OK) {
        status = open_layer(m, rank_of_expert, &layer);
    }
    if (status.code == ADAMOE_OK) {
        status = measure_runs(m, timer, &layer, rank_of_expert, out);
        close_layer(&layer);
    }
    free(rank_of_expert);
    return status;
}
