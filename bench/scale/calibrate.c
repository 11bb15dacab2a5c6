/*
 * `adamoe scale --calibrate`: what the cost model needs to know of this machine and its wire, and how far it is from layers
 * that are run here.
 */
#include "scale/calibrate.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "ranks/agreement.h"
#include "ranks/shared_load.h"
#include "scale/measure.h"
#include "scale/show.h"

#include <stdio.h>

static adamoe_status list_facts(const adamoe_scale_options *o, const adamoe_kernel *kernel, int count,
                                char *const *arguments, adamoe_rank_facts *facts)
{
    ADAMOE_TRY(adamoe_rank_fact_program(facts));
    ADAMOE_TRY(adamoe_rank_fact_options(facts, &adamoe_scale_argp, count, arguments));
    return adamoe_rank_fact_kernels(facts, &o->common, kernel);
}

static adamoe_status agree(const adamoe_scale_options *o, const adamoe_world *world, adamoe_status status,
                           const adamoe_kernel *kernel, int count, char *const *arguments)
{
    adamoe_rank_facts facts = {.count = 0};
    if (status.code == ADAMOE_OK && world->ranks > 1) {
        status = list_facts(o, kernel, count, arguments, &facts);
    }
    return adamoe_rank_agree(world, status, &facts);
}

static adamoe_status report(const adamoe_scale_options *o, const adamoe_calibration *c,
                            const adamoe_load_mark *before)
{
    if (adamoe_json_leaves_stdout(o->calibrate)) {
        printf("%s, %u threads a rank, %zu experts of %zu x %zu in turn: %.4g GFLOP/s, %.4g GB/s\n",
               c->kernel, c->threads, c->experts_in_turn, c->hidden_size, c->intermediate_size,
               1e-9 * c->compute.flops, 1e-9 * c->compute.bytes);
        if (c->ranks_per_processor > 1.0) {
            printf("%.3g ranks share a processor: they compute in turn what as many machines would at once\n",
                   c->ranks_per_processor);
        }
        if (c->ranks > 1) {
            printf(
                "%u ranks: latency %.4g us, %.4g us for each further message, %.4g us more above %.0f bytes, %.4g "
                "Gbit/s each way, %.0f %% hidden\n",
                c->ranks, 1e6 * c->network.latency, 1e6 * c->network.overhead, 1e6 * c->network.rendezvous,
                c->network.eager, 8e-9 * c->network.bandwidth, 100.0 * c->network.hidden);
        } else {
            printf("No network: this is one rank. mpirun -n R adamoe scale --calibrate measures one.\n");
        }
        adamoe_calibration_print(c);
        adamoe_print_disturbance(before);
    }
    json_t *json = adamoe_calibration_json(c);
    (void)json_object_set_new(json, "environment", adamoe_environment_json(before));
    return adamoe_json_write(o->calibrate, json);
}

static void stop(void *context, const adamoe_status *status)
{
    adamoe_rank_stop("scale", context, status);
}

static adamoe_status measure(const adamoe_scale_options *o, adamoe_ranks *ranks, const adamoe_kernel *kernel)
{
    static adamoe_calibration c;
    const adamoe_machine_options wanted = adamoe_options_for_machine(&o->common);
    const adamoe_world *world = adamoe_ranks_world(ranks);
    adamoe_machine machine;
    adamoe_shared_load load;
    adamoe_load_mark before;
    ADAMOE_TRY(adamoe_machine_open(&wanted, &machine));
    adamoe_shared_load_begin(&load);
    const adamoe_measure m = {.world = world,
                              .machine = &machine,
                              .kernel = kernel,
                              .preset = o->subject.preset,
                              .seed = o->common.seed,
                              .chunks = o->rank.chunks,
                              .most_seconds = o->longest,
                              .budget = o->budget,
                              .quiet = !adamoe_json_leaves_stdout(o->calibrate),
                              .stop = stop,
                              .stop_context = ranks};
    adamoe_status status = adamoe_measure_all(&m, &c);
    if (status.code == ADAMOE_OK) {
        status = adamoe_shared_load_end(world, &load, &before);
    }
    if (status.code == ADAMOE_OK && world->rank == 0) {
        status = report(o, &c, &before);
    }
    adamoe_machine_close(&machine);
    return status;
}

static adamoe_status run(const adamoe_scale_options *o, adamoe_ranks *ranks, int count,
                         char *const *arguments, adamoe_registry **registry)
{
    const adamoe_world *world = adamoe_ranks_world(ranks);
    const adamoe_result_file file = {"--calibrate", o->calibrate};
    const adamoe_kernel *kernel = NULL;
    adamoe_status status =
        world->rank == 0 ? adamoe_check_result_files(&file, 1, NULL, 0, &o->common) : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status = adamoe_choose_kernel(&o->common, registry, &kernel);
    }
    ADAMOE_TRY(agree(o, world, status, kernel, count, arguments));
    return measure(o, ranks, kernel);
}

int adamoe_scale_calibrate(const adamoe_scale_options *options, int count, char *const *arguments)
{
    adamoe_ranks *ranks = NULL;
    adamoe_registry *registry = NULL;
    adamoe_status status = adamoe_ranks_open(options->rank.patience, &ranks);
    if (status.code == ADAMOE_OK) {
        status = run(options, ranks, count, arguments, &registry);
    }
    adamoe_registry_free(registry);
    return adamoe_rank_finish("scale", ranks, status);
}
