/*
 * The table of a model's tensors, and what is read from it.
 */
#include "tensors.h"

#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------------------------------- table */

/* What rows and columns are counts of. */
typedef enum size_name {
    ONE,
    VOCABULARY,
    HIDDEN,
    INTERMEDIATE,
    SHARED_INTERMEDIATE,
    QUERIES,        /* heads * head_dim */
    KEYS,           /* key_value_heads * head_dim */
    NORMED_QUERIES, /* what one norm of a query is over: a head, or all heads */
    NORMED_KEYS,
    TRUE_EXPERTS,
    NULL_EXPERTS,
} size_name;

static bool has_router(const adamoe_config *config)
{
    return !config->architecture.dense;
}

static bool has_biases(const adamoe_config *config)
{
    return config->architecture.biases;
}

static bool has_output_bias(const adamoe_config *config)
{
    return config->architecture.output_bias;
}

static bool has_query_key_norm(const adamoe_config *config)
{
    return config->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE;
}

static bool has_shared_expert(const adamoe_config *config)
{
    return config->architecture.shared_expert;
}

static bool has_own_head(const adamoe_config *config)
{
    return !config->architecture.tied_head;
}

#define OF_MODEL(place)  .scope = ADAMOE_TENSOR_OF_MODEL, .field = offsetof(adamoe_model, place)
#define OF_LAYER(place)  .scope = ADAMOE_TENSOR_OF_LAYER, .field = offsetof(adamoe_block, place)
#define OF_EXPERT(place) .scope = ADAMOE_TENSOR_OF_EXPERT, .field = offsetof(adamoe_expert, place)
#define SIZE(r, c)       .rows = r, .columns = c
#define NAMED(text)      .name = {text, text, text, text, text} /* the same in all files */
#define GATE(text, linear)                                                                                   \
    .name = {[ADAMOE_NAMED_SPARSE] = "block_sparse_moe." text,                                               \
             [ADAMOE_NAMED_FUSED] = "mlp." text,                                                             \
             [ADAMOE_NAMED_SINGLE] = "mlp." text,                                                            \
             [ADAMOE_NAMED_LINEAR] = "block_sparse_moe.router." linear}
#define EXPERT(old, new)                                                                                     \
    .name = {[ADAMOE_NAMED_SPARSE] = "block_sparse_moe.experts.#." old,                                      \
             [ADAMOE_NAMED_DENSE] = "mlp." new,                                                              \
             [ADAMOE_NAMED_SINGLE] = "mlp.experts.#." new,                                                   \
             [ADAMOE_NAMED_LINEAR] = "block_sparse_moe.experts.#." old}

/* In the order of a walk, which goes through the layers where it comes to their weights, and within a layer
 * through its experts. In a name '#' is the number of an expert. */
