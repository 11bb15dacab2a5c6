/*
 * Training's vector functions for AVX2 and FMA.
 */
#include "avx2/lanes.h"
#include "train/train_ops_lanes.h"

const adamoe_train_ops adamoe_train_ops_avx2 = TRAIN_OPS_TABLE;
