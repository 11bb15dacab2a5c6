/*
 * Small random models in memory. Matrices stand in one array, in the order in which `place` names them.
 */
#include "check/cases/models.h"
#include "layers/random_layer.h"

#include <math.h>
#include <stdlib.h>

const char *const adamoe_check_model_names[ADAMOE_CHECK_MODELS] = {
    "grouped-heads", "sliding-window", "one-key-head",      "all-heads",    "dense",
    "identity",      "tied-head",      "many-null-experts", "not-a-number",
};

#define ADAMOE_CHECK_MODEL_OF_NAN (ADAMOE_CHECK_MODELS - 1)

#define COMMON                                                                                               \
    .vocab_size = 61, .hidden_size = 32, .intermediate_size = 24, .layers = 2, .heads = 4, .head_dim = 8,    \
    .rms_norm_eps = 1e-5, .rope_theta = 10000.0, .context = 64

static const adamoe_config configs[ADAMOE_CHECK_MODELS] = {
    {COMMON, .key_value_heads = 2, .experts = 4, .null_experts = 4, .rule = {.top_k = 3}},
    {COMMON, .key_value_heads = 2, .experts = 4, .null_experts = 4, .rule = {.top_k = 3},
     .sliding_window = 5},
    {COMMON, .key_value_heads = 1, .experts = 4, .null_experts = 0, .rule = {.top_k = 2}},
    {COMMON, .key_value_heads = 4, .experts = 3, .null_experts = 2,
     .rule = {.top_k = 5, .norm = ADAMOE_NORM_ALL}},
    {COMMON, .key_value_heads = 2, .experts = 1, .null_experts = 0, .dense = true, .rule = {.top_k = 1}},
    {COMMON, .key_value_heads = 2, .experts = 2, .null_experts = 2,
     .rule = {.top_k = 4, .null_kind = ADAMOE_NULL_IDENTITY}},
    {COMMON, .key_value_heads = 2, .experts = 4, .null_experts = 4, .rule = {.top_k = 3}, .tied_head = true},
    {COMMON, .key_value_heads = 2, .experts = 2, .null_experts = 14, .sliding_window = 3,
     .rule = {.top_k = 4, .norm = ADAMOE_NORM_NONE}},
    {COMMON, .key_value_heads = 2, .experts = 4, .null_experts = 4, .rule = {.top_k = 3}},
};

/* A matrix is placed behind the ones before it; in the first pass, without memory, they are only counted. */
static adamoe_matrix place(adamoe_check_model *m, size_t rows, size_t columns)
{
    const adamoe_matrix matrix = {m->weights == NULL ? NULL : m->weights + m->count, ADAMOE_F32, rows,
                                  columns};
    m->count += rows * columns;
    return matrix;
}

/* What to do with a matrix once it has memory. */
typedef void visit_function(void *context, float *values, size_t rows, size_t columns, bool is_gain);

static adamoe_matrix visit(adamoe_check_model *m, size_t rows, size_t columns, visit_function *with,
                           void *context)
{
    const adamoe_matrix matrix = place(m, rows, columns);
    if (m->weights != NULL) {
        with(context, m->weights + m->count - rows * columns, rows, columns, rows == 1);
    }
    return matrix;
}

static void visit_block(adamoe_check_model *m, size_t layer, visit_function *with, void *context)
{
    const adamoe_config *c = &m->model.config;
    const size_t d = c->hidden_size, width = c->heads * c->head_dim,
                 narrow = c->key_value_heads * c->head_dim;
    adamoe_block *block = &m->block[layer];
    block->input_norm = visit(m, 1, d, with, context);
    block->post_attention_norm = visit(m, 1, d, with, context);
    block->attention.q = visit(m, width, d, with, context);
    block->attention.k = visit(m, narrow, d, with, context);
    block->attention.v = visit(m, narrow, d, with, context);
    block->attention.o = visit(m, d, width, with, context);
    block->moe = (adamoe_layer){.hidden_size = d,
                                .intermediate_size = c->intermediate_size,
                                .experts = c->experts,
                                .null_experts = c->null_experts,
                                .expert = m->expert + layer * c->experts};
    block->moe.gate = visit(m, c->dense ? 0 : c->experts, d, with, context);
    block->moe.gate2 = visit(m, c->null_experts, d, with, context);
    for (size_t e = 0; e < c->experts; ++e) {
        adamoe_expert *expert = &m->expert[layer * c->experts + e];
        expert->w1 = visit(m, c->intermediate_size, d, with, context);
        expert->w3 = visit(m, c->intermediate_size, d, with, context);
        expert->w2 = visit(m, d, c->intermediate_size, with, context);
    }
}

