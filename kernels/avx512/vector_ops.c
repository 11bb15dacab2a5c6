/*
 * The vector functions for AVX-512 F.
 */
#include "avx512/lanes.h"
#include "vector/vector_ops_lanes.h"
#include "vector/vector_ops_tables.h"

const adamoe_vector_ops adamoe_vector_ops_avx512 = VECTOR_OPS_TABLE("avx512f");
