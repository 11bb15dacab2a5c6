/*
 * Where training starts, and the folder that it makes. The new config is the old one with the keys that
 * training may change, so that what else it says stays.
 */
#include "train/folder.h"
#include "adapters.h"
#include "router_file.h"
#include "layers/router_setup.h"
#include "files/json_file.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "files/mapped_file.h"
#include "numbers.h"
#include "files/output_file.h"
#include "generate/tokenizer_file.h"
#include "train/data.h"
#include "train/stacks.h"
#include "router.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "training: out of memory");
}

char *adamoe_train_path(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* ---------------------------------------------------------------------------------------------- the start */

/* What the options ask of the model and it cannot do. */
static adamoe_status check_wishes(const adamoe_train_options *o, const adamoe_config *config)
{
    const size_t null_experts = adamoe_selection_null_experts(&o->selection, config->null_experts);
    if (config->architecture.dense && o->lora_experts == 0 && adamoe_selection_given(&o->selection)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--top-k, --null-experts, --norm, --null-kind: a dense model has no router");
    }
    if (null_experts != config->null_experts && null_experts % config->experts != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--null-experts: %zu is no multiple of the %zu experts",
                            null_experts, config->experts);
    }
    return adamoe_selection_check(&o->selection, config);
}

static adamoe_status convert(const adamoe_train_options *o, adamoe_checkpoint *checkpoint)
{
    const adamoe_config *config = &adamoe_checkpoint_model(checkpoint)->config;
    if (adamoe_train_maps(o, config)) { /* the options are those of the adapters, which check them */
        return adamoe_ok();
    }
    if (o->router.router != NULL) { /* it says how many rows gate2 has */
        return adamoe_ok();
    }
    ADAMOE_TRY(check_wishes(o, config));
    return adamoe_selection_convert(&o->selection, checkpoint);
}

/* --router NAME: its rows of gate2 are null experts to the rest of the program. A model that was trained with a router
 * keeps its own. */
static adamoe_status choose_router(const adamoe_train_options *o, adamoe_train_start *s)
{
    const size_t top_k = s->config.null_experts > 0 ? 2 : s->config.rule.top_k; /* k0, which it replaces */
    if (o->router.router == NULL) {
        s->router = s->folder.router;
        s->folder.router = (adamoe_model_router){.router = NULL};
        return adamoe_ok();
    }
    s->config.null_experts = adamoe_router_usual_null_rows(o->router.router, s->config.experts);
    return adamoe_router_option_create(&o->router, &o->selection, &s->config, top_k, &s->router);
}

static adamoe_status check_router(const adamoe_train_options *o, const adamoe_model_folder *folder)
{
    const adamoe_config *config = &adamoe_checkpoint_model(folder->checkpoint)->config;
    if (folder->router.router != NULL && (o->router.router != NULL || adamoe_selection_given(&o->selection) ||
                                          o->lora_rank > 0 || o->lora_experts > 0)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: it has a router, %s, which goes with neither --router nor --top-k, "
                            "--null-experts, --norm, --null-kind and adapters",
                            o->model, folder->router.router->name);
    }
    return o->router.router == NULL || config->null_experts == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--router: %s has null experts already", o->model);
}