static const struct row {
    adamoe_tensor_scope scope;
    size_t field; /* its offset in the structure of the scope */
    unsigned kind;
    size_name rows, columns;
    const char
        *name[ADAMOE_TENSOR_NAMINGS]; /* without what stands before it, and `.weight` or `.bias` behind it */
    bool without_front;               /* no "model." stands before it */
    bool to_residual;
    bool (*present)(const adamoe_config *config); /* NULL: every model has it */
} table[ADAMOE_WEIGHTS] = {
    [ADAMOE_WEIGHT_EMBEDDING] = {OF_MODEL(embedding), .kind = ADAMOE_EMBEDDING, SIZE(VOCABULARY, HIDDEN),
                                 NAMED("embed_tokens")},

    [ADAMOE_WEIGHT_INPUT_NORM] = {OF_LAYER(input_norm), .kind = ADAMOE_GAINS, SIZE(ONE, HIDDEN),
                                  NAMED("input_layernorm")},
    [ADAMOE_WEIGHT_Q] = {OF_LAYER(attention.q), .kind = ADAMOE_ATTENTION, SIZE(QUERIES, HIDDEN),
                         NAMED("self_attn.q_proj")},
    [ADAMOE_WEIGHT_K] = {OF_LAYER(attention.k), .kind = ADAMOE_ATTENTION, SIZE(KEYS, HIDDEN),
                         NAMED("self_attn.k_proj")},
    [ADAMOE_WEIGHT_V] = {OF_LAYER(attention.v), .kind = ADAMOE_ATTENTION, SIZE(KEYS, HIDDEN),
                         NAMED("self_attn.v_proj")},
    [ADAMOE_WEIGHT_O] = {OF_LAYER(attention.o), .kind = ADAMOE_ATTENTION, SIZE(HIDDEN, QUERIES),
                         NAMED("self_attn.o_proj"), .to_residual = true},
    [ADAMOE_WEIGHT_Q_BIAS] = {OF_LAYER(attention.q_bias), .kind = ADAMOE_BIASES, SIZE(ONE, QUERIES),
                              NAMED("self_attn.q_proj"), .present = has_biases},
    [ADAMOE_WEIGHT_K_BIAS] = {OF_LAYER(attention.k_bias), .kind = ADAMOE_BIASES, SIZE(ONE, KEYS),
                              NAMED("self_attn.k_proj"), .present = has_biases},
    [ADAMOE_WEIGHT_V_BIAS] = {OF_LAYER(attention.v_bias), .kind = ADAMOE_BIASES, SIZE(ONE, KEYS),
                              NAMED("self_attn.v_proj"), .present = has_biases},
    [ADAMOE_WEIGHT_O_BIAS] = {OF_LAYER(attention.o_bias), .kind = ADAMOE_BIASES, SIZE(ONE, HIDDEN),
                              NAMED("self_attn.o_proj"), .present = has_output_bias},
    [ADAMOE_WEIGHT_Q_NORM] = {OF_LAYER(attention.q_norm), .kind = ADAMOE_GAINS, SIZE(ONE, NORMED_QUERIES),
                              NAMED("self_attn.q_norm"), .present = has_query_key_norm},
    [ADAMOE_WEIGHT_K_NORM] = {OF_LAYER(attention.k_norm), .kind = ADAMOE_GAINS, SIZE(ONE, NORMED_KEYS),
                              NAMED("self_attn.k_norm"), .present = has_query_key_norm},
    [ADAMOE_WEIGHT_POST_ATTENTION_NORM] = {OF_LAYER(post_attention_norm), .kind = ADAMOE_GAINS,
                                           SIZE(ONE, HIDDEN), NAMED("post_attention_layernorm")},
    [ADAMOE_WEIGHT_GATE] = {OF_LAYER(moe.gate), .kind = ADAMOE_ROUTER, SIZE(TRUE_EXPERTS, HIDDEN),
                            GATE("gate", "layer"), .present = has_router},
    [ADAMOE_WEIGHT_GATE2] = {OF_LAYER(moe.gate2), .kind = ADAMOE_ROUTER, SIZE(NULL_EXPERTS, HIDDEN),
                             GATE("gate2", "layer2"), .present = has_router},
    [ADAMOE_WEIGHT_SHARED_W1] = {OF_LAYER(shared.w1), .kind = ADAMOE_SHARED_EXPERT,
                                 SIZE(SHARED_INTERMEDIATE, HIDDEN), NAMED("mlp.shared_expert.gate_proj"),
                                 .present = has_shared_expert},
    [ADAMOE_WEIGHT_SHARED_W3] = {OF_LAYER(shared.w3), .kind = ADAMOE_SHARED_EXPERT,
                                 SIZE(SHARED_INTERMEDIATE, HIDDEN), NAMED("mlp.shared_expert.up_proj"),
                                 .present = has_shared_expert},
    [ADAMOE_WEIGHT_SHARED_W2] = {OF_LAYER(shared.w2), .kind = ADAMOE_SHARED_EXPERT,
                                 SIZE(HIDDEN, SHARED_INTERMEDIATE), NAMED("mlp.shared_expert.down_proj"),
                                 .to_residual = true, .present = has_shared_expert},
    [ADAMOE_WEIGHT_SHARED_GATE] = {OF_LAYER(shared_gate), .kind = ADAMOE_SHARED_EXPERT, SIZE(ONE, HIDDEN),
                                   NAMED("mlp.shared_expert_gate"), .present = has_shared_expert},

    [ADAMOE_WEIGHT_W1] = {OF_EXPERT(w1), .kind = ADAMOE_EXPERTS, SIZE(INTERMEDIATE, HIDDEN),
                          EXPERT("w1", "gate_proj")},
    [ADAMOE_WEIGHT_W3] = {OF_EXPERT(w3), .kind = ADAMOE_EXPERTS, SIZE(INTERMEDIATE, HIDDEN),
                          EXPERT("w3", "up_proj")},
    [ADAMOE_WEIGHT_W2] = {OF_EXPERT(w2), .kind = ADAMOE_EXPERTS, SIZE(HIDDEN, INTERMEDIATE),
                          EXPERT("w2", "down_proj"), .to_residual = true},

    [ADAMOE_WEIGHT_FINAL_NORM] = {OF_MODEL(final_norm), .kind = ADAMOE_GAINS, SIZE(ONE, HIDDEN),
                                  NAMED("norm")},
    [ADAMOE_WEIGHT_HEAD] = {OF_MODEL(head), .kind = ADAMOE_HEAD, SIZE(VOCABULARY, HIDDEN), NAMED("lm_head"),
                            .without_front = true, .present = has_own_head},
};

