/*
 * One expert with so many rows, timed.
 */
#include "layers/random_layer.h"
#include "machine/clock.h"
#include "machine/last_level_cache.h"
#include "scale/measure.h"
#include "scale/timed_call.h"
#include "timing/roofline.h"

#include <math.h>
#include <stdlib.h>

/* Every one of `rows` tokens goes to every expert. */
typedef struct full_plan {
    adamoe_plan plan;
    uint32_t *number; /* offset, input, token_offset, token_row */
    float *combine;
} full_plan;

/* Calls with one number of rows of each expert. */
typedef struct rows_run {
    size_t rows, calls; /* of which a mean is taken */
    full_plan plan;
    adamoe_timed_call call;
    double seconds[ADAMOE_MOST_ROUNDS], alone[ADAMOE_MOST_ROUNDS]; /* of a call on all ranks, and on one */
} rows_run;

struct adamoe_expert_timer {
    const adamoe_measure *measure;
    adamoe_random_layer layer; /* of a rank that has no layer */
    adamoe_prepared *made;     /* of that */
    adamoe_own_experts own;
    size_t runs;
    rows_run run[ADAMOE_COST_POINTS];
};

/* Enough that all of them together are cold when they come again. */
static size_t cold_experts(const adamoe_measure *m, double expert_bytes)
{
    const double cold = ceil(2.0 * (double)adamoe_last_level_cache() / expert_bytes) + 1.0;
    return (size_t)fmin(512.0, fmin((double)m->preset->mixture.experts, cold));
}

static adamoe_status make_plan(size_t experts, size_t rows, full_plan *out)
{
    const size_t all = experts * rows;
    uint32_t *offset = malloc((experts + 1 + all + rows + 1 + all) * sizeof *offset);
    float *combine = malloc(all * sizeof *combine);
    *out = (full_plan){.number = offset, .combine = combine};
    if (offset == NULL || combine == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "a plan of %zu rows: out of memory", all);
    }
    uint32_t *input = offset + experts + 1, *token_offset = input + all, *token_row = token_offset + rows + 1;
    for (size_t e = 0; e <= experts; ++e) {
        offset[e] = (uint32_t)(e * rows);
    }
    for (size_t t = 0; t <= rows; ++t) {
        token_offset[t] = (uint32_t)(t * experts);
    }
    for (size_t i = 0; i < all; ++i) {
        input[i] = (uint32_t)(i % rows);
        token_row[i] = (uint32_t)(i % experts * rows + i / experts);
        combine[i] = 1.0f / (float)experts;
    }
    out->plan = (adamoe_plan){.tokens = rows,
                              .inputs = rows,
                              .rows = all,
                              .experts = experts,
                              .offset = offset,
                              .input = input,
                              .token_offset = token_offset,
                              .token_row = token_row,
                              .combine = combine};
    return adamoe_ok();
}

static adamoe_status open_run(adamoe_expert_timer *t, size_t rows, double *seconds)
{
    const adamoe_measure *m = t->measure;
    rows_run *run = &t->run[t->runs++];
    run->rows = rows;
    ADAMOE_TRY(make_plan(t->own.count, rows, &run->plan));
    ADAMOE_TRY(adamoe_timed_call_open(m, m->kernel, t->own.prepared, m->preset->hidden_size, &run->plan.plan,
                                      &run->call));
    return adamoe_timed_call_warm_up(m, &run->call, seconds, &run->calls);
}

/* Numbers of rows that are timed whatever they take: up to 8, at which weights are still what takes the time, so that more
 * rows are not taken for as much slower. */
#define LEAST_ROW_COUNTS 5

static adamoe_status open_runs(adamoe_expert_timer *t, double *cost)
{
    static const size_t rows[] = {1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048, 4096};
    double seconds = 0.0;
    *cost = 0.0;
    for (size_t i = 0;
         i < sizeof rows / sizeof *rows && (i < LEAST_ROW_COUNTS || seconds < t->measure->most_seconds);
         ++i) {
        ADAMOE_TRY(open_run(t, rows[i], &seconds));
        *cost += 2.0 * seconds * (double)t->run[i].calls; /* one alone takes no longer */
    }
    return adamoe_ok();
}

