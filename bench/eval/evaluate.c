/*
 * One evaluation: opening, converting, preparing, scoring.
 */
#include "eval/evaluate.h"
#include "eval/adapted_model.h"
#include "adapters.h"
#include "eval/gather.h"
#include "eval/steps.h"
#include "layers/router_setup.h"
#include "machine/clock.h"
#include "machine/host.h"
#include "machine/memory.h"
#include "ranks/machines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const adamoe_evaluate_options adamoe_evaluate_defaults = {
    .selection = ADAMOE_SELECTION_AS_GIVEN,
    .batch_tokens = 4096,
    .show_progress = true,
    .measure_peak = true,
    .world = &adamoe_alone,
    .ranks = {.chunks = 1},
};

static adamoe_status check_baseline(const adamoe_evaluate_options *o, size_t experts)
{
    return o->baseline_k <= experts
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--baseline-k: %zu, but there are %zu true experts",
                              o->baseline_k, experts);
}

static const adamoe_config *config_of(const adamoe_evaluation *e)
{
    return &adamoe_checkpoint_model(e->folder.checkpoint)->config;
}

/* A folder of adapters: its base takes the place of the folder. How experts are selected is part of what was
 * trained. */
static adamoe_status open_adapted(adamoe_evaluation *e)
{
    const adamoe_evaluate_options *o = &e->options;
    if (adamoe_selection_given(&o->selection)) {
        return adamoe_error(
            ADAMOE_BAD_INPUT,
            "--top-k, --null-experts, --norm, --null-kind: adapters are run as they were trained");
    }
    if (o->router.router != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--router: adapters are run as they were trained");
    }
    if (o->record_routing) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--record-routing: adapters have a routing for each map");
    }
    ADAMOE_TRY(adamoe_adapted_model_open(o->model, &e->folder, &e->lora));
    const adamoe_lora_sizes *sizes = &e->lora->model.sizes;
    e->adapted = e->lora->model.base->config;
    e->adapted.architecture.dense = !sizes->routed;
    e->adapted.experts = sizes->experts;
    e->adapted.null_experts = sizes->null_experts;
    e->adapted.rule = sizes->rule;
    return check_baseline(o, sizes->experts);
}

/* --router NAME on a checkpoint that has the rows that it needs, or the router that the folder was trained with. */
static adamoe_status choose_router(adamoe_evaluation *e)
{
    const adamoe_evaluate_options *o = &e->options;
    const adamoe_config *config = config_of(e);
    const bool own = e->folder.router.router != NULL;
    if (own && (o->router.router != NULL || adamoe_selection_given(&o->selection))) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: it has a router, %s, which goes with neither --router nor --top-k, "
                            "--null-experts, --norm and --null-kind",
                            o->model, e->folder.router.router->name);
    }
    if (o->record_routing) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--record-routing: a router of the table makes a plan, no routing");
    }
    if (own) {
        e->router = e->folder.router;
        e->folder.router = (adamoe_model_router){.router = NULL};
    } else {
        const size_t rows = adamoe_router_usual_null_rows(o->router.router, config->experts);
        if (rows != config->null_experts) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "--router: %s wants %zu rows of gate2, the model has %zu; `adamoe train "
                                "--router' gives it its own",
                                o->router.router->name, rows, config->null_experts);
        }
        const size_t top_k = config->null_experts > 0 ? 2 : config->rule.top_k;
        ADAMOE_TRY(adamoe_router_option_create(&o->router, &o->selection, config, top_k, &e->router));
    }
    return !o->causal || adamoe_router_is_causal(e->router.router, e->router.value)
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_BAD_INPUT,
                     "--causal: router %s is not: later tokens of a batch decide what an earlier one gets",
                     e->router.router->name);
}

static adamoe_status open_model(adamoe_evaluation *e)
{
    if (adamoe_adapters_in(e->options.model)) {
        return open_adapted(e);
    }
    ADAMOE_TRY(adamoe_model_folder_open_routed(e->options.model, &e->folder));
    ADAMOE_TRY(check_baseline(&e->options, config_of(e)->experts));
    if (e->options.router.router != NULL || e->folder.router.router != NULL) {
        return choose_router(e);
    }
    return adamoe_selection_convert(&e->options.selection, e->folder.checkpoint);
}

