/*
 * Whether there is enough of everything, by taking it. Left out: memory that the system promises and does not
 * have. Who then touches it is killed, which is no verdict either.
 */
#include "check/shortage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* More than the largest case of --exhaustive takes, oneDNN and the stacks and heaps of a team included; and more
 * than any case has touched. */
#define ADDRESSES ((size_t)2 << 30)
#define MEMORY    ((size_t)512 << 20)

/* Regions of one protection each. A guarded array has three, and a case some hundred arrays. */
#define REGIONS 4096

#define DESCRIPTORS 32
#define STACK       ((size_t)1 << 20)

/* Of all jobs together; above, the machine is large enough. */
#define MOST_THREADS 1024

static adamoe_status lacks(const char *what, int error, const char *help)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s (%s); %s", what, strerror(error), help);
}

static adamoe_status try_mapping(size_t bytes, int protection, const char *what)
{
    void *pages = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        return lacks(what, errno, "a larger `ulimit -v' helps, or vm.overcommit_memory 0");
    }
    (void)munmap(pages, bytes);
    return adamoe_ok();
}

static adamoe_status try_regions(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = 2 * REGIONS * page;
    char *pages = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool all = pages != MAP_FAILED;
    for (size_t i = 0; i < REGIONS && all; ++i) {
        all = mprotect(pages + 2 * i * page, page, PROT_READ) == 0;
    }
    const int error = errno;
    if (pages != MAP_FAILED) {
        (void)munmap(pages, bytes);
    }
    return all ? adamoe_ok()
               : lacks("no 4,096 regions of memory", error, "a larger sysctl vm.max_map_count helps");
}

static void *wait_for_end(void *barrier)
{
    (void)pthread_mutex_lock(barrier);
    (void)pthread_mutex_unlock(barrier);
    return NULL;
}

/* All at once, on small stacks. */
static adamoe_status try_threads(size_t count)
{
    pthread_t *thread = calloc(count, sizeof *thread);
    pthread_attr_t small;
    pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;
    size_t started = 0;
    int error = thread == NULL ? ENOMEM : pthread_attr_init(&small);
    if (error != 0) {
        free(thread);
        return lacks("no memory", error, "more memory helps");
    }
    (void)pthread_attr_setstacksize(&small, (size_t)64 << 10);
    (void)pthread_mutex_lock(&end);
    while (started < count && error == 0) {
        error = pthread_create(&thread[started], &small, wait_for_end, &end);
        started += error == 0;
    }
    (void)pthread_mutex_unlock(&end);
    for (size_t i = 0; i < started; ++i) {
        (void)pthread_join(thread[i], NULL);
    }
    (void)pthread_attr_destroy(&small);
    free(thread);
    char what[80];
    (void)snprintf(what, sizeof what, "no %zu threads", count);
    return error == 0 ? adamoe_ok()
                      : lacks(what, error, "a larger `ulimit -u', a larger pids.max or fewer --jobs help");
}

static adamoe_status try_descriptors(void)
{
    int descriptor[DESCRIPTORS], error = 0;
    size_t opened = 0;
    while (opened < DESCRIPTORS && error == 0) {
        descriptor[opened] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        error = descriptor[opened] < 0 ? errno : 0;
        opened += error == 0;
    }
    for (size_t i = 0; i < opened; ++i) {
        (void)close(descriptor[i]);
    }
    return error == 0 ? adamoe_ok() : lacks("no 32 descriptors", error, "a larger `ulimit -n' helps");
}

static adamoe_status try_stack(void)
{
    struct rlimit stack;
    return getrlimit(RLIMIT_STACK, &stack) != 0 || stack.rlim_cur >= STACK
               ? adamoe_ok()
               : lacks("less than 1 MB of stack", ENOMEM, "a larger `ulimit -s' helps");
}

adamoe_status adamoe_check_shortage(uint32_t jobs, uint32_t threads)
{
    const size_t all = (size_t)jobs * threads;
    ADAMOE_TRY(try_mapping(ADDRESSES, PROT_NONE, "no 2 GB of addresses"));
    ADAMOE_TRY(try_mapping(MEMORY, PROT_READ | PROT_WRITE, "no 512 MB of memory"));
    ADAMOE_TRY(try_regions());
    ADAMOE_TRY(try_stack());
    ADAMOE_TRY(try_descriptors());
    return try_threads(all < MOST_THREADS ? all : MOST_THREADS);
}

void adamoe_check_describe_limits(char *text, size_t size)
{
    static const struct {
        __rlimit_resource_t resource;
        char letter;
        rlim_t unit, usual; /* a desktop has more */
    } limits[] = {
        {RLIMIT_AS, 'v', 1024, RLIM_INFINITY},
        {RLIMIT_DATA, 'd', 1024, RLIM_INFINITY},
        {RLIMIT_NPROC, 'u', 1, 4096},
        {RLIMIT_NOFILE, 'n', 1, 1024},
        {RLIMIT_STACK, 's', 1024, (rlim_t)8 << 20},
        {RLIMIT_CPU, 't', 1, RLIM_INFINITY},
    };
    text[0] = '\0';
    for (size_t i = 0; i < sizeof limits / sizeof *limits; ++i) {
        struct rlimit limit;
        const size_t used = strlen(text);
        if (getrlimit(limits[i].resource, &limit) == 0 && limit.rlim_cur < limits[i].usual) {
            (void)snprintf(text + used, size - used, "%s `ulimit -%c' is %llu", used == 0 ? "; here" : ",",
                           limits[i].letter, (unsigned long long)(limit.rlim_cur / limits[i].unit));
        }
    }
}
