/*
 * The layout of a model's weights in one array.
 */
#include "train/parameters.h"
#include "machine/huge_pages.h"
#include "numbers.h"
#include "train/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a parameters object owns beside what its header shows. */
typedef struct owned_parameters {
    adamoe_parameters parameters; /* first, so that a pointer to it is one to this */
    adamoe_block *block;
    adamoe_expert *expert; /* [layers, n] */
} owned_parameters;

static size_t parameters_of(const adamoe_config *c)
{
    const size_t router = c->dense ? 0 : 2;
    return 3 + c->layers * (6 + router + 3 * c->experts);
}

/* In double: counts that overflow are seen to be too large. */
static double floats_of(const adamoe_config *c)
{
    const double d = (double)c->hidden_size, heads = (double)(c->heads + c->key_value_heads);
    const double experts = 3.0 * (double)c->experts * (double)c->intermediate_size;
    const double layer = 2.0 * heads * (double)c->head_dim + experts + (double)(c->experts + c->null_experts);
    return d * (2.0 * (double)c->vocab_size + 1.0 + (double)c->layers * (layer + 2.0));
}

/* Appends a parameter; returns where it begins. */
static size_t append(adamoe_parameters *p, unsigned kind, size_t rank, size_t rows, size_t columns,
                     const char *front, const char *name)
{
    adamoe_parameter *parameter = &p->parameter[p->parameters++];
    *parameter =
        (adamoe_parameter){.kind = kind, .first = p->count, .rank = rank, .rows = rows, .columns = columns};
    (void)snprintf(parameter->name, sizeof parameter->name, "%s%s.weight", front, name);
    p->count += rows * columns;
    return parameter->first;
}

static size_t append_experts(adamoe_parameters *p, const char *front)
{
    const adamoe_config *c = &p->model.config;
    const size_t first = p->count, d = c->hidden_size, ff = c->intermediate_size;
    static const char *const dense[] = {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"};
    static const char *const sparse[] = {"w1", "w3", "w2"};
    for (size_t e = 0; e < c->experts; ++e) {
        for (size_t i = 0; i < 3; ++i) {
            char name[64];
            (void)snprintf(name, sizeof name, "block_sparse_moe.experts.%zu.%s", e, sparse[i]);
            append(p, ADAMOE_EXPERTS, 2, i == 2 ? d : ff, i == 2 ? ff : d, front, c->dense ? dense[i] : name);
        }
    }
    return first;
}

static void lay_out_block(adamoe_parameters *p, size_t layer)
{
    const adamoe_config *c = &p->model.config;
    const size_t d = c->hidden_size, q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    adamoe_parameter_block *b = &p->block[layer];
    char front[48];
    (void)snprintf(front, sizeof front, "model.layers.%zu.", layer);
    b->input_norm = append(p, ADAMOE_GAINS, 1, 1, d, front, "input_layernorm");
    b->q = append(p, ADAMOE_ATTENTION, 2, q, d, front, "self_attn.q_proj");
    b->k = append(p, ADAMOE_ATTENTION, 2, kv, d, front, "self_attn.k_proj");
    b->v = append(p, ADAMOE_ATTENTION, 2, kv, d, front, "self_attn.v_proj");
    b->o = append(p, ADAMOE_ATTENTION, 2, d, q, front, "self_attn.o_proj");
    b->post_attention_norm = append(p, ADAMOE_GAINS, 1, 1, d, front, "post_attention_layernorm");
    b->gate = b->gate2 = p->count;
    if (!c->dense) {
        b->gate = append(p, ADAMOE_ROUTER, 2, c->experts, d, front, "block_sparse_moe.gate");
        b->gate2 = append(p, ADAMOE_ROUTER, 2, c->null_experts, d, front, "block_sparse_moe.gate2");
    }
    b->experts = append_experts(p, front);
}

static void lay_out(adamoe_parameters *p)
{
    const adamoe_config *c = &p->model.config;
    p->embedding = append(p, ADAMOE_EMBEDDING, 2, c->vocab_size, c->hidden_size, "model.", "embed_tokens");
    for (size_t layer = 0; layer < c->layers; ++layer) {
        lay_out_block(p, layer);
    }
    p->final_norm = append(p, ADAMOE_GAINS, 1, 1, c->hidden_size, "model.", "norm");
    p->head =
        c->tied_head ? p->embedding : append(p, ADAMOE_HEAD, 2, c->vocab_size, c->hidden_size, "", "lm_head");
}

static adamoe_matrix view(const adamoe_parameters *p, size_t first, size_t rows, size_t columns)
{
    return (adamoe_matrix){p->value + first, ADAMOE_F32, rows, columns};
}

static void view_block(owned_parameters *o, size_t layer)
{
    const adamoe_parameters *p = &o->parameters;
    const adamoe_config *c = &p->model.config;
    const adamoe_parameter_block *b = &p->block[layer];
    const size_t d = c->hidden_size, ff = c->intermediate_size, q = c->heads * c->head_dim,
                 kv = c->key_value_heads * c->head_dim;
    adamoe_expert *expert = o->expert + layer * c->experts;
    for (size_t e = 0; e < c->experts; ++e) {
        const size_t first = b->experts + e * adamoe_expert_floats(c);
        expert[e] = (adamoe_expert){.w1 = view(p, first, ff, d),
                                    .w3 = view(p, first + ff * d, ff, d),
                                    .w2 = view(p, first + 2 * ff * d, d, ff)};
    }
    o->block[layer] = (adamoe_block){
        .input_norm = view(p, b->input_norm, 1, d),
        .post_attention_norm = view(p, b->post_attention_norm, 1, d),
        .attention = {view(p, b->q, q, d), view(p, b->k, kv, d), view(p, b->v, kv, d), view(p, b->o, d, q)},
        .moe = {.hidden_size = d,
                .intermediate_size = ff,
                .experts = c->experts,
                .null_experts = c->null_experts,
                .gate = view(p, b->gate, c->dense ? 0 : c->experts, d),
                .gate2 = view(p, b->gate2, c->null_experts, d),
                .expert = expert}};
}

static void view_all(owned_parameters *o)
{
    adamoe_parameters *p = &o->parameters;
    const size_t vocab = p->model.config.vocab_size, d = p->model.config.hidden_size;
    for (size_t layer = 0; layer < p->model.config.layers; ++layer) {
        view_block(o, layer);
    }
    p->model.embedding = view(p, p->embedding, vocab, d);
    p->model.final_norm = view(p, p->final_norm, 1, d);
    p->model.head = view(p, p->head, vocab, d);
    p->model.block = o->block;
}

static adamoe_status out_of_memory(const adamoe_config *config)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "parameters: out of memory for %.0f floats", floats_of(config));
}

