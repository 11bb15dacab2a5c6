/*
 * From outputs to the result of a case: see judge.h.
 */
#include "check/tiers/judge.h"
#include "bound/judge.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const adamoe_check_status_names[ADAMOE_CHECK_STATUSES] = {"passed", "failed", "skipped",
                                                                      "vacuous"};

adamoe_call_manner adamoe_check_manner(const adamoe_checking *k, adamoe_guard_end end)
{
    return (adamoe_call_manner){.kernel = k->kernel, .team = k->team, .placement = k->placement, .end = end};
}

void adamoe_check_settle(const adamoe_checking *k, adamoe_check_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    k->out->status = status;
    (void)vsnprintf(k->out->detail, sizeof k->out->detail, format, arguments);
    va_end(arguments);
}

bool adamoe_check_called(const adamoe_checking *k, const adamoe_call_outcome *outcome)
{
    if (outcome->end == ADAMOE_CALL_DONE) {
        return true;
    }
    adamoe_check_settle(k, outcome->end == ADAMOE_CALL_WRONG ? ADAMOE_CHECK_FAILED : ADAMOE_CHECK_SKIPPED,
                        "%s", outcome->detail);
    k->out->shortage = outcome->shortage;
    return false;
}

adamoe_status adamoe_check_floats(size_t count, float **out)
{
    *out = calloc(count + 1, sizeof **out);
    return *out != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

/* ------------------------------------------------------------------------------------------------ judging */

static const char *vacuous_because(const adamoe_yardstick *yardstick)
{
    for (size_t i = 0; i < yardstick->count; ++i) {
        if (yardstick->expected[i] != 0.0) {
            return "a bound overflows";
        }
    }
    return yardstick->count == 0 ? "there is nothing to compare" : "every expected value is 0";
}

static const char *failed_because(const adamoe_check_result *result)
{
    if (isnan(result->got)) {
        return "a NaN, or not written";
    }
    if (result->bound == 0.0) {
        return "an element that must be exact is not";
    }
    return result->largest_ratio > 1.0 ? "an element beyond its bound"
                                       : "errors too large on the whole, though each is within its bound";
}

/* An array that is compared: with a yardstick, or bit by bit with `same`. */
typedef struct compared {
    const float *got, *same;
    const adamoe_yardstick *yardstick;
    double lambda, scale;
} compared;

static double share_of(const compared *c, size_t i)
{
    const double expected = c->same != NULL ? (double)c->same[i] : c->yardstick->expected[i];
    const double error = fabs((double)c->got[i] - expected);
    const double allowed =
        c->same != NULL ? 0.0 : (c->lambda * c->yardstick->spread[i] + c->yardstick->slack[i]) * c->scale;
    return error == 0.0                          ? 0.0
           : isnan(error) || !(error < HUGE_VAL) ? HUGE_VAL
           : allowed > 0.0                       ? error / allowed
                                                 : HUGE_VAL;
}

static void surround(const compared *c, size_t count, size_t width, size_t at, adamoe_surroundings *out)
{
    const size_t row = at / width, column = at % width, rows = count / width;
    *out = (adamoe_surroundings){.above = row > 0, .left = column < 2 ? column : 2};
    const size_t first_row = row - out->above, first_column = column - out->left;
    out->rows = rows - first_row < ADAMOE_AROUND_ROWS - 1 + out->above ? rows - first_row : 2 + out->above;
    out->columns = width - first_column < 3 + out->left ? width - first_column : 3 + out->left;
    for (size_t i = 0; i < out->rows * out->columns; ++i) {
        const size_t r = i / out->columns, j = i % out->columns;
        const size_t from = (first_row + r) * width + first_column + j;
        out->got[r][j] = (double)c->got[from];
        out->expected[r][j] = c->same != NULL ? (double)c->same[from] : c->yardstick->expected[from];
        out->share[r][j] = share_of(c, from);
    }
}

static void keep_worst(const adamoe_checking *k, const adamoe_yardstick *yardstick, const float *got,
                       size_t width, double scale, const adamoe_verdict *verdict)
{
    adamoe_check_result *out = k->out;
    const double lambda = adamoe_bound_factor(yardstick->count, ADAMOE_FALSE_ALARM);
    const size_t at = verdict->worst;
    out->rms_ratio = fmax(out->rms_ratio, verdict->rms_ratio);
    if (yardstick->count == 0 || (out->has_element && !(verdict->largest_ratio > out->largest_ratio))) {
        return;
    }
    out->has_element = true;
    out->largest_ratio = verdict->largest_ratio;
    out->row = at / width;
    out->column = at % width;
    out->got = (double)got[at];
    out->expected = yardstick->expected[at];
    out->bound = (lambda * yardstick->spread[at] + yardstick->slack[at]) * scale;
    const compared c = {.got = got, .yardstick = yardstick, .lambda = lambda, .scale = scale};
    surround(&c, yardstick->count, width, at, &out->around);
}

bool adamoe_check_judge(const adamoe_checking *k, const adamoe_yardstick *yardstick, const float *got,
                        size_t width, double scale)
{
    const adamoe_verdict verdict = adamoe_judge(yardstick, got, scale);
    keep_worst(k, yardstick, got, width, scale, &verdict);
    if (!verdict.passed) {
        adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "%s", failed_because(k->out));
        return false;
    }
    if (verdict.vacuous) {
        adamoe_check_settle(k, ADAMOE_CHECK_VACUOUS, "%s", vacuous_because(yardstick));
    }
    return true;
}

bool adamoe_check_same_bits(const adamoe_checking *k, const float *got, const float *expected, size_t count,
                            size_t width, const char *what)
{
    for (size_t i = 0; i < count; ++i) {
        if (memcmp(&got[i], &expected[i], sizeof *got) != 0) {
            *k->out = (adamoe_check_result){.tier = k->out->tier,
                                            .has_element = true,
                                            .row = i / width,
                                            .column = i % width,
                                            .got = (double)got[i],
                                            .expected = (double)expected[i],
                                            .largest_ratio = HUGE_VAL};
            const compared c = {.got = got, .same = expected};
            surround(&c, count, width, i, &k->out->around);
            adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "not the same bits: %s", what);
            return false;
        }
    }
    if (count > 0 && !k->out->has_element) {
        k->out->has_element = true; /* compared, and equal */
        k->out->got = k->out->expected = (double)got[0];
    }
    return true;
}
