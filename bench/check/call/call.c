/*
 * One guarded call of a kernel: experts and the dense product. What all calls share is in check/call/parts.h.
 */
#include "check/call/parts.h"
#include "numbers.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------- what all share */

/* A kernel adds to what is there: seconds that no call lasts, so that a time that was set instead is seen. */
#define SECONDS_BEFORE 0x1p20

static void check_call_start_stages(check_call *c)
{
    for (size_t i = 0; i < ADAMOE_STAGES; ++i) {
        c->stage_seconds[i] = SECONDS_BEFORE;
    }
}

void check_call_begin(check_call *c, const adamoe_call_manner *manner, adamoe_call_outcome *out)
{
    *out = (adamoe_call_outcome){.end = ADAMOE_CALL_DONE};
    c->manner = manner;
    c->out = out;
    c->inputs = 0;
    c->work = (adamoe_guarded){0};
    c->given = (adamoe_guarded){0};
    check_call_start_stages(c);
    adamoe_guarded_host_create(manner->placement.nodes, &c->host);
    if (manner->team != NULL && manner->perturbed) {
        adamoe_watch_perturbed(manner->team, manner->seed, &c->team);
    } else if (manner->team != NULL) {
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

adamoe_status check_call_end(check_call *c, adamoe_status status)
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
    adamoe_guarded_free(&c->given);
    for (size_t i = 0; i < c->inputs; ++i) {
        adamoe_guarded_free(&c->input[i]);
    }
    const bool wanting = c->host.failed && c->out->end == ADAMOE_CALL_WRONG;
    return status.code == ADAMOE_OK && wanting
               ? adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory for a kernel: %.250s", c->out->detail)
               : status;
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
        c->out->shortage = status.code == ADAMOE_ENVIRONMENT;
        (void)snprintf(c->out->detail, sizeof c->out->detail, "%s: %.250s", function, status.message);
    }
    if ((here | tasks) != 0) {
        adamoe_control_state_describe(here | tasks, parts, sizeof parts);
        check_call_wrong(c, "%s%s left changed: %s", function, here != 0 ? "" : ", in a task,", parts);
    }
    for (size_t i = 0; i < ADAMOE_STAGES; ++i) {
        if (!(c->stage_seconds[i] >= SECONDS_BEFORE && c->stage_seconds[i] < 2.0 * SECONDS_BEFORE)) {
            check_call_wrong(c, "%s made %g of %g seconds of stage %zu, instead of adding its own", function,
                             c->stage_seconds[i], SECONDS_BEFORE, i);
        }
    }
}

