/*
 * adamoe reproduce: the main job on what ships with the project. A quick check of every kernel, a quick look
 * at their throughput, then the same questions by a top-2 model and by one with null experts, side by side,
 * with the paper's row beneath.
 */
#include "check/print.h"
#include "check/run.h"
#include "reproduce/claim.h"
#include "program/held_signals.h"
#include "program/json_output.h"
#include "reproduce/quick_throughput.h"
#include "program/result_files.h"
#include "program/shipped.h"
#include "ranks/agreement.h"
#include "reproduce/options.h"
#include "verbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What ships and is taken where no option says otherwise; NULL: none. */
static const adamoe_side_options shipped = {
    .model = "datasets/tiny-adamoe",
    .baseline = "datasets/tiny-mixtral-top2",
    .untouched = "datasets/tiny-mixtral",
    .questions = "datasets/wordnet/test.jsonl",
};

typedef struct reproduction {
    const adamoe_reproduce_options *options;
    adamoe_ranks *ranks;
    const adamoe_world *world;
    int count; /* the command line */
    char **arguments;
    adamoe_registry *registry;
    const adamoe_kernel *kernel; /* for the evaluation */
    adamoe_side_by_side sides;
    adamoe_side_options files;   /* of the sides, completed */
    adamoe_shipped_file path[4]; /* of what ships */
    adamoe_machine machine;
    bool prints;
    int widest; /* of the names of kernels */
    size_t failed;
    json_t *checks, *throughput;
} reproduction;

/* What the kernel runs on here, or null. */
static json_t *implementation_json(const adamoe_kernel *kernel)
{
    char text[128] = "";
    if (kernel->implementation != NULL) {
        kernel->implementation(NULL, text, sizeof text);
    }
    return text[0] == '\0' ? json_null() : adamoe_json_text(text);
}

/* -------------------------------------------------------------------------------------------------- check */

/* As `adamoe check` says it: the kernel, the case, what is wrong, and the command that repeats it. */
static void print_failure(const reproduction *r, const adamoe_kernel *kernel, const adamoe_case *c,
                          adamoe_check_result *result)
{
    adamoe_case_name name = adamoe_name_case(c);
    char *cases[] = {name.text}, kernel_name[128];
    (void)snprintf(kernel_name, sizeof kernel_name, "%s", kernel->name);
    adamoe_check_options options = {.common = r->options->common};
    options.common.threads = r->machine.team->threads; /* this thread is pinned, and sees one processor */
    const adamoe_kernel_check check = {
        .name = kernel_name, .command = ADAMOE_ANY_COMMAND, .cases = cases, .results = result, .count = 1};
    fprintf(r->prints ? stdout : stderr, "  FAILED %s %s: %s\n", kernel_name, name.text,
            adamoe_describe_failure(&options, &check, 0).text);
}

static adamoe_status check_cases(const reproduction *r, const adamoe_kernel *kernel, const adamoe_case *cases,
                                 size_t count, size_t outcome[ADAMOE_CHECK_STATUSES], double *largest)
{
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; i += r->options->check_every) {
        adamoe_check_result result;
        status = adamoe_check_run(kernel, &cases[i], r->options->common.seed, r->machine.team,
                                  r->machine.placement, &result);
        if (status.code == ADAMOE_OK) {
            ++outcome[result.status];
            if (result.status == ADAMOE_CHECK_FAILED) {
                print_failure(r, kernel, &cases[i], &result);
            }
            *largest = result.has_element ? fmax(*largest, result.largest_ratio) : *largest;
        }
    }
    return status;
}

