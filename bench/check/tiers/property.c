/*
 * The tier `property`: the input is changed so that the effect on the output is known, and the kernel is
 * compared with itself. What the contract makes the same computation has the same bits where the kernel
 * guarantees them; otherwise, and where experts are summed in another order, two honest results differ by two
 * bounds at most.
 */
#include "check/tiers/arrange.h"
#include "check/tiers/data.h"
#include "check/tiers/empty_sums.h"
#include "check/tiers/lifetime.h"
#include "check/tiers/poison.h"
#include "check/tiers/tiers.h"
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct trial {
    const adamoe_checking *k;
    const adamoe_case_data *data;
    adamoe_yardstick yardstick; /* of the unchanged input; expected is what the kernel gave for it */
    float *expected, *got;      /* [tokens, hidden_size] */
    float *x;                   /* [tokens, hidden_size] changed */
    uint32_t *order;            /* [tokens + experts] */
} trial;

static adamoe_status compute(const trial *t, const adamoe_layer *layer, const adamoe_plan *plan,
                             const float *x, float *y, bool *go_on)
{
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    const adamoe_experts_call call = {.layer = layer, .plan = plan, .x = x};
    adamoe_call_outcome outcome;
    ADAMOE_TRY(adamoe_call_experts(&manner, &call, y, &outcome));
    *go_on = adamoe_check_called(t->k, &outcome);
    return adamoe_ok();
}

/* By bits if the kernel has all the `guarantees`, by twice the bound otherwise. */
static void judge(const trial *t, uint32_t guarantees, const char *what)
{
    const size_t width = t->k->c->hidden_size;
    if ((t->k->kernel->guarantees & guarantees) == guarantees && guarantees != 0) {
        (void)adamoe_check_same_bits(t->k, t->got, t->expected, t->k->c->tokens * width, width, what);
    } else {
        (void)adamoe_check_judge(t->k, &t->yardstick, t->got, width, 2.0);
    }
}

