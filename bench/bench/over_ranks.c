/*
 * adamoe bench over the ranks of a run: machines and the file. See over_ranks.h.
 */
#include "bench/over_ranks.h"
#include "bench/over_ranks_parts.h"
#include "bench/saved.h"
#include "program/held_signals.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "ranks/machines.h"
#include "ranks/shared_load.h"

#include <inttypes.h>
#include <stdio.h>

static void print_head(const over_ranks_sweep *s)
{
    const adamoe_bench_over_ranks *o = s->options;
    const adamoe_rank_options *r = o->rank;
    printf(
        "%u ranks (%s), placement %s%s%s, %u chunk%s, %s; tokens are those of each rank, times those of the slowest; "
        "%u thread%s a rank; no roofline: it is one machine's\n",
        o->world->ranks, o->mpi, adamoe_expert_order_names[r->experts], r->recording == NULL ? "" : " of ",
        r->recording == NULL ? "" : r->recording, r->chunks, r->chunks == 1 ? "" : "s",
        r->one_after_the_other ? "nothing is computed while rows travel" : "computing while rows travel",
        s->machine.team->threads, s->machine.team->threads == 1 ? "" : "s");
}

static adamoe_status run_threads(over_ranks_sweep *s, uint32_t threads)
{
    const adamoe_bench_over_ranks *o = s->options;
    adamoe_machine_options wanted = o->layer->machine;
    wanted.threads = threads;
    ADAMOE_TRY(adamoe_world_agree(o->world, adamoe_machine_open(&wanted, &s->machine)));
    if (s->prints) {
        print_head(s);
    }
    ADAMOE_TRY(o->saved ? over_ranks_saved(s) : over_ranks_layers(s)); /* as below: the end of the run */
    adamoe_machine_close(&s->machine);
    return adamoe_ok();
}

static adamoe_status write_json(const over_ranks_sweep *s, const adamoe_load_mark *before)
{
    const adamoe_bench_over_ranks *o = s->options;
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%" PRIu64, s->setting.timing.seed);
    json_t *document =
        json_pack("{s:{s:s, s:s, s:o}, s:O}", "context", "adamoe_version", ADAMOE_VERSION, "adamoe_seed",
                  seed, "environment", adamoe_environment_json(before), "benchmarks", s->entries);
    adamoe_hold_signals();
    const adamoe_status status = adamoe_json_write(o->json, document);
    adamoe_release_signals();
    return status;
}

static adamoe_status run_sweep(over_ranks_sweep *s)
{
    const adamoe_bench_over_ranks *o = s->options;
    adamoe_shared_load load;
    adamoe_load_mark before;
    adamoe_shared_load_begin(&load);
    for (size_t i = 0; i < o->thread_counts; ++i) {
        ADAMOE_TRY(run_threads(s, (uint32_t)o->threads[i]));
    }
    ADAMOE_TRY(adamoe_shared_load_end(o->world, &load, &before));
    if (s->prints) {
        adamoe_print_disturbance(&before);
    }
    if (o->json != NULL && o->world->rank == 0) {
        ADAMOE_TRY(write_json(s, &before));
    }
    /* Who asks for everything is told what cannot run here; who asks for a kernel wanted that one. */
    return s->worst.code == ADAMOE_NOT_SUPPORTED && !o->named ? adamoe_ok() : s->worst;
}

adamoe_status adamoe_bench_over_ranks_run(const adamoe_bench_over_ranks *o)
{
    over_ranks_sweep s = {.options = o,
                          .setting = {.world = o->world, .rank = o->rank, .timing = o->layer->timing},
                          .entries = json_array(),
                          .prints = o->world->rank == 0 && adamoe_json_leaves_stdout(o->json),
                          .worst = adamoe_ok()};
    s.setting.machine = &s.machine;
    adamoe_status status = adamoe_ranks_here(o->world, &s.setting.ranks_here);
    if (status.code == ADAMOE_OK) {
        status = adamoe_spread_layer_create(o->layer->preset, s.setting.timing.seed, o->world->rank,
                                            o->rank_of_expert, &s.layer);
    }
    if (status.code == ADAMOE_OK) {
        status = run_sweep(&s);
    }
    json_decref(s.entries);
    if (status.code == ADAMOE_OK) { /* otherwise the run ends while messages may be on their way */
        adamoe_spread_layer_free(&s.layer);
    }
    return status;
}
