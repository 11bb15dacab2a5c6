/*
 * Work that is done row by row, shared out by the team in runs of neighbouring rows.
 */
#ifndef ADAMOE_TRAIN_EACH_ROW_H
#define ADAMOE_TRAIN_EACH_ROW_H

#include "adamoe.h"

/* Runs compute(context, row) once for each row below `rows`; a row is computed by one thread. */
void adamoe_each_row(const adamoe_team *team, size_t rows, void (*compute)(const void *context, size_t row),
                     const void *context);

#endif
