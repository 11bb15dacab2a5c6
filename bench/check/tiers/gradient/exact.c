/*
 * Gradients: the tier `exact`. Small integers, for which every derivative is an integer or a half, and every
 * sum of them the same in any order; and 64-bit integers, in halves, to compare with.
 *
 * silu does not stand in the way: a gate's pre-activation is 0, where silu is 0 and its slope one half, or at
 * least 64, where it is the identity and its slope 1 to the last bit of a float32. The channel `one`, where x
 * is 1, has 64 in the rows of w1 that are not all zeros; what else they hold adds to it, for no x is
 * negative. Weights of the combine are -1, 0, 1 and 2. That each sum is exact is counted while it is formed: all its
 * terms are multiples of a power of two, and their magnitudes add up to at most 2^24 of it.
 */
#include "check/tiers/data.h"
#include "check/tiers/gradient/judge.h"
#include "check/tiers/gradient/tiers.h"
#include "numbers.h"
#include "plan.h"
#include "bound/bound.h"
#include "router.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST_EXACT (INT64_C(1) << 24)
#define LEAST_GATE    64

typedef struct integer_sum {
    int64_t value;
    uint64_t magnitude, bits; /* sum of the absolute values; all bits that are set in them */
} integer_sum;

typedef struct exact_gradient {
    const adamoe_case *c;
    adamoe_random_layer layer;
    adamoe_plan *made;
    adamoe_plan plan; /* with weights of its own */
    float *x, *dy, *combine, *self_scale;
    size_t one;
    integer_sum *halves[ADAMOE_GRADIENT_TENSORS]; /* of every element; the first is the block */
    bool exact;
    adamoe_yardstick yardstick[ADAMOE_GRADIENT_TENSORS];
} exact_gradient;

static uint64_t size_of(int64_t value)
{
    return value < 0 ? (uint64_t)-value : (uint64_t)value;
}

/* The largest power of two that divides all terms. */
static uint64_t unit_of(const integer_sum *sum)
{
    return sum->bits & (~sum->bits + 1);
}

static bool is_exact(const integer_sum *sum)
{
    return sum->magnitude <= LARGEST_EXACT * unit_of(sum);
}

static void add_product(integer_sum *sum, int64_t a, int64_t b)
{
    sum->value += a * b;
    sum->magnitude += size_of(a * b);
    sum->bits |= size_of(a * b);
}

/* sum += inner * factor, whether the inner sum is formed first or each of its terms is multiplied. */
static void add_sum(integer_sum *sum, const integer_sum *inner, int64_t factor)
{
    sum->value += inner->value * factor;
    sum->magnitude += inner->magnitude * size_of(factor);
    sum->bits |= unit_of(inner) * size_of(factor);
}

/* --------------------------------------------------------------------------------------------------- data */

/* low .. high */
static int draw(adamoe_splitmix64 *random, int low, int high)
{
    return low + (int)adamoe_splitmix64_below(random, (size_t)(high - low) + 1);
}

/* The matrix's own memory, to be filled. */
static float *values_of(const exact_gradient *g, const adamoe_matrix *matrix)
{
    return (float *)(void *)(g->layer.memory + ((const unsigned char *)matrix->data - g->layer.memory));
}

/* Up to four values of each of `lines` lines; element k of line i is at i * line + k * step. */
static void scatter(adamoe_splitmix64 *random, int low, int high, size_t lines, size_t line, size_t length,
                    size_t step, float *values)
{
    for (size_t i = 0; i < 4 * lines; ++i) {
        const size_t k = adamoe_splitmix64_below(random, length);
        values[i / 4 * line + k * step] = (float)draw(random, low, high);
    }
}

/* Few values in each row of w1 and w3 and in each column of w2, so that no sum of products grows large. */
static void fill_expert(adamoe_splitmix64 *random, const exact_gradient *g, const adamoe_expert *expert)
{
    const size_t d = g->c->hidden_size, ff = g->c->intermediate_size;
    float *w1 = values_of(g, &expert->w1), *w3 = values_of(g, &expert->w3);
    float *w2 = values_of(g, &expert->w2);
    memset(w1, 0, d * ff * sizeof *w1);
    memset(w3, 0, d * ff * sizeof *w3);
    memset(w2, 0, d * ff * sizeof *w2);
    scatter(random, 0, 2, ff, d, d, 1, w1);
    scatter(random, -2, 2, ff, d, d, 1, w3);
    scatter(random, -2, 2, ff, 1, d, ff, w2);
    for (size_t i = 0; i < ff; ++i) {
        if (draw(random, 0, 4) == 0) {
            memset(w1 + i * d, 0, d * sizeof *w1);
        } else {
            w1[i * d + g->one] = (float)LEAST_GATE;
        }
    }
}

