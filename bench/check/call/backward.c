/*
 * One guarded call of a kernel: backward. Every matrix of every expert stands between pages of its own, and
 * so does its gradient.
 */
#include "check/call/call.h"
#include "check/call/parts.h"

#include <stdlib.h>
#include <string.h>

adamoe_status adamoe_gradient_output_create(const adamoe_layer *layer, const adamoe_plan *plan,
                                            adamoe_gradient_output *out)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size, matrices = layer->experts * d * ff;
    *out = (adamoe_gradient_output){.count = {plan->tokens * d, plan->token_offset[plan->tokens],
                                              plan->self_scale == NULL ? 0 : plan->tokens, matrices, matrices,
                                              matrices},
                                    .width = {d, 1, 1, d, d, ff}};
    size_t all = 1;
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        all += out->count[i];
    }
    float *next = calloc(all, sizeof *next);
    if (next == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    for (size_t i = 0; i < ADAMOE_GRADIENT_TENSORS; ++i) {
        out->tensor[i] = next;
        next += out->count[i];
    }
    return adamoe_ok();
}

void adamoe_gradient_output_free(adamoe_gradient_output *output)
{
    free(output->tensor[0]);
    *output = (adamoe_gradient_output){.tensor = {NULL}};
}

/* One matrix of one expert, or one of the other tensors, which stand in front. */
enum { WHOLE_TENSORS = ADAMOE_GRADIENT_W1, MOST_PARTS = WHOLE_TENSORS + 3 * ADAMOE_MOST_GRADIENT_EXPERTS };

/* One call: weights and outputs as the kernel sees them. */
typedef struct backward_call {
    check_call call;
    adamoe_float_expert expert[ADAMOE_MOST_GRADIENT_EXPERTS];
    adamoe_float_expert_gradient dexpert[ADAMOE_MOST_GRADIENT_EXPERTS];
    adamoe_guarded own[MOST_PARTS], *part[MOST_PARTS]; /* [parts] outputs */
    size_t parts;
    adamoe_backward_call seen;
} backward_call;

static adamoe_status guard_matrix(check_call *c, const adamoe_matrix *matrix, const float **out)
{
    const void *copy = NULL;
    ADAMOE_TRY(check_call_input(c, matrix->data, matrix->rows * matrix->columns * sizeof(float),
                                _Alignof(float), &copy));
    *out = copy;
    return adamoe_ok();
}

static adamoe_status guard_inputs(backward_call *b, const adamoe_gradient_call *call, adamoe_plan *plan)
{
    const size_t bytes = call->plan->tokens * call->layer->hidden_size * sizeof(float);
    const void *x = NULL, *dy = NULL, *expert = NULL;
    for (size_t e = 0; e < call->layer->experts; ++e) {
        ADAMOE_TRY(guard_matrix(&b->call, &call->layer->expert[e].w1, &b->expert[e].w1));
        ADAMOE_TRY(guard_matrix(&b->call, &call->layer->expert[e].w3, &b->expert[e].w3));
        ADAMOE_TRY(guard_matrix(&b->call, &call->layer->expert[e].w2, &b->expert[e].w2));
    }
    ADAMOE_TRY(check_call_plan(&b->call, call->plan, plan));
    ADAMOE_TRY(check_call_input(&b->call, call->x, bytes, _Alignof(float), &x));
    ADAMOE_TRY(check_call_input(&b->call, call->dy, bytes, _Alignof(float), &dy));
    ADAMOE_TRY(check_call_input(&b->call, b->expert, call->layer->experts * sizeof *b->expert,
                                _Alignof(adamoe_float_expert), &expert));
    b->seen = (adamoe_backward_call){.hidden_size = call->layer->hidden_size,
                                     .intermediate_size = call->layer->intermediate_size,
                                     .plan = plan,
                                     .expert = expert,
                                     .x = x,
                                     .dy = dy};
    return adamoe_ok();
}

