/*
 * adamoe bench --router.
 *
 * A group is one kernel with one number of tokens and of threads: its routers are timed in turn when the first of them is
 * to be reported. Every call routes (timed_router.h) and then computes the experts. Weights lie as the calls before left
 * them: cold where the layer is larger than the caches. Left out: rooflines, and copies that keep small layers cold.
 */
#include "bench/routed.h"
#include "bench/table.h"
#include "gbench/gbench.h"
#include "routers/side_by_side.h"
#include "routers/timed_router.h"
#include "timing/roofline.h"
#include "timing/summary.h"

#include <math.h>
#include <stdlib.h>

typedef struct routed_group routed_group;

/* One benchmark: a router of a group. */
typedef struct routed_bench {
    routed_group *group;
    const adamoe_router *router;
    char name[224];
    bool wanted;
    adamoe_status status;     /* if not ADAMOE_OK, nothing below holds */
    double *routing, *layer;  /* [repetitions] seconds; `layer` is that of the experts and a frozen base */
    double *total;            /* [repetitions] */
    adamoe_estimate estimate; /* of the total */
    adamoe_plan_work work;
    double load, routing_median, layer_median, logit_difference;
    size_t dropped, rejected, otherwise;
} routed_bench;

typedef struct routed_run {
    const adamoe_bench_routed *options;
    adamoe_subject subject; /* as many tokens as the largest group has */
    routed_group *group;    /* [groups] */
    size_t groups;
} routed_run;

struct routed_group {
    routed_run *run;
    const adamoe_kernel *kernel;
    size_t tokens;
    uint32_t threads;
    routed_bench *bench; /* [routers] */
    bool done;
    adamoe_status status;
};

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
}

/* ---------------------------------------------------------------------------------------------- measuring */

/* What is in the turns of a repetition. */
typedef struct turn {
    adamoe_router_setup setup;
    adamoe_timed_router router;
    bool is_open;
} turn;

static adamoe_status call(turn *t, double *routing, double *layer)
{
    ADAMOE_TRY(adamoe_timed_router_route(&t->router, routing));
    return adamoe_timed_router_run(&t->router, layer);
}

/* The first call warms up, and says what the plan is worth. */
static adamoe_status begin_turn(const adamoe_router_subject *tokens, routed_bench *b,
                                const adamoe_machine *machine, adamoe_prepared *prepared, turn *t)
{
    const adamoe_kernel *kernel = b->group->kernel;
    double spare[2];
    ADAMOE_TRY(adamoe_router_setup_create(b->router, tokens, &t->setup));
    const adamoe_status status = adamoe_timed_router_open(&t->setup, kernel, machine, prepared, &t->router);
    if (status.code != ADAMOE_OK) {
        adamoe_router_setup_free(&t->setup);
        return status;
    }
    t->is_open = true;
    ADAMOE_TRY(call(t, &spare[0], &spare[1]));
    const adamoe_plan *plan = t->router.routed.plan;
    const adamoe_routed_array *rejected = adamoe_routed_find(&t->router.routed, "rejected");
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(tokens->layer->hidden_size, tokens->layer->intermediate_size, kernel->weight);
    b->work = adamoe_plan_work_of(plan, cost);
    if (t->router.has_base) { /* one expert more, for every token */
        const adamoe_plan_work base = adamoe_plan_work_of(t->router.base.plan, cost);
        b->work.flops += base.flops;
        b->work.bytes += base.bytes;
    }
    b->load = (double)plan->rows / (double)plan->tokens;
    b->rejected = rejected == NULL ? 0 : rejected->rows;
    for (size_t s = 0; s < plan->tokens; ++s) {
        b->dropped += plan->token_offset[s] == plan->token_offset[s + 1];
    }
    return adamoe_timed_router_compare(&t->router, &b->otherwise, &b->logit_difference);
}

static adamoe_status summarise(routed_bench *b, size_t repetitions)
{
    double *sorted = calloc(repetitions, sizeof *sorted);
    if (sorted == NULL) {
        return no_memory();
    }
    double *const values[2] = {b->routing, b->layer}, *const median[2] = {&b->routing_median,
                                                                          &b->layer_median};
    for (size_t i = 0; i < 2; ++i) {
        for (size_t r = 0; r < repetitions; ++r) {
            sorted[r] = values[i][r];
        }
        adamoe_sort(sorted, repetitions);
        *median[i] = adamoe_median(sorted, repetitions);
    }
    free(sorted);
    return adamoe_estimate_median(b->total, repetitions, &b->estimate);
}

static void take_turns(routed_group *group, turn *turns)
{
    const adamoe_bench_routed *o = group->run->options;
    for (size_t r = 0; r < o->repetitions; ++r) {
        for (size_t i = 0; i < o->routers; ++i) {
            const size_t at = (i + r) % o->routers;
            routed_bench *b = &group->bench[at];
            if (b->wanted && b->status.code == ADAMOE_OK) {
                b->status = call(&turns[at], &b->routing[r], &b->layer[r]);
                b->total[r] = b->routing[r] + b->layer[r];
            }
        }
    }
}

