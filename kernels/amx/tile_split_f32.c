/*
 * float32 inputs by float32 weights on the tiles of AMX: six products of a term.
 */
#define WEIGHT_PARTS 3
#include "amx/tile_split.h"

const packed_products adamoe_products_split_f32_amx = {SPLIT_TABLE};
