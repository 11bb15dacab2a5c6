/*
 * What training and LoRA experts do not know of an architecture: the one place where it is refused.
 */
#include "architecture.h"

#include <math.h>

static bool has_router(const adamoe_architecture *architecture)
{
    return !architecture->dense;
}

static bool has_clip(const adamoe_architecture *architecture)
{
    return architecture->clipped;
}

static bool has_multipliers(const adamoe_architecture *architecture)
{
    return architecture->multipliers;
}

static const struct refusal {
    adamoe_model_use use;
    bool (*applies)(const adamoe_architecture *architecture);
    const char *message;
} refusals[] = {
    {ADAMOE_USE_LORA_EXPERTS, has_router, "LoRA experts: the base is not a dense model"},
    {ADAMOE_USE_LORA_EXPERTS, has_clip, "LoRA experts: not implemented for a base with clip_qkv"},
    {ADAMOE_USE_LORA_EXPERTS, has_multipliers, "LoRA experts: not implemented for a base with multipliers"},
};

adamoe_status adamoe_architecture_check(const adamoe_architecture *architecture, adamoe_model_use use)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; ++i) {
        if (refusals[i].use == use && refusals[i].applies(architecture)) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%s", refusals[i].message);
        }
    }
    return adamoe_ok();
}

double adamoe_query_multiplier(const adamoe_config *config)
{
    return config->architecture.multipliers ? config->multiplier.attention * sqrt((double)config->head_dim)
                                            : 1.0;
}
