/*
 * Wilcoxon's signed-rank test, and the estimate and interval that go with it.
 */
#include "statistics/statistics.h"

#include <math.h>
#include <stdlib.h>

#define MOST_EXACT 200

/* share[s] = P(the ranks with a positive sign add up to s), signs being fair coins; share has sum + 1 places.
 * In probabilities instead of counts, which overflow. */
static void sign_distribution(const uint32_t *ranks, size_t count, size_t sum, double *share)
{
    size_t reached = 0;
    for (size_t s = 0; s <= sum; ++s) {
        share[s] = s == 0 ? 1.0 : 0.0;
    }
    for (size_t i = 0; i < count; ++i) {
        reached += ranks[i];
        for (size_t s = reached + 1; s-- > 0;) {
            share[s] = 0.5 * (share[s] + (s >= ranks[i] ? share[s - ranks[i]] : 0.0));
        }
    }
}

static adamoe_status exact_p(const uint32_t *ranks, size_t count, size_t positive, double *p)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; ++i) {
        sum += ranks[i];
    }
    double *share = calloc(sum + 1, sizeof *share);
    if (share == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "signed-rank test: out of memory");
    }
    sign_distribution(ranks, count, sum, share);
    /* The distribution is symmetric: the smaller tail is that of the smaller sum of ranks. */
    const size_t smaller = positive < sum - positive ? positive : sum - positive;
    double tail = 0.0;
    for (size_t s = 0; s <= smaller; ++s) {
        tail += share[s];
    }
    free(share);
    *p = fmin(1.0, 2.0 * tail);
    return adamoe_ok();
}

static double normal_p(double positive, double count, double ties)
{
    const double mean = count * (count + 1.0) / 4.0;
    const double variance = count * (count + 1.0) * (2.0 * count + 1.0) / 24.0 - ties / 48.0;
    const double distance = fmax(0.0, fabs(positive - mean) - 0.5);
    return adamoe_normal_p(distance / sqrt(variance));
}

static adamoe_status test(const double *magnitude, const double *value, uint32_t *ranks,
                          adamoe_rank_test *out)
{
    double ties;
    size_t positive = 0; /* twice the statistic */
    ADAMOE_TRY(adamoe_double_ranks(magnitude, out->used, ranks, &ties));
    for (size_t i = 0; i < out->used; ++i) {
        positive += value[i] > 0.0 ? ranks[i] : 0;
    }
    out->statistic = 0.5 * (double)positive;
    out->exact = out->used <= MOST_EXACT;
    if (out->exact) {
        return exact_p(ranks, out->used, positive, &out->p);
    }
    out->p = normal_p(out->statistic, (double)out->used, ties);
    return adamoe_ok();
}

adamoe_status adamoe_signed_rank_test(const double *values, size_t count, adamoe_rank_test *out)
{
    double *value = calloc(count + 1, sizeof *value), *magnitude = calloc(count + 1, sizeof *magnitude);
    uint32_t *ranks = calloc(count + 1, sizeof *ranks);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "signed-rank test: out of memory");
    *out = (adamoe_rank_test){0};
    if (value != NULL && magnitude != NULL && ranks != NULL) {
        for (size_t i = 0; i < count; ++i) {
            if (values[i] != 0.0) {
                value[out->used] = values[i];
                magnitude[out->used++] = fabs(values[i]);
            }
        }
        status = test(magnitude, value, ranks, out);
    }
    free(value);
    free(magnitude);
    free(ranks);
    return status;
}

/* The largest c with P(W < c) <= probability, W the sum of positive ranks 1 .. count. */
static adamoe_status lower_rank(size_t count, double probability, size_t *out)
{
    const size_t sum = count * (count + 1) / 2;
    uint32_t ranks[MOST_EXACT];
    double *share = calloc(sum + 1, sizeof *share), below = 0.0;
    if (share == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "signed-rank interval: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        ranks[i] = (uint32_t)(i + 1);
    }
    sign_distribution(ranks, count, sum, share);
    size_t c = 0;
    for (; c < sum && below + share[c] <= probability; ++c) {
        below += share[c];
    }
    free(share);
    *out = c;
    return adamoe_ok();
}

adamoe_status adamoe_signed_rank_centre(const double *values, size_t count, double level, double *centre,
                                        adamoe_interval *interval)
{
    const size_t means = count * (count + 1) / 2;
    size_t c = 0, made = 0;
    ADAMOE_TRY(lower_rank(count, 0.5 * (1.0 - level), &c));
    double *mean = calloc(means + 1, sizeof *mean);
    if (mean == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "signed-rank interval: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        for (size_t j = i; j < count; ++j) {
            mean[made++] = 0.5 * (values[i] + values[j]);
        }
    }
    adamoe_sort(mean, means);
    *centre = adamoe_median(mean, means);
    *interval =
        c == 0 ? (adamoe_interval){-HUGE_VAL, HUGE_VAL} : (adamoe_interval){mean[c - 1], mean[means - c]};
    free(mean);
    return adamoe_ok();
}
