/*
 * Small random models in memory, their tensors in one array.
 */
#include "check/cases/models.h"
#include "layers/random_layer.h"

#include <math.h>
#include <stdlib.h>

const char *const adamoe_check_model_names[ADAMOE_CHECK_MODELS] = {
    "grouped-heads", "sliding-window", "one-key-head",      "all-heads",    "dense",
    "identity",      "tied-head",      "many-null-experts", "head-norm",    "width-norm",
    "shared-expert", "multipliers",    "llama3-rotary",     "not-a-number",
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
    {COMMON, .key_value_heads = 2, .experts = 1, .null_experts = 0, .architecture.dense = true,
     .rule = {.top_k = 1}},
    {COMMON, .key_value_heads = 2, .experts = 2, .null_experts = 2,
     .rule = {.top_k = 4, .null_kind = ADAMOE_NULL_IDENTITY}},
    {COMMON, .key_value_heads = 2, .experts = 4, .null_experts = 4, .rule = {.top_k = 3},
     .architecture.tied_head = true},
    {COMMON, .key_value_heads = 2, .experts = 2, .null_experts = 14, .sliding_window = 3,
     .rule = {.top_k = 4, .norm = ADAMOE_NORM_NONE}},
    {COMMON, .key_value_heads = 2, .experts = 4, .null_experts = 4, .rule = {.top_k = 3},
     .architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS},
    {COMMON, .key_value_heads = 2, .experts = 3, .null_experts = 1,
     .rule = {.top_k = 4, .norm = ADAMOE_NORM_NONE},
     .architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_WIDTH},
    {COMMON, .key_value_heads = 2, .experts = 2, .null_experts = 2, .shared_intermediate_size = 20,
     .rule = {.top_k = 4, .norm = ADAMOE_NORM_NONE}, .architecture = {.biases = true, .shared_expert = true}},
    {COMMON, .key_value_heads = 2, .experts = 3, .null_experts = 3, .rule = {.top_k = 6},
     .multiplier = {.embedding = 6.0, .attention = 0.2, .residual = 0.35, .logits = 3.0},
     .architecture.multipliers = true},
    {COMMON, .key_value_heads = 2, .experts = 1, .null_experts = 0, .architecture.dense = true,
     .rule = {.top_k = 1},
     .rope_scaling = {.type = ADAMOE_ROPE_LLAMA3,
                      .factor = 8.0,
                      .low_frequency_factor = 1.0,
                      .high_frequency_factor = 4.0,
                      .original_context = 64.0}},
    {COMMON, .key_value_heads = 2, .experts = 4, .null_experts = 4, .rule = {.top_k = 3}},
};

/* What to do with a tensor once it has memory. */
typedef void visit_function(void *context, float *values, const adamoe_model_tensor *tensor);

/* Tensors are placed behind one another; in the first pass, without memory, they are only counted. */
static void visit(adamoe_check_model *m, const adamoe_model_tensor *tensor, visit_function *with,
                  void *context)
{
    if (m->value != NULL) {
        float *values = m->value + m->count;
        *adamoe_weights_at(&m->weights, tensor) =
            (adamoe_matrix){values, ADAMOE_F32, tensor->rows, tensor->columns};
        with(context, values, tensor);
    }
    m->count += tensor->rows * tensor->columns;
}

/* A seed draws the tensors of the whole model first, then those of each layer, gains before matrices. */
static size_t turn_of(const adamoe_model_tensor *tensor)
{
    return tensor->scope == ADAMOE_TENSOR_OF_MODEL ? 0
                                                   : 1 + 2 * tensor->layer + (tensor->kind != ADAMOE_GAINS);
}

static void visit_all(adamoe_check_model *m, visit_function *with, void *context)
{
    adamoe_model *model = &m->weights.model;
    m->count = 0;
    for (size_t turn = 0; turn <= 2 * model->config.layers; ++turn) {
        adamoe_model_tensor tensor;
        for (adamoe_tensor_walk walk = {.config = &model->config}; adamoe_next_tensor(&walk, &tensor);) {
            if (turn_of(&tensor) == turn) {
                visit(m, &tensor, with, context);
            }
        }
    }
    model->head = model->config.architecture.tied_head ? model->embedding : model->head;
}

static adamoe_status create(size_t index, visit_function *with, void *context, adamoe_check_model *out)
{
    *out = (adamoe_check_model){.value = NULL};
    ADAMOE_TRY(adamoe_weights_create(&configs[index], &out->weights));
    visit_all(out, with, context);
    out->value = calloc(out->count + 1, sizeof *out->value);
    if (out->value == NULL) {
        adamoe_check_model_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    visit_all(out, with, context);
    return adamoe_ok();
}

/* Gains are around 1, a matrix keeps the size of what it multiplies. */
static void draw(void *context, float *values, const adamoe_model_tensor *tensor)
{
    const bool is_gain = tensor->kind == ADAMOE_GAINS;
    adamoe_random_values(context, ADAMOE_F32, is_gain ? 0.5 : 1.7 * adamoe_weight_bound(tensor->columns),
                         tensor->rows * tensor->columns, values);
    for (size_t i = 0; i < tensor->columns && is_gain; ++i) {
        values[i] += 1.0f;
    }
}

adamoe_status adamoe_check_model_create(size_t index, uint64_t seed, adamoe_check_model *out)
{
    adamoe_splitmix64 random = adamoe_random_for(adamoe_check_model_names[index], seed);
    ADAMOE_TRY(create(index, draw, &random, out));
    if (index == ADAMOE_CHECK_MODEL_OF_NAN) {
        const adamoe_matrix *gate = &out->weights.block[1].moe.gate;
        out->value[(const float *)gate->data - out->value + 2 * (ptrdiff_t)gate->columns] = NAN;
    }
    return adamoe_ok();
}

typedef struct perturbation {
    adamoe_splitmix64 *random;
    const float *from;
    double operand_roundoff;
} perturbation;

static void perturb(void *context, float *values, const adamoe_model_tensor *tensor)
{
    perturbation *p = context;
    for (size_t i = 0; i < tensor->rows * tensor->columns; ++i) {
        const double variance =
            2.0 * (double)tensor->columns * 0x1p-48 + 2.0 * p->operand_roundoff * p->operand_roundoff;
        const double step = adamoe_splitmix64_normal(p->random) * sqrt(variance);
        values[i] = (float)((double)*p->from++ * (1.0 + step));
    }
}

adamoe_status adamoe_check_model_perturbed(size_t index, const adamoe_check_model *from,
                                           adamoe_splitmix64 *random, double operand_roundoff,
                                           adamoe_check_model *out)
{
    perturbation p = {.random = random, .from = from->value, .operand_roundoff = operand_roundoff};
    return create(index, perturb, &p, out);
}

void adamoe_check_model_free(adamoe_check_model *model)
{
    adamoe_weights_free(&model->weights);
    free(model->value);
    *model = (adamoe_check_model){0};
}
