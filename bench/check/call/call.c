/*
 * One guarded call of a kernel: experts and the dense product. What all calls share is in check/call/parts.h.
 */
#include "check/call/parts.h"
#include "numbers.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------- what all share */

void check_call_begin(check_call *c, const adamoe_call_manner *manner, adamoe_call_outcome *out)
{
    *out = (adamoe_call_outcome){.end = ADAMOE_CALL_DONE};
    c->manner = manner;
    c->out = out;
    c->inputs = 0;
    c->work = (adamoe_guarded){0};
    adamoe_guarded_host_create(manner->placement.nodes, &c->host);
    if (manner->team != NULL) {
        adamoe_watch_team(manner->team, &c->team);
    } else {
        adamoe_watch_backwards(manner->placement.threads, &c->team);
    }
    adamoe_process_settings_read(&c->settings);
}

void check_call_wrong(check_call *c, const char *format, ...)
{
    if (c->out->end != ADAMOE_CALL_DONE) {
        return; /* the first error says most */
    }
    va_list arguments;
    va_start(arguments, format);
    c->out->end = ADAMOE_CALL_WRONG;
    (void)vsnprintf(c->out->detail, sizeof c->out->detail, format, arguments);
    va_end(arguments);
}

void check_call_end(check_call *c)
{
    const size_t left = adamoe_guarded_host_free(&c->host);
    if (left > 0) {
        check_call_wrong(c, "%zu allocation%s of its host were not given back", left, left == 1 ? "" : "s");
    }
    if (c->host.unknown_node) {
        check_call_wrong(c, "asked for memory on a node that its placement does not have");
    }
    if (c->host.damaged) {
        check_call_wrong(c, "wrote outside of memory that it took from its host");
    }
    if (c->host.unknown_free) {
        check_call_wrong(c, "gave its host memory that it had not taken from it");
    }
    if (c->work.body != NULL && !adamoe_guarded_intact(&c->work)) {
        check_call_wrong(c, "wrote outside of its workspace");
    }
    adamoe_guarded_free(&c->work);
    for (size_t i = 0; i < c->inputs; ++i) {
        adamoe_guarded_free(&c->input[i]);
    }
}

adamoe_status check_call_input(check_call *c, const void *data, size_t bytes, size_t alignment,
                               const void **out)
{
    if (c->inputs == CHECK_CALL_INPUTS) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: a call has more than %d inputs", CHECK_CALL_INPUTS);
    }
    adamoe_guarded *input = &c->input[c->inputs];
    ADAMOE_TRY(adamoe_guarded_copy(data, bytes, alignment, c->manner->end, input));
    ++c->inputs;
    *out = input->data;
    return adamoe_ok();
}

void check_call_returned(check_call *c, const char *function, const adamoe_control_state *before,
                         adamoe_status status)
{
    char parts[200];
    unsigned here = adamoe_control_state_restore(before);
    here |= adamoe_process_settings_restore(&c->settings);
    const unsigned tasks = atomic_exchange(&c->team.changed, 0);
    if (c->out->end == ADAMOE_CALL_DONE && status.code != ADAMOE_OK) {
        const bool cannot = status.code == ADAMOE_NOT_SUPPORTED;
        c->out->end = cannot ? ADAMOE_CALL_NOT_SUPPORTED : ADAMOE_CALL_WRONG;
        (void)snprintf(c->out->detail, sizeof c->out->detail, "%s: %.250s", function, status.message);
    }
    if ((here | tasks) != 0) {
        adamoe_control_state_describe(here | tasks, parts, sizeof parts);
        check_call_wrong(c, "%s%s left changed: %s", function, here != 0 ? "" : ", in a task,", parts);
    }
}

bool check_call_reserve(check_call *c, size_t bytes, adamoe_run *run)
{
    enum { WORK_ALIGNMENT = 64 };
    adamoe_guarded_free(&c->work);
    if (adamoe_guarded_create(bytes, WORK_ALIGNMENT, c->manner->end, &c->work).code != ADAMOE_OK) {
        check_call_wrong(c, "there is no memory for the workspace of %zu bytes that it asks for", bytes);
        return false;
    }
    *run = (adamoe_run){.team = &c->team.team, .work = c->work.data, .work_bytes = bytes};
    return true;
}

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

