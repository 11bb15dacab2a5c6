/*
 * The layout of a model's weights in one array.
 */
#include "train/parameters.h"
#include "machine/huge_pages.h"
#include "numbers.h"
#include "splitmix64.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>

/* What a parameters object owns beside what its header shows. */
typedef struct owned_parameters {
    adamoe_parameters parameters; /* first, so that a pointer to it is one to this */
    adamoe_weights weights;       /* the arrays of its model */
} owned_parameters;

static void lay_out(adamoe_parameters *p)
{
    const adamoe_config *config = &p->model.config;
    adamoe_model_tensor tensor;
    for (adamoe_tensor_walk walk = {.config = config}; adamoe_next_tensor(&walk, &tensor);) {
        const adamoe_tensor_name name = adamoe_name_of_tensor(&tensor, adamoe_naming_of(config), "model.");
        adamoe_parameter *parameter = &p->parameter[p->parameters++];
        *parameter = (adamoe_parameter){.kind = tensor.kind,
                                        .first = p->count,
                                        .rank = tensor.rank,
                                        .rows = tensor.rows,
                                        .columns = tensor.columns};
        (void)snprintf(parameter->name, sizeof parameter->name, "%s", name.text);
        p->count += tensor.rows * tensor.columns;
    }
}

static void view(owned_parameters *o)
{
    adamoe_parameters *p = &o->parameters;
    adamoe_model *model = &o->weights.model;
    adamoe_model_tensor tensor;
    size_t i = 0;
    for (adamoe_tensor_walk walk = {.config = &model->config}; adamoe_next_tensor(&walk, &tensor); ++i) {
        *adamoe_weights_at(&o->weights, &tensor) =
            (adamoe_matrix){p->value + p->parameter[i].first, ADAMOE_F32, tensor.rows, tensor.columns};
    }
    model->head = model->config.architecture.tied_head ? model->embedding : model->head;
    p->model = *model;
}

static adamoe_status out_of_memory(double floats)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "parameters: out of memory for %.0f floats", floats);
}

adamoe_status adamoe_parameters_create(const adamoe_config *config, adamoe_parameters **out)
{
    ADAMOE_TRY(adamoe_norm_trains(config->rule.norm));
    const adamoe_tensor_totals totals = adamoe_count_tensors(config);
    if (totals.elements > (double)SIZE_MAX / 64.0) {
        return out_of_memory(totals.elements);
    }
    owned_parameters *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return out_of_memory(totals.elements);
    }
    adamoe_parameters *p = &o->parameters;
    p->model.config = *config;
    p->parameter = calloc((size_t)totals.tensors, sizeof *p->parameter);
    if (p->parameter != NULL && adamoe_weights_create(config, &o->weights).code == ADAMOE_OK) {
        lay_out(p);
        p->value = adamoe_zeroed_floats(p->count);
    }
    if (p->value == NULL) {
        adamoe_parameters_free(p);
        return out_of_memory(totals.elements);
    }
    view(o);
    *out = p;
    return adamoe_ok();
}

void adamoe_parameters_free(adamoe_parameters *parameters)
{
    owned_parameters *o = (owned_parameters *)(void *)parameters;
    if (o != NULL) {
        free(o->parameters.value);
        free(o->parameters.parameter);
        adamoe_weights_free(&o->weights);
        free(o);
    }
}

static void widen(const adamoe_matrix *from, float *to)
{
    for (size_t i = 0; i < from->rows * from->columns; ++i) {
        to[i] = adamoe_element(from->data, from->dtype, i);
    }
}

void adamoe_parameters_copy(adamoe_parameters *p, const adamoe_model *model)
{
    adamoe_model_tensor tensor;
    size_t i = 0;
    for (adamoe_tensor_walk walk = {.config = &p->model.config}; adamoe_next_tensor(&walk, &tensor); ++i) {
        widen(adamoe_model_at(model, &tensor), p->value + p->parameter[i].first);
    }
}

static void draw(float *value, size_t count, adamoe_splitmix64 random, float scale)
{
    for (size_t j = 0; j < count; ++j) {
        value[j] = scale * adamoe_splitmix64_uniform(&random);
    }
}

void adamoe_parameters_copy_gates(adamoe_parameters *p)
{
    const adamoe_config *c = &p->model.config;
    if (c->null_experts % c->experts != 0) {
        return;
    }
    const size_t copy = c->experts * c->hidden_size;
    for (size_t layer = 0; layer < c->layers; ++layer) {
        const adamoe_layer *moe = &p->model.block[layer].moe;
        const float *gate = moe->gate.data;
        float *gate2 = p->value + adamoe_parameter_place(p, &moe->gate2);
        for (size_t i = 0; i < c->null_experts * c->hidden_size; ++i) {
            gate2[i] = gate[i % copy];
        }
    }
}

void adamoe_parameters_initialise(adamoe_parameters *p, uint64_t seed, double deviation)
{
    const adamoe_config *c = &p->model.config;
    adamoe_model_tensor tensor;
    size_t i = 0;
    for (adamoe_tensor_walk walk = {.config = c}; adamoe_next_tensor(&walk, &tensor); ++i) {
        float *value = p->value + p->parameter[i].first;
        const size_t count = tensor.rows * tensor.columns;
        const double damping = tensor.to_residual ? sqrt(2.0 * (double)c->layers) : 1.0;
        if (tensor.rank == 2) { /* a uniform number in -1 .. 1 has the deviation 1 / sqrt(3) */
            draw(value, count, adamoe_splitmix64_stream(seed, i), (float)(deviation * sqrt(3.0) / damping));
        }
        for (size_t j = 0; j < count && tensor.rank == 1; ++j) {
            value[j] = tensor.kind == ADAMOE_GAINS ? 1.0f : 0.0f;
        }
    }
    adamoe_parameters_copy_gates(p);
}