static adamoe_status run_turns(routed_group *group, const adamoe_machine *machine, adamoe_prepared *prepared)
{
    const adamoe_bench_routed *o = group->run->options;
    adamoe_router_subject tokens = group->run->subject.tokens;
    turn *turns = calloc(o->routers, sizeof *turns);
    if (turns == NULL) {
        return no_memory();
    }
    tokens.tokens = group->tokens;
    for (size_t i = 0; i < o->routers; ++i) {
        routed_bench *b = &group->bench[i];
        if (b->wanted) {
            b->status = begin_turn(&tokens, b, machine, prepared, &turns[i]);
        }
    }
    take_turns(group, turns);
    for (size_t i = 0; i < o->routers; ++i) {
        routed_bench *b = &group->bench[i];
        if (b->wanted && b->status.code == ADAMOE_OK) {
            b->status = summarise(b, o->repetitions);
        }
        if (turns[i].is_open) {
            adamoe_timed_router_close(&turns[i].router);
            adamoe_router_setup_free(&turns[i].setup);
        }
    }
    free(turns);
    return adamoe_ok();
}

static adamoe_status run_group(routed_group *group)
{
    adamoe_machine_options wanted = group->run->options->machine;
    adamoe_machine machine;
    adamoe_prepared *prepared = NULL;
    const char *why_not = "no reason given";
    if (!group->kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "cannot run here: %.200s", why_not);
    }
    wanted.threads = group->threads;
    ADAMOE_TRY(adamoe_machine_open(&wanted, &machine));
    adamoe_status status =
        group->kernel->prepare(&machine.host, &group->run->subject.layer, machine.placement, &prepared);
    if (status.code == ADAMOE_OK) {
        status = run_turns(group, &machine, prepared);
        group->kernel->release(prepared);
    }
    adamoe_machine_close(&machine);
    return status;
}

/* ---------------------------------------------------------------------------------------------- reporting */

static double share_of(double routing, double layer)
{
    return routing / (routing + layer);
}

static void print_group(const routed_group *group)
{
    const adamoe_bench_routed *o = group->run->options;
    printf("layer/%s/%s/tokens:%zu/threads:%u, weights as the call before left them\n", o->preset->name,
           group->kernel->name, group->tokens, group->threads);
    printf("  %-23s %9s %-22s %9s %6s %9s %6s %8s %8s %6s\n", "Router", "Layer", "[95 %]", "Routing", "Share",
           "GFLOP/s", "Load", "Dropped", "Rejected", "Other");
    for (size_t i = 0; i < o->routers; ++i) {
        const routed_bench *b = &group->bench[i];
        char total[32], low[32], high[32], interval[72], routing[32];
        if (!b->wanted) {
            continue;
        }
        if (b->status.code != ADAMOE_OK) {
            printf("  %-23s cannot: %s\n", b->router->name, b->status.message);
            continue;
        }
        (void)snprintf(interval, sizeof interval, "%s .. %s",
                       adamoe_format_seconds(b->estimate.interval.low, low, sizeof low),
                       adamoe_format_seconds(b->estimate.interval.high, high, sizeof high));
        printf("  %-23s %9s %-22s %9s %5.1f%% %9.1f %6.3f %8zu %8zu %6zu\n", b->router->name,
               adamoe_format_seconds(b->estimate.median, total, sizeof total), interval,
               adamoe_format_seconds(b->routing_median, routing, sizeof routing),
               100.0 * share_of(b->routing_median, b->layer_median), b->work.flops / b->layer_median * 1e-9,
               b->load, b->dropped, b->rejected, b->otherwise);
    }
    (void)fflush(stdout);
}

static void select_bench(void *context)
{
    routed_bench *b = context;
    b->wanted = true;
}

static void report_bench(gbench_state *state, const routed_bench *b, size_t repetition)
{
    const double routing = b->routing[repetition], layer = b->layer[repetition];
    gbench_time(state, b->total[repetition]);
    gbench_counter(state, "routing_seconds", routing);
    gbench_counter(state, "experts_seconds", layer);
    gbench_counter(state, "routing_share", share_of(routing, layer));
    gbench_counter(state, "gflops", b->work.flops / layer * 1e-9);
    gbench_counter(state, "gbytes_per_second", b->work.bytes / layer * 1e-9);
    gbench_counter(state, "executed_flops", b->work.flops);
    gbench_counter(state, "touched_bytes", b->work.bytes);
    gbench_counter(state, "expert_rows", (double)b->work.rows);
    gbench_counter(state, "touched_experts", (double)b->work.touched_experts);
    gbench_counter(state, "load", b->load);
    gbench_counter(state, "dropped", (double)b->dropped);
    gbench_counter(state, "rejected", (double)b->rejected);
    gbench_counter(state, "tokens_routed_otherwise", (double)b->otherwise);
    gbench_counter(state, "largest_logit_difference", b->logit_difference);
    gbench_counter(state, "median_seconds", b->estimate.median);
    gbench_counter(state, "median_seconds_low", b->estimate.interval.low);
    gbench_counter(state, "median_seconds_high", b->estimate.interval.high);
    gbench_counter(state, "median_routing_seconds", b->routing_median);
    gbench_counter(state, "median_routing_share", share_of(b->routing_median, b->layer_median));
}