static size_t heads_of_norm(const adamoe_config *config, size_t heads)
{
    return config->architecture.query_key_norm == ADAMOE_QUERY_KEY_NORM_WIDTH ? heads : 1;
}

static bool is_vector(const struct row *row)
{
    return row->kind == ADAMOE_GAINS || row->kind == ADAMOE_BIASES;
}

static size_t size_of(const adamoe_config *config, size_name name)
{
    switch (name) {
    case ONE:
        return 1;
    case VOCABULARY:
        return config->vocab_size;
    case HIDDEN:
        return config->hidden_size;
    case INTERMEDIATE:
        return config->intermediate_size;
    case SHARED_INTERMEDIATE:
        return config->shared_intermediate_size;
    case QUERIES:
        return config->heads * config->head_dim;
    case KEYS:
        return config->key_value_heads * config->head_dim;
    case NORMED_QUERIES:
        return heads_of_norm(config, config->heads) * config->head_dim;
    case NORMED_KEYS:
        return heads_of_norm(config, config->key_value_heads) * config->head_dim;
    case TRUE_EXPERTS:
        return config->experts;
    case NULL_EXPERTS:
        break;
    }
    return config->null_experts;
}

bool adamoe_has_weight(const adamoe_config *config, adamoe_weight weight)
{
    return table[weight].present == NULL || table[weight].present(config);
}

adamoe_tensor_scope adamoe_weight_scope(adamoe_weight weight)
{
    return table[weight].scope;
}

adamoe_model_tensor adamoe_tensor_of(const adamoe_config *config, adamoe_weight weight, size_t layer,
                                     size_t expert)
{
    const struct row *row = &table[weight];
    return (adamoe_model_tensor){.weight = weight,
                                 .scope = row->scope,
                                 .layer = row->scope == ADAMOE_TENSOR_OF_MODEL ? 0 : layer,
                                 .expert = row->scope == ADAMOE_TENSOR_OF_EXPERT ? expert : 0,
                                 .kind = row->kind,
                                 .to_residual = row->to_residual,
                                 .rank = is_vector(row) ? 1 : 2,
                                 .rows = size_of(config, row->rows),
                                 .columns = size_of(config, row->columns)};
}

adamoe_tensor_totals adamoe_count_tensors(const adamoe_config *config)
{
    const double of_scope[] = {
        [ADAMOE_TENSOR_OF_MODEL] = 1.0,
        [ADAMOE_TENSOR_OF_LAYER] = (double)config->layers,
        [ADAMOE_TENSOR_OF_EXPERT] = (double)config->layers * (double)config->experts,
    };
    adamoe_tensor_totals totals = {0.0, 0.0};
    for (size_t weight = 0; weight < ADAMOE_WEIGHTS; ++weight) {
        if (adamoe_has_weight(config, (adamoe_weight)weight)) {
            const adamoe_model_tensor tensor = adamoe_tensor_of(config, (adamoe_weight)weight, 0, 0);
            const double count = of_scope[tensor.scope];
            totals.tensors += count;
            totals.elements += count * (double)tensor.rows * (double)tensor.columns;
        }
    }
    return totals;
}

/* ------------------------------------------------------------------------------------------------- walking */

static size_t first_of(adamoe_tensor_scope scope)
{
    size_t weight = 0;
    while (table[weight].scope != scope) {
        ++weight;
    }
    return weight;
}

/* Where a scope ends, back to its first weight for the next expert or layer. */
static void step(adamoe_tensor_walk *walk)
{
    const adamoe_tensor_scope now = table[walk->weight++].scope;
    const adamoe_tensor_scope next =
        walk->weight < ADAMOE_WEIGHTS ? table[walk->weight].scope : ADAMOE_TENSOR_OF_MODEL;
    if (next >= now) {
        return;
    }
    if (now == ADAMOE_TENSOR_OF_EXPERT && ++walk->expert < walk->config->experts) {
        walk->weight = first_of(ADAMOE_TENSOR_OF_EXPERT);
        return;
    }
    walk->expert = 0;
    if (next == ADAMOE_TENSOR_OF_MODEL && ++walk->layer < walk->config->layers) {
        walk->weight = first_of(ADAMOE_TENSOR_OF_LAYER);
    }
}

bool adamoe_next_tensor(adamoe_tensor_walk *walk, adamoe_model_tensor *out)
{
    const adamoe_config *config = walk->config;
    while (walk->weight < ADAMOE_WEIGHTS) {
        const adamoe_weight weight = (adamoe_weight)walk->weight;
        const bool stands = table[weight].scope == ADAMOE_TENSOR_OF_MODEL || config->layers > 0;
        *out = adamoe_tensor_of(config, weight, walk->layer, walk->expert);
        step(walk);
        if (stands && adamoe_has_weight(config, weight)) {
            return true;
        }
    }
    return false;
}

