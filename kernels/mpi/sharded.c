/*
 * A kernel whose experts live on the ranks of a world: preparing, and what does not travel. See exchange.c
 * for what does.
 */
#include "mpi/placement.h"
#include "mpi/sharded_parts.h"
#include "remote/slots.h"

#include <stdlib.h>
#include <string.h>

struct adamoe_prepared {
    adamoe_host host;
    sharded_layer layer;
};

static void release(adamoe_prepared *p)
{
    if (p == NULL) {
        return;
    }
    if (p->layer.inner != NULL) {
        p->layer.sharded->inner->release(p->layer.inner);
    }
    free(p->layer.local);
    free(p->layer.owned);
    free(p);
}

/* Of a layer that is not prepared after all: the next one has its number. */
static void forget_last(adamoe_sharded *s)
{
    free(s->assignment[--s->layers]);
}

/* Keeps the owners of layer number `layers`; after an error too, for the caller to forget. */
static adamoe_status assign(adamoe_sharded *s, size_t experts)
{
    const uint32_t ranks = s->options.world->ranks;
    uint32_t **list = realloc(s->assignment, (s->layers + 1) * sizeof *list);
    uint32_t *owners = calloc(experts, sizeof *owners);
    s->assignment = list != NULL ? list : s->assignment;
    if (list == NULL || owners == NULL) {
        free(owners);
        return adamoe_error(ADAMOE_ENVIRONMENT, "experts on ranks: out of memory");
    }
    list[s->layers++] = owners;
    if (s->options.assign != NULL) {
        s->options.assign(s->options.assign_context, s->layers - 1, experts, ranks, owners);
    } else {
        const adamoe_expert_use none = {.experts = experts};
        ADAMOE_TRY(adamoe_place_experts(ADAMOE_EXPERTS_BLOCK, &none, ranks, owners));
    }
    for (size_t e = 0; e < experts; ++e) {
        if (owners[e] >= ranks) {
            return adamoe_error(ADAMOE_BAD_INPUT, "expert %zu on rank %u of %u", e, owners[e], ranks);
        }
    }
    return adamoe_ok();
}

/* Numbers the experts of each rank, and prepares this rank's. */
static adamoe_status prepare_own(const adamoe_host *host, const adamoe_layer *layer,
                                 const adamoe_placement *placement, sharded_layer *out)
{
    const adamoe_sharded *s = out->sharded;
    const adamoe_world *world = s->options.world;
    adamoe_expert *own = calloc(layer->experts, sizeof *own);
    out->local = calloc(layer->experts, sizeof *out->local);
    out->owned = calloc(world->ranks, sizeof *out->owned);
    adamoe_status status = adamoe_ok();
    if (own == NULL || out->local == NULL || out->owned == NULL) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "experts on ranks: out of memory");
    }
    for (size_t e = 0; e < layer->experts && status.code == ADAMOE_OK; ++e) {
        const uint32_t rank = out->rank_of_expert[e];
        out->local[e] = out->owned[rank]++;
        if (rank == world->rank) {
            own[out->local[e]] = layer->expert[e];
        }
    }
    if (status.code == ADAMOE_OK && out->owned[world->rank] > 0) {
        adamoe_layer mine = *layer;
        mine.experts = out->owned[world->rank];
        mine.expert = own;
        status = s->inner->prepare(host, &mine, placement, &out->inner);
    }
    free(own);
    return status;
}

static adamoe_status prepare(void *context, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    adamoe_sharded *s = context;
    if (layer->experts == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "a layer without experts");
    }
    adamoe_prepared *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "experts on ranks: out of memory");
    }
    p->layer = (sharded_layer){
        .sharded = s, .layer = s->layers, .hidden_size = layer->hidden_size, .experts = layer->experts};
    const size_t layers = s->layers;
    adamoe_status status = layer->experts == 1 ? adamoe_ok() : assign(s, layer->experts);
    if (status.code == ADAMOE_OK && layer->experts == 1) {
        status = s->inner->prepare(host, layer, placement, &p->layer.inner);
    } else if (status.code == ADAMOE_OK) {
        p->layer.rank_of_expert = s->assignment[p->layer.layer];
        status = prepare_own(host, layer, placement, &p->layer);
    }
    if (status.code != ADAMOE_OK) {
        p->layer.inner = NULL; /* it has given back what it took */
        release(p);
        if (s->layers > layers) {
            forget_last(s);
        }
        return status;
    }
    *out = p;
    return status;
}

