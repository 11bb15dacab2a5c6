/*
 * adamoe layer: one layer on given tensors, its results to a file, and compared with what the file expects.
 */
#include "layer/routed.h"
#include "layer/run.h"
#include "layer/matrix_tensor.h"
#include "checkpoint.h"
#include "program/json_output.h"
#include "program/machine_json.h"
#include "program/options.h"
#include "program/result_files.h"
#include "program/selection.h"
#include "mpi/volume.h"
#include "ranks/agreement.h"
#include "ranks/assignment.h"
#include "ranks/traffic.h"
#include "verbs.h"
#include "router.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OPTION_JSON = 1,
};

typedef struct layer_options {
    int count; /* the command line */
    char **arguments;
    adamoe_ranks *ranks;
    const adamoe_world *world;
    adamoe_rank_options rank;
    adamoe_rank_assignment assignment;
    adamoe_sharded *sharded;
    adamoe_traffic_report traffic; /* on rank 0 of several */
    adamoe_common_options common;
    const char *input, *output, *json;
    adamoe_selection_options selection; /* nothing is converted: of its four the three of the rule */
} layer_options;

static const struct argp_option options_list[] = {
    {"output", 'o', "OUT.safetensors", 0, "Write the results", 0},
    {"json", OPTION_JSON, "FILE", 0, "Write load, losses and comparisons as JSON, `-' for standard output",
     0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    layer_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->selection;
        state->child_inputs[2] = &o->rank;
        return 0;
    case 'o':
        o->output = value;
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_ARG:
        if (o->input != NULL) {
            argp_error(state, "more than one FILE");
        }
        o->input = value;
        return 0;
    case ARGP_KEY_END:
        if (o->input == NULL) {
            argp_error(state, "FILE.safetensors is required");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&adamoe_common_argp, 0, 0, 0},
    {&adamoe_rule_argp, 0, "How experts are selected (default: as the file says):", 0},
    {&adamoe_rank_argp, 0, NULL, 20},
    {0}};

static const struct argp layer_argp = {
    .options = options_list,
    .parser = parse_option,
    .args_doc = "FILE.safetensors",
    .doc = "Computes one layer from the tensors of a file (hidden_states, block_sparse_moe.*). Where the "
           "file has "
           "expected.* tensors, the results are compared with them, by the error bound of the arithmetic; a "
           "difference is exit code 1. Where __metadata__ names a router, that one routes, with the "
           "parameters that __metadata__ gives by its names."
           "\vExample, in the project's folder:\n"
           "  adamoe layer tests/golden/layer/small.safetensors \\\n"
           "      --kernel reference -o out.safetensors\n",
    .children = children,
};

static adamoe_status choose_rule(const layer_options *o, const adamoe_layer_file *file, adamoe_rule *rule)
{
    *rule = adamoe_selection_rule(&o->selection, adamoe_layer_file_rule(file));
    if (rule->top_k == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: num_experts_per_tok: not in the file; give --top-k",
                            o->input);
    }
    return adamoe_ok();
}

/* Writes the tensors; ids and counts are widened to int64 first. */
static adamoe_status write_tensors(const char *path, const adamoe_layer_run *run, int64_t *ids,
                                   int64_t *counts)
{
    const adamoe_routing *routing = run->routing;
    const size_t tokens = run->tokens, k = routing->rule.top_k, all = run->router.rows;
    for (size_t i = 0; i < tokens * k; ++i) {
        ids[i] = routing->id[i];
    }
    for (size_t t = 0; t < tokens; ++t) {
        counts[t] = (int64_t)adamoe_routing_true_experts(routing, t);
    }
    const adamoe_tensor tensors[] = {
        adamoe_matrix_tensor("output", ADAMOE_F32, tokens, run->layer->hidden_size, run->output),
        adamoe_matrix_tensor("router_logits", ADAMOE_F32, tokens, all, routing->logits),
        adamoe_matrix_tensor("selected_experts", ADAMOE_I64, tokens, k, ids),
        adamoe_matrix_tensor("routing_weights", ADAMOE_F32, tokens, k, routing->weight),
        {.name = "true_experts_per_token",
         .dtype = ADAMOE_I64,
         .rank = 1,
         .shape = {tokens},
         .elements = tokens,
         .data = counts},
    };
    char plain[32], averaged[32], released[32];
    (void)snprintf(plain, sizeof plain, "%.17g", run->loss.switch_form);
    (void)snprintf(averaged, sizeof averaged, "%.17g", run->loss.null_averaged);
    (void)snprintf(released, sizeof released, "%.17g", run->loss.released);
    const adamoe_metadata metadata[] = {
        {"kernel", run->kernel->name},
        {"plain_balance_loss", plain},
        {"null_averaged_balance_loss", averaged},
        {"released_code_balance_loss", released},
    };
    return adamoe_safetensors_write(path, tensors, sizeof tensors / sizeof *tensors, metadata,
                                    sizeof metadata / sizeof *metadata);
}

