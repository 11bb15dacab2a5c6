/*
 * The grid of `adamoe check`. Sizes stand at, below and above multiples of 8, 16, 32 and 64, which are the
 * widths of vectors and tiles; kinds of routing with their numbers of experts are one factor, because not all
 * of them fit together. Any two values of two factors meet in some case. What leaves the experts without work
 * stands beside the grid, so that every pair meets in a case that can prove something.
 */
#include "check_cases.h"
#include "pairwise.h"

#include <stdlib.h>

static const size_t sizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 127, 128, 129};
static const size_t token_counts[] = {1, 2, 3, 7, 16, 33, 64};
static const adamoe_dtype dtypes[] = {ADAMOE_F32, ADAMOE_BF16, ADAMOE_F16};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

typedef struct routing_kind {
    adamoe_mixture mixture;
    adamoe_pattern pattern;
    adamoe_null_kind null_kind;
    bool dispatch;
} routing_kind;

#define ZERO     ADAMOE_NULL_ZERO
#define IDENTITY ADAMOE_NULL_IDENTITY

static const routing_kind routing_kinds[] = {
    /* AdaMoE's own numbers */
    {{8, 8, 3}, ADAMOE_PATTERN_BALANCED, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_SKEWED, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_ONE, ZERO, false},
    {{8, 8, 3}, ADAMOE_PATTERN_LONE, ZERO, false},
    {{8, 40, 8}, ADAMOE_PATTERN_SKEWED, ZERO, false},
    {{4, 7, 4}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* no null experts: vanilla, many small experts, a dense layer */
    {{8, 0, 2}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    {{32, 0, 4}, ADAMOE_PATTERN_SKEWED, ZERO, false},
    {{1, 0, 1}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* one true expert among null experts */
    {{1, 1, 1}, ADAMOE_PATTERN_BALANCED, ZERO, false},
    {{1, 3, 2}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* everything selected */
    {{3, 5, 8}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    {{5, 0, 5}, ADAMOE_PATTERN_RANDOM, ZERO, false},
    /* null experts that pass their input on */
    {{8, 8, 3}, ADAMOE_PATTERN_SKEWED, IDENTITY, false},
    {{2, 2, 4}, ADAMOE_PATTERN_RANDOM, IDENTITY, false},
    /* inputs scaled by the plan */
    {{8, 8, 3}, ADAMOE_PATTERN_RANDOM, ZERO, true},
};

#define EXPERTS .kind = ADAMOE_CASE_EXPERTS, .mixture = {4, 4, 3}, .pattern = ADAMOE_PATTERN_SKEWED

static const adamoe_case single_cases[] = {
    /* longer sums, which kernels split: with few tokens, so that the reference is quick */
    {EXPERTS, .weights = ADAMOE_F32, .tokens = 5, .hidden_size = 1031, .intermediate_size = 257},
    {EXPERTS, .weights = ADAMOE_BF16, .tokens = 5, .hidden_size = 256, .intermediate_size = 1024},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_F32, .tokens = 9, .rows = 16, .columns = 4096},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_BF16, .tokens = 3, .rows = 1031, .columns = 513},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_F16, .tokens = 130, .rows = 257, .columns = 260},
    /* no token */
    {EXPERTS, .weights = ADAMOE_F32, .tokens = 0, .hidden_size = 17, .intermediate_size = 33},
    {EXPERTS, .weights = ADAMOE_BF16, .tokens = 0, .hidden_size = 64, .intermediate_size = 64},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_F32, .tokens = 0, .rows = 17, .columns = 33},
    {.kind = ADAMOE_CASE_MULTIPLY, .weights = ADAMOE_BF16, .tokens = 0, .rows = 64, .columns = 64},
};

static adamoe_case experts_case(const size_t *row)
{
    const routing_kind *kind = &routing_kinds[row[3]];
    return (adamoe_case){.kind = ADAMOE_CASE_EXPERTS,
                         .hidden_size = sizes[row[0]],
                         .intermediate_size = sizes[row[1]],
                         .tokens = token_counts[row[2]],
                         .mixture = kind->mixture,
                         .pattern = kind->pattern,
                         .null_kind = kind->null_kind,
                         .dispatch = kind->dispatch,
                         .weights = dtypes[row[4]]};
}

static adamoe_case multiply_case(const size_t *row)
{
    return (adamoe_case){.kind = ADAMOE_CASE_MULTIPLY,
                         .rows = sizes[row[0]],
                         .columns = sizes[row[1]],
                         .tokens = token_counts[row[2]],
                         .weights = dtypes[row[3]]};
}

/* Every hidden size with tokens that select null experts alone. */
static adamoe_case null_case(size_t i, adamoe_null_kind null_kind)
{
    return (adamoe_case){.kind = ADAMOE_CASE_EXPERTS,
                         .hidden_size = sizes[i],
                         .intermediate_size = 16,
                         .tokens = token_counts[i % COUNT_OF(token_counts)],
                         .mixture = {4, 4, 3},
                         .pattern = ADAMOE_PATTERN_NULL,
                         .null_kind = null_kind,
                         .weights = dtypes[i % COUNT_OF(dtypes)]};
}

static adamoe_status join(const size_t *experts, size_t experts_count, const size_t *multiply,
                          size_t multiply_count, adamoe_case **out, size_t *count)
{
    const size_t beside = 2 * COUNT_OF(sizes) + COUNT_OF(single_cases);
    adamoe_case *list = calloc(experts_count + multiply_count + beside, sizeof *list);
    if (list == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    *out = list;
    for (size_t i = 0; i < experts_count; ++i) {
        *list++ = experts_case(experts + 5 * i);
    }
    for (size_t i = 0; i < COUNT_OF(sizes); ++i) {
        *list++ = null_case(i, ZERO);
        *list++ = null_case(i, IDENTITY);
    }
    for (size_t i = 0; i < multiply_count; ++i) {
        *list++ = multiply_case(multiply + 4 * i);
    }
    for (size_t i = 0; i < COUNT_OF(single_cases); ++i) {
        *list++ = single_cases[i];
    }
    *count = (size_t)(list - *out);
    return adamoe_ok();
}

adamoe_status adamoe_check_grid(adamoe_case **out, size_t *count)
{
    const size_t experts_values[] = {COUNT_OF(sizes), COUNT_OF(sizes), COUNT_OF(token_counts),
                                     COUNT_OF(routing_kinds), COUNT_OF(dtypes)};
    const size_t multiply_values[] = {COUNT_OF(sizes), COUNT_OF(sizes), COUNT_OF(token_counts),
                                      COUNT_OF(dtypes)};
    size_t *experts = NULL, *multiply = NULL, experts_count = 0, multiply_count = 0;
    ADAMOE_TRY(adamoe_pairwise(experts_values, 5, &experts, &experts_count));
    adamoe_status status = adamoe_pairwise(multiply_values, 4, &multiply, &multiply_count);
    if (status.code == ADAMOE_OK) {
        status = join(experts, experts_count, multiply, multiply_count, out, count);
    }
    free(experts);
    free(multiply);
    return status;
}
