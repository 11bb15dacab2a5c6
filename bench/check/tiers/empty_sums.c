/*
 * Empty sums, compared by their bits.
 */
#include "check/tiers/empty_sums.h"

#include <math.h>
#include <string.h>

/* `rows` rows of `width` values, from row `first` of their tensor on. */
static bool are_plus_zero(const adamoe_checking *k, const float *values, size_t first, size_t rows,
                          size_t width, const char *what)
{
    static const float zero = 0.0f;
    for (size_t i = 0; i < rows * width; ++i) {
        const float *value = &values[first * width + i];
        if (memcmp(value, &zero, sizeof zero) != 0) {
            *k->out = (adamoe_check_result){.tier = k->out->tier,
                                            .has_element = true,
                                            .row = first + i / width,
                                            .column = i % width,
                                            .got = (double)*value,
                                            .largest_ratio = HUGE_VAL};
            adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "%s must be +0, and is %s", what,
                                *value == 0.0f ? "-0" : "not");
            return false;
        }
    }
    return true;
}

bool adamoe_check_empty_tokens(const adamoe_checking *k, const adamoe_plan *plan, const float *values,
                               size_t width, const char *what)
{
    for (size_t t = 0; t < plan->tokens && plan->self_scale == NULL; ++t) {
        if (plan->token_offset[t] == plan->token_offset[t + 1] &&
            !are_plus_zero(k, values, t, 1, width, what)) {
            return false;
        }
    }
    return true;
}

bool adamoe_check_empty_experts(const adamoe_checking *k, const adamoe_plan *plan, const float *values,
                                size_t rows, size_t width, const char *what)
{
    for (size_t e = 0; e < plan->experts; ++e) {
        if (plan->offset[e] == plan->offset[e + 1] &&
            !are_plus_zero(k, values, e * rows, rows, width, what)) {
            return false;
        }
    }
    return true;
}
