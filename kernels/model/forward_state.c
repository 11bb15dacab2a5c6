/*
 * The arrays of the batched forward pass: made as large as the largest batch so far, and kept.
 */
#include "model/forward_parts.h"
#include "machine/host.h"
#include "model/rows.h"

#include <stdlib.h>

static void free_row_arrays(forward_state *state)
{
    void *const arrays[] = {state->residual,     state->normed,  state->update,   state->token,
                            state->wanted,       state->log_sum, state->position, state->shared,
                            state->shared_scale, state->identity};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i) {
        free(arrays[i]);
    }
    state->residual = state->normed = state->update = NULL;
    state->shared = state->shared_scale = NULL;
    state->token = state->identity = NULL;
    state->wanted = NULL;
    state->log_sum = NULL;
    state->position = NULL;
    state->row_room = 0;
}

static void free_segment_arrays(forward_state *state)
{
    free(state->span);
    free(state->part);
    free(state->reach);
    state->span = NULL;
    state->part = NULL;
    state->reach = NULL;
    state->segment_room = 0;
}

static void free_position_arrays(forward_state *state)
{
    free(state->cosine);
    free(state->sine);
    state->cosine = state->sine = NULL;
    state->position_room = 0;
}

void forward_state_free(forward_state *state)
{
    if (state == NULL) {
        return;
    }
    free_row_arrays(state);
    free_position_arrays(state);
    free_segment_arrays(state);
    free(state->gain);
    free(state->block_sum);
    adamoe_routing_space_free(&state->routing);
    adamoe_plan_space_free(&state->plan);
    adamoe_routed_layer_free(&state->routed);
    forward_crews_free(state);
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
    const size_t shared = c->architecture.shared_expert ? rows + rows / 4 : 0;
    free_row_arrays(state);
    rows += rows / 4; /* batches of questions differ by some tokens, and new memory takes time to appear */
    const bool complete = (state->residual = floats(rows * c->hidden_size)) != NULL &&
                          (state->normed = floats(rows * c->hidden_size)) != NULL &&
                          (state->update = floats(rows * c->hidden_size)) != NULL &&
                          (state->shared = floats(shared * c->hidden_size)) != NULL &&
                          (state->shared_scale = floats(shared)) != NULL &&
                          (state->identity = calloc(shared + 1, sizeof *state->identity)) != NULL &&
                          (state->token = calloc(rows, sizeof *state->token)) != NULL &&
                          (state->wanted = calloc(rows + 1, sizeof *state->wanted)) != NULL &&
                          (state->log_sum = calloc(rows, sizeof *state->log_sum)) != NULL &&
                          (state->position = calloc(rows, sizeof *state->position)) != NULL;
    state->row_room = complete ? rows : 0;
    return complete ? adamoe_ok() : out_of_memory("tokens", rows);
}

static adamoe_status make_room_for_positions(const adamoe_forward *forward, forward_state *state,
                                             size_t longest)
{
    const adamoe_config *c = &forward->model->config;
    if (longest <= state->position_room) {
        return adamoe_ok();
    }
    free_position_arrays(state);
    const bool complete = (state->cosine = floats(longest * (c->head_dim / 2))) != NULL &&
                          (state->sine = floats(longest * (c->head_dim / 2))) != NULL;
    if (!complete) {
        return out_of_memory("positions", longest);
    }
    state->position_room = longest;
    adamoe_rotary_angles(c, longest, state->cosine, state->sine, NULL);
    return adamoe_ok();
}

static adamoe_status make_room_for_segments(forward_state *state, size_t count)
{
    if (count <= state->segment_room) {
        return adamoe_ok();
    }
    free_segment_arrays(state);
    state->span = calloc(count, sizeof *state->span);
    state->part = calloc(count, sizeof *state->part);
    state->reach = calloc(count, sizeof *state->reach);
    if (state->span == NULL || state->part == NULL || state->reach == NULL) {
        return out_of_memory("segments", count);
    }
    state->segment_room = count;
    return adamoe_ok();
}

static size_t count_tokens(const adamoe_segment *segment, size_t count)
{
    size_t tokens = 0;
    for (size_t s = 0; s < count; ++s) {
        tokens += segment[s].count;
    }
    return tokens;
}

/* With fewer parts for a thread, at the end of a layer too many would wait for the last part. Where matrices are in the
 * thread's cache, parts may have few rows; what is left then is the cost of calls. */
#define PARTS_OF_THREAD    4
#define LEAST_ROWS_OF_PART 16