static adamoe_status write_output(const char *path, const adamoe_layer_run *run)
{
    int64_t *ids = calloc(run->tokens * run->routing->rule.top_k + 1, sizeof *ids);
    int64_t *counts = calloc(run->tokens + 1, sizeof *counts);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    if (ids != NULL && counts != NULL) {
        status = write_tensors(path, run, ids, counts);
    }
    free(ids);
    free(counts);
    return status;
}

static void print_run(const layer_options *o, const adamoe_machine *machine, const adamoe_layer_run *run,
                      const adamoe_comparison *list, size_t count)
{
    const adamoe_layer *layer = run->layer;
    printf("kernel %s: %zu tokens, hidden size %zu, intermediate size %zu, %zu true and %zu null experts, "
           "top-%zu, "
           "norm %s, null kind %s\n",
           run->kernel->name, run->tokens, layer->hidden_size, layer->intermediate_size, layer->experts,
           layer->null_experts, run->routing->rule.top_k, adamoe_norm_names[run->routing->rule.norm],
           adamoe_null_kind_names[run->routing->rule.null_kind]);
    if (o->common.numa != ADAMOE_NUMA_LOCAL || o->common.topology != NULL) {
        printf("placement %s\n", adamoe_machine_describe(machine).text);
    }
    printf("load %.6g true experts per token\n", adamoe_routing_load(run->routing));
    printf("balance loss (alpha 1): switch %.9g, null averaged %.9g, released %.9g\n", run->loss.switch_form,
           run->loss.null_averaged, run->loss.released);
    for (size_t i = 0; i < count; ++i) {
        printf("%s %s%s%s\n", list[i].passed ? adamoe_comparison_status(&list[i]) : "FAILED", list[i].name,
               list[i].detail[0] == '\0' ? "" : ": ", list[i].detail);
    }
}

static json_t *run_json(const char *input, const adamoe_machine *machine, const adamoe_layer_run *run,
                        const adamoe_comparison *list, size_t count)
{
    return json_pack("{s:o,s:o,s:I,s:f,s:f,s:f,s:f,s:o,s:o}", "file", adamoe_json_text(input), "kernel",
                     adamoe_json_text(run->kernel->name), "tokens", (json_int_t)run->tokens, "load",
                     adamoe_routing_load(run->routing), "plain_balance_loss", run->loss.switch_form,
                     "null_averaged_balance_loss", run->loss.null_averaged, "released_code_balance_loss",
                     run->loss.released, "comparisons", adamoe_comparisons_json(list, count), "machine",
                     adamoe_machine_json(machine));
}

static adamoe_status report(const layer_options *o, const adamoe_machine *machine,
                            const adamoe_layer_run *run, const adamoe_safetensors *file)
{
    adamoe_comparison list[ADAMOE_MAX_COMPARISONS];
    size_t count = 0, failed = 0;
    ADAMOE_TRY(adamoe_layer_compare(run, file, list, &count));
    for (size_t i = 0; i < count; ++i) {
        failed += !list[i].passed;
    }
    if (adamoe_json_leaves_stdout(o->json)) {
        print_run(o, machine, run, list, count);
    }
    if (o->output != NULL) {
        ADAMOE_TRY(write_output(o->output, run));
    }
    if (o->traffic.rank != NULL && adamoe_json_leaves_stdout(o->json)) {
        adamoe_traffic_print(&o->traffic);
    }
    if (o->json != NULL) {
        json_t *all = run_json(o->input, machine, run, list, count);
        if (all != NULL && o->traffic.rank != NULL) {
            (void)json_object_set_new(all, "communication", adamoe_traffic_json(&o->traffic));
        }
        ADAMOE_TRY(adamoe_json_write(o->json, all));
    }
    if (failed > 0) {
        return adamoe_error(ADAMOE_DIFFERENCE, "%s: %zu of %zu comparisons failed", o->input, failed, count);
    }
    return adamoe_ok();
}

