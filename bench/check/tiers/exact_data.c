/*
 * The data of the tier `exact`, drawn from one generator.
 */
#include "check/tiers/exact_data.h"
#include "numbers.h"
#include "plan.h"
#include "bound/bound.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ANCHOR 127

/* 190 of these over a scale of 190/127 of them, which float32 rounds to one, are 190 steps: more than 127. */
#define TINY         0x1p-149f
#define LARGEST_TINY 190

/* A weight that is denormal. */
#define TINY_WEIGHT 0x1p-140

static bool uses(const adamoe_kernel *kernel, adamoe_arithmetic kind)
{
    return kernel->x == kind || kernel->h == kind || kernel->weight == kind;
}

/* low .. high */
static int draw(adamoe_splitmix64 *random, int low, int high)
{
    return low + (int)adamoe_splitmix64_below(random, (size_t)(high - low) + 1);
}

/* Two different channels of `count`, or ADAMOE_NOWHERE without int8. */
static adamoe_anchors draw_anchors(adamoe_splitmix64 *random, bool wanted, size_t count)
{
    adamoe_anchors a = {ADAMOE_NOWHERE, ADAMOE_NOWHERE};
    if (wanted) {
        a.zero = adamoe_splitmix64_below(random, count);
        a.full = (a.zero + 1 + adamoe_splitmix64_below(random, count - 1)) % count;
    }
    return a;
}

/* A channel first .. count - 1 that is neither anchor: at least three of them. */
static size_t draw_channel(adamoe_splitmix64 *random, const adamoe_anchors *a, size_t first, size_t count)
{
    size_t channel;
    do {
        channel = first + adamoe_splitmix64_below(random, count - first);
    } while (channel == a->zero || channel == a->full);
    return channel;
}

/* Up to 16 weights of a row, low .. high, not at the anchors, some of them among the last four, where blocks end
 * that are not full; then the anchor. `row` is zero before. */
static void draw_row(adamoe_splitmix64 *random, const adamoe_anchors *a, int low, int high, size_t columns,
                     int *row)
{
    enum { WEIGHTS = 16, LAST = 4 };
    for (size_t i = 0; i < WEIGHTS && i < columns; ++i) {
        const size_t before = i < LAST && columns > WEIGHTS ? columns - LAST : 0;
        row[draw_channel(random, a, before, columns)] = draw(random, low, high);
    }
    if (a->zero != ADAMOE_NOWHERE) {
        row[a->zero] = ANCHOR;
    }
}

/* w1: rows of zeros, which make h 0, and rows whose product with x is 64 times a power of two: the channel x
 * is read from has 64. Where nothing is rounded, a sum of many channels instead. For half steps of h the step
 * is 128, and so is the gate of the channel that makes it. */
static void draw_gate_row(adamoe_splitmix64 *random, const adamoe_exact_data *data, size_t i, size_t columns,
                          int *row)
{
    const bool full = i == data->h_anchors.full;
    const bool zero = i == data->h_anchors.zero || (!full && draw(random, 0, 7) == 0);
    const int twice = full && data->half_steps ? 2 : 1;
    if (zero && i > 1 && draw(random, 0, 1) == 0) {
        return; /* no anchor either */
    }
    if (!zero && !data->rounded) {
        draw_row(random, &data->x_anchors, 0, 3, columns, row);
    } else if (data->x_anchors.zero != ADAMOE_NOWHERE) {
        row[data->x_anchors.zero] = ANCHOR * twice;
    }
    if (!zero) {
        const bool one = full || !data->rounded;
        row[one ? data->one : draw_channel(random, &data->x_anchors, 0, columns)] = 64 * twice;
    }
}

/* Some rows of a matrix are all zeros, but never all rows. */
static bool draw_zero_row(adamoe_splitmix64 *random, size_t i)
{
    return i > 1 && draw(random, 0, 7) == 0;
}

static void draw_up_row(adamoe_splitmix64 *random, const adamoe_exact_data *data, size_t i, size_t columns,
                        int *row)
{
    if (i == data->h_anchors.full) {
        row[data->one] = ANCHOR;
    } else if (!draw_zero_row(random, i)) {
        draw_row(random, &data->x_anchors, data->rounded ? -1 : -3, data->rounded ? 1 : 3, columns, row);
    }
}

