/*
 * What a plan costs, and the least time that arithmetic and memory allow for it.
 */
#include "timing/roofline.h"
#include "numbers.h"

adamoe_expert_cost adamoe_expert_cost_of(size_t hidden_size, size_t intermediate_size,
                                         adamoe_arithmetic weight)
{
    const double d = (double)hidden_size, ff = (double)intermediate_size;
    const double scales = weight == ADAMOE_INT8 ? (2.0 * ff + d) * (double)sizeof(float) : 0.0;
    return (adamoe_expert_cost){.flops_per_row = 6.0 * d * ff,
                                .bytes = 3.0 * d * ff * (double)adamoe_arithmetic_bytes(weight) + scales};
}

static size_t rows_of(const adamoe_plan *plan, size_t expert)
{
    return plan->offset[expert + 1] - plan->offset[expert];
}

adamoe_plan_work adamoe_plan_work_of(const adamoe_plan *plan, adamoe_expert_cost cost)
{
    adamoe_plan_work work = {.rows = plan->rows, .flops = cost.flops_per_row * (double)plan->rows};
    for (size_t e = 0; e < plan->experts; ++e) {
        work.touched_experts += rows_of(plan, e) > 0;
    }
    work.bytes = cost.bytes * (double)work.touched_experts;
    return work;
}

/* Seconds, where nothing to do takes none at any rate. */
static double divide(double amount, double giga_per_second)
{
    return amount == 0.0 ? 0.0 : amount / (giga_per_second * 1e9);
}

/* Seconds of one amount of each, by the one that binds. */
static double bound(double flops, double bytes, adamoe_rates usual, adamoe_rates now)
{
    return divide(flops, usual.gflops) >= divide(bytes, usual.gbytes_per_second)
               ? divide(flops, now.gflops)
               : divide(bytes, now.gbytes_per_second);
}

adamoe_limit adamoe_roofline_now(const adamoe_plan *plan, adamoe_expert_cost cost, adamoe_rates usual,
                                 adamoe_rates now)
{
    const adamoe_plan_work work = adamoe_plan_work_of(plan, cost);
    adamoe_limit limit = {.seconds = bound(work.flops, work.bytes, usual, now)};
    for (size_t e = 0; e < plan->experts; ++e) {
        const double rows = (double)rows_of(plan, e);
        if (rows > 0.0) {
            limit.seconds_without_overlap += bound(cost.flops_per_row * rows, cost.bytes, usual, now);
        }
    }
    return limit;
}

bool adamoe_arithmetic_binds(const adamoe_plan *plan, adamoe_expert_cost cost, adamoe_rates rates)
{
    const adamoe_plan_work work = adamoe_plan_work_of(plan, cost);
    return divide(work.flops, rates.gflops) >= divide(work.bytes, rates.gbytes_per_second);
}

adamoe_limit adamoe_roofline(const adamoe_plan *plan, adamoe_expert_cost cost, adamoe_rates rates)
{
    return adamoe_roofline_now(plan, cost, rates, rates);
}