bool check_call_reserve(check_call *c, size_t bytes, adamoe_run *run)
{
    enum { WORK_ALIGNMENT = 64 };
    adamoe_guarded_free(&c->work);
    if (adamoe_guarded_create(bytes, WORK_ALIGNMENT, c->manner->end, &c->work).code != ADAMOE_OK) {
        c->host.failed = c->host.failed || bytes < ADAMOE_GUARDED_MOST;
        check_call_wrong(c, "there is no memory for the workspace of %zu bytes that it asks for", bytes);
        return false;
    }
    check_call_start_stages(c);
    *run = (adamoe_run){.team = &c->team.team,
                        .work = c->work.data,
                        .work_bytes = bytes,
                        .stage_seconds = c->manner->end == ADAMOE_GUARD_FRONT ? c->stage_seconds : NULL};
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

/* What prepare and prepare_matrix are given by address, in pages of their own. */
typedef struct given {
    adamoe_layer layer;
    adamoe_matrix matrix;
    adamoe_placement placement;
    adamoe_expert expert[]; /* [layer.experts], and behind them thread_node */
} given;

/* One of `layer` and `matrix` may be NULL. Errors: memory. */
static adamoe_status give(check_call *c, const adamoe_layer *layer, const adamoe_matrix *matrix, given **out)
{
    const adamoe_placement *placement = &c->manner->placement;
    const size_t experts = layer == NULL ? 0 : layer->experts;
    const size_t nodes = placement->thread_node == NULL ? 0 : placement->threads;
    const size_t bytes = sizeof(given) + experts * sizeof(adamoe_expert) + nodes * sizeof(uint32_t);
    ADAMOE_TRY(adamoe_guarded_create(bytes, _Alignof(given), ADAMOE_GUARD_BACK, &c->given));
    given *g = (given *)(void *)c->given.data;
    uint32_t *thread_node = (uint32_t *)(void *)(g->expert + experts);
    g->placement = *placement;
    if (nodes > 0) {
        memcpy(thread_node, placement->thread_node, nodes * sizeof *thread_node);
        g->placement.thread_node = thread_node;
    }
    if (layer != NULL) {
        g->layer = *layer;
        memcpy(g->expert, layer->expert, experts * sizeof *g->expert);
        g->layer.expert = g->expert;
    }
    if (matrix != NULL) {
        g->matrix = *matrix;
    }
    *out = g;
    return adamoe_ok();
}

/* prepare or prepare_matrix has returned: what it was given is its caller's again. False where there is nothing to
 * go on with. */
static bool prepared_well(check_call *c, const char *function, const adamoe_control_state *before,
                          adamoe_status status, const void *prepared)
{
    adamoe_guarded_close(&c->given);
    check_call_returned(c, function, before, status);
    if (status.code == ADAMOE_OK && prepared == NULL) {
        check_call_wrong(c, "%s reported success and gave nothing", function);
    }
    return status.code == ADAMOE_OK && prepared != NULL;
}

/* ------------------------------------------------------------------------------------------ dense product */

static adamoe_status run_multiply(check_call *c, const adamoe_matrix *matrix, const float *x, size_t count,
                                  float *y)
{
    const adamoe_kernel *kernel = c->manner->kernel;
    adamoe_prepared_matrix *prepared = NULL;
    given *g = NULL;
    adamoe_run run;
    ADAMOE_TRY(give(c, NULL, matrix, &g));
    adamoe_control_state before = adamoe_control_state_read();
    const adamoe_status status = kernel->prepare_matrix(&c->host.host, &g->matrix, &g->placement, &prepared);
    if (!prepared_well(c, "prepare_matrix", &before, status, prepared)) {
        return adamoe_ok();
    }
    if (c->out->end == ADAMOE_CALL_DONE &&
        check_call_reserve(c, kernel->matrix_work_bytes(prepared, count), &run)) {
        before = adamoe_control_state_read();
        check_call_returned(c, "multiply", &before, kernel->multiply(prepared, &run, x, count, y));
    }
    before = adamoe_control_state_read();
    kernel->release_matrix(prepared);
    kernel->release_matrix(NULL);
    check_call_returned(c, "release_matrix", &before, adamoe_ok());
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
    given *g = NULL;
    ADAMOE_TRY(give(c, layer, NULL, &g));
    adamoe_control_state before = adamoe_control_state_read();
    adamoe_status status = kernel->prepare(&c->host.host, &g->layer, &g->placement, &prepared);
    if (!prepared_well(c, "prepare", &before, status, prepared)) {
        return adamoe_ok();
    }
    if (call->before != NULL && c->out->end == ADAMOE_CALL_DONE) {
        status = compute_before(c, prepared, layer, call);
    }
    if (status.code == ADAMOE_OK && c->out->end == ADAMOE_CALL_DONE) {
        status = compute(c, prepared, layer, call->plan, call->x, y);
    }
    before = adamoe_control_state_read();
    kernel->release(prepared);
    kernel->release(NULL);
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
    const adamoe_status status = check_call_end(&c, experts_guarded(&c, expert, call, y));
    free(expert);
    return status;
}

/* ------------------------------------------------------------------------------------------ refused memory */

/* One attempt with the n-th allocation refused; false in *again where there were no more than n. */
static adamoe_status prepare_refused(check_call *c, const adamoe_layer *layer, const adamoe_matrix *matrix,
                                     size_t n, bool *again)
{
    const adamoe_kernel *kernel = c->manner->kernel;
    adamoe_prepared *experts = NULL;
    adamoe_prepared_matrix *product = NULL;
    given *g = NULL;
    ADAMOE_TRY(give(c, layer, matrix, &g));
    c->host.refused = n;
    const adamoe_control_state before = adamoe_control_state_read();
    const adamoe_status status =
        layer != NULL ? kernel->prepare(&c->host.host, &g->layer, &g->placement, &experts)
                      : kernel->prepare_matrix(&c->host.host, &g->matrix, &g->placement, &product);
    *again = c->host.asked > n;
    const bool expected = *again && status.code == ADAMOE_ENVIRONMENT;
    const void *prepared = layer != NULL ? (const void *)experts : (const void *)product;
    if (prepared_well(c, "prepare", &before, expected ? adamoe_ok() : status, expected ? c : prepared)) {
        /* A kernel that found another way is prepared. */
        if (!expected && layer != NULL) {
            kernel->release(experts);
        } else if (!expected) {
            kernel->release_matrix(product);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_call_refused(const adamoe_call_manner *manner, const adamoe_layer *layer,
                                  const adamoe_matrix *matrix, adamoe_call_outcome *out)
{
    bool again = true;
    for (size_t n = 0; again; ++n) {
        check_call c;
        check_call_begin(&c, manner, out);
        ADAMOE_TRY(check_call_end(&c, prepare_refused(&c, layer, matrix, n, &again)));
        if (out->end != ADAMOE_CALL_DONE) {
            const adamoe_call_outcome found = *out;
            (void)snprintf(out->detail, sizeof out->detail, "allocation %zu of prepare refused: %.250s",
                           n + 1, found.detail);
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}
