/*
 * The saved state of a training run: weights, moments and the number of steps, in one file that is there
 * whole or not at all; and the description of the run, which a state must share with the run that resumes.
 */
#ifndef ADAMOE_TRAIN_STATE_H
#define ADAMOE_TRAIN_STATE_H

#include "train/data.h"
#include "train/folder.h"

/* What the bits of a run depend on, as JSON text: options, a hash of the sequences and one of the
 * weights at the start; not the number of threads. To be freed; NULL for want of memory, or where a
 * path is not UTF-8. */
char *adamoe_train_description(const adamoe_train_options *options, const adamoe_train_data *data,
                               const adamoe_train_start *start);

/* Saves value [count], the router's state and the optimiser's in FOLDER/training-state.safetensors. Errors: disk. */
adamoe_status adamoe_train_state_save(const char *folder, const char *run, size_t count, const float *value,
                                      const adamoe_model_router *router, const adamoe_adamw_state *state);

/* Reads it back. Errors (BAD_INPUT): a file that is damaged or of other sizes; a state of another run, with
 * the first thing in which it differs. What the arrays hold is then undefined. */
adamoe_status adamoe_train_state_load(const char *folder, const char *run, size_t count, float *value,
                                      adamoe_model_router *router, adamoe_adamw_state *state);

/* Removes it, and what an interrupted save has left. */
void adamoe_train_state_remove(const char *folder);
void adamoe_train_state_clean(const char *folder);

#endif
