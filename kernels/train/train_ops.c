/*
 * The portable table of training's vector functions, and the choice among the tables.
 */
#include "vector/portable/lanes.h"
#include "train/train_ops_lanes.h"
#include "vector/vector_ops.h"

static const adamoe_train_ops portable_ops = TRAIN_OPS_TABLE;

#if defined(__x86_64__)
static const adamoe_train_ops *const tables[] = {&portable_ops, &adamoe_train_ops_avx2,
                                                 &adamoe_train_ops_avx512};
#else
static const adamoe_train_ops *const tables[] = {&portable_ops};
#endif

const adamoe_train_ops *adamoe_train_ops_at(size_t index, bool *runs_here)
{
    (void)adamoe_vector_ops_at(index, runs_here);
    return index < sizeof tables / sizeof *tables ? tables[index] : NULL;
}

const adamoe_train_ops *adamoe_train_ops_best(void)
{
    const adamoe_train_ops *best = &portable_ops;
    bool runs_here = false;
    for (size_t i = 0; adamoe_train_ops_at(i, &runs_here) != NULL; ++i) {
        best = runs_here ? tables[i] : best;
    }
    return best;
}