typedef void draw_function(adamoe_splitmix64 *, const adamoe_exact_data *, size_t, size_t, int *);

static void draw_down_row(adamoe_splitmix64 *random, const adamoe_exact_data *data, size_t i, size_t columns,
                          int *row)
{
    if (!draw_zero_row(random, i)) {
        draw_row(random, &data->h_anchors, -2, 2, columns, row);
    }
}

static float row_scale(const adamoe_exact_data *data, size_t row)
{
    return row == data->tiny_weights ? TINY : row == data->triple_weights ? 3.0f : 1.0f;
}

static void fill_matrix(adamoe_splitmix64 *random, const adamoe_exact_data *data, const adamoe_matrix *matrix,
                        draw_function *draw_one, int *row)
{
    unsigned char *values = data->layer.memory + ((const unsigned char *)matrix->data - data->layer.memory);
    for (size_t i = 0; i < matrix->rows; ++i) {
        const float scale = row_scale(data, i);
        memset(row, 0, matrix->columns * sizeof *row);
        draw_one(random, data, i, matrix->columns, row);
        for (size_t c = 0; c < matrix->columns; ++c) {
            adamoe_set_element(values, matrix->dtype, i * matrix->columns + c, scale * (float)row[c]);
        }
    }
}

static adamoe_status make_layer(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_exact_data *data)
{
    const adamoe_layer_sizes sizes = {c->hidden_size, c->intermediate_size, c->mixture.experts,
                                      c->mixture.null_experts};
    ADAMOE_TRY(adamoe_random_layer_create(sizes, c->weights, 0, random, &data->layer));
    int *row = calloc(c->hidden_size + c->intermediate_size, sizeof *row);
    if (row == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t e = 0; e < c->mixture.experts; ++e) {
        fill_matrix(random, data, &data->layer.expert[e].w1, draw_gate_row, row);
        fill_matrix(random, data, &data->layer.expert[e].w3, draw_up_row, row);
        fill_matrix(random, data, &data->layer.expert[e].w2, draw_down_row, row);
    }
    free(row);
    return adamoe_ok();
}

/* Rows of x that are all zeros or tiny, where there are others to prove something. Tiny ones only where the
 * product is not followed by silu, which is not linear. */
static void choose_rows(adamoe_splitmix64 *random, adamoe_exact_data *data, size_t rows, bool tiny)
{
    const bool enough = rows >= 3;
    const size_t chosen = enough ? adamoe_splitmix64_below(random, rows) : 0;
    data->zero_row = enough ? chosen : ADAMOE_NOWHERE;
    data->tiny_row = enough && tiny ? (chosen + 1) % rows : ADAMOE_NOWHERE;
}

/* Rows of a matrix that are tiny or threefold, so that their int8 scale is denormal or no power of two: float32
 * ones, and of a kernel that does not round them to bfloat16, which has neither. */
static void choose_weight_rows(adamoe_splitmix64 *random, const adamoe_checking *k, adamoe_exact_data *data)
{
    const bool chosen =
        k->c->weights == ADAMOE_F32 && k->kernel->weight != ADAMOE_BFLOAT16 && k->c->rows >= 3;
    const size_t row = chosen ? adamoe_splitmix64_below(random, k->c->rows) : 0;
    data->tiny_weights = chosen ? row : ADAMOE_NOWHERE;
    data->triple_weights = chosen ? (row + 1) % k->c->rows : ADAMOE_NOWHERE;
}

/* Integers of 0 .. 2, or 3 where no power of two is needed, or halfway to the next. */
static float draw_state(adamoe_splitmix64 *random, const adamoe_exact_data *data, size_t channel)
{
    const float value = (float)draw(random, 0, data->rounded ? 2 : 3);
    const float half = data->halves && draw(random, 0, 1) == 1 ? 0.5f : 0.0f;
    return channel == data->one              ? 1.0f
           : channel == data->x_anchors.zero ? 0.0f
           : channel == data->x_anchors.full ? (float)ANCHOR
                                             : value + half;
}

