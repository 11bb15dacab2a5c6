/*
 * Wrong kernels that compute what they should and leave the process otherwise than they found it. Each does so in
 * every call: a program that calls them a million times runs out of something, or finds its own settings changed.
 * The contract: a call starts no threads and takes no memory that grows; what else belongs to the process is the
 * caller's.
 *
 * Left out: settings of the processor that `adamoe check` compares already (memory.c).
 */
#include "honest/honest.h"

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------ what runs out one day */

static void *wait_for_ever(void *nothing)
{
    for (;;) {
        (void)pause();
    }
    return nothing;
}

/* PTHREAD_STACK_MIN would not hold what the program's libraries keep for each thread, METIS 28 KB of it. */
#define SMALL_STACK ((size_t)256 << 10)

static void leave_thread(kernel_call *c)
{
    pthread_attr_t attributes;
    pthread_t thread;
    honest_run(c);
    if (pthread_attr_init(&attributes) == 0) {
        (void)pthread_attr_setstacksize(&attributes, SMALL_STACK);
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void)pthread_create(&thread, &attributes, wait_for_ever, NULL);
        (void)pthread_attr_destroy(&attributes);
    }
}
WRONG_KERNEL(thread_left, "wrong-thread-left", "each call leaves a thread that waits", ADAMOE_FLOAT32,
             .run = leave_thread);

static void leave_descriptor(kernel_call *c)
{
    honest_run(c);
    (void)open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
}
WRONG_KERNEL(descriptor_left, "wrong-descriptor-left", "each call opens /proc/cpuinfo and does not close it",
             ADAMOE_FLOAT32, .run = leave_descriptor);

static void *volatile lost;

static void leave_memory(kernel_call *c)
{
    honest_run(c);
    lost = calloc(c->plan->tokens + 1, c->prepared->hidden_size * sizeof(float));
}
WRONG_KERNEL(memory_left, "wrong-memory-left", "each call leaves memory of the size of y", ADAMOE_FLOAT32,
             .run = leave_memory);

/* -------------------------------------------------------------------------------- settings of the process */

static void pin_task(void *call, size_t token, uint32_t thread)
{
    cpu_set_t all, first;
    honest_token_task(call, token, thread);
    if (sched_getaffinity(0, sizeof all, &all) == 0 && CPU_COUNT(&all) > 1) {
        CPU_ZERO(&first);
        for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &all)) {
                CPU_SET(cpu, &first);
                break;
            }
        }
        (void)sched_setaffinity(0, sizeof first, &first);
    }
}

static void leave_pinned(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    team->run(team->state, c->plan->rows, honest_row_task, c);
    team->run(team->state, c->plan->tokens, pin_task, c);
}
WRONG_KERNEL(affinity_left, "wrong-affinity-left", "the threads of the team stay pinned to one processor",
             ADAMOE_FLOAT32, .run = leave_pinned);

static void leave_signals_blocked(kernel_call *c)
{
    sigset_t blocked;
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGINT);
    (void)sigaddset(&blocked, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    honest_run(c);
}
WRONG_KERNEL(signals_blocked, "wrong-signals-blocked", "SIGINT and SIGUSR1 stay blocked", ADAMOE_FLOAT32,
             .run = leave_signals_blocked);

static void nothing_to_do(int number)
{
    (void)number;
}

/* As one that tries out instructions does. */
static void leave_handler(kernel_call *c)
{
    struct sigaction mine = {.sa_handler = nothing_to_do};
    (void)sigaction(SIGUSR2, &mine, NULL);
    honest_run(c);
}
WRONG_KERNEL(handler_left, "wrong-signal-handler-left", "a handler of SIGUSR2 is left", ADAMOE_FLOAT32,
             .run = leave_handler);

/* To read a number with a decimal point, whatever the user's language is. */
static void leave_locale(kernel_call *c)
{
    (void)setlocale(LC_ALL, "C.UTF-8");
    honest_run(c);
}
WRONG_KERNEL(locale_left, "wrong-locale-left", "the locale of the process is another", ADAMOE_FLOAT32,
             .run = leave_locale);

static void leave_folder(kernel_call *c)
{
    honest_run(c);
    if (chdir("/sys/devices/system/cpu") != 0) {
        (void)!chdir("/");
    }
}
WRONG_KERNEL(folder_left, "wrong-working-folder-left", "the working folder is another", ADAMOE_FLOAT32,
             .run = leave_folder);

static void leave_mask(kernel_call *c)
{
    honest_run(c);
    (void)umask(0077);
}
WRONG_KERNEL(umask_left, "wrong-umask-left", "files that are made later are for their owner alone",
             ADAMOE_FLOAT32, .run = leave_mask);

static void leave_environment(kernel_call *c)
{
    honest_run(c);
    (void)setenv("OMP_NUM_THREADS", "1", 1);
}
WRONG_KERNEL(environment_left, "wrong-environment-left", "OMP_NUM_THREADS is set for all libraries to come",
             ADAMOE_FLOAT32, .run = leave_environment);

static void leave_limit(kernel_call *c)
{
    struct rlimit cores;
    honest_run(c);
    if (getrlimit(RLIMIT_STACK, &cores) == 0) {
        cores.rlim_cur = 1u << 20;
        (void)setrlimit(RLIMIT_STACK, &cores);
    }
}
WRONG_KERNEL(limit_left, "wrong-limit-left", "the limit of the stack is lowered for threads to come",
             ADAMOE_FLOAT32, .run = leave_limit);

/* ------------------------------------------------------------------------------------------- the processor */

#if defined(__x86_64__)
/* An instruction of MMX marks the registers of the x87 as full, until emms. Wrong for the next long double. */
static void leave_mmx(kernel_call *c)
{
    honest_run(c);
    __asm__ volatile("pxor %%mm0, %%mm0" ::: "mm0");
}
WRONG_KERNEL(mmx_left, "wrong-mmx-left", "the registers of the x87 are left as MMX has them", ADAMOE_FLOAT32,
             .run = leave_mmx);

/* The same in a task: the threads of the team are not those that look. */
static void leave_mmx_in_task(const kernel_call *c, size_t token)
{
    honest_combine(c, token);
    __asm__ volatile("pxor %%mm0, %%mm0" ::: "mm0");
}
WRONG_KERNEL(mmx_left_in_team, "wrong-mmx-left-in-team", "the same in the threads of the team",
             ADAMOE_FLOAT32, .combine = leave_mmx_in_task);
#define ON_X86 &mmx_left, &mmx_left_in_team,
#else
#define ON_X86
#endif

EXPORT_KERNELS(ON_X86 &thread_left, &descriptor_left, &memory_left, &affinity_left, &signals_blocked,
               &handler_left, &locale_left, &folder_left, &umask_left, &environment_left, &limit_left);
