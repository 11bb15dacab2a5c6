/*
 * The arithmetic peak of the threads of a team: the fastest instruction path, measured, for the operands of a
 * kernel. Loops in registers, without a load.
 *
 * Left out: AMX, and the VNNI of processors without AVX-512; where a kernel is faster than the paths here,
 * its share of the roofline exceeds 1 and shows that.
 */
#ifndef ADAMOE_ARITHMETIC_PEAK_H
#define ADAMOE_ARITHMETIC_PEAK_H

#include "adamoe.h"

/* One way to execute multiply-adds. */
typedef struct adamoe_arithmetic_path {
    const char *name;               /* "vfmadd, AVX2" */
    double operations;              /* of one round; a multiply-add is 2 */
    const char *needs;              /* features, as adamoe_cpu_has names them, separated by blanks */
    uint32_t weights;               /* a bit for each adamoe_arithmetic of weights that it can serve */
    float (*rounds)(size_t rounds); /* executes them; the value depends on all of them */
} adamoe_arithmetic_path;

#define ADAMOE_ARITHMETIC_PATHS 6

/* All paths, whether they run here or not: float32 and bfloat16 weights are served by float32 FMA, bfloat16
 * ones by vdpbf16ps too, int8 ones by vpdpbusd and by the two sequences of AVX2. */
extern const adamoe_arithmetic_path adamoe_arithmetic_paths[ADAMOE_ARITHMETIC_PATHS];

bool adamoe_arithmetic_path_runs(const adamoe_arithmetic_path *path);

/* One burst of about `seconds` on all threads of the team: 10^9 operations per second, all threads together.
 * The path must run here. */
double adamoe_arithmetic_burst(const adamoe_team *team, const adamoe_arithmetic_path *path, double seconds);

#endif
