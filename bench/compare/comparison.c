/*
 * Findings and their judgement.
 */
#include "compare/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const adamoe_aspect_names[ADAMOE_ASPECTS] = {"check", "work", "accuracy", "speed"};

const char *const adamoe_verdict_names[ADAMOE_VERDICTS] = {"regression", "missing", "not judged", "improved",
                                                           "same"};

const adamoe_comparison_options adamoe_comparison_defaults = {.alpha = 0.05, .minimum_effect = 0.03};

adamoe_status adamoe_add_finding(adamoe_result_comparison *comparison, const adamoe_finding *finding)
{
    if (comparison->count == comparison->capacity) {
        const size_t capacity = 2 * comparison->capacity + 32;
        adamoe_finding *more = realloc(comparison->finding, capacity * sizeof *more);
        if (more == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "comparison: out of memory");
        }
        comparison->finding = more;
        comparison->capacity = capacity;
    }
    comparison->finding[comparison->count++] = *finding;
    comparison->tests += finding->tested;
    return adamoe_ok();
}

void adamoe_add_note(adamoe_result_comparison *comparison, const char *format, ...)
{
    const size_t used = strlen(comparison->notes), room = sizeof comparison->notes - used;
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(comparison->notes + used, room, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length + 1 >= room) {
        comparison->notes[used] = '\0';
        return;
    }
    memcpy(comparison->notes + used + (size_t)length, "\n", 2);
}

void adamoe_counter_text(char *text, size_t size, double value)
{
    const bool whole = fabs(value) < 9007199254740992.0 && value == floor(value);
    (void)snprintf(text, size, whole ? "%.0f" : "%.17g", value);
}

static void judge(adamoe_finding *f, const adamoe_result_comparison *comparison)
{
    const double alpha = comparison->options.alpha;
    const bool significant = f->adjusted_p <= alpha;
    if (significant && f->relevant) {
        f->verdict = f->worse ? ADAMOE_VERDICT_REGRESSION : ADAMOE_VERDICT_IMPROVED;
    } else if (f->smallest_p * (double)comparison->tests > alpha) {
        f->verdict = ADAMOE_VERDICT_NOT_JUDGED;
        (void)snprintf(f->note, sizeof f->note,
                       "too few repetitions: p cannot be below %.2g, and Holm's correction over %zu tests "
                       "asks for %.2g",
                       f->smallest_p, comparison->tests, alpha / (double)comparison->tests);
    } else {
        f->verdict = ADAMOE_VERDICT_SAME;
        (void)snprintf(f->note, sizeof f->note, "%s",
                       significant ? "below the minimum effect" : "not distinguishable");
    }
}

adamoe_status adamoe_judge_comparison(adamoe_result_comparison *comparison)
{
    double *p = calloc(comparison->tests + 1, sizeof *p);
    double *adjusted = calloc(comparison->tests + 1, sizeof *adjusted);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "comparison: out of memory");
    size_t test = 0;
    if (p != NULL && adjusted != NULL) {
        for (size_t i = 0; i < comparison->count; ++i) {
            if (comparison->finding[i].tested) {
                p[test++] = comparison->finding[i].p;
            }
        }
        status = adamoe_holm(p, test, adjusted);
    }
    test = 0;
    for (size_t i = 0; i < comparison->count && status.code == ADAMOE_OK; ++i) {
        adamoe_finding *f = &comparison->finding[i];
        if (f->tested) {
            f->adjusted_p = adjusted[test++];
            judge(f, comparison);
        }
    }
    free(p);
    free(adjusted);
    return status;
}

size_t adamoe_count_verdict(const adamoe_result_comparison *comparison, adamoe_verdict_kind verdict)
{
    size_t count = 0;
    for (size_t i = 0; i < comparison->count; ++i) {
        count += comparison->finding[i].verdict == verdict;
    }
    return count;
}

adamoe_status adamoe_comparison_outcome(const adamoe_result_comparison *comparison)
{
    const size_t worse = adamoe_count_verdict(comparison, ADAMOE_VERDICT_REGRESSION);
    const size_t missing = adamoe_count_verdict(comparison, ADAMOE_VERDICT_MISSING);
    const bool fails = worse > 0 || (missing > 0 && comparison->options.missing_fails);
    if (!fails && comparison->unchanged == 0 &&
        adamoe_count_verdict(comparison, ADAMOE_VERDICT_NOT_JUDGED) + missing == comparison->count) {
        return adamoe_error(
            ADAMOE_BAD_INPUT, "nothing could be compared%s%.400s", comparison->count > 0 ? ": " : "",
            comparison->count == 0                   ? ""
            : comparison->finding[0].note[0] != '\0' ? comparison->finding[0].note
                                                     : "what the one has is missing in the other");
    }
    if (!fails) {
        return adamoe_ok();
    }
    return adamoe_error(ADAMOE_DIFFERENCE, "%zu regression%s, %zu missing", worse, worse == 1 ? "" : "s",
                        missing);
}

void adamoe_free_comparison(adamoe_result_comparison *comparison)
{
    free(comparison->finding);
    *comparison = (adamoe_result_comparison){0};
}