static adamoe_status check_kernel(reproduction *r, const adamoe_kernel *kernel, const adamoe_case *cases,
                                  size_t count)
{
    size_t outcome[ADAMOE_CHECK_STATUSES] = {0};
    double largest = 0.0;
    const char *why_not = "";
    const bool supported = kernel->supported(&why_not);
    if (supported) {
        ADAMOE_TRY(check_cases(r, kernel, cases, count, outcome, &largest));
    }
    r->failed += outcome[ADAMOE_CHECK_FAILED];
    if (r->prints && !supported) {
        printf("  %-*s skipped: %s\n", r->widest, kernel->name, why_not);
    } else if (r->prints) {
        printf("  %-*s %3zu passed, %zu failed, %zu skipped, %zu vacuous; largest error / bound %.3f\n",
               r->widest, kernel->name, outcome[ADAMOE_CHECK_PASSED], outcome[ADAMOE_CHECK_FAILED],
               outcome[ADAMOE_CHECK_SKIPPED], outcome[ADAMOE_CHECK_VACUOUS], largest);
    }
    json_array_append_new(
        r->checks,
        json_pack("{s:o,s:o,s:b,s:I,s:I,s:I,s:I,s:o}", "kernel", adamoe_json_text(kernel->name),
                  "implementation", supported ? implementation_json(kernel) : json_null(), "supported",
                  (int)supported, "passed", (json_int_t)outcome[ADAMOE_CHECK_PASSED], "failed",
                  (json_int_t)outcome[ADAMOE_CHECK_FAILED], "skipped",
                  (json_int_t)outcome[ADAMOE_CHECK_SKIPPED], "vacuous",
                  (json_int_t)outcome[ADAMOE_CHECK_VACUOUS], "largest_ratio", adamoe_json_number(largest)));
    return adamoe_ok();
}

static adamoe_status check_kernels(reproduction *r)
{
    adamoe_case *cases = NULL;
    size_t count = 0;
    ADAMOE_TRY(adamoe_check_grid(NULL, false, &cases, &count));
    for (size_t i = 0; i < adamoe_registry_count(r->registry); ++i) {
        const int length = (int)strlen(adamoe_registry_at(r->registry, i)->name);
        r->widest = length > r->widest ? length : r->widest;
    }
    if (r->prints) {
        printf(
            "Quick check: %zu of the %zu cases of `adamoe check'; vacuous: ran and found nothing wrong, but proves "
            "little, for instance because every expected value is 0\n",
            (count + r->options->check_every - 1) / r->options->check_every, count);
    }
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < adamoe_registry_count(r->registry) && status.code == ADAMOE_OK; ++i) {
        status = check_kernel(r, adamoe_registry_at(r->registry, i), cases, count);
    }
    free(cases);
    return status;
}

/* --------------------------------------------------------------------------------------------- throughput */

static json_t *timings_json(const adamoe_quick_timing timings[ADAMOE_QUICK_TIMINGS])
{
    json_t *list = json_array();
    for (size_t i = 0; i < ADAMOE_QUICK_TIMINGS; ++i) {
        json_array_append_new(list, json_pack("{s:I,s:f,s:f,s:f,s:f}", "tokens",
                                              (json_int_t)timings[i].tokens, "gflops", timings[i].gflops,
                                              "median_seconds", timings[i].seconds, "least_seconds",
                                              timings[i].least, "greatest_seconds", timings[i].greatest));
    }
    return list;
}

/* A kernel that does not take the weights that are timed, bfloat16, gets no time, and the reason instead. */
static adamoe_status time_kernel(reproduction *r, const adamoe_kernel *kernel)
{
    adamoe_quick_timing timings[ADAMOE_QUICK_TIMINGS];
    const adamoe_status status =
        adamoe_quick_throughput(kernel, &r->machine, r->options->common.seed, timings);
    const bool timed = status.code == ADAMOE_OK;
    if (!timed && status.code != ADAMOE_NOT_SUPPORTED) {
        return status;
    }
    if (r->prints) {
        printf("  %-*s", r->widest, kernel->name);
        for (size_t i = 0; timed && i < ADAMOE_QUICK_TIMINGS; ++i) {
            printf("  %4zu tokens %7.1f", timings[i].tokens, timings[i].gflops);
        }
        printf("%s%s\n", timed ? "" : "  skipped: ", timed ? "" : status.message);
    }
    json_array_append_new(r->throughput,
                          json_pack("{s:o,s:o,s:o,s:o}", "kernel", adamoe_json_text(kernel->name),
                                    "implementation", implementation_json(kernel), "timings",
                                    timed ? timings_json(timings) : json_array(), "skipped",
                                    timed ? json_null() : adamoe_json_text(status.message)));
    return adamoe_ok();
}

