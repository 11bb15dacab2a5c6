/*
 * One expert with so many rows, timed.
 */
#include "layers/random_layer.h"
#include "machine/last_level_cache.h"
#include "scale/measure.h"
#include "scale/timed_call.h"
#include "timing/roofline.h"

#include <math.h>
#include <stdlib.h>

/* Enough that all of them together are cold when they come again. */
static size_t cold_experts(double expert_bytes)
{
    return (size_t)fmin(512.0, fmax(2.0, ceil(2.0 * (double)adamoe_last_level_cache() / expert_bytes) + 1.0));
}

/* Every one of `rows` tokens goes to every expert. */
typedef struct full_plan {
    adamoe_plan plan;
    uint32_t *number; /* offset, input, token_offset, token_row */
    float *combine;
} full_plan;

static adamoe_status make_plan(size_t experts, size_t rows, full_plan *out)
{
    const size_t all = experts * rows;
    uint32_t *offset = malloc((experts + 1 + all + rows + 1 + all) * sizeof *offset);
    float *combine = malloc(all * sizeof *combine);
    *out = (full_plan){.number = offset, .combine = combine};
    if (offset == NULL || combine == NULL) {
        free(offset);
        free(combine);
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

static adamoe_status time_rows(const adamoe_measure *m, adamoe_prepared *prepared, size_t experts,
                               size_t rows, double *seconds)
{
    full_plan plan;
    adamoe_timed_call call;
    ADAMOE_TRY(make_plan(experts, rows, &plan));
    adamoe_status status =
        adamoe_timed_call_open(m, m->kernel, prepared, m->preset->hidden_size, &plan.plan, &call);
    if (status.code == ADAMOE_OK) {
        status = adamoe_timed_call_fastest(m, &call, seconds);
        adamoe_timed_call_close(&call);
    }
    free(plan.number);
    free(plan.combine);
    return status;
}

adamoe_status adamoe_expert_timer_pass(adamoe_expert_timer *timer, adamoe_calibration *out)
{
    static const size_t rows[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048, 4096};
    const adamoe_measure *m = timer->measure;
    adamoe_cost_compute *compute = &out->compute;
    const bool first = compute->points == 0;
    double seconds = 0.0;
    for (size_t i = 0;
         first ? i < sizeof rows / sizeof *rows && seconds < m->most_seconds : i < compute->points; ++i) {
        ADAMOE_TRY(time_rows(m, timer->prepared, timer->experts, rows[i], &seconds));
        const double each = seconds / (double)timer->experts;
        adamoe_cost_point *p = &compute->point[i];
        *p = (adamoe_cost_point){(double)rows[i], first ? each : fmin(p->seconds, each)};
        compute->points += first;
    }
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(m->preset->hidden_size, m->preset->intermediate_size, m->kernel->weight);
    const adamoe_cost_point *last = &compute->point[compute->points - 1];
    (void)snprintf(out->kernel, sizeof out->kernel, "%s", m->kernel->name);
    out->hidden_size = m->preset->hidden_size;
    out->intermediate_size = m->preset->intermediate_size;
    out->input_bytes = adamoe_wire_of(m->kernel, out->hidden_size).input_bytes;
    out->threads = m->machine->team->threads;
    out->expert_bytes = cost.bytes;
    compute->flops = cost.flops_per_row * last->rows / last->seconds;
    compute->bytes = cost.bytes / compute->point[0].seconds;
    return adamoe_ok();
}

adamoe_status adamoe_expert_timer_open(const adamoe_measure *m, adamoe_expert_timer *out)
{
    const adamoe_preset *p = m->preset;
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(p->hidden_size, p->intermediate_size, m->kernel->weight);
    const adamoe_layer_sizes sizes = {p->hidden_size, p->intermediate_size, cold_experts(cost.bytes), 0};
    adamoe_splitmix64 random = adamoe_random_for("scale: experts", m->seed);
    *out = (adamoe_expert_timer){.measure = m, .experts = sizes.experts};
    ADAMOE_TRY(adamoe_random_layer_create(sizes, p->weights, 0, &random, &out->layer));
    const adamoe_status status =
        m->kernel->prepare(&m->machine->host, &out->layer.layer, m->machine->placement, &out->prepared);
    if (status.code != ADAMOE_OK) {
        adamoe_random_layer_free(&out->layer);
    }
    return status;
}

void adamoe_expert_timer_close(adamoe_expert_timer *timer)
{
    timer->measure->kernel->release(timer->prepared);
    adamoe_random_layer_free(&timer->layer);
}
