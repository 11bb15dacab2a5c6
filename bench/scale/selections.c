/*
 * The experts that tokens select: recorded or drawn.
 */
#include "scale/selections.h"
#include "layers/random_layer.h"

#include <stdlib.h>
#include <string.h>

adamoe_status adamoe_selections_drawn(adamoe_mixture mixture, double load, const double *liking,
                                      adamoe_selections *out)
{
    *out = (adamoe_selections){
        .mixture = mixture, .load = load, .until = malloc(2 * mixture.experts * sizeof *out->until)};
    if (out->until == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "selections: out of memory");
    }
    double sum = 0.0;
    out->liking = out->until + mixture.experts;
    for (size_t e = 0; e < mixture.experts; ++e) {
        out->liking[e] = liking[e];
        out->until[e] = sum += liking[e];
    }
    return adamoe_ok();
}

static size_t first_judged(const adamoe_recorded_routing *recorded)
{
    return recorded->tokens / 2;
}

void adamoe_selections_recorded(const adamoe_recorded_routing *recorded, adamoe_selections *out)
{
    *out = (adamoe_selections){.mixture = recorded->mixture, .recorded = recorded};
    const size_t k = recorded->mixture.top_k, judged = recorded->tokens - first_judged(recorded);
    size_t true_ones = 0;
    for (size_t l = 0; l < recorded->layers; ++l) {
        size_t tokens;
        const uint32_t *id = adamoe_selections_judged(out, l, &tokens);
        for (size_t i = 0; i < tokens * k; ++i) {
            true_ones += id[i] < recorded->mixture.experts;
        }
    }
    out->load = (double)true_ones / (double)(recorded->layers * judged);
}

void adamoe_selections_free(adamoe_selections *selections)
{
    free(selections->until);
    *selections = (adamoe_selections){0};
}

size_t adamoe_selections_layers(const adamoe_selections *selections)
{
    return selections->recorded == NULL ? 1 : selections->recorded->layers;
}

const uint32_t *adamoe_selections_judged(const adamoe_selections *selections, size_t layer, size_t *tokens)
{
    const adamoe_recorded_routing *recorded = selections->recorded;
    const size_t first = first_judged(recorded);
    *tokens = recorded->tokens - first;
    return recorded->id + (layer * recorded->tokens + first) * recorded->mixture.top_k;
}

/* ------------------------------------------------------------------------------------------------- drawing */

static double uniform(adamoe_splitmix64 *random)
{
    return (double)(adamoe_splitmix64_next(random) >> 11) * 0x1p-53;
}

