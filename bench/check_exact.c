/*
 * The tier `exact`: small integers, whose sums are the same in any order, and 64-bit integers to compare
 * with.
 *
 * Every product and every partial sum is an integer below 2^24, which float32 holds, and so do sums of int8
 * products in int32; this is counted while the expected values are computed, and a case in which it is not so
 * is vacuous. silu is the identity or 0: a gate's pre-activation is 0 or at least 64. Weights of the combine
 * are powers of two.
 *
 * What rounding does to operands must change nothing either. bfloat16 holds integers of 8 significant bits: h
 * = a b with a a power of two and |b| small. int8 divides by max(abs) / 127, so the largest value of each row
 * must be 127 times a power of two. Three channels of x arrange that where there are so many: `zero`, where x
 * is 0 and every row of w1 and w3 holds its 127; `full`, where x is 127 and every weight is 0; `one`, where x
 * is 1. And two channels of h: `zero`, where h is 0 and every row of w2 holds its 127; and `full`, where h is
 * 127 a and every weight is 0.
 */
#include "check_tiers.h"
#include "layer.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_EXACT (INT64_C(1) << 24)
#define ANCHOR        127
#define NOWHERE       SIZE_MAX

/* Where the channels that arrange the scales of int8 are. */
typedef struct anchors {
    size_t zero, full;
} anchors;

typedef struct exact_data {
    adamoe_random_layer layer;
    adamoe_plan *made; /* what the arrays below do not replace */
    adamoe_plan plan;
    float *x, *combine, *dispatch, *self_scale;
    adamoe_yardstick yardstick;
    anchors x_anchors, h_anchors;
    size_t one;   /* the channel where x is 1 */
    bool rounded; /* some operand is rounded to bfloat16 or int8 */
    bool exact;   /* no sum was too large */
} exact_data;

static bool uses(const adamoe_kernel *kernel, adamoe_arithmetic kind)
{
    return kernel->x == kind || kernel->h == kind || kernel->weight == kind;
}

static void store(void *data, adamoe_dtype dtype, size_t i, int value)
{
    const float number = (float)value;
    const uint16_t bits = dtype == ADAMOE_F16 ? adamoe_float_to_f16(number) : adamoe_float_to_bf16(number);
    if (dtype == ADAMOE_F32) {
        memcpy((char *)data + i * sizeof number, &number, sizeof number);
    } else {
        memcpy((char *)data + i * sizeof bits, &bits, sizeof bits);
    }
}

/* low .. high */
static int draw(adamoe_splitmix64 *random, int low, int high)
{
    return low + (int)adamoe_splitmix64_below(random, (size_t)(high - low) + 1);
}

/* Two different channels of `count`, or NOWHERE without int8. */
static anchors draw_anchors(adamoe_splitmix64 *random, bool wanted, size_t count)
{
    anchors a = {NOWHERE, NOWHERE};
    if (wanted) {
        a.zero = adamoe_splitmix64_below(random, count);
        a.full = (a.zero + 1 + adamoe_splitmix64_below(random, count - 1)) % count;
    }
    return a;
}

/* A channel that is neither anchor. */
static size_t draw_channel(adamoe_splitmix64 *random, const anchors *a, size_t count)
{
    size_t channel;
    do {
        channel = adamoe_splitmix64_below(random, count);
    } while (channel == a->zero || channel == a->full);
    return channel;
}

/* Up to 16 weights of a row, low .. high, not at the anchors; then the anchor. `row` is zero before. */
static void draw_row(adamoe_splitmix64 *random, const anchors *a, int low, int high, size_t columns, int *row)
{
    for (size_t i = 0; i < 16 && i < columns; ++i) {
        row[draw_channel(random, a, columns)] = draw(random, low, high);
    }
    if (a->zero != NOWHERE) {
        row[a->zero] = ANCHOR;
    }
}

/* w1: rows of zeros, which make h 0, and rows whose product with x is 64 times a power of two: the channel x
 * is read from has 64. Where nothing is rounded, a sum of many channels instead. */
