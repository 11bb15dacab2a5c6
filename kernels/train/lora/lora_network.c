/*
 * The network: what it is made of, and the order of its steps.
 */
#include "model/span_attention.h"
#include "train/gemm_tiles.h"
#include "train/lora/lora_network_parts.h"

#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------- the object */

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA network: out of memory");
}

static void fill_gains(adamoe_lora_network *n)
{
    const size_t d = n->config->hidden_size, layers = n->config->layers;
    for (size_t i = 0; i <= 2 * layers; ++i) {
        const adamoe_block *block = i == 2 * layers ? NULL : &n->base->block[i / 2];
        const adamoe_matrix *gain = block == NULL ? &n->base->final_norm
                                    : i % 2 == 0  ? &block->input_norm
                                                  : &block->post_attention_norm;
        adamoe_widen_row(gain, 0, n->gain + i * d);
    }
}

static adamoe_status allocate(adamoe_lora_network *n)
{
    const size_t layers = n->config->layers, maps = layers * ADAMOE_MAPS, products = 2 * n->sizes.experts + 1;
    n->gemm = calloc(products, sizeof *n->gemm);
    n->frozen = calloc(maps + 1, sizeof *n->frozen); /* + 1: calloc(0) may give NULL */
    n->gain = calloc((2 * layers + 1) * n->config->hidden_size, sizeof *n->gain);
    n->layer = calloc(layers + 1, sizeof *n->layer);
    n->routing = calloc(maps + 1, sizeof *n->routing);
    n->slope = calloc(maps * network_all(n) + 1, sizeof *n->slope);
    if (n->gemm == NULL || n->frozen == NULL || n->gain == NULL || n->layer == NULL || n->routing == NULL ||
        n->slope == NULL) {
        return out_of_memory();
    }
    fill_gains(n);
    ADAMOE_TRY(network_take_vectors(n));
    ADAMOE_TRY(adamoe_gemm_space_create(adamoe_gemm_tiles_best(), n->with.team, products, &n->gemm_space));
    return network_freeze(n);
}

adamoe_status adamoe_lora_network_create(const adamoe_lora_parameters *parameters,
                                         const adamoe_lora_network_options *options,
                                         adamoe_lora_network **out)
{
    const adamoe_kernel *kernel = options->kernel;
    const adamoe_model *base = parameters->model.base;
    const adamoe_config *c = &base->config;
    const char *why_not = NULL;
    if (!kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "kernel %s: %s", kernel->name, why_not);
    }
    if (kernel->multiply == NULL) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "kernel %s: it has no dense product", kernel->name);
    }
    adamoe_lora_network *n = calloc(1, sizeof *n);
    if (n == NULL) {
        return out_of_memory();
    }
    *n = (adamoe_lora_network){.parameters = parameters,
                               .base = base,
                               .config = c,
                               .sizes = parameters->model.sizes,
                               .with = *options,
                               .ops = adamoe_vector_ops_best(),
                               .train_ops = adamoe_train_ops_best(),
                               .run = {.team = options->team},
                               .call = adamoe_attention_call_of(c)};
    const adamoe_status status = allocate(n);
    if (status.code != ADAMOE_OK) {
        adamoe_lora_network_free(n);
        return status;
    }
    *out = n;
    return adamoe_ok();
}

void adamoe_lora_network_free(adamoe_lora_network *n)
{
    if (n == NULL) {
        return;
    }
    for (size_t i = 0; i < n->config->layers * ADAMOE_MAPS && n->layer != NULL; ++i) {
        network_map *map = &n->layer[i / ADAMOE_MAPS].map[i % ADAMOE_MAPS];
        adamoe_routing_space_free(&map->routing);
        adamoe_plan_space_free(&map->plan);
    }
    network_thaw(n);
    adamoe_gemm_space_free(n->gemm_space);
    free(n->gemm);
    free(n->frozen);
    free(n->gain);
    free(n->vectors);
    free(n->vector_values);
    free(n->layer);
    free(n->routing);
    free(n->slope);
    free(n->span);
    adamoe_batch_memory_free(&n->memory);
    free(n);
}

/* ---------------------------------------------------------------------------------------------- the steps */

