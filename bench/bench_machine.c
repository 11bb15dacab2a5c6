/*
 * What computes while something is timed.
 */
#include "bench_machine.h"
#include "host.h"
#include "team.h"

adamoe_status adamoe_bench_machine_enter(adamoe_bench_machine *machine, uint32_t threads)
{
    machine->host = &adamoe_heap_host;
    machine->placement = adamoe_one_node(threads);
    ADAMOE_TRY(adamoe_team_create(threads, &machine->team));
    const adamoe_status status = adamoe_peak_meter_create(machine->team, &machine->meter);
    if (status.code != ADAMOE_OK) {
        adamoe_bench_machine_leave(machine);
    }
    return status;
}

void adamoe_bench_machine_leave(adamoe_bench_machine *machine)
{
    adamoe_peak_meter_free(machine->meter);
    adamoe_team_free(machine->team);
    machine->meter = NULL;
    machine->team = NULL;
}