static adamoe_status open_model(const adamoe_train_options *o, adamoe_train_start *s)
{
    s->config_path = adamoe_train_path(o->model, "config.json");
    s->tokenizer_path = adamoe_train_path(o->model, "tokenizer.json");
    if (s->config_path == NULL || s->tokenizer_path == NULL) {
        return out_of_memory();
    }
    ADAMOE_TRY(adamoe_model_folder_open_routed(o->model, &s->folder));
    ADAMOE_TRY(check_router(o, &s->folder));
    ADAMOE_TRY(convert(o, s->folder.checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(s->folder.checkpoint);
    s->tokenizer = s->folder.tokenizer;
    s->config = model->config;
    ADAMOE_TRY(choose_router(o, s));
    ADAMOE_TRY(adamoe_parameters_create(&s->config, &s->parameters));
    adamoe_parameters_copy(s->parameters, model);
    if (o->router.router != NULL) {
        adamoe_parameters_copy_gates(s->parameters);
    }
    return adamoe_ok();
}

/* Learns a vocabulary that fills the config's. */
static adamoe_status learn_tokenizer(const adamoe_train_options *o, const adamoe_config *config,
                                     const char *path)
{
    adamoe_train_texts texts;
    adamoe_byte_pairs *pairs = NULL;
    if (config->vocab_size <= ADAMOE_TOKENIZER_FIXED_TOKENS) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: vocab_size: %zu, but a learned tokenizer needs more than %d", o->config,
                            config->vocab_size, ADAMOE_TOKENIZER_FIXED_TOKENS);
    }
    ADAMOE_TRY(adamoe_train_texts_read(o, &texts));
    adamoe_status status =
        adamoe_byte_pairs_train((const char *const *)texts.text, texts.count,
                                config->vocab_size - ADAMOE_TOKENIZER_FIXED_TOKENS, &pairs);
    if (status.code == ADAMOE_OK) {
        status = adamoe_tokenizer_file_write(path, pairs);
        adamoe_byte_pairs_free(pairs);
    }
    adamoe_train_texts_free(&texts);
    return status;
}

/* The deviation of the weights that the config asks for; that of GPT-2 where it does not say. */
static adamoe_status read_deviation(const char *path, double *out)
{
    json_t *root = NULL;
    ADAMOE_TRY(adamoe_json_read(path, &root));
    const json_t *range = json_object_get(root, "initializer_range");
    *out = range == NULL ? 0.02 : json_number_value(range);
    json_decref(root);
    return *out > 0.0 && *out <= 1e3
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: initializer_range: not a number above 0", path);
}

static adamoe_status open_own_tokenizer(const adamoe_train_options *o, adamoe_train_start *s)
{
    s->tokenizer_path =
        o->tokenizer != NULL ? strdup(o->tokenizer) : adamoe_train_path(o->out, "tokenizer.json");
    if (s->tokenizer_path == NULL) {
        return out_of_memory();
    }
    if (o->tokenizer == NULL) {
        ADAMOE_TRY(learn_tokenizer(o, &s->config, s->tokenizer_path));
    }
    ADAMOE_TRY(adamoe_tokenizer_open(s->tokenizer_path, &s->own_tokenizer));
    s->tokenizer = s->own_tokenizer;
    const size_t ids = adamoe_tokenizer_vocab_size(s->tokenizer);
    return ids <= s->config.vocab_size
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: vocabulary: %zu ids, the config has %zu",
                              s->tokenizer_path, ids, s->config.vocab_size);
}

static adamoe_status open_config(const adamoe_train_options *o, adamoe_train_start *s)
{
    bool null_experts_given = false;
    double deviation = 0.0;
    s->config_path = strdup(o->config);
    if (s->config_path == NULL) {
        return out_of_memory();
    }
    ADAMOE_TRY(adamoe_config_read(o->config, &s->config, &null_experts_given));
    ADAMOE_TRY(check_wishes(o, &s->config));
    ADAMOE_TRY(read_deviation(o->config, &deviation));
    s->config.rule = adamoe_selection_rule(&o->selection, s->config.rule);
    s->config.null_experts = adamoe_selection_null_experts(&o->selection, s->config.null_experts);
    ADAMOE_TRY(choose_router(o, s));
    ADAMOE_TRY(open_own_tokenizer(o, s));
    ADAMOE_TRY(adamoe_parameters_create(&s->config, &s->parameters));
    adamoe_parameters_initialise(s->parameters, o->common.seed, deviation);
    return adamoe_ok();
}

