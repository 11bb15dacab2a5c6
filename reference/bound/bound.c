/*
 * The yardstick of a kernel: expected values in double with the kernel's own rounding of operands, and next
 * to every sum how far rounding can carry it. bound.h derives the rule; judge.c applies it.
 */
#include "bound/bound.h"
#include "layer.h"
#include "plan.h"
#include "numbers.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Unit roundoff of float32, and the largest error of a result that underflows. */
#define FLOAT_ROUNDOFF  0x1p-24
#define FLOAT_UNDERFLOW 0x1p-150

/* An exact value, the variance that bounds its rounding error, and an error that can come on top. */
typedef struct value {
    double exact, variance, slack;
} value;

static double square(double x)
{
    return x * x;
}

adamoe_declared adamoe_kernel_arithmetic(const adamoe_kernel *kernel)
{
    return (adamoe_declared){.x = kernel->x,
                             .h = kernel->h,
                             .weight = kernel->weight,
                             .accumulate = kernel->accumulate,
                             .silu_error = (double)kernel->silu_error,
                             .up = kernel->up,
                             .down = kernel->down,
                             .y = kernel->y};
}

/* A sum in ascending order, and what bounds the rounding of its steps. */
typedef struct ascending_sum {
    double exact;
    double squares; /* of the terms */
    double largest; /* |partial sum|: its rounding may outlast it, when what follows cancels it */
} ascending_sum;

static void add_term(ascending_sum *sum, double term)
{
    sum->exact += term;
    sum->squares += square(term);
    sum->largest = fmax(sum->largest, fabs(sum->exact));
}

/* Integer sums are exact; what follows them, two scales multiplied in float32, is counted as three roundings.
 * The expected value is not: it is a sum in double, and keeps a residue where steps cancel to 0. */
static double accumulation_variance(adamoe_arithmetic accumulate, size_t terms, const ascending_sum *sum)
{
    const double v = (double)terms * (sum->squares + square(sum->largest));
    switch (accumulate) {
    case ADAMOE_INT32:
        return 3.0 * square(FLOAT_ROUNDOFF * sum->exact) + square(0x1p-53) * v;
    case ADAMOE_FLOAT64:
        return square(0x1p-53) * v;
    default:
        return square(FLOAT_ROUNDOFF) * v;
    }
}

/* What float32 cannot hold may become anything; NaN is none of its numbers. */
static double overflow_slack(double x)
{
    return fabs(x) <= (double)FLT_MAX ? 0.0 : HUGE_VAL;
}

/* Sums that are not in float32 are stored as that. */
static double sum_overflow_slack(adamoe_arithmetic accumulate, const ascending_sum *sum)
{
    return overflow_slack(sum->exact) +
           (accumulate == ADAMOE_FLOAT32 ? overflow_slack(fmax(sum->largest, sqrt(sum->squares))) : 0.0);
}

/* Times a factor, of which 0 makes nothing finite of what may be anything. */
static double carried(double factor, double slack)
{
    return isinf(slack) ? slack : fabs(factor) * slack;
}

/* One row of a matrix, rounded, times values that may carry errors of their own. */
static value dot(adamoe_arithmetic accumulate, const double *row, const value *x, size_t terms)
{
    ascending_sum sum = {0.0, 0.0, 0.0};
    value result = {0.0, 0.0, (double)terms * FLOAT_UNDERFLOW};
    for (size_t c = 0; c < terms; ++c) {
        add_term(&sum, row[c] * x[c].exact);
        result.variance += square(row[c]) * x[c].variance;
        result.slack += carried(row[c], x[c].slack);
    }
    result.exact = sum.exact;
    result.slack += sum_overflow_slack(accumulate, &sum);
    result.variance += accumulation_variance(accumulate, terms, &sum);
    return result;
}

/* h = silu(a) b: the error of a arrives through silu's derivative, that of b through silu(a), and silu itself
 * and the product are rounded: silu(a) to silu_error units, the product to one. Far below zero sigmoid(a) is
 * subnormal in float32, and its absolute error is multiplied by a and b; from about -88.7 on exp(-a)
 * overflows, which makes silu(a) 0. */
