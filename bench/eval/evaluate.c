/*
 * One evaluation that is open: scoring, step by step, and what was counted meanwhile.
 */
#include "eval/evaluate.h"
#include "eval/gather.h"
#include "eval/steps.h"
#include "machine/clock.h"
#include "ranks/machines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_progress_line(const adamoe_evaluation *e)
{
    return e->options.show_progress && e->options.world->rank == 0 && isatty(STDERR_FILENO);
}

static void show_progress(const adamoe_evaluation *e, size_t done)
{
    if (has_progress_line(e)) {
        fprintf(stderr, "\r%zu of %zu questions", done, e->count);
    }
}

/* What comes next, a result or an error, has the line to itself. */
static void clear_progress(const adamoe_evaluation *e)
{
    if (has_progress_line(e)) {
        fprintf(stderr, "\r\033[K");
    }
}

static bool is_fast(const adamoe_evaluation *e)
{
    return e->forward != NULL || e->network != NULL;
}

static adamoe_status score_batch(adamoe_evaluation *e, size_t first, size_t end)
{
    double **logprob = calloc(end - first, sizeof *logprob);
    if (logprob == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
    }
    for (size_t q = first; q < end; ++q) {
        logprob[q - first] = e->outcome[q].logprob;
    }
    const adamoe_status status = adamoe_score(&e->scorer, e->prompt + first, end - first, logprob);
    free(logprob);
    if (status.code != ADAMOE_OK) {
        return adamoe_error(status.code, "%s: questions %zu to %zu: %.400s", e->options.model, first + 1, end,
                            status.message);
    }
    return status;
}

/* The faster of before and after: a machine that was disturbed once had its peak all the same. Of several ranks, the sum;
 * those that share processors have each a whole one for the few milliseconds of a burst, and a part of it otherwise. */
static adamoe_status measure_peak(adamoe_evaluation *e)
{
    if (e->options.measure_peak && is_fast(e)) {
        double sharing;
        ADAMOE_TRY(adamoe_ranks_per_processor(e->options.world, e->machine->team->threads, &sharing));
        adamoe_fma_peak peak = adamoe_measure_fma_peak(e->machine->team, 5);
        peak.gflops /= sharing;
        ADAMOE_TRY(adamoe_gather_sum(e->options.world, &peak.gflops));
        e->peak = peak.gflops > e->peak.gflops ? peak : e->peak;
    }
    return adamoe_ok();
}

/* Top-2, as vanilla models of this kind are, or the one expert that there is. */
static size_t baseline_k(const adamoe_evaluation *e)
{
    const size_t experts = e->lora != NULL ? e->adapted.experts : adamoe_evaluation_config(e)->experts;
    return e->options.baseline_k != 0 ? e->options.baseline_k : experts < 2 ? experts : 2;
}

/* Counters from zero. */
static adamoe_status begin_traffic(adamoe_evaluation *e)
{
    adamoe_wire_count_free(&e->wire);
    if (e->options.world->ranks == 1 || e->sharded == NULL) {
        return adamoe_ok();
    }
    adamoe_sharded_clear(e->sharded);
    ADAMOE_TRY(adamoe_wire_count_create(e->sharded, e->options.world,
                                        adamoe_wire_of(e->kernel, adamoe_evaluation_config(e)->hidden_size),
                                        baseline_k(e), &e->wire));
    e->scorer.wire = &e->wire;
    return adamoe_ok();
}

/* What an earlier run has finished need not be run. Rank 0 knows it, and tells. */
static adamoe_status begin_journal(adamoe_evaluation *e)
{
    const adamoe_evaluate_options *o = &e->options;
    if (o->journal == NULL) {
        return adamoe_ok();
    }
    adamoe_journal_close(e->journal, true);
    e->journal = NULL;
    const adamoe_journal_subject subject = {.count = e->count,
                                            .prompt = e->prompt,
                                            .outcome = e->outcome,
                                            .scorer = &e->scorer,
                                            .seconds = &e->seconds,
                                            .next = &e->next};
    adamoe_rank_facts run = *o->run;
    adamoe_rank_fact_add(&run, "kernel", "%s", e->kernel->name);
    if (e->dense_product != NULL) {
        adamoe_rank_fact_add(&run, "dense product", "%s", e->dense_product);
    }
    adamoe_status status = adamoe_ok();
    if (o->world->rank == 0) {
        status = adamoe_journal_open(o->journal, &run, &subject, &e->journal);
    }
    ADAMOE_TRY(adamoe_world_agree(o->world, status));
    e->resumed = e->next;
    ADAMOE_TRY(adamoe_world_broadcast(o->world, &e->resumed, sizeof e->resumed));
    e->next = e->resumed;
    return adamoe_ok();
}