adamoe_status adamoe_train_start_open(const adamoe_train_options *options, adamoe_train_start *out)
{
    *out = (adamoe_train_start){.own_tokenizer = NULL};
    const adamoe_status status =
        options->model != NULL ? open_model(options, out) : open_config(options, out);
    if (status.code != ADAMOE_OK) {
        adamoe_train_start_close(out);
    }
    return status;
}

void adamoe_train_start_close(adamoe_train_start *start)
{
    adamoe_parameters_free(start->parameters);
    adamoe_model_router_free(&start->router);
    adamoe_tokenizer_close(start->own_tokenizer);
    adamoe_model_folder_close(&start->folder);
    free(start->config_path);
    free(start->tokenizer_path);
    *start = (adamoe_train_start){.own_tokenizer = NULL};
}

/* --------------------------------------------------------------------------------------------- the folder */

static bool holds(const char *folder, const char *name)
{
    char *path = adamoe_train_path(folder, name);
    const bool there = path != NULL && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* The folder's own files must not be those that training reads. */
static adamoe_status refuse_inputs(const adamoe_train_options *o)
{
    static const char *const names[] = {
        "config.json", "tokenizer.json",    "adapter_config.json",  "log.jsonl",
        "router.json", "model.safetensors", "adapters.safetensors", "training-state.safetensors"};
    const char *const inputs[] = {o->model, o->config, o->tokenizer, o->corpus, o->questions};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        char *path = adamoe_train_path(o->out, names[i]);
        if (path == NULL) {
            return out_of_memory();
        }
        const adamoe_status status = adamoe_refuse_input("-o", path, inputs, sizeof inputs / sizeof *inputs);
        free(path);
        ADAMOE_TRY(status);
    }
    return adamoe_ok();
}

adamoe_status adamoe_train_output_open(const adamoe_train_options *options, adamoe_train_output *out)
{
    const char *folder = options->out;
    struct stat facts;
    *out = (adamoe_train_output){.folder = folder};
    out->finished = holds(folder, "model.safetensors") || holds(folder, "adapters.safetensors");
    out->begun = holds(folder, "training-state.safetensors");
    if (options->resume && !out->finished && !out->begun) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: --resume: there is no saved state", folder);
    }
    if (!options->resume && (out->finished || out->begun)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: -o: it holds %s already", folder,
                            out->finished ? "a model" : "a saved state; --resume continues it");
    }
    if (!options->resume) {
        ADAMOE_TRY(refuse_inputs(options));
    }
    if (stat(folder, &facts) == 0) {
        return S_ISDIR(facts.st_mode) ? adamoe_ok()
                                      : adamoe_error(ADAMOE_BAD_INPUT, "%s: -o: not a folder", folder);
    }
    if (mkdir(folder, 0777) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: -o: %s", folder, strerror(errno));
    }
    out->made = true;
    return adamoe_ok();
}

static void remove_file(const char *folder, const char *name)
{
    char *path = adamoe_train_path(folder, name);
    if (path != NULL) {
        (void)unlink(path);
    }
    free(path);
}

void adamoe_train_output_abandon(const adamoe_train_output *output)
{
    static const char *const names[] = {"tokenizer.json", "config.json", "adapter_config.json", "router.json",
                                        "log.jsonl"};
    if (!output->made || holds(output->folder, "model.safetensors") ||
        holds(output->folder, "adapters.safetensors") ||
        holds(output->folder, "training-state.safetensors")) {
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        remove_file(output->folder, names[i]);
    }
    (void)rmdir(output->folder);
}

/* --------------------------------------------------------------------------------------------- the export */

static adamoe_status copy_file(const char *from, const char *to)
{
    adamoe_mapped_file source;
    adamoe_output_file *target = NULL;
    ADAMOE_TRY(adamoe_mapped_file_open(from, &source));
    adamoe_status status = adamoe_output_file_open(to, &target);
    if (status.code == ADAMOE_OK) {
        if (source.size > 0) {
            (void)fwrite(source.data, 1, source.size, adamoe_output_file_stream(target));
        }
        status = adamoe_output_file_commit(target);
    }
    adamoe_mapped_file_close(&source);
    return status;
}

