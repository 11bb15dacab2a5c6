/*
 * A router of the table ready to run: which rows its gates have, what its parameters are, and tensors by name.
 */
#include "layers/router_setup.h"
#include "layers/random_layer.h"
#include "numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------- parameters */

/* value = of_top_k * k0 + constant. A router that is not listed here runs with its defaults. */
typedef struct setting {
    const char *router, *parameter;
    double of_top_k, constant;
} setting;

static const setting settings[] = {
    {"adamoe", "top_k", 2.0, 0.0},
    {"top_k", "top_k", 1.0, 0.0},
    {"softmax_token_choice", "top_k", 1.0, 0.0},
    {"sinkhorn_token_choice", "top_k", 1.0, 0.0},
    {"softmax_expert_choice", "capacity_factor", 1.0, 0.0},
    {"sinkhorn_expert_choice", "capacity_factor", 1.0, 0.0},
    {"sparse_expert_choice", "capacity_factor", 1.0, 0.0},
    {"soft_moe", "capacity_factor", 1.0, 0.0},
    {"locmoe", "nodes", 0.0, 2.0},
    {"locmoe_plus", "nodes", 0.0, 2.0},
    {"locmoe_plus", "top_k", 1.0, 0.0},
    {"memoe", "top_k", 1.0, 0.0},
    {"memoe", "lambda", 0.0, 1.0},
    {"loss_free", "top_k", 1.0, 0.0},
    {"loss_free", "normalise", 0.0, 1.0},
    {"longcat", "top_k", 2.0, 0.0},
    {"longcat", "expected_k", 1.0, 0.0},
    {"longcat", "scale", 0.0, 1.0},
    {"longcat", "rate", 0.0, 0.001},
    {"longcat", "groups", 0.0, 1.0},
    {"longcat", "alpha", 0.0, 0.01},
    {"moe_plus_plus", "top_k", 1.0, 1.0},
    {"moe_plus_plus", "constant", 0.0, 1.0},
    {"moe_plus_plus", "copy", 0.0, 1.0},
    {"moe_plus_plus", "zero", 0.0, 1.0},
    {"null_copies", "top_k", 2.0, 0.0},
    {"null_copies", "rho", 0.0, 0.5},
    {"remoe", "target_k", 1.0, 0.0},
};

/* Rows of gate2: so many for each true expert, and so many more. */
typedef struct gate2_rows {
    const char *router;
    size_t of_experts, constant;
} gate2_rows;

static const gate2_rows rows_of_gate2[] = {
    {"adamoe", 1, 0}, {"longcat", 1, 0}, {"moe_plus_plus", 0, 3}, {"null_copies", 0, 1}};

size_t adamoe_router_usual_null_rows(const adamoe_router *router, size_t experts)
{
    for (size_t i = 0; i < sizeof rows_of_gate2 / sizeof *rows_of_gate2; ++i) {
        if (strcmp(rows_of_gate2[i].router, router->name) == 0) {
            return rows_of_gate2[i].of_experts * experts + rows_of_gate2[i].constant;
        }
    }
    return 0;
}

/* Tokens and experts of two nodes, or of one where the experts do not divide. */
static size_t count_nodes(size_t experts)
{
    return experts % 2 == 0 ? 2 : 1;
}

void adamoe_router_usual_parameters(const adamoe_router *router, size_t top_k, size_t experts,
                                    double value[ADAMOE_ROUTER_PARAMETERS])
{
    adamoe_router_defaults(router, value);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; ++i) {
        for (size_t p = 0; strcmp(settings[i].router, router->name) == 0 && p < router->parameters; ++p) {
            if (strcmp(settings[i].parameter, router->parameter[p].name) == 0) {
                const bool nodes = strcmp(settings[i].parameter, "nodes") == 0;
                value[p] = nodes ? (double)count_nodes(experts)
                                 : settings[i].of_top_k * (double)top_k + settings[i].constant;
            }
        }
    }
}

void adamoe_router_usual_model_parameters(const adamoe_router *router, size_t top_k, size_t experts,
                                          double value[ADAMOE_ROUTER_PARAMETERS])
{
    double constant = 0.0;
    adamoe_router_usual_parameters(router, top_k, experts, value);
    for (size_t p = 0; p < router->parameters; ++p) { /* in its table `constant` comes before `zero` */
        if (strcmp(router->parameter[p].name, "constant") == 0) {
            constant = value[p];
            value[p] = 0.0;
        } else if (strcmp(router->parameter[p].name, "zero") == 0) {
            value[p] += constant;
        }
    }
}

/* ------------------------------------------------------------------------------------------------ tensors */

/* Keeps memory for the setup to free; NULL where there is none. */
static void *keep(adamoe_router_setup *out, size_t bytes)
{
    void *memory = out->blocks < ADAMOE_SETUP_TENSORS ? calloc(bytes + 1, 1) : NULL;
    if (memory != NULL) {
        out->memory[out->blocks++] = memory;
    }
    return memory;
}

static void add_view(adamoe_router_setup *out, const char *name, adamoe_matrix matrix)
{
    out->tensor[out->call.tensors++] = (adamoe_router_tensor){.name = name, .matrix = matrix};
}

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
}

/* A matrix [rows, columns] of nearly normal values of this deviation, drawn by its name; 0 for a deviation of 0. */
static adamoe_status add_random(const adamoe_router_subject *subject, adamoe_router_setup *out,
                                const char *name, size_t rows, size_t columns, double deviation)
{
    float *values = keep(out, rows * columns * sizeof *values);
    if (values == NULL) {
        return no_memory();
    }
    adamoe_splitmix64 random = adamoe_random_for(name, subject->seed);
    adamoe_random_states(&random, rows * columns, values);
    for (size_t i = 0; i < rows * columns; ++i) {
        values[i] = (float)((double)values[i] * deviation);
    }
    add_view(out, name, (adamoe_matrix){values, ADAMOE_F32, rows, columns});
    return adamoe_ok();
}