static void shuffle(adamoe_splitmix64 *random, uint32_t *order, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = count; i > 1; --i) {
        const size_t j = adamoe_splitmix64_below(random, i);
        const uint32_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

static adamoe_splitmix64 random_of(const trial *t)
{
    return adamoe_random_for(adamoe_property_names[t->k->c->property], t->k->seed);
}

/* Computes tokens in an order or a part of them, each result to its old place. */
static adamoe_status compute_arranged(const trial *t, adamoe_arrangement arrangement,
                                      const adamoe_layer *layer, bool *go_on)
{
    const size_t width = t->k->c->hidden_size;
    adamoe_plan *plan = NULL;
    float *y = NULL;
    adamoe_arrange_rows(t->data->x, arrangement, width, t->x);
    ADAMOE_TRY(adamoe_arrange_plan(t->data->plan, arrangement, &plan));
    adamoe_status status = adamoe_check_floats(arrangement.tokens * width, &y);
    if (status.code == ADAMOE_OK) {
        status = compute(t, layer, plan, t->x, y, go_on);
    }
    for (size_t i = 0; i < arrangement.tokens && status.code == ADAMOE_OK; ++i) {
        memcpy(t->got + arrangement.token[i] * width, y + i * width, width * sizeof *y);
    }
    free(y);
    adamoe_plan_free(plan);
    return status;
}

static adamoe_status permuted_tokens(const trial *t)
{
    adamoe_splitmix64 random = random_of(t);
    bool go_on = false;
    shuffle(&random, t->order, t->k->c->tokens);
    ADAMOE_TRY(compute_arranged(t, (adamoe_arrangement){.token = t->order, .tokens = t->k->c->tokens},
                                &t->data->layer.layer, &go_on));
    if (go_on) {
        judge(t, ADAMOE_SAME_BITS_BATCH | ADAMOE_SAME_BITS_RUNS, "tokens in another order, and in theirs");
    }
    return adamoe_ok();
}

static adamoe_status permuted_experts(const trial *t)
{
    const size_t tokens = t->k->c->tokens, n = t->k->c->mixture.experts;
    adamoe_splitmix64 random = random_of(t);
    uint32_t *expert_order = t->order + tokens;
    bool go_on = false;
    adamoe_layer layer = t->data->layer.layer;
    adamoe_expert *expert = calloc(n, sizeof *expert);
    if (expert == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t i = 0; i < tokens; ++i) {
        t->order[i] = (uint32_t)i;
    }
    shuffle(&random, expert_order, n);
    for (size_t e = 0; e < n; ++e) {
        expert[e] = layer.expert[expert_order[e]];
    }
    layer.expert = expert;
    const adamoe_status status = compute_arranged(
        t, (adamoe_arrangement){.token = t->order, .tokens = tokens, .expert = expert_order}, &layer, &go_on);
    free(expert);
    if (status.code == ADAMOE_OK && go_on) {
        judge(t, 0, "");
    }
    return status;
}

static adamoe_status split_batch(const trial *t)
{
    const size_t tokens = t->k->c->tokens, first = (tokens + 1) / 3;
    bool go_on = false;
    for (size_t i = 0; i < tokens; ++i) {
        t->order[i] = (uint32_t)i;
    }
    ADAMOE_TRY(compute_arranged(t, (adamoe_arrangement){.token = t->order, .tokens = first},
                                &t->data->layer.layer, &go_on));
    if (go_on) {
        ADAMOE_TRY(compute_arranged(t,
                                    (adamoe_arrangement){.token = t->order + first, .tokens = tokens - first},
                                    &t->data->layer.layer, &go_on));
    }
    if (go_on) {
        judge(t, ADAMOE_SAME_BITS_BATCH | ADAMOE_SAME_BITS_RUNS, "the batch in two parts, and in one");
    }
    return adamoe_ok();
}

static adamoe_status unused_null_experts(const trial *t)
{
    adamoe_layer layer = t->data->layer.layer;
    bool go_on = false;
    layer.null_experts += 5;
    ADAMOE_TRY(compute(t, &layer, t->data->plan, t->data->x, t->got, &go_on));
    if (go_on) {
        judge(t, ADAMOE_SAME_BITS_RUNS, "with five more null experts that nobody selects, and without");
    }
    return adamoe_ok();
}

/* The weights of token t times 2^(t mod 7 - 3); its result is divided by that, which is exact. */
static adamoe_status scaled_combine(const trial *t)
{
    const size_t width = t->k->c->hidden_size;
    adamoe_plan plan = *t->data->plan;
    float *combine = NULL, *self_scale = NULL;
    bool go_on = false;
    ADAMOE_TRY(adamoe_check_floats(plan.token_offset[plan.tokens], &combine));
    adamoe_status status = adamoe_check_floats(plan.tokens, &self_scale);
    for (size_t i = 0; i < plan.tokens && status.code == ADAMOE_OK; ++i) {
        const int power = (int)(i % 7) - 3;
        for (size_t place = plan.token_offset[i]; place < plan.token_offset[i + 1]; ++place) {
            combine[place] = ldexpf(plan.combine[place], power);
        }
        self_scale[i] = plan.self_scale == NULL ? 0.0f : ldexpf(plan.self_scale[i], power);
    }
    plan.combine = combine;
    plan.self_scale = plan.self_scale == NULL ? NULL : self_scale;
    if (status.code == ADAMOE_OK) {
        status = compute(t, &t->data->layer.layer, &plan, t->data->x, t->got, &go_on);
    }
    free(combine);
    free(self_scale);
    for (size_t i = 0; i < t->k->c->tokens * width && go_on; ++i) {
        t->got[i] = ldexpf(t->got[i], 3 - (int)(i / width % 7));
    }
    if (status.code == ADAMOE_OK && go_on) {
        judge(t, ADAMOE_SAME_BITS_RUNS, "weights times a power of two, and as they are");
    }
    return status;
}

/* y of what is poisoned. Int8 has no value for what is not finite, but an identity expert passes on the channel that has
 * it. */
static bool shows_poison(const trial *t, size_t token, const char *what)
{
    const size_t width = t->k->c->hidden_size;
    const adamoe_plan *plan = t->data->plan;
    const bool by_identity = adamoe_is_without_places(plan, token) || t->k->kernel->x == ADAMOE_INT8;
    return by_identity
               ? plan->self_scale == NULL ||
                     adamoe_check_nowhere_finite(t->k, t->got + token * width + width - 1, token, 1, 1, what)
               : adamoe_check_nowhere_finite(t->k, t->got + token * width, token, width, width, what);
}

/* A token with experts, and all without. All of y that is not theirs is as it was. */
static adamoe_status poison_tokens(const trial *t, size_t poison, bool *go_on)
{
    const size_t width = t->k->c->hidden_size, tokens = t->k->c->tokens;
    const adamoe_plan *plan = t->data->plan;
    const size_t chosen = adamoe_poisoned_token(plan);
    char what[120];
    memcpy(t->x, t->data->x, tokens * width * sizeof *t->x);
    for (size_t token = 0; token < tokens; ++token) {
        if (token == chosen || adamoe_is_without_places(plan, token)) {
            adamoe_poison_row(poison, t->x + token * width, width);
        }
    }
    ADAMOE_TRY(compute(t, &t->data->layer.layer, plan, t->x, t->got, go_on));
    (void)snprintf(what, sizeof what, "y of a token whose x is %s", adamoe_poison_names[poison]);
    for (size_t token = 0; token < tokens && *go_on; ++token) {
        const bool empty = adamoe_is_without_places(plan, token);
        if (token == chosen || (empty && plan->self_scale != NULL)) {
            *go_on = shows_poison(t, token, what);
            memcpy(t->got + token * width, t->expected + token * width, width * sizeof *t->got);
        }
    }
    *go_on = *go_on && adamoe_check_empty_tokens(t->k, plan, t->got, width, what);
    return adamoe_ok();
}

static adamoe_status poisoned_token(const trial *t)
{
    bool go_on = true;
    for (size_t i = 0; i < ADAMOE_POISONS && go_on; ++i) {
        ADAMOE_TRY(poison_tokens(t, i, &go_on));
        if (go_on) {
            judge(t, ADAMOE_SAME_BITS_BATCH | ADAMOE_SAME_BITS_RUNS,
                  "beside a token that is not finite, and beside one that is");
            go_on = t->k->out->status != ADAMOE_CHECK_FAILED;
        }
    }
    return adamoe_ok();
}

static adamoe_status run(trial *t)
{
    static adamoe_status (*const properties[ADAMOE_PROPERTIES])(const trial *) = {
        permuted_tokens, permuted_experts, split_batch, unused_null_experts, scaled_combine, poisoned_token};
    const adamoe_layer *layer = &t->data->layer.layer;
    bool go_on = false;
    ADAMOE_TRY(compute(t, layer, t->data->plan, t->data->x, t->expected, &go_on));
    if (!go_on) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_layer_yardstick(layer, adamoe_kernel_arithmetic(t->k->kernel), t->data->x,
                                      t->data->plan, &t->yardstick));
    for (size_t i = 0; i < t->yardstick.count; ++i) {
        t->yardstick.expected[i] = (double)t->expected[i];
    }
    return properties[t->k->c->property](t);
}

