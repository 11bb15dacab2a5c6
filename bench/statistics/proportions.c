/*
 * Two models on the same questions.
 */
#include "statistics/statistics.h"

#include <math.h>
#include <stdlib.h>

double adamoe_mcnemar(size_t lost, size_t won)
{
    const double n = (double)(lost + won);
    const size_t fewer = lost < won ? lost : won;
    double tail = 0.0;
    for (size_t i = 0; i <= fewer; ++i) {
        const double k = (double)i;
        tail += exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) - n * log(2.0));
    }
    return fmin(1.0, 2.0 * tail);
}

#define RESAMPLES 10000

adamoe_status adamoe_pair_answers(const bool *first, const bool *second, size_t questions, uint64_t seed,
                                  adamoe_paired_answers *out)
{
    double *difference = calloc(questions, sizeof *difference);
    if (difference == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "paired answers: out of memory");
    }
    *out = (adamoe_paired_answers){.questions = questions};
    for (size_t i = 0; i < questions; ++i) {
        difference[i] = (double)second[i] - (double)first[i];
        out->lost += first[i] && !second[i];
        out->won += second[i] && !first[i];
    }
    out->difference = ((double)out->won - (double)out->lost) / (double)questions;
    out->p = adamoe_mcnemar(out->lost, out->won);
    const adamoe_status status =
        adamoe_bootstrap(difference, questions, ADAMOE_LOCATION_MEAN, 0.95, RESAMPLES, seed, &out->interval);
    free(difference);
    return status;
}
