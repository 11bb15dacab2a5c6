/*
 * adamoe eval: what a model scores on multiple-choice questions, and what that costs, from the same run.
 */
#include "program/environment.h"
#include "eval/evaluate.h"
#include "program/held_signals.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "ranks/agreement.h"
#include "ranks/shared_load.h"
#include "eval/routing_record.h"
#include "numbers.h"
#include "verbs.h"

#include <string.h>

enum {
    OPTION_MODEL = 1,
    OPTION_QUESTIONS,
    OPTION_TASK,
    OPTION_FORMAT,
    OPTION_BOS,
    OPTION_LIMIT,
    OPTION_BASELINE_K,
    OPTION_CAUSAL,
    OPTION_BATCH_TOKENS,
    OPTION_STAGES,
    OPTION_DTYPE,
    OPTION_JSON,
    OPTION_SAMPLES,
    OPTION_RECORD_ROUTING,
    OPTION_RESUME,
};

typedef struct eval_options {
    int count; /* the command line */
    char **arguments;
    adamoe_ranks *ranks;
    adamoe_common_options common;
    adamoe_evaluate_options evaluate;
    const char *json, *samples, *routing;
    bool resume;
    char journal[4096];
    adamoe_rank_facts facts;   /* whose run a journal is */
    const char *dense_product; /* the kernel that it is borrowed from, or NULL */
    int dtype;                 /* of the kernel's weights; -1: the default kernel, or the one that is named */
} eval_options;

/* As adamoe_arithmetic numbers them. */
static const char *const dtype_names[] = {"float32", "bfloat16", "int8"};

static const struct argp_option options_list[] = {
    {"model", OPTION_MODEL, "DIR", 0, "Hugging Face folder (required)", 0},
    {"questions", OPTION_QUESTIONS, "FILE", 0, "Questions, a JSON object a line (required)", 0},
    {"task", OPTION_TASK, "NAME", 0,
     "The questions are this task's data set, and are scored as the harness scores that task: arc_challenge, "
     "arc_easy, openbookqa, hellaswag, piqa, social_iqa or winogrande",
     0},
    {"format", OPTION_FORMAT, "cloze|letter", 0, "Score the choice's text (default) or its letter", 0},
    {"bos", OPTION_BOS, "auto|always|never", 0, "Begin-of-sequence token: as the tokenizer says (default)",
     0},
    {"limit", OPTION_LIMIT, "N", 0, "Only the first N questions", 0},
    {0, 0, 0, 0, "Results:", 2},
    {"baseline-k", OPTION_BASELINE_K, "K", 0,
     "Top-k that reductions are measured against (default: 2, or the one expert that there is)", 2},
    {"causal", OPTION_CAUSAL, 0, 0,
     "Refuse a router that lets later tokens of a batch decide what an earlier one gets", 2},
    {"batch-tokens", OPTION_BATCH_TOKENS, "N", 0, "Tokens run together (default: 4096)", 2},
    {"stages", OPTION_STAGES, 0, 0,
     "Tell what the time went into: router, plan, experts, attention's products, attention, norms, head, log-softmax "
     "and packing of weights",
     2},
    {"json", OPTION_JSON, "FILE", 0, "Write the results as JSON, `-' for standard output", 2},
    {"samples", OPTION_SAMPLES, "FILE", 0, "Write a JSON line for each question, `-' for standard output", 2},
    {"resume", OPTION_RESUME, 0, 0,
     "Keep what is finished in SAMPLES.partial while it runs, and go on from there where an earlier run was ended",
     2},
    {"record-routing", OPTION_RECORD_ROUTING, "FILE", 0,
     "Write the selected experts of every token and layer, as safetensors", 2},
    {"dtype", OPTION_DTYPE, "float32|bfloat16|int8", 0,
     "What weights are rounded to: computes with the fastest such kernel for this machine, which a short measurement on "
     "the model's own layer finds and the result names; --kernel names one for any machine",
     10},
    {0},
};

