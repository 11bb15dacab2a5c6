/*
 * The tier `exact`: small integers, whose sums are the same in any order, and 64-bit integers to compare
 * with.
 *
 * Every product and every partial sum is an integer below 2^24, times a power of two, which float32 holds,
 * and so do sums of int8 products in int32; this is counted while the expected values are computed, and a
 * case in which it is not so is vacuous. What rounds operands rounds these in one way only:
 * check/tiers/exact_data.h.
 *
 * A kernel that declares so large an error of silu that silu(z) need not be z for large z is allowed what follows
 * from it, and no more: that error, and the roundings of sums whose terms then are no integers.
 */
#include "check/tiers/empty_sums.h"
#include "check/tiers/exact_data.h"
#include "check/tiers/tiers.h"
#include "plan.h"
#include "bound/bound.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_EXACT (INT64_C(1) << 24)

typedef struct exact_trial {
    adamoe_exact_data data;
    adamoe_yardstick yardstick;
    bool exact; /* no sum was too large */
} exact_trial;

/* A sum of integers, and of their absolute values; how many are not 0. Of y too: the absolute values of all that the
 * sums of its terms are made of. */
typedef struct integer_sum {
    int64_t value, magnitude;
    size_t terms;
    double inner, steps; /* of y: of the outputs that are rounded to bfloat16, weighted */
} integer_sum;

static int64_t size_of(int64_t value)
{
    return value < 0 ? -value : value;
}

static void add(integer_sum *sum, int64_t term)
{
    sum->value += term;
    sum->magnitude += size_of(term);
    sum->terms += term != 0;
}

static int64_t at(const adamoe_matrix *matrix, size_t row, size_t column, double unit)
{
    return (int64_t)(adamoe_matrix_at(matrix, row, column) / unit);
}

static integer_sum product(exact_trial *trial, const adamoe_matrix *matrix, size_t row, const int64_t *x)
{
    const double unit = adamoe_exact_row_unit(&trial->data, row);
    integer_sum sum = {.value = 0};
    for (size_t c = 0; c < matrix->columns; ++c) {
        add(&sum, at(matrix, row, c, unit) * x[c]);
    }
    trial->exact = trial->exact && (double)sum.magnitude * fmax(unit, 1.0) <= (double)LARGEST_EXACT;
    return sum;
}

/* What is rounded to bfloat16 on the way: an integer again. */
static int64_t rounded(adamoe_arithmetic kind, int64_t value)
{
    double number = (double)value;
    if (kind == ADAMOE_BFLOAT16) {
        adamoe_round_operand(ADAMOE_BFLOAT16, &number, 1);
    }
    return (int64_t)number;
}

/* h to whole steps, of which the channel `full` has 127; a half to the even one. */
static void round_to_steps(const exact_trial *trial, int64_t *h, size_t count)
{
    const int64_t step = trial->data.half_steps ? h[trial->data.h_anchors.full] / 127 : 0;
    for (size_t i = 0; i < count && step != 0; ++i) {
        h[i] = step * llrint((double)h[i] / (double)step);
    }
}

/* y += combine E(x): silu(a) is a, as a is 0 or at least 40. */
static void add_expert(const adamoe_kernel *kernel, exact_trial *trial, const adamoe_expert *expert,
                       const int64_t *x, int64_t combine, int64_t *h, integer_sum *y)
{
    for (size_t i = 0; i < expert->w1.rows; ++i) {
        const int64_t gate = rounded(kernel->up, product(trial, &expert->w1, i, x).value);
        trial->exact = trial->exact && (gate == 0 || gate >= 40);
        h[i] = gate * rounded(kernel->up, product(trial, &expert->w3, i, x).value);
    }
    round_to_steps(trial, h, expert->w1.rows);
    for (size_t c = 0; c < expert->w2.rows; ++c) {
        const integer_sum output = product(trial, &expert->w2, c, h);
        add(&y[c], combine * rounded(kernel->down, output.value));
        y[c].steps +=
            kernel->down == ADAMOE_BFLOAT16 ? 0x1p-7 * (double)size_of(combine * output.value) : 0.0;
        y[c].inner += (double)(size_of(combine) * output.magnitude);
        y[c].terms += combine != 0 ? output.terms : 0;
    }
}