static void draw_gate_row(adamoe_splitmix64 *random, const exact_data *data, size_t i, size_t columns,
                          int *row)
{
    const bool zero = i == data->h_anchors.zero || (i != data->h_anchors.full && draw(random, 0, 7) == 0);
    if (!zero && !data->rounded) {
        draw_row(random, &data->x_anchors, 0, 3, columns, row);
    } else if (data->x_anchors.zero != NOWHERE) {
        row[data->x_anchors.zero] = ANCHOR;
    }
    if (!zero) {
        const bool one = i == data->h_anchors.full || !data->rounded;
        row[one ? data->one : draw_channel(random, &data->x_anchors, columns)] = 64;
    }
}

static void draw_up_row(adamoe_splitmix64 *random, const exact_data *data, size_t i, size_t columns, int *row)
{
    if (i != data->h_anchors.full) {
        draw_row(random, &data->x_anchors, data->rounded ? -1 : -3, data->rounded ? 1 : 3, columns, row);
        return;
    }
    row[data->one] = ANCHOR;
}

typedef void draw_function(adamoe_splitmix64 *, const exact_data *, size_t, size_t, int *);

static void draw_down_row(adamoe_splitmix64 *random, const exact_data *data, size_t i, size_t columns,
                          int *row)
{
    (void)i;
    draw_row(random, &data->h_anchors, -2, 2, columns, row);
}

static void fill_matrix(adamoe_splitmix64 *random, const exact_data *data, const adamoe_matrix *matrix,
                        draw_function *draw_one, int *row)
{
    unsigned char *values = data->layer.memory + ((const unsigned char *)matrix->data - data->layer.memory);
    for (size_t i = 0; i < matrix->rows; ++i) {
        memset(row, 0, matrix->columns * sizeof *row);
        draw_one(random, data, i, matrix->columns, row);
        for (size_t c = 0; c < matrix->columns; ++c) {
            store(values, matrix->dtype, i * matrix->columns + c, row[c]);
        }
    }
}

static adamoe_status make_layer(const adamoe_case *c, adamoe_splitmix64 *random, exact_data *data)
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

/* Small numbers that are not negative: 0, 1 and 2, and 3 where no power of two is needed. */
static void draw_states(adamoe_splitmix64 *random, const exact_data *data, size_t tokens, size_t width)
{
    for (size_t i = 0; i < tokens * width; ++i) {
        const size_t c = i % width;
        const int value = draw(random, 0, data->rounded ? 2 : 3);
        data->x[i] = c == data->one              ? 1.0f
                     : c == data->x_anchors.zero ? 0.0f
                     : c == data->x_anchors.full ? (float)ANCHOR
                                                 : (float)value;
    }
}

/* 1 or 2. */
static adamoe_status draw_scales(adamoe_splitmix64 *random, size_t count, float **out)
{
    ADAMOE_TRY(adamoe_check_floats(count, out));
    for (size_t i = 0; i < count; ++i) {
        (*out)[i] = (float)draw(random, 1, 2);
    }
    return adamoe_ok();
}

static adamoe_status make_plan(const adamoe_case *c, adamoe_splitmix64 *random, exact_data *data)
{
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_pattern_routing(c->pattern, c->mixture, c->null_kind,
                                      adamoe_indifferent_load(c->mixture), c->tokens, random, &routing));
    const adamoe_status status = adamoe_plan_create(routing, &data->made);
    adamoe_routing_free(routing);
    ADAMOE_TRY(status);
    data->plan = *data->made;
    ADAMOE_TRY(draw_scales(random, data->plan.token_offset[c->tokens], &data->combine));
    data->plan.combine = data->combine;
    if (c->dispatch) {
        ADAMOE_TRY(draw_scales(random, data->plan.rows, &data->dispatch));
        data->plan.dispatch = data->dispatch;
    }
    if (data->plan.self_scale != NULL) {
        ADAMOE_TRY(draw_scales(random, c->tokens, &data->self_scale));
        data->plan.self_scale = data->self_scale;
    }
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------- expected values */

/* A sum of integers, and of their absolute values. */
typedef struct integer_sum {
    int64_t value, magnitude;
} integer_sum;

static void add(integer_sum *sum, int64_t term)
{
    sum->value += term;
    sum->magnitude += term < 0 ? -term : term;
}