static value silu_times(value a, value b, double silu_error)
{
    const double sigmoid = 1.0 / (1.0 + exp(-a.exact));
    const double silu = a.exact * sigmoid;
    const double slope = sigmoid * (1.0 + a.exact * (1.0 - sigmoid));
    const double h = silu * b.exact;
    return (value){
        .exact = h,
        .variance = square(slope * b.exact) * a.variance + square(silu) * b.variance +
                    square(FLOAT_ROUNDOFF * h) * (square(silu_error) + 1.0),
        .slack = carried(slope * b.exact, a.slack) + carried(silu, b.slack) + overflow_slack(h) +
                 FLOAT_UNDERFLOW * (1.0 + (1.0 + fabs(a.exact)) * fabs(b.exact)) +
                 (a.exact < -88.0 ? fabs(h) : 0.0),
    };
}

/* The distance between neighbouring bfloat16 values around x: eight significant bits;
 * around 0 the smallest. */
static double bfloat16_step(double x)
{
    int exponent = 0;
    (void)frexp(x, &exponent);
    return ldexp(1.0, (x == 0.0 || exponent < -125 ? -125 : exponent) - 8);
}

/* Rounds x to a multiple of step. If no boundary lies within reach, every honest computation rounds to the
 * same value, and the error that x carried is gone; otherwise it may be one step off. An error that can
 * exceed a step survives the rounding, which adds half a step on either side. */
static value round_to_step(value x, double step, double reach, double rounded)
{
    if (reach >= step) {
        return (value){rounded, x.variance, x.slack + step};
    }
    const double position = x.exact / step - floor(x.exact / step); /* boundaries lie at one half */
    const bool may_flip = reach > 0.0 && fabs(position - 0.5) * step <= reach; /* a half is rounded to even */
    return (value){.exact = rounded, .variance = 0.0, .slack = may_flip ? step : 0.0};
}

static double reach_of(const value *x, double lambda)
{
    return lambda * sqrt(x->variance) + x->slack;
}

/* The same for bfloat16, whose steps double from one power of two to the next: just above one, what was computed may
 * be below it, where boundaries are closer. */
static value round_to_bfloat16(value x, double lambda)
{
    const double reach = reach_of(&x, lambda), step = bfloat16_step(x.exact);
    const double widest = bfloat16_step(fabs(x.exact) + reach);
    const double narrowest = bfloat16_step(fmax(fabs(x.exact) - reach, 0.0));
    double rounded = x.exact;
    adamoe_round_operand(ADAMOE_BFLOAT16, &rounded, 1);
    value out = round_to_step(x, step, reach, rounded);
    if (out.slack > 0.0 || (narrowest < step && reach >= narrowest / 2.0)) {
        out.slack = (reach >= step ? x.slack : 0.0) + widest;
    }
    out.slack += overflow_slack(fabs(rounded) + step);
    return out;
}

static value round_result(adamoe_arithmetic kind, value x, double lambda)
{
    return kind == ADAMOE_BFLOAT16 ? round_to_bfloat16(x, lambda) : x;
}

static void round_h_to_bfloat16(value *h, size_t count, double lambda)
{
    for (size_t i = 0; i < count; ++i) {
        h[i] = round_to_bfloat16(h[i], lambda);
    }
}

/* The largest value sets the scale, whose error is that of whichever value may be the largest. */
static double int8_scale_reach(const value *h, size_t count, size_t largest, double lambda)
{
    double reach = 0.0;
    for (size_t i = 0; i < count; ++i) {
        if (fabs(h[i].exact) + reach_of(&h[i], lambda) >=
            fabs(h[largest].exact) - reach_of(&h[largest], lambda)) {
            reach = fmax(reach, reach_of(&h[i], lambda));
        }
    }
    return reach;
}

/* Returns the relative error of the scale. It is one factor that all values have in common: here it only
 * moves their boundaries and widens their steps, what it does to the product is one error of the sum. */
