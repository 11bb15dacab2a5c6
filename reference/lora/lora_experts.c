/*
 * LoRA experts on a frozen linear map: value and gradient, token by token.
 */
#include "lora/lora_experts.h"
#include "numbers.h"
#include "router.h"

#include <stdlib.h>
#include <string.h>

/* One token at work. */
typedef struct token {
    const adamoe_lora_experts *map;
    adamoe_rule rule;
    const uint32_t *id;           /* [k] what it selected */
    double *logits, *dlogits;     /* [n + m] */
    adamoe_token_weights weights; /* of its experts, and their derivatives */
    adamoe_token_weights derivative;
} token;

static size_t all_experts(const adamoe_lora_experts *map)
{
    return map->experts + map->null_experts;
}

static void free_token(token *t)
{
    free(t->logits);
    free(t->dlogits);
    free(t->weights.probability);
    free(t->weights.weight);
    free(t->derivative.probability);
    free(t->derivative.weight);
}

static adamoe_status allocate_token(const adamoe_lora_experts *map, adamoe_rule rule, token *t)
{
    const size_t all = all_experts(map);
    *t = (token){.map = map,
                 .rule = rule,
                 .logits = calloc(all, sizeof(double)),
                 .dlogits = calloc(all, sizeof(double)),
                 .weights = {calloc(all, sizeof(double)), calloc(rule.top_k, sizeof(double)), 0.0},
                 .derivative = {calloc(all, sizeof(double)), calloc(rule.top_k, sizeof(double)), 0.0}};
    if (t->logits == NULL || t->dlogits == NULL || t->weights.probability == NULL ||
        t->weights.weight == NULL || t->derivative.probability == NULL || t->derivative.weight == NULL) {
        free_token(t);
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA experts: out of memory");
    }
    return adamoe_ok();
}

static double dot_row(const adamoe_matrix *matrix, size_t row, const double *x)
{
    double sum = 0.0;
    for (size_t c = 0; c < matrix->columns; ++c) {
        sum += adamoe_matrix_at(matrix, row, c) * x[c];
    }
    return sum;
}

/* out += scale * row */
static void add_row(double scale, const adamoe_matrix *matrix, size_t row, double *out)
{
    for (size_t c = 0; c < matrix->columns; ++c) {
        out[c] += scale * adamoe_matrix_at(matrix, row, c);
    }
}

/* Without a router every logit is 0. */
static void compute_logits(const adamoe_lora_experts *map, const double *x, double *logits)
{
    for (size_t i = 0; i < all_experts(map); ++i) {
        logits[i] = i < map->router.rows ? dot_row(&map->router, i, x) : 0.0;
    }
}

adamoe_status adamoe_lora_experts_route(const adamoe_lora_experts *map, adamoe_rule rule, const double *x,
                                        size_t tokens, adamoe_routing **out)
{
    const size_t all = all_experts(map);
    if (rule.null_kind != ADAMOE_NULL_ZERO) {
        return adamoe_error(ADAMOE_BAD_INPUT, "LoRA experts: null experts are of kind zero");
    }
    double *logits = calloc(all + 1, sizeof *logits);
    float *stored = calloc(tokens * all + 1, sizeof *stored);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "LoRA experts: out of memory");
    if (logits != NULL && stored != NULL) {
        for (size_t t = 0; t < tokens; ++t) {
            compute_logits(map, x + t * map->frozen.columns, logits);
            for (size_t i = 0; i < all; ++i) {
                stored[t * all + i] = (float)logits[i];
            }
        }
        status = adamoe_routing_create(stored, tokens, map->experts, map->null_experts, rule, out);
    }
    free(logits);
    free(stored);
    return status;
}

/* The place of expert e among the k selected ones, or k. */
static size_t place_of(const token *t, size_t e)
{
    size_t j = 0;
    while (j < t->rule.top_k && t->id[j] != e) {
        ++j;
    }
    return j;
}

static void begin_token(token *t, const adamoe_routing *routing, size_t index, const double *x)
{
    t->id = routing->id + index * t->rule.top_k;
    compute_logits(t->map, x, t->logits);
    adamoe_token_weights_double(t->rule, t->map->experts, t->map->null_experts, t->logits, t->id,
                                &t->weights);
}