static adamoe_status guard_part(backward_call *b, size_t count, float **out)
{
    adamoe_guarded **part = &b->part[b->parts];
    ADAMOE_TRY(check_call_output(&b->call, count * sizeof(float), _Alignof(float), &b->own[b->parts], part));
    ++b->parts;
    *out = (float *)(void *)(*part)->data;
    return adamoe_ok();
}

/* In the order of the tensors. */
static adamoe_status guard_outputs(backward_call *b, const adamoe_gradient_output *output)
{
    const size_t n = b->seen.plan->experts, matrix = b->seen.hidden_size * b->seen.intermediate_size;
    ADAMOE_TRY(guard_part(b, output->count[ADAMOE_GRADIENT_X], &b->seen.dx));
    ADAMOE_TRY(guard_part(b, output->count[ADAMOE_GRADIENT_COMBINE], &b->seen.dcombine));
    ADAMOE_TRY(guard_part(b, output->count[ADAMOE_GRADIENT_SELF_SCALE], &b->seen.dself_scale));
    if (b->seen.plan->self_scale == NULL) {
        b->seen.dself_scale = NULL;
    }
    for (size_t e = 0; e < n; ++e) {
        ADAMOE_TRY(guard_part(b, matrix, &b->dexpert[e].w1));
    }
    for (size_t e = 0; e < n; ++e) {
        ADAMOE_TRY(guard_part(b, matrix, &b->dexpert[e].w3));
    }
    for (size_t e = 0; e < n; ++e) {
        ADAMOE_TRY(guard_part(b, matrix, &b->dexpert[e].w2));
    }
    const void *dexpert = NULL;
    ADAMOE_TRY(check_call_input(&b->call, b->dexpert, n * sizeof *b->dexpert,
                                _Alignof(adamoe_float_expert_gradient), &dexpert));
    b->seen.dexpert = dexpert;
    return adamoe_ok();
}

static const char *name_of_part(size_t part, size_t experts)
{
    static const char *const whole[] = {"dx", "dcombine", "dself_scale"};
    static const char *const matrices[] = {"dw1", "dw3", "dw2"};
    return part < WHOLE_TENSORS ? whole[part] : matrices[(part - WHOLE_TENSORS) / experts];
}

/* The parts follow one another as they do in `output`. */
static void copy_outputs(backward_call *b, const adamoe_gradient_output *output)
{
    char *to = (char *)output->tensor[0];
    for (size_t i = 0; i < b->parts; ++i) {
        if (!adamoe_guarded_intact(b->part[i])) {
            check_call_wrong(&b->call, "wrote outside of its output %s",
                             name_of_part(i, b->seen.plan->experts));
        }
        if (b->part[i]->bytes > 0) {
            memcpy(to, b->part[i]->data, b->part[i]->bytes);
            to += b->part[i]->bytes;
        }
    }
}

static void run_backward(backward_call *b)
{
    const adamoe_kernel *kernel = b->call.manner->kernel;
    const adamoe_backward_call seen = b->seen;
    adamoe_run run;
    if (check_call_reserve(&b->call, kernel->backward_work_bytes(&seen, b->call.team.team.threads), &run)) {
        const adamoe_control_state before = adamoe_control_state_read();
        check_call_returned(&b->call, "backward", &before, kernel->backward(&run, &seen));
    }
}

static adamoe_status call_guarded(backward_call *b, const adamoe_gradient_call *call,
                                  const adamoe_gradient_output *output)
{
    adamoe_plan plan;
    ADAMOE_TRY(guard_inputs(b, call, &plan));
    ADAMOE_TRY(guard_outputs(b, output));
    run_backward(b);
    copy_outputs(b, output);
    return adamoe_ok();
}

adamoe_status adamoe_call_backward(const adamoe_call_manner *manner, const adamoe_gradient_call *call,
                                   const adamoe_gradient_output *output, adamoe_call_outcome *out)
{
    backward_call *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    check_call_begin(&b->call, manner, out);
    const adamoe_status status = check_call_end(&b->call, call_guarded(b, call, output));
    for (size_t i = 0; i < b->parts; ++i) {
        adamoe_guarded_free(&b->own[i]);
    }
    free(b);
    return status;
}
