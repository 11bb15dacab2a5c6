/*
 * What every world can do with messages, and the world of a process alone.
 */
#include "mpi/world.h"
#include "machine/clock.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Tags of what stands here. */
enum { TAG_GATHER = ADAMOE_TAGS, TAG_BROADCAST };

static adamoe_status no_peer(void *state, uint32_t peer, uint32_t tag, const void *data, size_t bytes,
                             adamoe_message *out)
{
    (void)state;
    (void)tag;
    (void)data;
    (void)bytes;
    (void)out;
    return adamoe_error(ADAMOE_BAD_INPUT, "a message to rank %u, but this process is alone", peer);
}

static adamoe_status no_sender(void *state, uint32_t peer, uint32_t tag, void *data, size_t bytes,
                               adamoe_message *out)
{
    return no_peer(state, peer, tag, data, bytes, out);
}

static adamoe_status no_message(void *state, adamoe_message *message)
{
    (void)state;
    message->done = true;
    return adamoe_ok();
}

static void nobody_to_tell(void *state, const adamoe_status *status)
{
    (void)state;
    (void)status;
}

const adamoe_world adamoe_alone = {
    .ranks = 1, .send = no_peer, .receive = no_sender, .test = no_message, .tell = nobody_to_tell};

/* For how long it asks without a pause, then yields; and how long it sleeps after that, in seconds. More
 * ranks than processors get along so. */
#define EAGER_SECONDS     20e-6
#define YIELDING_SECONDS  1e-3
#define SLEEP_NANOSECONDS 50000

static void pause_after(double waited)
{
    if (waited > YIELDING_SECONDS) {
        (void)nanosleep(&(struct timespec){0, SLEEP_NANOSECONDS}, NULL);
    } else if (waited > EAGER_SECONDS) {
        (void)sched_yield();
    }
}

adamoe_status adamoe_world_wait(const adamoe_world *world, adamoe_message *messages, size_t count)
{
    const double start = adamoe_now();
    for (;;) {
        bool all = true;
        for (size_t i = 0; i < count; ++i) {
            if (!messages[i].done) {
                ADAMOE_TRY(world->test(world->state, &messages[i]));
                all = all && messages[i].done;
            }
        }
        if (all) {
            return adamoe_ok();
        }
        pause_after(adamoe_now() - start);
    }
}

adamoe_status adamoe_world_gather(const adamoe_world *world, const void *own, size_t bytes, void *all)
{
    adamoe_message message = {0};
    if (world->rank != 0) {
        ADAMOE_TRY(world->send(world->state, 0, TAG_GATHER, own, bytes, &message));
        return adamoe_world_wait(world, &message, 1);
    }
    if (bytes > 0) {
        memcpy(all, own, bytes);
    }
    for (uint32_t r = 1; r < world->ranks; ++r) {
        ADAMOE_TRY(world->receive(world->state, r, TAG_GATHER, (char *)all + r * bytes, bytes, &message));
        ADAMOE_TRY(adamoe_world_wait(world, &message, 1));
    }
    return adamoe_ok();
}

adamoe_status adamoe_world_broadcast(const adamoe_world *world, void *data, size_t bytes)
{
    adamoe_message message = {0};
    if (world->rank != 0) {
        ADAMOE_TRY(world->receive(world->state, 0, TAG_BROADCAST, data, bytes, &message));
        return adamoe_world_wait(world, &message, 1);
    }
    for (uint32_t r = 1; r < world->ranks; ++r) {
        ADAMOE_TRY(world->send(world->state, r, TAG_BROADCAST, data, bytes, &message));
        ADAMOE_TRY(adamoe_world_wait(world, &message, 1));
    }
    return adamoe_ok();
}

adamoe_status adamoe_world_barrier(const adamoe_world *world)
{
    char all[1] = {0}, *gathered = calloc(world->ranks, 1);
    if (gathered == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    adamoe_status status = adamoe_world_gather(world, all, sizeof all, gathered);
    free(gathered);
    return status.code != ADAMOE_OK ? status : adamoe_world_broadcast(world, all, sizeof all);
}

adamoe_status adamoe_world_agree(const adamoe_world *world, adamoe_status own)
{
    if (world->ranks == 1) {
        return own;
    }
    adamoe_status *all = calloc(world->ranks, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    adamoe_status status = adamoe_world_gather(world, &own, sizeof own, all);
    adamoe_status first = adamoe_ok();
    for (uint32_t r = 0; r < world->ranks && status.code == ADAMOE_OK && first.code == ADAMOE_OK; ++r) {
        first = r == 0 || all[r].code == ADAMOE_OK
                    ? all[r]
                    : adamoe_error(all[r].code, "rank %u: %.480s", r, all[r].message);
    }
    free(all);
    if (status.code == ADAMOE_OK) {
        status = adamoe_world_broadcast(world, &first, sizeof first);
    }
    return status.code != ADAMOE_OK ? status : first;
}
