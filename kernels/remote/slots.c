/*
 * Places for kernels in processes of their own: see slots.h.
 */
#include "remote/slots.h"

#include <pthread.h>

static adamoe_slot slots[ADAMOE_REMOTE_SLOTS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* A kernel is used by those alone who were given it after its place was filled: they need no lock. */
#define FUNCTIONS(n)                                                                                         \
    static bool supported_##n(const char **why_not)                                                          \
    {                                                                                                        \
        return slots[n].supported(slots[n].context, why_not);                                                \
    }                                                                                                        \
    static adamoe_status prepare_##n(const adamoe_host *host, const adamoe_layer *layer,                     \
                                     const adamoe_placement *placement, adamoe_prepared **out)               \
    {                                                                                                        \
        return slots[n].prepare(slots[n].context, host, layer, placement, out);                              \
    }

#define EACH(f)                                                                                              \
    f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15) f(16) f(17) f(18)  \
        f(19) f(20) f(21) f(22) f(23) f(24) f(25) f(26) f(27) f(28) f(29) f(30) f(31)

EACH(FUNCTIONS)

#define PAIR(n) {supported_##n, prepare_##n},

static const struct {
    bool (*supported)(const char **why_not);
    adamoe_status (*prepare)(const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out);
} functions[] = {EACH(PAIR)};

_Static_assert(sizeof functions / sizeof *functions == ADAMOE_REMOTE_SLOTS, "functions for every place");

bool adamoe_slot_take(adamoe_slot slot, adamoe_kernel *kernel)
{
    size_t i = 0;
    (void)pthread_mutex_lock(&mutex);
    while (i < ADAMOE_REMOTE_SLOTS && slots[i].context != NULL) {
        ++i;
    }
    const bool found = i < ADAMOE_REMOTE_SLOTS;
    if (found) {
        slots[i] = slot;
        kernel->supported = functions[i].supported;
        kernel->prepare = functions[i].prepare;
    }
    (void)pthread_mutex_unlock(&mutex);
    return found;
}

/* ADAMOE_REMOTE_SLOTS where it has none. */
static size_t slot_of(const adamoe_kernel *kernel)
{
    size_t i = 0;
    while (i < ADAMOE_REMOTE_SLOTS && functions[i].prepare != kernel->prepare) {
        ++i;
    }
    return i;
}

void adamoe_slot_give_back(const adamoe_kernel *kernel)
{
    const size_t i = slot_of(kernel);
    (void)pthread_mutex_lock(&mutex);
    if (i < ADAMOE_REMOTE_SLOTS) {
        slots[i] = (adamoe_slot){0};
    }
    (void)pthread_mutex_unlock(&mutex);
}

void *adamoe_slot_context(const adamoe_kernel *kernel,
                          adamoe_status (*prepare)(void *context, const adamoe_host *host,
                                                   const adamoe_layer *layer,
                                                   const adamoe_placement *placement, adamoe_prepared **out))
{
    const size_t i = slot_of(kernel);
    return i < ADAMOE_REMOTE_SLOTS && slots[i].prepare == prepare ? slots[i].context : NULL;
}