static double round_h_to_int8(value *h, size_t count, double lambda, double *rounded)
{
    size_t largest = 0;
    for (size_t i = 0; i < count; ++i) {
        rounded[i] = h[i].exact;
        largest = fabs(h[i].exact) > fabs(h[largest].exact) ? i : largest;
    }
    if (count == 0) {
        return 0.0;
    }
    const double scale_reach = int8_scale_reach(h, count, largest, lambda);
    if (h[largest].exact == 0.0) { /* errors alone set the scale */
        for (size_t i = 0; i < count; ++i) {
            h[i].slack += scale_reach / 127.0;
        }
        return 0.0;
    }
    const double step = fabs(h[largest].exact) / 127.0;
    const double relative = scale_reach / fabs(h[largest].exact) + 2.0 * FLOAT_ROUNDOFF;
    adamoe_round_operand(ADAMOE_INT8, rounded, count);
    for (size_t i = 0; i < count; ++i) {
        const double reach = reach_of(&h[i], lambda) + fabs(h[i].exact) * relative;
        h[i] = round_to_step(h[i], step, reach, rounded[i]);
        h[i].slack *= 1.0 + relative;
    }
    return relative;
}

/* Returns the relative error of a factor that all values have in common. */
static double round_h(adamoe_arithmetic kind, value *h, size_t count, double lambda, double *scratch)
{
    switch (kind) {
    case ADAMOE_BFLOAT16:
        round_h_to_bfloat16(h, count, lambda);
        return 0.0;
    case ADAMOE_INT8:
        return round_h_to_int8(h, count, lambda, scratch);
    default: /* the store to float32 is the product's rounding, counted already */
        return 0.0;
    }
}

/* One element of y while its experts are added. */
typedef struct output_sum {
    ascending_sum sum;
    double variance, slack;
    double routed; /* before self_scale * x was added */
} output_sum;

/* Workspace of one expert and one token. */
typedef struct workspace {
    double *row;   /* the longer of hidden_size and intermediate_size */
    double *input; /* [hidden_size] */
    value *x;      /* [hidden_size] */
    value *h;      /* [intermediate_size] */
    output_sum *y; /* [hidden_size] */
} workspace;

static void free_workspace(workspace *w)
{
    free(w->row);
    free(w->input);
    free(w->x);
    free(w->h);
    free(w->y);
}

static bool allocate_workspace(size_t d, size_t ff, workspace *w)
{
    *w = (workspace){.row = calloc((d > ff ? d : ff) + 1, sizeof *w->row),
                     .input = calloc(d + 1, sizeof *w->input),
                     .x = calloc(d + 1, sizeof *w->x),
                     .h = calloc(ff + 1, sizeof *w->h),
                     .y = calloc(d + 1, sizeof *w->y)};
    const bool complete = w->row != NULL && w->input != NULL && w->x != NULL && w->h != NULL && w->y != NULL;
    if (!complete) {
        free_workspace(w);
    }
    return complete;
}

static void load_row(const adamoe_matrix *matrix, size_t r, adamoe_arithmetic weight, double *row)
{
    adamoe_matrix_row(matrix, r, row);
    adamoe_round_operand(weight, row, matrix->columns);
}

static void load_input(adamoe_arithmetic kind, const float *x, double scale, size_t count, workspace *w)
{
    for (size_t c = 0; c < count; ++c) {
        /* The scaled input is stored as float32 before it is rounded to the operand's kind. */
        w->input[c] = (double)(float)(scale * (double)x[c]);
    }
    adamoe_round_operand(kind, w->input, count);
    for (size_t c = 0; c < count; ++c) {
        w->x[c] = (value){w->input[c], 0.0, 0.0};
    }
}

