/*
 * adamoe routers: every router of the table on the same tokens of one layer.
 */
#include "program/environment.h"
#include "program/json_output.h"
#include "program/machine_json.h"
#include "program/options.h"
#include "program/result_files.h"
#include "program/shipped.h"
#include "routers/router_list.h"
#include "routers/side_by_side.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

enum {
    OPTION_MODEL = 1,
    OPTION_TEXT,
    OPTION_LAYER,
    OPTION_EXPERTS,
    OPTION_PRESET,
    OPTION_TOKENS,
    OPTION_TOP_K,
    OPTION_ROUTERS,
    OPTION_SET,
    OPTION_REPEAT,
    OPTION_JSON,
};

#define MOST_ROUTERS  64
#define MOST_SETTINGS 64

typedef struct routers_options {
    adamoe_common_options common;
    const char *model, *text, *json;
    const adamoe_preset *preset;
    size_t layer, experts, tokens, top_k, repeat; /* top_k 0: the layer's own */
    const adamoe_router *router[MOST_ROUTERS];
    size_t routers;
    const char *set[MOST_SETTINGS];
    size_t settings;
} routers_options;

static const struct argp_option options_list[] = {
    {"model", OPTION_MODEL, "DIR", 0, "The layer of a model, and what arrives there when it reads --text", 0},
    {"text", OPTION_TEXT, "FILE", 0, "Text for the model (default: datasets/wordnet/corpus.txt)", 0},
    {"layer", OPTION_LAYER, "L", 0, "Layer of the model, from 0 (default: 0)", 0},
    {"experts", OPTION_EXPERTS, "N", 0, "Copies that a dense model's layer becomes (default: 8)", 0},
    {"preset", OPTION_PRESET, "NAME", 0,
     "Sizes of a published model, random weights and tokens (default: tiny)", 0},
    {"tokens", OPTION_TOKENS, "N", 0, "Tokens (default: 128)", 0},
    {"top-k", OPTION_TOP_K, "K", 0, "True experts that a token is meant to have (default: the layer's own)",
     0},
    {"routers", OPTION_ROUTERS, "LIST", 0, "Names with commas (default: all)", 0},
    {"set", OPTION_SET, "ROUTER.PARAMETER=VALUE", 0, "Changes a parameter; several times", 0},
    {"repeat", OPTION_REPEAT, "N", 0, "Timed runs of each, whose median counts (default: 3)", 0},
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 0},
    {0},
};

/* The router and its parameter have to be there; what the value is, the router judges. */
static void take_setting(struct argp_state *state, routers_options *o, const char *text)
{
    char name[64];
    const size_t length = strcspn(text, ".");
    (void)snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), text);
    if (adamoe_router_find(name) == NULL || text[length] != '.' || strchr(text, '=') == NULL ||
        strchr(text, '=') < text + length) {
        argp_error(state, "--set: `%s' is not ROUTER.PARAMETER=VALUE", text);
    } else if (o->settings == MOST_SETTINGS) {
        argp_error(state, "--set: more than %d", MOST_SETTINGS);
    } else {
        o->set[o->settings++] = text;
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    routers_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case OPTION_MODEL:
        o->model = value;
        return 0;
    case OPTION_TEXT:
        o->text = value;
        return 0;
    case OPTION_LAYER:
        o->layer = (size_t)adamoe_parse_count(state, "--layer", value, 0, 1u << 20);
        return 0;
    case OPTION_EXPERTS:
        o->experts = (size_t)adamoe_parse_count(state, "--experts", value, 1, 1u << 12);
        return 0;
    case OPTION_PRESET:
        o->preset = &adamoe_presets[adamoe_parse_choice(state, "--preset", value, adamoe_preset_names,
                                                        ADAMOE_PRESETS)];
        return 0;
    case OPTION_TOKENS:
        o->tokens = (size_t)adamoe_parse_count(state, "--tokens", value, 1, 1u << 16);
        return 0;
    case OPTION_TOP_K:
        o->top_k = (size_t)adamoe_parse_count(state, "--top-k", value, 1, 1u << 12);
        return 0;
    case OPTION_ROUTERS:
        o->routers = adamoe_parse_routers(state, "--routers", value, o->router, MOST_ROUTERS);
        return 0;
    case OPTION_SET:
        take_setting(state, o, value);
        return 0;
    case OPTION_REPEAT:
        o->repeat = (size_t)adamoe_parse_count(state, "--repeat", value, 1, 1000);
        return 0;
    case OPTION_JSON:
        o->json = value;
        return 0;
    case ARGP_KEY_END:
        if (o->model != NULL && o->preset != NULL) {
            argp_error(state, "--model and --preset are two layers");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&adamoe_common_argp, 0, 0, 0}, {0}};