static adamoe_status make_experts(adamoe_expert_timer *t)
{
    const adamoe_measure *m = t->measure;
    const adamoe_preset *p = m->preset;
    const adamoe_expert_cost size =
        adamoe_expert_cost_of(p->hidden_size, p->intermediate_size, m->kernel->weight);
    const adamoe_layer_sizes sizes = {p->hidden_size, p->intermediate_size, cold_experts(m, size.bytes), 0};
    adamoe_splitmix64 random = adamoe_random_for("scale: experts", m->seed);
    ADAMOE_TRY(adamoe_random_layer_create(sizes, p->weights, 0, &random, &t->layer));
    ADAMOE_TRY(m->kernel->prepare(&m->machine->host, &t->layer.layer, m->machine->placement, &t->made));
    t->own = (adamoe_own_experts){t->made, sizes.experts};
    return adamoe_ok();
}

adamoe_status adamoe_expert_timer_open(const adamoe_measure *m, const adamoe_own_experts *own,
                                       adamoe_expert_timer **out, double *cost)
{
    adamoe_expert_timer *t = calloc(1, sizeof *t);
    *out = t;
    if (t == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory");
    }
    t->measure = m;
    if (own != NULL) {
        t->own = *own;
    } else {
        ADAMOE_TRY(make_experts(t));
    }
    return open_runs(t, cost);
}

void adamoe_expert_timer_close(adamoe_expert_timer *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->runs; ++i) {
        if (t->run[i].call.host != NULL) {
            adamoe_timed_call_close(&t->run[i].call);
        }
        free(t->run[i].plan.number);
        free(t->run[i].plan.combine);
    }
    if (t->made != NULL) {
        t->measure->kernel->release(t->made);
    }
    adamoe_random_layer_free(&t->layer);
    free(t);
}

static adamoe_status time_barrier(const adamoe_world *world, double *out)
{
    enum { BARRIERS = 20 };
    ADAMOE_TRY(adamoe_world_barrier(world));
    const double start = adamoe_now();
    for (size_t i = 0; i < BARRIERS; ++i) {
        ADAMOE_TRY(adamoe_world_barrier(world));
    }
    return adamoe_measure_slowest(world, (adamoe_now() - start) / BARRIERS, out);
}

/* What waiting itself takes is none of the expert's; nobody is slower alone. */
adamoe_status adamoe_expert_timer_round(adamoe_expert_timer *t, size_t round)
{
    const adamoe_world *world = t->measure->world;
    double barrier = 0.0;
    if (world->ranks > 1) {
        ADAMOE_TRY(time_barrier(world, &barrier));
    }
    for (size_t i = 0; i < t->runs; ++i) {
        rows_run *run = &t->run[i];
        double *together = &run->seconds[round], *alone = &run->alone[round];
        ADAMOE_TRY(adamoe_timed_call_alone(t->measure, &run->call, run->calls, alone));
        *together = *alone;
        if (world->ranks > 1) {
            ADAMOE_TRY(adamoe_timed_call_in_step(t->measure, &run->call, run->calls, together));
            *together = fmax(*alone, *together - barrier);
        }
    }
    return adamoe_ok();
}

void adamoe_expert_timer_finish(const adamoe_expert_timer *t, const adamoe_rounds *rounds,
                                adamoe_calibration *out)
{
    const adamoe_measure *m = t->measure;
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(m->preset->hidden_size, m->preset->intermediate_size, m->kernel->weight);
    adamoe_cost_compute *compute = &out->compute;
    for (size_t i = 0; i < t->runs; ++i) {
        compute->point[compute->points++] = (adamoe_cost_point){
            (double)t->run[i].rows, adamoe_rounds_median(rounds, t->run[i].seconds) / (double)t->own.count,
            adamoe_rounds_median(rounds, t->run[i].alone) / (double)t->own.count};
    }
    const adamoe_cost_point *last = &compute->point[compute->points - 1];
    (void)snprintf(out->kernel, sizeof out->kernel, "%s", m->kernel->name);
    out->hidden_size = m->preset->hidden_size;
    out->intermediate_size = m->preset->intermediate_size;
    out->input_bytes = adamoe_wire_of(m->kernel, out->hidden_size).input_bytes;
    out->threads = m->machine->team->threads;
    out->expert_bytes = cost.bytes;
    out->experts_in_turn = t->own.count;
    compute->flops = cost.flops_per_row * last->rows / last->seconds;
    compute->bytes = cost.bytes / compute->point[0].seconds;
}
