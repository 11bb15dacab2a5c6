/*
 * Messages by MPI, and who is alive. The only file that knows MPI.
 *
 * Two communicators: one for messages, used by the thread that computes; one for pulses, used by a thread
 * of its own. A pulse says that its sender lives and, where it has failed, why. That a process is gone,
 * stopped or cut off shows by the pulses that do not come; a message that is waited for ends with an error
 * then.
 */
#include "mpi/mpi_module.h"

#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct pulse {
    int32_t code; /* 0: alive */
    char message[508];
} pulse;

typedef struct other {
    _Atomic double heard; /* when, or later by what this rank itself did not listen */
    pulse in, out;
    MPI_Request receiving, sending;
} other;

/* A message on its way; `bytes` of one that is received, -1 of one that is sent. */
typedef struct slot {
    MPI_Request request;
    int bytes;
    bool taken;
} slot;

typedef struct mpi_state {
    MPI_Comm messages, pulses;
    uint32_t rank, ranks;
    double patience;
    other *other; /* [ranks] */
    slot *slot;   /* [slots] */
    size_t slots, next;
    double looked;           /* when silence was last looked for */
    _Atomic double listened; /* when pulses were last listened for */
    adamoe_status cause;     /* what was found then, or told */
    pthread_t thread;
    atomic_bool ends;
    pthread_mutex_t mutex; /* of the two below */
    adamoe_status own;     /* what ended this rank */
    adamoe_status theirs;  /* what the first rank that failed said */
    atomic_bool told;      /* `theirs` is an error */
    atomic_bool says;      /* `own` is new */
} mpi_state;

