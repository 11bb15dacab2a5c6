/*
 * A placement that a prepared object keeps: callers need not keep the array of theirs.
 */
#ifndef ADAMOE_PACKED_KEEP_PLACEMENT_H
#define ADAMOE_PACKED_KEEP_PLACEMENT_H

#include "adamoe.h"

/* Errors: memory; *out is not written then. */
adamoe_status adamoe_packed_placement_copy(const adamoe_host *host, const adamoe_placement *placement,
                                           adamoe_placement *out);
void adamoe_packed_placement_free(const adamoe_host *host, adamoe_placement *placement);

#endif