static adamoe_status make_values(adamoe_splitmix64 *random, size_t count, int low, int high, float **out)
{
    ADAMOE_TRY(adamoe_check_floats(count, out));
    for (size_t i = 0; i < count; ++i) {
        (*out)[i] = (float)draw(random, low, high);
    }
    return adamoe_ok();
}

static adamoe_status make_plan(adamoe_splitmix64 *random, exact_gradient *g)
{
    const adamoe_case *c = g->c;
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_pattern_routing(c->pattern, c->mixture, c->null_kind,
                                      adamoe_indifferent_load(c->mixture), c->tokens, random, &routing));
    const adamoe_status status = adamoe_plan_create(routing, &g->made);
    adamoe_routing_free(routing);
    ADAMOE_TRY(status);
    g->plan = *g->made;
    ADAMOE_TRY(make_values(random, g->plan.token_offset[c->tokens], -1, 2, &g->combine));
    g->plan.combine = g->combine;
    if (g->plan.self_scale != NULL) {
        ADAMOE_TRY(make_values(random, c->tokens, -1, 2, &g->self_scale));
        g->plan.self_scale = g->self_scale;
    }
    return adamoe_ok();
}

static adamoe_status make_data(adamoe_splitmix64 *random, exact_gradient *g)
{
    const adamoe_case *c = g->c;
    const adamoe_layer_sizes sizes = {c->hidden_size, c->intermediate_size, c->mixture.experts,
                                      c->mixture.null_experts};
    g->one = adamoe_splitmix64_below(random, c->hidden_size);
    ADAMOE_TRY(adamoe_random_layer_create(sizes, ADAMOE_F32, 0, random, &g->layer));
    for (size_t e = 0; e < c->mixture.experts; ++e) {
        fill_expert(random, g, &g->layer.expert[e]);
    }
    ADAMOE_TRY(make_plan(random, g));
    ADAMOE_TRY(make_values(random, c->tokens * c->hidden_size, 0, 2, &g->x));
    ADAMOE_TRY(make_values(random, c->tokens * c->hidden_size, -2, 2, &g->dy));
    for (size_t t = 0; t < c->tokens; ++t) {
        g->x[t * c->hidden_size + g->one] = 1.0f;
    }
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------- what is expected */

static int64_t at(const adamoe_matrix *matrix, size_t row, size_t column)
{
    return (int64_t)adamoe_matrix_at(matrix, row, column);
}

/* Of one row, for a hidden channel i. The derivatives are in halves. */
typedef struct hidden_channel {
    int64_t h, dg, du;
    integer_sum e; /* w2^T dy */
} hidden_channel;

static hidden_channel derive_channel(exact_gradient *g, const adamoe_expert *expert, size_t t, int64_t weight,
                                     size_t i)
{
    const size_t d = g->c->hidden_size;
    integer_sum gate = {0, 0, 0}, up = {0, 0, 0};
    hidden_channel c = {.e = {0, 0, 0}};
    for (size_t j = 0; j < d; ++j) {
        const int64_t x = (int64_t)g->x[t * d + j];
        add_product(&gate, at(&expert->w1, i, j), x);
        add_product(&up, at(&expert->w3, i, j), x);
        add_product(&c.e, at(&expert->w2, j, i), (int64_t)g->dy[t * d + j]);
    }
    g->exact = g->exact && is_exact(&gate) && is_exact(&up) && is_exact(&c.e) &&
               (gate.value == 0 || gate.value >= LEAST_GATE);
    const int64_t twice_slope = gate.value == 0 ? 1 : 2;
    c.h = gate.value * up.value;
    c.dg = weight * c.e.value * up.value * twice_slope;
    c.du = 2 * weight * c.e.value * gate.value;
    return c;
}

/* What one row, of expert e and token t at a place, gives to all tensors. */
static void add_row(exact_gradient *g, size_t e, size_t t, size_t place)
{
    const adamoe_expert *expert = &g->layer.expert[e];
    const size_t d = g->c->hidden_size, ff = g->c->intermediate_size;
    const int64_t weight = (int64_t)g->plan.combine[place];
    for (size_t i = 0; i < ff; ++i) {
        const hidden_channel c = derive_channel(g, expert, t, weight, i);
        add_sum(&g->halves[ADAMOE_GRADIENT_COMBINE][place], &c.e, 2 * c.h);
        for (size_t j = 0; j < d; ++j) {
            const int64_t x = (int64_t)g->x[t * d + j], dy = (int64_t)g->dy[t * d + j];
            integer_sum *dx = &g->halves[ADAMOE_GRADIENT_X][t * d + j];
            add_product(dx, at(&expert->w1, i, j), c.dg);
            add_product(dx, at(&expert->w3, i, j), c.du);
            add_product(&g->halves[ADAMOE_GRADIENT_W1][(e * ff + i) * d + j], c.dg, x);
            add_product(&g->halves[ADAMOE_GRADIENT_W3][(e * ff + i) * d + j], c.du, x);
            add_product(&g->halves[ADAMOE_GRADIENT_W2][(e * d + j) * ff + i], 2 * weight * dy, c.h);
        }
    }
}

static void add_self(exact_gradient *g, size_t t)
{
    const size_t d = g->c->hidden_size;
    for (size_t j = 0; j < d; ++j) {
        const int64_t x = (int64_t)g->x[t * d + j], twice_dy = 2 * (int64_t)g->dy[t * d + j];
        add_product(&g->halves[ADAMOE_GRADIENT_X][t * d + j], (int64_t)g->plan.self_scale[t], twice_dy);
        add_product(&g->halves[ADAMOE_GRADIENT_SELF_SCALE][t], twice_dy, x);
    }
}

static void expect(exact_gradient *g)
{
    const adamoe_plan *plan = &g->plan;
    for (size_t t = 0; t < plan->tokens; ++t) {
        for (size_t place = plan->token_offset[t]; place < plan->token_offset[t + 1]; ++place) {
            size_t e = 0;
            while (plan->offset[e + 1] <= plan->token_row[place]) {
                ++e;
            }
            add_row(g, e, t, place);
        }
        if (plan->self_scale != NULL) {
            add_self(g, t);
        }
    }
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        for (size_t k = 0; k < g->yardstick[i].count; ++k) {
            g->exact = g->exact && is_exact(&g->halves[i][k]);
            g->yardstick[i].expected[k] = 0.5 * (double)g->halves[i][k].value;
        }
    }
}

