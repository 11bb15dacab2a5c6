/*
 * One case of `adamoe check`: finds the tier, and says what came of it.
 */
#include "check/run.h"
#include "check/tiers/tiers.h"
#include "machine/host.h"
#include "model/route.h"
#include "model/span_attention.h"

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