/* The expert whose part of the running sums holds `at`. */
static uint32_t expert_at(const adamoe_selections *selections, double at)
{
    size_t low = 0, high = selections->mixture.experts - 1;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (selections->until[middle] > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return (uint32_t)low;
}

static bool is_taken(const uint32_t *id, size_t count, uint32_t expert)
{
    for (size_t i = 0; i < count; ++i) {
        if (id[i] == expert) {
            return true;
        }
    }
    return false;
}

/* By its weight among those that are not taken; where they weigh nothing, which is what a weight too small for a number
 * comes to, the first of them: the limit of ever larger differences, since weights fall with the numbers of experts. */
static uint32_t pick_of_rest(const adamoe_selections *selections, const uint32_t *id, size_t count,
                             adamoe_splitmix64 *random)
{
    const size_t experts = selections->mixture.experts;
    uint32_t first = 0, last;
    double rest = 0.0, sum = 0.0;
    while (is_taken(id, count, first)) {
        ++first;
    }
    for (size_t e = first; e < experts; ++e) {
        rest += is_taken(id, count, (uint32_t)e) ? 0.0 : selections->liking[e];
    }
    const double at = uniform(random) * rest;
    last = first;
    for (size_t e = first; e < experts; ++e) {
        if (!is_taken(id, count, (uint32_t)e) && selections->liking[e] > 0.0) {
            last = (uint32_t)e;
            sum += selections->liking[e];
            if (sum > at) {
                return last;
            }
        }
    }
    return last;
}

/* Tries by the weights of all, before those of the rest are added up. */
#define QUICK_PICKS 16

/* An expert that is not among id[count]: by its weight among all, again where it is taken already, which is the same as
 * by its weight among those that are left. Where those hardly ever come, from them alone: still the same. */
static uint32_t pick(const adamoe_selections *selections, const uint32_t *id, size_t count,
                     adamoe_splitmix64 *random)
{
    const double all = selections->until[selections->mixture.experts - 1];
    for (size_t tries = 0; tries < QUICK_PICKS; ++tries) {
        const uint32_t expert = expert_at(selections, uniform(random) * all);
        if (!is_taken(id, count, expert)) {
            return expert;
        }
    }
    return pick_of_rest(selections, id, count, random);
}

size_t adamoe_selections_sure(adamoe_mixture mixture)
{
    return mixture.top_k > mixture.null_experts ? mixture.top_k - mixture.null_experts : 0;
}

/* How many of a token's k selections are true: never so few that the others are more than there are null experts. */
static size_t draw_true_ones(adamoe_mixture mixture, double load, adamoe_splitmix64 *random)
{
    const size_t sure = adamoe_selections_sure(mixture);
    const double others = (double)(mixture.top_k - sure), load_of_others = load - (double)sure;
    size_t true_ones = 0;
    for (size_t j = 0; j < mixture.top_k; ++j) {
        const bool is_true = uniform(random) * others < load_of_others;
        true_ones += j < sure || is_true;
    }
    return true_ones;
}

static void draw_token(const adamoe_selections *selections, adamoe_splitmix64 *random, uint32_t *id)
{
    const size_t k = selections->mixture.top_k;
    const size_t true_ones = draw_true_ones(selections->mixture, selections->load, random);
    for (size_t j = 0; j < k; ++j) {
        id[j] = j < true_ones ? pick(selections, id, j, random)
                              : (uint32_t)(selections->mixture.experts + j - true_ones);
    }
}

void adamoe_selections_take(const adamoe_selections *selections, size_t layer, size_t tokens,
                            adamoe_splitmix64 *random, uint32_t *id)
{
    const size_t k = selections->mixture.top_k;
    if (selections->recorded == NULL) {
        for (size_t t = 0; t < tokens; ++t) {
            draw_token(selections, random, id + t * k);
        }
        return;
    }
    size_t judged;
    const uint32_t *from = adamoe_selections_judged(selections, layer, &judged);
    const size_t first = adamoe_splitmix64_below(random, judged);
    for (size_t t = 0; t < tokens; ++t) {
        memcpy(id + t * k, from + (first + t) % judged * k, k * sizeof *id);
    }
}

/* From the experts that a token likes, in that order, to what it selects. */
static void cut_token(adamoe_mixture mixture, double load, adamoe_splitmix64 *random, const uint32_t *likes,
                      uint32_t *id)
{
    const size_t k = mixture.top_k, true_ones = draw_true_ones(mixture, load, random);
    for (size_t j = 0; j < k; ++j) {
        id[j] = j < true_ones ? likes[j] : (uint32_t)(mixture.experts + j - true_ones);
    }
}

adamoe_status adamoe_selections_pair(adamoe_mixture mixture, double load, size_t baseline_k, size_t tokens,
                                     adamoe_splitmix64 *random, uint32_t *adaptive, uint32_t *baseline)
{
    const size_t k = mixture.top_k, most = k > baseline_k ? k : baseline_k;
    adamoe_selections all = {.until = NULL};
    uint32_t *likes = malloc(most * sizeof *likes);
    double *alike = malloc(mixture.experts * sizeof *alike);
    adamoe_status status = likes == NULL || alike == NULL
                               ? adamoe_error(ADAMOE_ENVIRONMENT, "selections: out of memory")
                               : adamoe_ok();
    for (size_t e = 0; e < mixture.experts && alike != NULL; ++e) {
        alike[e] = 1.0;
    }
    if (status.code == ADAMOE_OK) {
        status =
            adamoe_selections_drawn((adamoe_mixture){mixture.experts, 0, most}, (double)most, alike, &all);
    }
    for (size_t t = 0; t < tokens && status.code == ADAMOE_OK; ++t) {
        draw_token(&all, random, likes);
        memcpy(baseline + t * baseline_k, likes, baseline_k * sizeof *likes);
        cut_token(mixture, load, random, likes, adaptive + t * k);
    }
    adamoe_selections_free(&all);
    free(likes);
    free(alike);
    return status;
}

/* ---------------------------------------------------------------------------------------------------- use */

#define DRAWN_FOR_USE 65536

adamoe_status adamoe_selections_use(const adamoe_selections *selections, size_t layer, uint64_t seed,
                                    adamoe_expert_use *out)
{
    const adamoe_recorded_routing *recorded = selections->recorded;
    const size_t k = selections->mixture.top_k;
    ADAMOE_TRY(adamoe_expert_use_create(selections->mixture.experts, out));
    if (recorded != NULL) {
        adamoe_expert_use_add(out, recorded->id + layer * recorded->tokens * k, first_judged(recorded), k);
        return adamoe_ok();
    }
    uint32_t *id = malloc(DRAWN_FOR_USE * k * sizeof *id);
    if (id == NULL) {
        adamoe_expert_use_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "selections: out of memory");
    }
    adamoe_splitmix64 random = adamoe_random_for("scale: use of experts", seed);
    adamoe_selections_take(selections, layer, DRAWN_FOR_USE, &random, id);
    adamoe_expert_use_add(out, id, DRAWN_FOR_USE, k);
    free(id);
    return adamoe_ok();
}
