/*
 * A world whose ranks are threads of this process, so that what is computed over ranks can be tested where
 * there is no MPI, under the sanitizers, and with failures at chosen moments. Messages are copied into a
 * list and taken from it.
 */
#ifndef ADAMOE_TESTS_THREADS_WORLD_H
#define ADAMOE_TESTS_THREADS_WORLD_H

#include "test.h"
#include "mpi/world.h"

#include <pthread.h>

typedef struct letter {
    struct letter *next;
    uint32_t from, to, tag;
    size_t bytes;
    unsigned char data[];
} letter;

typedef struct threads_world threads_world;

/* A message that is to be received. */
typedef struct awaited {
    void *data;
    size_t bytes;
    uint32_t from, tag;
} awaited;

typedef struct thread_rank {
    threads_world *world;
    uint32_t rank;
    awaited *awaited;
    size_t count;
    uint64_t bytes_sent, bytes_received;
} thread_rank;

/* What spoils a message on its way, or NULL: `number` counts those of its sender. */
typedef void spoil_letter(letter *l, size_t number);

struct threads_world {
    uint32_t ranks;
    pthread_mutex_t mutex;
    letter *first;
    adamoe_status failed;
    spoil_letter *spoil;
    size_t sent;
    thread_rank rank[16];
};

static inline adamoe_status thread_send(void *state, uint32_t to, uint32_t tag, const void *data,
                                        size_t bytes, adamoe_message *out)
{
    thread_rank *own = state;
    threads_world *w = own->world;
    letter *l = malloc(sizeof *l + bytes);
    assert_non_null(l);
    *l = (letter){.from = own->rank, .to = to, .tag = tag, .bytes = bytes};
    memcpy(l->data, data, bytes);
    own->bytes_sent += bytes;
    pthread_mutex_lock(&w->mutex);
    if (w->spoil != NULL) {
        w->spoil(l, w->sent);
    }
    ++w->sent;
    letter **end = &w->first;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = l;
    pthread_mutex_unlock(&w->mutex);
    *out = (adamoe_message){.peer = to, .done = true};
    return adamoe_ok();
}

static inline adamoe_status thread_receive(void *state, uint32_t from, uint32_t tag, void *data, size_t bytes,
                                           adamoe_message *out)
{
    thread_rank *own = state;
    own->awaited = realloc(own->awaited, (own->count + 1) * sizeof *own->awaited);
    assert_non_null(own->awaited);
    own->awaited[own->count] = (awaited){data, bytes, from, tag};
    *out = (adamoe_message){.id = own->count++, .peer = from};
    return adamoe_ok();
}

static inline adamoe_status thread_test(void *state, adamoe_message *message)
{
    thread_rank *own = state;
    threads_world *w = own->world;
    const awaited *wanted = &own->awaited[message->id];
    adamoe_status status = adamoe_ok();
    pthread_mutex_lock(&w->mutex);
    letter **at = &w->first;
    while (*at != NULL &&
           ((*at)->to != own->rank || (*at)->from != wanted->from || (*at)->tag != wanted->tag)) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        letter *l = *at;
        *at = l->next;
        if (l->bytes != wanted->bytes) {
            status = adamoe_error(ADAMOE_ENVIRONMENT, "rank %u sent %zu bytes, expected %zu", l->from,
                                  l->bytes, wanted->bytes);
        } else {
            memcpy(wanted->data, l->data, l->bytes);
            own->bytes_received += l->bytes;
        }
        free(l);
        message->done = true;
    } else if (w->failed.code != ADAMOE_OK) {
        status = w->failed;
    }
    pthread_mutex_unlock(&w->mutex);
    return status;
}

static inline void thread_fail(void *state, const adamoe_status *status)
{
    thread_rank *own = state;
    pthread_mutex_lock(&own->world->mutex);
    own->world->failed = own->world->failed.code == ADAMOE_OK ? *status : own->world->failed;
    pthread_mutex_unlock(&own->world->mutex);
}

static inline adamoe_world threads_world_rank(threads_world *w, uint32_t rank)
{
    w->rank[rank] = (thread_rank){.world = w, .rank = rank};
    return (adamoe_world){.state = &w->rank[rank],
                          .rank = rank,
                          .ranks = w->ranks,
                          .send = thread_send,
                          .receive = thread_receive,
                          .test = thread_test,
                          .tell = thread_fail};
}

static inline void threads_world_open(threads_world *w, uint32_t ranks)
{
    *w = (threads_world){.ranks = ranks, .mutex = PTHREAD_MUTEX_INITIALIZER};
}

/* How many messages nobody took. */
static inline size_t threads_world_close(threads_world *w)
{
    size_t left = 0;
    for (uint32_t r = 0; r < w->ranks; ++r) {
        free(w->rank[r].awaited);
    }
    while (w->first != NULL) {
        letter *l = w->first;
        w->first = l->next;
        free(l);
        ++left;
    }
    return left;
}

#endif