/* Questions first .. next - 1 are finished. */
static adamoe_status keep_step(adamoe_evaluation *e, size_t first)
{
    if (e->options.journal == NULL) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_gather_counts(e->options.world, &e->scorer));
    return e->journal == NULL ? adamoe_ok() : adamoe_journal_add(e->journal, first);
}

/* What ranks counted, on rank 0. */
static adamoe_status gather_all(adamoe_evaluation *e)
{
    const adamoe_world *world = e->options.world;
    if (world->ranks == 1) {
        return adamoe_ok();
    }
    if (e->wire.failed) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
    }
    adamoe_rank_traffic own = {.threads = is_fast(e) ? e->machine->team->threads : 1,
                               .questions = e->own_questions,
                               .tokens = e->own_tokens,
                               .predicted_bytes = e->wire.bytes,
                               .baseline_bytes = e->wire.baseline};
    if (e->sharded != NULL) {
        own.counters = adamoe_sharded_counters(e->sharded);
    }
    adamoe_traffic_report_free(&e->traffic);
    ADAMOE_TRY(adamoe_traffic_gather(world, own, &e->traffic));
    adamoe_traffic_describe(&e->traffic, &e->options.ranks, e->kernel);
    e->traffic.batch_tokens = e->options.batch_tokens;
    return adamoe_gather_counts(world, &e->scorer);
}

adamoe_status adamoe_evaluation_begin(adamoe_evaluation *e)
{
    adamoe_scorer_free(&e->scorer);
    e->next = 0;
    e->seconds = 0.0;
    e->own_questions = e->own_tokens = 0;
    if (e->options.stages) {
        if (e->forward == NULL) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--stages: %s",
                                e->lora != NULL ? "adapters do not tell theirs" : "the naive model has none");
        }
        e->clock = (adamoe_forward_clock){0};
        adamoe_forward_time_stages(e->forward, &e->clock);
    }
    if (e->lora != NULL) {
        ADAMOE_TRY(adamoe_scorer_create_adapted(&e->lora->model, e->network, &e->scorer));
    } else {
        ADAMOE_TRY(adamoe_scorer_create(adamoe_checkpoint_model(e->folder.checkpoint), e->forward,
                                        e->options.record_routing, e->router.router != NULL, &e->scorer));
    }
    ADAMOE_TRY(begin_traffic(e));
    ADAMOE_TRY(begin_journal(e));
    /* Where no step is left, none will end the run. */
    return e->next == e->count ? gather_all(e) : adamoe_ok();
}

/* This rank's questions of a step; one that has none takes part in the exchanges all the same. */
static adamoe_status run_step(adamoe_evaluation *e, const size_t *bound)
{
    const adamoe_world *world = e->options.world;
    const size_t first = bound[world->rank], end = bound[world->rank + 1];
    const uint64_t before = e->scorer.work.tokens;
    if (end > first || e->forward != NULL) {
        ADAMOE_TRY(score_batch(e, first, end));
    }
    e->own_questions += end - first;
    e->own_tokens += e->scorer.work.tokens - before;
    ADAMOE_TRY(adamoe_gather_outcomes(world, bound, e->prompt, e->outcome));
    for (size_t q = bound[0]; q < bound[world->ranks] && world->rank == 0; ++q) {
        adamoe_predict(&e->prompt[q], &e->outcome[q]);
    }
    return adamoe_ok();
}

