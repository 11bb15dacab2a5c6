/*
 * The processor's modes before and after a call.
 */
#include "check/call/state.h"
#include "check/call/perturbed.h"
#include "check/call/process.h"

#include <string.h>

#if defined(__x86_64__)
#include "amx/software_tiles.h"

#include <cpuid.h>

/* Rounding, flush to zero, the exception masks and denormals are zero; not the exception flags. */
#define SSE_CONTROL_BITS 0xffc0u

/* xgetbv with ecx = 1 tells which parts of the vector state are in use; not every processor has it. */
static bool has_state_in_use(void)
{
    static atomic_int known; /* 0: not asked yet, 1: no, 2: yes */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        unsigned a = 0, b = 0, c = 0, d = 0;
        const bool system_saves = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) != 0;
        answer = system_saves && __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a & 4u) != 0 ? 2 : 1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
}

/* Bits 2 and 6 are the upper halves of ymm and of the first 16 zmm, which vzeroupper clears; bits 17 and 18 the
 * configuration and the data of the tiles of AMX, which tilerelease clears. Tiles in software, where a build emulates
 * them, are asked for their own. */
#define UPPER_VECTOR_BITS (1u << 2 | 1u << 6)
#define TILE_BITS         (1u << 17 | 1u << 18)

static unsigned state_in_use(void)
{
    if (!has_state_in_use()) {
        return 0;
    }
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low;
}

/* What fnstenv stores in 64-bit mode. */
typedef struct x87_environment {
    uint16_t control, unused_1, status, unused_2, tags, unused_3;
    uint32_t pointers[4];
} x87_environment;

/* Every register of the x87 is empty. MMX marks them as full; the next long double then becomes a NaN. */
#define X87_EMPTY 0xffffu

adamoe_control_state adamoe_control_state_read(void)
{
    uint32_t sse;
    x87_environment x87;
    uint64_t flags;
    __asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
    __asm__ volatile("cld" : : : "cc");
    __asm__ volatile("stmxcsr %0" : "=m"(sse));
    __asm__ volatile("fnstenv %0" : "=m"(x87)); /* masks all exceptions: hence fldenv */
    __asm__ volatile("fldenv %0" : : "m"(x87));
    const unsigned in_use = state_in_use();
    return (adamoe_control_state){.sse_control = sse & SSE_CONTROL_BITS,
                                  .x87_control = x87.control,
                                  .x87_registers = x87.tags != X87_EMPTY,
                                  .upper_vectors = (in_use & UPPER_VECTOR_BITS) != 0,
                                  .tiles = (in_use & TILE_BITS) != 0 || adamoe_software_tiles_in_use(),
                                  .backwards = (flags & 1u << 10) != 0};
}

unsigned adamoe_control_state_restore(const adamoe_control_state *before)
{
    const adamoe_control_state now = adamoe_control_state_read(); /* clears the direction flag */
    unsigned changed = 0;
    if (now.sse_control != before->sse_control) {
        const uint32_t sse = before->sse_control;
        __asm__ volatile("ldmxcsr %0" : : "m"(sse));
        changed |= ADAMOE_STATE_SSE_CONTROL;
    }
    if (now.x87_control != before->x87_control) {
        const uint16_t x87 = (uint16_t)before->x87_control;
        __asm__ volatile("fldcw %0" : : "m"(x87));
        changed |= ADAMOE_STATE_X87_CONTROL;
    }
    if (now.upper_vectors && !before->upper_vectors) {
        __asm__ volatile("vzeroupper");
        changed |= ADAMOE_STATE_UPPER_VECTORS;
    }
    if (now.x87_registers && !before->x87_registers) {
        __asm__ volatile("emms");
        changed |= ADAMOE_STATE_X87_REGISTERS;
    }
    if (now.tiles && !before->tiles) {
        if (adamoe_software_tiles_in_use()) {
            adamoe_tile_release();
        } else {
            __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0"); /* tilerelease */
        }
        changed |= ADAMOE_STATE_TILES;
    }
    return changed | (now.backwards && !before->backwards ? ADAMOE_STATE_DIRECTION_FLAG : 0u);
}

#else

adamoe_control_state adamoe_control_state_read(void)
{
    return (adamoe_control_state){0};
}

unsigned adamoe_control_state_restore(const adamoe_control_state *before)
{
    (void)before;
    return 0;
}

#endif

void adamoe_control_state_describe(unsigned changed, char *text, size_t size)
{
    static const char *const names[] = {
        "MXCSR (rounding, denormals or masks)",          "the x87 control word",
        "the upper halves of vector registers",          "the direction flag",
        "registers of the x87 in use (emms is missing)", "tiles of AMX in use"};
    text[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        if ((changed >> i & 1u) != 0) {
            const size_t used = strlen(text);
            (void)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ", names[i]);
        }
    }
    adamoe_process_settings_describe(changed, text, size);
}

/* One run of a watched team. */
typedef struct watched_run {
    adamoe_watched_team *watched;
    void (*task)(void *context, size_t i, uint32_t thread);
    void *context;
} watched_run;

static void watched_task(void *context, size_t i, uint32_t thread)
{
    const watched_run *run = context;
    adamoe_thread_settings settings;
    adamoe_thread_settings_read(&settings);
    const adamoe_control_state before = adamoe_control_state_read();
    run->task(run->context, i, thread);
    const unsigned changed =
        adamoe_control_state_restore(&before) | adamoe_thread_settings_restore(&settings);
    if (changed != 0) {
        atomic_fetch_or(&run->watched->changed, changed);
    }
}

static void run_watched(void *state, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                        void *context)
{
    adamoe_watched_team *watched = state;
    watched_run run = {watched, task, context};
    if (watched->order == ADAMOE_TASKS_BY_TEAM) {
        watched->inner->run(watched->inner->state, tasks, watched_task, &run);
        return;
    }
    if (watched->order == ADAMOE_TASKS_PERTURBED) {
        adamoe_run_perturbed(watched->inner, watched->seed, watched->runs++, tasks, watched_task, &run);
        return;
    }
    for (size_t i = tasks; i-- > 0;) {
        watched_task(&run, i, (uint32_t)(i % watched->team.threads));
    }
}

static void watch(const adamoe_team *inner, uint32_t threads, adamoe_task_order order,
                  adamoe_watched_team *out)
{
    out->team = (adamoe_team){.state = out, .threads = threads, .run = run_watched};
    out->inner = inner;
    out->order = order;
    out->seed = out->runs = 0;
    atomic_init(&out->changed, 0);
}

void adamoe_watch_team(const adamoe_team *inner, adamoe_watched_team *out)
{
    watch(inner, inner->threads, ADAMOE_TASKS_BY_TEAM, out);
}

void adamoe_watch_perturbed(const adamoe_team *inner, uint64_t seed, adamoe_watched_team *out)
{
    watch(inner, inner->threads, ADAMOE_TASKS_PERTURBED, out);
    out->seed = seed;
}

void adamoe_watch_backwards(uint32_t threads, adamoe_watched_team *out)
{
    watch(NULL, threads, ADAMOE_TASKS_BACKWARDS, out);
}