/* What ranks counted, on rank 0, which has all tokens. */
static adamoe_status gather_traffic(layer_options *o, const adamoe_kernel *kernel,
                                    const adamoe_machine *machine, size_t tokens, uint64_t predicted)
{
    if (o->world->ranks == 1) {
        return adamoe_ok();
    }
    const adamoe_rank_traffic own = {.threads = machine->team->threads,
                                     .tokens = tokens,
                                     .counters = adamoe_sharded_counters(o->sharded),
                                     .predicted_bytes = predicted};
    ADAMOE_TRY(adamoe_traffic_gather(o->world, own, &o->traffic));
    adamoe_traffic_describe(&o->traffic, &o->rank, kernel);
    adamoe_ranks_describe(o->ranks, o->traffic.mpi, sizeof o->traffic.mpi);
    return adamoe_ok();
}

/* There and back, of the tokens of this rank: none but on rank 0. */
static adamoe_status predict_bytes(const layer_options *o, const adamoe_kernel *kernel,
                                   const adamoe_layer *layer, const adamoe_plan *plan, uint64_t *bytes)
{
    const uint32_t ranks = o->world->ranks, *owners = adamoe_sharded_assignment(o->sharded, 0);
    const adamoe_wire wire = adamoe_wire_of(kernel, layer->hidden_size);
    *bytes = 0;
    if (ranks == 1 || owners == NULL) {
        return adamoe_ok();
    }
    adamoe_volume *volume = calloc(ranks, sizeof *volume);
    uint32_t *seen = calloc(plan->inputs + 1, sizeof *seen);
    if (volume != NULL && seen != NULL) {
        adamoe_volume_of_plan(plan, owners, o->world->rank, ranks, &wire, seen, volume);
        for (uint32_t r = 0; r < ranks; ++r) {
            *bytes += volume[r].request_bytes + volume[r].result_bytes;
        }
    }
    const bool complete = volume != NULL && seen != NULL;
    free(volume);
    free(seen);
    return complete ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
}

/* A rank other than the first has no tokens, and computes what that one asks of its experts. */
static adamoe_status serve(layer_options *o, const adamoe_kernel *kernel, const adamoe_machine *machine,
                           const adamoe_layer *layer)
{
    uint32_t *offset = calloc(layer->experts + 1, sizeof *offset);
    const uint32_t none[1] = {0};
    const float nothing[1] = {0.0f};
    const adamoe_plan plan = {.experts = layer->experts,
                              .offset = offset,
                              .input = none,
                              .token_offset = none,
                              .token_row = none,
                              .combine = nothing};
    float *y = NULL;
    uint64_t bytes = 0;
    adamoe_status status =
        offset == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory") : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status =
            adamoe_layer_run_experts(adamoe_sharded_kernel(o->sharded), layer, machine, nothing, &plan, &y);
    }
    if (status.code == ADAMOE_OK) {
        status = predict_bytes(o, kernel, layer, &plan, &bytes);
    }
    free(offset);
    free(y);
    return status.code == ADAMOE_OK ? gather_traffic(o, kernel, machine, 0, bytes) : status;
}