adamoe_status adamoe_parameters_create(const adamoe_config *config, adamoe_parameters **out)
{
    if (floats_of(config) > (double)SIZE_MAX / 64.0) {
        return out_of_memory(config);
    }
    owned_parameters *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return out_of_memory(config);
    }
    adamoe_parameters *p = &o->parameters;
    p->model.config = *config;
    p->parameter = calloc(parameters_of(config), sizeof *p->parameter);
    p->block = calloc(config->layers + 1, sizeof *p->block); /* + 1: calloc(0) may give NULL */
    o->block = calloc(config->layers + 1, sizeof *o->block);
    o->expert = calloc(config->layers * config->experts + 1, sizeof *o->expert);
    bool complete = p->parameter != NULL && p->block != NULL && o->block != NULL && o->expert != NULL;
    if (complete) {
        lay_out(p);
        p->value = adamoe_zeroed_floats(p->count);
        complete = p->value != NULL;
    }
    if (!complete) {
        adamoe_parameters_free(p);
        return out_of_memory(config);
    }
    view_all(o);
    *out = p;
    return adamoe_ok();
}

void adamoe_parameters_free(adamoe_parameters *parameters)
{
    owned_parameters *o = (owned_parameters *)(void *)parameters;
    if (o != NULL) {
        free(o->parameters.value);
        free(o->parameters.parameter);
        free(o->parameters.block);
        free(o->block);
        free(o->expert);
        free(o);
    }
}

static void widen(const adamoe_matrix *from, float *to)
{
    for (size_t i = 0; i < from->rows * from->columns; ++i) {
        to[i] = adamoe_element(from->data, from->dtype, i);
    }
}

static void copy_block(adamoe_parameters *p, const adamoe_block *from, const adamoe_parameter_block *to)
{
    const adamoe_config *c = &p->model.config;
    const size_t matrix = c->hidden_size * c->intermediate_size;
    widen(&from->input_norm, p->value + to->input_norm);
    widen(&from->attention.q, p->value + to->q);
    widen(&from->attention.k, p->value + to->k);
    widen(&from->attention.v, p->value + to->v);
    widen(&from->attention.o, p->value + to->o);
    widen(&from->post_attention_norm, p->value + to->post_attention_norm);
    widen(&from->moe.gate, p->value + to->gate);
    widen(&from->moe.gate2, p->value + to->gate2);
    for (size_t e = 0; e < c->experts; ++e) {
        float *expert = p->value + to->experts + e * adamoe_expert_floats(c);
        widen(&from->moe.expert[e].w1, expert);
        widen(&from->moe.expert[e].w3, expert + matrix);
        widen(&from->moe.expert[e].w2, expert + 2 * matrix);
    }
}

void adamoe_parameters_copy(adamoe_parameters *p, const adamoe_model *model)
{
    widen(&model->embedding, p->value + p->embedding);
    widen(&model->final_norm, p->value + p->final_norm);
    widen(&model->head, p->value + p->head);
    for (size_t layer = 0; layer < p->model.config.layers; ++layer) {
        copy_block(p, &model->block[layer], &p->block[layer]);
    }
}

static bool has_suffix(const char *text, const char *suffix)
{
    const size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

/* True for what writes to the residual. */
static bool is_output(const char *name)
{
    return has_suffix(name, ".o_proj.weight") || has_suffix(name, ".w2.weight") ||
           has_suffix(name, ".down_proj.weight");
}

void adamoe_parameters_initialise(adamoe_parameters *p, uint64_t seed, double deviation)
{
    const adamoe_config *c = &p->model.config;
    for (size_t i = 0; i < p->parameters; ++i) {
        const adamoe_parameter *parameter = &p->parameter[i];
        const double damping = is_output(parameter->name) ? sqrt(2.0 * (double)c->layers) : 1.0;
        /* A uniform number in -1 .. 1 has the deviation 1 / sqrt(3). */
        const float scale = (float)(deviation * sqrt(3.0) / damping);
        uint64_t state = adamoe_random_stream(seed, i);
        for (size_t j = 0; j < parameter->rows * parameter->columns; ++j) {
            p->value[parameter->first + j] =
                parameter->kind == ADAMOE_GAINS ? 1.0f : scale * adamoe_random_uniform(&state);
        }
    }
    for (size_t layer = 0; layer < c->layers && c->null_experts % c->experts == 0; ++layer) {
        float *gate = p->value + p->block[layer].gate, *gate2 = p->value + p->block[layer].gate2;
        const size_t copy = c->experts * c->hidden_size;
        for (size_t i = 0; i < c->null_experts * c->hidden_size; ++i) {
            gate2[i] = gate[i % copy];
        }
    }
}
