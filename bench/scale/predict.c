/*
 * What the cost model says of a layer on so many ranks.
 */
#include "scale/predict.h"
#include "layers/random_layer.h"

#include <math.h>
#include <stdlib.h>

uint32_t adamoe_scale_group(uint32_t ranks, size_t experts)
{
    uint32_t group = ranks;
    while (ranks % group != 0 || group > experts) {
        --group;
    }
    return group;
}

size_t adamoe_scale_group_tokens(const adamoe_scale_setting *setting, uint32_t ranks, uint32_t group)
{
    return setting->all_together ? setting->tokens * group / ranks : setting->tokens * group;
}

/* ------------------------------------------------------------------------------------------- one crossing */

/* Nothing in it yet; experts placed by what the layer's use says, where the order asks for it. */
static adamoe_status open_crossing(const adamoe_scale_setting *setting, const adamoe_selections *selections,
                                   adamoe_expert_order order, size_t layer, uint32_t group,
                                   adamoe_crossing *out)
{
    const size_t experts = selections->mixture.experts;
    adamoe_expert_use use = {.experts = experts};
    uint32_t *rank_of_expert = calloc(experts, sizeof *rank_of_expert);
    adamoe_status status = rank_of_expert == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory")
                           : adamoe_expert_order_needs_use(order)
                               ? adamoe_selections_use(selections, layer, setting->seed, &use)
                               : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status = adamoe_place_experts(order, &use, group, rank_of_expert);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_crossing_create(group, experts, rank_of_expert, setting->wire, out);
    }
    adamoe_expert_use_free(&use);
    free(rank_of_expert);
    return status;
}

/* One for each layer of the selections. */
typedef struct crossings {
    adamoe_crossing *layer;
    size_t count;
} crossings;

static void close_crossings(crossings *all)
{
    for (size_t l = 0; l < all->count; ++l) {
        adamoe_crossing_free(&all->layer[l]);
    }
    free(all->layer);
}

