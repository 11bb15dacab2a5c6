/*
 * Which ranks of a run are on one machine: see machines.h.
 */
#include "ranks/machines.h"
#include "fnv1a.h"

#include <math.h>
#include <sched.h>
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

/* Where a rank is, and what it may use there. */
typedef struct seat {
    uint64_t machine;
    uint32_t threads;
    cpu_set_t processors;
} seat;

static seat take_seat(uint32_t threads)
{
    seat own = {.machine = adamoe_machine_identity(), .threads = threads};
    if (sched_getaffinity(0, sizeof own.processors, &own.processors) != 0) {
        CPU_ZERO(&own.processors);
    }
    return own;
}

/* Those of all ranks, on every rank; *out [ranks] is freed by the caller, after an error too. */
static adamoe_status gather_seats(const adamoe_world *world, const seat *own, seat **out)
{
    *out = calloc(world->ranks, sizeof **out);
    if (*out == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    ADAMOE_TRY(adamoe_world_gather(world, own, sizeof *own, *out));
    return adamoe_world_broadcast(world, *out, world->ranks * sizeof **out);
}

adamoe_status adamoe_ranks_here(const adamoe_world *world, uint32_t *out)
{
    const seat own = take_seat(1);
    seat *all = NULL;
    const adamoe_status status = gather_seats(world, &own, &all);
    *out = 0;
    for (uint32_t r = 0; status.code == ADAMOE_OK && r < world->ranks; ++r) {
        *out += all[r].machine == own.machine;
    }
    free(all);
    return status;
}

static double threads_per_processor(double threads, const cpu_set_t *processors)
{
    const int count = CPU_COUNT(processors); /* 0: not to be found out */
    return count == 0 ? 1.0 : fmax(1.0, threads / count);
}

adamoe_status adamoe_ranks_per_processor(const adamoe_world *world, uint32_t threads, double *out)
{
    const seat own = take_seat(threads);
    seat *all = NULL;
    const adamoe_status status = gather_seats(world, &own, &all);
    double together = 0.0;
    cpu_set_t processors;
    CPU_ZERO(&processors);
    for (uint32_t r = 0; status.code == ADAMOE_OK && r < world->ranks; ++r) {
        if (all[r].machine == own.machine) {
            together += all[r].threads;
            CPU_OR(&processors, &processors, &all[r].processors);
        }
    }
    free(all);
    *out = fmax(1.0, threads_per_processor(together, &processors) /
                         threads_per_processor(threads, &own.processors));
    return status;
}
