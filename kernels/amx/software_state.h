/*
 * What the two halves of the tiles in software share.
 */
#ifndef ADAMOE_AMX_SOFTWARE_STATE_H
#define ADAMOE_AMX_SOFTWARE_STATE_H

#include "amx/software_tiles.h"

/* The tiles of the calling thread for a product, or #UD: the shapes must fit, and the tiles be three. Their rows are
 * start_row = 0 afterwards. */
adamoe_software_tiles *adamoe_software_product(const char *instruction, unsigned sum, unsigned left,
                                               unsigned right);

/* Zeros what is beyond the configured rows and bytes of a row. */
void adamoe_software_zero_beyond(adamoe_software_tiles *tiles, unsigned tile);

#endif
