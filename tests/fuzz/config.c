/*
 * Any bytes as config.json: an error, or a config that keeps what config.h promises.
 */
#include "config/config.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check(const adamoe_config *config, bool null_experts_given)
{
    require(config->vocab_size > 0 && config->hidden_size > 0 && config->intermediate_size > 0);
    require(config->layers > 0 && config->heads > 0 && config->key_value_heads > 0 && config->context > 0);
    require(config->heads % config->key_value_heads == 0);
    require(config->head_dim > 0 && config->head_dim % 2 == 0);
    require(config->vocab_size <= SIZE_MAX / 8 / config->hidden_size);
    require(config->intermediate_size <= SIZE_MAX / 16 / config->hidden_size / config->experts);
    require(config->heads <= SIZE_MAX / 8 / config->hidden_size / config->head_dim);
    require(config->experts > 0 && config->rule.top_k > 0);
    require(!config->architecture.dense ||
            (config->experts == 1 && config->null_experts == 0 && !null_experts_given));
    require(!null_experts_given || config->rule.top_k <= config->experts + config->null_experts);
    require(isfinite(config->rms_norm_eps) && config->rms_norm_eps > 0.0);
    require(isfinite(config->rope_theta) && config->rope_theta > 0.0);
    require(!config->architecture.shared_expert ||
            (config->shared_intermediate_size > 0 &&
             config->shared_intermediate_size <= SIZE_MAX / 16 / config->hidden_size));
    require(config->multiplier.embedding > 0.0 && config->multiplier.attention > 0.0 &&
            config->multiplier.residual > 0.0 && config->multiplier.logits > 0.0);
    require(config->rope_scaling.type == ADAMOE_ROPE_DEFAULT || config->rope_scaling.factor > 0.0);
    require(!config->has_bos || config->bos < config->vocab_size);
    for (size_t i = 0; i < config->eos_count; ++i) {
        require(config->eos[i] < config->vocab_size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    adamoe_config config;
    bool null_experts_given;
    const adamoe_status status =
        adamoe_config_parse("fuzz", (const char *)data, size, &config, &null_experts_given);
    require((status.code == ADAMOE_OK) == (status.message[0] == '\0'));
    if (status.code == ADAMOE_OK) {
        check(&config, null_experts_given);
    }
    return 0;
}