adamoe_status adamoe_evaluation_next(adamoe_evaluation *e, bool *done)
{
    if (e->next < e->count) {
        const uint32_t ranks = e->options.world->ranks;
        const adamoe_step_rule rule = {ranks, is_fast(e) ? e->options.batch_tokens : 0};
        size_t *bound = calloc(ranks + 1, sizeof *bound);
        if (bound == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
        }
        const size_t end = adamoe_step_bounds(&rule, e->prompt, e->count, e->next, bound);
        const double start = adamoe_now();
        const adamoe_status status = run_step(e, bound);
        e->seconds += adamoe_now() - start;
        free(bound);
        ADAMOE_TRY(status);
        const size_t first = e->next;
        e->next = end;
        ADAMOE_TRY(keep_step(e, first));
        if (e->next == e->count) {
            ADAMOE_TRY(gather_all(e));
        }
    }
    *done = e->next == e->count;
    return adamoe_ok();
}

static adamoe_status score_all(adamoe_evaluation *e)
{
    adamoe_status status = adamoe_ok();
    for (bool done = false; !done && status.code == ADAMOE_OK;) {
        status = adamoe_evaluation_next(e, &done);
        show_progress(e, e->next);
    }
    clear_progress(e);
    return status;
}

adamoe_status adamoe_evaluation_run(adamoe_evaluation *e)
{
    ADAMOE_TRY(adamoe_evaluation_begin(e));
    ADAMOE_TRY(measure_peak(e));
    ADAMOE_TRY(score_all(e));
    return measure_peak(e);
}

/* What the generator says of its checkpoints. */
static bool weights_are_random(const adamoe_checkpoint *checkpoint)
{
    const char *weights = adamoe_safetensors_metadata(adamoe_checkpoint_tensors(checkpoint), "weights");
    return weights != NULL && strcmp(weights, "random") == 0;
}

/* What the run itself was computed with, not what a trial would choose. */
static const char *implementation_of(const adamoe_evaluation *e)
{
    const char *text = e->forward == NULL ? "" : adamoe_forward_implementation(e->forward);
    return text[0] == '\0' ? NULL : text;
}

static size_t count_cut(const adamoe_evaluation *e)
{
    size_t cut = 0;
    for (size_t q = 0; q < e->count; ++q) {
        bool any = false;
        for (size_t c = 0; c < e->prompt[q].choices; ++c) {
            any = any || e->prompt[q].choice[c].cut;
        }
        cut += any;
    }
    return cut;
}

/* Of all ranks. */
static uint32_t count_threads(const adamoe_evaluation *e)
{
    uint32_t threads = is_fast(e) ? e->machine->team->threads : 1;
    for (uint32_t r = 1; r < e->traffic.ranks; ++r) {
        threads += e->traffic.rank[r].threads;
    }
    return threads;
}

adamoe_eval_result adamoe_evaluation_result(const adamoe_evaluation *e)
{
    const adamoe_config *config = e->lora != NULL ? &e->adapted : adamoe_evaluation_config(e);
    size_t right = 0, right_norm = 0;
    for (size_t q = 0; q < e->count; ++q) {
        right += e->outcome[q].prediction == e->questions->question[q].gold;
        right_norm += e->outcome[q].prediction_norm == e->questions->question[q].gold;
    }
    return (adamoe_eval_result){
        .task = e->task,
        .version = e->options.task == NULL ? NULL : &e->options.task->version,
        .model = e->options.model,
        .questions = e->options.questions,
        .kernel = e->kernel->name,
        .implementation = implementation_of(e),
        .dense_product = e->dense_product,
        .choice = e->options.registry == NULL ? NULL : &e->choice,
        .format = e->options.format,
        .bos = e->options.bos,
        .config = config,
        .threads = count_threads(e),
        .traffic = e->traffic.rank == NULL ? NULL : &e->traffic,
        .weights_are_random = weights_are_random(e->folder.checkpoint),
        .baseline_k = baseline_k(e),
        .count = e->count,
        .total = e->questions->count,
        .resumed = e->resumed,
        .cut = count_cut(e),
        .layer_by_layer = e->forward != NULL && !adamoe_forward_is_resident(e->forward),
        .accuracy = adamoe_accuracy_of(right, e->count),
        .accuracy_norm = adamoe_accuracy_of(right_norm, e->count),
        .counts = &e->scorer.counts,
        .lora = e->lora == NULL ? NULL : &e->lora->model.sizes,
        .router = e->router.router == NULL ? NULL : &e->router,
        .adapted_rows = e->scorer.adapted_rows,
        .work = e->scorer.work,
        .seconds = e->seconds,
        .stage_seconds = e->options.stages ? e->clock.seconds : NULL,
        .peak = e->peak,
    };
}