static int64_t at(const adamoe_matrix *matrix, size_t row, size_t column)
{
    return (int64_t)adamoe_matrix_at(matrix, row, column);
}

static int64_t product(exact_data *data, const adamoe_matrix *matrix, size_t row, const int64_t *x)
{
    integer_sum sum = {0, 0};
    for (size_t c = 0; c < matrix->columns; ++c) {
        add(&sum, at(matrix, row, c) * x[c]);
    }
    data->exact = data->exact && sum.magnitude <= LARGEST_EXACT;
    return sum.value;
}

/* y += combine E(x): silu(a) is a, as a is 0 or at least 40. */
static void add_expert(exact_data *data, const adamoe_expert *expert, const int64_t *x, int64_t combine,
                       int64_t *h, integer_sum *y)
{
    for (size_t i = 0; i < expert->w1.rows; ++i) {
        const int64_t gate = product(data, &expert->w1, i, x);
        data->exact = data->exact && (gate == 0 || gate >= 40);
        h[i] = gate * product(data, &expert->w3, i, x);
    }
    for (size_t c = 0; c < expert->w2.rows; ++c) {
        add(&y[c], combine * product(data, &expert->w2, c, h));
    }
}

static void expect_token(const adamoe_case *c, exact_data *data, size_t t, int64_t *x, int64_t *h,
                         integer_sum *y)
{
    const adamoe_plan *plan = &data->plan;
    const size_t d = c->hidden_size;
    memset(y, 0, d * sizeof *y);
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        const size_t row = plan->token_row[i];
        const float scale = plan->dispatch == NULL ? 1.0f : plan->dispatch[row];
        for (size_t j = 0; j < d; ++j) {
            x[j] = (int64_t)(scale * data->x[plan->input[row] * d + j]);
        }
        add_expert(data, &data->layer.expert[adamoe_plan_expert(plan, row)], x, (int64_t)plan->combine[i], h,
                   y);
    }
    for (size_t j = 0; j < d; ++j) {
        if (plan->self_scale != NULL) {
            add(&y[j], (int64_t)(plan->self_scale[t] * data->x[t * d + j]));
        }
        data->exact = data->exact && y[j].magnitude <= LARGEST_EXACT;
        data->yardstick.expected[t * d + j] = (double)y[j].value;
    }
}

static adamoe_status expect_experts(const adamoe_case *c, exact_data *data)
{
    int64_t *numbers = calloc(c->hidden_size + c->intermediate_size, sizeof *numbers);
    integer_sum *y = calloc(c->hidden_size, sizeof *y);
    if (numbers != NULL && y != NULL) {
        for (size_t t = 0; t < c->tokens; ++t) {
            expect_token(c, data, t, numbers, numbers + c->hidden_size, y);
        }
    }
    const bool done = numbers != NULL && y != NULL;
    free(numbers);
    free(y);
    return done ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

/* ------------------------------------------------------------------------------------------------ judging */

static const adamoe_guard_end ends[] = {ADAMOE_GUARD_BACK, ADAMOE_GUARD_FRONT};

static adamoe_status compare_experts(const adamoe_checking *k, exact_data *data, float *y)
{
    const adamoe_experts_call call = {.layer = &data->layer.layer, .plan = &data->plan, .x = data->x};
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_experts(&manner, &call, y, &outcome));
        if (!adamoe_check_called(k, &outcome) ||
            !adamoe_check_judge(k, &data->yardstick, y, k->c->hidden_size, 1.0)) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

static adamoe_status check_experts(const adamoe_checking *k, exact_data *data, adamoe_splitmix64 *random)
{
    const adamoe_case *c = k->c;
    const bool anchored = uses(k->kernel, ADAMOE_INT8);
    if (anchored && (c->hidden_size < 3 || c->intermediate_size < 3)) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "too narrow for the channels that make int8 exact");
        return adamoe_ok();
    }
    data->rounded = anchored || uses(k->kernel, ADAMOE_BFLOAT16);
    data->x_anchors = draw_anchors(random, anchored, c->hidden_size);
    data->h_anchors = draw_anchors(random, anchored, c->intermediate_size);
    data->one = draw_channel(random, &data->x_anchors, c->hidden_size);
    ADAMOE_TRY(make_layer(c, random, data));
    ADAMOE_TRY(adamoe_check_floats(c->tokens * c->hidden_size, &data->x));
    draw_states(random, data, c->tokens, c->hidden_size);
    ADAMOE_TRY(make_plan(c, random, data));
    float *y = NULL;
    ADAMOE_TRY(adamoe_yardstick_create(c->tokens * c->hidden_size, &data->yardstick));
    ADAMOE_TRY(expect_experts(c, data));
    ADAMOE_TRY(adamoe_check_floats(c->tokens * c->hidden_size, &y));
    const adamoe_status status = compare_experts(k, data, y);
    free(y);
    return status;
}

