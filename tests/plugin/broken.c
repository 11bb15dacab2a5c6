/*
 * Kernels in a shared object that break what the contract forbids, each in one way; what they compute is 0.
 * For tests of `adamoe check`, which must survive them.
 *
 * Or in what is seen before any kernel runs: with -DWRONG_ABI the object claims an interface that there is
 * not; with -DCRASH_ON_LOAD it ends whoever loads it; with -DCOUNT=0 it brings no kernels, with
 * -DGUARANTEES=0x100 a promise that there is not, with -DOPERANDS=ADAMOE_INT8 operands that its sums do not
 * fit.
 */
#include "adamoe.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#ifndef COUNT
#define COUNT (sizeof kernels / sizeof *kernels)
#endif
#ifndef GUARANTEES
#define GUARANTEES 0
#endif
#ifndef OPERANDS
#define OPERANDS ADAMOE_FLOAT32
#endif

struct adamoe_prepared {
    adamoe_host host;
    size_t hidden_size;
};

#ifdef CRASH_ON_LOAD
__attribute__((constructor)) static void crash_on_load(void)
{
    abort();
}
#endif

static bool supported(const char **why_not)
{
    (void)why_not;
    return true;
}

static adamoe_status prepare(const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    (void)placement;
    *out = host->allocate(host->context, sizeof **out, 16);
    if (*out == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "broken: out of memory");
    }
    **out = (adamoe_prepared){*host, layer->hidden_size};
    return adamoe_ok();
}

static void release(adamoe_prepared *prepared)
{
    if (prepared != NULL) {
        const adamoe_host host = prepared->host;
        host.release(host.context, prepared);
    }
}

static void leak(adamoe_prepared *prepared)
{
    (void)prepared;
}

static size_t work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)prepared;
    return rows + tokens;
}

static adamoe_status zeros(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                           const adamoe_plan *plan, float *y)
{
    (void)run;
    (void)x;
    memset(y, 0, plan->tokens * prepared->hidden_size * sizeof *y);
    return adamoe_ok();
}

static adamoe_status crash(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                           const adamoe_plan *plan, float *y)
{
    (void)raise(SIGILL); /* as an instruction that the processor does not have */
    return zeros(prepared, run, x, plan, y);
}

/* Ends its process where the file that the environment names is not there, and makes it. */
static adamoe_status crash_once(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                const adamoe_plan *plan, float *y)
{
    const char *path = getenv("ADAMOE_TEST_CRASHED");
    if (path != NULL && access(path, F_OK) != 0) {
        FILE *file = fopen(path, "w");
        if (file != NULL) {
            (void)fclose(file);
        }
        (void)raise(SIGILL);
    }
    return zeros(prepared, run, x, plan, y);
}

static adamoe_status claim_shortage(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                    const adamoe_plan *plan, float *y)
{
    (void)zeros(prepared, run, x, plan, y);
    return adamoe_error(ADAMOE_ENVIRONMENT, "broken: out of memory");
}

static adamoe_status hang(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                          const adamoe_plan *plan, float *y)
{
    volatile bool waiting = true;
    while (waiting) {
        (void)pause();
    }
    return zeros(prepared, run, x, plan, y);
}

/* At one end of the output or the other: one of the two lies at an inaccessible page. */
static adamoe_status write_past_the_end(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                        const adamoe_plan *plan, float *y)
{
    (void)zeros(prepared, run, x, plan, y);
    *(volatile float *)(y + plan->tokens * prepared->hidden_size) = 0.0f;
    return adamoe_ok();
}

static adamoe_status write_before_the_beginning(adamoe_prepared *prepared, const adamoe_run *run,
                                                const float *x, const adamoe_plan *plan, float *y)
{
    (void)zeros(prepared, run, x, plan, y);
    *(volatile float *)(y - 1) = 0.0f;
    return adamoe_ok();
}

static volatile float seen;

static adamoe_status read_past_the_end(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                       const adamoe_plan *plan, float *y)
{
    seen = *(const volatile float *)(x + plan->inputs * prepared->hidden_size);
    return zeros(prepared, run, x, plan, y);
}