/* y += w (alpha / r) B_e A_e x */
static void add_expert(token *t, size_t e, double weight, const double *x, double *y)
{
    const adamoe_lora_experts *map = t->map;
    for (size_t i = 0; i < map->rank; ++i) {
        add_row(weight * map->scale * dot_row(&map->a, e * map->rank + i, x), &map->b, e * map->rank + i, y);
    }
}

adamoe_status adamoe_lora_experts_double(const adamoe_lora_experts *map, const adamoe_routing *routing,
                                         const double *x, double *y, double *probability_sums)
{
    const size_t in = map->frozen.columns, out = map->frozen.rows, k = routing->rule.top_k;
    token t;
    ADAMOE_TRY(allocate_token(map, routing->rule, &t));
    if (probability_sums != NULL) {
        memset(probability_sums, 0, all_experts(map) * sizeof *probability_sums);
    }
    for (size_t index = 0; index < routing->tokens; ++index) {
        begin_token(&t, routing, index, x + index * in);
        for (size_t r = 0; r < out; ++r) {
            y[index * out + r] = dot_row(&map->frozen, r, x + index * in);
        }
        for (size_t e = 0; e < map->experts; ++e) {
            const size_t j = place_of(&t, e);
            if (j < k) {
                add_expert(&t, e, t.weights.weight[j], x + index * in, y + index * out);
            }
        }
        for (size_t i = 0; i < all_experts(map) && probability_sums != NULL; ++i) {
            probability_sums[i] += t.weights.probability[i];
        }
    }
    free_token(&t);
    return adamoe_ok();
}

/* With h = A x, u = B^T dy and s = alpha / r, for y += w s B h:
 *   dw = s h . u,  dB = w s dy h^T,  dh = w s u,  dA = dh x^T,  dx += A^T dh. */
static double expert_backward(token *t, size_t e, double weight, const double *x, const double *dy,
                              double *dx, const adamoe_lora_experts_gradient *gradient)
{
    const adamoe_lora_experts *map = t->map;
    const size_t in = map->frozen.columns, out = map->frozen.rows;
    double dweight = 0.0;
    for (size_t i = 0; i < map->rank; ++i) {
        const size_t row = e * map->rank + i;
        const double h = dot_row(&map->a, row, x), u = dot_row(&map->b, row, dy);
        const double dh = weight * map->scale * u;
        dweight += map->scale * h * u;
        if (dx != NULL) {
            add_row(dh, &map->a, row, dx);
        }
        for (size_t c = 0; c < in && gradient->a != NULL; ++c) {
            gradient->a[row * in + c] += dh * x[c];
        }
        for (size_t c = 0; c < out && gradient->b != NULL; ++c) {
            gradient->b[row * out + c] += weight * map->scale * h * dy[c];
        }
    }
    return dweight;
}

static void router_backward(token *t, const double *slope, const double *x, double *dx, double *drouter)
{
    const adamoe_lora_experts *map = t->map;
    for (size_t i = 0; i < all_experts(map); ++i) {
        t->derivative.probability[i] = slope == NULL ? 0.0 : slope[i];
        t->dlogits[i] = 0.0;
    }
    adamoe_token_weights_backward(t->rule, map->experts, map->null_experts, t->logits, t->id, &t->derivative,
                                  t->dlogits);
    adamoe_product_backward(&map->router, x, t->dlogits, dx, drouter);
}

adamoe_status adamoe_lora_experts_backward(const adamoe_lora_experts *map, const adamoe_routing *routing,
                                           const double *x, const double *slope, const double *dy, double *dx,
                                           const adamoe_lora_experts_gradient *gradient)
{
    const size_t in = map->frozen.columns, out = map->frozen.rows, k = routing->rule.top_k;
    token t;
    ADAMOE_TRY(allocate_token(map, routing->rule, &t));
    for (size_t index = 0; index < routing->tokens; ++index) {
        const double *input = x + index * in, *doutput = dy + index * out;
        double *dinput = dx == NULL ? NULL : dx + index * in;
        begin_token(&t, routing, index, input);
        adamoe_product_backward(&map->frozen, input, doutput, dinput, NULL);
        memset(t.derivative.weight, 0, k * sizeof *t.derivative.weight);
        for (size_t e = 0; e < map->experts; ++e) {
            const size_t j = place_of(&t, e);
            if (j < k) {
                t.derivative.weight[j] =
                    expert_backward(&t, e, t.weights.weight[j], input, doutput, dinput, gradient);
            }
        }
        router_backward(&t, slope, input, dinput, gradient->router);
    }
    free_token(&t);
    return adamoe_ok();
}
