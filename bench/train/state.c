/*
 * The saved state of a training run.
 */
#include "train/state.h"
#include "router_file.h"
#include "files/json_file.h"
#include "safetensors/safetensors.h"
#include "train/folder.h"
#include "train/maps.h"
#include "router.h"
#include "fnv1a.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char state_name[] = "training-state.safetensors";

/* FNV-1a over 32-bit words: tells different data from the same, no more. */
static uint64_t hash_words(const void *words, size_t count, uint64_t hash)
{
    for (size_t i = 0; i < count; ++i) {
        uint32_t word;
        memcpy(&word, (const char *)words + i * sizeof word, sizeof word);
        hash = adamoe_fnv1a_mix(hash, word);
    }
    return hash;
}

static uint64_t hash_data(const adamoe_train_data *data)
{
    uint64_t hash = ADAMOE_FNV1A_START;
    hash = hash_words(data->token.id, data->token.count, hash);
    hash = hash_words(data->target.id, data->target.count, hash);
    for (size_t s = 0; s <= data->count; ++s) {
        const uint32_t offset = (uint32_t)data->offset[s];
        hash = hash_words(&offset, 1, hash);
    }
    return hash;
}

static json_t *hexadecimal(uint64_t value)
{
    return json_sprintf("%016llx", (unsigned long long)value);
}

static json_t *list_alphas(const adamoe_train_options *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->alphas; ++i) {
        (void)json_array_append_new(list, json_real(o->alpha[i]));
    }
    return list;
}

/* NULL where a part could not be made. */
static json_t *describe(const adamoe_train_options *o, const adamoe_train_data *data,
                        const adamoe_parameters *start)
{
    const adamoe_config *c = &start->model.config;
    json_t *optimiser =
        json_pack("{sf ss sI sf sf sf sf sf}", "learning_rate", o->schedule.peak, "schedule",
                  adamoe_schedule_names[o->schedule.form], "warm_up", (json_int_t)o->schedule.warm_up,
                  "beta1", o->adamw.beta1, "beta2", o->adamw.beta2, "weight_decay", o->adamw.decay,
                  "clip_norm", o->adamw.clip_norm, "eps", o->adamw.eps);
    json_t *model = json_pack("{sI sI ss ss so}", "top_k", (json_int_t)c->rule.top_k, "null_experts",
                              (json_int_t)c->null_experts, "norm", adamoe_norm_names[c->rule.norm],
                              "null_kind", adamoe_null_kind_names[c->rule.null_kind], "start",
                              hexadecimal(hash_words(start->value, start->count, 0)));
    json_t *run =
        json_pack("{sI sI sI ss ss so sI sf sI so}", "seed", (json_int_t)o->common.seed, "steps",
                  (json_int_t)o->schedule.steps, "batch", (json_int_t)o->batch, "balance_loss",
                  adamoe_balance_names[o->balance], "balance_pooling", adamoe_pooling_names[o->pooling],
                  "balance_alpha", list_alphas(o), "lora", (json_int_t)o->lora_rank, "lora_alpha",
                  o->lora_alpha, "sequences", (json_int_t)data->count, "data", hexadecimal(hash_data(data)));
    if (adamoe_train_maps(o, c)) {
        const adamoe_lora_sizes s = adamoe_train_maps_sizes(o);
        json_t *maps = json_pack("{sI sI sI ss}", "lora_experts", (json_int_t)o->lora_experts, "top_k",
                                 (json_int_t)s.rule.top_k, "null_experts", (json_int_t)s.null_experts, "norm",
                                 adamoe_norm_names[s.rule.norm]);
        (void)json_object_update_new(model, maps);
    }
    if (json_object_update_new(run, model) != 0 || json_object_update_new(run, optimiser) != 0) {
        json_decref(run);
        return NULL;
    }
    return run;
}

char *adamoe_train_description(const adamoe_train_options *options, const adamoe_train_data *data,
                               const adamoe_train_start *start)
{
    json_t *run = describe(options, data, start->parameters);
    if (run != NULL && start->router.router != NULL) {
        (void)json_object_update_new(run, adamoe_router_file_json(&start->router));
    }
    char *text = run == NULL ? NULL : json_dumps(run, JSON_COMPACT);
    json_decref(run);
    return text;
}

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "training: out of memory");
}

static adamoe_tensor array_of(const char *name, size_t count, const float *data)
{
    return (adamoe_tensor){
        .name = name, .dtype = ADAMOE_F32, .rank = 1, .shape = {count}, .elements = count, .data = data};
}

