/*
 * Any bytes as a file with one layer: an error, or a layer whose every element can be read; and where it names a
 * router, an error of that one or a plan whose every index is in range.
 */
#include "checkpoint.h"
#include "input_file.h"
#include "numbers.h"
#include "router_inputs.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void read_matrix(const adamoe_matrix *matrix, size_t rows, size_t columns)
{
    require(matrix->rows == rows && matrix->columns == columns);
    if (rows > 0) {
        (void)adamoe_matrix_at(matrix, 0, 0);
        (void)adamoe_matrix_at(matrix, rows - 1, columns - 1);
    }
}

static void read_layer(const adamoe_layer *layer, bool routed)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    require(d > 0 && ff > 0 && layer->experts > 0);
    read_matrix(&layer->gate, routed ? 0 : layer->experts, d);
    read_matrix(&layer->gate2, layer->null_experts, d);
    for (size_t i = 0; i < layer->experts; ++i) {
        read_matrix(&layer->expert[i].w1, ff, d);
        read_matrix(&layer->expert[i].w2, d, ff);
        read_matrix(&layer->expert[i].w3, ff, d);
    }
}

static void read_plan(const adamoe_plan *plan, size_t tokens)
{
    require(plan->tokens == tokens && plan->offset[plan->experts] == plan->rows);
    for (size_t row = 0; row < plan->rows; ++row) {
        require(plan->input[row] < plan->inputs);
    }
    for (size_t place = 0; place < plan->token_offset[tokens]; ++place) {
        require(plan->token_row[place] < plan->rows);
    }
}

/* What only takes long is made less. */
static void limit(adamoe_router_inputs *inputs)
{
    for (size_t i = 0; i < inputs->router->parameters; ++i) {
        const char *name = inputs->router->parameter[i].name;
        double *value = &inputs->call.value[i];
        *value = strcmp(name, "iterations") == 0 && *value > 10.0 ? 10.0 : *value;
        *value = strcmp(name, "rho") == 0 && *value < 0.01 && *value > 0.0 ? 0.01 : *value;
    }
}

static void run_router(const adamoe_layer_file *file, size_t tokens)
{
    adamoe_router_inputs inputs;
    adamoe_routed routed;
    if (adamoe_router_inputs_create(file, &inputs).code != ADAMOE_OK) {
        return;
    }
    limit(&inputs);
    /* a verb has looked for what is not finite */
    if (adamoe_safetensors_check_finite(adamoe_layer_file_tensors(file)).code == ADAMOE_OK &&
        adamoe_router_inputs_route(file, &inputs, &routed).code == ADAMOE_OK) {
        read_plan(routed.plan, tokens);
        adamoe_routed_free(&routed);
    }
    adamoe_router_inputs_free(&inputs);
}

/* The length of the header is set to where the header seems to end: otherwise nearly every change stops
 * there. */
static void set_length(uint8_t *data, size_t size)
{
    const uint8_t *brace = size < 9 ? NULL : memrchr(data + 8, '}', size - 8);
    const uint64_t length = brace == NULL ? 0 : (uint64_t)(brace - (data + 8)) + 1;
    for (size_t i = 0; i < 8 && brace != NULL; ++i) {
        data[i] = (uint8_t)(length >> (8 * i));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));
    require(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    set_length(copy, size);
    const char *path = write_input("layer.safetensors", copy, size);
    free(copy);
    adamoe_layer_file *file = NULL;
    const adamoe_status status = adamoe_layer_file_open(path, &file);
    require((status.code == ADAMOE_OK) == (file != NULL));
    if (file != NULL) {
        const adamoe_layer *layer = adamoe_layer_file_layer(file);
        size_t tokens;
        const bool is_routed = adamoe_layer_file_router(file) != NULL;
        read_layer(layer, is_routed);
        require(adamoe_layer_file_rule(file).top_k <= layer->experts + layer->null_experts);
        require(adamoe_layer_file_hidden_states(file, &tokens) != NULL && tokens > 0);
        if (is_routed) {
            run_router(file, tokens);
        }
    }
    adamoe_layer_file_close(file);
    return 0;
}
