/*
 * Training LoRA experts of the maps of a frozen dense model, in float32 on the fastest kernel that there is.
 */
#include "train/maps.h"
#include "machine/host.h"
#include "router.h"

adamoe_lora_sizes adamoe_train_maps_sizes(const adamoe_train_options *o)
{
    const bool routed = o->lora_experts > 0;
    const adamoe_rule usual = {.top_k = o->lora_experts > 1 ? 2 : 1};
    return (adamoe_lora_sizes){.experts = routed ? o->lora_experts : 1,
                               .null_experts = routed ? adamoe_selection_null_experts(&o->selection, 0) : 0,
                               .rank = o->lora_rank,
                               .alpha = o->lora_alpha,
                               .routed = routed,
                               .rule = adamoe_selection_rule(&o->selection, usual)};
}

/* Options of routers that plain adapters do not have. */
static adamoe_status check_plain(const adamoe_train_options *o)
{
    return o->lora_experts > 0 || !adamoe_selection_given(&o->selection)
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_BAD_INPUT,
                     "--top-k, --null-experts, --norm, --null-kind: a dense model has no router; they go with "
                     "--lora-experts");
}

adamoe_status adamoe_trained_maps_open(const adamoe_train_options *options, const adamoe_model *base,
                                       const adamoe_team *team, adamoe_trained_maps *out)
{
    const adamoe_lora_sizes sizes = adamoe_train_maps_sizes(options);
    ADAMOE_TRY(check_plain(options));
    ADAMOE_TRY(adamoe_norm_trains(sizes.rule.norm));
    ADAMOE_TRY(adamoe_registry_create(&out->registry));
    ADAMOE_TRY(adamoe_lora_parameters_create(base, &sizes, &out->parameters));
    adamoe_lora_parameters_initialise(out->parameters, options->common.seed);
    out->placement = adamoe_one_node(team->threads);
    const adamoe_lora_network_options with = {.kernel = adamoe_registry_default(out->registry),
                                              .team = team,
                                              .placement = &out->placement,
                                              .host = &adamoe_heap_host,
                                              .trained = true};
    return adamoe_lora_network_create(out->parameters, &with, &out->network);
}

void adamoe_trained_maps_close(adamoe_trained_maps *maps)
{
    adamoe_lora_network_free(maps->network);
    adamoe_lora_parameters_free(maps->parameters);
    adamoe_registry_free(maps->registry);
    *maps = (adamoe_trained_maps){.network = NULL};
}
