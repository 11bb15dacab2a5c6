/*
 * A command line in one form: the parser takes `--js x', `--json x' and `--json=x' for the same.
 */
#ifndef ADAMOE_RANKS_COMMAND_LINE_H
#define ADAMOE_RANKS_COMMAND_LINE_H

#include <argp.h>
#include <stddef.h>

/* The text of a command line [count] that the parser has accepted, to be freed: options by their whole names, with `=' before
 * values, and without those that begin like one of `without` [withouts]. With argp NULL, words that nothing is known of.
 * NULL for want of memory. */
char *adamoe_command_line(const struct argp *argp, int count, char *const *argument,
                          const char *const *without, size_t withouts);

#endif
