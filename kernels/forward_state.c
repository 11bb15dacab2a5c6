/*
 * The arrays of the batched forward pass: made as large as the largest batch so far, and kept.
 */
#include "forward_parts.h"
#include "host.h"

#include <math.h>
#include <stdlib.h>

static void free_row_arrays(forward_state *state)
{
    float *const arrays[] = {state->residual, state->normed, state->update, state->query,
                             state->mixed,    state->keys,   state->values, state->router_logits};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i) {
        free(arrays[i]);
    }
    free(state->position);
    state->residual = state->normed = state->update = state->query = NULL;
    state->mixed = state->keys = state->values = state->router_logits = NULL;
    state->position = NULL;
    state->row_room = 0;
}

static void free_position_arrays(forward_state *state)
{
    free(state->cosine);
    free(state->sine);
    free(state->scores);
    free(state->row_at);
    free(state->listed);
    state->cosine = state->sine = state->scores = NULL;
    state->row_at = state->listed = NULL;
    state->position_room = 0;
}

static void free_work(forward_state *state)
{
    adamoe_heap_host.release(NULL, state->run.work);
    state->run.work = NULL;
    state->run.work_bytes = 0;
}

void forward_state_free(forward_state *state)
{
    if (state == NULL) {
        return;
    }
    free_row_arrays(state);
    free_position_arrays(state);
    free(state->span);
    free(state->gain);
    free(state->logits);
    free_work(state);
    free(state);
}

static float *floats(size_t count)
{
    return calloc(count + 1, sizeof(float)); /* + 1: calloc(0) may give NULL */
}

static adamoe_status out_of_memory(const char *what, size_t count)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory for %zu %s", count, what);
}

static adamoe_status make_room_for_rows(const adamoe_config *c, forward_state *state, size_t rows)
{
    if (rows <= state->row_room) {
        return adamoe_ok();
    }
    const size_t kv = c->key_value_heads * c->head_dim, width = c->heads * c->head_dim;
    free_row_arrays(state);
    const bool complete =
        (state->residual = floats(rows * c->hidden_size)) != NULL &&
        (state->normed = floats(rows * c->hidden_size)) != NULL &&
        (state->update = floats(rows * c->hidden_size)) != NULL &&
        (state->query = floats(rows * width)) != NULL && (state->mixed = floats(rows * width)) != NULL &&
        (state->keys = floats(rows * kv)) != NULL && (state->values = floats(rows * kv)) != NULL &&
        (state->router_logits = floats(rows * (c->experts + c->null_experts))) != NULL &&
        (state->position = calloc(rows, sizeof *state->position)) != NULL;
    state->row_room = complete ? rows : 0;
    return complete ? adamoe_ok() : out_of_memory("tokens", rows);
}

static void fill_angles(const adamoe_config *config, forward_state *state, size_t longest)
{
    const size_t half = config->head_dim / 2;
    for (size_t i = 0; i < half; ++i) {
        const double frequency = pow(config->rope_theta, -2.0 * (double)i / (double)config->head_dim);
        for (size_t p = 0; p < longest; ++p) {
            state->cosine[p * half + i] = (float)cos((double)p * frequency);
            state->sine[p * half + i] = (float)sin((double)p * frequency);
        }
    }
}

static adamoe_status make_room_for_positions(const adamoe_forward *forward, forward_state *state,
                                             size_t longest)
{
    const adamoe_config *c = &forward->model->config;
    const size_t threads = forward->team->threads;
    if (longest <= state->position_room) {
        return adamoe_ok();
    }
    free_position_arrays(state);
    const bool complete = (state->cosine = floats(longest * (c->head_dim / 2))) != NULL &&
                          (state->sine = floats(longest * (c->head_dim / 2))) != NULL &&
                          (state->scores = floats(threads * longest)) != NULL &&
                          (state->row_at = calloc(threads * longest, sizeof *state->row_at)) != NULL &&
                          (state->listed = calloc(threads, sizeof *state->listed)) != NULL;
    if (!complete) {
        return out_of_memory("positions", longest);
    }
    state->position_room = longest;
    fill_angles(c, state, longest);
    return adamoe_ok();
}

static adamoe_status make_room_for_segments(forward_state *state, size_t count)
{
    if (count <= state->segment_room) {
        return adamoe_ok();
    }
    free(state->span);
    state->segment_room = 0;
    state->span = calloc(count, sizeof *state->span);
    if (state->span == NULL) {
        return out_of_memory("segments", count);
    }
    state->segment_room = count;
    return adamoe_ok();
}

static void place_segments(forward_state *state)
{
    state->rows = state->longest = 0;
    for (size_t s = 0; s < state->segments; ++s) {
        const adamoe_segment *segment = &state->segment[s];
        const size_t parent = segment->parent;
        const size_t start =
            parent == ADAMOE_NO_PARENT ? 0 : state->span[parent].start + state->span[parent].count;
        state->span[s] = (forward_span){
            .first_row = state->rows, .start = start, .count = segment->count, .parent = segment->parent};
        const size_t end = state->span[s].start + segment->count;
        state->longest = end > state->longest ? end : state->longest;
        state->rows += segment->count;
    }
}

static adamoe_status create_state(const adamoe_config *config, forward_state **out)
{
    forward_state *state = calloc(1, sizeof *state);
    if (state == NULL || (state->gain = floats(config->hidden_size)) == NULL ||
        (state->logits = floats(FORWARD_HEAD_ROWS * config->vocab_size)) == NULL) {
        forward_state_free(state);
        return out_of_memory("tokens", 0);
    }
    *out = state;
    return adamoe_ok();
}

adamoe_status forward_state_begin(adamoe_forward *forward, const adamoe_segment *segment, size_t count)
{
    const adamoe_config *config = &forward->model->config;
    if (forward->state == NULL) {
        ADAMOE_TRY(create_state(config, &forward->state));
    }
    forward_state *state = forward->state;
    state->segment = segment;
    state->segments = count;
    state->run.team = forward->team;
    ADAMOE_TRY(make_room_for_segments(state, count));
    place_segments(state);
    ADAMOE_TRY(make_room_for_rows(config, state, state->rows));
    ADAMOE_TRY(make_room_for_positions(forward, state, state->longest));
    for (size_t s = 0; s < count; ++s) {
        for (size_t i = 0; i < state->span[s].count; ++i) {
            state->position[state->span[s].first_row + i] = state->span[s].start + i;
        }
    }
    return adamoe_ok();
}

adamoe_status forward_state_reserve_work(forward_state *state, size_t bytes)
{
    if (bytes <= state->run.work_bytes) {
        return adamoe_ok();
    }
    free_work(state);
    state->run.work = adamoe_heap_host.allocate(NULL, bytes, 64);
    if (state->run.work == NULL) {
        return out_of_memory("bytes of workspace", bytes);
    }
    state->run.work_bytes = bytes;
    return adamoe_ok();
}
