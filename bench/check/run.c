/*
 * One case of `adamoe check`: finds the rule of its kind and tier, and says what came of it.
 */
#include "check/run.h"
#include "check/cases/kind.h"
#include "check/tiers/judge.h"
#include "machine/host.h"
#include "model/route.h"
#include "model/span_attention.h"

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
static double exp_error_of(const adamoe_kernel *kernel, bool own)
{
    return own ? 3.0 : (double)kernel->silu_error + 2.0;
}

adamoe_status adamoe_check_run(const adamoe_kernel *kernel, const adamoe_case *c, uint64_t seed,
                               const adamoe_team *team, const adamoe_placement *placement,
                               adamoe_check_result *out)
{
    *out = (adamoe_check_result){.status = ADAMOE_CHECK_PASSED, .tier = c->tier};
    const adamoe_kernel whole = with_own_parts(kernel);
    const adamoe_checking k = {.kernel = &whole,
                               .c = c,
                               .seed = seed,
                               .team = team,
                               .placement = placement != NULL ? *placement : adamoe_one_node(team->threads),
                               .route_exp_error = exp_error_of(kernel, kernel->route == NULL),
                               .attention_exp_error = exp_error_of(kernel, kernel->attention == NULL),
                               .out = out};
    const char *missing = c->kind->missing == NULL ? NULL : c->kind->missing(kernel);
    if (missing != NULL) {
        adamoe_check_settle(&k, ADAMOE_CHECK_SKIPPED, "%s", missing);
        return adamoe_ok();
    }
    return c->kind->run[c->tier](&k);
}
