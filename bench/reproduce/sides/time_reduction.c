/*
 * What the seconds of both sides say of the time that is saved.
 */
#include "reproduce/sides/side_by_side.h"

#include <math.h>

adamoe_status adamoe_side_by_side_judge_time(adamoe_side_by_side *sides)
{
    const size_t count = sides->processes * sides->rounds;
    double log_ratio[ADAMOE_SIDE_MOST_TIMES], reduction[ADAMOE_SIDE_MOST_TIMES];
    adamoe_nested nested;
    for (size_t i = 0; i < count; ++i) {
        const double ratio = sides->adaptive.seconds[i] / sides->vanilla.seconds[i];
        log_ratio[i] = log(ratio);
        reduction[i] = 1.0 - ratio;
    }
    ADAMOE_TRY(adamoe_nested_of(log_ratio, sides->processes, sides->rounds, 0.95, &nested));
    adamoe_sort(reduction, count);
    adamoe_time_reduction *t = &sides->time;
    t->median = adamoe_median(reduction, count);
    t->least = reduction[0];
    t->greatest = reduction[count - 1];
    t->centre = 1.0 - exp(nested.groups.mean);
    t->interval =
        (adamoe_interval){1.0 - exp(nested.groups.interval.high), 1.0 - exp(nested.groups.interval.low)};
    t->p = nested.groups.p;
    t->within = nested.within;
    t->between = nested.between;
    return adamoe_ok();
}