static float draw_tiny_state(adamoe_splitmix64 *random, const adamoe_exact_data *data, size_t channel)
{
    const float value = (float)draw(random, 0, LARGEST_TINY);
    return channel == data->x_anchors.zero   ? 0.0f
           : channel == data->x_anchors.full ? LARGEST_TINY * TINY
                                             : value * TINY;
}

static adamoe_status draw_states(adamoe_splitmix64 *random, adamoe_exact_data *data, size_t rows,
                                 size_t width)
{
    ADAMOE_TRY(adamoe_check_floats(rows * width, &data->x));
    for (size_t i = 0; i < rows * width; ++i) {
        const size_t row = i / width, channel = i % width;
        data->x[i] = row == data->zero_row   ? 0.0f
                     : row == data->tiny_row ? draw_tiny_state(random, data, channel)
                                             : draw_state(random, data, channel);
    }
    return adamoe_ok();
}

/* low .. 2, of which the first is not 0, so that there is something to see. */
static adamoe_status draw_scales(adamoe_splitmix64 *random, size_t count, int low, float **out)
{
    ADAMOE_TRY(adamoe_check_floats(count, out));
    for (size_t i = 0; i < count; ++i) {
        (*out)[i] = (float)draw(random, i == 0 ? 1 : low, 2);
    }
    return adamoe_ok();
}

/* The first token from a random one on that has a place, where others have normal weights. */
static void shrink_weights(adamoe_splitmix64 *random, adamoe_exact_data *data)
{
    const adamoe_plan *plan = &data->plan;
    const size_t first = plan->tokens < 3 ? 0 : adamoe_splitmix64_below(random, plan->tokens);
    data->tiny_token = ADAMOE_NOWHERE;
    for (size_t i = 0; i < plan->tokens && plan->tokens >= 3 && data->tiny_token == ADAMOE_NOWHERE; ++i) {
        const size_t t = (first + i) % plan->tokens;
        data->tiny_token = plan->token_offset[t] < plan->token_offset[t + 1] ? t : ADAMOE_NOWHERE;
    }
    if (data->tiny_token == ADAMOE_NOWHERE) {
        return;
    }
    const size_t t = data->tiny_token;
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        data->combine[i] *= (float)TINY_WEIGHT;
    }
    if (data->self_scale != NULL) {
        data->self_scale[t] *= (float)TINY_WEIGHT;
    }
}

/* As in Soft MoE: every row of the plan reads a slot of its own, and a token sums any number of rows, each of
 * which may be in the sums of many tokens. */