/* Nothing is computed: prepare alone is judged, of a layer or of a matrix. Frees the data. */
static adamoe_status refused_memory(const adamoe_checking *k, const adamoe_layer *layer,
                                    const adamoe_matrix *matrix, adamoe_case_data *data)
{
    const adamoe_call_manner manner = adamoe_check_manner(k, ADAMOE_GUARD_BACK);
    adamoe_call_outcome outcome;
    const adamoe_status status = adamoe_call_refused(&manner, layer, matrix, &outcome);
    adamoe_case_data_free(data);
    if (status.code == ADAMOE_OK) {
        (void)adamoe_check_called(k, &outcome);
    }
    return status;
}

static bool is_of_objects(const adamoe_case *c)
{
    return c->property == ADAMOE_PROPERTY_REPEATED_CALLS || c->property == ADAMOE_PROPERTY_SEVERAL_OBJECTS;
}

/* Frees the data. */
static adamoe_status check_objects(const adamoe_checking *k, adamoe_case_data *data)
{
    const adamoe_status status = adamoe_check_objects(k, data);
    adamoe_case_data_free(data);
    return status;
}

adamoe_status adamoe_check_multiply_property(const adamoe_checking *k)
{
    adamoe_case_data data;
    ADAMOE_TRY(adamoe_multiply_data_create(k->c, k->seed, &data));
    if (is_of_objects(k->c)) {
        return check_objects(k, &data);
    }
    if (k->c->property == ADAMOE_PROPERTY_REFUSED_MEMORY) {
        return refused_memory(k, NULL, &data.matrix, &data);
    }
    const adamoe_status status = adamoe_check_poisoned_product(k, &data);
    adamoe_case_data_free(&data);
    return status;
}

adamoe_status adamoe_check_experts_property(const adamoe_checking *k)
{
    const size_t count = k->c->tokens * k->c->hidden_size;
    adamoe_case_data data;
    trial t = {.k = k, .data = &data};
    if (k->c->property == ADAMOE_PROPERTY_REFUSED_MEMORY) {
        ADAMOE_TRY(adamoe_experts_data_create(k->c, k->seed, &data));
        return refused_memory(k, &data.layer.layer, NULL, &data);
    }
    if (k->c->tokens == 0) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "there is nothing to compare");
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_experts_data_create(k->c, k->seed, &data));
    if (is_of_objects(k->c)) {
        return check_objects(k, &data);
    }
    t.order = calloc(k->c->tokens + k->c->mixture.experts, sizeof *t.order);
    adamoe_status status = adamoe_yardstick_create(count, &t.yardstick);
    float **const arrays[] = {&t.expected, &t.got, &t.x};
    for (size_t i = 0; i < 3 && status.code == ADAMOE_OK; ++i) {
        status = adamoe_check_floats(count, arrays[i]);
    }
    if (status.code == ADAMOE_OK && t.order == NULL) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    if (status.code == ADAMOE_OK) {
        status = run(&t);
    }
    free(t.order);
    free(t.expected);
    free(t.got);
    free(t.x);
    adamoe_yardstick_free(&t.yardstick);
    adamoe_case_data_free(&data);
    return status;
}
