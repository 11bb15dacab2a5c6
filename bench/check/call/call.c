/*
 * One guarded call of a kernel: experts and the dense product. What all calls share is in check/call/parts.h.
 */
#include "check/call/call.h"
#include "check/call/parts.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status output_create(const check_call *c, size_t count, adamoe_guarded *y)
{
    return adamoe_guarded_create(count * sizeof(float), _Alignof(float), c->manner->end, y);
}

static void output_finish(check_call *c, adamoe_guarded *buffer, size_t count, float *y)
{
    if (!adamoe_guarded_intact(buffer)) {
        check_call_wrong(c, "wrote outside of its output");
    }
    if (count > 0) {
        memcpy(y, buffer->data, count * sizeof *y);
    }
    adamoe_guarded_free(buffer);
}

/* ------------------------------------------------------------------------------------------ dense product */

static adamoe_status run_multiply(check_call *c, const adamoe_matrix *matrix, const float *x, size_t count,
                                  float *y)
{
    const adamoe_kernel *kernel = c->manner->kernel;
    adamoe_prepared_matrix *prepared = NULL;
    adamoe_run run;
    ADAMOE_TRY(check_call_prepare_matrix(c, matrix, &prepared));
    if (prepared == NULL) {
        return adamoe_ok();
    }
    if (c->out->end == ADAMOE_CALL_DONE &&
        check_call_reserve(c, kernel->matrix_work_bytes(prepared, count), &run)) {
        const adamoe_control_state before = adamoe_control_state_read();
        check_call_returned(c, "multiply", &before, kernel->multiply(prepared, &run, x, count, y));
    }
    check_call_release_matrix(c, prepared);
    return adamoe_ok();
}

static adamoe_status multiply_guarded(check_call *c, const adamoe_matrix *matrix, const float *x,
                                      size_t count, float *y)
{
    const size_t row = matrix->columns * adamoe_dtype_bytes(matrix->dtype);
    adamoe_matrix guarded = *matrix;
    const void *guarded_x = NULL;
    adamoe_guarded buffer;
    ADAMOE_TRY(check_call_input(c, matrix->data, matrix->rows * row, 1, &guarded.data));
    ADAMOE_TRY(check_call_input(c, x, count * matrix->columns * sizeof *x, _Alignof(float), &guarded_x));
    ADAMOE_TRY(output_create(c, count * matrix->rows, &buffer));
    const adamoe_status status = run_multiply(c, &guarded, guarded_x, count, (float *)(void *)buffer.data);
    output_finish(c, &buffer, count * matrix->rows, y);
    return status;
}

adamoe_status adamoe_call_multiply(const adamoe_call_manner *manner, const adamoe_matrix *matrix,
                                   const float *x, size_t count, float *y, adamoe_call_outcome *out)
{
    check_call c;
    check_call_begin(&c, manner, out);
    return check_call_end(&c, multiply_guarded(&c, matrix, x, count, y));
}

/* ------------------------------------------------------------------------------------------------ experts */

static adamoe_status guard_matrix(check_call *c, const adamoe_matrix *from, adamoe_matrix *out)
{
    const size_t bytes = from->rows * from->columns * adamoe_dtype_bytes(from->dtype);
    *out = *from;
    return check_call_input(c, from->data, bytes, 1, &out->data);
}

/* Each matrix of each expert has pages of its own, as far as there is room; the others
 * stay where they are. */
static adamoe_status guard_layer(check_call *c, const adamoe_layer *from, adamoe_expert *expert,
                                 adamoe_layer *out)
{
    *out = *from;
    out->expert = expert;
    for (size_t e = 0; e < from->experts; ++e) {
        expert[e] = from->expert[e];
        if (c->inputs + 3 <= CHECK_CALL_INPUTS - CHECK_CALL_PLAN_INPUTS) {
            ADAMOE_TRY(guard_matrix(c, &from->expert[e].w1, &expert[e].w1));
            ADAMOE_TRY(guard_matrix(c, &from->expert[e].w3, &expert[e].w3));
            ADAMOE_TRY(guard_matrix(c, &from->expert[e].w2, &expert[e].w2));
        }
    }
    return adamoe_ok();
}

/* One call of the prepared weights; false where something went wrong. */
static adamoe_status compute(check_call *c, adamoe_prepared *prepared, const adamoe_layer *layer,
                             const adamoe_plan *plan, const float *x, float *y)
{
    const adamoe_kernel *kernel = c->manner->kernel;
    const size_t d = layer->hidden_size;
    const void *guarded_x = NULL;
    adamoe_plan guarded_plan;
    adamoe_guarded buffer;
    adamoe_run run;
    ADAMOE_TRY(check_call_plan(c, plan, &guarded_plan));
    ADAMOE_TRY(check_call_input(c, x, plan->inputs * d * sizeof *x, _Alignof(float), &guarded_x));
    ADAMOE_TRY(output_create(c, plan->tokens * d, &buffer));
    if (check_call_reserve(c, kernel->work_bytes(prepared, plan->rows, plan->tokens), &run)) {
        const adamoe_control_state before = adamoe_control_state_read();
        check_call_returned(
            c, "experts", &before,
            kernel->experts(prepared, &run, guarded_x, &guarded_plan, (float *)(void *)buffer.data));
    }
    if (c->work.body != NULL && !adamoe_guarded_intact(&c->work)) {
        check_call_wrong(c, "wrote outside of its workspace");
    }
    output_finish(c, &buffer, plan->tokens * d, y);
    return adamoe_ok();
}

static adamoe_status compute_before(check_call *c, adamoe_prepared *prepared, const adamoe_layer *layer,
                                    const adamoe_experts_call *call)
{
    float *y = calloc(call->before->tokens * layer->hidden_size + 1, sizeof *y);
    if (y == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    const adamoe_status status = compute(c, prepared, layer, call->before, call->before_x, y);
    free(y);
    return status;
}

static adamoe_status run_experts(check_call *c, const adamoe_layer *layer, const adamoe_experts_call *call,
                                 float *y)
{
    adamoe_prepared *prepared = NULL;
    ADAMOE_TRY(check_call_prepare(c, layer, &prepared));
    if (prepared == NULL) {
        return adamoe_ok();
    }
    adamoe_status status = adamoe_ok();
    if (call->before != NULL && c->out->end == ADAMOE_CALL_DONE) {
        status = compute_before(c, prepared, layer, call);
    }
    if (status.code == ADAMOE_OK && c->out->end == ADAMOE_CALL_DONE) {
        status = compute(c, prepared, layer, call->plan, call->x, y);
    }
    check_call_release(c, prepared);
    return status;
}

static adamoe_status experts_guarded(check_call *c, adamoe_expert *expert, const adamoe_experts_call *call,
                                     float *y)
{
    adamoe_layer layer;
    ADAMOE_TRY(guard_layer(c, call->layer, expert, &layer));
    return run_experts(c, &layer, call, y);
}

adamoe_status adamoe_call_experts(const adamoe_call_manner *manner, const adamoe_experts_call *call, float *y,
                                  adamoe_call_outcome *out)
{
    check_call c;
    adamoe_expert *expert = calloc(call->layer->experts, sizeof *expert);
    if (expert == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    check_call_begin(&c, manner, out);
    const adamoe_status status = check_call_end(&c, experts_guarded(&c, expert, call, y));
    free(expert);
    return status;
}
