/*
 * What the two ways to bench over ranks share: names, entries, lines.
 */
#include "bench/over_ranks_parts.h"
#include "program/json_output.h"

#include <stdio.h>

void over_ranks_keep(over_ranks_sweep *s, const char *name, const adamoe_status *status)
{
    if (adamoe_bench_gravity(status->code) > adamoe_bench_gravity(s->worst.code)) {
        s->worst = adamoe_error(status->code, "%s: %.300s", name, status->message);
    }
}

void over_ranks_name(const over_ranks_sweep *s, const char *what, const adamoe_kernel *kernel, size_t tokens,
                     const char *routing, char *name, size_t size)
{
    (void)snprintf(name, size, "%s/%s/%s/tokens:%zu/routing:%s/threads:%u/ranks:%u%s%s%s", what,
                   s->options->layer->preset->name, kernel->name, tokens, routing, s->machine.team->threads,
                   s->setting.world->ranks,
                   s->options->rank->experts == ADAMOE_EXPERTS_BLOCK ? "" : "/experts:",
                   s->options->rank->experts == ADAMOE_EXPERTS_BLOCK
                       ? ""
                       : adamoe_expert_order_names[s->options->rank->experts],
                   s->setting.timing.hot ? "/hot" : "");
}

json_t *over_ranks_entry(const char *name, double seconds)
{
    const double nanoseconds = 1e9 * seconds;
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:s}", "name", name, "run_name", name,
                     "run_type", "iteration", "repetitions", 1, "repetition_index", 0, "threads", 1,
                     "iterations", 1, "real_time", nanoseconds, "cpu_time", nanoseconds, "time_unit", "ns");
}

void over_ranks_set(json_t *entry, const char *key, double value)
{
    (void)json_object_set_new(entry, key, adamoe_json_number(value));
}

void over_ranks_set_wire(json_t *entry, const adamoe_spread_wire *round, size_t batches)
{
    const double calls = (double)batches;
    over_ranks_set(entry, "expert_rows", (double)round->rows / calls);
    over_ranks_set(entry, "rows_sent_per_call", (double)round->rows_sent / calls);
    over_ranks_set(entry, "inputs_sent_per_call", (double)round->inputs_sent / calls);
    over_ranks_set(entry, "bytes_sent_per_call", (double)round->bytes / calls);
}

void over_ranks_print_traffic(const adamoe_traffic_report *t, double bytes_per_call)
{
    const adamoe_traffic_total sum = adamoe_traffic_sum(t);
    double communication = 0.0, waiting = 0.0;
    for (uint32_t r = 0; r < t->ranks; ++r) {
        communication += t->rank[r].counters.communication;
        waiting += t->rank[r].counters.waiting;
    }
    printf(
        "  %-21s %.3f MB a call, %.3f MB in all calls, as predicted; %.1f %% of the rows stay; overlap %.1f %%; "
        "largest over mean load %.3f\n",
        "", 1e-6 * bytes_per_call, 1e-6 * (double)sum.bytes, 100.0 * sum.kept_share,
        100.0 * (communication - waiting) / communication, sum.largest_over_mean_load);
}

void over_ranks_print_cap(const adamoe_spread_variant *v)
{
    if (v->copies < v->copies_wanted) {
        printf(
            "  Capped: %zu of %zu copies of the weights, for which half of the available memory is room: some of "
            "them may be in a cache\n",
            v->copies, v->copies_wanted);
    }
}
