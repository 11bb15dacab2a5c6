/*
 * Who computes the parts of a batch: the whole team, part by part and step by step, or each of its threads alone, which
 * takes a part through all its steps. A thread alone waits for nobody, and finds what a step wrote in its own cache. The
 * blocks of the head are shared out in the same way.
 */
#include "model/forward_parts.h"
#include "machine/host.h"
#include "numbers.h"

#include <stdlib.h>

/* What a thread's rows of a part may take of its second-level cache, and matrices that it multiplies them with beside
 * them. */
#define CACHE_BYTES  ((size_t)512 << 10)
#define MATRIX_BYTES ((size_t)256 << 10)

/* Fewer rows would not pay for reading the weights once more. */
#define LEAST_ROWS 96

/* Of all copies of the matrices. */
#define COPIES_BYTES ((size_t)64 << 20)

size_t forward_part_rows(const adamoe_config *config)
{
    const size_t projected = (config->heads + 2 * config->key_value_heads) * config->head_dim;
    const size_t row_bytes = (4 * config->hidden_size + 2 * projected) * sizeof(float);
    const size_t rows = CACHE_BYTES / row_bytes;
    return rows < LEAST_ROWS ? SIZE_MAX : rows;
}

bool forward_may_part(const adamoe_forward *forward)
{
    return forward->resident && forward->team->threads > 1 && forward->placement.nodes == 1;
}

uint32_t forward_copies(const adamoe_forward *forward)
{
    const adamoe_config *config = &forward->model->config;
    const uint32_t threads = forward->team->threads;
    const size_t width = config->heads * config->head_dim, kv = config->key_value_heads * config->head_dim;
    const size_t outputs = width + 2 * kv + width + config->experts + config->null_experts;
    const size_t bytes = config->hidden_size * outputs * adamoe_arithmetic_bytes(forward->kernel->weight);
    return forward_may_part(forward) && bytes <= MATRIX_BYTES &&
                   bytes * config->layers * threads <= COPIES_BYTES
               ? threads
               : 1;
}

/* ------------------------------------------------------------------------------------------------- making */

/* The run of a team of one thread: on whoever asks. */
static void run_alone(void *state, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                      void *context)
{
    (void)state;
    for (size_t i = 0; i < tasks; ++i) {
        task(context, i, 0);
    }
}

static void free_rows(forward_crew *crew)
{
    float **const arrays[] = {&crew->projected, &crew->query, &crew->mixed, &crew->keys, &crew->values};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i) {
        free(*arrays[i]);
        *arrays[i] = NULL;
    }
    crew->row_room = 0;
}

static void free_work(forward_crew *crew)
{
    adamoe_heap_host.release(NULL, crew->run.work);
    crew->run.work = NULL;
    crew->run.work_bytes = 0;
}

static void free_crew(forward_crew *crew)
{
    free_rows(crew);
    free_work(crew);
    free(crew->logits);
}

void forward_crews_free(forward_state *state)
{
    free_crew(&state->whole);
    for (uint32_t t = 0; t < state->threads && state->alone != NULL; ++t) {
        free_crew(&state->alone[t]);
    }
    free(state->alone);
    state->alone = NULL;
}

static float *floats(size_t count)
{
    return calloc(count + 1, sizeof(float)); /* + 1: calloc(0) may give NULL */
}

static adamoe_status make_room(const adamoe_config *c, forward_crew *crew, size_t rows)
{
    if (rows <= crew->row_room) {
        return adamoe_ok();
    }
    const size_t kv = c->key_value_heads * c->head_dim, width = c->heads * c->head_dim;
    free_rows(crew);
    rows += rows / 4; /* batches of questions differ by some tokens, and new memory takes time to appear */
    const bool complete =
        (crew->query = floats(rows * width)) != NULL && (crew->mixed = floats(rows * width)) != NULL &&
        (crew->keys = floats(rows * kv)) != NULL && (crew->values = floats(rows * kv)) != NULL &&
        (crew->projected = floats(rows * (width + 2 * kv))) != NULL;
    crew->row_room = complete ? rows : 0;
    return complete ? adamoe_ok()
                    : adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory for %zu tokens", rows);
}

static adamoe_status create_alone(forward_state *state, uint32_t threads)
{
    if (state->alone != NULL) {
        return adamoe_ok();
    }
    state->alone = calloc(threads, sizeof *state->alone);
    if (state->alone == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory for %u threads", threads);
    }
    state->threads = threads;
    for (uint32_t t = 0; t < threads; ++t) {
        forward_crew *crew = &state->alone[t];
        crew->alone = (adamoe_team){.threads = 1, .run = run_alone};
        crew->run.team = &crew->alone;
        crew->copy = t;
    }
    return adamoe_ok();
}