adamoe_status adamoe_train_state_save(const char *folder, const char *run, size_t count, const float *value,
                                      const adamoe_model_router *router, const adamoe_adamw_state *state)
{
    char steps[32];
    (void)snprintf(steps, sizeof steps, "%zu", state->steps);
    const adamoe_metadata metadata[] = {{"run", run}, {"steps", steps}};
    const adamoe_tensor tensors[] = {array_of("weights", count, value),
                                     array_of("first_moment", count, state->first_moment),
                                     array_of("second_moment", count, state->second_moment),
                                     array_of("router", router->layers * router->states, router->state)};
    char *path = adamoe_train_path(folder, state_name);
    if (path == NULL) {
        return out_of_memory();
    }
    const adamoe_status status =
        adamoe_safetensors_write(path, tensors, router->states > 0 ? 4 : 3, metadata, 2);
    free(path);
    return status;
}

/* The first key in which two descriptions differ. */
static adamoe_status compare_runs(const char *path, const char *saved, const char *run)
{
    json_t *before = NULL, *now = NULL, *value;
    const char *key;
    ADAMOE_TRY(adamoe_json_parse(path, saved, strlen(saved), &before));
    adamoe_status status = adamoe_json_parse(path, run, strlen(run), &now);
    json_object_foreach(now, key, value)
    {
        json_t *other = json_object_get(before, key);
        if (status.code == ADAMOE_OK && !json_equal(other, value)) {
            char *a = json_dumps(other, JSON_ENCODE_ANY), *b = json_dumps(value, JSON_ENCODE_ANY);
            status = adamoe_error(ADAMOE_BAD_INPUT, "%s: --resume: %s was %.100s and is now %.100s", path,
                                  key, a == NULL ? "absent" : a, b == NULL ? "?" : b);
            free(a);
            free(b);
        }
    }
    json_decref(before);
    json_decref(now);
    return status;
}

static adamoe_status read_array(const adamoe_safetensors *file, const char *name, size_t count, float *out)
{
    adamoe_matrix matrix;
    ADAMOE_TRY(adamoe_safetensors_matrix(file, name, 1, count, &matrix));
    if (matrix.dtype != ADAMOE_F32) {
        return adamoe_tensor_error(adamoe_safetensors_path(file), name, "not F32");
    }
    memcpy(out, matrix.data, count * sizeof *out);
    return adamoe_ok();
}

static adamoe_status load(const adamoe_safetensors *file, const char *run, size_t count, float *value,
                          adamoe_model_router *router, adamoe_adamw_state *state)
{
    const char *path = adamoe_safetensors_path(file);
    const char *saved = adamoe_safetensors_metadata(file, "run");
    const char *steps = adamoe_safetensors_metadata(file, "steps");
    if (saved == NULL || steps == NULL || steps[strspn(steps, "0123456789")] != '\0') {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: not a saved state of adamoe train", path);
    }
    ADAMOE_TRY(compare_runs(path, saved, run));
    ADAMOE_TRY(read_array(file, "weights", count, value));
    ADAMOE_TRY(read_array(file, "first_moment", count, state->first_moment));
    ADAMOE_TRY(read_array(file, "second_moment", count, state->second_moment));
    if (router->states > 0) {
        ADAMOE_TRY(read_array(file, "router", router->layers * router->states, router->state));
    }
    state->steps = (size_t)strtoull(steps, NULL, 10);
    return adamoe_ok();
}

adamoe_status adamoe_train_state_load(const char *folder, const char *run, size_t count, float *value,
                                      adamoe_model_router *router, adamoe_adamw_state *state)
{
    adamoe_safetensors *file = NULL;
    char *path = adamoe_train_path(folder, state_name);
    if (path == NULL) {
        return out_of_memory();
    }
    adamoe_status status = adamoe_safetensors_open(path, &file);
    if (status.code == ADAMOE_OK) {
        status = load(file, run, count, value, router, state);
        adamoe_safetensors_close(file);
    }
    free(path);
    return status;
}

void adamoe_train_state_remove(const char *folder)
{
    char *path = adamoe_train_path(folder, state_name);
    if (path != NULL) {
        (void)unlink(path);
    }
    free(path);
}

/* A process that is killed while it writes leaves a temporary file (output_file.h). */
void adamoe_train_state_clean(const char *folder)
{
    static const char *const pattern[] = {"training-state.safetensors.??????",
                                          "model.safetensors.??????",
                                          "config.json.??????",
                                          "tokenizer.json.??????",
                                          "log.jsonl.??????",
                                          "adapters.safetensors.??????",
                                          "adapter_config.json.??????"};
    for (size_t i = 0; i < sizeof pattern / sizeof *pattern; ++i) {
        char *path = adamoe_train_path(folder, pattern[i]);
        glob_t found;
        if (path != NULL && glob(path, 0, NULL, &found) == 0) {
            for (size_t f = 0; f < found.gl_pathc; ++f) {
                (void)unlink(found.gl_pathv[f]);
            }
            globfree(&found);
        }
        free(path);
    }
}
