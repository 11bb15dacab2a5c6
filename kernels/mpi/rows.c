/*
 * Plans in which every row is a token, buffers, and the two steps of the inner kernel.
 */
#include "mpi/sharded_parts.h"

#include <stdlib.h>
#include <string.h>

adamoe_status sharded_reserve(sharded_buffer *buffer, size_t bytes)
{
    if (bytes <= buffer->bytes) {
        return adamoe_ok();
    }
    bytes = (bytes + bytes / 4 + 63) / 64 * 64; /* batches of questions differ by some rows */
    sharded_release(buffer);
    buffer->data = aligned_alloc(64, bytes);
    if (buffer->data == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "rows between ranks: out of memory for %zu bytes", bytes);
    }
    buffer->bytes = bytes;
    return adamoe_ok();
}

void sharded_release(sharded_buffer *buffer)
{
    free(buffer->data);
    *buffer = (sharded_buffer){0};
}

adamoe_status sharded_rows_begin(sharded_rows *rows, size_t experts, size_t count, bool dispatch)
{
    const size_t words = (experts + 1) + count + (count + 1) + count;
    ADAMOE_TRY(sharded_reserve(&rows->memory, words * sizeof(uint32_t) + 2 * count * sizeof(float)));
    rows->offset = rows->memory.data;
    rows->input = rows->offset + experts + 1;
    rows->token_offset = rows->input + count;
    rows->token_row = rows->token_offset + count + 1;
    rows->combine = (float *)(void *)(rows->token_row + count);
    rows->dispatch = rows->combine + count;
    memset(rows->offset, 0, (experts + 1) * sizeof *rows->offset);
    for (size_t i = 0; i < count; ++i) {
        rows->token_offset[i] = (uint32_t)i;
        rows->combine[i] = 1.0f;
    }
    rows->token_offset[count] = (uint32_t)count;
    rows->plan = (adamoe_plan){.tokens = count,
                               .experts = experts,
                               .offset = rows->offset,
                               .input = rows->input,
                               .dispatch = dispatch ? rows->dispatch : NULL,
                               .token_offset = rows->token_offset,
                               .token_row = rows->token_row,
                               .combine = rows->combine};
    return adamoe_ok();
}

void sharded_rows_end(sharded_rows *rows, size_t inputs)
{
    rows->plan.inputs = inputs;
    for (size_t e = 0; e < rows->plan.experts; ++e) {
        rows->offset[e + 1] += rows->offset[e];
    }
}

adamoe_status sharded_compute(const sharded_layer *layer, const adamoe_team *team, const float *x,
                              const adamoe_plan *plan, float *y)
{
    adamoe_sharded *s = layer->sharded;
    const size_t bytes = s->inner->work_bytes(layer->inner, plan->rows, plan->tokens);
    ADAMOE_TRY(sharded_reserve(&s->work, bytes + 1));
    const adamoe_run run = {.team = team, .work = s->work.data, .work_bytes = bytes};
    return s->inner->experts(layer->inner, &run, x, plan, y);
}

typedef struct combine_call {
    size_t hidden_size;
    const float *x, *outputs;
    const adamoe_plan *plan;
    float *y;
} combine_call;

static void combine_token(void *context, size_t t, uint32_t thread)
{
    (void)thread;
    const combine_call *c = context;
    const adamoe_plan *plan = c->plan;
    for (size_t j = 0; j < c->hidden_size; ++j) {
        double sum = 0.0;
        for (size_t i = plan->token_offset[t]; i < plan->token_offset[t + 1]; ++i) {
            sum += (double)plan->combine[i] * (double)c->outputs[plan->token_row[i] * c->hidden_size + j];
        }
        if (plan->self_scale != NULL) {
            sum += (double)plan->self_scale[t] * (double)c->x[t * c->hidden_size + j];
        }
        c->y[t * c->hidden_size + j] = (float)sum;
    }
}

adamoe_status sharded_combine(const adamoe_kernel *inner, const adamoe_run *run, size_t hidden_size,
                              const float *x, const float *outputs, const adamoe_plan *plan, float *y)
{
    if (inner->combine != NULL) {
        return inner->combine(run, hidden_size, x, outputs, plan, y);
    }
    combine_call call = {hidden_size, x, outputs, plan, y};
    run->team->run(run->team->state, plan->tokens, combine_token, &call);
    return adamoe_ok();
}