static const adamoe_task *parse_task(struct argp_state *state, const char *value)
{
    const char *names[ADAMOE_TASKS];
    for (size_t i = 0; i < ADAMOE_TASKS; ++i) {
        names[i] = adamoe_tasks[i].name;
    }
    return &adamoe_tasks[adamoe_parse_choice(state, "--task", value, names, ADAMOE_TASKS)];
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    eval_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->evaluate.selection;
        state->child_inputs[2] = &o->evaluate.router;
        state->child_inputs[3] = &o->evaluate.ranks;
        return 0;
    case OPTION_MODEL:
        o->evaluate.model = value;
        return 0;
    case OPTION_QUESTIONS:
        o->evaluate.questions = value;
        return 0;
    case OPTION_TASK:
        o->evaluate.task = parse_task(state, value);
        return 0;
    case OPTION_FORMAT:
        o->evaluate.format =
            (adamoe_format)adamoe_parse_choice(state, "--format", value, adamoe_format_names, 2);
        return 0;
    case OPTION_BOS:
        o->evaluate.bos = (adamoe_bos)adamoe_parse_choice(state, "--bos", value, adamoe_bos_names, 3);
        return 0;
    case OPTION_LIMIT:
        o->evaluate.limit = (size_t)adamoe_parse_count(state, "--limit", value, 1, SIZE_MAX);
        return 0;
    case OPTION_BASELINE_K:
        o->evaluate.baseline_k = (size_t)adamoe_parse_count(state, "--baseline-k", value, 1, UINT32_MAX);
        return 0;
    case OPTION_CAUSAL:
        o->evaluate.causal = true;
        return 0;
    case OPTION_BATCH_TOKENS:
        o->evaluate.batch_tokens = (size_t)adamoe_parse_count(state, "--batch-tokens", value, 1, 1u << 24);
        return 0;
    case OPTION_STAGES:
        o->evaluate.stages = true;
        return 0;
    case OPTION_DTYPE:
        o->dtype = (int)adamoe_parse_choice(state, "--dtype", value, dtype_names, 3);
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case OPTION_SAMPLES:
        o->samples = value;
        return 0;
    case OPTION_RECORD_ROUTING:
        o->routing = value;
        o->evaluate.record_routing = true;
        return 0;
    case OPTION_RESUME:
        o->resume = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "`%s': no argument is expected", value);
        return 0;
    case ARGP_KEY_END:
        if (o->evaluate.model == NULL || o->evaluate.questions == NULL) {
            argp_error(state, "--model and --questions are required");
        }
        if (o->resume && (o->samples == NULL || strcmp(o->samples, "-") == 0 || o->routing != NULL)) {
            argp_error(state, "--resume goes with --samples FILE, and not with --record-routing");
        }
        if (o->routing != NULL && strcmp(o->routing, "-") == 0) {
            argp_error(state, "--record-routing: a safetensors file is not written to standard output");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&adamoe_common_argp, 0, 0, 0},
    {&adamoe_selection_argp, 0, "How experts are selected (default: as the model's config says):", 1},
    {&adamoe_router_argp, 0, NULL, 1},
    {&adamoe_rank_argp, 0, NULL, 20},
    {0}};

static const struct argp eval_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Scores multiple-choice questions as the Language Model Evaluation Harness does (zero-shot), "
           "and counts load, FLOPs and time of the same run."
           "\vExample, in the project's folder:\n"
           "  adamoe eval --model datasets/tiny-adamoe \\\n"
           "      --questions datasets/wordnet/test.jsonl\n",
    .children = children,
};

static json_t *result_json(const adamoe_eval_result *result, const adamoe_load_mark *before)
{
    json_t *all = adamoe_eval_json(result);
    (void)json_object_set_new(all, "environment", adamoe_environment_json(before));
    return all;
}

