/*
 * The roofline of the moment.
 */
#include "timing/paired_limit.h"

#include <math.h>

#define PART_OF_REPETITION (1.0 / 20.0)
#define MOST_SLICES        24

static double around(const double *rate, size_t before)
{
    return 0.5 * (rate[before] + rate[before + 1]);
}

void adamoe_paired_limits(const adamoe_plan *plan, adamoe_expert_cost cost, const adamoe_peak *peak,
                          const size_t *before, size_t count, double hot_rate, adamoe_limit *limit)
{
    const adamoe_rates usual = {peak->gflops_median,
                                hot_rate > 0.0 ? hot_rate : peak->gbytes_per_second_median};
    for (size_t i = 0; i < count; ++i) {
        if (peak->gflops_of == NULL) {
            limit[i] = (adamoe_limit){NAN, NAN};
            continue;
        }
        const adamoe_rates now = {around(peak->gflops_of, before[i]),
                                  hot_rate > 0.0 ? hot_rate : around(peak->gbytes_of, before[i])};
        limit[i] = adamoe_roofline_now(plan, cost, usual, now);
    }
}

size_t adamoe_burst_slices(double seconds)
{
    const double slices = ceil(PART_OF_REPETITION * seconds / ADAMOE_BURST_SLICE);
    return slices >= MOST_SLICES ? MOST_SLICES : slices >= 1.0 ? (size_t)slices : 1;
}