/* The layer's gate, or a drawn one; with `more` columns, which are drawn. */
static adamoe_status add_gate(const adamoe_router_subject *subject, adamoe_router_setup *out, size_t more)
{
    static const char name[] = "block_sparse_moe.gate.weight";
    const adamoe_layer *layer = subject->layer;
    const size_t d = layer->hidden_size;
    if (layer->gate.rows == layer->experts && more == 0) {
        add_view(out, name, layer->gate);
        return adamoe_ok();
    }
    ADAMOE_TRY(add_random(subject, out, name, layer->experts, d + more, 1.0 / sqrt((double)d)));
    float *values = out->memory[out->blocks - 1];
    for (size_t i = 0; layer->gate.rows == layer->experts && i < layer->experts * d; ++i) {
        values[i / d * (d + more) + i % d] = adamoe_element(layer->gate.data, layer->gate.dtype, i);
    }
    return adamoe_ok();
}

/* Token s is at home where its place in the batch is: runs of equal length. */
static adamoe_status add_homes(const adamoe_router_subject *subject, adamoe_router_setup *out)
{
    int64_t *home = keep(out, subject->tokens * sizeof *home);
    if (home == NULL) {
        return no_memory();
    }
    for (size_t s = 0; s < subject->tokens; ++s) {
        home[s] = (int64_t)(s * count_nodes(subject->layer->experts) / subject->tokens);
    }
    add_view(out, "router.home", (adamoe_matrix){home, ADAMOE_I64, 1, subject->tokens});
    return adamoe_ok();
}

/* MEMoE: four anchors of eight values for every other token, and the first expert as the frozen base. */
static adamoe_status add_anchors(const adamoe_router_subject *subject, adamoe_router_setup *out)
{
    enum { ANCHORS = 4, WIDTH = 8 };
    const adamoe_expert *base = &subject->layer->expert[0];
    int64_t *id = keep(out, subject->tokens * sizeof *id);
    if (id == NULL) {
        return no_memory();
    }
    for (size_t s = 0; s < subject->tokens; ++s) {
        id[s] = s % 2 == 0 ? -1 : (int64_t)(s / 2 % ANCHORS);
    }
    add_view(out, "router.anchor_id", (adamoe_matrix){id, ADAMOE_I64, 1, subject->tokens});
    ADAMOE_TRY(add_random(subject, out, "router.anchors", ANCHORS, WIDTH, 1.0));
    add_view(out, "mlp.gate_proj.weight", base->w1);
    add_view(out, "mlp.up_proj.weight", base->w3);
    add_view(out, "mlp.down_proj.weight", base->w2);
    return add_gate(subject, out, WIDTH);
}

/* Soft MoE: as many rows as the router has slots for. phi and tokens are normalised, so that a scale of sqrt(d)
 * gives logits the deviation that those of a gate have. */
static adamoe_status add_slots(const adamoe_router_subject *subject, adamoe_router_setup *out)
{
    const size_t d = subject->layer->hidden_size, n = subject->layer->experts;
    const double share = nearbyint((double)subject->tokens * (double)subject->top_k / (double)n);
    float *scale = keep(out, sizeof *scale);
    if (scale == NULL) {
        return no_memory();
    }
    *scale = sqrtf((float)d);
    add_view(out, "router.scale", (adamoe_matrix){scale, ADAMOE_F32, 1, 1});
    return add_random(subject, out, "router.phi", n * (size_t)fmax(1.0, share), d, 1.0);
}

static adamoe_status add_tensors(const adamoe_router_subject *subject, adamoe_router_setup *out)
{
    const size_t d = subject->layer->hidden_size, n = subject->layer->experts;
    const size_t null_rows = adamoe_router_usual_null_rows(out->router, n);
    const double deviation = 1.0 / sqrt((double)d);
    if (strcmp(out->router->name, "memoe") == 0) {
        return add_anchors(subject, out);
    }
    if (strcmp(out->router->name, "soft_moe") == 0) {
        return add_slots(subject, out);
    }
    ADAMOE_TRY(add_gate(subject, out, 0));
    ADAMOE_TRY(add_homes(subject, out));
    ADAMOE_TRY(add_random(subject, out, "router.bias", 1, n + null_rows, 0.0));
    if (null_rows > 0) {
        ADAMOE_TRY(add_random(subject, out, "block_sparse_moe.gate2.weight", null_rows, d, deviation));
    }
    ADAMOE_TRY(add_random(subject, out, "router.constant.0.gate", 2, d, deviation));
    return add_random(subject, out, "router.constant.0.vector", 1, d, 1.0);
}

adamoe_status adamoe_router_setup_create(const adamoe_router *router, const adamoe_router_subject *subject,
                                         adamoe_router_setup *out)
{
    *out = (adamoe_router_setup){.router = router,
                                 .call = {.tokens = subject->tokens,
                                          .hidden_size = subject->layer->hidden_size,
                                          .experts = subject->layer->experts,
                                          .hidden_states = subject->x}};
    out->call.tensor = out->tensor;
    adamoe_router_usual_parameters(router, subject->top_k, subject->layer->experts, out->call.value);
    const adamoe_status status = add_tensors(subject, out);
    if (status.code != ADAMOE_OK) {
        adamoe_router_setup_free(out);
    }
    return status;
}

void adamoe_router_setup_free(adamoe_router_setup *setup)
{
    for (size_t i = 0; i < setup->blocks; ++i) {
        free(setup->memory[i]);
    }
    setup->blocks = 0;
}
