/*
 * A placement that a prepared object keeps: the array of the caller is gone when prepare has returned.
 */
#ifndef ADAMOE_MACHINE_KEEP_PLACEMENT_H
#define ADAMOE_MACHINE_KEEP_PLACEMENT_H

#include "adamoe.h"

/* A copy with an array of its own, from the host. Errors: memory; *out is not written then. */
adamoe_status adamoe_keep_placement(const adamoe_host *host, const adamoe_placement *placement,
                                    adamoe_placement *out);
/* Gives the array back; accepts a placement of zeros. */
void adamoe_free_kept_placement(const adamoe_host *host, adamoe_placement *placement);

#endif
