/*
 * The door to the module on METIS, which is open for one call: see partition.h.
 */
#include "mpi/partition.h"
#include "mpi/metis_module.h"
#include "mpi/module.h"

#include <string.h>

static adamoe_status open_module(adamoe_module *out, const adamoe_metis_module **metis)
{
    const void *found = NULL;
    const adamoe_status status =
        adamoe_module_open("adamoe_metis", ADAMOE_METIS_MODULE, ADAMOE_MODULE_LOCAL, out, &found);
    if (status.code != ADAMOE_OK) {
        return adamoe_error(
            status.code, "placement by co-activation: %.400s%s", status.message,
            status.code == ADAMOE_NOT_SUPPORTED ? "this build has no METIS (package libmetis-dev)" : "");
    }
    *metis = found;
    return adamoe_ok();
}

bool adamoe_has_partitioner(void)
{
    adamoe_module module;
    const adamoe_metis_module *metis = NULL;
    if (open_module(&module, &metis).code != ADAMOE_OK) {
        return false;
    }
    adamoe_module_close(&module);
    return true;
}

adamoe_status adamoe_partition(size_t vertices, const uint64_t *weight, const uint64_t *edge, size_t parts,
                               size_t room, uint32_t *part)
{
    adamoe_module module;
    const adamoe_metis_module *metis = NULL;
    if (parts == 1) { /* nothing is cut, and METIS not needed */
        memset(part, 0, vertices * sizeof *part);
        return adamoe_ok();
    }
    ADAMOE_TRY(open_module(&module, &metis));
    const adamoe_status status = metis->partition(vertices, weight, edge, parts, room, part);
    adamoe_module_close(&module);
    return status;
}
