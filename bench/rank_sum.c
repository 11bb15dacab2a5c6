/*
 * Mann and Whitney's rank-sum test.
 */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>

#define MOST_EXACT 60

/* ways[c * (sum + 1) + s] = the number of ways to choose c of the ranks with the sum s, for c <= chosen. */
static void count_choices(const uint32_t *ranks, size_t count, size_t chosen, size_t sum, double *ways)
{
    ways[0] = 1.0;
    for (size_t i = 0; i < count; ++i) {
        const size_t most = i + 1 < chosen ? i + 1 : chosen;
        for (size_t c = most; c > 0; --c) {
            double *with = ways + c * (sum + 1);
            const double *without = with - (sum + 1);
            for (size_t s = sum; s >= ranks[i]; --s) {
                with[s] += without[s - ranks[i]];
            }
        }
    }
}

/* rank_sum is twice the sum of the first sample's ranks. */
static adamoe_status exact_p(const uint32_t *ranks, size_t count, size_t chosen, size_t rank_sum, double *p)
{
    const size_t sum = count * (count + 1);
    double *ways = calloc((chosen + 1) * (sum + 1), sizeof *ways);
    if (ways == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "rank-sum test: out of memory");
    }
    count_choices(ranks, count, chosen, sum, ways);
    const double *of_chosen = ways + chosen * (sum + 1);
    double lower = 0.0, upper = 0.0, all = 0.0;
    for (size_t s = 0; s <= sum; ++s) {
        all += of_chosen[s];
        lower += s <= rank_sum ? of_chosen[s] : 0.0;
        upper += s >= rank_sum ? of_chosen[s] : 0.0;
    }
    free(ways);
    *p = fmin(1.0, 2.0 * fmin(lower, upper) / all);
    return adamoe_ok();
}

static double normal_p(double u, double m, double n, double ties)
{
    const double both = m + n;
    const double variance = m * n / 12.0 * (both + 1.0 - ties / (both * (both - 1.0)));
    const double distance = fmax(0.0, fabs(u - 0.5 * m * n) - 0.5);
    return variance > 0.0 ? adamoe_normal_p(distance / sqrt(variance)) : 1.0;
}

static adamoe_status test(const double *all, uint32_t *ranks, size_t m, size_t n, adamoe_rank_test *out)
{
    double ties;
    size_t rank_sum = 0;
    ADAMOE_TRY(adamoe_double_ranks(all, m + n, ranks, &ties));
    for (size_t i = 0; i < m; ++i) {
        rank_sum += ranks[i];
    }
    *out = (adamoe_rank_test){
        .statistic = 0.5 * (double)(rank_sum - m * (m + 1)), .used = m + n, .exact = m + n <= MOST_EXACT};
    if (out->exact) {
        return exact_p(ranks, m + n, m, rank_sum, &out->p);
    }
    out->p = normal_p(out->statistic, (double)m, (double)n, ties);
    return adamoe_ok();
}

adamoe_status adamoe_rank_sum_test(const double *first, size_t first_count, const double *second,
                                   size_t second_count, adamoe_rank_test *out)
{
    const size_t count = first_count + second_count;
    *out = (adamoe_rank_test){.p = 1.0, .used = count, .exact = true};
    if (first_count == 0 || second_count == 0) {
        return adamoe_ok();
    }
    double *all = calloc(count, sizeof *all);
    uint32_t *ranks = calloc(count, sizeof *ranks);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "rank-sum test: out of memory");
    if (all != NULL && ranks != NULL) {
        for (size_t i = 0; i < count; ++i) {
            all[i] = i < first_count ? first[i] : second[i - first_count];
        }
        status = test(all, ranks, first_count, second_count, out);
    }
    free(all);
    free(ranks);
    return status;
}
