/*
 * The vector functions for AVX2 and FMA.
 */
#include "avx2/lanes.h"
#include "vector/vector_ops_lanes.h"
#include "vector/vector_ops_tables.h"

const adamoe_vector_ops adamoe_vector_ops_avx2 = VECTOR_OPS_TABLE("avx2");