/* Cuts where no segment reaches back, once a part has rows enough. */
static void cut_parts(forward_state *state, size_t rows_of_part)
{
    size_t reach = SIZE_MAX;
    for (size_t s = state->segments; s-- > 0;) {
        const size_t parent = state->segment[s].parent, own = parent == ADAMOE_NO_PARENT ? s : parent;
        reach = own < reach ? own : reach;
        state->reach[s] = reach;
    }
    forward_part *part = NULL;
    state->parts = state->rows = 0;
    for (size_t s = 0; s < state->segments; ++s) {
        if (part == NULL || (part->rows.count >= rows_of_part && state->reach[s] == s)) {
            part = &state->part[state->parts++];
            *part = (forward_part){.first_segment = s, .rows = {state->rows, 0}};
        }
        ++part->segments;
        part->rows.count += state->segment[s].count;
        state->rows += state->segment[s].count;
    }
}

/* Parts for one thread each where every thread gets some, or else for the whole team. */
static void cut_for_crews(const adamoe_forward *forward, forward_state *state)
{
    const uint32_t threads = forward->team->threads;
    const size_t rows = forward_part_rows(&forward->model->config);
    state->parts_apart = false;
    if (forward->copies > 1) {
        const size_t parts = (size_t)PARTS_OF_THREAD * threads,
                     few = count_tokens(state->segment, state->segments) / parts;
        cut_parts(state, few < LEAST_ROWS_OF_PART ? LEAST_ROWS_OF_PART : few < rows ? few : rows);
        state->parts_apart = state->parts >= parts / 2;
    }
    if (!state->parts_apart) {
        cut_parts(state, rows > SIZE_MAX / threads ? SIZE_MAX : rows * threads);
    }
}

/* A batch's keys stand where its queries do. The one segment that continues a cache has its keys in there,
 * behind those that came before. */
static void place_part(forward_state *state, const forward_part *part)
{
    const size_t before = state->cache == NULL ? 0 : state->cache->length, first = part->first_segment;
    size_t row = part->rows.first;
    for (size_t s = first; s < first + part->segments; ++s) {
        const adamoe_segment *segment = &state->segment[s];
        const bool root = segment->parent == ADAMOE_NO_PARENT;
        const adamoe_attention_span *parent = root ? NULL : &state->span[segment->parent];
        const adamoe_attention_span span = {
            .first_query = row - part->rows.first,
            .first_key = before == 0 ? row - part->rows.first : 0,
            .start = root ? 0 : parent->start + parent->count,
            .count = before + segment->count,
            .parent = root ? ADAMOE_NO_PARENT : segment->parent - first,
            .skip = before,
        };
        const size_t end = span.start + span.count;
        for (size_t i = 0; i < segment->count; ++i) {
            state->token[row + i] = segment->token[i];
            state->position[row + i] = span.start + span.skip + i;
        }
        state->span[s] = span;
        state->longest = end > state->longest ? end : state->longest;
        row += segment->count;
    }
}

static adamoe_status create_state(const adamoe_config *config, forward_state **out)
{
    forward_state *state = calloc(1, sizeof *state);
    if (state == NULL || (state->gain = floats(config->hidden_size)) == NULL) {
        forward_state_free(state);
        return out_of_memory("tokens", 0);
    }
    *out = state;
    return adamoe_ok();
}

adamoe_status forward_state_begin(adamoe_forward *forward, const adamoe_segment *segment, size_t count,
                                  adamoe_key_value_cache *cache)
{
    const adamoe_config *config = &forward->model->config;
    if (forward->state == NULL) {
        ADAMOE_TRY(create_state(config, &forward->state));
    }
    forward_state *state = forward->state;
    state->segment = segment;
    state->segments = count;
    state->cache = cache;
    state->has_plan = false;
    ADAMOE_TRY(make_room_for_segments(state, count));
    ADAMOE_TRY(make_room_for_rows(config, state, count_tokens(segment, count)));
    cut_for_crews(forward, state);
    state->longest = 0;
    size_t largest = 0;
    for (size_t i = 0; i < state->parts; ++i) {
        place_part(state, &state->part[i]);
        largest = state->part[i].rows.count > largest ? state->part[i].rows.count : largest;
    }
    ADAMOE_TRY(forward_crews_begin(forward, largest));
    return make_room_for_positions(forward, state, cache == NULL ? state->longest : cache->capacity);
}

adamoe_status forward_state_reserve_sums(forward_state *state, size_t count)
{
    if (count <= state->sum_room) {
        return adamoe_ok();
    }
    free(state->block_sum);
    state->sum_room = 0;
    state->block_sum = calloc(count, sizeof *state->block_sum);
    if (state->block_sum == NULL) {
        return out_of_memory("sums of logits", count);
    }
    state->sum_room = count;
    return adamoe_ok();
}
