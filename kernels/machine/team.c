/*
 * A team of worker threads that spin for a short time between calls, and then sleep.
 *
 * A call publishes what it runs, then one word that holds the number of the call and how many threads take
 * part in it. Workers wait for that word to change; those that take part say when they are done. Who sleeps
 * counts himself first and looks at the word again, and who changes the word looks at that count afterwards,
 * both in one total order, so nobody sleeps through a call and nobody is woken who is awake.
 */
#include "machine/team.h"
#include "machine/clock.h"
#include "machine/pinning.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longer than the gap between the phases of a layer, and than waking up a thread takes. */
#define SPIN_SECONDS 50e-6
/* Pauses between two looks at the clock. */
#define PAUSES 4
/* Two cache lines: the processor fetches them in pairs. */
#define APART 128

typedef struct worker {
    struct team_state *state;
    pthread_t thread;
    uint32_t number;
} worker;

/* Room for every processor that Linux can be built for. */
typedef struct cpu_mask {
    cpu_set_t bits[64];
} cpu_mask;

typedef struct team_state {
    adamoe_team team;
    worker *workers; /* [started] */
    uint32_t started;
    bool spins;
    bool pinned; /* the creating thread, which could go where `before` says */
    pid_t creator;
    cpu_mask before;
    /* What a call runs; written before `call` changes. */
    size_t tasks;
    void (*task)(void *context, size_t i, uint32_t thread);
    void *context;
    _Alignas(APART)
        atomic_uint_fast64_t call;      /* number of the call << 32 | threads that take part, or STOP */
    _Alignas(APART) atomic_size_t next; /* task to be taken */
    _Alignas(APART) atomic_uint_fast64_t active; /* workers of this call that are not done */
    _Alignas(APART) atomic_uint sleepers;        /* workers that wait for `begin` */
    atomic_bool caller_sleeps;                   /* waits for `end` */
    pthread_mutex_t mutex;
    pthread_cond_t begin, end;
} team_state;

#define STOP UINT64_MAX

/* ---------------------------------------------------------------------------------------------- waiting */

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Waits a moment; false where that is no longer worth while. */
static bool spin(const team_state *state, double end)
{
    if (!state->spins || adamoe_now() >= end) {
        return false;
    }
    for (int i = 0; i < PAUSES; ++i) {
        pause_briefly();
    }
    return true;
}

/* The word of the call after the one whose word is `seen`. */
static uint64_t wait_for_call(team_state *state, uint64_t seen)
{
    const double end = adamoe_now() + SPIN_SECONDS;
    do {
        const uint64_t word = atomic_load_explicit(&state->call, memory_order_acquire);
        if (word != seen) {
            return word;
        }
    } while (spin(state, end));
    pthread_mutex_lock(&state->mutex);
    atomic_fetch_add(&state->sleepers, 1);
    uint64_t word;
    while ((word = atomic_load(&state->call)) == seen) {
        pthread_cond_wait(&state->begin, &state->mutex);
    }
    atomic_fetch_sub(&state->sleepers, 1);
    pthread_mutex_unlock(&state->mutex);
    return word;
}

static void publish(team_state *state, uint64_t word)
{
    atomic_store(&state->call, word);
    if (atomic_load(&state->sleepers) > 0) {
        pthread_mutex_lock(&state->mutex);
        pthread_cond_broadcast(&state->begin);
        pthread_mutex_unlock(&state->mutex);
    }
}

static void wait_for_workers(team_state *state)
{
    const double end = adamoe_now() + SPIN_SECONDS;
    do {
        if (atomic_load_explicit(&state->active, memory_order_acquire) == 0) {
            return;
        }
    } while (spin(state, end));
    pthread_mutex_lock(&state->mutex);
    atomic_store(&state->caller_sleeps, true);
    while (atomic_load(&state->active) > 0) {
        pthread_cond_wait(&state->end, &state->mutex);
    }
    atomic_store(&state->caller_sleeps, false);
    pthread_mutex_unlock(&state->mutex);
}

static void say_done(team_state *state)
{
    if (atomic_fetch_sub(&state->active, 1) == 1 && atomic_load(&state->caller_sleeps)) {
        pthread_mutex_lock(&state->mutex);
        pthread_cond_signal(&state->end);
        pthread_mutex_unlock(&state->mutex);
    }
}

/* ---------------------------------------------------------------------------------------------- running */

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
    const worker *self = argument;
    team_state *state = self->state;
    uint64_t word = 0;
    while ((word = wait_for_call(state, word)) != STOP) {
        if (self->number < (word & UINT32_MAX)) {
            take_tasks(state, self->number);
            say_done(state);
        }
    }
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
    const uint64_t number = (atomic_load_explicit(&state->call, memory_order_relaxed) >> 32) + 1;
    const uint64_t threads = tasks < state->team.threads ? tasks : state->team.threads;
    state->tasks = tasks;
    state->task = task;
    state->context = context;
    atomic_store_explicit(&state->next, 0, memory_order_relaxed);
    atomic_store_explicit(&state->active, threads - 1, memory_order_relaxed);
    publish(state, number << 32 | threads);
    take_tasks(state, 0);
    wait_for_workers(state);
}

/* ---------------------------------------------------------------------------------- starting and stopping */

