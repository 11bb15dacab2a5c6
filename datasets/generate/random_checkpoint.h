/*
 * A small AdaMoE checkpoint with random weights.
 */
#ifndef ADAMOE_GENERATE_RANDOM_CHECKPOINT_H
#define ADAMOE_GENERATE_RANDOM_CHECKPOINT_H

#include "adamoe.h"

/* Writes config.json and model.safetensors (BF16) into a folder that exists. The sizes are those of the
 * checkpoint that ships, random_checkpoint.c lists them; the same seed gives the same bytes. */
adamoe_status adamoe_random_checkpoint_write(const char *folder, uint64_t seed, size_t vocab_size);

#endif
