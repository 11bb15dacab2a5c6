/*
 * From a routing to a plan, in two passes over blocks of tokens: count the rows of each expert in each block,
 * then place them. Between the passes one thread turns counts into places, so that the result is the same as
 * that of one pass over all tokens.
 */
#include "model/plan_build.h"

#include <stdlib.h>
#include <string.h>

/* Tokens of one task. Fewer tokens than two blocks are sorted on the calling thread, in less time than it
 * takes to wake another. */
#define BLOCK 1024

static void free_arrays(adamoe_plan_space *space)
{
    free(space->offset);
    free(space->input);
    free(space->token_offset);
    free(space->token_row);
    free(space->combine);
    free(space->self_scale);
    free(space->next);
    free(space->block_rows);
}

void adamoe_plan_space_free(adamoe_plan_space *space)
{
    free_arrays(space);
    *space = (adamoe_plan_space){0};
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Rows are at most k for each token; that many places are kept, so that nothing need be counted before. */
static adamoe_status make_room(adamoe_plan_space *s, size_t tokens, size_t rows, size_t experts,
                               size_t blocks)
{
    if (tokens <= s->token_room && rows <= s->row_room && experts <= s->expert_room &&
        blocks <= s->block_room && s->offset != NULL) {
        return adamoe_ok();
    }
    tokens = larger(tokens, s->token_room);
    rows = larger(rows, s->row_room);
    experts = larger(experts, s->expert_room);
    blocks = larger(blocks, s->block_room);
    adamoe_plan_space_free(s);
    s->offset = calloc(experts + 1, sizeof *s->offset);
    s->input = calloc(rows + 1, sizeof *s->input); /* + 1: calloc(0) may give NULL */
    s->token_offset = calloc(tokens + 1, sizeof *s->token_offset);
    s->token_row = calloc(rows + 1, sizeof *s->token_row);
    s->combine = calloc(rows + 1, sizeof *s->combine);
    s->self_scale = calloc(tokens + 1, sizeof *s->self_scale);
    s->next = calloc(blocks + 1, experts * sizeof *s->next);
    s->block_rows = calloc(blocks + 1, sizeof *s->block_rows);
    if (s->offset == NULL || s->input == NULL || s->token_offset == NULL || s->token_row == NULL ||
        s->combine == NULL || s->self_scale == NULL || s->next == NULL || s->block_rows == NULL) {
        adamoe_plan_space_free(s);
        return adamoe_error(ADAMOE_ENVIRONMENT, "plan: out of memory for %zu tokens", tokens);
    }
    s->token_room = tokens;
    s->row_room = rows;
    s->expert_room = experts;
    s->block_room = blocks;
    return adamoe_ok();
}

typedef struct build {
    const adamoe_routing *routing;
    adamoe_plan_space *space;
    bool identity;
} build;

static size_t block_end(const build *b, size_t block)
{
    const size_t end = (block + 1) * BLOCK;
    return end < b->routing->tokens ? end : b->routing->tokens;
}

/* An id of a null expert counts nowhere, and neither does one that is out of range; block_rows[block + 1] is
 * UINT32_MAX then. */
static void count_task(void *context, size_t block, uint32_t thread)
{
    (void)thread;
    const build *b = context;
    const size_t k = b->routing->rule.top_k, experts = b->routing->experts;
    const uint32_t *id = b->routing->id;
    uint32_t *count = b->space->next + block * experts;
    uint32_t rows = 0, largest = 0;
    memset(count, 0, experts * sizeof *count);
    for (size_t i = block * BLOCK * k; i < block_end(b, block) * k; ++i) {
        largest = id[i] > largest ? id[i] : largest;
        if (id[i] < experts) {
            ++count[id[i]];
            ++rows;
        }
    }
    b->space->block_rows[block + 1] = largest < experts + b->routing->null_experts ? rows : UINT32_MAX;
}

/* next[block][e] = the first row of expert e for the tokens of the block; block_rows[block] = places of the
 * tokens before it. */
static void turn_counts_into_places(const build *b, size_t blocks)
{
    adamoe_plan_space *s = b->space;
    uint32_t rows = 0;
    for (size_t e = 0; e < b->routing->experts; ++e) {
        s->offset[e] = rows;
        for (size_t block = 0; block < blocks; ++block) {
            uint32_t *place = &s->next[block * b->routing->experts + e];
            const uint32_t count = *place;
            *place = rows;
            rows += count;
        }
    }
    s->offset[b->routing->experts] = rows;
    s->block_rows[0] = 0;
    for (size_t block = 0; block < blocks; ++block) {
        s->block_rows[block + 1] += s->block_rows[block];
    }
}

/* Puts a row into the token's list, which ascends. */
static void insert(adamoe_plan_space *s, uint32_t first, uint32_t end, uint32_t row, float weight)
{
    for (; end > first && s->token_row[end - 1] > row; --end) {
        s->token_row[end] = s->token_row[end - 1];
        s->combine[end] = s->combine[end - 1];
    }
    s->token_row[end] = row;
    s->combine[end] = weight;
}

/* LongCat-Flash's identity experts: y += x * (sum of the p of the selected identity experts). */
static float identity_share(const adamoe_routing *routing, size_t token)
{
    double sum = 0.0;
    for (size_t i = token * routing->rule.top_k; i < (token + 1) * routing->rule.top_k; ++i) {
        sum += routing->id[i] < routing->experts ? 0.0 : (double)routing->probability[i];
    }
    return (float)sum;
}

static void place_task(void *context, size_t block, uint32_t thread)
{
    (void)thread;
    const build *b = context;
    const adamoe_routing *routing = b->routing;
    adamoe_plan_space *s = b->space;
    const size_t k = routing->rule.top_k;
    uint32_t *next = s->next + block * routing->experts;
    uint32_t place = s->block_rows[block];
    for (size_t t = block * BLOCK; t < block_end(b, block); ++t) {
        const uint32_t first = place;
        s->token_offset[t] = first;
        for (size_t i = t * k; i < (t + 1) * k; ++i) {
            if (routing->id[i] < routing->experts) {
                const uint32_t row = next[routing->id[i]]++;
                s->input[row] = (uint32_t)t;
                insert(s, first, place++, row, routing->weight[i]);
            }
        }
        if (b->identity) {
            s->self_scale[t] = identity_share(routing, t);
        }
    }
}

static adamoe_status check_blocks(const build *b, size_t blocks)
{
    const size_t all = b->routing->experts + b->routing->null_experts, k = b->routing->rule.top_k;
    for (size_t block = 0; block < blocks; ++block) {
        if (b->space->block_rows[block + 1] != UINT32_MAX) {
            continue;
        }
        for (size_t i = block * BLOCK * k;; ++i) {
            if (b->routing->id[i] >= all) {
                return adamoe_error(ADAMOE_BAD_INPUT, "plan: token %zu: expert %u, there are %zu", i / k,
                                    b->routing->id[i], all);
            }
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_plan_build(const adamoe_team *team, const adamoe_routing *routing,
                                adamoe_plan_space *space)
{
    const size_t tokens = routing->tokens, k = routing->rule.top_k;
    if (tokens >= UINT32_MAX / k) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "plan: %zu tokens with %zu experts each are more than 32 bits "
                            "count",
                            tokens, k);
    }
    const size_t blocks = (tokens + BLOCK - 1) / BLOCK;
    ADAMOE_TRY(make_room(space, tokens, tokens * k, routing->experts, blocks));
    build b = {routing, space, routing->rule.null_kind == ADAMOE_NULL_IDENTITY && routing->null_experts > 0};
    team->run(team->state, blocks, count_task, &b);
    ADAMOE_TRY(check_blocks(&b, blocks));
    turn_counts_into_places(&b, blocks);
    team->run(team->state, blocks, place_task, &b);
    space->token_offset[tokens] = space->block_rows[blocks];
    space->plan = (adamoe_plan){
        .tokens = tokens,
        .inputs = tokens,
        .rows = space->offset[routing->experts],
        .experts = routing->experts,
        .offset = space->offset,
        .input = space->input,
        .token_offset = space->token_offset,
        .token_row = space->token_row,
        .combine = space->combine,
        .self_scale = b.identity ? space->self_scale : NULL,
    };
    return adamoe_ok();
}