static adamoe_status make_expected(exact_gradient *g)
{
    adamoe_gradient_output sizes;
    ADAMOE_TRY(adamoe_gradient_output_create(&g->layer.layer, &g->plan, &sizes));
    const adamoe_gradient_output s = sizes;
    adamoe_gradient_output_free(&sizes);
    size_t all = 1;
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        ADAMOE_TRY(adamoe_yardstick_create(s.count[i], &g->yardstick[i]));
        all += s.count[i];
    }
    g->halves[0] = calloc(all, sizeof *g->halves[0]);
    if (g->halves[0] == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t i = 1; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        g->halves[i] = g->halves[i - 1] + s.count[i - 1];
    }
    expect(g);
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- the whole */

static adamoe_status judge(const adamoe_checking *k, exact_gradient *g)
{
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(k->c).text, k->seed);
    const adamoe_yardstick *yardstick[ADAMOE_GRADIENT_TENSORS];
    ADAMOE_TRY(make_data(&random, g));
    ADAMOE_TRY(make_expected(g));
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        yardstick[i] = &g->yardstick[i];
    }
    const adamoe_gradient_call call = {&g->layer.layer, &g->plan, g->x, g->dy};
    if (!g->exact) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "a sum is too large to be exact");
        return adamoe_ok();
    }
    return adamoe_check_gradient_judged(k, &call, yardstick);
}

adamoe_status adamoe_check_gradient_exact(const adamoe_checking *k)
{
    exact_gradient g = {.c = k->c, .exact = true};
    const adamoe_status status = judge(k, &g);
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        adamoe_yardstick_free(&g.yardstick[i]);
    }
    free(g.halves[0]);
    free(g.x);
    free(g.dy);
    free(g.combine);
    free(g.self_scale);
    adamoe_plan_free(g.made);
    adamoe_random_layer_free(&g.layer);
    return status;
}
