/*
 * A small model whose gradient is tested.
 */
#include "gradient_subject.h"
#include "router.h"

const size_t sequence_offset[SEQUENCES + 1] = {0, 5, 12, TOKENS};

const adamoe_config base_config = {.vocab_size = 7,
                                   .hidden_size = 6,
                                   .intermediate_size = 3,
                                   .layers = 2,
                                   .heads = 4,
                                   .key_value_heads = 2,
                                   .head_dim = 4,
                                   .experts = 3,
                                   .null_experts = 3,
                                   .rule = {.top_k = 3},
                                   .rms_norm_eps = 1e-2,
                                   .rope_theta = 100.0,
                                   .sliding_window = 3};

const adamoe_objective with_balance = {.alpha = 0.5};

uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static adamoe_matrix matrix_at(const subject *s, const double *gradient, size_t rows, size_t columns)
{
    if (gradient == NULL) { /* the model has no such weight */
        return (adamoe_matrix){.dtype = ADAMOE_F32};
    }
    return (adamoe_matrix){s->weight + (gradient - s->gradient->values), ADAMOE_F32, rows, columns};
}

static void make_block(subject *s, size_t layer)
{
    const adamoe_config *c = &s->model.config;
    const adamoe_block_gradient *g = &s->gradient->block[layer];
    const size_t d = c->hidden_size, ff = c->intermediate_size;
    const size_t q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    const bool all_heads = c->architecture.query_key_norm == ADAMOE_QUERY_KEY_NORM_WIDTH;
    adamoe_expert *expert = s->expert + layer * c->experts;
    for (size_t e = 0; e < c->experts; ++e) {
        expert[e] = (adamoe_expert){.w1 = matrix_at(s, g->moe.expert[e].w1, ff, d),
                                    .w3 = matrix_at(s, g->moe.expert[e].w3, ff, d),
                                    .w2 = matrix_at(s, g->moe.expert[e].w2, d, ff)};
    }
    s->block[layer] = (adamoe_block){
        .input_norm = matrix_at(s, g->input_norm, 1, d),
        .post_attention_norm = matrix_at(s, g->post_attention_norm, 1, d),
        .shared = {.w1 = matrix_at(s, g->shared.expert.w1, c->shared_intermediate_size, d),
                   .w3 = matrix_at(s, g->shared.expert.w3, c->shared_intermediate_size, d),
                   .w2 = matrix_at(s, g->shared.expert.w2, d, c->shared_intermediate_size)},
        .shared_gate = matrix_at(s, g->shared.gate, 1, d),
        .attention = {.q_bias = matrix_at(s, g->attention.q_bias, 1, q),
                      .k_bias = matrix_at(s, g->attention.k_bias, 1, kv),
                      .v_bias = matrix_at(s, g->attention.v_bias, 1, kv),
                      .o_bias = matrix_at(s, g->attention.o_bias, 1, d),
                      .q_norm = matrix_at(s, g->attention.q_norm, 1, all_heads ? q : c->head_dim),
                      .k_norm = matrix_at(s, g->attention.k_norm, 1, all_heads ? kv : c->head_dim),
                      .q = matrix_at(s, g->attention.q, q, d),
                      .k = matrix_at(s, g->attention.k, kv, d),
                      .v = matrix_at(s, g->attention.v, kv, d),
                      .o = matrix_at(s, g->attention.o, d, q)},
        .moe = {.hidden_size = d,
                .intermediate_size = ff,
                .experts = c->experts,
                .null_experts = c->null_experts,
                .gate = matrix_at(s, g->moe.gate, c->architecture.dense ? 0 : c->experts, d),
                .gate2 = matrix_at(s, g->moe.gate2, c->null_experts, d),
                .expert = expert},
    };
}

void randomise(subject *s, uint64_t seed)
{
    const size_t vocab = s->model.config.vocab_size;
    for (size_t i = 0; i < s->gradient->count; ++i) {
        s->weight[i] = ((float)(next_random(&seed) % 6145) - 3072.0f) / 4096.0f;
    }
    for (size_t t = 0; t < TOKENS; ++t) {
        s->token[t] = (uint32_t)(next_random(&seed) % vocab);
        s->target[t] = t % 3 == 2 ? ADAMOE_NO_TARGET : (uint32_t)(next_random(&seed) % vocab);
    }
}

