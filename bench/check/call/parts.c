/*
 * What all guarded calls share: see parts.h.
 */
#include "check/call/parts.h"

#include <stdarg.h>
#include <string.h>

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
    if (manner->kept != NULL) {
        adamoe_kept_begin(manner->kept);
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
    if (c->manner->kept == NULL) {
        adamoe_guarded_free(&c->work);
    }
    adamoe_guarded_free(&c->given);
    for (size_t i = 0; i < c->inputs; ++i) {
        adamoe_guarded_free(&c->input[i]);
    }
    const bool wanting = c->host.failed && c->out->end == ADAMOE_CALL_WRONG;
    return status.code == ADAMOE_OK && wanting
               ? adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory for a kernel: %.250s", c->out->detail)
               : status;
}

static adamoe_status kept_input(adamoe_kept *kept, const void *data, size_t bytes, size_t alignment,
                                const void **out)
{
    adamoe_guarded *input = NULL;
    ADAMOE_TRY(adamoe_kept_take(kept, bytes, alignment, &input));
    if (bytes > 0) {
        memcpy(input->data, data, bytes);
    }
    *out = input->data;
    return adamoe_guarded_lock(input);
}

adamoe_status check_call_input(check_call *c, const void *data, size_t bytes, size_t alignment,
                               const void **out)
{
    if (c->manner->kept != NULL) {
        return kept_input(c->manner->kept, data, bytes, alignment, out);
    }
    if (c->inputs == CHECK_CALL_INPUTS) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: a call has more than %d inputs", CHECK_CALL_INPUTS);
    }
    adamoe_guarded *input = &c->input[c->inputs];
    ADAMOE_TRY(adamoe_guarded_copy(data, bytes, alignment, c->manner->end, input));
    ++c->inputs;
    *out = input->data;
    return adamoe_ok();
}

adamoe_status check_call_output(check_call *c, size_t bytes, size_t alignment, adamoe_guarded *own,
                                adamoe_guarded **out)
{
    if (c->manner->kept != NULL) {
        return adamoe_kept_take(c->manner->kept, bytes, alignment, out);
    }
    *out = own;
    return adamoe_guarded_create(bytes, alignment, c->manner->end, own);
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

static adamoe_status take_work(check_call *c, size_t bytes)
{
    enum { WORK_ALIGNMENT = 64 };
    if (c->manner->kept != NULL) {
        return adamoe_kept_work(c->manner->kept, bytes, WORK_ALIGNMENT, &c->work);
    }
    adamoe_guarded_free(&c->work);
    return adamoe_guarded_create(bytes, WORK_ALIGNMENT, c->manner->end, &c->work);
}

bool check_call_reserve(check_call *c, size_t bytes, adamoe_run *run)
{
    if (take_work(c, bytes).code != ADAMOE_OK) {
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