static adamoe_status export_tokenizer(const adamoe_train_options *o, const adamoe_train_start *s)
{
    char *to = adamoe_train_path(o->out, "tokenizer.json");
    if (to == NULL) {
        return out_of_memory();
    }
    const adamoe_status status =
        strcmp(to, s->tokenizer_path) == 0 ? adamoe_ok() : copy_file(s->tokenizer_path, to);
    free(to);
    return status;
}

static adamoe_dtype model_dtype(const adamoe_train_options *o)
{
    return o->dtype == ADAMOE_TRAIN_USUAL_DTYPE ? ADAMOE_BF16 : o->dtype;
}

/* Newer libraries write `dtype`, older ones `torch_dtype`: one of both stays. */
static json_t *changed_config(json_t *root, const adamoe_config *config, adamoe_dtype dtype)
{
    const char *key = json_object_get(root, "dtype") != NULL ? "dtype" : "torch_dtype";
    json_t *changes = json_pack("{ss}", key, dtype == ADAMOE_F32 ? "float32" : "bfloat16");
    if (!config->architecture.dense && changes != NULL) {
        json_t *router = json_pack("{sI sI ss ss}", "num_experts_per_tok", (json_int_t)config->rule.top_k,
                                   "num_null_experts", (json_int_t)config->null_experts, "norm",
                                   adamoe_norm_names[config->rule.norm], "null_kind",
                                   adamoe_null_kind_names[config->rule.null_kind]);
        (void)json_object_update_new(changes, router);
    }
    (void)json_object_update_new(root, changes);
    return root;
}

static adamoe_status export_config(const adamoe_train_options *o, const adamoe_train_start *s)
{
    json_t *root = NULL;
    char *to = adamoe_train_path(o->out, "config.json");
    if (to == NULL) {
        return out_of_memory();
    }
    adamoe_status status = adamoe_json_read(s->config_path, &root);
    if (status.code == ADAMOE_OK) {
        status = adamoe_json_write(to, changed_config(root, &s->config, model_dtype(o)));
    }
    free(to);
    return status;
}

static adamoe_status export_router(const adamoe_train_options *o, const adamoe_train_start *s)
{
    char *to = s->router.router == NULL ? NULL : adamoe_train_path(o->out, "router.json");
    if (s->router.router == NULL || to == NULL) {
        return s->router.router == NULL ? adamoe_ok() : out_of_memory();
    }
    const adamoe_status status = adamoe_json_write(to, adamoe_router_file_json(&s->router));
    free(to);
    return status;
}

/* Weights in the type of the file, all in one array. */
static void *stored(const float *value, size_t count, adamoe_dtype dtype)
{
    uint16_t *out = dtype == ADAMOE_F32 ? NULL : malloc((count + 1) * sizeof *out);
    for (size_t i = 0; i < count && out != NULL; ++i) {
        out[i] = adamoe_float_to_bf16(value[i]);
    }
    return out;
}

/* What is listed: at most as many tensors as there are parameters. */
typedef struct tensor_list {
    adamoe_tensor *tensor;
    adamoe_tensor_name *stack; /* the names of stacks */
    void *stacked;             /* the bytes that they are views of */
} tensor_list;

/* A vanilla model has no gate2, and its file none either. */
static size_t list_tensors(const adamoe_parameters *p, adamoe_dtype dtype, const void *data,
                           const tensor_list *list)
{
    adamoe_tensor *tensor = list->tensor;
    size_t count = 0;
    for (size_t i = 0; i < p->parameters; ++i) {
        const adamoe_parameter *w = &p->parameter[i];
        if (list->stacked != NULL && w->kind == ADAMOE_EXPERTS) {
            adamoe_train_list_stacks(p, i, dtype, list->stacked, &list->stack[count], &tensor[count]);
            count += 2;
            i += 3 * p->model.config.experts - 1;
            continue;
        }
        const size_t shape = w->rank == 1 ? w->columns : w->rows;
        if (shape > 0) {
            tensor[count++] =
                (adamoe_tensor){.name = w->name,
                                .dtype = dtype,
                                .rank = w->rank,
                                .shape = {shape, w->columns},
                                .elements = w->rows * w->columns,
                                .data = (const char *)data + w->first * adamoe_dtype_bytes(dtype)};
        }
    }
    return count;
}