#define PULSE_SECONDS    1.0
#define LOOK_NANOSECONDS 100000000L
#define LOOK_SECONDS     (1e-9 * LOOK_NANOSECONDS)

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A tenth of a second, or for as long as the process was stopped meanwhile. */
static void nap(void)
{
    struct timespec left = {0, LOOK_NANOSECONDS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static adamoe_status mpi_error(const char *doing, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    (void)MPI_Error_string(code, text, &length);
    return adamoe_error(ADAMOE_ENVIRONMENT, "MPI: %s: %.300s", doing, text);
}

#define TRY_MPI(doing, call)                                                                                 \
    do {                                                                                                     \
        const int mpi_code = (call);                                                                         \
        if (mpi_code != MPI_SUCCESS) {                                                                       \
            return mpi_error(doing, mpi_code);                                                               \
        }                                                                                                    \
    } while (0)

/* ------------------------------------------------------------------------------------------------ pulses */

/* Whether a pulse of this rank can be received: a request that there is not would be done at once, as if one had come. */
static bool listens(mpi_state *s, uint32_t rank)
{
    other *o = &s->other[rank];
    if (o->receiving == MPI_REQUEST_NULL &&
        MPI_Irecv(&o->in, sizeof o->in, MPI_BYTE, (int)rank, 0, s->pulses, &o->receiving) != MPI_SUCCESS) {
        o->receiving = MPI_REQUEST_NULL;
    }
    return o->receiving != MPI_REQUEST_NULL;
}

static void take_error(mpi_state *s, pulse *p)
{
    (void)pthread_mutex_lock(&s->mutex);
    if (s->theirs.code == ADAMOE_OK) {
        p->message[sizeof p->message - 1] = '\0';
        s->theirs.code = (adamoe_code)p->code;
        (void)snprintf(s->theirs.message, sizeof s->theirs.message, "%s", p->message);
    }
    (void)pthread_mutex_unlock(&s->mutex);
    atomic_store(&s->told, true);
}

static void hear(mpi_state *s, uint32_t rank, double t)
{
    other *o = &s->other[rank];
    int done = 0;
    while (listens(s, rank) && MPI_Test(&o->receiving, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS &&
           done != 0) {
        atomic_store(&o->heard, t);
        if (o->in.code != 0) {
            take_error(s, &o->in);
        }
    }
}

/* Not to one that has not taken the last one. */
static void say(mpi_state *s, uint32_t rank, const pulse *what)
{
    other *o = &s->other[rank];
    int done = 1;
    if (MPI_Test(&o->sending, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0) {
        o->out = *what;
        if (MPI_Isend(&o->out, sizeof o->out, MPI_BYTE, (int)rank, 0, s->pulses, &o->sending) !=
            MPI_SUCCESS) {
            o->sending = MPI_REQUEST_NULL;
        }
    }
}

static pulse own_pulse(mpi_state *s)
{
    pulse p = {0};
    (void)pthread_mutex_lock(&s->mutex);
    p.code = (int32_t)s->own.code;
    memcpy(p.message, s->own.message, sizeof p.message);
    (void)pthread_mutex_unlock(&s->mutex);
    return p;
}

/* While this process was stopped (a signal, a container that was paused) it could hear nobody, and often the others were
 * stopped with it: of such a gap one period counts as their silence, the rest is this rank's own. */
static void forgive_own_gap(mpi_state *s, double t)
{
    const double gap = t - atomic_load(&s->listened);
    for (uint32_t r = 0; r < s->ranks && gap > PULSE_SECONDS; ++r) {
        atomic_store(&s->other[r].heard, atomic_load(&s->other[r].heard) + gap - LOOK_SECONDS);
    }
}

static void *keep_pulse(void *context)
{
    mpi_state *s = context;
    double said = 0.0;
    while (!atomic_load(&s->ends)) {
        const bool urgent = atomic_exchange(&s->says, false);
        const double t = now();
        const bool due = urgent || t - said >= PULSE_SECONDS;
        const pulse p = own_pulse(s);
        forgive_own_gap(s, t);
        for (uint32_t r = 0; r < s->ranks; ++r) {
            if (r != s->rank) {
                hear(s, r, t);
                if (due) {
                    say(s, r, &p);
                }
            }
        }
        atomic_store(&s->listened, t);
        said = due ? t : said;
        nap();
    }
    return NULL;
}

static void fail(void *state, const adamoe_status *status)
{
    mpi_state *s = state;
    (void)pthread_mutex_lock(&s->mutex);
    s->own = *status;
    (void)pthread_mutex_unlock(&s->mutex);
    atomic_store(&s->says, true);
}

/* By when this rank last listened, not by now: the thread that computes may wake before the one that listens. */
static bool is_silent_to(const mpi_state *s, uint32_t rank)
{
    return rank != s->rank && atomic_load(&s->listened) - atomic_load(&s->other[rank].heard) > s->patience;
}

/* What another rank said, or that one says nothing. */
static adamoe_status look_at_others(mpi_state *s)
{
    if (atomic_load(&s->told)) {
        (void)pthread_mutex_lock(&s->mutex);
        s->cause = s->theirs;
        (void)pthread_mutex_unlock(&s->mutex);
        return s->cause;
    }
    const double t = now();
    if (t - s->looked < 0.05) {
        return adamoe_ok();
    }
    s->looked = t;
    for (uint32_t r = 0; r < s->ranks; ++r) {
        if (is_silent_to(s, r)) {
            s->cause = adamoe_error(
                ADAMOE_ENVIRONMENT,
                "rank %u of %u has said nothing for %.1f s: it has ended, is stopped or cannot be "
                "reached",
                r, s->ranks, s->patience);
            return s->cause;
        }
    }
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- messages */

static adamoe_status take_slot(mpi_state *s, adamoe_message *out, uint32_t peer, int bytes)
{
    for (size_t i = 0; i < s->slots; ++i) {
        const size_t at = (s->next + i) % s->slots;
        if (!s->slot[at].taken) {
            s->slot[at] = (slot){.request = MPI_REQUEST_NULL, .bytes = bytes, .taken = true};
            s->next = at + 1;
            *out = (adamoe_message){.id = at, .peer = peer};
            return adamoe_ok();
        }
    }
    const size_t slots = 2 * s->slots + 16;
    slot *more = realloc(s->slot, slots * sizeof *more);
    if (more == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "MPI: out of memory for %zu messages", slots);
    }
    memset(more + s->slots, 0, (slots - s->slots) * sizeof *more);
    s->next = s->slots;
    s->slot = more;
    s->slots = slots;
    return take_slot(s, out, peer, bytes);
}

static adamoe_status send(void *state, uint32_t to, uint32_t tag, const void *data, size_t bytes,
                          adamoe_message *out)
{
    mpi_state *s = state;
    ADAMOE_TRY(take_slot(s, out, to, -1));
    TRY_MPI("send",
            MPI_Isend(data, (int)bytes, MPI_BYTE, (int)to, (int)tag, s->messages, &s->slot[out->id].request));
    return adamoe_ok();
}

static adamoe_status receive(void *state, uint32_t from, uint32_t tag, void *data, size_t bytes,
                             adamoe_message *out)
{
    mpi_state *s = state;
    ADAMOE_TRY(take_slot(s, out, from, (int)bytes));
    TRY_MPI("receive", MPI_Irecv(data, (int)bytes, MPI_BYTE, (int)from, (int)tag, s->messages,
                                 &s->slot[out->id].request));
    return adamoe_ok();
}

/* Of a message that is longer than its place MPI says that it was cut, and not by whom. */
static adamoe_status test_error(const slot *at, uint32_t peer, int code)
{
    int class = code;
    (void)MPI_Error_class(code, &class);
    return class == MPI_ERR_TRUNCATE
               ? adamoe_error(ADAMOE_ENVIRONMENT, "rank %u sent more than the %d bytes that were expected",
                              peer, at->bytes)
               : mpi_error("test", code);
}

static adamoe_status test(void *state, adamoe_message *message)
{
    mpi_state *s = state;
    slot *at = &s->slot[message->id];
    MPI_Status how;
    int done = 0, bytes = 0;
    const int code = MPI_Test(&at->request, &done, &how);
    if (code != MPI_SUCCESS) {
        return test_error(at, message->peer, code);
    }
    if (done == 0) {
        return look_at_others(s);
    }
    message->done = true;
    at->taken = false;
    if (at->bytes < 0) {
        return adamoe_ok();
    }
    TRY_MPI("receive", MPI_Get_count(&how, MPI_BYTE, &bytes));
    return bytes == at->bytes ? adamoe_ok()
                              : adamoe_error(ADAMOE_ENVIRONMENT, "rank %u sent %d bytes, expected %d",
                                             message->peer, bytes, at->bytes);
}

/* ------------------------------------------------------------------------------------ beginning and ending */

static void free_state(mpi_state *s)
{
    free(s->other);
    free(s->slot);
    free(s);
}

static adamoe_status start_pulses(mpi_state *s)
{
    const double t = now();
    atomic_store(&s->listened, t);
    for (uint32_t r = 0; r < s->ranks; ++r) {
        s->other[r].receiving = s->other[r].sending = MPI_REQUEST_NULL;
        atomic_store(&s->other[r].heard, t);
    }
    return pthread_create(&s->thread, NULL, keep_pulse, s) == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "MPI: no thread can be started");
}

static adamoe_status start(mpi_state *s)
{
    int threads = MPI_THREAD_SINGLE, rank = 0, ranks = 1;
    TRY_MPI("start", MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &threads));
    if (threads < MPI_THREAD_MULTIPLE) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "MPI: this library does not serve several threads at once");
    }
    TRY_MPI("start", MPI_Comm_dup(MPI_COMM_WORLD, &s->messages));
    TRY_MPI("start", MPI_Comm_dup(MPI_COMM_WORLD, &s->pulses));
    TRY_MPI("start", MPI_Comm_set_errhandler(s->messages, MPI_ERRORS_RETURN));
    TRY_MPI("start", MPI_Comm_set_errhandler(s->pulses, MPI_ERRORS_RETURN));
    TRY_MPI("start", MPI_Comm_rank(s->messages, &rank));
    TRY_MPI("start", MPI_Comm_size(s->messages, &ranks));
    s->rank = (uint32_t)rank;
    s->ranks = (uint32_t)ranks;
    s->other = calloc(s->ranks, sizeof *s->other);
    return s->other == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "MPI: out of memory") : start_pulses(s);
}

