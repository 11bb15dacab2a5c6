/*
 * The rotary embedding that config.json asks for.
 */
#ifndef ADAMOE_CONFIG_ROPE_H
#define ADAMOE_CONFIG_ROPE_H

#include "config/reader.h"

/* Sets rope_theta and rope_scaling. Old files have rope_theta at the top and rope_scaling beside it, new ones both in
 * rope_parameters; those older than both leave theta out, and mean what the library took then. Types: default, linear
 * and llama3. Errors: every other type, by name; a key that its type does not have, or lacks; the two forms where they
 * differ. */
adamoe_status adamoe_config_read_rope(const adamoe_config_reader *reader, adamoe_config *config);

#endif