adamoe_status forward_crews_begin(adamoe_forward *forward, size_t rows)
{
    const adamoe_config *config = &forward->model->config;
    forward_state *state = forward->state;
    state->whole.run.team = forward->team;
    state->whole.clock = forward->clock;
    if (!state->parts_apart) {
        return make_room(config, &state->whole, rows);
    }
    ADAMOE_TRY(create_alone(state, forward->team->threads));
    for (uint32_t t = 0; t < state->threads; ++t) {
        ADAMOE_TRY(make_room(config, &state->alone[t], rows));
    }
    return adamoe_ok();
}

adamoe_status forward_reserve_work(forward_crew *crew, size_t bytes)
{
    if (bytes <= crew->run.work_bytes) {
        return adamoe_ok();
    }
    bytes += bytes / 4; /* a sequence that grows by a token at a time asks for a little more each time */
    free_work(crew);
    crew->run.work = adamoe_heap_host.allocate(NULL, bytes, 64);
    if (crew->run.work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory for %zu bytes of workspace", bytes);
    }
    crew->run.work_bytes = bytes;
    return adamoe_ok();
}

adamoe_status forward_reserve_logits(forward_crew *crew, size_t count)
{
    if (count <= crew->logits_room) {
        return adamoe_ok();
    }
    free(crew->logits);
    crew->logits_room = 0;
    crew->logits = floats(count);
    if (crew->logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "forward: out of memory for %zu logits", count);
    }
    crew->logits_room = count;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ running */

typedef struct alone_call {
    const adamoe_forward *forward;
    forward_task *task;
    const void *context;
} alone_call;

/* Tasks come in ascending order, so that the first failure of a crew is that of its lowest task. */
static void alone_task(void *context, size_t i, uint32_t thread)
{
    const alone_call *call = context;
    forward_crew *crew = &call->forward->state->alone[thread];
    if (crew->status.code != ADAMOE_OK) {
        return;
    }
    if (crew->clock != NULL) {
        crew->clock->last = adamoe_now();
    }
    crew->status = call->task(call->context, crew, i);
    crew->failed = i;
}

/* Gives the time that has passed to the stages, as they share the time of all threads. */
static void add_stages(adamoe_forward_clock *clock, const forward_crew *crew, uint32_t crews)
{
    double all = 0.0;
    for (uint32_t c = 0; c < crews; ++c) {
        for (size_t s = 0; s < ADAMOE_FORWARD_STAGES; ++s) {
            all += crew[c].own.seconds[s];
        }
    }
    const double now = adamoe_now(), share = all > 0.0 ? (now - clock->last) / all : 0.0;
    for (uint32_t c = 0; c < crews; ++c) {
        for (size_t s = 0; s < ADAMOE_FORWARD_STAGES; ++s) {
            clock->seconds[s] += share * crew[c].own.seconds[s];
        }
    }
    clock->last = now;
}

static adamoe_status first_failure(const forward_state *state)
{
    const forward_crew *first = NULL;
    for (uint32_t t = 0; t < state->threads; ++t) {
        const forward_crew *crew = &state->alone[t];
        if (crew->status.code != ADAMOE_OK && (first == NULL || crew->failed < first->failed)) {
            first = crew;
        }
    }
    return first == NULL ? adamoe_ok() : first->status;
}

adamoe_status forward_each_alone(const adamoe_forward *forward, size_t tasks, forward_task *task,
                                 const void *context)
{
    forward_state *state = forward->state;
    ADAMOE_TRY(create_alone(state, forward->team->threads));
    for (uint32_t t = 0; t < state->threads; ++t) {
        forward_crew *crew = &state->alone[t];
        crew->status = adamoe_ok();
        crew->own = (adamoe_forward_clock){0};
        crew->clock = forward->clock == NULL ? NULL : &crew->own;
    }
    alone_call call = {forward, task, context};
    forward->team->run(forward->team->state, tasks, alone_task, &call);
    if (forward->clock != NULL) {
        add_stages(forward->clock, state->alone, state->threads);
    }
    return first_failure(state);
}

typedef struct parts_call {
    const adamoe_forward *forward;
    size_t layer;
    const forward_block *block;
    forward_part_function *compute;
} parts_call;

static adamoe_status part_task(const void *context, forward_crew *crew, size_t i)
{
    const parts_call *call = context;
    return call->compute(call->forward, crew, call->layer, call->block, &call->forward->state->part[i]);
}

adamoe_status forward_each_part(const adamoe_forward *forward, size_t layer, const forward_block *block,
                                forward_part_function *compute)
{
    forward_state *state = forward->state;
    const parts_call call = {forward, layer, block, compute};
    if (state->parts_apart) {
        return forward_each_alone(forward, state->parts, part_task, &call);
    }
    for (size_t i = 0; i < state->parts; ++i) {
        ADAMOE_TRY(part_task(&call, &state->whole, i));
    }
    return adamoe_ok();
}
