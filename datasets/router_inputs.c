/*
 * What a layer file gives a router: its parameters from __metadata__, its tensors by name. A key that is neither a
 * parameter nor one of those below is refused: a misspelled parameter would take its default.
 */
#include "router_inputs.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status with_path(const adamoe_layer_file *file, adamoe_status status)
{
    const char *path = adamoe_safetensors_path(adamoe_layer_file_tensors(file));
    return status.code == ADAMOE_OK ? status
                                    : adamoe_error(status.code, "%.250s: %.250s", path, status.message);
}

/* Sizes, which the layer file checks; and notes, which change nothing: what writers add, where a layer is from, what its
 * makers found. */
static const char *const other_keys[] = {
    "router",     "experts",    "num_local_experts", "hidden_size", "intermediate_size",
    "tokens",     "format",     "variant",           "capacity",    "losses",
    "min_margin", "exact_ties", "ties_at_a_cut",     "kernel"};

static bool knows_key(const void *context, const char *key)
{
    const adamoe_router *router = context;
    for (size_t i = 0; i < router->parameters; ++i) {
        if (strcmp(router->parameter[i].name, key) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof other_keys / sizeof *other_keys; ++i) {
        if (strcmp(other_keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static adamoe_status check_keys(const adamoe_layer_file *file, const adamoe_router *router)
{
    const char *key = adamoe_safetensors_unknown_key(adamoe_layer_file_tensors(file), knows_key, router);
    return key == NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "__metadata__: %.80s: router %s has no such parameter", key,
                              router->name);
}

static adamoe_status read_parameters(const adamoe_layer_file *file, adamoe_router_inputs *inputs)
{
    const adamoe_router *router = inputs->router;
    adamoe_router_defaults(router, inputs->call.value);
    ADAMOE_TRY(check_keys(file, router));
    for (size_t i = 0; i < router->parameters; ++i) {
        const char *name = router->parameter[i].name;
        const char *text = adamoe_safetensors_metadata(adamoe_layer_file_tensors(file), name);
        if (text != NULL) {
            ADAMOE_TRY(adamoe_router_set(router, inputs->call.value, name, text));
        }
    }
    return adamoe_ok();
}

/* A vector is one row, and so is a single number. */
static adamoe_status add_tensor(adamoe_router_inputs *inputs, const adamoe_tensor *tensor)
{
    if (tensor->rank > 2) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tensor %.80s: rank %zu where at most 2 is expected",
                            tensor->name, tensor->rank);
    }
    inputs->tensor[inputs->call.tensors++] = (adamoe_router_tensor){
        .name = tensor->name,
        .matrix = {.data = tensor->data,
                   .dtype = tensor->dtype,
                   .rows = tensor->rank == 2 ? tensor->shape[0] : 1,
                   .columns = tensor->rank == 0 ? 1 : tensor->shape[tensor->rank - 1]}};
    return adamoe_ok();
}

static adamoe_status read_tensors(const adamoe_layer_file *file, adamoe_router_inputs *inputs)
{
    const adamoe_safetensors *tensors = adamoe_layer_file_tensors(file);
    inputs->tensor = calloc(adamoe_safetensors_count(tensors) + 1, sizeof *inputs->tensor);
    if (inputs->tensor == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    }
    inputs->call.tensor = inputs->tensor;
    for (size_t i = 0; i < adamoe_safetensors_count(tensors); ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_at(tensors, i);
        if (adamoe_layer_file_is_for_router(tensor->name)) {
            ADAMOE_TRY(add_tensor(inputs, tensor));
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_router_inputs_create(const adamoe_layer_file *file, adamoe_router_inputs *out)
{
    const char *name = adamoe_layer_file_router(file);
    const adamoe_layer *layer = adamoe_layer_file_layer(file);
    *out = (adamoe_router_inputs){.router = adamoe_router_find(name)};
    if (out->router == NULL) {
        return with_path(
            file, adamoe_error(ADAMOE_BAD_INPUT, "__metadata__: router: no router is called %.80s", name));
    }
    out->call.hidden_states = adamoe_layer_file_hidden_states(file, &out->call.tokens);
    out->call.hidden_size = layer->hidden_size;
    out->call.experts = layer->experts;
    adamoe_status status = read_parameters(file, out);
    if (status.code == ADAMOE_OK) {
        status = read_tensors(file, out);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_router_inputs_free(out);
    }
    return with_path(file, status);
}

void adamoe_router_inputs_free(adamoe_router_inputs *inputs)
{
    free(inputs->tensor);
    inputs->tensor = NULL;
}

adamoe_status adamoe_router_inputs_route(const adamoe_layer_file *file, adamoe_router_inputs *inputs,
                                         adamoe_routed *out)
{
    ADAMOE_TRY(with_path(file, adamoe_router_run(inputs->router, &inputs->call, out)));
    for (size_t i = 0; i < inputs->call.tensors; ++i) {
        if (!inputs->tensor[i].taken) {
            adamoe_routed_free(out);
            return adamoe_tensor_error(adamoe_safetensors_path(adamoe_layer_file_tensors(file)),
                                       inputs->tensor[i].name, "router %s does not read it",
                                       inputs->router->name);
        }
    }
    return adamoe_ok();
}
