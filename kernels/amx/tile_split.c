/*
 * float32 inputs by bfloat16 weights on the tiles of AMX: three products of a term.
 */
#define WEIGHT_PARTS 1
#include "amx/tile_split.h"

const packed_products adamoe_products_split_amx = {SPLIT_TABLE};
