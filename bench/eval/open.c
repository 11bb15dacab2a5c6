/*
 * Opening an evaluation: the model, converted as the options say, its router, its experts on ranks, the questions as
 * prompts, and prepared weights.
 */
#include "eval/evaluate.h"
#include "eval/adapted_model.h"
#include "adapters.h"
#include "layers/router_setup.h"
#include "machine/host.h"
#include "machine/memory.h"
#include "ranks/machines.h"

#include <stdlib.h>
#include <string.h>

const adamoe_evaluate_options adamoe_evaluate_defaults = {
    .selection = ADAMOE_SELECTION_AS_GIVEN,
    .batch_tokens = 4096,
    .show_progress = true,
    .measure_peak = true,
    .world = &adamoe_alone,
    .ranks = {.chunks = 1},
};

const adamoe_config *adamoe_evaluation_config(const adamoe_evaluation *e)
{
    return &adamoe_checkpoint_model(e->folder.checkpoint)->config;
}

static adamoe_status check_baseline(const adamoe_evaluate_options *o, size_t experts)
{
    return o->baseline_k <= experts
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--baseline-k: %zu, but there are %zu true experts",
                              o->baseline_k, experts);
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
    const adamoe_config *config = adamoe_evaluation_config(e);
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
    ADAMOE_TRY(check_baseline(&e->options, adamoe_evaluation_config(e)->experts));
    if (e->options.router.router != NULL || e->folder.router.router != NULL) {
        return choose_router(e);
    }
    return adamoe_selection_convert(&e->options.selection, e->folder.checkpoint);
}

static adamoe_status make_prompts(adamoe_evaluation *e)
{
    const adamoe_prompt_rule rule = {.format = e->options.format,
                                     .bos = e->options.bos,
                                     .has_bos = adamoe_evaluation_config(e)->has_bos,
                                     .bos_id = adamoe_evaluation_config(e)->bos,
                                     .context = adamoe_evaluation_config(e)->context,
                                     .vocab_size = adamoe_evaluation_config(e)->vocab_size};
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

/* The naive model needs no preparation; everything else goes through the contract. Without messages: one rank may fail
 * here alone. */
static adamoe_status prepare(adamoe_evaluation *e, uint32_t ranks_here)
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
    const adamoe_config *config = adamoe_evaluation_config(e);
    const adamoe_rank_options *o = &e->options.ranks;
    if (o->recording != NULL && e->lora != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--rank-recording: every rank has all experts of adapters");
    }
    const bool several = !config->architecture.dense && config->experts > 1;
    const adamoe_rank_subject subject = {e->options.model, several ? config->layers : 0, config->experts};
    return adamoe_rank_assignment_create(o, &subject, e->options.world->ranks, &e->assignment);
}

/* What goes before preparing. Without messages. */
static adamoe_status open_inputs(adamoe_evaluation *e)
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
    return options->registry != NULL ? choose_kernel(e) : adamoe_ok();
}

adamoe_status adamoe_evaluation_open(const adamoe_evaluate_options *options, const adamoe_kernel *kernel,
                                     const adamoe_machine *machine, adamoe_evaluation *e)
{
    *e = (adamoe_evaluation){.options = *options, .kernel = kernel, .machine = machine};
    uint32_t ranks_here;
    /* What can fail on one rank stands between messages that all send: a rank that went past those of the others would be
     * waited for with messages of another size, for ever. */
    ADAMOE_TRY(adamoe_world_agree(options->world, open_inputs(e)));
    ADAMOE_TRY(adamoe_ranks_here(options->world, &ranks_here));
    return adamoe_world_agree(options->world, prepare(e, ranks_here));
}

void adamoe_evaluation_free(adamoe_evaluation *e)
{
    adamoe_journal_close(e->journal, true);
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