static adamoe_status run_file(layer_options *o, const adamoe_kernel *kernel, const adamoe_machine *machine,
                              const adamoe_layer_file *file)
{
    adamoe_rule rule;
    adamoe_layer_run run;
    size_t tokens = 0;
    const float *hidden_states = adamoe_layer_file_hidden_states(file, &tokens);
    ADAMOE_TRY(choose_rule(o, file, &rule));
    ADAMOE_TRY(adamoe_safetensors_check_finite(adamoe_layer_file_tensors(file)));
    if (o->world->rank != 0) {
        return serve(o, kernel, machine, adamoe_layer_file_layer(file));
    }
    uint64_t bytes = 0;
    adamoe_status status =
        adamoe_layer_run_create(adamoe_sharded_kernel(o->sharded), adamoe_layer_file_layer(file), rule,
                                hidden_states, tokens, machine, &run);
    if (status.code != ADAMOE_OK) {
        return adamoe_error(status.code, "%s: %.400s", o->input, status.message);
    }
    status = predict_bytes(o, kernel, run.layer, run.plan, &bytes);
    if (status.code == ADAMOE_OK) {
        status = gather_traffic(o, kernel, machine, tokens, bytes);
    }
    status = status.code != ADAMOE_OK ? status : report(o, machine, &run, adamoe_layer_file_tensors(file));
    adamoe_layer_run_free(&run);
    return status;
}

static adamoe_status set_parameter(const layer_options *o, adamoe_router_inputs *inputs, const char *name,
                                   const char *text)
{
    const adamoe_status status = adamoe_router_set(inputs->router, inputs->call.value, name, text);
    return status.code == ADAMOE_OK ? status
                                    : adamoe_error(status.code, "%.250s: %.250s", o->input, status.message);
}

/* --top-k, --norm and --null-kind over what the file says, for routers that have them. */
static adamoe_status set_parameters(const layer_options *o, adamoe_router_inputs *inputs)
{
    char top_k[24];
    (void)snprintf(top_k, sizeof top_k, "%zu", o->selection.top_k);
    if (o->selection.top_k != 0) {
        ADAMOE_TRY(set_parameter(o, inputs, "top_k", top_k));
    }
    if (o->selection.norm >= 0) {
        ADAMOE_TRY(set_parameter(o, inputs, "norm", adamoe_norm_names[o->selection.norm]));
    }
    return o->selection.null_kind < 0
               ? adamoe_ok()
               : set_parameter(o, inputs, "null_kind", adamoe_null_kind_names[o->selection.null_kind]);
}

static adamoe_status report_routed(const layer_options *o, const adamoe_machine *machine,
                                   const adamoe_routed_run *run, const adamoe_safetensors *file)
{
    adamoe_comparison list[ADAMOE_MAX_ROUTED_COMPARISONS];
    size_t count = 0, failed = 0;
    ADAMOE_TRY(adamoe_routed_compare(run, file, list, &count));
    for (size_t i = 0; i < count; ++i) {
        failed += !list[i].passed;
    }
    if (adamoe_json_leaves_stdout(o->json)) {
        adamoe_routed_print(run, list, count);
    }
    if (o->output != NULL) {
        ADAMOE_TRY(adamoe_routed_write(o->output, run));
    }
    if (o->json != NULL) {
        ADAMOE_TRY(adamoe_json_write(o->json, adamoe_routed_json(o->input, machine, run, list, count)));
    }
    if (failed > 0) {
        return adamoe_error(ADAMOE_DIFFERENCE, "%s: %zu of %zu comparisons failed", o->input, failed, count);
    }
    return adamoe_ok();
}

static adamoe_status route_file(const layer_options *o, const adamoe_kernel *kernel,
                                const adamoe_machine *machine, const adamoe_layer_file *file,
                                adamoe_router_inputs *inputs)
{
    adamoe_routed_run run;
    ADAMOE_TRY(set_parameters(o, inputs));
    ADAMOE_TRY(adamoe_routed_run_create(kernel, file, inputs, machine, &run));
    const adamoe_status status = report_routed(o, machine, &run, adamoe_layer_file_tensors(file));
    adamoe_routed_run_free(&run);
    return status;
}

static adamoe_status run_routed_file(const layer_options *o, const adamoe_kernel *kernel,
                                     const adamoe_machine *machine, const adamoe_layer_file *file)
{
    adamoe_router_inputs inputs;
    ADAMOE_TRY(adamoe_safetensors_check_finite(adamoe_layer_file_tensors(file)));
    ADAMOE_TRY(adamoe_router_inputs_create(file, &inputs));
    const adamoe_status status = route_file(o, kernel, machine, file, &inputs);
    adamoe_router_inputs_free(&inputs);
    return status;
}