static adamoe_status open(double patience, adamoe_world *out)
{
    mpi_state *s = calloc(1, sizeof *s);
    if (s == NULL || pthread_mutex_init(&s->mutex, NULL) != 0) {
        free(s);
        return adamoe_error(ADAMOE_ENVIRONMENT, "MPI: out of memory");
    }
    s->patience = patience;
    const adamoe_status status = start(s);
    if (status.code != ADAMOE_OK) {
        free_state(s);
        return status;
    }
    *out = (adamoe_world){.state = s,
                          .rank = s->rank,
                          .ranks = s->ranks,
                          .send = send,
                          .receive = receive,
                          .test = test,
                          .tell = fail};
    return status;
}

/* MPI ends with all ranks together, and waits for one that is gone for ever. Counts naps, in which it was stopped too, not
 * seconds. */
static void *end_anyway(void *context)
{
    const mpi_state *s = context;
    const double naps = s->patience / LOOK_SECONDS;
    for (double n = 0.0; n < naps; ++n) {
        nap();
    }
    fprintf(stderr, "adamoe: rank %u: MPI has not ended within %.0f s: another rank is gone\n", s->rank,
            s->patience);
    _Exit((int)ADAMOE_ENVIRONMENT);
}

static void close(adamoe_world *world)
{
    mpi_state *s = world->state;
    pthread_t watch;
    if (pthread_create(&watch, NULL, end_anyway, s) == 0) {
        (void)pthread_detach(watch);
    }
    atomic_store(&s->ends, true);
    (void)pthread_join(s->thread, NULL);
    (void)MPI_Barrier(s->messages); /* nobody sends a pulse from here on */
    for (uint32_t r = 0; r < s->ranks; ++r) {
        other *o = &s->other[r];
        if (o->sending != MPI_REQUEST_NULL) {
            (void)MPI_Wait(&o->sending, MPI_STATUS_IGNORE);
        }
        if (o->receiving != MPI_REQUEST_NULL) {
            (void)MPI_Cancel(&o->receiving);
            (void)MPI_Wait(&o->receiving, MPI_STATUS_IGNORE);
        }
    }
    (void)MPI_Comm_free(&s->pulses);
    (void)MPI_Comm_free(&s->messages);
    (void)MPI_Finalize();
    /* The state stays for the one who watches, until the process ends. */
}

static adamoe_status cause(const adamoe_world *world)
{
    const mpi_state *s = world->state;
    return s->cause;
}

static bool is_silent(const adamoe_world *world, uint32_t rank)
{
    return is_silent_to(world->state, rank);
}

static void abort_all(adamoe_world *world, int code)
{
    const mpi_state *s = world->state;
    (void)MPI_Abort(s->messages, code);
    _Exit(code);
}

static void describe(char *text, size_t size)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    (void)MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = '\0';
    (void)snprintf(text, size, "%s", version);
}

const adamoe_mpi_module adamoe_mpi_module_export = {
    .version = ADAMOE_MPI_MODULE,
    .open = open,
    .close = close,
    .cause = cause,
    .is_silent = is_silent,
    .abort = abort_all,
    .describe = describe,
};
