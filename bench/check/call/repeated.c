/*
 * An object that is called again and again: see repeated.h.
 */
#include "check/call/repeated.h"
#include "check/call/parts.h"

#include <stdlib.h>
#include <string.h>

enum { X, OFFSET, INPUT, DISPATCH, TOKEN_OFFSET, TOKEN_ROW, COMBINE, SELF_SCALE, Y, BUFFERS };

struct adamoe_repeated {
    check_call call;
    adamoe_prepared *experts;        /* or NULL */
    adamoe_prepared_matrix *product; /* or NULL */
    size_t x_width, y_width;
    size_t calls;
    adamoe_guarded buffer[BUFFERS]; /* in the same place in every call */
    adamoe_team team[2];            /* one of them, in turn, as the caller's; the other is none */
};

/* ------------------------------------------------------------------------------------------------ buffers */

static adamoe_status reserve(adamoe_repeated *o, size_t buffer, size_t count)
{
    return adamoe_guarded_create(count * sizeof(float), sizeof(float), ADAMOE_GUARD_BACK, &o->buffer[buffer]);
}

static adamoe_status reserve_all(adamoe_repeated *o, adamoe_repeated_room room, size_t experts)
{
    const size_t counts[BUFFERS] = {
        [X] = room.tokens * o->x_width, [OFFSET] = experts + 1,           [INPUT] = room.rows,
        [DISPATCH] = room.rows,         [TOKEN_OFFSET] = room.tokens + 1, [TOKEN_ROW] = room.rows,
        [COMBINE] = room.rows,          [SELF_SCALE] = room.tokens,       [Y] = room.tokens * o->y_width};
    for (size_t i = 0; i < BUFFERS; ++i) {
        ADAMOE_TRY(reserve(o, i, counts[i]));
    }
    return adamoe_ok();
}

/* Behind `count` values of four bytes everything is 0xff. NULL for NULL. */
static void *fill(adamoe_repeated *o, size_t buffer, const void *from, size_t count)
{
    adamoe_guarded *to = &o->buffer[buffer];
    const size_t bytes = from == NULL ? 0 : count * sizeof(float);
    if (bytes > 0) {
        memcpy(to->data, from, bytes);
    }
    if (to->bytes > bytes) {
        memset(to->data + bytes, 0xff, to->bytes - bytes);
    }
    return from == NULL ? NULL : to->data;
}

/* False where something is written behind the first `count` values. */
static bool is_clean_behind(const adamoe_repeated *o, size_t buffer, size_t count)
{
    const adamoe_guarded *b = &o->buffer[buffer];
    for (size_t i = count * sizeof(float); i < b->bytes; ++i) {
        if (b->data[i] != 0xff) {
            return false;
        }
    }
    return adamoe_guarded_intact(b);
}

/* Calls after which workspace and team stand elsewhere: a kernel keeps neither from call to call. */
#define CALLS_IN_PLACE 8

/* Elsewhere than the old one, which is gone then. */
static bool move_work(adamoe_repeated *o, size_t bytes)
{
    adamoe_guarded moved = {.body = NULL};
    if (adamoe_guarded_create(2 * bytes, 64, ADAMOE_GUARD_BACK, &moved).code != ADAMOE_OK) {
        o->call.host.failed = o->call.host.failed || bytes < ADAMOE_GUARDED_MOST;
        check_call_wrong(&o->call, "there is no memory for the workspace of %zu bytes that it asks for",
                         bytes);
        return false;
    }
    adamoe_guarded_free(&o->call.work);
    o->call.work = moved;
    return true;
}

/* The workspace stays where it is for some calls, as long as it is large enough; in every other call it holds what the
 * one before left there. */
static bool reserve_work(adamoe_repeated *o, size_t bytes, adamoe_run *run)
{
    const adamoe_guarded *work = &o->call.work;
    if (work->body == NULL || work->bytes < bytes || o->calls % CALLS_IN_PLACE == CALLS_IN_PLACE - 1) {
        if (!move_work(o, bytes)) {
            return false;
        }
    } else if (o->calls % 2 == 0 && work->bytes > 0) {
        memset(work->data, 0xff, work->bytes);
    }
    const size_t turn = (o->calls + 1) / CALLS_IN_PLACE % 2;
    o->team[turn] = o->call.team.team;
    o->team[1 - turn] = (adamoe_team){.threads = 0};
    *run = (adamoe_run){.team = &o->team[turn], .work = work->data, .work_bytes = bytes};
    return true;
}

/* -------------------------------------------------------------------------------------------------- calls */

static void returned(adamoe_repeated *o, const char *function, adamoe_status status, size_t count, float *y)
{
    ++o->calls;
    if (status.code != ADAMOE_OK) {
        check_call_wrong(&o->call, "%s, call %zu of one object: %.200s", function, o->calls, status.message);
    } else if (!is_clean_behind(o, Y, count)) {
        check_call_wrong(&o->call, "%s, call %zu of one object: wrote behind its output", function, o->calls);
    }
    if (count > 0) {
        memcpy(y, o->buffer[Y].data, count * sizeof *y);
    }
}