static adamoe_status write_past_the_workspace(adamoe_prepared *prepared, const adamoe_run *run,
                                              const float *x, const adamoe_plan *plan, float *y)
{
    ((volatile char *)run->work)[run->work_bytes] = 0;
    return zeros(prepared, run, x, plan, y);
}

static adamoe_status write_to_the_input(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                        const adamoe_plan *plan, float *y)
{
    *(volatile float *)(uintptr_t)x = 0.0f;
    return zeros(prepared, run, x, plan, y);
}

static void flush_denormals(void *context, size_t i, uint32_t thread)
{
    (void)context;
    (void)i;
    (void)thread;
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040u);
#endif
}

static adamoe_status change_the_modes(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                      const adamoe_plan *plan, float *y)
{
    run->team->run(run->team->state, 1, flush_denormals, NULL);
    return zeros(prepared, run, x, plan, y);
}

static adamoe_status refuse(const adamoe_host *host, const adamoe_layer *layer,
                            const adamoe_placement *placement, adamoe_prepared **out)
{
    (void)host;
    (void)layer;
    (void)placement;
    *out = NULL;
    return adamoe_error(ADAMOE_NOT_SUPPORTED, "broken: no layer suits it");
}

#define KERNEL(NAME, EXPERTS, RELEASE)                                                                       \
    static const adamoe_kernel EXPERTS##_kernel = {                                                          \
        .abi = ADAMOE_ABI,                                                                                   \
        .struct_size = sizeof(adamoe_kernel),                                                                \
        .guarantees = GUARANTEES,                                                                            \
        .name = NAME,                                                                                        \
        .summary = "breaks the contract on purpose",                                                         \
        .x = OPERANDS,                                                                                       \
        .h = OPERANDS,                                                                                       \
        .weight = OPERANDS,                                                                                  \
        .accumulate = ADAMOE_FLOAT32,                                                                        \
        .silu_error = 4.0f,                                                                                  \
        .tiles = {.depth = 100000},                                                                          \
        .supported = supported,                                                                              \
        .prepare = prepare,                                                                                  \
        .release = RELEASE,                                                                                  \
        .work_bytes = work_bytes,                                                                            \
        .experts = EXPERTS,                                                                                  \
    }

KERNEL("crashing", crash, release);
KERNEL("crashing-once", crash_once, release);
KERNEL("claiming-shortage", claim_shortage, release);
KERNEL("hanging", hang, release);
KERNEL("writing-behind", write_past_the_end, release);
KERNEL("writing-before", write_before_the_beginning, release);
KERNEL("reading-behind", read_past_the_end, release);
KERNEL("writing-behind-work", write_past_the_workspace, release);
KERNEL("writing-to-input", write_to_the_input, release);
KERNEL("changing-modes", change_the_modes, release);
KERNEL("leaking", zeros, leak);

/* In silence: it says that it runs here. */
static const adamoe_kernel refusing_kernel = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_kernel),
    .name = "refusing",
    .summary = "refuses every layer",
    .silu_error = 4.0f,
    .supported = supported,
    .prepare = refuse,
    .release = release,
    .work_bytes = work_bytes,
    .experts = zeros,
};

static const adamoe_kernel *const kernels[] = {
    &refusing_kernel,
    &crash_kernel,
    &crash_once_kernel,
    &claim_shortage_kernel,
    &hang_kernel,
    &write_past_the_end_kernel,
    &write_before_the_beginning_kernel,
    &read_past_the_end_kernel,
    &write_past_the_workspace_kernel,
    &write_to_the_input_kernel,
    &change_the_modes_kernel,
    &zeros_kernel,
};

ADAMOE_EXPORT const adamoe_plugin adamoe_plugin_export = {
#ifdef WRONG_ABI
    .abi = ADAMOE_ABI + 1,
#else
    .abi = ADAMOE_ABI,
#endif
    .struct_size = sizeof(adamoe_plugin),
    .count = COUNT,
    .kernel = kernels,
};