/* The rows of a dense product: integers of -3 .. 3, and the anchors. */
static adamoe_status check_multiply(const adamoe_checking *k, exact_data *data, adamoe_splitmix64 *random)
{
    const adamoe_case *c = k->c;
    const bool anchored = uses(k->kernel, ADAMOE_INT8);
    if (anchored && c->columns < 3) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "too narrow for the channels that make int8 exact");
        return adamoe_ok();
    }
    /* A layer of one expert whose w1 is the matrix. */
    const adamoe_layer_sizes sizes = {c->columns, c->rows, 1, 0};
    data->x_anchors = draw_anchors(random, anchored, c->columns);
    data->h_anchors = (anchors){NOWHERE, NOWHERE};
    data->one = draw_channel(random, &data->x_anchors, c->columns);
    ADAMOE_TRY(adamoe_random_layer_create(sizes, c->weights, 0, random, &data->layer));
    const adamoe_matrix *matrix = &data->layer.expert[0].w1;
    int *row = calloc(c->columns, sizeof *row);
    int64_t *x = calloc(c->columns, sizeof *x);
    float *y = NULL;
    adamoe_status status = row == NULL || x == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory")
                                                    : adamoe_check_floats(c->tokens * c->rows, &y);
    if (status.code == ADAMOE_OK) {
        fill_matrix(random, data, matrix, draw_up_row, row);
        status = adamoe_check_floats(c->tokens * c->columns, &data->x);
    }
    if (status.code == ADAMOE_OK) {
        draw_states(random, data, c->tokens, c->columns);
        status = adamoe_yardstick_create(c->tokens * c->rows, &data->yardstick);
    }
    for (size_t i = 0; i < c->tokens * c->rows && status.code == ADAMOE_OK; ++i) {
        for (size_t j = 0; j < c->columns && i % c->rows == 0; ++j) {
            x[j] = (int64_t)data->x[i / c->rows * c->columns + j];
        }
        data->yardstick.expected[i] = (double)product(data, matrix, i % c->rows, x);
    }
    for (size_t i = 0; i < 2 && status.code == ADAMOE_OK && k->out->status == ADAMOE_CHECK_PASSED; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        adamoe_call_outcome outcome;
        status = adamoe_call_multiply(&manner, matrix, data->x, c->tokens, y, &outcome);
        if (status.code == ADAMOE_OK && adamoe_check_called(k, &outcome)) {
            (void)adamoe_check_judge(k, &data->yardstick, y, c->rows, 1.0);
        }
    }
    free(row);
    free(x);
    free(y);
    return status;
}

adamoe_status adamoe_check_exact(const adamoe_checking *k)
{
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(k->c).text, k->seed);
    exact_data data = {.exact = true};
    const adamoe_status status = k->c->kind == ADAMOE_CASE_EXPERTS ? check_experts(k, &data, &random)
                                                                   : check_multiply(k, &data, &random);
    if (status.code == ADAMOE_OK && !data.exact && k->out->status != ADAMOE_CHECK_SKIPPED) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "a sum is too large to be exact");
    }
    adamoe_random_layer_free(&data.layer);
    adamoe_plan_free(data.made);
    free(data.x);
    free(data.combine);
    free(data.dispatch);
    free(data.self_scale);
    adamoe_yardstick_free(&data.yardstick);
    return status;
}
