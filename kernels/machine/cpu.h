/*
 * What the machine is: instruction sets that can be used, caches, NUMA nodes.
 */
#ifndef ADAMOE_MACHINE_CPU_H
#define ADAMOE_MACHINE_CPU_H

#include <stdbool.h>
#include <stddef.h>

typedef struct adamoe_cpu_cache {
    int level;
    char type[16]; /* "Data", "Instruction", "Unified" */
    size_t bytes;
} adamoe_cpu_cache;

typedef struct adamoe_cpu {
    char model[128];
    const char *feature[32]; /* [features] the instruction sets that kernels ask for, by their usual names */
    bool avx512_emulated;    /* as adamoe_cpu_emulates_avx512 says; `model` says it too */
    size_t features;
    adamoe_cpu_cache cache[8]; /* [caches] those of processor 0 */
    size_t caches;
    size_t numa_nodes; /* at least 1 */
} adamoe_cpu;

/* What cannot be found out is left empty. */
void adamoe_cpu_describe(adamoe_cpu *out);

/* True where processor and operating system both support it; `feature` as in adamoe_cpu.feature. */
bool adamoe_cpu_has(const char *feature);

/* Why this process cannot use the tiles of AMX, as "needs AMX"; NULL where it can. The first call asks the system for
 * them, which it grants to a process once for all threads that begin later: so it comes before any team. */
const char *adamoe_cpu_tiles_obstacle(void);

/* True in a build that emulates AVX-512 and AMX in software (ADAMOE_EMULATE_AVX512 of CMake), where the processor can
 * run the emulation. What such a build's AVX-512 kernels need counts as present, and no time of theirs says
 * anything about a processor. oneDNN brings its own code, which is not emulated. */
bool adamoe_cpu_emulates_avx512(void);

#endif