static adamoe_status report(const eval_options *o, const adamoe_evaluation *e, const adamoe_load_mark *before)
{
    const adamoe_eval_result result = adamoe_evaluation_result(e);
    if (adamoe_json_leaves_stdout(o->json) && adamoe_json_leaves_stdout(o->samples)) {
        adamoe_eval_print(&result);
        adamoe_print_disturbance(before);
    }
    if (o->samples != NULL) {
        ADAMOE_TRY(adamoe_eval_write_samples(o->samples, e->questions, e->outcome, e->count));
    }
    if (o->routing != NULL) {
        ADAMOE_TRY(adamoe_routing_record_write(e->scorer.record, result.config, o->routing));
    }
    return o->json == NULL ? adamoe_ok() : adamoe_json_write(o->json, result_json(&result, before));
}

static adamoe_status check_files(const eval_options *o)
{
    const adamoe_result_file files[] = {
        {"--json", o->json}, {"--samples", o->samples}, {"--record-routing", o->routing}};
    const char *const inputs[] = {o->evaluate.model, o->evaluate.questions, o->evaluate.ranks.recording};
    return adamoe_check_result_files(files, sizeof files / sizeof *files, inputs,
                                     sizeof inputs / sizeof *inputs, &o->common);
}

/* On rank 0, which alone writes. */
static adamoe_status report_once(const eval_options *o, adamoe_evaluation *e, const adamoe_load_mark *before)
{
    if (o->evaluate.world->rank != 0) {
        return adamoe_ok();
    }
    adamoe_ranks_describe(o->ranks, e->traffic.mpi, sizeof e->traffic.mpi);
    adamoe_hold_signals();
    const adamoe_status status = report(o, e, before);
    adamoe_release_signals();
    return status;
}

static adamoe_status run_on(const eval_options *o, const adamoe_kernel *kernel, const adamoe_machine *machine)
{
    adamoe_evaluation e;
    adamoe_shared_load load;
    adamoe_load_mark before;
    adamoe_shared_load_begin(&load);
    adamoe_status status = adamoe_evaluation_open(&o->evaluate, kernel, machine, &e);
    if (o->evaluate.registry == NULL) {
        e.dense_product = o->dense_product;
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_evaluation_run(&e);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_shared_load_end(o->evaluate.world, &load, &before);
    }
    if (status.code == ADAMOE_OK) {
        status = report_once(o, &e, &before);
    }
    if (status.code == ADAMOE_OK) {
        adamoe_journal_close(e.journal, false);
        e.journal = NULL;
    }
    adamoe_rank_stop("eval", o->ranks, &status);
    adamoe_evaluation_free(&e);
    return status;
}

static adamoe_status run(const eval_options *o, const adamoe_kernel *kernel)
{
    const adamoe_machine_options wanted = adamoe_options_for_machine(&o->common);
    adamoe_machine machine;
    ADAMOE_TRY(adamoe_machine_open(&wanted, &machine));
    const adamoe_status status = run_on(o, kernel, &machine);
    adamoe_machine_close(&machine);
    return status;
}

/* With --kernel the type is a condition, without it a choice that is made when the model is open. */
static adamoe_status take_dtype(const adamoe_registry *registry, const adamoe_kernel *kernel, eval_options *o)
{
    if (o->dtype < 0) {
        return adamoe_ok();
    }
    if (o->common.kernel == NULL && o->evaluate.world->ranks > 1) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--dtype: each rank would choose by times of its own; name the --kernel");
    }
    if (o->common.kernel == NULL) {
        o->evaluate.registry = registry;
        o->evaluate.dtype = (adamoe_arithmetic)o->dtype;
        return adamoe_ok();
    }
    return kernel->weight == (adamoe_arithmetic)o->dtype
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--dtype: %s, but the weights of kernel %s are %s",
                              dtype_names[o->dtype], kernel->name, adamoe_arithmetic_name(kernel->weight));
}