static void visit_all(adamoe_check_model *m, visit_function *with, void *context)
{
    const adamoe_config *c = &m->model.config;
    m->count = 0;
    m->model.embedding = visit(m, c->vocab_size, c->hidden_size, with, context);
    m->model.final_norm = visit(m, 1, c->hidden_size, with, context);
    m->model.head =
        c->tied_head ? m->model.embedding : visit(m, c->vocab_size, c->hidden_size, with, context);
    for (size_t layer = 0; layer < c->layers; ++layer) {
        visit_block(m, layer, with, context);
    }
    m->model.block = m->block;
}

static adamoe_status create(size_t index, visit_function *with, void *context, adamoe_check_model *out)
{
    *out = (adamoe_check_model){.model = {.config = configs[index]}};
    const adamoe_config *c = &out->model.config;
    out->block = calloc(c->layers, sizeof *out->block);
    out->expert = calloc(c->layers * c->experts, sizeof *out->expert);
    if (out->block != NULL && out->expert != NULL) {
        visit_all(out, with, context);
        out->weights = calloc(out->count + 1, sizeof *out->weights);
    }
    if (out->weights == NULL) {
        adamoe_check_model_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    visit_all(out, with, context);
    return adamoe_ok();
}

/* Gains are around 1, a matrix keeps the size of what it multiplies. */
static void draw(void *context, float *values, size_t rows, size_t columns, bool is_gain)
{
    adamoe_random_values(context, ADAMOE_F32, is_gain ? 0.5 : 1.7 * adamoe_weight_bound(columns),
                         rows * columns, values);
    for (size_t i = 0; i < columns && is_gain; ++i) {
        values[i] += 1.0f;
    }
}

adamoe_status adamoe_check_model_create(size_t index, uint64_t seed, adamoe_check_model *out)
{
    adamoe_splitmix64 random = adamoe_random_for(adamoe_check_model_names[index], seed);
    ADAMOE_TRY(create(index, draw, &random, out));
    if (index == ADAMOE_CHECK_MODEL_OF_NAN) {
        const adamoe_matrix *gate = &out->block[1].moe.gate;
        out->weights[(const float *)gate->data - out->weights + 2 * (ptrdiff_t)gate->columns] = NAN;
    }
    return adamoe_ok();
}

typedef struct perturbation {
    adamoe_splitmix64 *random;
    const float *from;
    double operand_roundoff;
} perturbation;

static void perturb(void *context, float *values, size_t rows, size_t columns, bool is_gain)
{
    perturbation *p = context;
    (void)is_gain;
    for (size_t i = 0; i < rows * columns; ++i) {
        const double variance =
            2.0 * (double)columns * 0x1p-48 + 2.0 * p->operand_roundoff * p->operand_roundoff;
        const double step = adamoe_splitmix64_normal(p->random) * sqrt(variance);
        values[i] = (float)((double)*p->from++ * (1.0 + step));
    }
}

adamoe_status adamoe_check_model_perturbed(size_t index, const adamoe_check_model *from,
                                           adamoe_splitmix64 *random, double operand_roundoff,
                                           adamoe_check_model *out)
{
    perturbation p = {.random = random, .from = from->weights, .operand_roundoff = operand_roundoff};
    return create(index, perturb, &p, out);
}

void adamoe_check_model_free(adamoe_check_model *model)
{
    free(model->block);
    free(model->expert);
    free(model->weights);
    *model = (adamoe_check_model){0};
}
