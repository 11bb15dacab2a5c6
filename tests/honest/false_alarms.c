/*
 * How often `adamoe check` cries wolf: random cases of its grid with other data for each seed, over every
 * kernel that runs here and that counts as honest.
 *
 *     false_alarms SEEDS [PLUGIN.so ...]
 *
 * Prints for each kernel how near it came to the bound, for a gradient tensor by tensor, and the probability
 * that any tensor of so many leaves it by honest rounding, which follows from lambda (reference/bound/bound.h).
 * Exit code 1 if a case failed. A program, not a cmocka test, so that the number of seeds can be chosen: the
 * test suite takes a few, a study a thousand.
 */
#include "bound/bound.h"
#include "check/tiers/gradient/judge.h"
#include "check/run.h"
#include "layers/random_layer.h"
#include "registry.h"
#include "statistics/statistics.h"
#include "machine/team.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CASES_FOR_A_SEED = 3, THREADS = 2 };

/* Multiply-adds of a case that leave a seed well under a second in the naive reference. */
#define MOST_WORK 4e6

static double work_of(const adamoe_case *c)
{
    const double rows = (double)c->tokens * (double)c->mixture.top_k;
    const double products = c->kind == &adamoe_kind_gradient ? 9.0 : 3.0; /* a row with each matrix */
    return c->kind == &adamoe_kind_multiply
               ? (double)c->tokens * (double)c->rows * (double)c->columns
               : products * rows * (double)c->hidden_size * (double)c->intermediate_size;
}

/* What all cases of one kernel came to. */
typedef struct study {
    const adamoe_kernel *kernel;
    adamoe_case *cases; /* of the kernel's own grid */
    size_t count;
    size_t run, failed, tensors; /* tensors: judged by the bound */
    double *ratio;               /* [tensors] the largest of each */
    double largest_rms;
    size_t gradients; /* of them: cases of a gradient, each of several tensors */
    double gradient_ratio[ADAMOE_GRADIENT_TENSORS]; /* the largest of each */
} study;

static void note(study *s, const adamoe_case *c, uint64_t seed, const adamoe_check_result *result)
{
    ++s->run;
    if (result->status == ADAMOE_CHECK_FAILED) {
        ++s->failed;
        printf("FAILED %s --case %s --seed %" PRIu64 " --threads %d: %s\n", s->kernel->name,
               adamoe_name_case(c).text, seed, THREADS, result->detail);
    }
    if (c->tier == ADAMOE_TIER_BOUND && result->has_element && result->status != ADAMOE_CHECK_VACUOUS) {
        s->ratio[s->tensors++] = result->largest_ratio;
        s->largest_rms = fmax(s->largest_rms, result->rms_ratio);
        s->gradients += c->kind == &adamoe_kind_gradient;
        for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
            s->gradient_ratio[i] = fmax(s->gradient_ratio[i], result->tensor_ratio[i]);
        }
    }
}

static adamoe_status run_seed(study *s, uint64_t seed, const adamoe_team *team)
{
    adamoe_splitmix64 random = adamoe_random_for(s->kernel->name, seed);
    for (size_t i = 0; i < CASES_FOR_A_SEED;) {
        const adamoe_case *c = &s->cases[adamoe_splitmix64_below(&random, s->count)];
        adamoe_check_result result;
        if (work_of(c) <= MOST_WORK) {
            ADAMOE_TRY(adamoe_check_run(s->kernel, c, seed, team, NULL, &result));
            note(s, c, seed, &result);
            ++i;
        }
    }
    return adamoe_ok();
}

static size_t all_tensors(const study *s)
{
    return s->tensors + s->gradients * (ADAMOE_GRADIENT_TENSORS - 1);
}

/* The union bound: each tensor leaves its bound with at most ADAMOE_FALSE_ALARM. */
static void print_study(study *s)
{
    if (s->tensors == 0) {
        printf("%-24s %8zu %8zu  nothing was judged by the bound\n", s->kernel->name, s->run, s->failed);
        return;
    }
    adamoe_sort(s->ratio, s->tensors);
    printf("%-24s %8zu %8zu %9zu %11.3f %8.3f %12.3f %13.1e\n", s->kernel->name, s->run, s->failed,
           s->tensors, s->ratio[s->tensors - 1], adamoe_median(s->ratio, s->tensors), s->largest_rms,
           (double)all_tensors(s) * ADAMOE_FALSE_ALARM);
    if (s->gradients > 0) {
        printf("  %zu gradients, largest", s->gradients);
        for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
            printf(" %s %.3f", adamoe_gradient_tensor_names[i], s->gradient_ratio[i]);
        }
        printf("\n");
    }
}

static adamoe_status run_study(const adamoe_kernel *kernel, uint64_t seeds, const adamoe_team *team,
                               size_t *failed, size_t *tensors)
{
    study s = {.kernel = kernel, .ratio = calloc(seeds * CASES_FOR_A_SEED, sizeof *s.ratio)};
    adamoe_status status = s.ratio == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "out of memory")
                                           : adamoe_check_grid(&kernel->tiles, false, &s.cases, &s.count);
    for (uint64_t seed = 1; seed <= seeds && status.code == ADAMOE_OK; ++seed) {
        status = run_seed(&s, seed, team);
    }
    if (status.code == ADAMOE_OK) {
        print_study(&s);
        (void)fflush(stdout);
    }
    *failed += s.failed;
    *tensors += all_tensors(&s);
    free(s.ratio);
    free(s.cases);
    return status;
}

static adamoe_status run_all(uint64_t seeds, const adamoe_registry *registry, const adamoe_team *team,
                             size_t *failed)
{
    size_t tensors = 0;
    const char *why_not = NULL;
    printf("%-24s %8s %8s %9s %11s %8s %12s %13s\n", "kernel", "cases", "failed", "tensors", "largest",
           "median", "largest rms", "false alarms");
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        if (kernel->supported(&why_not)) {
            ADAMOE_TRY(run_study(kernel, seeds, team, failed, &tensors));
        } else {
            printf("%-24s skipped: %s\n", kernel->name, why_not);
        }
    }
    printf("%zu tensors judged by the bound: probability of any false alarm at most %.1e; %zu cases failed\n",
           tensors, (double)tensors * ADAMOE_FALSE_ALARM, *failed);
    return tensors > 0 ? adamoe_ok() : adamoe_error(ADAMOE_DIFFERENCE, "nothing was judged by the bound");
}

int main(int count, char **arguments)
{
    const uint64_t seeds = count >= 2 ? strtoull(arguments[1], NULL, 10) : 0;
    adamoe_registry *registry = NULL;
    adamoe_team *team = NULL;
    size_t failed = 0;
    if (seeds == 0 || seeds > 1000000) {
        fprintf(stderr, "usage: false_alarms SEEDS [PLUGIN.so ...]\n");
        return ADAMOE_BAD_INPUT;
    }
    adamoe_status status = adamoe_registry_create(&registry);
    for (int i = 2; i < count && status.code == ADAMOE_OK; ++i) {
        status = adamoe_registry_load(registry, arguments[i]);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_team_create(THREADS, &team);
    }
    if (status.code == ADAMOE_OK) {
        status = run_all(seeds, registry, team, &failed);
    }
    adamoe_team_free(team);
    adamoe_registry_free(registry);
    if (status.code != ADAMOE_OK) {
        fprintf(stderr, "false_alarms: %s\n", status.message);
        return (int)status.code;
    }
    return failed == 0 ? 0 : ADAMOE_DIFFERENCE;
}