/* --------------------------------------------------------------------------------------------------- names */

adamoe_tensor_naming adamoe_naming_of(const adamoe_config *config)
{
    return config->architecture.dense ? ADAMOE_NAMED_DENSE : config->architecture.naming;
}

static adamoe_tensor_name join(const char *prefix, const struct row *row, adamoe_tensor_naming naming,
                               size_t expert)
{
    adamoe_tensor_name out;
    const char *name = row->name[naming], *mark = strchr(name, '#');
    const char *end = row->kind == ADAMOE_BIASES ? "bias" : "weight";
    if (mark == NULL) {
        (void)snprintf(out.text, sizeof out.text, "%s%s.%s", prefix, name, end);
    } else {
        (void)snprintf(out.text, sizeof out.text, "%s%.*s%zu%s.%s", prefix, (int)(mark - name), name, expert,
                       mark + 1, end);
    }
    return out;
}

adamoe_tensor_name adamoe_name_in_layer(const char *prefix, adamoe_tensor_naming naming, adamoe_weight weight,
                                        size_t expert)
{
    return join(prefix, &table[weight], naming, expert);
}

adamoe_tensor_name adamoe_name_of_tensor(const adamoe_model_tensor *tensor, adamoe_tensor_naming naming,
                                         const char *front)
{
    char layer[64];
    if (tensor->scope != ADAMOE_TENSOR_OF_MODEL) {
        (void)snprintf(layer, sizeof layer, "%slayers.%zu.", front, tensor->layer);
        return adamoe_name_in_layer(layer, naming, tensor->weight, tensor->expert);
    }
    const struct row *row = &table[tensor->weight];
    return join(row->without_front ? "" : front, row, naming, 0);
}

/* -------------------------------------------------------------------------------------------------- places */

void adamoe_weights_begin_layer(adamoe_weights *weights, size_t layer)
{
    const adamoe_config *config = &weights->model.config;
    const adamoe_matrix none = {.dtype = ADAMOE_F32, .columns = config->hidden_size};
    weights->block[layer].moe = (adamoe_layer){.hidden_size = config->hidden_size,
                                               .intermediate_size = config->intermediate_size,
                                               .experts = config->experts,
                                               .null_experts = config->null_experts,
                                               .gate = none,
                                               .gate2 = none};
}

adamoe_status adamoe_weights_create(const adamoe_config *config, adamoe_weights *out)
{
    *out = (adamoe_weights){.model = {.config = *config},
                            .block = calloc(config->layers + 1, sizeof *out->block), /* + 1: calloc(0) */
                            .expert = calloc(config->layers * config->experts + 1, sizeof *out->expert)};
    if (out->block == NULL || out->expert == NULL) {
        adamoe_weights_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "model: out of memory for %zu layers", config->layers);
    }
    out->model.block = out->block;
    for (size_t layer = 0; layer < config->layers; ++layer) {
        adamoe_weights_begin_layer(out, layer);
        out->block[layer].moe.expert = out->expert + layer * config->experts;
    }
    return adamoe_ok();
}

void adamoe_weights_free(adamoe_weights *weights)
{
    free(weights->block);
    free(weights->expert);
    *weights = (adamoe_weights){.block = NULL};
}

static size_t field_of(const adamoe_model_tensor *tensor)
{
    return table[tensor->weight].field;
}

adamoe_matrix *adamoe_weights_at(adamoe_weights *weights, const adamoe_model_tensor *tensor)
{
    /* only the array that is there: adding to NULL is undefined, be it 0 */
    const size_t experts = weights->model.config.experts;
    void *owner = tensor->scope == ADAMOE_TENSOR_OF_MODEL ? (void *)&weights->model
                  : tensor->scope == ADAMOE_TENSOR_OF_LAYER
                      ? (void *)(weights->block + tensor->layer)
                      : (void *)(weights->expert + tensor->layer * experts + tensor->expert);
    return (adamoe_matrix *)(void *)((char *)owner + field_of(tensor));
}

const adamoe_matrix *adamoe_model_at(const adamoe_model *model, const adamoe_model_tensor *tensor)
{
    const adamoe_block *block = model->block + tensor->layer;
    const void *owner = tensor->scope == ADAMOE_TENSOR_OF_MODEL   ? (const void *)model
                        : tensor->scope == ADAMOE_TENSOR_OF_LAYER ? (const void *)block
                                                                  : block->moe.expert + tensor->expert;
    return (const adamoe_matrix *)(const void *)((const char *)owner + field_of(tensor));
}
