/*
 * A team of worker threads that sleep between calls.
 */
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct worker {
    struct team_state *state;
    pthread_t thread;
    uint32_t number;
} worker;

typedef struct team_state {
    adamoe_team team;
    worker *workers; /* [started] */
    uint32_t started;
    pthread_mutex_t mutex;
    pthread_cond_t begin, end;
    uint64_t round;  /* grows with each call of run: workers wait for the next one */
    uint32_t active; /* workers that have not finished this round */
    bool stop;
    /* What this round runs; written before `round` grows, under the mutex. */
    size_t tasks;
    void (*task)(void *context, size_t i, uint32_t thread);
    void *context;
    atomic_size_t next;
} team_state;

static void take_tasks(team_state *state, uint32_t thread)
{
    for (;;) {
        const size_t i = atomic_fetch_add_explicit(&state->next, 1, memory_order_relaxed);
        if (i >= state->tasks) {
            return;
        }
        state->task(state->context, i, thread);
    }
}

static void *work(void *argument)
{
    worker *self = argument;
    team_state *state = self->state;
    uint64_t seen = 0;
    pthread_mutex_lock(&state->mutex);
    for (;;) {
        while (state->round == seen && !state->stop) {
            pthread_cond_wait(&state->begin, &state->mutex);
        }
        if (state->stop) {
            break;
        }
        seen = state->round;
        pthread_mutex_unlock(&state->mutex);
        take_tasks(state, self->number);
        pthread_mutex_lock(&state->mutex);
        if (--state->active == 0) {
            pthread_cond_signal(&state->end);
        }
    }
    pthread_mutex_unlock(&state->mutex);
    return NULL;
}

static void run(void *opaque, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                void *context)
{
    team_state *state = opaque;
    if (state->started == 0 || tasks <= 1) {
        for (size_t i = 0; i < tasks; ++i) {
            task(context, i, 0);
        }
        return;
    }
    pthread_mutex_lock(&state->mutex);
    state->tasks = tasks;
    state->task = task;
    state->context = context;
    atomic_store_explicit(&state->next, 0, memory_order_relaxed);
    state->active = state->started;
    ++state->round;
    pthread_cond_broadcast(&state->begin);
    pthread_mutex_unlock(&state->mutex);

    take_tasks(state, 0);

    pthread_mutex_lock(&state->mutex);
    while (state->active > 0) {
        pthread_cond_wait(&state->end, &state->mutex);
    }
    pthread_mutex_unlock(&state->mutex);
}

static adamoe_status start_workers(team_state *state, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        worker *w = &state->workers[i];
        *w = (worker){.state = state, .number = i + 1};
        const int error = pthread_create(&w->thread, NULL, work, w);
        if (error != 0) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "threads: worker %u of %u: %s", i + 1, count,
                                strerror(error));
        }
        ++state->started;
    }
    return adamoe_ok();
}

static void free_state(team_state *state)
{
    pthread_mutex_lock(&state->mutex);
    state->stop = true;
    pthread_cond_broadcast(&state->begin);
    pthread_mutex_unlock(&state->mutex);
    for (uint32_t i = 0; i < state->started; ++i) {
        pthread_join(state->workers[i].thread, NULL);
    }
    pthread_mutex_destroy(&state->mutex);
    pthread_cond_destroy(&state->begin);
    pthread_cond_destroy(&state->end);
    free(state->workers);
    free(state);
}

adamoe_status adamoe_team_create(uint32_t threads, adamoe_team **out)
{
    if (threads == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "threads: a team has at least 1");
    }
    team_state *state = calloc(1, sizeof *state);
    worker *workers = calloc(threads, sizeof *workers);
    if (state == NULL || workers == NULL) {
        free(state);
        free(workers);
        return adamoe_error(ADAMOE_ENVIRONMENT, "threads: out of memory for %u", threads);
    }
    state->workers = workers;
    pthread_mutex_init(&state->mutex, NULL);
    pthread_cond_init(&state->begin, NULL);
    pthread_cond_init(&state->end, NULL);
    const adamoe_status status = start_workers(state, threads - 1);
    if (status.code != ADAMOE_OK) {
        free_state(state);
        return status;
    }
    state->team = (adamoe_team){.state = state, .threads = threads, .run = run};
    *out = &state->team;
    return adamoe_ok();
}

void adamoe_team_free(adamoe_team *team)
{
    if (team != NULL) {
        free_state(team->state);
    }
}

uint32_t adamoe_available_processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1; /* more processors than the set holds */
    }
    const int count = CPU_COUNT(&set);
    return count > 0 ? (uint32_t)count : 1;
}
