/*
 * What a plan costs, and the least time that arithmetic and memory allow for it.
 */
#include "roofline.h"
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

static double larger(double a, double b)
{
    return a > b ? a : b;
}

adamoe_limit adamoe_roofline(const adamoe_plan *plan, adamoe_expert_cost cost, adamoe_rates rates)
{
    const adamoe_plan_work work = adamoe_plan_work_of(plan, cost);
    adamoe_limit limit = {
        .seconds = larger(divide(work.flops, rates.gflops), divide(work.bytes, rates.gbytes_per_second))};
    for (size_t e = 0; e < plan->experts; ++e) {
        const double rows = (double)rows_of(plan, e);
        if (rows > 0.0) {
            limit.seconds_without_overlap += larger(divide(cost.flops_per_row * rows, rates.gflops),
                                                    divide(cost.bytes, rates.gbytes_per_second));
        }
    }
    return limit;
}