/* h = silu(w1 x) (w3 x), rounded as the input of w2. Returns what round_h returns. */
static double expert_hidden(const adamoe_expert *expert, const adamoe_declared *kind, double lambda,
                            workspace *w)
{
    const size_t d = expert->w1.columns, ff = expert->w1.rows;
    for (size_t i = 0; i < ff; ++i) {
        load_row(&expert->w1, i, kind->weight, w->row);
        const value gate = round_result(kind->up, dot(kind->accumulate, w->row, w->x, d), lambda);
        load_row(&expert->w3, i, kind->weight, w->row);
        const value up = round_result(kind->up, dot(kind->accumulate, w->row, w->x, d), lambda);
        w->h[i] = silu_times(gate, up, kind->silu_error);
    }
    return round_h(kind->h, w->h, ff, lambda, w->row);
}

/* y += combine * e with e = w2 h: e is stored in float32, and the product may be rounded
 * before it is added. */
static void add_expert(const adamoe_expert *expert, const adamoe_declared *kind, double combine,
                       double lambda, double h_factor_error, workspace *w)
{
    const size_t d = expert->w2.rows, ff = expert->w2.columns;
    for (size_t c = 0; c < d; ++c) {
        load_row(&expert->w2, c, kind->weight, w->row);
        value e = dot(kind->accumulate, w->row, w->h, ff);
        e.slack += h_factor_error * fabs(e.exact);
        e = round_result(kind->down, e, lambda);
        add_term(&w->y[c].sum, combine * e.exact);
        w->y[c].variance += square(combine) * (e.variance + square(FLOAT_ROUNDOFF * e.exact));
        w->y[c].slack += carried(combine, e.slack) + FLOAT_UNDERFLOW;
    }
}

static void add_token(const adamoe_layer *layer, const adamoe_declared *kind, const float *x,
                      const adamoe_plan *plan, size_t t, double lambda, workspace *w)
{
    const size_t d = layer->hidden_size;
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        const size_t row = plan->token_row[i];
        const adamoe_expert *expert = &layer->expert[adamoe_plan_expert(plan, row)];
        const double scale = plan->dispatch == NULL ? 1.0 : (double)plan->dispatch[row];
        load_input(kind->x, x + plan->input[row] * d, scale, d, w);
        const double h_factor_error = expert_hidden(expert, kind, lambda, w);
        add_expert(expert, kind, (double)plan->combine[i], lambda, h_factor_error, w);
    }
    for (size_t c = 0; c < d && plan->self_scale != NULL; ++c) {
        w->y[c].routed = w->y[c].sum.exact;
        add_term(&w->y[c].sum, (double)plan->self_scale[t] * (double)x[t * d + c]);
    }
}

void adamoe_yardstick_round(adamoe_yardstick *yardstick, size_t at, double lambda, const double *routed)
{
    double *const expected = &yardstick->expected[at], *const spread = &yardstick->spread[at];
    double *const slack = &yardstick->slack[at];
    if (routed != NULL) { /* half a step each time */
        const double reach = lambda * *spread + *slack;
        const double total = fabs(*expected) + reach, before = fabs(*routed) + reach;
        *slack += (bfloat16_step(total) + bfloat16_step(before)) / 2.0 +
                  overflow_slack(fmax(total, before) + bfloat16_step(fmax(total, before)));
        return;
    }
    const value y = round_to_bfloat16((value){*expected, square(*spread), *slack}, lambda);
    *expected = y.exact;
    *spread = sqrt(y.variance);
    *slack = y.slack;
}

/* The outer sum is in float32 whatever the inner ones are in, at the least its result is stored as that. */
static void finish_token(const adamoe_plan *plan, const adamoe_declared *kind, double lambda, size_t t,
                         size_t d, const workspace *w, adamoe_yardstick *out)
{
    const size_t terms = plan->token_offset[t + 1] - plan->token_offset[t] + (plan->self_scale != NULL);
    for (size_t c = 0; c < d; ++c) {
        const output_sum *y = &w->y[c];
        out->expected[t * d + c] = y->sum.exact;
        out->spread[t * d + c] = sqrt(y->variance + accumulation_variance(ADAMOE_FLOAT32, terms, &y->sum));
        out->slack[t * d + c] = y->slack + sum_overflow_slack(ADAMOE_FLOAT32, &y->sum);
        if (kind->y == ADAMOE_BFLOAT16) {
            adamoe_yardstick_round(out, t * d + c, lambda, plan->self_scale != NULL ? &y->routed : NULL);
        }
    }
}