/* The definition is left out: it is not for speed, and would take minutes. */
static adamoe_status time_kernels(reproduction *r)
{
    const adamoe_quick_layer *s = &adamoe_quick_sizes;
    const char *why_not = NULL;
    if (r->prints) {
        printf("\nQuick throughput, executed GFLOP/s of the experts: hidden size %zu, intermediate size %zu, "
               "%zu true and "
               "%zu null experts, load %.2f, %u threads, hot weights, median of 9\n",
               s->hidden_size, s->intermediate_size, s->experts, s->null_experts, s->load,
               r->machine.team->threads);
    }
    for (size_t i = 0; i < adamoe_registry_count(r->registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(r->registry, i);
        if (strcmp(kernel->name, "reference") != 0 && kernel->supported(&why_not)) {
            ADAMOE_TRY(time_kernel(r, kernel));
        }
    }
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- the verb */

/* On rank 0, which alone prints and writes. */
static adamoe_status report(reproduction *r)
{
    if (r->world->rank != 0) {
        return adamoe_ok();
    }
    adamoe_side *const all[] = {&r->sides.untouched, &r->sides.vanilla, &r->sides.adaptive};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        adamoe_traffic_report *traffic = &all[i]->evaluation.traffic;
        adamoe_ranks_describe(r->ranks, traffic->mpi, sizeof traffic->mpi);
    }
    if (r->prints) {
        adamoe_side_by_side_print(&r->sides);
    }
    if (r->options->json == NULL) {
        return adamoe_ok();
    }
    return adamoe_json_write(r->options->json,
                             json_pack("{s:s,s:I,s:I,s:O,s:O,s:o}", "version", ADAMOE_VERSION, "seed",
                                       (json_int_t)r->options->common.seed, "threads",
                                       (json_int_t)r->machine.team->threads, "check", r->checks, "throughput",
                                       r->throughput, "evaluation", adamoe_side_by_side_json(&r->sides)));
}

/* The path of what ships, kept in *found; NULL stays NULL. */
static adamoe_status find(const char *name, adamoe_shipped_file *found, const char **out)
{
    *out = name == NULL ? NULL : found->path;
    return name == NULL ? adamoe_ok() : adamoe_find_shipped(name, found);
}

/* What ships goes together: with another model neither its baseline nor its start is taken. */
static adamoe_status complete(const adamoe_side_options *given, reproduction *r, adamoe_side_options *out)
{
    *out = *given;
    out->world = r->world;
    if (given->model == NULL) {
        ADAMOE_TRY(find(shipped.model, &r->path[0], &out->model));
    }
    if (given->model == NULL && given->baseline == NULL) {
        ADAMOE_TRY(find(shipped.baseline, &r->path[1], &out->baseline));
    }
    if (given->model == NULL && given->untouched == NULL) {
        ADAMOE_TRY(find(shipped.untouched, &r->path[2], &out->untouched));
    }
    return given->questions != NULL ? adamoe_ok() : find(shipped.questions, &r->path[3], &out->questions);
}

static adamoe_status open_sides(reproduction *r)
{
    const adamoe_machine_options wanted = adamoe_options_for_machine(&r->options->common);
    ADAMOE_TRY(adamoe_machine_open(&wanted, &r->machine));
    return adamoe_side_by_side_open(&r->files, &r->machine, r->kernel, &r->sides);
}

static void close_sides(reproduction *r)
{
    adamoe_side_by_side_free(&r->sides);
    adamoe_machine_close(&r->machine);
}

static adamoe_status check_files(reproduction *r)
{
    const adamoe_result_file file = {"--json", r->options->json};
    const char *const inputs[] = {r->files.model, r->files.baseline, r->files.untouched, r->files.questions,
                                  r->files.ranks.recording};
    return r->world->rank != 0 ? adamoe_ok()
                               : adamoe_check_result_files(&file, 1, inputs, sizeof inputs / sizeof *inputs,
                                                           &r->options->common);
}

static adamoe_status choose_kernel(reproduction *r)
{
    return adamoe_choose_kernel(&r->options->common, &r->registry, &r->kernel);
}

static adamoe_status list_facts(const reproduction *r, adamoe_rank_facts *facts)
{
    const char *const models[] = {r->files.model, r->files.baseline, r->files.untouched};
    static const char *const names[] = {"model", "baseline", "untouched model"};
    ADAMOE_TRY(adamoe_rank_fact_program(facts));
    ADAMOE_TRY(adamoe_rank_fact_options(facts, NULL, r->count, r->arguments));
    ADAMOE_TRY(adamoe_rank_fact_kernels(facts, &r->options->common, r->kernel));
    for (size_t i = 0; i < sizeof models / sizeof *models; ++i) {
        if (models[i] != NULL) {
            ADAMOE_TRY(adamoe_rank_fact_model(facts, names[i], models[i]));
        }
    }
    if (r->files.ranks.recording != NULL) {
        ADAMOE_TRY(adamoe_rank_fact_file(facts, "recording", r->files.ranks.recording));
    }
    return adamoe_rank_fact_file(facts, "questions", r->files.questions);
}

/* What can go wrong with files goes wrong before the work. */
static adamoe_status open_all(reproduction *r)
{
    adamoe_rank_facts facts = {.count = 0};
    adamoe_status status = choose_kernel(r);
    if (status.code == ADAMOE_OK) {
        status = complete(&r->options->sides, r, &r->files);
    }
    if (status.code == ADAMOE_OK) {
        status = check_files(r);
    }
    if (status.code == ADAMOE_OK && r->world->ranks > 1) {
        status = list_facts(r, &facts);
    }
    ADAMOE_TRY(adamoe_rank_agree(r->world, status, &facts));
    return open_sides(r);
}

/* The sides are closed while others time them, who then have the machine to themselves. */
static adamoe_status time_sides(reproduction *r)
{
    if (r->world->ranks > 1) {
        return adamoe_side_by_side_time_here(&r->sides);
    }
    close_sides(r);
    ADAMOE_TRY(adamoe_side_by_side_time_all(&r->files, &r->options->common, &r->sides));
    return open_sides(r);
}

static adamoe_status run_all(reproduction *r)
{
    r->checks = json_array();
    r->throughput = json_array();
    ADAMOE_TRY(open_all(r));
    if (!r->options->evaluate_only) {
        ADAMOE_TRY(check_kernels(r));
        ADAMOE_TRY(time_kernels(r));
    }
    (void)fflush(stdout);
    ADAMOE_TRY(time_sides(r));
    ADAMOE_TRY(adamoe_side_by_side_run(&r->sides, r->options->common.seed));
    adamoe_hold_signals();
    const adamoe_status status = report(r);
    adamoe_release_signals();
    ADAMOE_TRY(status);
    return r->failed == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_DIFFERENCE,
                              "check: %zu cases failed, named above; `adamoe check' runs all of them",
                              r->failed);
}

