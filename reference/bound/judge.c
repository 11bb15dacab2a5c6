/*
 * Judging a tensor against its yardstick: bound.h states and derives the rule.
 */
#include "bound/judge.h"
#include "bound/bound.h"

#include <math.h>
#include <stdlib.h>

adamoe_status adamoe_yardstick_create(size_t count, adamoe_yardstick *out)
{
    *out = (adamoe_yardstick){.count = count,
                              .expected = calloc(count + 1, sizeof *out->expected),
                              .spread = calloc(count + 1, sizeof *out->spread),
                              .slack = calloc(count + 1, sizeof *out->slack)};
    if (out->expected == NULL || out->spread == NULL || out->slack == NULL) {
        adamoe_yardstick_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "yardstick: out of memory for %zu elements", count);
    }
    return adamoe_ok();
}

void adamoe_yardstick_free(adamoe_yardstick *yardstick)
{
    free(yardstick->expected);
    free(yardstick->spread);
    free(yardstick->slack);
    *yardstick = (adamoe_yardstick){0};
}

/* error / allowed, where an error of 0 is fine whatever is allowed. */
static double error_ratio(double error, double allowed)
{
    if (error == 0.0) {
        return 0.0;
    }
    return allowed > 0.0 ? error / allowed : HUGE_VAL;
}

adamoe_verdict adamoe_judge(const adamoe_yardstick *yardstick, const float *got, double scale)
{
    const double lambda = adamoe_bound_factor(yardstick->count, ADAMOE_FALSE_ALARM);
    adamoe_verdict verdict = {.passed = true};
    double squares = 0.0;
    size_t spread_elements = 0, computed = 0, computed_zeros = 0, zeros = 0;
    bool overflow = false;
    for (size_t i = 0; i < yardstick->count; ++i) {
        const double error = fabs((double)got[i] - yardstick->expected[i]);
        const double spread = yardstick->spread[i] * scale;
        const double allowed = lambda * spread + yardstick->slack[i] * scale;
        if (!isfinite(allowed)) {
            verdict.worst = overflow || verdict.largest_ratio > 0.0 ? verdict.worst : i;
            overflow = true;
            continue;
        }
        const bool zero = yardstick->expected[i] == 0.0;
        zeros += zero;
        computed += allowed > 0.0;
        computed_zeros += zero && allowed > 0.0;
        const double ratio = isfinite(got[i]) ? error_ratio(error, allowed) : HUGE_VAL;
        if (ratio > verdict.largest_ratio) {
            verdict.largest_ratio = ratio;
            verdict.worst = i;
        }
        if (spread > 0.0) {
            const double beyond = fmax(0.0, error - yardstick->slack[i] * scale) / spread;
            squares += beyond * beyond;
            ++spread_elements;
        }
    }
    verdict.rms_ratio = spread_elements == 0 ? 0.0 : sqrt(squares / (double)spread_elements);
    verdict.vacuous = overflow || (computed > 0 ? computed_zeros > computed / 2 : zeros == yardstick->count);
    /* Written so that a NaN fails. */
    verdict.passed = verdict.largest_ratio <= 1.0 && verdict.rms_ratio <= 1.0;
    return verdict;
}
