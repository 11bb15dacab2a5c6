/*
 * FLOPs as executed (reference/README.md section 6): a multiply-add is 2, a null expert costs its router row
 * and nothing else.
 */
#include "flops.h"
#include "attention.h"

/* Per unit of work; the same formulas serve exact counts and means. */
static uint64_t expert_row_flops(const adamoe_config *c)
{
    return 2 * 3 * (uint64_t)c->hidden_size * c->intermediate_size;
}

/* A shared expert and its gate; 0 where there is none. */
static uint64_t shared_token_flops(const adamoe_config *c)
{
    return c->architecture.shared_expert
               ? 2 * (uint64_t)c->hidden_size * (3 * (uint64_t)c->shared_intermediate_size + 1)
               : 0;
}

static uint64_t router_token_flops(const adamoe_config *c, size_t null_experts)
{
    return c->architecture.dense ? 0 : 2 * (uint64_t)c->hidden_size * (c->experts + null_experts);
}

/* q and o are hidden_size x (heads * head_dim), k and v are hidden_size x (key_value_heads * head_dim). */
static uint64_t projection_token_flops(const adamoe_config *c)
{
    return 2 * (uint64_t)c->hidden_size * c->head_dim * 2 * (c->heads + c->key_value_heads);
}

static uint64_t visible_key_flops(const adamoe_config *c)
{
    return 2 * 2 * (uint64_t)c->heads * c->head_dim;
}

static uint64_t head_position_flops(const adamoe_config *c)
{
    return 2 * (uint64_t)c->hidden_size * c->vocab_size;
}

adamoe_flops adamoe_count_flops(const adamoe_config *config, size_t null_experts, const adamoe_work *work)
{
    const uint64_t layers = config->layers;
    adamoe_flops flops = {
        .experts =
            expert_row_flops(config) * work->expert_rows + shared_token_flops(config) * layers * work->tokens,
        .router = router_token_flops(config, null_experts) * layers * work->tokens,
        .attention = projection_token_flops(config) * layers * work->tokens +
                     visible_key_flops(config) * layers * work->visible_keys,
        .head = head_position_flops(config) * work->head_positions,
    };
    flops.total = flops.experts + flops.router + flops.attention + flops.head;
    return flops;
}

adamoe_work adamoe_baseline_work(const adamoe_config *config, const adamoe_work *work, size_t baseline_k)
{
    adamoe_work baseline = *work;
    baseline.expert_rows = work->tokens * config->layers * baseline_k;
    return baseline;
}

double adamoe_load(const adamoe_config *config, const adamoe_work *work)
{
    const double pairs = (double)work->tokens * (double)config->layers;
    return pairs == 0.0 ? 0.0 : (double)work->expert_rows / pairs;
}

double adamoe_expert_flops_reduction(double load, size_t baseline_k)
{
    return 1.0 - load / (double)baseline_k;
}

double adamoe_model_flops_reduction(const adamoe_flops *executed, const adamoe_flops *baseline)
{
    return baseline->total == 0 ? 0.0 : 1.0 - (double)executed->total / (double)baseline->total;
}

adamoe_token_flops adamoe_flops_per_token(const adamoe_config *config, size_t null_experts, double load,
                                          double visible_keys, double head_share)
{
    const double layers = (double)config->layers;
    adamoe_token_flops flops = {
        .experts = layers * (load * (double)expert_row_flops(config) + (double)shared_token_flops(config)),
        .router = layers * (double)router_token_flops(config, null_experts),
        .attention = layers * ((double)projection_token_flops(config) +
                               visible_keys * (double)visible_key_flops(config)),
        .head = head_share * (double)head_position_flops(config),
    };
    flops.total = flops.experts + flops.router + flops.attention + flops.head;
    return flops;
}

size_t adamoe_visible_keys(const adamoe_config *config, size_t position)
{
    return position + 1 - adamoe_first_visible(position, config->sliding_window);
}