static const struct argp routers_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc =
        "Runs routers side by side on the same tokens of one layer: true experts for a token, executed FLOPs, "
        "dropped tokens, balance, times, distance from the mixture of all experts, and rows that cross "
        "between nodes. What training would make of a router, its own rows and biases, is drawn at random."
        "\vExample, in the project's folder:\n"
        "  adamoe routers --model datasets/tiny-mixtral-top2 --tokens 64 \\\n"
        "      --routers adamoe,top_p,locmoe_plus\n",
    .children = children,
};

static adamoe_status open_subject(const routers_options *o, adamoe_subject *subject)
{
    if (o->model == NULL) {
        const adamoe_preset *preset = o->preset == NULL ? &adamoe_presets[0] : o->preset;
        return adamoe_subject_of_preset(preset, o->tokens, o->common.seed, subject);
    }
    adamoe_shipped_file text;
    if (o->text == NULL) {
        ADAMOE_TRY(adamoe_find_shipped("datasets/wordnet/corpus.txt", &text));
    }
    return adamoe_subject_of_model(o->model, o->text == NULL ? text.path : o->text, o->layer, o->tokens,
                                   o->experts, o->common.seed, subject);
}

static adamoe_status report(const routers_options *o, const adamoe_subject *subject,
                            const adamoe_kernel *kernel, const adamoe_machine *machine,
                            const adamoe_load_mark *before, const adamoe_router_result *results)
{
    if (adamoe_json_leaves_stdout(o->json)) {
        adamoe_print_routers(subject, kernel, results, o->routers);
        adamoe_print_disturbance(before);
    }
    if (o->json == NULL) {
        return adamoe_ok();
    }
    return adamoe_json_write(
        o->json,
        json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "subject", adamoe_json_text(subject->text),
                  "tokens", (json_int_t)subject->tokens.tokens, "hidden_size",
                  (json_int_t)subject->layer.hidden_size, "intermediate_size",
                  (json_int_t)subject->layer.intermediate_size, "experts", (json_int_t)subject->layer.experts,
                  "top_k", (json_int_t)subject->tokens.top_k, "kernel", adamoe_json_text(kernel->name),
                  "routers", adamoe_routers_json(subject, results, o->routers), "machine",
                  adamoe_machine_json(machine), "environment", adamoe_environment_json(before)));
}

static adamoe_status run_on(const routers_options *o, const adamoe_subject *subject,
                            const adamoe_kernel *kernel)
{
    const adamoe_machine_options wanted = adamoe_options_for_machine(&o->common);
    adamoe_router_result results[MOST_ROUTERS] = {{.router = NULL}};
    adamoe_machine machine;
    adamoe_load_mark before;
    ADAMOE_TRY(adamoe_machine_open(&wanted, &machine));
    adamoe_mark_load(&before);
    adamoe_status status = adamoe_measure_routers(subject, o->router, o->routers, o->set, o->settings,
                                                  o->repeat, kernel, &machine, results);
    if (status.code == ADAMOE_OK) {
        status = report(o, subject, kernel, &machine, &before, results);
    }
    for (size_t i = 0; i < o->routers; ++i) {
        adamoe_router_result_free(&results[i]);
    }
    adamoe_machine_close(&machine);
    return status;
}

static adamoe_status run(routers_options *o)
{
    const adamoe_result_file file = {"--json", o->json};
    adamoe_registry *registry = NULL;
    const adamoe_kernel *kernel = NULL;
    adamoe_subject subject;
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, &o->text, 1, &o->common));
    ADAMOE_TRY(adamoe_choose_kernel(&o->common, &registry, &kernel));
    adamoe_status status = open_subject(o, &subject);
    if (status.code == ADAMOE_OK && o->top_k > subject.layer.experts) {
        status = adamoe_error(ADAMOE_BAD_INPUT, "--top-k: %zu, the layer has %zu experts", o->top_k,
                              subject.layer.experts);
        adamoe_subject_free(&subject);
    } else if (status.code == ADAMOE_OK) {
        subject.tokens.layer = &subject.layer;
        subject.tokens.top_k = o->top_k != 0 ? o->top_k : subject.tokens.top_k;
        status = run_on(o, &subject, kernel);
        adamoe_subject_free(&subject);
    }
    adamoe_registry_free(registry);
    return status;
}

int adamoe_verb_routers(int count, char **arguments)
{
    routers_options options = {.common = {.seed = 1}, .experts = 8, .tokens = 128, .repeat = 3};
    while (adamoe_router_at(options.routers) != NULL && options.routers < MOST_ROUTERS) {
        options.router[options.routers] = adamoe_router_at(options.routers);
        ++options.routers;
    }
    adamoe_parse(&routers_argp, count, arguments, &options);
    return adamoe_finish("routers", run(&options));
}
