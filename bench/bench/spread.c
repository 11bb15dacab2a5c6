/*
 * A layer over ranks, on its way through a benchmark: see spread.h.
 */
#include "bench/spread.h"
#include "machine/last_level_cache.h"
#include "machine/memory.h"
#include "mpi/volume.h"
#include "ranks/common_time.h"
#include "timing/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- opening */

adamoe_status adamoe_spread_variant_room(adamoe_spread_variant *v)
{
    v->x = calloc(v->batches, sizeof *v->x);
    v->plan = calloc(v->batches, sizeof *v->plan);
    v->wire = calloc(v->batches, sizeof *v->wire);
    v->seconds = calloc(v->setting->timing.repetitions, sizeof *v->seconds);
    return v->x != NULL && v->plan != NULL && v->wire != NULL && v->seconds != NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
}

/* What each batch sends, from its plan alone. */
static adamoe_status predict(adamoe_spread_variant *v)
{
    const adamoe_world *world = v->setting->world;
    const adamoe_spread_layer *layer = v->kernel->layer;
    const adamoe_wire wire = adamoe_wire_of(v->inner, layer->preset->hidden_size);
    adamoe_volume *owner = calloc(world->ranks, sizeof *owner);
    uint32_t *seen = calloc(v->tokens + 1, sizeof *seen);
    for (size_t b = 0; b < v->batches && owner != NULL && seen != NULL; ++b) {
        adamoe_volume_of_plan(v->plan[b], layer->rank_of_expert, world->rank, world->ranks, &wire, seen,
                              owner);
        v->wire[b] = (adamoe_spread_wire){.rows = v->plan[b]->rows};
        for (uint32_t r = 0; r < world->ranks; ++r) {
            v->wire[b].rows_sent += r == world->rank ? 0 : owner[r].rows;
            v->wire[b].inputs_sent += r == world->rank ? 0 : owner[r].inputs;
            v->wire[b].bytes += owner[r].request_bytes + owner[r].result_bytes;
        }
    }
    const bool complete = owner != NULL && seen != NULL;
    free(owner);
    free(seen);
    return complete ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
}

static const adamoe_kernel *kernel_of(const adamoe_spread_variant *v)
{
    return adamoe_sharded_kernel(v->kernel->sharded);
}

