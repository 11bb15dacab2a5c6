/*
 * Training's vector functions for AVX-512 F.
 */
#include "avx512/lanes.h"
#include "train/train_ops_lanes.h"

const adamoe_train_ops adamoe_train_ops_avx512 = TRAIN_OPS_TABLE;
