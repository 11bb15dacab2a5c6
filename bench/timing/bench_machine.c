/*
 * What computes while something is timed.
 */
#include "timing/bench_machine.h"

adamoe_status adamoe_bench_machine_enter(adamoe_bench_machine *machine, const adamoe_machine_options *options)
{
    ADAMOE_TRY(adamoe_machine_open(options, &machine->opened));
    machine->team = machine->opened.team;
    machine->host = &machine->opened.host;
    machine->placement = *machine->opened.placement;
    const adamoe_status status = adamoe_peak_meter_create(machine->team, &machine->meter);
    if (status.code != ADAMOE_OK) {
        adamoe_bench_machine_leave(machine);
    }
    return status;
}

void adamoe_bench_machine_leave(adamoe_bench_machine *machine)
{
    adamoe_peak_meter_free(machine->meter);
    adamoe_machine_close(&machine->opened);
    *machine = (adamoe_bench_machine){.fallback = machine->fallback};
}
