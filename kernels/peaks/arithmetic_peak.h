/*
 * The arithmetic peak of the threads of a team: the fastest instruction path, measured, for the operands of a
 * kernel. Loops in registers, without a load.
 *
 * The operands are both sides of a product. An instruction that multiplies bfloat16 by bfloat16 is of no use
 * to a kernel that keeps its inputs in float32: it would have to round what the kernel does not; or to cut each into
 * three bfloat16s, which takes three products, or six where weights are float32 too. Those are paths of their own.
 *
 * Left out: the VNNI of processors without AVX-512. Where a kernel is faster than the paths here, its share of the roofline exceeds 1, which
 * `bench` takes for a failure. A path for x and another one for h: a kernel that
 * rounds the two differently is measured by what can multiply both.
 */
#ifndef ADAMOE_PEAKS_ARITHMETIC_PEAK_H
#define ADAMOE_PEAKS_ARITHMETIC_PEAK_H

#include "adamoe.h"

/* What products multiply: a set with a bit for each pair of an input's and a weight's arithmetic. */
typedef uint32_t adamoe_operand_pairs;

#define ADAMOE_OPERAND_PAIR(input, weight)                                                                   \
    ((adamoe_operand_pairs)1 << (5 * (unsigned)(input) + (unsigned)(weight)))

/* Of x with w1 and w3, and of h with w2. */
adamoe_operand_pairs adamoe_kernel_pairs(const adamoe_kernel *kernel);

/* "float32 inputs, bfloat16 weights", or "float32 x, bfloat16 h, bfloat16 weights". Returns text. */
const char *adamoe_operands_text(const adamoe_kernel *kernel, char *text, size_t size);

/* One way to execute multiply-adds. */
typedef struct adamoe_arithmetic_path {
    const char *name;               /* "vfmadd, AVX2" */
    double operations;              /* of one round; a multiply-add is 2 */
    const char *needs;              /* features, as adamoe_cpu_has names them, separated by blanks */
    adamoe_operand_pairs pairs;     /* that it can multiply */
    float (*rounds)(size_t rounds); /* executes them; the value depends on all of them */
} adamoe_arithmetic_path;

#define ADAMOE_ARITHMETIC_PATHS 10

/* All paths, whether they run here or not. Float32 FMA serves every pair with a float in it: what is narrower
 * is widened, which is exact. vdpbf16ps serves bfloat16 by bfloat16; vpdpbusd and the two sequences of AVX2
 * serve int8 by int8. AMX has tdpbf16ps and tdpbssd for the same two; the former in three parts serves float32 by
 * bfloat16, and bfloat16 by float32, too, and in six products of parts float32 by float32. */
extern const adamoe_arithmetic_path adamoe_arithmetic_paths[ADAMOE_ARITHMETIC_PATHS];

/* Whether the path can multiply all of `pairs`. */
bool adamoe_arithmetic_path_serves(const adamoe_arithmetic_path *path, adamoe_operand_pairs pairs);

bool adamoe_arithmetic_path_runs(const adamoe_arithmetic_path *path);

/* One burst of about `seconds` on all threads of the team: 10^9 operations per second, all threads together.
 * The path must run here. */
double adamoe_arithmetic_burst(const adamoe_team *team, const adamoe_arithmetic_path *path, double seconds);

#endif
