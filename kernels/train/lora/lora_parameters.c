/*
 * The layout of the trained weights of LoRA experts.
 */
#include "train/lora/lora_parameters.h"
#include "machine/huge_pages.h"
#include "splitmix64.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Streams of the seed that nothing else draws from. */
#define LORA_STREAM (UINT64_C(1) << 42)

typedef struct owned_parameters {
    adamoe_lora_parameters parameters; /* first, so that a pointer to it is one to this */
    adamoe_lora_experts *map;          /* [layers, ADAMOE_MAPS] */
} owned_parameters;

static size_t append(adamoe_lora_parameters *p, size_t layer, size_t map, const char *what, size_t rows,
                     size_t columns)
{
    adamoe_lora_tensor *tensor = &p->tensor[p->tensors++];
    *tensor = (adamoe_lora_tensor){.first = p->count, .rows = rows, .columns = columns};
    (void)snprintf(tensor->name, sizeof tensor->name, "model.layers.%zu.%s.%s", layer, adamoe_map_names[map],
                   what);
    p->count += rows * columns;
    return tensor->first;
}

static void lay_out(adamoe_lora_parameters *p)
{
    const adamoe_lora_sizes *s = &p->model.sizes;
    const adamoe_config *config = &p->model.base->config;
    for (size_t i = 0; i < config->layers * ADAMOE_MAPS; ++i) {
        const size_t layer = i / ADAMOE_MAPS, map = i % ADAMOE_MAPS;
        const adamoe_map_size size = adamoe_map_size_of(config, map);
        adamoe_lora_place *place = &p->place[i];
        place->router = p->count;
        if (s->routed) {
            append(p, layer, map, "lora_router", s->experts + s->null_experts, size.in);
        }
        place->a = append(p, layer, map, "lora_A", s->experts * s->rank, size.in);
        place->b = append(p, layer, map, "lora_B", s->experts * s->rank, size.out);
    }
}

static void view(owned_parameters *o)
{
    const adamoe_lora_parameters *p = &o->parameters;
    const adamoe_lora_sizes *s = &p->model.sizes;
    const adamoe_model *base = p->model.base;
    for (size_t i = 0; i < base->config.layers * ADAMOE_MAPS; ++i) {
        const adamoe_map_size size = adamoe_map_size_of(&base->config, i % ADAMOE_MAPS);
        const size_t routers = s->routed ? s->experts + s->null_experts : 0, rows = s->experts * s->rank;
        const float *value = p->value;
        o->map[i] =
            (adamoe_lora_experts){.frozen = *adamoe_block_map(&base->block[i / ADAMOE_MAPS], i % ADAMOE_MAPS),
                                  .router = {value + p->place[i].router, ADAMOE_F32, routers, size.in},
                                  .a = {value + p->place[i].a, ADAMOE_F32, rows, size.in},
                                  .b = {value + p->place[i].b, ADAMOE_F32, rows, size.out},
                                  .experts = s->experts,
                                  .null_experts = s->null_experts,
                                  .rank = s->rank,
                                  .scale = s->alpha / (double)s->rank};
    }
}

/* In double: a count that overflows is seen to be too large. */
static double floats_of(const adamoe_config *config, const adamoe_lora_sizes *s)
{
    double sum = 0.0;
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        const adamoe_map_size size = adamoe_map_size_of(config, map);
        sum += (double)(s->experts * s->rank) * ((double)size.in + (double)size.out) +
               (double)(s->experts + s->null_experts) * (double)size.in;
    }
    return sum * (double)config->layers;
}

adamoe_status adamoe_lora_parameters_create(const adamoe_model *base, const adamoe_lora_sizes *sizes,
                                            adamoe_lora_parameters **out)
{
    const size_t maps = base->config.layers * ADAMOE_MAPS;
    ADAMOE_TRY(adamoe_lora_sizes_check(&base->config, sizes));
    owned_parameters *o =
        floats_of(&base->config, sizes) > (double)SIZE_MAX / 64.0 ? NULL : calloc(1, sizeof *o);
    if (o != NULL) {
        adamoe_lora_parameters *p = &o->parameters;
        p->model = (adamoe_lora_model){.base = base, .sizes = *sizes};
        p->tensor = calloc(3 * maps + 1, sizeof *p->tensor); /* + 1: calloc(0) may give NULL */
        p->place = calloc(maps + 1, sizeof *p->place);
        o->map = calloc(maps + 1, sizeof *o->map);
        if (p->tensor != NULL && p->place != NULL && o->map != NULL) {
            lay_out(p);
            p->value = adamoe_zeroed_floats(p->count);
        }
        if (p->value != NULL) {
            view(o);
            p->model.map = o->map;
            *out = p;
            return adamoe_ok();
        }
        adamoe_lora_parameters_free(p);
    }
    return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA experts: out of memory for %.0f floats",
                        floats_of(&base->config, sizes));
}

void adamoe_lora_parameters_free(adamoe_lora_parameters *parameters)
{
    owned_parameters *o = (owned_parameters *)(void *)parameters;
    if (o != NULL) {
        free(o->parameters.value);
        free(o->parameters.tensor);
        free(o->parameters.place);
        free(o->map);
        free(o);
    }
}

void adamoe_lora_parameters_initialise(adamoe_lora_parameters *p, uint64_t seed)
{
    for (size_t i = 0; i < p->tensors; ++i) {
        const adamoe_lora_tensor *tensor = &p->tensor[i];
        const bool is_b = strcmp(strrchr(tensor->name, '.'), ".lora_B") == 0;
        const float scale = is_b ? 0.0f : (float)(1.0 / sqrt((double)tensor->columns));
        adamoe_splitmix64 random = adamoe_splitmix64_stream(seed, LORA_STREAM + i);
        for (size_t j = 0; j < tensor->rows * tensor->columns; ++j) {
            p->value[tensor->first + j] = is_b ? 0.0f : scale * adamoe_splitmix64_uniform(&random);
        }
    }
}
