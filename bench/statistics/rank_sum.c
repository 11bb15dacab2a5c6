/*
 * Mann and Whitney's rank-sum test.
 */
#include "statistics/statistics.h"

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

/* The largest c with P(U < c) <= probability. */
static adamoe_status exact_lower(size_t m, size_t n, double probability, size_t *out)
{
    const size_t sum = (m + n) * (m + n + 1), least = m * (m + 1);
    uint32_t ranks[MOST_EXACT];
    double *ways = calloc((m + 1) * (sum + 1), sizeof *ways);
    if (ways == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "rank-sum interval: out of memory");
    }
    for (size_t i = 0; i < m + n; ++i) {
        ranks[i] = (uint32_t)(2 * (i + 1));
    }
    count_choices(ranks, m + n, m, sum, ways);
    const double *of_first = ways + m * (sum + 1) + least; /* twice U: every second place */
    double all = 0.0, below = 0.0;
    for (size_t u = 0; u <= m * n; ++u) {
        all += of_first[2 * u];
    }
    size_t c = 0;
    for (; c < m * n && (below + of_first[2 * c]) / all <= probability; ++c) {
        below += of_first[2 * c];
    }
    free(ways);
    *out = c;
    return adamoe_ok();
}

/* The same from the normal distribution: the z with P(Z < -z) = probability by bisection. */
static size_t normal_lower(double m, double n, double probability)
{
    double low = 0.0, high = 10.0;
    for (int i = 0; i < 60; ++i) {
        const double z = 0.5 * (low + high);
        *(0.5 * adamoe_normal_p(z) > probability ? &low : &high) = z;
    }
    const double c = 0.5 * m * n - high * sqrt(m * n * (m + n + 1.0) / 12.0);
    return c < 0.0 ? 0 : (size_t)c;
}

adamoe_status adamoe_rank_sum_shift(const double *first, size_t first_count, const double *second,
                                    size_t second_count, double level, double *shift,
                                    adamoe_interval *interval)
{
    const size_t m = first_count, n = second_count;
    const double probability = 0.5 * (1.0 - level);
    size_t c = 0;
    if (m + n <= MOST_EXACT) {
        ADAMOE_TRY(exact_lower(m, n, probability, &c));
    } else {
        c = normal_lower((double)m, (double)n, probability);
    }
    double *difference = calloc(m * n, sizeof *difference);
    if (difference == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "rank-sum interval: out of memory");
    }
    for (size_t i = 0; i < m * n; ++i) {
        difference[i] = first[i / n] - second[i % n];
    }
    adamoe_sort(difference, m * n);
    *shift = adamoe_median(difference, m * n);
    *interval = c == 0 ? (adamoe_interval){-HUGE_VAL, HUGE_VAL}
                       : (adamoe_interval){difference[c - 1], difference[m * n - c]};
    free(difference);
    return adamoe_ok();
}
