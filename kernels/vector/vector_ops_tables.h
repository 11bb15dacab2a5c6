/*
 * The tables of vector functions by name; everything else asks vector_ops.h for one.
 */
#ifndef ADAMOE_VECTOR_VECTOR_OPS_TABLES_H
#define ADAMOE_VECTOR_VECTOR_OPS_TABLES_H

#include "vector/vector_ops.h"

extern const adamoe_vector_ops adamoe_vector_ops_portable;
extern const adamoe_vector_ops adamoe_vector_ops_avx2;   /* needs AVX2 and FMA */
extern const adamoe_vector_ops adamoe_vector_ops_avx512; /* needs AVX-512 F */

#endif
