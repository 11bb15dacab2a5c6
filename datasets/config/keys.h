/*
 * Which keys config.json may have. Every key is either read, known to change nothing that is computed, or refused:
 * a key that nobody has thought of might ask for something that is not implemented.
 */
#ifndef ADAMOE_CONFIG_KEYS_H
#define ADAMOE_CONFIG_KEYS_H

#include "config/reader.h"

/* Keys that begin with an underscore are notes of the library that wrote the file; null means that a key does not
 * apply. Errors: a key that is not known, or not a key of the reader's family; one that is allowed with a value that
 * changes nothing alone, and has another. */
adamoe_status adamoe_config_check_keys(const adamoe_config_reader *reader);

#endif
