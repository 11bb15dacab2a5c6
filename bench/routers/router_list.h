/*
 * Names of routers on a command line.
 */
#ifndef ADAMOE_ROUTERS_ROUTER_LIST_H
#define ADAMOE_ROUTERS_ROUTER_LIST_H

#include "routers/routers.h"

#include <argp.h>

/* Takes "adamoe,top_p" of an option into list[0 .. most - 1], and returns how many they are: at least 1. A name that
 * there is not, one that is given twice, and too many end the program by argp_error. */
size_t adamoe_parse_routers(struct argp_state *state, const char *option, const char *text,
                            const adamoe_router **list, size_t most);

#endif