static void run_multiply(check_call *c, const adamoe_matrix *matrix, const float *x, size_t count, float *y)
{
    const adamoe_kernel *kernel = c->manner->kernel;
    adamoe_prepared_matrix *prepared = NULL;
    adamoe_run run;
    adamoe_control_state before = adamoe_control_state_read();
    check_call_returned(c, "prepare_matrix", &before,
                        kernel->prepare_matrix(&c->host.host, matrix, &c->manner->placement, &prepared));
    if (prepared == NULL) {
        return;
    }
    if (c->out->end == ADAMOE_CALL_DONE &&
        check_call_reserve(c, kernel->matrix_work_bytes(prepared, count), &run)) {
        before = adamoe_control_state_read();
        check_call_returned(c, "multiply", &before, kernel->multiply(prepared, &run, x, count, y));
    }
    before = adamoe_control_state_read();
    kernel->release_matrix(prepared);
    check_call_returned(c, "release_matrix", &before, adamoe_ok());
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
    run_multiply(c, &guarded, guarded_x, count, (float *)(void *)buffer.data);
    output_finish(c, &buffer, count * matrix->rows, y);
    return adamoe_ok();
}

adamoe_status adamoe_call_multiply(const adamoe_call_manner *manner, const adamoe_matrix *matrix,
                                   const float *x, size_t count, float *y, adamoe_call_outcome *out)
{
    check_call c;
    check_call_begin(&c, manner, out);
    const adamoe_status status = multiply_guarded(&c, matrix, x, count, y);
    check_call_end(&c);
    return status;
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

static adamoe_status guard_array(check_call *c, const void *data, size_t count, const void **out)
{
    *out = NULL;
    return data == NULL ? adamoe_ok()
                        : check_call_input(c, data, count * sizeof(uint32_t), sizeof(uint32_t), out);
}

adamoe_status check_call_plan(check_call *c, const adamoe_plan *from, adamoe_plan *out)
{
    const size_t places = from->token_offset[from->tokens];
    const void *offset, *input, *dispatch, *token_offset, *token_row, *combine, *self_scale;
    ADAMOE_TRY(guard_array(c, from->offset, from->experts + 1, &offset));
    ADAMOE_TRY(guard_array(c, from->input, from->rows, &input));
    ADAMOE_TRY(guard_array(c, from->dispatch, from->rows, &dispatch));
    ADAMOE_TRY(guard_array(c, from->token_offset, from->tokens + 1, &token_offset));
    ADAMOE_TRY(guard_array(c, from->token_row, places, &token_row));
    ADAMOE_TRY(guard_array(c, from->combine, places, &combine));
    ADAMOE_TRY(guard_array(c, from->self_scale, from->tokens, &self_scale));
    *out = *from;
    out->offset = offset;
    out->input = input;
    out->dispatch = dispatch;
    out->token_offset = token_offset;
    out->token_row = token_row;
    out->combine = combine;
    out->self_scale = self_scale;
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
    const adamoe_kernel *kernel = c->manner->kernel;
    adamoe_prepared *prepared = NULL;
    adamoe_status status = adamoe_ok();
    adamoe_control_state before = adamoe_control_state_read();
    check_call_returned(c, "prepare", &before,
                        kernel->prepare(&c->host.host, layer, &c->manner->placement, &prepared));
    if (prepared == NULL) {
        return status;
    }
    if (call->before != NULL && c->out->end == ADAMOE_CALL_DONE) {
        status = compute_before(c, prepared, layer, call);
    }
    if (status.code == ADAMOE_OK && c->out->end == ADAMOE_CALL_DONE) {
        status = compute(c, prepared, layer, call->plan, call->x, y);
    }
    before = adamoe_control_state_read();
    kernel->release(prepared);
    check_call_returned(c, "release", &before, adamoe_ok());
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
    const adamoe_status status = experts_guarded(&c, expert, call, y);
    check_call_end(&c);
    free(expert);
    return status;
}