bool adamoe_repeated_experts(adamoe_repeated *o, const adamoe_plan *plan, const float *x, float *y)
{
    const adamoe_kernel *kernel = o->call.manner->kernel;
    const size_t places = plan->token_offset[plan->tokens];
    adamoe_plan seen = *plan;
    adamoe_run run;
    if (!reserve_work(o, kernel->work_bytes(o->experts, plan->rows, plan->tokens), &run)) {
        return false;
    }
    seen.offset = fill(o, OFFSET, plan->offset, plan->experts + 1);
    seen.input = fill(o, INPUT, plan->input, plan->rows);
    seen.dispatch = fill(o, DISPATCH, plan->dispatch, plan->rows);
    seen.token_offset = fill(o, TOKEN_OFFSET, plan->token_offset, plan->tokens + 1);
    seen.token_row = fill(o, TOKEN_ROW, plan->token_row, places);
    seen.combine = fill(o, COMBINE, plan->combine, places);
    seen.self_scale = fill(o, SELF_SCALE, plan->self_scale, plan->tokens);
    const float *seen_x = fill(o, X, x, plan->tokens * o->x_width);
    (void)fill(o, Y, NULL, 0);
    returned(o, "experts",
             kernel->experts(o->experts, &run, seen_x, &seen, (float *)(void *)o->buffer[Y].data),
             plan->tokens * o->y_width, y);
    return o->call.out->end == ADAMOE_CALL_DONE;
}

bool adamoe_repeated_multiply(adamoe_repeated *o, const float *x, size_t count, float *y)
{
    const adamoe_kernel *kernel = o->call.manner->kernel;
    adamoe_run run;
    if (!reserve_work(o, kernel->matrix_work_bytes(o->product, count), &run)) {
        return false;
    }
    const float *seen_x = fill(o, X, x, count * o->x_width);
    (void)fill(o, Y, NULL, 0);
    returned(o, "multiply",
             kernel->multiply(o->product, &run, seen_x, count, (float *)(void *)o->buffer[Y].data),
             count * o->y_width, y);
    return o->call.out->end == ADAMOE_CALL_DONE;
}

/* ----------------------------------------------------------------------------------------- begin and end */

static adamoe_repeated *begin(const adamoe_call_manner *manner, adamoe_call_outcome *outcome)
{
    adamoe_repeated *o = calloc(1, sizeof *o);
    if (o != NULL) {
        check_call_begin(&o->call, manner, outcome);
    }
    return o;
}

/* Frees everything. Returns `status`, or the first error after it. */
static adamoe_status finish_with(adamoe_repeated *o, adamoe_status status)
{
    if (o->experts != NULL) {
        check_call_release(&o->call, o->experts);
    }
    if (o->product != NULL) {
        check_call_release_matrix(&o->call, o->product);
    }
    for (size_t i = 0; i < BUFFERS; ++i) {
        adamoe_guarded_free(&o->buffer[i]);
    }
    const adamoe_status ended = check_call_end(&o->call, status);
    free(o);
    return ended;
}

/* Gives *out the object where it is prepared. */
static adamoe_status finish(adamoe_repeated *o, adamoe_status status, adamoe_repeated **out)
{
    const bool prepared = status.code == ADAMOE_OK && (o->experts != NULL || o->product != NULL);
    *out = prepared ? o : NULL;
    return prepared ? status : finish_with(o, status);
}

adamoe_status adamoe_repeated_create(const adamoe_call_manner *manner, const adamoe_layer *layer,
                                     adamoe_repeated_room room, adamoe_call_outcome *outcome,
                                     adamoe_repeated **out)
{
    adamoe_repeated *o = begin(manner, outcome);
    if (o == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    o->x_width = o->y_width = layer->hidden_size;
    adamoe_status status = reserve_all(o, room, layer->experts);
    if (status.code == ADAMOE_OK) {
        status = check_call_prepare(&o->call, layer, &o->experts);
    }
    return finish(o, status, out);
}

adamoe_status adamoe_repeated_create_matrix(const adamoe_call_manner *manner, const adamoe_matrix *matrix,
                                            size_t most_rows, adamoe_call_outcome *outcome,
                                            adamoe_repeated **out)
{
    adamoe_repeated *o = begin(manner, outcome);
    if (o == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    o->x_width = matrix->columns;
    o->y_width = matrix->rows;
    adamoe_status status = reserve_all(o, (adamoe_repeated_room){.tokens = most_rows}, 0);
    if (status.code == ADAMOE_OK) {
        status = check_call_prepare_matrix(&o->call, matrix, &o->product);
    }
    return finish(o, status, out);
}

adamoe_status adamoe_repeated_free(adamoe_repeated *o)
{
    return o == NULL ? adamoe_ok() : finish_with(o, adamoe_ok());
}