/* Positions from the spans; 0, 1, 2, ... for all lists of neighbours. */
static void fill_numbers(adamoe_lora_network *n)
{
    for (size_t s = 0; s < n->sequences; ++s) {
        for (size_t i = 0; i < n->span[s].count; ++i) {
            n->at.position[n->span[s].first_query + i] = n->span[s].start + i;
        }
    }
    for (size_t i = 0; i < n->tokens || i < network_all(n); ++i) {
        n->at.number[i] = i;
    }
}

static void gate_row(const adamoe_lora_network *n, size_t t, uint32_t thread, void *argument)
{
    (void)thread;
    const network_layer *l = argument;
    const size_t ff = n->config->intermediate_size, at = t * ff;
    n->train_ops->gate(l->gate + at, l->up + at, ff, n->at.hidden + at);
}

static void gate_backward_row(const adamoe_lora_network *n, size_t t, uint32_t thread, void *argument)
{
    (void)thread;
    const network_layer *l = argument;
    const size_t ff = n->config->intermediate_size, at = t * ff;
    (void)n->train_ops->gate_backward(1.0f, n->at.dhidden + at, ff, l->gate + at, l->up + at,
                                      n->at.hidden + at);
}

static adamoe_status feed_forward(adamoe_lora_network *n, size_t layer)
{
    network_layer *l = network_layer_at(n, layer);
    float *next =
        layer + 1 == n->config->layers ? n->at.output : network_layer_at(n, layer + 1)->attention_input;
    network_norm(n, 2 * layer + 1, l->middle, NULL, n->tokens, n->at.normed);
    ADAMOE_TRY(network_map_forward(n, layer, ADAMOE_MAP_GATE, n->at.normed, l->gate));
    ADAMOE_TRY(network_map_forward(n, layer, ADAMOE_MAP_UP, n->at.normed, l->up));
    network_each_row(n, n->tokens, gate_row, l);
    ADAMOE_TRY(network_map_forward(n, layer, ADAMOE_MAP_DOWN, n->at.hidden, n->at.update));
    network_add(n, l->middle, n->at.update, n->config->hidden_size, next);
    return adamoe_ok();
}

static adamoe_status feed_forward_backward(adamoe_lora_network *n, size_t layer)
{
    network_layer *l = network_layer_at(n, layer);
    const size_t d = n->config->hidden_size;
    network_each_row(n, n->tokens, gate_row, l);
    ADAMOE_TRY(network_map_backward(n, layer, ADAMOE_MAP_DOWN, n->at.hidden, n->at.dresidual, n->at.dhidden));
    network_each_row(n, n->tokens, gate_backward_row, l);
    network_norm(n, 2 * layer + 1, l->middle, NULL, n->tokens, n->at.normed);
    ADAMOE_TRY(network_map_backward(n, layer, ADAMOE_MAP_GATE, n->at.normed, l->gate, n->at.dnormed));
    ADAMOE_TRY(network_map_backward(n, layer, ADAMOE_MAP_UP, n->at.normed, l->up, n->at.update));
    network_add(n, n->at.dnormed, n->at.update, d, n->at.dnormed);
    network_norm_backward(n, 2 * layer + 1, l->middle, NULL, n->tokens, n->at.dnormed);
    return adamoe_ok();
}

/* What is told of each layer's routings, once the layer is done. */
typedef void tell_layer(void *context, size_t router, const adamoe_routing *routing);

static adamoe_status forward(adamoe_lora_network *n, tell_layer *tell, void *context)
{
    const size_t layers = n->config->layers;
    adamoe_rotary_angles(n->config, n->longest, n->at.cosine, n->at.sine, n->at.minus_sine);
    fill_numbers(n);
    adamoe_embed_rows(n->with.team, &n->base->embedding, n->token, n->tokens,
                      layers > 0 ? network_layer_at(n, 0)->attention_input : n->at.output);
    for (size_t layer = 0; layer < layers; ++layer) {
        adamoe_status status = network_attention_forward(n, layer);
        if (status.code == ADAMOE_OK) {
            status = feed_forward(n, layer);
        }
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "layer %zu: %.400s", layer, status.message);
        }
        for (size_t i = layer * ADAMOE_MAPS; i < (layer + 1) * ADAMOE_MAPS && tell != NULL; ++i) {
            tell(context, i, n->routing[i]);
        }
    }
    return network_head(n);
}