static void measure_and_report(gbench_state *state, void *context, size_t repetition)
{
    routed_bench *b = context;
    routed_group *group = b->group;
    if (!group->done) {
        group->done = true;
        group->status = run_group(group);
        if (group->status.code == ADAMOE_OK && group->run->options->prints) {
            print_group(group);
        }
    }
    const adamoe_status *status = group->status.code != ADAMOE_OK ? &group->status : &b->status;
    if (status->code != ADAMOE_OK) {
        gbench_skip(state, status->message);
    } else {
        report_bench(state, b, repetition);
    }
}

/* ------------------------------------------------------------------------------------------------- groups */

static adamoe_status register_bench(routed_group *group, size_t i)
{
    static const gbench_functions functions = {select_bench, measure_and_report};
    const adamoe_bench_routed *o = group->run->options;
    routed_bench *b = &group->bench[i];
    *b = (routed_bench){.group = group,
                        .router = o->router[i],
                        .status = adamoe_ok(),
                        .routing = calloc(o->repetitions, sizeof *b->routing),
                        .layer = calloc(o->repetitions, sizeof *b->layer),
                        .total = calloc(o->repetitions, sizeof *b->total)};
    (void)snprintf(b->name, sizeof b->name, "layer/%s/%s/tokens:%zu/routing:%s/threads:%u", o->preset->name,
                   group->kernel->name, group->tokens, b->router->name, group->threads);
    return b->routing != NULL && b->layer != NULL && b->total != NULL &&
                   gbench_register(b->name, &functions, b, o->repetitions)
               ? adamoe_ok()
               : no_memory();
}

static adamoe_status add_group(routed_run *run, const adamoe_kernel *kernel, size_t tokens, size_t threads)
{
    const size_t routers = run->options->routers;
    routed_group *group = &run->group[run->groups];
    *group = (routed_group){.run = run,
                            .kernel = kernel,
                            .tokens = tokens,
                            .threads = (uint32_t)threads,
                            .bench = calloc(routers, sizeof *group->bench)};
    if (group->bench == NULL) {
        return no_memory();
    }
    ++run->groups;
    for (size_t i = 0; i < routers; ++i) {
        ADAMOE_TRY(register_bench(group, i));
    }
    return adamoe_ok();
}

static adamoe_status add_groups(routed_run *run)
{
    const adamoe_bench_routed *o = run->options;
    run->group = calloc(o->kernels * o->thread_counts * o->token_counts, sizeof *run->group);
    if (run->group == NULL) {
        return no_memory();
    }
    for (size_t k = 0; k < o->kernels; ++k) {
        for (size_t n = 0; n < o->thread_counts; ++n) {
            for (size_t t = 0; t < o->token_counts; ++t) {
                ADAMOE_TRY(add_group(run, o->kernel[k], o->tokens[t], o->threads[n]));
            }
        }
    }
    return adamoe_ok();
}

static void free_groups(routed_run *run)
{
    for (size_t g = 0; g < run->groups; ++g) {
        for (size_t i = 0; i < run->options->routers; ++i) {
            free(run->group[g].bench[i].routing);
            free(run->group[g].bench[i].layer);
            free(run->group[g].bench[i].total);
        }
        free(run->group[g].bench);
    }
    free(run->group);
    gbench_clear();
}

/* The first failure, with its benchmark's name. */
static adamoe_status worst(const routed_run *run)
{
    for (size_t g = 0; g < run->groups; ++g) {
        for (size_t i = 0; i < run->options->routers; ++i) {
            const routed_bench *b = &run->group[g].bench[i];
            const adamoe_status *status =
                run->group[g].status.code != ADAMOE_OK ? &run->group[g].status : &b->status;
            if (b->wanted && status->code != ADAMOE_OK) {
                return adamoe_error(status->code, "%s: %.300s", b->name, status->message);
            }
        }
    }
    return adamoe_ok();
}

static adamoe_status run_library(routed_run *run, adamoe_library_flags *flags)
{
    size_t most = 1;
    for (size_t t = 0; t < run->options->token_counts; ++t) {
        most = run->options->tokens[t] > most ? run->options->tokens[t] : most;
    }
    ADAMOE_TRY(add_groups(run));
    ADAMOE_TRY(adamoe_subject_of_preset(run->options->preset, most, run->options->seed, &run->subject));
    run->subject.tokens.layer = &run->subject.layer;
    ADAMOE_TRY(adamoe_run_library(flags));
    return worst(run);
}

adamoe_status adamoe_bench_routed_run(const adamoe_bench_routed *options, adamoe_library_flags *flags)
{
    routed_run run = {.options = options};
    const adamoe_status status = run_library(&run, flags);
    free_groups(&run);
    adamoe_subject_free(&run.subject);
    return status;
}
