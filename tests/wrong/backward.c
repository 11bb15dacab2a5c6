/*
 * Wrong kernels whose backward pass is right at small sizes, with few threads and usual values: the kinds of tiles.c,
 * threads.c and values.c once more.
 */
#include "honest/honest_backward.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------------- sizes */

/* Wrong for a hidden size over 1024. */
static void token_of_1024_columns(const backward_pass *b, size_t token)
{
    enum { MOST = 1024 };
    const size_t d = b->call->hidden_size;
    honest_token(b, token);
    for (size_t j = MOST; j < d; ++j) {
        b->call->dx[token * d + j] = 0.0f;
    }
}
WRONG_BACKWARD(columns_1024, "wrong-gradient-columns-1024", "dx has 1024 columns at most",
               .token = token_of_1024_columns);

/* The first block of rows writes dw1, and so does every other. Wrong for an expert of more than 1024 rows. */
static void matrices_of_last_rows(const backward_pass *b, size_t expert)
{
    enum { ROWS = 1024 };
    const adamoe_plan *plan = b->call->plan;
    const size_t count = plan->offset[expert + 1] - plan->offset[expert];
    clear_matrices(b, expert);
    for (size_t i = count == 0 ? 0 : (count - 1) / ROWS * ROWS; i < count; ++i) {
        const size_t row = plan->offset[expert] + i;
        add_to_matrices(b, expert, row, x_of(b, plan->input[row]), dy_of(b, plan->input[row]));
    }
}
WRONG_BACKWARD(rows_1024, "wrong-gradient-rows-1024",
               "each block of 1024 rows overwrites dW of the one before", .matrices = matrices_of_last_rows);

/* Wrong for a token with more than 8 true experts. */
static void row_of_8_places(const backward_pass *b, const row_place *at)
{
    honest_row(b, at);
    if (at->place - b->call->plan->token_offset[at->token] >= 8) {
        b->call->dcombine[at->place] = 0.0f;
    }
}
WRONG_BACKWARD(places_9, "wrong-gradient-places-8", "a token's weights from the ninth on get no gradient",
               .row = row_of_8_places);

/* Which experts have rows is kept in 64 bits. Wrong from the 65th expert on. */
static void matrices_of_64_experts(const backward_pass *b, size_t expert)
{
    if (expert < 64) {
        honest_matrices(b, expert);
    } else {
        clear_matrices(b, expert);
    }
}
WRONG_BACKWARD(experts_65, "wrong-gradient-experts-64", "experts from the 65th on get no gradient",
               .matrices = matrices_of_64_experts);

/* Wrong from 9 threads on. */
static void row_of_8_threads(void *pass, size_t row, uint32_t thread)
{
    const backward_pass *b = pass;
    const row_place at = place_of(b, row);
    b->pieces.row(b, &at);
    if (thread >= 8) {
        memset(inner_row(b, b->du, row), 0, b->call->intermediate_size * sizeof *b->du);
    }
}

static void matrices_task(void *pass, size_t expert, uint32_t thread)
{
    (void)thread;
    honest_matrices(pass, expert);
}

static void token_task(void *pass, size_t token, uint32_t thread)
{
    (void)thread;
    honest_token(pass, token);
}

static void run_with_8_threads(backward_pass *b)
{
    const adamoe_team *team = b->run->team;
    const adamoe_plan *plan = b->call->plan;
    team->run(team->state, plan->rows, row_of_8_threads, b);
    team->run(team->state, plan->experts, matrices_task, b);
    team->run(team->state, plan->tokens, token_task, b);
}
WRONG_BACKWARD(threads_9, "wrong-gradient-threads-8", "what threads from the ninth on compute is lost",
               .run = run_with_8_threads);

/* -------------------------------------------------------------------------------------------------- weights */

/* The weight is in the sum already and is divided out again: NaN for a weight of 0, which a softmax in float32
 * gives. */
static void row_divided_by_weight(const backward_pass *b, const row_place *at)
{
    honest_row(b, at);
    b->call->dcombine[at->place] = at->weight * b->call->dcombine[at->place] / at->weight;
}
WRONG_BACKWARD(weight_divided, "wrong-gradient-weight-divided", "dcombine is divided by the weight",
               .row = row_divided_by_weight);

/* A row of weight 0 adds nothing to y and is skipped; but dcombine there is what could bring the router back. */
static void row_unless_weight_0(const backward_pass *b, const row_place *at)
{
    honest_row(b, at);
    if (at->weight == 0.0f) {
        b->call->dcombine[at->place] = 0.0f;
    }
}
WRONG_BACKWARD(weight_zero, "wrong-gradient-weight-zero", "a weight of 0 gets no gradient",
               .row = row_unless_weight_0);

static void row_of_absolute_weight(const backward_pass *b, const row_place *at)
{
    row_place positive = *at;
    positive.weight = fabsf(at->weight);
    honest_row(b, &positive);
}
WRONG_BACKWARD(weight_negative, "wrong-gradient-weight-negative", "the sign of a weight is lost",
               .row = row_of_absolute_weight);

/* --------------------------------------------------------------------------------------- through silu */

/* The slope at 8 is 1.0023, and 1 + 9e-4 at 9. */
static float slope_cut_above(float z)
{
    return z >= 8.0f ? 1.0f : honest_slope(z);
}
WRONG_BACKWARD(slope_above, "wrong-gradient-slope-cut-at-8", "the slope of silu is 1 from 8 on",
               .slope = slope_cut_above);

/* The slope at -10 is -4.1e-4. */
static float slope_cut_below(float z)
{
    return z <= -10.0f ? 0.0f : honest_slope(z);
}
WRONG_BACKWARD(slope_below, "wrong-gradient-slope-cut-at-minus-10", "the slope of silu is 0 up to -10",
               .slope = slope_cut_below);