static adamoe_status run_on_machine(layer_options *o, const adamoe_kernel *kernel,
                                    const adamoe_layer_file *file)
{
    const adamoe_machine_options wanted = adamoe_options_for_machine(&o->common);
    adamoe_machine machine;
    ADAMOE_TRY(adamoe_machine_open(&wanted, &machine));
    const bool routed = adamoe_layer_file_router(file) != NULL;
    const adamoe_status status =
        routed ? run_routed_file(o, kernel, &machine, file) : run_file(o, kernel, &machine, file);
    adamoe_rank_stop("layer", o->ranks, &status);
    adamoe_machine_close(&machine);
    return status;
}

static adamoe_status list_facts(const layer_options *o, const adamoe_kernel *kernel, adamoe_rank_facts *facts)
{
    ADAMOE_TRY(adamoe_rank_fact_program(facts));
    ADAMOE_TRY(adamoe_rank_fact_options(facts, &layer_argp, o->count, o->arguments));
    ADAMOE_TRY(adamoe_rank_fact_kernels(facts, &o->common, kernel));
    if (o->rank.recording != NULL) {
        ADAMOE_TRY(adamoe_rank_fact_file(facts, "recording", o->rank.recording));
    }
    return adamoe_rank_fact_file(facts, "layer", o->input);
}

/* What all ranks must find before they begin; rank 0 looks after the files of the results. */
static adamoe_status begin(layer_options *o, adamoe_registry **registry, const adamoe_kernel **kernel,
                           adamoe_layer_file **file)
{
    const adamoe_result_file files[] = {{"--output", o->output}, {"--json", o->json}};
    const char *const inputs[] = {o->input, o->rank.recording};
    if (o->world->rank == 0) {
        ADAMOE_TRY(adamoe_check_result_files(files, 2, inputs, 2, &o->common));
    }
    ADAMOE_TRY(adamoe_choose_kernel(&o->common, registry, kernel));
    ADAMOE_TRY(adamoe_layer_file_open(o->input, file));
    const size_t experts = adamoe_layer_file_layer(*file)->experts;
    const adamoe_rank_subject subject = {o->input, experts > 1 ? 1 : 0, experts};
    ADAMOE_TRY(adamoe_rank_assignment_create(&o->rank, &subject, o->world->ranks, &o->assignment));
    const adamoe_sharded_options spread = adamoe_rank_sharded(&o->rank, &o->assignment, o->world);
    ADAMOE_TRY(adamoe_sharded_create(*kernel, &spread, &o->sharded));
    return o->world->ranks > 1 && adamoe_layer_file_router(*file) != NULL
               ? adamoe_error(ADAMOE_BAD_INPUT, "%s: it names a router: on one rank", o->input)
               : adamoe_ok();
}

static adamoe_status run(layer_options *o)
{
    adamoe_registry *registry = NULL;
    const adamoe_kernel *kernel = NULL;
    adamoe_layer_file *file = NULL;
    adamoe_rank_facts facts = {.count = 0};
    o->world = adamoe_ranks_world(o->ranks);
    adamoe_status status = begin(o, &registry, &kernel, &file);
    if (status.code == ADAMOE_OK && o->world->ranks > 1) {
        status = list_facts(o, kernel, &facts);
    }
    status = adamoe_rank_agree(o->world, status, &facts);
    if (status.code == ADAMOE_OK) {
        status = run_on_machine(o, kernel, file);
    }
    if (file != NULL) {
        adamoe_layer_file_close(file);
    }
    adamoe_traffic_report_free(&o->traffic);
    adamoe_sharded_free(o->sharded);
    adamoe_rank_assignment_free(&o->assignment);
    adamoe_registry_free(registry);
    return status;
}

int adamoe_verb_layer(int count, char **arguments)
{
    layer_options options = {.count = count,
                             .arguments = arguments,
                             .rank = adamoe_rank_defaults,
                             .selection = ADAMOE_SELECTION_AS_GIVEN,
                             .common = {.seed = 1}};
    adamoe_parse(&layer_argp, count, arguments, &options);
    adamoe_status status = adamoe_ranks_open(options.rank.patience, &options.ranks);
    if (status.code == ADAMOE_OK) {
        status = run(&options);
    }
    return adamoe_rank_finish("layer", options.ranks, status);
}