static adamoe_status list_inputs(const eval_options *o, adamoe_rank_facts *facts)
{
    ADAMOE_TRY(adamoe_rank_fact_model(facts, "model", o->evaluate.model));
    return adamoe_rank_fact_file(facts, "questions", o->evaluate.questions);
}

static adamoe_status list_facts(const eval_options *o, const adamoe_kernel *kernel, adamoe_rank_facts *facts)
{
    ADAMOE_TRY(adamoe_rank_fact_program(facts));
    ADAMOE_TRY(adamoe_rank_fact_options(facts, &eval_argp, o->count, o->arguments));
    ADAMOE_TRY(adamoe_rank_fact_kernels(facts, &o->common, kernel));
    if (o->evaluate.ranks.recording != NULL) {
        ADAMOE_TRY(adamoe_rank_fact_file(facts, "recording", o->evaluate.ranks.recording));
    }
    return list_inputs(o, facts);
}

/* All ranks are to do the same; rank 0 looks after the files of the results. */
static adamoe_status agree(const eval_options *o, adamoe_status status, const adamoe_kernel *kernel)
{
    const adamoe_world *world = o->evaluate.world;
    adamoe_rank_facts facts = {.count = 0};
    if (status.code == ADAMOE_OK && world->ranks > 1) {
        status = list_facts(o, kernel, &facts);
    }
    return adamoe_rank_agree(world, status, &facts);
}

/* Whose run a journal is: what decides the results, and nothing else. What is a fact by itself is not among the options
 * too, and the kernel is added where it has been chosen. */
static adamoe_status name_journal(eval_options *o)
{
    static const char *const others[] = {"--threads",   "--numa",   "--rank-",  "--json",
                                         "--samples",   "--resume", "--stages", "--model",
                                         "--questions", "--kernel", "--plugin", "--command"};
    if (!o->resume) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_rank_fact_program(&o->facts));
    ADAMOE_TRY(adamoe_rank_fact_kernels(&o->facts, &o->common, NULL));
    ADAMOE_TRY(list_inputs(o, &o->facts));
    ADAMOE_TRY(adamoe_rank_fact_options_without(&o->facts, &eval_argp, o->count, o->arguments, others,
                                                sizeof others / sizeof *others));
    (void)snprintf(o->journal, sizeof o->journal, "%s.partial", o->samples);
    o->evaluate.journal = o->journal;
    o->evaluate.run = &o->facts;
    return adamoe_ok();
}

static adamoe_status run_ranks(eval_options *o, adamoe_registry **registry)
{
    const adamoe_kernel *kernel = NULL;
    o->evaluate.world = adamoe_ranks_world(o->ranks);
    adamoe_status status = o->evaluate.world->rank == 0 ? check_files(o) : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status = adamoe_choose_kernel(&o->common, registry, &kernel);
    }
    if (status.code == ADAMOE_OK) {
        status = take_dtype(*registry, kernel, o);
    }
    if (status.code == ADAMOE_OK) {
        status = name_journal(o);
    }
    ADAMOE_TRY(agree(o, status, kernel));
    const adamoe_kernel whole = adamoe_with_dense_product(*registry, kernel, &o->dense_product);
    return run(o, &whole);
}

int adamoe_verb_eval(int count, char **arguments)
{
    eval_options options = {.count = count,
                            .arguments = arguments,
                            .common = {.seed = 1},
                            .evaluate = adamoe_evaluate_defaults,
                            .dtype = -1};
    options.evaluate.ranks = adamoe_rank_defaults;
    adamoe_parse(&eval_argp, count, arguments, &options);
    adamoe_registry *registry = NULL;
    adamoe_status status = adamoe_ranks_open(options.evaluate.ranks.patience, &options.ranks);
    if (status.code == ADAMOE_OK) {
        status = run_ranks(&options, &registry);
    }
    adamoe_registry_free(registry);
    return adamoe_rank_finish("eval", options.ranks, status);
}