static adamoe_status make_slots(adamoe_splitmix64 *random, adamoe_exact_data *data)
{
    adamoe_plan *plan = &data->plan;
    data->input = calloc(plan->rows + 1, sizeof *data->input);
    data->token_offset = calloc(plan->tokens + 1, sizeof *data->token_offset);
    data->token_row = calloc(plan->tokens * plan->rows + 1, sizeof *data->token_row);
    if (data->input == NULL || data->token_offset == NULL || data->token_row == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    uint32_t places = 0;
    for (size_t t = 0; t < plan->tokens; ++t) {
        for (uint32_t row = 0; row < plan->rows; ++row) {
            data->input[row] = row;
            if (draw(random, 0, 3) != 0) {
                data->token_row[places++] = row;
            }
        }
        data->token_offset[t + 1] = places;
    }
    plan->inputs = plan->rows;
    plan->input = data->input;
    plan->token_offset = data->token_offset;
    plan->token_row = data->token_row;
    return adamoe_ok();
}

static adamoe_status make_plan(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_exact_data *data)
{
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_pattern_routing(c->pattern, c->mixture, c->null_kind,
                                      adamoe_indifferent_load(c->mixture), c->tokens, random, &routing));
    const adamoe_status status = adamoe_plan_create(routing, &data->made);
    adamoe_routing_free(routing);
    ADAMOE_TRY(status);
    data->plan = *data->made;
    if (c->slots) {
        ADAMOE_TRY(make_slots(random, data));
    }
    ADAMOE_TRY(draw_scales(random, data->plan.token_offset[c->tokens], -1, &data->combine));
    data->plan.combine = data->combine;
    if (c->dispatch) {
        ADAMOE_TRY(draw_scales(random, data->plan.rows, 1, &data->dispatch));
        data->plan.dispatch = data->dispatch;
    }
    if (data->plan.self_scale != NULL) {
        ADAMOE_TRY(draw_scales(random, c->tokens, -1, &data->self_scale));
        data->plan.self_scale = data->self_scale;
    }
    shrink_weights(random, data);
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- the whole */

bool adamoe_exact_has_room(const adamoe_kernel *kernel, size_t width)
{
    return width >= 3 || !uses(kernel, ADAMOE_INT8);
}

adamoe_status adamoe_exact_experts(const adamoe_checking *k, adamoe_splitmix64 *random,
                                   adamoe_exact_data *out)
{
    const adamoe_case *c = k->c;
    const bool anchored = uses(k->kernel, ADAMOE_INT8);
    out->rounded = anchored || uses(k->kernel, ADAMOE_BFLOAT16);
    out->tiny_weights = out->triple_weights = ADAMOE_NOWHERE;
    /* what an identity expert passes on is x as it is, not rounded */
    out->halves = k->kernel->x == ADAMOE_INT8 && c->null_kind == ADAMOE_NULL_ZERO;
    out->half_steps = k->kernel->h == ADAMOE_INT8 && adamoe_exact_silu(k->kernel);
    out->x_anchors = draw_anchors(random, anchored, c->hidden_size);
    out->h_anchors = draw_anchors(random, anchored, c->intermediate_size);
    out->one = draw_channel(random, &out->x_anchors, 0, c->hidden_size);
    ADAMOE_TRY(make_layer(c, random, out));
    ADAMOE_TRY(make_plan(c, random, out));
    choose_rows(random, out, out->plan.inputs, false);
    return draw_states(random, out, out->plan.inputs, c->hidden_size);
}

adamoe_status adamoe_exact_product(const adamoe_checking *k, adamoe_splitmix64 *random,
                                   adamoe_exact_data *out)
{
    const adamoe_case *c = k->c;
    const adamoe_layer_sizes sizes = {c->columns, c->rows, 1, 0};
    const bool steps = k->kernel->x == ADAMOE_INT8;
    out->halves = steps;
    out->x_anchors = draw_anchors(random, uses(k->kernel, ADAMOE_INT8), c->columns);
    out->h_anchors = (adamoe_anchors){ADAMOE_NOWHERE, ADAMOE_NOWHERE};
    out->one = draw_channel(random, &out->x_anchors, 0, c->columns);
    ADAMOE_TRY(adamoe_random_layer_create(sizes, c->weights, 0, random, &out->layer));
    int *row = calloc(c->columns, sizeof *row);
    if (row == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    choose_weight_rows(random, k, out);
    fill_matrix(random, out, &out->layer.expert[0].w1, draw_up_row, row);
    free(row);
    choose_rows(random, out, c->tokens, steps);
    return draw_states(random, out, c->tokens, c->columns);
}

void adamoe_exact_data_free(adamoe_exact_data *data)
{
    adamoe_random_layer_free(&data->layer);
    adamoe_plan_free(data->made);
    free(data->x);
    free(data->combine);
    free(data->dispatch);
    free(data->self_scale);
    free(data->input);
    free(data->token_offset);
    free(data->token_row);
}

bool adamoe_exact_silu(const adamoe_kernel *kernel)
{
    return kernel->silu_error < 1.0f || kernel->h == ADAMOE_BFLOAT16;
}

double adamoe_exact_weight_unit(const adamoe_exact_data *data, size_t t)
{
    return t == data->tiny_token ? TINY_WEIGHT : 1.0;
}

double adamoe_exact_row_unit(const adamoe_exact_data *data, size_t row)
{
    return (double)row_scale(data, row);
}

double adamoe_exact_unit(const adamoe_exact_data *data, size_t i)
{
    return i == data->tiny_row ? (double)TINY : 1.0;
}

int64_t adamoe_exact_steps(const adamoe_exact_data *data, size_t i, size_t at)
{
    const int64_t steps = llrint((double)data->x[at] / adamoe_exact_unit(data, i)); /* halves to even */
    return i == data->tiny_row && steps > ANCHOR ? ANCHOR : steps;
}