adamoe_status adamoe_spread_variant_open(adamoe_spread_variant *v)
{
    const adamoe_host *host = &v->setting->machine->host;
    const size_t d = v->kernel->layer->preset->hidden_size;
    size_t rows = 0;
    ADAMOE_TRY(predict(v));
    for (size_t b = 0; b < v->batches; ++b) {
        rows = v->plan[b]->rows > rows ? v->plan[b]->rows : rows;
    }
    v->copies = v->copies_wanted = 1;
    v->run.team = v->setting->machine->team;
    v->run.work_bytes = kernel_of(v)->work_bytes(v->kernel->prepared[0], rows, v->tokens);
    v->run.work = host->allocate(host->context, v->run.work_bytes + 1, 64);
    v->y = malloc((v->tokens * d + 1) * sizeof *v->y);
    if (v->run.work == NULL || v->y == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    if (v->inner->implementation != NULL) {
        kernel_of(v)->implementation(v->kernel->prepared[0], v->implementation, sizeof v->implementation);
    }
    return adamoe_ok();
}

void adamoe_spread_variant_close(adamoe_spread_variant *v)
{
    if (v->setting != NULL && v->run.work != NULL) {
        const adamoe_host *host = &v->setting->machine->host;
        host->release(host->context, v->run.work);
    }
    adamoe_router_step_free(v->router);
    free(v->x);
    free(v->plan);
    free(v->wire);
    free(v->seconds);
    free(v->y);
    *v = (adamoe_spread_variant){.setting = NULL};
}

/* ------------------------------------------------------------------------------------------------- calling */

adamoe_status adamoe_spread_variant_call(void *variant)
{
    adamoe_spread_variant *v = variant;
    const size_t batch = v->next++ % v->batches, copy = *v->turn / v->each % v->copies;
    const adamoe_plan *plan = v->plan[batch];
    ++*v->turn;
    v->predicted += v->wire[batch].bytes;
    if (v->router != NULL) {
        adamoe_router_seconds ignored = {0.0, 0.0};
        ADAMOE_TRY(adamoe_router_step_run(v->router, v->x[batch], &plan, &ignored));
    }
    return kernel_of(v)->experts(v->kernel->prepared[copy], &v->run, v->x[batch], plan, v->y);
}

static adamoe_status judge(const adamoe_spread_variant *v)
{
    adamoe_spread_layer *spread = v->kernel->layer;
    const adamoe_traffic_batch batch = {.x = (float *)(uintptr_t)v->x[0],
                                        .plan = (adamoe_plan *)(uintptr_t)v->plan[0]};
    const adamoe_layer *layer = NULL;
    bool *reads = calloc(spread->preset->mixture.experts, sizeof *reads);
    if (reads == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    adamoe_bench_check_reads(&spread->copy[0].layer, v->plan[0], reads);
    adamoe_status status = adamoe_spread_layer_with(spread, reads, &layer);
    if (status.code == ADAMOE_OK) {
        status = adamoe_bench_check(v->inner, layer, &batch, v->tokens, v->y, v->run.team);
    }
    free(reads);
    return status;
}

adamoe_status adamoe_spread_variant_check(adamoe_spread_variant *v, adamoe_status *wrong)
{
    const adamoe_world *world = v->setting->world;
    const size_t d = v->kernel->layer->preset->hidden_size;
    memset(v->y, 0xff, v->tokens * d * sizeof *v->y); /* NaN: what is not written is seen */
    adamoe_router_step *router = v->router;
    v->next = 0;
    v->router = NULL; /* by the weights that were wanted, not those of the router */
    const adamoe_status called = adamoe_spread_variant_call(v);
    v->router = router;
    ADAMOE_TRY(called);
    adamoe_status status = judge(v);
    if (status.code == ADAMOE_DIFFERENCE && world->rank == 0) { /* of the others it is said anyway */
        status = adamoe_error(status.code, "rank 0: %.480s", status.message);
    }
    *wrong = adamoe_world_agree(world, status);
    return wrong->code == ADAMOE_OK || wrong->code == ADAMOE_DIFFERENCE ? adamoe_ok() : *wrong;
}

/* ------------------------------------------------------------------------------------------------- weights */

/* Of weights: what is asked for besides, for rounding up and for the work of a call. */
#define MARGIN 1.1

/* Bytes of this rank's experts that one call reads at least: those that its own tokens select. */
static double touched_bytes(const adamoe_spread_variant *v, double expert_bytes)
{
    const adamoe_spread_layer *layer = v->kernel->layer;
    const adamoe_plan *plan = v->plan[0];
    size_t touched = 0;
    for (size_t e = 0; e < plan->experts; ++e) {
        touched += layer->rank_of_expert[e] == layer->rank && plan->offset[e + 1] > plan->offset[e];
    }
    return expert_bytes * (double)(touched == 0 ? 1 : touched);
}

adamoe_status adamoe_spread_ask_weights(const adamoe_spread_setting *s, const adamoe_spread_layer *layer,
                                        const adamoe_kernel *const *kernel, size_t kernels)
{
    const adamoe_preset *p = layer->preset;
    const char *why_not = NULL;
    double bytes = layer->copies == 0 ? adamoe_spread_layer_bytes(layer) : 0.0;
    for (size_t i = 0; i < kernels; ++i) {
        bytes += !kernel[i]->supported(&why_not)
                     ? 0.0
                     : adamoe_expert_cost_of(p->hidden_size, p->intermediate_size, kernel[i]->weight).bytes *
                           (double)layer->own;
    }
    char what[64];
    (void)snprintf(what, sizeof what, "%.32s, ranks of this machine: %u", p->name, s->ranks_here);
    ADAMOE_TRY(adamoe_world_barrier(s->world)); /* all have given back what they had before */
    return adamoe_world_agree(
        s->world,
        adamoe_ask_memory(what, MARGIN * bytes * s->ranks_here,
                          kernels > 1 ? "time one kernel at a time (--kernel), or a smaller layer (--preset)"
                                      : "time a smaller layer (--preset), or spread it over more machines"));
}

adamoe_status adamoe_spread_variant_copies(adamoe_spread_variant *v, size_t most, size_t sharing)
{
    const adamoe_spread_setting *s = v->setting;
    const adamoe_preset *p = v->kernel->layer->preset;
    const double expert = adamoe_expert_cost_of(p->hidden_size, p->intermediate_size, v->inner->weight).bytes;
    const double stored = adamoe_spread_layer_bytes(v->kernel->layer);
    const double each = stored + (double)sharing * expert * (double)v->kernel->layer->own;
    const double room = (double)adamoe_available_memory() / 2.0 / s->ranks_here / (each + 1.0);
    double cold =
        s->timing.hot || v->kernel->layer->own == 0
            ? 1.0
            : (double)adamoe_cold_copies(touched_bytes(v, expert), v->each, adamoe_last_level_cache());
    double least_room = -fmax(1.0, floor(room)); /* the largest of the negative is the least */
    ADAMOE_TRY(adamoe_slowest_of_ranks(s->world, &cold, 1));
    ADAMOE_TRY(adamoe_slowest_of_ranks(s->world, &least_room, 1));
    v->copies_wanted = (size_t)cold;
    const size_t wanted = v->copies_wanted < most ? v->copies_wanted : most;
    const size_t copies = (double)wanted < -least_room ? wanted : (size_t)-least_room;
    ADAMOE_TRY(adamoe_world_agree(s->world, adamoe_spread_kernel_hold(v->kernel, s->machine, copies)));
    v->copies = copies;
    return adamoe_ok();
}

void adamoe_spread_empty_caches(void)
{
    const size_t bytes = 2 * adamoe_last_level_cache();
    unsigned char *memory = malloc(bytes + 1);
    if (memory != NULL) {
        memset(memory, 1, bytes);
        *(volatile unsigned char *)memory = memory[bytes / 2];
    }
    free(memory);
}

/* ------------------------------------------------------------------------------------------------ counting */

void adamoe_spread_variant_clear(adamoe_spread_variant *v)
{
    adamoe_sharded_clear(v->kernel->sharded);
}

void adamoe_spread_variant_count(adamoe_spread_variant *v)
{
    const adamoe_rank_counters c = adamoe_sharded_counters(v->kernel->sharded);
    adamoe_rank_counters *sum = &v->counters;
    sum->exchanges += c.exchanges;
    sum->home_rows += c.home_rows;
    sum->rows_kept += c.rows_kept;
    sum->rows_sent += c.rows_sent;
    sum->rows_served += c.rows_served;
    sum->inputs_sent += c.inputs_sent;
    sum->bytes_sent += c.bytes_sent;
    sum->bytes_received += c.bytes_received;
    sum->seconds += c.seconds;
    sum->arithmetic += c.arithmetic;
    sum->communication += c.communication;
    sum->waiting += c.waiting;
    adamoe_sharded_clear(v->kernel->sharded);
}

adamoe_status adamoe_spread_variant_round(const adamoe_spread_variant *v, adamoe_spread_wire *out)
{
    const adamoe_world *world = v->setting->world;
    adamoe_spread_wire own = {0}, *all = calloc(world->ranks, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    for (size_t b = 0; b < v->batches; ++b) {
        own.rows += v->wire[b].rows;
        own.rows_sent += v->wire[b].rows_sent;
        own.inputs_sent += v->wire[b].inputs_sent;
        own.bytes += v->wire[b].bytes;
    }
    const adamoe_status status = adamoe_world_gather(world, &own, sizeof own, all);
    *out = (adamoe_spread_wire){0};
    for (uint32_t r = 0; r < world->ranks && world->rank == 0; ++r) {
        out->rows += all[r].rows;
        out->rows_sent += all[r].rows_sent;
        out->inputs_sent += all[r].inputs_sent;
        out->bytes += all[r].bytes;
    }
    free(all);
    return status;
}

adamoe_status adamoe_spread_variant_traffic(const adamoe_spread_variant *v, uint64_t baseline_bytes,
                                            const char *mpi, adamoe_traffic_report *out)
{
    const adamoe_world *world = v->setting->world;
    const adamoe_rank_traffic own = {.threads = v->setting->machine->team->threads,
                                     .tokens = v->tokens * v->counters.exchanges,
                                     .counters = v->counters,
                                     .predicted_bytes = v->predicted,
                                     .baseline_bytes = baseline_bytes};
    ADAMOE_TRY(adamoe_traffic_gather(world, own, out));
    adamoe_traffic_describe(out, v->setting->rank, v->inner);
    (void)snprintf(out->mpi, sizeof out->mpi, "%s", mpi);
    const adamoe_traffic_total sum = adamoe_traffic_sum(out);
    return adamoe_world_agree(
        world, world->rank != 0 || sum.bytes == sum.predicted_bytes
                   ? adamoe_ok()
                   : adamoe_error(ADAMOE_DIFFERENCE, "%llu bytes were sent, and %llu predicted",
                                  (unsigned long long)sum.bytes, (unsigned long long)sum.predicted_bytes));
}
