/*
 * What a verb computes with, opened from the common options.
 */
#include "program/machine.h"

#include <stdio.h>
#include <string.h>

static void log_to_standard_error(void *context, const char *message)
{
    (void)context;
    fprintf(stderr, "adamoe: %s\n", message);
}

static adamoe_status find_topology(const char *text, adamoe_topology **out)
{
    adamoe_topology *machine = NULL;
    ADAMOE_TRY(adamoe_topology_detect(&machine));
    if (text == NULL) {
        *out = machine;
        return adamoe_ok();
    }
    const adamoe_status status = adamoe_topology_parse(text, machine, out);
    adamoe_topology_free(machine);
    return status.code != ADAMOE_BAD_INPUT
               ? status
               : adamoe_error(status.code, "--numa-topology: %.400s", status.message);
}

/* One for each processor, and at least one for each node: those given by hand may share processors. */
static uint32_t all_processors(const adamoe_topology *topology)
{
    uint32_t threads = 0;
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        threads += topology->node[n].cpus;
    }
    const uint32_t available = adamoe_available_processors();
    threads = threads < available ? threads : available;
    return threads > topology->nodes ? threads : topology->nodes;
}

static adamoe_status open_parts(const adamoe_machine_options *options, adamoe_machine *m)
{
    ADAMOE_TRY(find_topology(options->topology, &m->topology));
    const uint32_t threads = options->threads != 0 ? options->threads : all_processors(m->topology);
    ADAMOE_TRY(adamoe_placement_create(m->topology, options->policy, threads, &m->placement));
    ADAMOE_TRY(adamoe_placed_memory_create(m->topology, &m->memory));
    m->host = *adamoe_placed_memory_host(m->memory);
    m->host.log = log_to_standard_error;
    return adamoe_team_create_on(m->topology, m->placement, &m->team);
}

adamoe_status adamoe_machine_open(const adamoe_machine_options *options, adamoe_machine *out)
{
    *out = (adamoe_machine){0};
    const adamoe_status status = open_parts(options, out);
    if (status.code != ADAMOE_OK) {
        adamoe_machine_close(out);
    }
    return status;
}

void adamoe_machine_close(adamoe_machine *machine)
{
    adamoe_team_free(machine->team);
    adamoe_placed_memory_free(machine->memory);
    adamoe_placement_free(machine->placement);
    adamoe_topology_free(machine->topology);
    *machine = (adamoe_machine){0};
}

adamoe_machine_text adamoe_machine_describe(const adamoe_machine *machine)
{
    adamoe_machine_text out;
    char nodes[128];
    const adamoe_memory_report report = adamoe_placed_memory_verify(machine->memory);
    const size_t pages = report.verified + report.misplaced + report.unverified;
    adamoe_topology_describe(machine->topology, nodes, sizeof nodes);
    int used = snprintf(out.text, sizeof out.text, "%s, %u thread%s on %u node%s (%s)%s; ",
                        adamoe_numa_policy_names[machine->placement->policy], machine->placement->threads,
                        machine->placement->threads == 1 ? "" : "s", machine->topology->nodes,
                        machine->topology->nodes == 1 ? "" : "s", nodes,
                        machine->topology->by_hand ? " by hand" : "");
    char *rest = out.text + used;
    const size_t room = sizeof out.text - (size_t)used;
    if (report.unverified > 0) {
        (void)snprintf(rest, room, "%zu of %zu pages unverified (%s), %zu misplaced", report.unverified,
                       pages, report.reason, report.misplaced);
    } else if (pages == 0) {
        (void)snprintf(rest, room, "no page was large enough to place");
    } else {
        (void)snprintf(rest, room, "%zu of %zu pages verified, %zu misplaced", report.verified, pages,
                       report.misplaced);
    }
    return out;
}
