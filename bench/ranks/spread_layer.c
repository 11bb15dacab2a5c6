/*
 * A random layer whose experts live on the ranks of a world: see spread_layer.h.
 */
#include "ranks/spread_layer.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ weights */

adamoe_status adamoe_spread_layer_create(const adamoe_preset *preset, uint64_t seed, uint32_t rank,
                                         const uint32_t *rank_of_expert, adamoe_spread_layer *out)
{
    const size_t experts = preset->mixture.experts;
    *out = (adamoe_spread_layer){.preset = preset,
                                 .seed = seed,
                                 .rank = rank,
                                 .rank_of_expert = calloc(experts, sizeof *out->rank_of_expert),
                                 .known = calloc(experts, sizeof *out->known)};
    if (out->rank_of_expert == NULL || out->known == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "a layer over ranks: out of memory");
    }
    memcpy(out->rank_of_expert, rank_of_expert, experts * sizeof *rank_of_expert);
    for (size_t e = 0; e < experts; ++e) {
        out->own += rank_of_expert[e] == rank;
    }
    return adamoe_ok();
}

void adamoe_spread_layer_free(adamoe_spread_layer *s)
{
    for (size_t i = 0; i < s->copies; ++i) {
        adamoe_random_layer_free(&s->copy[i]);
    }
    adamoe_random_layer_free(&s->whole);
    free(s->copy);
    free(s->known);
    free(s->rank_of_expert);
    *s = (adamoe_spread_layer){.copies = 0};
}

/* On every rank the same. */
static void fill(const adamoe_spread_layer *s, size_t expert, adamoe_random_layer *out)
{
    const adamoe_expert *e = &out->layer.expert[expert];
    const adamoe_matrix *const matrix[] = {&e->w1, &e->w3, &e->w2};
    adamoe_splitmix64 random = adamoe_random_for("layer over ranks", s->seed + expert);
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; ++i) {
        adamoe_random_values(&random, matrix[i]->dtype, adamoe_weight_bound(matrix[i]->columns),
                             matrix[i]->rows * matrix[i]->columns, (void *)(uintptr_t)matrix[i]->data);
    }
}

static void copy_expert(const adamoe_random_layer *from, size_t expert, adamoe_random_layer *to)
{
    const adamoe_expert *a = &from->layer.expert[expert], *b = &to->layer.expert[expert];
    const adamoe_matrix *const source[] = {&a->w1, &a->w3, &a->w2}, *const target[] = {&b->w1, &b->w3,
                                                                                       &b->w2};
    for (size_t i = 0; i < sizeof source / sizeof *source; ++i) {
        memcpy((void *)(uintptr_t)target[i]->data, source[i]->data,
               source[i]->rows * source[i]->columns * adamoe_dtype_bytes(source[i]->dtype));
    }
}

static adamoe_layer_sizes sizes_of(const adamoe_preset *p)
{
    return (adamoe_layer_sizes){p->hidden_size, p->intermediate_size, p->mixture.experts, 0};
}

adamoe_status adamoe_spread_layer_hold(adamoe_spread_layer *s, size_t copies)
{
    const adamoe_preset *p = s->preset;
    adamoe_random_layer *more = copies > s->copies ? realloc(s->copy, copies * sizeof *more) : s->copy;
    if (more == NULL && copies > s->copies) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "a layer over ranks: out of memory");
    }
    s->copy = more;
    for (; s->copies < copies; ++s->copies) {
        adamoe_random_layer *next = &s->copy[s->copies];
        ADAMOE_TRY(adamoe_random_layer_allocate(sizes_of(p), p->weights, next));
        for (size_t e = 0; e < p->mixture.experts; ++e) {
            if (s->rank_of_expert[e] == s->rank && s->copies == 0) {
                fill(s, e, next);
            } else if (s->rank_of_expert[e] == s->rank) {
                copy_expert(&s->copy[0], e, next);
            }
        }
    }
    return adamoe_ok();
}

double adamoe_spread_layer_bytes(const adamoe_spread_layer *s)
{
    const adamoe_preset *p = s->preset;
    return 3.0 * (double)(p->hidden_size * p->intermediate_size) * (double)adamoe_dtype_bytes(p->weights) *
           (double)s->own;
}

adamoe_status adamoe_spread_layer_with(adamoe_spread_layer *s, const bool *needed, const adamoe_layer **out)
{
    if (s->whole.memory == NULL) {
        ADAMOE_TRY(adamoe_random_layer_allocate(sizes_of(s->preset), s->preset->weights, &s->whole));
    }
    for (size_t e = 0; e < s->preset->mixture.experts; ++e) {
        if (s->rank_of_expert[e] == s->rank) {
            s->whole.expert[e] = s->copy[0].expert[e];
        } else if (needed[e] && !s->known[e]) {
            fill(s, e, &s->whole);
            s->known[e] = true;
        }
    }
    *out = &s->whole.layer;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- kernels */

/* Every copy has its experts on the same ranks. */
static void assign(const void *context, size_t layer, size_t experts, uint32_t ranks,
                   uint32_t *rank_of_expert)
{
    const adamoe_spread_layer *s = context;
    (void)layer, (void)ranks;
    memcpy(rank_of_expert, s->rank_of_expert, experts * sizeof *rank_of_expert);
}

adamoe_status adamoe_spread_kernel_open(const adamoe_kernel *inner, const adamoe_sharded_options *options,
                                        adamoe_spread_layer *layer, adamoe_spread_kernel *out)
{
    adamoe_sharded_options with = *options;
    with.assign = assign;
    with.assign_context = layer;
    *out = (adamoe_spread_kernel){.layer = layer};
    return adamoe_sharded_create(inner, &with, &out->sharded);
}

void adamoe_spread_kernel_close(adamoe_spread_kernel *k)
{
    for (size_t i = 0; i < k->copies; ++i) {
        adamoe_sharded_kernel(k->sharded)->release(k->prepared[i]);
    }
    free(k->prepared);
    adamoe_sharded_free(k->sharded);
    *k = (adamoe_spread_kernel){.copies = 0};
}

adamoe_status adamoe_spread_kernel_hold(adamoe_spread_kernel *k, const adamoe_machine *machine, size_t copies)
{
    adamoe_prepared **more = copies > k->copies ? realloc(k->prepared, copies * sizeof(*more)) : k->prepared;
    if (more == NULL && copies > k->copies) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "a layer over ranks: out of memory");
    }
    k->prepared = more;
    ADAMOE_TRY(adamoe_spread_layer_hold(k->layer, copies));
    for (; k->copies < copies; ++k->copies) {
        ADAMOE_TRY(adamoe_sharded_kernel(k->sharded)
                       ->prepare(&machine->host, &k->layer->copy[k->copies].layer, machine->placement,
                                 &k->prepared[k->copies]));
    }
    return adamoe_ok();
}