/* What travels has workspace of its own. */
static size_t work_bytes(const adamoe_prepared *p, size_t rows, size_t tokens)
{
    return p->layer.rank_of_expert != NULL
               ? 0
               : p->layer.sharded->inner->work_bytes(p->layer.inner, rows, tokens);
}

static adamoe_status experts(adamoe_prepared *p, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    return p->layer.rank_of_expert == NULL ? p->layer.sharded->inner->experts(p->layer.inner, run, x, plan, y)
                                           : sharded_exchange(&p->layer, run, x, plan, y);
}

static bool supported(void *context, const char **why_not)
{
    const adamoe_sharded *s = context;
    return s->inner->supported(why_not);
}

/* Of this rank's own part. */
static void implementation(const adamoe_prepared *p, char *text, size_t size)
{
    text[0] = '\0';
    if (p != NULL && p->layer.inner != NULL) {
        p->layer.sharded->inner->implementation(p->layer.inner, text, size);
    }
}

adamoe_status adamoe_sharded_create(const adamoe_kernel *inner, const adamoe_sharded_options *options,
                                    adamoe_sharded **out)
{
    adamoe_sharded *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "experts on ranks: out of memory");
    }
    s->inner = inner;
    s->options = *options;
    s->kernel = *inner;
    if (options->world->ranks == 1) {
        *out = s;
        return adamoe_ok();
    }
    if (inner->combine == NULL) {
        s->kernel.guarantees &= ~(uint32_t)ADAMOE_SAME_BITS_BATCH;
    }
    s->kernel.release = release;
    s->kernel.work_bytes = work_bytes;
    s->kernel.experts = experts;
    s->kernel.implementation = inner->implementation == NULL ? NULL : implementation;
    s->kernel.backward = NULL;
    s->kernel.backward_work_bytes = NULL;
    if (!adamoe_slot_take((adamoe_slot){s, supported, prepare}, &s->kernel)) {
        free(s);
        return adamoe_error(ADAMOE_ENVIRONMENT, "experts on ranks: no room for more than %d kernels",
                            ADAMOE_REMOTE_SLOTS);
    }
    *out = s;
    return adamoe_ok();
}

void adamoe_sharded_free(adamoe_sharded *s)
{
    if (s == NULL) {
        return;
    }
    sharded_buffer *const buffers[] = {&s->kept.memory, &s->served.memory,  &s->peers,      &s->messages,
                                       &s->seen,        &s->place,          &s->at,         &s->outputs,
                                       &s->index_out,   &s->index_in,       &s->inputs_out, &s->inputs_in,
                                       &s->wide,        &s->served_outputs, &s->work};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; ++i) {
        sharded_release(buffers[i]);
    }
    for (size_t i = 0; i < s->layers; ++i) {
        free(s->assignment[i]);
    }
    free(s->assignment);
    if (s->options.world->ranks > 1) {
        adamoe_slot_give_back(&s->kernel);
    }
    free(s);
}

const adamoe_kernel *adamoe_sharded_kernel(const adamoe_sharded *s)
{
    return s->options.world->ranks == 1 ? s->inner : &s->kernel;
}

adamoe_prepared *adamoe_sharded_own(const adamoe_prepared *p)
{
    return p->layer.inner;
}

void adamoe_sharded_set_overlap(adamoe_sharded *s, bool overlap)
{
    s->options.overlap = overlap;
}

const uint32_t *adamoe_sharded_assignment(const adamoe_sharded *s, size_t layer)
{
    return layer < s->layers ? s->assignment[layer] : NULL;
}

adamoe_rank_counters adamoe_sharded_counters(const adamoe_sharded *s)
{
    return s->counters;
}

void adamoe_sharded_clear(adamoe_sharded *s)
{
    s->counters = (adamoe_rank_counters){0};
}
