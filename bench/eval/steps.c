/*
 * Which questions are run together, and by which rank: see steps.h.
 */
#include "eval/steps.h"
#include "eval/score.h"

static size_t step_end(const adamoe_step_rule *rule, const adamoe_prompt *prompt, size_t count, size_t first)
{
    const size_t most = rule->batch_tokens * rule->ranks;
    size_t end = first, tokens = 0;
    do {
        tokens += adamoe_prompt_tokens(&prompt[end++]);
    } while (end < count && (rule->batch_tokens == 0 ? end - first < rule->ranks
                                                     : tokens + adamoe_prompt_tokens(&prompt[end]) <= most));
    return end;
}

size_t adamoe_step_bounds(const adamoe_step_rule *rule, const adamoe_prompt *prompt, size_t count,
                          size_t first, size_t *bound)
{
    const size_t end = step_end(rule, prompt, count, first);
    double total = 0.0, before = 0.0;
    for (size_t q = first; q < end; ++q) {
        total += (double)adamoe_prompt_tokens(&prompt[q]);
    }
    size_t q = first;
    bound[0] = first;
    for (uint32_t r = 1; r < rule->ranks; ++r) {
        const double share = total * r / rule->ranks;
        /* A question belongs to the rank in whose share its middle lies. */
        while (q < end && before + 0.5 * (double)adamoe_prompt_tokens(&prompt[q]) <= share) {
            before += (double)adamoe_prompt_tokens(&prompt[q++]);
        }
        bound[r] = q;
    }
    bound[rule->ranks] = end;
    return end;
}