static adamoe_status make_prompts(adamoe_evaluation *e)
{
    const adamoe_prompt_rule rule = {.format = e->options.format,
                                     .bos = e->options.bos,
                                     .has_bos = config_of(e)->has_bos,
                                     .bos_id = config_of(e)->bos,
                                     .context = config_of(e)->context,
                                     .vocab_size = config_of(e)->vocab_size};
    e->prompt = calloc(e->count, sizeof *e->prompt);
    e->outcome = calloc(e->count, sizeof *e->outcome);
    if (e->prompt == NULL || e->outcome == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
    }
    for (size_t q = 0; q < e->count; ++q) {
        const adamoe_question *question = &e->questions->question[q];
        const adamoe_status status =
            adamoe_prompt_create(question, e->folder.tokenizer, &rule, &e->prompt[q]);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "%s: %.400s", e->options.questions, status.message);
        }
        e->outcome[q].logprob = calloc(question->choices, sizeof(double));
        if (e->outcome[q].logprob == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
        }
    }
    return adamoe_ok();
}

/* Half of what is free may hold prepared weights; activations, results and other programs need the rest. It is shared by
 * the ranks that are here, and each of them holds its part of the experts, which are nearly all of a model of many. */
static size_t memory_for_weights(const adamoe_evaluation *e, uint32_t ranks_here)
{
    const size_t half = adamoe_available_memory() / 2;
    const double share = (double)half / ranks_here * e->options.world->ranks;
    return share < (double)SIZE_MAX ? (size_t)share : half;
}

/* The naive model needs no preparation; everything else goes through the contract. */
static adamoe_status prepare(adamoe_evaluation *e)
{
    if (strcmp(e->kernel->name, "reference") == 0 && e->router.router == NULL) {
        return adamoe_ok();
    }
    const adamoe_machine *m = e->machine;
    const adamoe_world *world = e->options.world;
    if (e->lora != NULL) {
        const adamoe_lora_network_options with = {
            .kernel = e->kernel, .team = m->team, .placement = m->placement, .host = &m->host};
        return adamoe_lora_network_create(e->lora, &with, &e->network);
    }
    uint32_t ranks_here;
    ADAMOE_TRY(adamoe_ranks_here(world, &ranks_here));
    const adamoe_sharded_options spread = adamoe_rank_sharded(&e->options.ranks, &e->assignment, world);
    ADAMOE_TRY(adamoe_sharded_create(e->kernel, &spread, &e->sharded));
    ADAMOE_TRY(adamoe_forward_create(adamoe_sharded_kernel(e->sharded),
                                     adamoe_checkpoint_model(e->folder.checkpoint), m->team, m->placement,
                                     &m->host, memory_for_weights(e, ranks_here), &e->forward));
    if (world->ranks > 1 && !adamoe_forward_is_resident(e->forward)) {
        return adamoe_error(
            ADAMOE_NOT_SUPPORTED,
            "%s: %u ranks, %u of them here, have no memory to hold its weights, and layer by layer they "
            "are not run over ranks",
            e->options.model, world->ranks, ranks_here);
    }
    return e->router.router == NULL ? adamoe_ok() : adamoe_forward_use_router(e->forward, &e->router);
}

/* Adapters stand on products of their own; the batch that is measured would not be what they run. */
static adamoe_status choose_kernel(adamoe_evaluation *e)
{
    const adamoe_evaluate_options *o = &e->options;
    if (e->lora != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--dtype: %s: adapters run on the kernel that --kernel names",
                            o->model);
    }
    ADAMOE_TRY(adamoe_choose_fastest(o->registry, o->dtype, adamoe_checkpoint_model(e->folder.checkpoint),
                                     e->machine, &e->choice));
    e->chosen = adamoe_with_dense_product(o->registry, e->choice.candidate[e->choice.chosen].kernel,
                                          &e->dense_product);
    e->kernel = &e->chosen;
    return adamoe_ok();
}

/* The file name without folder and suffix. */
static char *task_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(name, '.');
    return dot == NULL || dot == name ? strdup(name) : strndup(name, (size_t)(dot - name));
}