/* In a process that was started for it. */
static adamoe_status time_once(reproduction *r)
{
    r->files = r->options->sides;
    ADAMOE_TRY(choose_kernel(r));
    ADAMOE_TRY(open_sides(r));
    return adamoe_side_by_side_time(&r->sides);
}

static adamoe_status study(const adamoe_reproduce_options *o, const adamoe_kernel *kernel)
{
    adamoe_study_options study = o->study;
    study.common = &o->common;
    study.kernel = kernel;
    study.start = o->sides.untouched;
    study.questions = o->sides.questions;
    study.out = study.out != NULL ? study.out : "study";
    study.seeds = study.routers ? 0 : study.seeds != 0 ? study.seeds : 5;
    study.sweep_seeds = study.routers ? 0 : study.sweep_seeds != SIZE_MAX ? study.sweep_seeds : 1;
    study.starts = study.routers && study.starts == 0 ? 3 : study.starts;
    return adamoe_study(&study);
}

static adamoe_status claim(const adamoe_reproduce_options *o)
{
    const adamoe_result_file file = {"--json", o->json};
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, NULL, 0, &o->common));
    return adamoe_claim(o->common.seed, o->json);
}

static adamoe_status run_as_asked(reproduction *r)
{
    const adamoe_reproduce_options *o = r->options;
    if (r->world->ranks > 1 && (!o->evaluate_only || o->full || o->time_sides)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "over ranks: with --evaluate-only alone");
    }
    if (o->full) {
        ADAMOE_TRY(choose_kernel(r));
        return study(o, r->kernel);
    }
    return o->time_sides ? time_once(r) : run_all(r);
}

int adamoe_verb_reproduce(int count, char **arguments)
{
    const adamoe_reproduce_options options = adamoe_reproduce_parse(count, arguments);
    if (options.claim) {
        return adamoe_finish("reproduce", claim(&options));
    }
    reproduction r = {.options = &options, .count = count, .arguments = arguments};
    adamoe_status status = adamoe_ranks_open(options.sides.ranks.patience, &r.ranks);
    if (status.code == ADAMOE_OK) {
        r.world = adamoe_ranks_world(r.ranks);
        r.prints = r.world->rank == 0 && adamoe_json_leaves_stdout(options.json);
        status = run_as_asked(&r);
        adamoe_rank_stop("reproduce", r.ranks, &status);
    }
    close_sides(&r);
    json_decref(r.checks);
    json_decref(r.throughput);
    adamoe_registry_free(r.registry);
    return adamoe_rank_finish("reproduce", r.ranks, status);
}