/* How many numbers of a tensor may be on the wrong side of a boundary, each with a chance of its own. */
static size_t count_roundings(const adamoe_declared *kind, const adamoe_layer *layer, const adamoe_plan *plan)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    return plan->rows *
               (ff * (kind->up == ADAMOE_BFLOAT16 ? 3 : 1) + (kind->down == ADAMOE_BFLOAT16 ? d : 0)) +
           (kind->y == ADAMOE_BFLOAT16 ? plan->tokens * d : 0);
}

adamoe_status adamoe_layer_yardstick(const adamoe_layer *layer, adamoe_declared arithmetic, const float *x,
                                     const adamoe_plan *plan, adamoe_yardstick *out)
{
    const size_t d = layer->hidden_size;
    const double lambda = adamoe_bound_factor(count_roundings(&arithmetic, layer, plan), ADAMOE_FALSE_ALARM);
    workspace w;
    if (!allocate_workspace(d, layer->intermediate_size, &w)) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "yardstick: out of memory");
    }
    for (size_t t = 0; t < plan->tokens; ++t) {
        memset(w.y, 0, d * sizeof *w.y);
        add_token(layer, &arithmetic, x, plan, t, lambda, &w);
        finish_token(plan, &arithmetic, lambda, t, d, &w, out);
    }
    free_workspace(&w);
    return adamoe_ok();
}

adamoe_status adamoe_matrix_yardstick(const adamoe_matrix *matrix, adamoe_declared arithmetic, const float *x,
                                      size_t count, adamoe_yardstick *out)
{
    workspace w;
    if (!allocate_workspace(matrix->columns, 0, &w)) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "yardstick: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        load_input(arithmetic.x, x + i * matrix->columns, 1.0, matrix->columns, &w);
        for (size_t r = 0; r < matrix->rows; ++r) {
            load_row(matrix, r, arithmetic.weight, w.row);
            const value sum = dot(arithmetic.accumulate, w.row, w.x, matrix->columns);
            const size_t at = i * matrix->rows + r;
            out->expected[at] = sum.exact;
            out->spread[at] = sqrt(sum.variance + square(FLOAT_ROUNDOFF * sum.exact)); /* the store */
            out->slack[at] = sum.slack;
        }
    }
    free_workspace(&w);
    return adamoe_ok();
}

adamoe_status adamoe_token_magnitude(const adamoe_layer *layer, const float *x, const adamoe_plan *plan,
                                     size_t t, double *magnitude)
{
    const size_t d = layer->hidden_size;
    double *work = calloc(2 * d + adamoe_expert_work(d, layer->intermediate_size), sizeof *work);
    if (work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "yardstick: out of memory");
    }
    double *input = work, *output = work + d;
    memset(magnitude, 0, d * sizeof *magnitude);
    for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
        const size_t row = plan->token_row[i];
        const double scale = plan->dispatch == NULL ? 1.0 : (double)plan->dispatch[row];
        for (size_t c = 0; c < d; ++c) {
            input[c] = scale * (double)x[plan->input[row] * d + c];
        }
        adamoe_expert_forward(&layer->expert[adamoe_plan_expert(plan, row)], adamoe_float32_operands, input,
                              output, work + 2 * d);
        for (size_t c = 0; c < d; ++c) {
            magnitude[c] += fabs((double)plan->combine[i] * output[c]);
        }
    }
    for (size_t c = 0; c < d && plan->self_scale != NULL; ++c) {
        magnitude[c] += fabs((double)plan->self_scale[t] * (double)x[t * d + c]);
    }
    free(work);
    return adamoe_ok();
}

/* count * 2 exp(-lambda^2 / 2) = probability */
double adamoe_bound_factor(size_t count, double probability)
{
    return sqrt(2.0 * log(2.0 * (double)(count > 0 ? count : 1) / probability));
}
