/*
 * AdamW, piece by piece of the array: a piece is one task.
 */
#include "train/adamw.h"
#include "machine/huge_pages.h"
#include "train/train_ops.h"
#include "vector/vector_ops.h"

#include <math.h>
#include <stdlib.h>

#define PIECE 8192 /* floats */

typedef struct piece {
    size_t first, count;
    bool decayed;
} piece;

struct adamoe_adamw {
    const adamoe_team *team;
    const adamoe_vector_ops *ops;
    const adamoe_train_ops *train_ops;
    adamoe_adamw_options options;
    adamoe_adamw_state state;
    size_t pieces;
    piece *piece;    /* [pieces] */
    double *squares; /* [pieces] */
};

static size_t count_pieces(const adamoe_adamw_segment *segment, size_t segments)
{
    size_t count = 0;
    for (size_t s = 0; s < segments; ++s) {
        count += (segment[s].count + PIECE - 1) / PIECE;
    }
    return count;
}

static void cut_pieces(const adamoe_adamw_segment *segment, size_t segments, piece *out)
{
    for (size_t s = 0; s < segments; ++s) {
        for (size_t i = 0; i < segment[s].count; i += PIECE) {
            const size_t left = segment[s].count - i;
            *out++ = (piece){segment[s].first + i, left < PIECE ? left : PIECE, segment[s].decayed};
        }
    }
}

adamoe_status adamoe_adamw_create(const adamoe_team *team, size_t count, const adamoe_adamw_segment *segment,
                                  size_t segments, const adamoe_adamw_options *options, adamoe_adamw **out)
{
    adamoe_adamw *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "AdamW: out of memory");
    }
    const size_t pieces = count_pieces(segment, segments);
    *a = (adamoe_adamw){.team = team,
                        .ops = adamoe_vector_ops_best(),
                        .train_ops = adamoe_train_ops_best(),
                        .options = *options,
                        .pieces = pieces};
    a->state.first_moment = adamoe_zeroed_floats(count);
    a->state.second_moment = adamoe_zeroed_floats(count);
    a->piece = calloc(pieces + 1, sizeof *a->piece);
    a->squares = calloc(pieces + 1, sizeof *a->squares);
    if (a->state.first_moment == NULL || a->state.second_moment == NULL || a->piece == NULL ||
        a->squares == NULL) {
        adamoe_adamw_free(a);
        return adamoe_error(ADAMOE_ENVIRONMENT, "AdamW: out of memory for %zu weights", count);
    }
    cut_pieces(segment, segments, a->piece);
    *out = a;
    return adamoe_ok();
}

void adamoe_adamw_free(adamoe_adamw *adamw)
{
    if (adamw != NULL) {
        free(adamw->state.first_moment);
        free(adamw->state.second_moment);
        free(adamw->piece);
        free(adamw->squares);
        free(adamw);
    }
}

adamoe_adamw_state *adamoe_adamw_state_of(adamoe_adamw *adamw)
{
    return &adamw->state;
}

typedef struct update_call {
    adamoe_adamw *adamw;
    adamoe_adamw_step step;
    float *value;
    const float *gradient;
} update_call;

static void squares_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const update_call *call = context;
    const piece *p = &call->adamw->piece[i];
    const float *gradient = call->gradient + p->first;
    call->adamw->squares[i] = (double)call->adamw->ops->dot(gradient, gradient, p->count);
}

static void update_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const update_call *call = context;
    const piece *p = &call->adamw->piece[i];
    adamoe_adamw_step step = call->step;
    step.decay = p->decayed ? step.decay : 0.0f;
    call->adamw->train_ops->adamw(&step, call->gradient + p->first, p->count, call->value + p->first,
                                  call->adamw->state.first_moment + p->first,
                                  call->adamw->state.second_moment + p->first);
}

static double norm_of(update_call *call)
{
    adamoe_adamw *a = call->adamw;
    double sum = 0.0;
    a->team->run(a->team->state, a->pieces, squares_task, call);
    for (size_t i = 0; i < a->pieces; ++i) {
        sum += a->squares[i];
    }
    return sqrt(sum);
}

adamoe_status adamoe_adamw_update(adamoe_adamw *adamw, double rate, float *value, const float *gradient,
                                  double *norm)
{
    const adamoe_adamw_options *o = &adamw->options;
    update_call call = {.adamw = adamw, .value = value, .gradient = gradient};
    *norm = norm_of(&call);
    if (!isfinite(*norm)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "the norm of the gradient is %s",
                            isnan(*norm) ? "NaN" : "infinite");
    }
    const double steps = (double)(adamw->state.steps + 1);
    const bool clipped = o->clip_norm > 0.0 && *norm > o->clip_norm;
    call.step = (adamoe_adamw_step){.gradient_scale = clipped ? (float)(o->clip_norm / *norm) : 1.0f,
                                    .beta1 = (float)o->beta1,
                                    .beta2 = (float)o->beta2,
                                    .correction1 = (float)(1.0 - pow(o->beta1, steps)),
                                    .correction2 = (float)(1.0 - pow(o->beta2, steps)),
                                    .eps = (float)o->eps,
                                    .rate = (float)rate,
                                    .decay = (float)o->decay};
    adamw->team->run(adamw->team->state, adamw->pieces, update_task, &call);
    ++adamw->state.steps;
    return adamoe_ok();
}

double adamoe_schedule_rate(const adamoe_schedule *schedule, size_t step)
{
    if (step <= schedule->warm_up) {
        return schedule->peak * (double)step / (double)schedule->warm_up;
    }
    if (schedule->form == ADAMOE_SCHEDULE_CONSTANT || schedule->steps <= schedule->warm_up) {
        return schedule->peak;
    }
    const double done = (double)(step - schedule->warm_up) / (double)(schedule->steps - schedule->warm_up);
    return 0.5 * schedule->peak * (1.0 + cos(acos(-1.0) * (done < 1.0 ? done : 1.0)));
}
