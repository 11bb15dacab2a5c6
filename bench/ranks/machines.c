/*
 * Which ranks of a run are on one machine: see machines.h.
 */
#include "ranks/machines.h"
#include "fnv1a.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t adamoe_machine_identity(void)
{
    char text[256] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL || fgets(text, sizeof text, file) == NULL) {
        (void)gethostname(text, sizeof text - 1);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    uint64_t hash = ADAMOE_FNV1A_START;
    for (const char *c = text; *c != '\0'; ++c) {
        hash = adamoe_fnv1a_mix(hash, (unsigned char)*c);
    }
    return hash;
}

adamoe_status adamoe_ranks_here(const adamoe_world *world, uint32_t *out)
{
    const uint64_t own = adamoe_machine_identity();
    uint64_t *all = calloc(world->ranks, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    adamoe_status status = adamoe_world_gather(world, &own, sizeof own, all);
    if (status.code == ADAMOE_OK) {
        status = adamoe_world_broadcast(world, all, world->ranks * sizeof *all);
    }
    *out = 0;
    for (uint32_t r = 0; r < world->ranks; ++r) {
        *out += all[r] == own;
    }
    free(all);
    return status;
}
