/*
 * The tiles of each instruction set for the products of gemm.h, which use those of one panel.
 */
#ifndef ADAMOE_TRAIN_GEMM_TILES_H
#define ADAMOE_TRAIN_GEMM_TILES_H

#include "packed/tile.h"

/* The portable tiles first; NULL from the end of the list on. `runs_here` is told whether this machine can run
 * them. */
const packed_products *adamoe_gemm_tiles_at(size_t index, bool *runs_here);

/* The widest that this machine can run. */
const packed_products *adamoe_gemm_tiles_best(void);

#endif