/* How far a silu that is not z, by its declared error, may carry y from the integers. Each term w2 h passes through
 * silu, through at most six more roundings (the products with w3 x, with w2 and with the weight, and with two scales
 * of int8, one of which is a quotient), and through no more additions than there are terms. Outputs that are rounded
 * may then be a step off. Denormal results have absolute errors besides, of factors up to 2. */
static double silu_slack(const adamoe_kernel *kernel, const integer_sum *y, double unit)
{
    if (adamoe_exact_silu(kernel) || y->inner == 0.0) {
        return 0.0;
    }
    const double roundings = (double)kernel->silu_error + 6.0 + (double)y->terms;
    return (0x1p-24 * roundings * y->inner + y->steps) * unit +
           (unit < 1.0 ? 0x1p-149 * (double)(y->terms + 3) : 0.0);
}

static void expect_token(const adamoe_checking *k, exact_trial *trial, size_t t, int64_t *x, int64_t *h,
                         integer_sum *y)
{
    const adamoe_case *c = k->c;
    const adamoe_plan *plan = &trial->data.plan;
    const double unit = adamoe_exact_weight_unit(&trial->data, t);
    const size_t d = c->hidden_size;
    memset(y, 0, d * sizeof *y);
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        const size_t row = plan->token_row[i];
        const float scale = plan->dispatch == NULL ? 1.0f : plan->dispatch[row];
        for (size_t j = 0; j < d; ++j) {
            x[j] =
                (int64_t)scale * adamoe_exact_steps(&trial->data, plan->input[row], plan->input[row] * d + j);
        }
        add_expert(k->kernel, trial, &trial->data.layer.expert[adamoe_plan_expert(plan, row)], x,
                   (int64_t)((double)plan->combine[i] / unit), h, y);
    }
    for (size_t j = 0; j < d; ++j) {
        const double routed = (double)y[j].value * unit;
        if (plan->self_scale != NULL) {
            add(&y[j], (int64_t)((double)plan->self_scale[t] / unit * (double)trial->data.x[t * d + j]));
        }
        trial->exact = trial->exact && y[j].magnitude <= LARGEST_EXACT;
        trial->yardstick.expected[t * d + j] = (double)y[j].value * unit;
        trial->yardstick.slack[t * d + j] = silu_slack(k->kernel, &y[j], unit);
        if (k->kernel->y == ADAMOE_BFLOAT16) {
            adamoe_yardstick_round(&trial->yardstick, t * d + j, 0.0,
                                   plan->self_scale == NULL ? NULL : &routed);
        }
    }
}