static adamoe_status open_crossings(const adamoe_scale_setting *setting, const adamoe_selections *selections,
                                    adamoe_expert_order order, uint32_t group, crossings *out)
{
    const size_t layers = adamoe_selections_layers(selections);
    *out = (crossings){.layer = calloc(layers, sizeof *out->layer)};
    adamoe_status status =
        out->layer == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory") : adamoe_ok();
    while (status.code == ADAMOE_OK && out->count < layers) {
        status = open_crossing(setting, selections, order, out->count, group, &out->layer[out->count]);
        out->count += status.code == ADAMOE_OK;
    }
    if (status.code != ADAMOE_OK) {
        close_crossings(out);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------- draws */

typedef struct sums {
    double value, squares;
} sums;

static void add(sums *sum, double value)
{
    sum->value += value;
    sum->squares += value * value;
}

static adamoe_spread spread_of(const sums *sum, size_t count)
{
    const double mean = sum->value / (double)count;
    const double variance = (sum->squares - (double)count * mean * mean) / (double)(count - 1);
    return (adamoe_spread){mean, sqrt(fmax(variance, 0.0))};
}

typedef struct draw_sums {
    sums rows, inputs, bytes, largest, seconds;
    double load, communication;
} draw_sums;

static void add_draw(draw_sums *sum, const adamoe_crossing *crossing, const adamoe_layer_time *time)
{
    const adamoe_crossing_sum total = adamoe_crossing_total(crossing);
    const double tokens = (double)crossing->tokens;
    add(&sum->rows, (double)total.rows_sent / tokens);
    add(&sum->inputs, (double)total.inputs_sent / tokens);
    add(&sum->bytes, (double)(total.request_bytes + total.result_bytes) / tokens);
    add(&sum->largest, total.largest_over_mean);
    add(&sum->seconds, time->total);
    sum->load += (double)total.rows / tokens;
    sum->communication += time->communication / time->total;
}

static void finish(const adamoe_scale_setting *setting, const draw_sums *sum, size_t tokens, uint32_t ranks,
                   uint32_t group, const adamoe_scale_result *alone, adamoe_scale_result *out)
{
    const size_t n = setting->draws;
    *out = (adamoe_scale_result){
        .load = sum->load / (double)n,
        .rows = spread_of(&sum->rows, n),
        .inputs = spread_of(&sum->inputs, n),
        .bytes = spread_of(&sum->bytes, n),
        .largest_over_mean = spread_of(&sum->largest, n),
        .layer_seconds = spread_of(&sum->seconds, n),
        .communication_share = sum->communication / (double)n,
    };
    const double head = ceil((double)tokens / group) * setting->head_flops / setting->compute.flops;
    const double pass = (double)setting->layers * out->layer_seconds.mean + head;
    out->tokens_per_second = (double)tokens / pass * (double)(ranks / group);
    out->efficiency =
        alone == NULL ? 1.0 : out->tokens_per_second / ((double)ranks * alone->tokens_per_second);
}

adamoe_status adamoe_scale_predict(const adamoe_scale_setting *setting, const adamoe_scale_side *side,
                                   uint32_t ranks, const adamoe_scale_result *alone, adamoe_scale_result *out)
{
    const adamoe_selections *selections = &side->selections;
    const uint32_t group = adamoe_scale_group(ranks, selections->mixture.experts);
    const size_t tokens = adamoe_scale_group_tokens(setting, ranks, group);
    crossings all;
    draw_sums sum = {.load = 0.0};
    uint32_t *id = malloc(tokens * selections->mixture.top_k * sizeof *id);
    if (id == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory");
    }
    adamoe_status status = open_crossings(setting, selections, setting->order, group, &all);
    if (status.code == ADAMOE_OK) {
        adamoe_splitmix64 random = adamoe_random_for("scale: draws", setting->seed);
        for (size_t d = 0; d < setting->draws && status.code == ADAMOE_OK; ++d) {
            adamoe_crossing *crossing = &all.layer[d % all.count];
            adamoe_layer_time time;
            adamoe_selections_take(selections, d % all.count, tokens, &random, id);
            adamoe_crossing_clear(crossing);
            adamoe_crossing_add(crossing, id, tokens, selections->mixture.top_k);
            status =
                adamoe_cost_of_layer(crossing, &setting->network, &setting->compute, &side->layer, &time);
            if (status.code == ADAMOE_OK) {
                add_draw(&sum, crossing, &time);
            }
        }
        close_crossings(&all);
    }
    if (status.code == ADAMOE_OK) {
        finish(setting, &sum, tokens, ranks, group, alone, out);
    }
    free(id);
    return status;
}

/* ------------------------------------------------------------------------------------------------ counted */

static void count_layer(const adamoe_selections *selections, size_t layer, size_t call_tokens,
                        adamoe_crossing *crossing, adamoe_scale_count *out)
{
    const size_t k = selections->mixture.top_k;
    size_t tokens;
    const uint32_t *id = adamoe_selections_judged(selections, layer, &tokens);
    for (size_t first = 0, count; first < tokens; first += count) {
        count = tokens - first < call_tokens ? tokens - first : call_tokens;
        adamoe_crossing_add(crossing, id + first * k, count, k);
    }
    const adamoe_crossing_sum sum = adamoe_crossing_total(crossing);
    out->tokens += tokens;
    out->sum.rows += sum.rows;
    out->sum.rows_sent += sum.rows_sent;
    out->sum.inputs_sent += sum.inputs_sent;
    out->sum.request_bytes += sum.request_bytes;
    out->sum.result_bytes += sum.result_bytes;
    out->sum.largest_over_mean += sum.largest_over_mean / (double)selections->recorded->layers;
}

adamoe_status adamoe_scale_count_recorded(const adamoe_scale_setting *setting,
                                          const adamoe_selections *selections, adamoe_expert_order order,
                                          uint32_t ranks, adamoe_scale_count *out)
{
    const uint32_t group = adamoe_scale_group(ranks, selections->mixture.experts);
    const size_t call_tokens = adamoe_scale_group_tokens(setting, ranks, group);
    crossings all;
    *out = (adamoe_scale_count){.tokens = 0};
    ADAMOE_TRY(open_crossings(setting, selections, order, group, &all));
    for (size_t l = 0; l < all.count; ++l) {
        count_layer(selections, l, call_tokens, &all.layer[l], out);
    }
    close_crossings(&all);
    return adamoe_ok();
}
