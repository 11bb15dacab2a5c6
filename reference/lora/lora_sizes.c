/*
 * The maps of a dense layer: their names, sizes and FLOPs with LoRA experts.
 */
#include "lora/lora_model.h"

const char *const adamoe_map_names[ADAMOE_MAPS] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                   "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                                   "mlp.down_proj"};

const adamoe_matrix *adamoe_block_map(const adamoe_block *block, size_t map)
{
    const adamoe_expert *expert = &block->moe.expert[0];
    const adamoe_matrix *const maps[ADAMOE_MAPS] = {
        &block->attention.q, &block->attention.k, &block->attention.v, &block->attention.o,
        &expert->w1,         &expert->w3,         &expert->w2};
    return maps[map];
}

adamoe_map_size adamoe_map_size_of(const adamoe_config *c, size_t map)
{
    const size_t d = c->hidden_size, ff = c->intermediate_size, q = c->heads * c->head_dim,
                 kv = c->key_value_heads * c->head_dim;
    const adamoe_map_size sizes[ADAMOE_MAPS] = {{q, d}, {kv, d}, {kv, d}, {d, q}, {ff, d}, {ff, d}, {d, ff}};
    return sizes[map];
}

/* Bounds that keep every product of sizes far from overflow; ids of experts are 32 bits wide. */
#define MOST_EXPERTS ((size_t)1 << 20)
#define MOST_RANK    ((size_t)1 << 16)

adamoe_status adamoe_lora_sizes_check(const adamoe_config *base, const adamoe_lora_sizes *s)
{
    const size_t all = s->experts + s->null_experts;
    ADAMOE_TRY(adamoe_architecture_check(&base->architecture, ADAMOE_USE_LORA_EXPERTS));
    if (s->experts == 0 || s->experts > MOST_EXPERTS || s->null_experts > MOST_EXPERTS || s->rank == 0 ||
        s->rank > MOST_RANK || !(s->alpha > 0.0)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "LoRA experts: %zu experts, %zu null ones, rank %zu, alpha %g: out of range",
                            s->experts, s->null_experts, s->rank, s->alpha);
    }
    if (s->rule.top_k == 0 || s->rule.top_k > all) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "LoRA experts: top-k: %zu, but there are %zu experts, true and null",
                            s->rule.top_k, all);
    }
    if (!s->routed && all != 1) {
        return adamoe_error(ADAMOE_BAD_INPUT, "LoRA experts: %zu experts without a router", all);
    }
    return s->rule.null_kind == ADAMOE_NULL_ZERO
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "LoRA experts: null experts are of kind zero");
}

adamoe_lora_flops adamoe_lora_count_flops(const adamoe_config *config, const adamoe_lora_sizes *sizes,
                                          size_t null_experts, const adamoe_lora_work *work)
{
    adamoe_work base = work->base;
    base.expert_rows = base.tokens * config->layers; /* the dense feed-forward layer */
    const adamoe_flops dense = adamoe_count_flops(config, 0, &base);
    adamoe_lora_flops flops = {
        .attention = dense.attention, .feed_forward = dense.experts, .head = dense.head};
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        const adamoe_map_size size = adamoe_map_size_of(config, map);
        flops.experts += 2 * (uint64_t)sizes->rank * (size.in + size.out) * work->adapted[map];
        flops.router += sizes->routed ? 2 * (uint64_t)size.in * (sizes->experts + null_experts) *
                                            config->layers * base.tokens
                                      : 0;
    }
    flops.total = flops.attention + flops.feed_forward + flops.experts + flops.router + flops.head;
    return flops;
}

adamoe_lora_work adamoe_lora_baseline_work(const adamoe_config *config, const adamoe_lora_work *work,
                                           size_t baseline_k)
{
    adamoe_lora_work baseline = *work;
    baseline.base.expert_rows = 0;
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        baseline.adapted[map] = work->base.tokens * config->layers * baseline_k;
        baseline.base.expert_rows += baseline.adapted[map];
    }
    return baseline;
}