static adamoe_status expect_experts(const adamoe_checking *k, exact_trial *trial)
{
    const adamoe_case *c = k->c;
    int64_t *numbers = calloc(c->hidden_size + c->intermediate_size, sizeof *numbers);
    integer_sum *y = calloc(c->hidden_size, sizeof *y);
    if (numbers != NULL && y != NULL) {
        for (size_t t = 0; t < c->tokens; ++t) {
            expect_token(k, trial, t, numbers, numbers + c->hidden_size, y);
        }
    }
    const bool done = numbers != NULL && y != NULL;
    free(numbers);
    free(y);
    return done ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

/* ------------------------------------------------------------------------------------------------ judging */

static const adamoe_guard_end ends[] = {ADAMOE_GUARD_BACK, ADAMOE_GUARD_FRONT};

static adamoe_status compare_experts(const adamoe_checking *k, exact_trial *trial, float *y)
{
    const adamoe_experts_call call = {
        .layer = &trial->data.layer.layer, .plan = &trial->data.plan, .x = trial->data.x};
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_experts(&manner, &call, y, &outcome));
        if (!adamoe_check_called(k, &outcome) ||
            !adamoe_check_judge(k, &trial->yardstick, y, k->c->hidden_size, 1.0) ||
            !adamoe_check_empty_tokens(k, call.plan, y, k->c->hidden_size, "y of a token without experts")) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

static adamoe_status check_experts(const adamoe_checking *k, exact_trial *trial, adamoe_splitmix64 *random)
{
    const size_t count = k->c->tokens * k->c->hidden_size;
    float *y = NULL;
    ADAMOE_TRY(adamoe_exact_experts(k, random, &trial->data));
    ADAMOE_TRY(adamoe_yardstick_create(count, &trial->yardstick));
    ADAMOE_TRY(expect_experts(k, trial));
    ADAMOE_TRY(adamoe_check_floats(count, &y));
    const adamoe_status status = compare_experts(k, trial, y);
    free(y);
    return status;
}

static adamoe_status expect_product(const adamoe_case *c, exact_trial *trial)
{
    int64_t *x = calloc(c->columns, sizeof *x);
    if (x == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t t = 0; t < c->tokens; ++t) {
        for (size_t j = 0; j < c->columns; ++j) {
            x[j] = adamoe_exact_steps(&trial->data, t, t * c->columns + j);
        }
        for (size_t r = 0; r < c->rows; ++r) {
            const int64_t sum = product(trial, &trial->data.layer.expert[0].w1, r, x).value;
            const double unit = adamoe_exact_unit(&trial->data, t) * adamoe_exact_row_unit(&trial->data, r);
            /* tiny times tiny is less than half of the smallest float */
            trial->yardstick.expected[t * c->rows + r] = unit < 0x1p-149 ? 0.0 : unit * (double)sum;
        }
    }
    free(x);
    return adamoe_ok();
}

static adamoe_status compare_product(const adamoe_checking *k, const exact_trial *trial, float *y)
{
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_multiply(&manner, &trial->data.layer.expert[0].w1, trial->data.x, k->c->tokens,
                                        y, &outcome));
        if (!adamoe_check_called(k, &outcome) ||
            !adamoe_check_judge(k, &trial->yardstick, y, k->c->rows, 1.0)) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

static adamoe_status check_multiply(const adamoe_checking *k, exact_trial *trial, adamoe_splitmix64 *random)
{
    const size_t count = k->c->tokens * k->c->rows;
    float *y = NULL;
    ADAMOE_TRY(adamoe_exact_product(k, random, &trial->data));
    ADAMOE_TRY(adamoe_yardstick_create(count, &trial->yardstick));
    ADAMOE_TRY(expect_product(k->c, trial));
    ADAMOE_TRY(adamoe_check_floats(count, &y));
    const adamoe_status status = compare_product(k, trial, y);
    free(y);
    return status;
}

typedef adamoe_status check_trial(const adamoe_checking *k, exact_trial *trial, adamoe_splitmix64 *random);

/* `narrowest` is the number of terms of the shortest sum. */
static adamoe_status check(const adamoe_checking *k, size_t narrowest, check_trial *run)
{
    if (!adamoe_exact_has_room(k->kernel, narrowest)) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "too narrow for the channels that make int8 exact");
        return adamoe_ok();
    }
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(k->c).text, k->seed);
    exact_trial trial = {.exact = true};
    const adamoe_status status = run(k, &trial, &random);
    /* What fails without an element that is wrong, a fault or a write outside, fails whatever the sums are. */
    const bool judged = k->out->status != ADAMOE_CHECK_SKIPPED &&
                        (k->out->status != ADAMOE_CHECK_FAILED || k->out->has_element);
    if (status.code == ADAMOE_OK && !trial.exact && judged) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "a sum is too large to be exact");
    }
    adamoe_exact_data_free(&trial.data);
    adamoe_yardstick_free(&trial.yardstick);
    return status;
}

adamoe_status adamoe_check_experts_exact(const adamoe_checking *k)
{
    const size_t d = k->c->hidden_size, ff = k->c->intermediate_size;
    return check(k, d < ff ? d : ff, check_experts);
}

adamoe_status adamoe_check_multiply_exact(const adamoe_checking *k)
{
    return check(k, k->c->columns, check_multiply);
}