void make_subject(adamoe_config config, adamoe_objective objective, subject *s)
{
    *s = (subject){.model = {.config = config}, .objective = objective};
    assert_true(config.layers <= 2 && config.experts <= 8);
    assert_ok(adamoe_model_gradient_create(&config, &s->gradient));
    s->weight = calloc(s->gradient->count, sizeof *s->weight);
    assert_non_null(s->weight);
    for (size_t layer = 0; layer < config.layers; ++layer) {
        make_block(s, layer);
    }
    s->model.block = s->block;
    s->model.embedding = matrix_at(s, s->gradient->embedding, config.vocab_size, config.hidden_size);
    s->model.head = matrix_at(s, s->gradient->head, config.vocab_size, config.hidden_size);
    s->model.final_norm = matrix_at(s, s->gradient->final_norm, 1, config.hidden_size);
}

void free_subject(subject *s)
{
    adamoe_model_gradient_free(s->gradient);
    free(s->weight);
}

void see_selection(void *context, size_t layer, const adamoe_routing *routing)
{
    selection *seen = context;
    const size_t k = routing->rule.top_k, all = routing->experts + routing->null_experts;
    (void)layer;
    assert_true(seen->count + routing->tokens * k <= MAX_SELECTED);
    memcpy(seen->id + seen->count, routing->id, routing->tokens * k * sizeof *routing->id);
    seen->count += routing->tokens * k;
    for (size_t t = 0; t < routing->tokens; ++t) {
        const float *logits = routing->logits + t * all;
        const uint32_t *id = routing->id + t * k;
        const size_t true_experts = adamoe_routing_true_experts(routing, t);
        seen->null += k - true_experts;
        seen->all_null += true_experts == 0;
        for (size_t i = 0; i < all; ++i) {
            bool selected = false;
            for (size_t j = 0; j < k; ++j) {
                selected = selected || id[j] == i;
            }
            if (!selected) {
                seen->margin = fmin(seen->margin, (double)logits[id[k - 1]] - (double)logits[i]);
            }
        }
    }
}

adamoe_training_loss evaluate(const subject *s, selection *seen, adamoe_model_gradient *gradient)
{
    const adamoe_training_batch batch = {SEQUENCES, sequence_offset, s->token, s->target};
    const adamoe_observer observer = {seen, see_selection};
    adamoe_training_loss loss;
    *seen = (selection){.margin = HUGE_VAL};
    assert_ok(adamoe_model_loss(&s->model, &batch, &s->objective, &observer, &loss, gradient));
    return loss;
}

void find_weights(subject *s, selection *seen)
{
    bool found = false;
    for (uint64_t seed = 1; !found && seed < 100000; ++seed) {
        bool used[16] = {false};
        randomise(s, seed);
        evaluate(s, seen, NULL);
        found = s->model.config.architecture.dense || seen->margin > 0.02;
        found = found && (s->model.config.null_experts < s->model.config.rule.top_k || seen->all_null > 0);
        for (size_t i = 0; i < seen->count; ++i) {
            const size_t k = s->model.config.rule.top_k, layer = i / (TOKENS * k);
            if (seen->id[i] < s->model.config.experts && s->target[i / k % TOKENS] != ADAMOE_NO_TARGET) {
                used[layer * 8 + seen->id[i]] = true;
            }
        }
        for (size_t e = 0; e < 8 * s->model.config.layers && found && !s->model.config.architecture.dense;
             ++e) {
            found = used[e] || e % 8 >= s->model.config.experts;
        }
    }
    assert_true(found);
}

double root_mean_square(const double *x, size_t count)
{
    double squares = 0.0;
    for (size_t i = 0; i < count; ++i) {
        squares += x[i] * x[i];
    }
    return sqrt(squares / (double)count);
}