/* ----------------------------------------------------------------------- what is not finite, and signs of zeros */

static bool reads(const adamoe_plan *plan, size_t expert, size_t token)
{
    for (size_t row = plan->offset[expert]; row < plan->offset[expert + 1]; ++row) {
        if (plan->input[row] == token) {
            return true;
        }
    }
    return false;
}

/* All tokens are multiplied with a mask of 0 and 1: a NaN of a token that the expert never saw is in its gradient. */
static void matrices_by_mask(const backward_pass *b, size_t expert)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t d = b->call->hidden_size, ff = b->call->intermediate_size;
    honest_matrices(b, expert);
    for (size_t token = 0; token < plan->tokens; ++token) {
        for (size_t j = 0; j < d && !reads(plan, expert, token); ++j) {
            const float masked = 0.0f * fabsf(x_of(b, token)[j]);
            for (size_t i = 0; i < ff && masked != 0.0f; ++i) {
                b->call->dexpert[expert].w1[i * d + j] += masked;
                b->call->dexpert[expert].w3[i * d + j] += masked;
            }
        }
    }
}
WRONG_BACKWARD(mask_nan, "wrong-gradient-mask-nan",
               "x of tokens that an expert does not have counts 0 times in dW", .matrices = matrices_by_mask);

/* dx of a token without experts is 0, whatever dy is. */
static void token_with_dy(const backward_pass *b, size_t token)
{
    const size_t d = b->call->hidden_size;
    honest_token(b, token);
    for (size_t j = 0; j < d && b->call->plan->self_scale == NULL; ++j) {
        b->call->dx[token * d + j] += 0.0f * fabsf(dy_of(b, token)[j]);
    }
}
WRONG_BACKWARD(null_token_nan, "wrong-gradient-null-token-nan",
               "dy of a token without experts counts 0 times in dx", .token = token_with_dy);

/* The contract: the sums begin at 0. Wrong if that is +0. */
static void token_from_minus_zero(const backward_pass *b, size_t token)
{
    const adamoe_plan *plan = b->call->plan;
    const size_t d = b->call->hidden_size;
    honest_token(b, token);
    for (size_t j = 0; j < d && plan->token_offset[token] == plan->token_offset[token + 1]; ++j) {
        if (plan->self_scale == NULL) {
            b->call->dx[token * d + j] = -0.0f;
        }
    }
}
WRONG_BACKWARD(minus_zero, "wrong-gradient-minus-zero", "dx of a token without experts is -0",
               .token = token_from_minus_zero);

/* ------------------------------------------------------------------------------------------------- call after call */

/* Packed weights serve again where they are at the same address, as in the forward pass, whose object is prepared; but
 * training changes them where they are. */
static void run_on_kept_weights(backward_pass *b)
{
    enum { MOST_EXPERTS = 8, MOST_KEPT = 1024 };
    static struct {
        const float *address;
        size_t count;
        float w2[MOST_KEPT];
    } kept[MOST_EXPERTS];
    const adamoe_backward_call *given = b->call;
    const size_t experts = given->plan->experts, count = given->hidden_size * given->intermediate_size;
    adamoe_float_expert expert[MOST_EXPERTS];
    adamoe_backward_call call = *given;
    for (size_t e = 0; e < experts && experts <= MOST_EXPERTS && count <= MOST_KEPT; ++e) {
        if (kept[e].address != given->expert[e].w2 || kept[e].count != count) {
            kept[e].address = given->expert[e].w2;
            kept[e].count = count;
            memcpy(kept[e].w2, given->expert[e].w2, count * sizeof *kept[e].w2);
        }
        expert[e] = given->expert[e];
        expert[e].w2 = kept[e].w2;
        call.expert = expert;
    }
    b->call = &call;
    honest_backward_run(b);
    b->call = given;
}
WRONG_BACKWARD(weights_by_address, "wrong-gradient-weights-by-address",
               "weights are taken for the same where their address is", .run = run_on_kept_weights);

/* The token of each row is looked up once for each list of rows. Wrong for another plan of as many rows there. */
static void row_of_kept_plan(const backward_pass *b, const row_place *at)
{
    enum { MOST_KEPT = 1024 };
    static struct {
        const uint32_t *address;
        size_t rows;
        uint32_t input[MOST_KEPT];
    } kept;
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    const adamoe_plan *plan = b->call->plan;
    row_place place = *at;
    pthread_mutex_lock(&mutex);
    if (plan->rows <= MOST_KEPT && (kept.address != plan->input || kept.rows != plan->rows)) {
        kept.address = plan->input;
        kept.rows = plan->rows;
        memcpy(kept.input, plan->input, plan->rows * sizeof *kept.input);
    }
    place.token = plan->rows <= MOST_KEPT ? kept.input[at->row] : at->token;
    pthread_mutex_unlock(&mutex);
    honest_row(b, &place);
}
WRONG_BACKWARD(plan_by_address, "wrong-gradient-plan-by-address",
               "the tokens of rows are taken for the same where their list is", .row = row_of_kept_plan);

/* Memory for what the rows need is of malloc, and stays. */
static void *volatile left;

static void run_leaving_memory(backward_pass *b)
{
    left = malloc(b->call->plan->rows * sizeof(float) + 1);
    honest_backward_run(b);
}
WRONG_BACKWARD(memory_left, "wrong-gradient-memory-left", "each call leaves the memory of its rows",
               .run = run_leaving_memory);

EXPORT_KERNELS(&columns_1024, &rows_1024, &places_9, &experts_65, &threads_9, &weight_divided, &weight_zero,
               &weight_negative, &slope_above, &slope_below, &mask_nan, &null_token_nan, &minus_zero,
               &weights_by_address, &plan_by_address, &memory_left);
