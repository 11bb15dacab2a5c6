/*
 * The portable table of vector functions, and the choice among the tables.
 */
#include "machine/cpu.h"
#include "vector/portable/lanes.h"
#include "vector/vector_ops_lanes.h"
#include "vector/vector_ops_tables.h"

#include <math.h>

const adamoe_log_sum adamoe_log_sum_empty = {-HUGE_VALF, 0.0};

const adamoe_vector_ops adamoe_vector_ops_portable = VECTOR_OPS_TABLE("portable");

/* Asked at each call: the compiler's run-time library has asked the processor once. */
#if defined(__x86_64__)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") != 0 || adamoe_cpu_emulates_avx512();
}

const adamoe_vector_ops *adamoe_vector_ops_best(void)
{
    return has_avx512() ? &adamoe_vector_ops_avx512
           : has_avx2() ? &adamoe_vector_ops_avx2
                        : &adamoe_vector_ops_portable;
}

const adamoe_vector_ops *adamoe_vector_ops_at(size_t index, bool *runs_here)
{
    const adamoe_vector_ops *const tables[] = {&adamoe_vector_ops_portable, &adamoe_vector_ops_avx2,
                                               &adamoe_vector_ops_avx512};
    *runs_here = index == 0 || (index == 1 && has_avx2()) || (index == 2 && has_avx512());
    return index < sizeof tables / sizeof *tables ? tables[index] : NULL;
}
#else
const adamoe_vector_ops *adamoe_vector_ops_best(void)
{
    return &adamoe_vector_ops_portable;
}

const adamoe_vector_ops *adamoe_vector_ops_at(size_t index, bool *runs_here)
{
    *runs_here = index == 0;
    return index == 0 ? &adamoe_vector_ops_portable : NULL;
}
#endif