static adamoe_status export_weights(const adamoe_train_options *o, const adamoe_parameters *p,
                                    const char *run)
{
    const adamoe_metadata metadata[] = {{"format", "pt"}, {"adamoe_training", run}};
    const adamoe_dtype dtype = model_dtype(o);
    char *to = adamoe_train_path(o->out, "model.safetensors");
    const bool stacks = adamoe_train_has_stacks(&p->model.config);
    void *narrow = stored(p->value, p->count, dtype);
    const void *data = narrow != NULL ? narrow : (const void *)p->value;
    tensor_list list = {.tensor = calloc(p->parameters, sizeof *list.tensor),
                        .stack = calloc(p->parameters, sizeof *list.stack),
                        .stacked = stacks ? adamoe_train_stack(p, dtype, data) : NULL};
    adamoe_status status = out_of_memory();
    if (to != NULL && list.tensor != NULL && list.stack != NULL && (list.stacked != NULL || !stacks) &&
        (narrow != NULL || dtype == ADAMOE_F32)) {
        const size_t count = list_tensors(p, dtype, data, &list);
        status = adamoe_safetensors_write(to, list.tensor, count, metadata, 2);
    }
    free(to);
    free(list.tensor);
    free(list.stack);
    free(list.stacked);
    free(narrow);
    return status;
}

/* Refers to the base by its absolute path: the folder may be anywhere. */
static adamoe_status export_maps(const adamoe_train_options *o, const adamoe_lora_parameters *lora,
                                 const char *base, adamoe_tensor *tensor, const char *run)
{
    const adamoe_dtype dtype = o->dtype == ADAMOE_TRAIN_USUAL_DTYPE ? ADAMOE_F32 : o->dtype;
    void *narrow = stored(lora->value, lora->count, dtype);
    if (narrow == NULL && dtype != ADAMOE_F32) {
        return out_of_memory();
    }
    const char *data = narrow != NULL ? narrow : (const void *)lora->value;
    for (size_t i = 0; i < lora->tensors; ++i) {
        const adamoe_lora_tensor *w = &lora->tensor[i];
        tensor[i] = (adamoe_tensor){.name = w->name,
                                    .dtype = dtype,
                                    .rank = 2,
                                    .shape = {w->rows, w->columns},
                                    .elements = w->rows * w->columns,
                                    .data = data + w->first * adamoe_dtype_bytes(dtype)};
    }
    const adamoe_status status =
        adamoe_adapters_write(o->out, base, &lora->model.sizes, tensor, lora->tensors, run);
    free(narrow);
    return status;
}

adamoe_status adamoe_train_export_maps(const adamoe_train_options *options,
                                       const adamoe_lora_parameters *lora, const char *run)
{
    char *base = realpath(options->model, NULL);
    adamoe_tensor *tensor = calloc(lora->tensors + 1, sizeof *tensor);
    const adamoe_status status =
        base == NULL || tensor == NULL ? out_of_memory() : export_maps(options, lora, base, tensor, run);
    free(base);
    free(tensor);
    return status;
}

adamoe_status adamoe_train_export(const adamoe_train_options *options, const adamoe_train_start *start,
                                  const char *run)
{
    ADAMOE_TRY(export_tokenizer(options, start));
    ADAMOE_TRY(export_config(options, start));
    ADAMOE_TRY(export_router(options, start));
    return export_weights(options, start->parameters, run);
}
