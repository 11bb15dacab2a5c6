/*
 * Names of routers on a command line.
 */
#include "routers/router_list.h"
#include "program/options.h"

#include <string.h>

enum { MOST_NAMES = 64 };

/* The router of a name; one that there is not is refused with the names of all. */
static const adamoe_router *find(struct argp_state *state, const char *option, const char *name)
{
    const char *names[MOST_NAMES];
    size_t known = 0;
    for (; known < MOST_NAMES && adamoe_router_at(known) != NULL; ++known) {
        names[known] = adamoe_router_at(known)->name;
    }
    return adamoe_router_at(adamoe_parse_choice(state, option, name, names, known));
}

size_t adamoe_parse_routers(struct argp_state *state, const char *option, const char *text,
                            const adamoe_router **list, size_t most)
{
    size_t count = 0;
    for (const char *at = text; *at != '\0';) {
        char name[64];
        const size_t length = strcspn(at, ",");
        (void)snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), at);
        if (count == most) {
            argp_error(state, "%s: more than %zu names", option, most);
            return count;
        }
        list[count] = find(state, option, name);
        for (size_t i = 0; i < count; ++i) {
            if (list[i] == list[count]) {
                argp_error(state, "%s: %s is given twice", option, name);
            }
        }
        ++count;
        at += length + (at[length] == ',');
    }
    if (count == 0) {
        argp_error(state, "%s: no name", option);
    }
    return count;
}