static adamoe_status backward(adamoe_lora_network *n)
{
    for (size_t layer = n->config->layers; layer-- > 0;) {
        ADAMOE_TRY(feed_forward_backward(n, layer));
        ADAMOE_TRY(network_attention_backward(n, layer));
    }
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- training */

static adamoe_status check_token(const adamoe_lora_network *n, const adamoe_training_batch *batch,
                                 size_t sequence, size_t t)
{
    const size_t vocab = n->config->vocab_size;
    const uint32_t target = batch->target[t];
    return batch->token[t] < vocab && (target < vocab || target == ADAMOE_NO_TARGET)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT,
                              "sequence %zu: token %zu: id %u or its target %u is outside the vocabulary of "
                              "%zu",
                              sequence, t - batch->offset[sequence], batch->token[t], target, vocab);
}

/* A span for each sequence; sizes of what the head is to do. */
static adamoe_status begin_batch(adamoe_lora_network *n, const adamoe_training_batch *batch)
{
    ADAMOE_TRY(network_lay_out_spans(n, batch->sequences));
    n->tokens = batch->offset[batch->sequences];
    n->offset = batch->offset;
    n->token = batch->token;
    n->longest = n->wanted = 0;
    for (size_t s = 0; s < batch->sequences; ++s) {
        const size_t first = batch->offset[s], count = batch->offset[s + 1] - first;
        n->span[s] = (adamoe_attention_span){
            .first_query = first, .first_key = first, .count = count, .parent = ADAMOE_NO_PARENT};
        n->longest = count > n->longest ? count : n->longest;
        for (size_t t = first; t < first + count; ++t) {
            ADAMOE_TRY(check_token(n, batch, s, t));
            n->wanted += batch->target[t] != ADAMOE_NO_TARGET;
        }
    }
    n->goals = n->wanted;
    return n->wanted > 0
               ? network_lay_out(n)
               : adamoe_error(ADAMOE_BAD_INPUT, "batch: no token has a target, so there is no loss");
}

static void fill_targets(const adamoe_lora_network *n, const uint32_t *target)
{
    size_t count = 0;
    for (size_t t = 0; t < n->tokens; ++t) {
        if (target[t] != ADAMOE_NO_TARGET) {
            n->at.wanted[count] = (uint32_t)t;
            n->at.first_goal[count] = count;
            n->at.goal[count++] = target[t];
        }
    }
    n->at.first_goal[count] = count;
}

/* The balance loss and its slopes: the sum over routers and tokens of slope . p. */
static double balance_of(adamoe_lora_network *n, const adamoe_objective *objective)
{
    const size_t routers = n->config->layers * ADAMOE_MAPS, all = network_all(n);
    double loss = 0.0;
    adamoe_balance_slope(n->routing, routers, objective->form, objective->pooling, NULL,
                         n->sizes.routed ? objective->alpha : 0.0, n->slope);
    for (size_t r = 0; r < routers; ++r) {
        for (size_t i = 0; i < n->tokens * all; ++i) {
            loss += n->slope[r * all + i % all] * (double)n->routing[r]->probabilities[i];
        }
    }
    return loss;
}

static void count_load(const adamoe_lora_network *n, adamoe_backprop_result *result)
{
    size_t rows = 0, without = 0;
    for (size_t i = 0; i < n->config->layers * ADAMOE_MAPS; ++i) {
        const adamoe_plan *plan = &n->layer[i / ADAMOE_MAPS].map[i % ADAMOE_MAPS].plan.plan;
        rows += plan->rows;
        for (size_t t = 0; t < n->tokens; ++t) {
            without += plan->token_offset[t] == plan->token_offset[t + 1];
        }
    }
    const double places = (double)n->config->layers * ADAMOE_MAPS * (double)n->tokens;
    result->tokens = n->tokens;
    result->load = places > 0.0 ? (double)rows / places : 0.0;
    result->all_null_share = places > 0.0 ? (double)without / places : 0.0;
}

static double mean_loss(const adamoe_lora_network *n)
{
    double sum = 0.0;
    for (size_t g = 0; g < n->goals; ++g) {
        sum -= n->at.log_probability[g];
    }
    return sum / (double)n->goals;
}

