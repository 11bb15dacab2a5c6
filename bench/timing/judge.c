/*
 * Right before fast.
 */
#include "timing/judge.h"
#include "bound/judge.h"
#include "bound/bound.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Multiply-adds of the yardstick that one benchmark may cost: a second or two. */
#define CHECK_BUDGET 2e8

/* The tokens that are judged, and the yardstick of their rows of y. */
typedef struct sample {
    const adamoe_kernel *kernel;
    const adamoe_layer *layer;
    const adamoe_traffic_batch *batch;
    size_t tokens, count;
    adamoe_yardstick yardstick; /* [count, hidden_size] */
    float *got;                 /* [count, hidden_size] */
    adamoe_status *status;      /* [count] */
    uint32_t *first_input;      /* [rows] zeros */
} sample;

/* From the first to the last, evenly. A single one is the last. */
static size_t token_at(const sample *s, size_t i)
{
    return s->count < 2 ? s->tokens - 1 : i * (s->tokens - 1) / (s->count - 1);
}

static size_t sample_size(const adamoe_layer *layer, const adamoe_plan *plan)
{
    const double rows = (double)plan->rows / (double)plan->tokens;
    const double per_token = 3.0 * rows * (double)(layer->hidden_size * layer->intermediate_size);
    const double bearable = per_token > 0.0 ? CHECK_BUDGET / per_token : INFINITY;
    const size_t count = bearable >= (double)plan->tokens ? plan->tokens : (size_t)bearable;
    const size_t least = plan->tokens < 2 ? plan->tokens : 2;
    return count < least ? least : count;
}

/* The yardstick of one token, as a plan of its own whose only input is that token: identity experts read x by
 * the number of the token, true ones by the row's input. The other rows of the whole plan are in no token's
 * list. */
static void measure_token(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    sample *s = context;
    const size_t d = s->layer->hidden_size, t = token_at(s, i);
    adamoe_plan part = *s->batch->plan;
    part.tokens = part.inputs = 1;
    part.input = s->first_input;
    part.token_offset += t;
    part.self_scale = part.self_scale == NULL ? NULL : part.self_scale + t;
    adamoe_yardstick one = {.count = d,
                            .expected = s->yardstick.expected + i * d,
                            .spread = s->yardstick.spread + i * d,
                            .slack = s->yardstick.slack + i * d};
    s->status[i] = adamoe_layer_yardstick(s->layer, adamoe_kernel_arithmetic(s->kernel), s->batch->x + t * d,
                                          &part, &one);
}

static adamoe_status judge(const sample *s)
{
    const size_t d = s->layer->hidden_size;
    const adamoe_verdict verdict = adamoe_judge(&s->yardstick, s->got, 1.0);
    if (!verdict.passed) {
        return adamoe_error(
            ADAMOE_DIFFERENCE,
            "wrong result at token %zu, channel %zu: got %.9g, expected %.9g; error/bound %.3g, "
            "rms %.3g",
            token_at(s, verdict.worst / d), verdict.worst % d, (double)s->got[verdict.worst],
            s->yardstick.expected[verdict.worst], verdict.largest_ratio, verdict.rms_ratio);
    }
    return verdict.vacuous ? adamoe_error(ADAMOE_DIFFERENCE, "the check of the result proves nothing")
                           : adamoe_ok();
}

static adamoe_status check_finite(const float *y, size_t tokens, size_t d)
{
    for (size_t i = 0; i < tokens * d; ++i) {
        if (!isfinite(y[i])) {
            return adamoe_error(ADAMOE_DIFFERENCE, "wrong result at token %zu, channel %zu: got %g", i / d,
                                i % d, (double)y[i]);
        }
    }
    return adamoe_ok();
}

static adamoe_status run_sample(sample *s, const float *y, const adamoe_team *team)
{
    const size_t d = s->layer->hidden_size;
    for (size_t i = 0; i < s->count; ++i) {
        memcpy(s->got + i * d, y + token_at(s, i) * d, d * sizeof *y);
    }
    team->run(team->state, s->count, measure_token, s);
    for (size_t i = 0; i < s->count; ++i) {
        ADAMOE_TRY(s->status[i]);
    }
    return judge(s);
}

adamoe_status adamoe_bench_check(const adamoe_kernel *kernel, const adamoe_layer *layer,
                                 const adamoe_traffic_batch *batch, size_t tokens, const float *y,
                                 const adamoe_team *team)
{
    const size_t d = layer->hidden_size;
    ADAMOE_TRY(check_finite(y, tokens, d));
    sample s = {.kernel = kernel,
                .layer = layer,
                .batch = batch,
                .tokens = tokens,
                .count = sample_size(layer, batch->plan)};
    s.got = malloc(s.count * d * sizeof *s.got);
    s.status = calloc(s.count, sizeof *s.status);
    s.first_input = calloc(batch->plan->rows + 1, sizeof *s.first_input);
    adamoe_status status = s.got != NULL && s.status != NULL && s.first_input != NULL
                               ? adamoe_yardstick_create(s.count * d, &s.yardstick)
                               : adamoe_error(ADAMOE_ENVIRONMENT, "check of the result: out of memory");
    if (status.code == ADAMOE_OK) {
        status = run_sample(&s, y, team);
        adamoe_yardstick_free(&s.yardstick);
    }
    free(s.got);
    free(s.status);
    free(s.first_input);
    return status;
}

static size_t expert_of_row(const adamoe_plan *plan, size_t row)
{
    size_t e = 0;
    while (plan->offset[e + 1] <= row) {
        ++e;
    }
    return e;
}

void adamoe_bench_check_reads(const adamoe_layer *layer, const adamoe_plan *plan, bool *reads)
{
    const sample s = {.tokens = plan->tokens, .count = sample_size(layer, plan)};
    memset(reads, 0, layer->experts * sizeof *reads);
    for (size_t i = 0; i < s.count; ++i) {
        const size_t t = token_at(&s, i);
        for (size_t place = plan->token_offset[t]; place < plan->token_offset[t + 1]; ++place) {
            reads[expert_of_row(plan, plan->token_row[place])] = true;
        }
    }
}
