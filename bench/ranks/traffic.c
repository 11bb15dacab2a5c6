/*
 * What a run sent between its ranks: see traffic.h.
 */
#include "ranks/traffic.h"
#include "program/json_output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

adamoe_status adamoe_traffic_gather(const adamoe_world *world, adamoe_rank_traffic own,
                                    adamoe_traffic_report *out)
{
    (void)gethostname(own.machine, sizeof own.machine - 1);
    out->ranks = world->ranks;
    out->rank = calloc(world->ranks, sizeof *out->rank);
    return out->rank == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory")
                             : adamoe_world_gather(world, &own, sizeof own, out->rank);
}

void adamoe_traffic_describe(adamoe_traffic_report *report, const adamoe_rank_options *options,
                             const adamoe_kernel *kernel)
{
    report->experts = adamoe_expert_order_names[options->experts];
    report->recording = options->recording;
    report->chunks = options->chunks;
    report->overlap = !options->one_after_the_other;
    report->bfloat16 = kernel->x == ADAMOE_BFLOAT16;
}

void adamoe_traffic_report_free(adamoe_traffic_report *report)
{
    free(report->rank);
    *report = (adamoe_traffic_report){0};
}

static double ratio(double numerator, double denominator)
{
    return denominator == 0.0 ? NAN : numerator / denominator;
}

adamoe_traffic_total adamoe_traffic_sum(const adamoe_traffic_report *report)
{
    adamoe_traffic_total t = {0};
    uint64_t largest = 0, computed = 0;
    for (uint32_t r = 0; r < report->ranks; ++r) {
        const adamoe_rank_traffic *rank = &report->rank[r];
        const uint64_t load = rank->counters.rows_kept + rank->counters.rows_served;
        t.tokens += rank->tokens;
        t.rows_kept += rank->counters.rows_kept;
        t.rows_sent += rank->counters.rows_sent;
        t.bytes += rank->counters.bytes_sent;
        t.predicted_bytes += rank->predicted_bytes;
        t.baseline_bytes += rank->baseline_bytes;
        computed += load;
        largest = load > largest ? load : largest;
    }
    t.kept_share = ratio((double)t.rows_kept, (double)(t.rows_kept + t.rows_sent));
    t.bytes_reduction = t.baseline_bytes == 0 ? NAN : 1.0 - (double)t.bytes / (double)t.baseline_bytes;
    t.largest_over_mean_load = ratio((double)largest * report->ranks, (double)computed);
    return t;
}

/* The part of the seconds with messages on their way in which something was computed. */
static double hidden_share(const adamoe_rank_counters *c)
{
    return ratio(c->communication - c->waiting, c->communication);
}

void adamoe_traffic_print(const adamoe_traffic_report *report)
{
    const adamoe_traffic_total t = adamoe_traffic_sum(report);
    printf("%u ranks (%s), placement %s%s%s, %u chunk%s, %s; inputs travel in %s\n", report->ranks,
           report->mpi, report->experts, report->recording == NULL ? "" : " of ",
           report->recording == NULL ? "" : report->recording, report->chunks, report->chunks == 1 ? "" : "s",
           report->overlap ? "computing while rows travel" : "nothing is computed while rows travel",
           report->bfloat16 ? "bfloat16" : "float32");
    printf(
        "rank  machine           questions  tokens  rows kept      sent    served    MB sent  received  seconds: "
        "exchange  arithmetic  waiting\n");
    for (uint32_t r = 0; r < report->ranks; ++r) {
        const adamoe_rank_traffic *rank = &report->rank[r];
        const adamoe_rank_counters *c = &rank->counters;
        printf("%4u  %-16.16s %10llu %7llu %10llu %9llu %9llu %10.3f %9.3f %18.3f %11.3f %8.3f\n", r,
               rank->machine, (unsigned long long)rank->questions, (unsigned long long)rank->tokens,
               (unsigned long long)c->rows_kept, (unsigned long long)c->rows_sent,
               (unsigned long long)c->rows_served, (double)c->bytes_sent * 1e-6,
               (double)c->bytes_received * 1e-6, c->seconds, c->arithmetic, c->waiting);
    }
    if (t.rows_kept + t.rows_sent == 0) {
        printf("%s: no row travels.\n",
               t.tokens == 0 ? "Nothing was left to run" : "Every rank has all experts");
        return;
    }
    printf("%.1f %% of the rows stay; %.3f MB travel", 100.0 * t.kept_share, (double)t.bytes * 1e-6);
    if (t.baseline_bytes > 0) {
        printf(", bytes reduction %.2f %% against %.3f MB", 100.0 * t.bytes_reduction,
               (double)t.baseline_bytes * 1e-6);
    }
    printf("; largest over mean load of a rank %.3f\n", t.largest_over_mean_load);
}

static json_t *rank_json(const adamoe_rank_traffic *rank)
{
    const adamoe_rank_counters *c = &rank->counters;
    return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:o}", "machine",
                     adamoe_json_text(rank->machine), "threads", (json_int_t)rank->threads, "questions",
                     (json_int_t)rank->questions, "tokens", (json_int_t)rank->tokens, "exchanges",
                     (json_int_t)c->exchanges, "rows_kept", (json_int_t)c->rows_kept, "rows_sent",
                     (json_int_t)c->rows_sent, "rows_served", (json_int_t)c->rows_served, "inputs_sent",
                     (json_int_t)c->inputs_sent, "bytes_sent", (json_int_t)c->bytes_sent, "bytes_received",
                     (json_int_t)c->bytes_received, "exchange_seconds", c->seconds, "arithmetic_seconds",
                     c->arithmetic, "communication_seconds", c->communication, "waiting_seconds", c->waiting,
                     "overlap_share", adamoe_json_number(hidden_share(c)));
}

json_t *adamoe_traffic_json(const adamoe_traffic_report *report)
{
    const adamoe_traffic_total t = adamoe_traffic_sum(report);
    /* Not counted, as by a bench without --saved, is not 0. */
    const bool counted = t.baseline_bytes > 0 || t.bytes == 0;
    json_t *ranks = json_array();
    for (uint32_t r = 0; r < report->ranks; ++r) {
        json_array_append_new(ranks, rank_json(&report->rank[r]));
    }
    json_t *all =
        json_pack("{s:I,s:o,s:s,s:o,s:I,s:b,s:s,s:I,s:I,s:o,s:I,s:I,s:o,s:o,s:o,s:o}", "ranks",
                  (json_int_t)report->ranks, "mpi", adamoe_json_text(report->mpi), "experts", report->experts,
                  "recording", report->recording == NULL ? json_null() : adamoe_json_text(report->recording),
                  "chunks", (json_int_t)report->chunks, "overlap", (int)report->overlap, "inputs_travel_as",
                  report->bfloat16 ? "bfloat16" : "float32", "rows_kept", (json_int_t)t.rows_kept,
                  "rows_sent", (json_int_t)t.rows_sent, "kept_share", adamoe_json_number(t.kept_share),
                  "bytes", (json_int_t)t.bytes, "predicted_bytes", (json_int_t)t.predicted_bytes,
                  "baseline_bytes", counted ? json_integer((json_int_t)t.baseline_bytes) : json_null(),
                  "bytes_reduction", adamoe_json_number(t.bytes_reduction), "largest_over_mean_load",
                  adamoe_json_number(t.largest_over_mean_load), "by_rank", ranks);
    if (all != NULL && report->batch_tokens > 0) {
        (void)json_object_set_new(all, "batch_tokens", json_integer((json_int_t)report->batch_tokens));
    }
    return all;
}