adamoe_status adamoe_lora_network_run(adamoe_lora_network *n, const adamoe_training_batch *batch,
                                      const adamoe_objective *objective, const adamoe_observer *observer,
                                      adamoe_backprop_result *result, float *gradient)
{
    const bool tell = observer != NULL && n->sizes.routed;
    if (gradient != NULL && !n->with.trained) {
        return adamoe_error(ADAMOE_BAD_INPUT, "LoRA network: it was not made to be trained");
    }
    n->gradient = gradient;
    n->keeps = true;
    ADAMOE_TRY(begin_batch(n, batch));
    fill_targets(n, batch->target);
    ADAMOE_TRY(forward(n, tell ? observer->routed : NULL, tell ? observer->context : NULL));
    result->loss.cross_entropy = mean_loss(n);
    result->loss.balance = balance_of(n, objective);
    result->loss.total = result->loss.cross_entropy + result->loss.balance;
    result->loss.targets = n->goals;
    count_load(n, result);
    return gradient == NULL ? adamoe_ok() : backward(n);
}

/* ------------------------------------------------------------------------------------------------ scoring */

static adamoe_status check_targets(const adamoe_segment *segment, size_t count, const adamoe_target *target,
                                   size_t targets)
{
    for (size_t t = 0; t < targets; ++t) {
        const adamoe_target *now = &target[t], *before = t == 0 ? now : now - 1;
        if (now->segment >= count || now->position >= segment[now->segment].count ||
            now->segment < before->segment ||
            (now->segment == before->segment && now->position < before->position)) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "target %zu: segment %zu, position %zu: out of order or range", t,
                                now->segment, now->position);
        }
    }
    return adamoe_ok();
}

static bool same_position(const adamoe_target *a, const adamoe_target *b)
{
    return a->segment == b->segment && a->position == b->position;
}

/* Spans that continue one another, and the number of positions whose head is wanted. */
static adamoe_status begin_segments(adamoe_lora_network *n, const adamoe_segment *segment, size_t count,
                                    const adamoe_target *target, size_t targets)
{
    ADAMOE_TRY(network_lay_out_spans(n, count));
    n->tokens = n->longest = n->wanted = 0;
    for (size_t s = 0; s < count; ++s) {
        const size_t parent = segment[s].parent;
        const size_t start = parent == ADAMOE_NO_PARENT ? 0 : n->span[parent].start + n->span[parent].count;
        n->span[s] = (adamoe_attention_span){.first_query = n->tokens,
                                             .first_key = n->tokens,
                                             .start = start,
                                             .count = segment[s].count,
                                             .parent = parent};
        n->tokens += segment[s].count;
        n->longest = start + segment[s].count > n->longest ? start + segment[s].count : n->longest;
    }
    for (size_t t = 0; t < targets; ++t) {
        n->wanted += t == 0 || !same_position(&target[t - 1], &target[t]);
    }
    n->goals = targets;
    return network_lay_out(n);
}

static void fill_goals(const adamoe_lora_network *n, const adamoe_target *target)
{
    size_t count = 0;
    for (size_t t = 0; t < n->goals; ++t) {
        if (t == 0 || !same_position(&target[t - 1], &target[t])) {
            n->at.wanted[count] = (uint32_t)(n->span[target[t].segment].first_query + target[t].position);
            n->at.first_goal[count++] = t;
        }
        n->at.goal[t] = target[t].token;
    }
    n->at.first_goal[count] = n->goals;
}

adamoe_status adamoe_lora_network_score(adamoe_lora_network *n, const adamoe_segment *segment, size_t count,
                                        const adamoe_batch_hooks *hooks, const adamoe_target *target,
                                        size_t targets, double *log_probability)
{
    ADAMOE_TRY(adamoe_batch_check(n->config, segment, count));
    ADAMOE_TRY(check_targets(segment, count, target, targets));
    n->gradient = NULL;
    n->keeps = false;
    ADAMOE_TRY(begin_segments(n, segment, count, target, targets));
    fill_goals(n, target);
    uint32_t *token = calloc(n->tokens + 1, sizeof *token);
    if (token == NULL) {
        return out_of_memory();
    }
    for (size_t s = 0; s < count; ++s) {
        memcpy(token + n->span[s].first_query, segment[s].token, segment[s].count * sizeof *token);
    }
    n->token = token;
    const bool tell = hooks != NULL && hooks->routed != NULL && n->sizes.routed;
    const adamoe_status status = forward(n, tell ? hooks->routed : NULL, tell ? hooks->context : NULL);
    if (status.code == ADAMOE_OK) {
        memcpy(log_probability, n->at.log_probability, targets * sizeof *log_probability);
    }
    free(token);
    return status;
}