/* What a batch decides, or what stands in one file in the order of the questions, is not for several ranks. */
static adamoe_status check_ranks(const adamoe_evaluation *e)
{
    if (e->options.world->ranks == 1) {
        return adamoe_ok();
    }
    if (e->options.record_routing) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--record-routing: on one rank");
    }
    return e->router.router == NULL || adamoe_router_is_causal(e->router.router, e->router.value)
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_BAD_INPUT,
                     "router %s: later tokens of a batch decide what an earlier one gets, and each rank has a "
                     "batch of its own",
                     e->router.router->name);
}

/* Before anything is prepared. */
static adamoe_status place_experts(adamoe_evaluation *e)
{
    const adamoe_config *config = config_of(e);
    const adamoe_rank_options *o = &e->options.ranks;
    if (o->recording != NULL && e->lora != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--rank-recording: every rank has all experts of adapters");
    }
    const bool several = !config->architecture.dense && config->experts > 1;
    const adamoe_rank_subject subject = {e->options.model, several ? config->layers : 0, config->experts};
    return adamoe_rank_assignment_create(o, &subject, e->options.world->ranks, &e->assignment);
}

static adamoe_status open_all(adamoe_evaluation *e)
{
    const adamoe_evaluate_options *options = &e->options;
    ADAMOE_TRY(open_model(e));
    ADAMOE_TRY(check_ranks(e));
    ADAMOE_TRY(place_experts(e));
    ADAMOE_TRY(options->task == NULL ? adamoe_questions_read(options->questions, &e->questions)
                                     : adamoe_task_read(options->task, options->questions, &e->questions));
    e->count =
        options->limit != 0 && options->limit < e->questions->count ? options->limit : e->questions->count;
    e->task = options->task == NULL ? task_name(options->questions) : strdup(options->task->name);
    if (e->task == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "eval: out of memory");
    }
    ADAMOE_TRY(make_prompts(e));
    if (options->registry != NULL) {
        ADAMOE_TRY(choose_kernel(e));
    }
    return prepare(e);
}

adamoe_status adamoe_evaluation_open(const adamoe_evaluate_options *options, const adamoe_kernel *kernel,
                                     const adamoe_machine *machine, adamoe_evaluation *e)
{
    *e = (adamoe_evaluation){.options = *options, .kernel = kernel, .machine = machine};
    return adamoe_world_agree(options->world, open_all(e));
}

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
    const size_t experts = e->lora != NULL ? e->adapted.experts : config_of(e)->experts;
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
                                        adamoe_wire_of(e->kernel, config_of(e)->hidden_size), baseline_k(e),
                                        &e->wire));
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
    const adamoe_journal_subject subject = {.identity = o->identity,
                                            .count = e->count,
                                            .prompt = e->prompt,
                                            .outcome = e->outcome,
                                            .scorer = &e->scorer,
                                            .seconds = &e->seconds,
                                            .next = &e->next};
    adamoe_status status = adamoe_ok();
    if (o->world->rank == 0) {
        status = adamoe_journal_open(o->journal, &subject, &e->journal);
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
    return begin_journal(e);
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

void adamoe_evaluation_free(adamoe_evaluation *e)
{
    for (size_t q = 0; q < e->count; ++q) {
        if (e->prompt != NULL) {
            adamoe_prompt_free(&e->prompt[q]);
        }
        if (e->outcome != NULL) {
            free(e->outcome[q].logprob);
        }
    }
    free(e->prompt);
    free(e->outcome);
    free(e->task);
    adamoe_kernel_choice_free(&e->choice);
    adamoe_scorer_free(&e->scorer);
    adamoe_forward_free(e->forward);
    adamoe_sharded_free(e->sharded);
    adamoe_rank_assignment_free(&e->assignment);
    adamoe_wire_count_free(&e->wire);
    adamoe_traffic_report_free(&e->traffic);
    adamoe_lora_network_free(e->network);
    adamoe_model_router_free(&e->router);
    adamoe_lora_parameters_free(e->lora);
    adamoe_questions_free(e->questions);
    adamoe_model_folder_close(&e->folder);
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
    const adamoe_config *config = e->lora != NULL ? &e->adapted : config_of(e);
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