static adamoe_status failed_worker(const char *what, uint32_t number, uint32_t count, int error)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "threads: %s %u of %u: %s", what, number, count, strerror(error));
}

/* The processors of a pin; false where it names none. */
static bool fill_mask(const adamoe_topology *topology, const adamoe_pin *pin, cpu_mask *mask)
{
    memset(mask, 0, sizeof *mask);
    if (pin == NULL || pin->kind == ADAMOE_PIN_NOWHERE) {
        return false;
    }
    const adamoe_topology_node *node = &topology->node[pin->node];
    for (uint32_t i = 0; i < node->cpus; ++i) {
        if (pin->kind == ADAMOE_PIN_NODE || node->cpu[i] == pin->cpu) {
            CPU_SET_S(node->cpu[i], sizeof *mask, mask->bits);
        }
    }
    return true;
}

/* Started where they belong, so that the first page of their stack is there too. */
static adamoe_status start_worker(team_state *state, const adamoe_topology *topology, const adamoe_pin *pin,
                                  worker *w)
{
    cpu_mask mask;
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return failed_worker("worker", w->number, state->team.threads, error);
    }
    if (fill_mask(topology, pin, &mask)) {
        error = pthread_attr_setaffinity_np(&attributes, sizeof mask, mask.bits);
    }
    if (error == 0) {
        error = pthread_create(&w->thread, &attributes, work, w);
    }
    pthread_attr_destroy(&attributes);
    return error == 0 ? adamoe_ok() : failed_worker("worker", w->number, state->team.threads, error);
}

static adamoe_status start_workers(team_state *state, const adamoe_topology *topology, const adamoe_pin *pins)
{
    for (uint32_t t = 1; t < state->team.threads; ++t) {
        worker *w = &state->workers[t - 1];
        *w = (worker){.state = state, .number = t};
        ADAMOE_TRY(start_worker(state, topology, pins == NULL ? NULL : &pins[t], w));
        ++state->started;
    }
    return adamoe_ok();
}

/* After the workers, which would inherit where the creator is pinned. */
static adamoe_status pin_creator(team_state *state, const adamoe_topology *topology, const adamoe_pin *pin)
{
    cpu_mask mask;
    if (!fill_mask(topology, pin, &mask)) {
        return adamoe_ok();
    }
    state->creator = gettid();
    if (sched_getaffinity(0, sizeof state->before, state->before.bits) != 0 ||
        sched_setaffinity(0, sizeof mask, mask.bits) != 0) {
        return failed_worker("pin thread", 0, state->team.threads, errno);
    }
    state->pinned = true;
    return adamoe_ok();
}

static void free_state(team_state *state)
{
    publish(state, STOP);
    for (uint32_t i = 0; i < state->started; ++i) {
        pthread_join(state->workers[i].thread, NULL);
    }
    if (state->pinned) {
        (void)sched_setaffinity(state->creator, sizeof state->before, state->before.bits);
    }
    pthread_mutex_destroy(&state->mutex);
    pthread_cond_destroy(&state->begin);
    pthread_cond_destroy(&state->end);
    free(state->workers);
    free(state);
}

static adamoe_status create(uint32_t threads, bool spins, const adamoe_topology *topology,
                            const adamoe_pin *pins, adamoe_team **out)
{
    if (threads == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "threads: a team has at least 1");
    }
    team_state *state = aligned_alloc(_Alignof(team_state), sizeof *state);
    worker *workers = calloc(threads, sizeof *workers);
    if (state == NULL || workers == NULL) {
        free(state);
        free(workers);
        return adamoe_error(ADAMOE_ENVIRONMENT, "threads: out of memory for %u", threads);
    }
    memset(state, 0, sizeof *state);
    state->team = (adamoe_team){.state = state, .threads = threads, .run = run};
    state->workers = workers;
    state->spins = spins;
    pthread_mutex_init(&state->mutex, NULL);
    pthread_cond_init(&state->begin, NULL);
    pthread_cond_init(&state->end, NULL);
    adamoe_status status = start_workers(state, topology, pins);
    if (status.code == ADAMOE_OK) {
        status = pin_creator(state, topology, pins);
    }
    if (status.code != ADAMOE_OK) {
        free_state(state);
        return status;
    }
    *out = &state->team;
    return status;
}

adamoe_status adamoe_team_create(uint32_t threads, adamoe_team **out)
{
    return create(threads, threads <= adamoe_available_processors(), NULL, NULL, out);
}

adamoe_status adamoe_team_create_on(const adamoe_topology *topology, const adamoe_placement *placement,
                                    adamoe_team **out)
{
    adamoe_pin *pins = calloc((size_t)placement->threads + 1, sizeof *pins);
    if (pins == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "threads: out of memory for %u", placement->threads);
    }
    const bool apart = adamoe_choose_pins(topology, placement, sched_getcpu(), pins);
    const adamoe_status status = create(placement->threads, apart, topology, pins, out);
    free(pins);
    return status;
}

void adamoe_team_free(adamoe_team *team)
{
    if (team != NULL) {
        free_state(team->state);
    }
}

uint32_t adamoe_available_processors(void)
{
    cpu_mask mask;
    if (sched_getaffinity(0, sizeof mask, mask.bits) != 0) {
        return 1;
    }
    const int count = CPU_COUNT_S(sizeof mask, mask.bits);
    return count > 0 ? (uint32_t)count : 1;
}
