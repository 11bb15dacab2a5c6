/*
 * One case of `adamoe check`: finds the tier, and says what came of it.
 */
#include "check/run.h"
#include "check/tiers/tiers.h"
#include "machine/host.h"
#include "model/route.h"
#include "model/span_attention.h"

#include <math.h>
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

/* ------------------------------------------------------------------------------------------------ running */

static const char *what_is_missing(const adamoe_kernel *kernel, const adamoe_case *c)
{
    switch (c->kind) {
    case ADAMOE_CASE_MULTIPLY:
    case ADAMOE_CASE_LOGITS:
    case ADAMOE_CASE_MODEL:
        return kernel->multiply == NULL ? "the kernel has no dense product" : NULL;
    case ADAMOE_CASE_GRADIENT:
        return kernel->backward == NULL ? "the kernel has no backward pass" : NULL;
    default:
        return NULL;
    }
}

/* Where a kernel brings no router or attention, the program's own serve, in the forward pass and here. */
static adamoe_kernel with_own_parts(const adamoe_kernel *kernel)
{
    adamoe_kernel whole = *kernel;
    if (kernel->route == NULL) {
        whole.route = adamoe_route;
    }
    if (kernel->attention == NULL) {
        whole.attention_work_bytes = adamoe_span_attention_work_bytes;
        whole.attention = adamoe_span_attention;
    }
    return whole;
}

/* Units by which exp may be off in a router or an attention. A kernel declares the error of its silu: far
 * below zero that is exp's but for two roundings. The program's own exp is good to 3. */
static double exp_error_of(const adamoe_kernel *kernel, adamoe_case_kind kind)
{
    const bool own = kind == ADAMOE_CASE_ATTENTION ? kernel->attention == NULL : kernel->route == NULL;
    return own ? 3.0 : (double)kernel->silu_error + 2.0;
}

adamoe_status adamoe_check_run(const adamoe_kernel *kernel, const adamoe_case *c, uint64_t seed,
                               const adamoe_team *team, const adamoe_placement *placement,
                               adamoe_check_result *out)
{
    *out = (adamoe_check_result){.status = ADAMOE_CHECK_PASSED, .tier = c->tier};
    const adamoe_kernel whole = with_own_parts(kernel);
    const adamoe_placement place = placement != NULL ? *placement : adamoe_one_node(team->threads);
    const adamoe_checking k = {&whole, c, seed, team, place, exp_error_of(kernel, c->kind), out};
    const char *missing = what_is_missing(kernel, c);
    if (missing != NULL) {
        adamoe_check_settle(&k, ADAMOE_CHECK_SKIPPED, "%s", missing);
        return adamoe_ok();
    }
    if (c->kind == ADAMOE_CASE_GRADIENT) {
        return adamoe_check_gradient(&k);
    }
    switch (c->tier) {
    case ADAMOE_TIER_EXACT:
        return adamoe_check_exact(&k);
    case ADAMOE_TIER_BITWISE:
        return adamoe_check_bitwise(&k);
    case ADAMOE_TIER_PROPERTY:
        return adamoe_check_property(&k);
    case ADAMOE_TIER_ROUTING:
        return adamoe_check_routing(&k);
    case ADAMOE_TIER_MODEL:
        return adamoe_check_model_tier(&k);
    default:
        return c->kind == ADAMOE_CASE_ATTENTION ? adamoe_check_attention(&k) : adamoe_check_bound(&k);
    }
}
