/*
 * Small checkpoints for tests: the tensors of a Mixtral or Llama model under their names, with numbers that
 * tell where they stand, to be changed by the test and then written.
 */
#ifndef ADAMOE_MODEL_WRITER_H
#define ADAMOE_MODEL_WRITER_H

#include "numbers.h"
#include "safetensors/safetensors.h"
#include "temporary_folder.h"

enum { MAX_TENSORS = 128 };

typedef enum name_style { SPARSE_NAMES, FUSED_NAMES, DENSE_NAMES } name_style;

typedef struct tensor_list {
    adamoe_tensor tensor[MAX_TENSORS];
    size_t count;
    adamoe_dtype dtype; /* of what is added next */
} tensor_list;

static inline adamoe_tensor *find_tensor(tensor_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; ++i) {
        if (strcmp(list->tensor[i].name, name) == 0) {
            return &list->tensor[i];
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static inline void set_element(adamoe_tensor *tensor, size_t index, float value)
{
    uint8_t *at = (uint8_t *)(uintptr_t)tensor->data + index * adamoe_dtype_bytes(tensor->dtype);
    const uint16_t half =
        tensor->dtype == ADAMOE_F16 ? adamoe_float_to_f16(value) : adamoe_float_to_bf16(value);
    if (tensor->dtype == ADAMOE_F32) {
        memcpy(at, &value, sizeof value);
    } else {
        memcpy(at, &half, sizeof half);
    }
}

/* Elements count up from `first` in steps of 1/4; those below 64 are exact in every dtype. */
static inline void add_tensor(tensor_list *list, const char *name, size_t rank, const size_t *shape,
                              float first)
{
    assert_in_range(list->count, 0, MAX_TENSORS - 1);
    adamoe_tensor *tensor = &list->tensor[list->count++];
    *tensor = (adamoe_tensor){strdup(name), list->dtype, rank, {0}, 1, NULL};
    for (size_t i = 0; i < rank; ++i) {
        tensor->shape[i] = shape[i];
        tensor->elements *= shape[i];
    }
    tensor->data = calloc(tensor->elements + 1, adamoe_dtype_bytes(list->dtype));
    assert_true(tensor->name != NULL && tensor->data != NULL);
    for (size_t i = 0; i < tensor->elements; ++i) {
        set_element(tensor, i, first + 0.25f * (float)i);
    }
}

static inline void add_matrix(tensor_list *list, const char *name, size_t rows, size_t columns, float first)
{
    add_tensor(list, name, 2, (const size_t[]){rows, columns}, first);
}

static inline void drop_tensor(tensor_list *list, const char *name)
{
    adamoe_tensor *tensor = find_tensor(list, name);
    free((char *)(uintptr_t)tensor->name);
    free((void *)(uintptr_t)tensor->data);
    const size_t index = (size_t)(tensor - list->tensor);
    memmove(tensor, tensor + 1, (--list->count - index) * sizeof *tensor);
}

static inline void free_tensors(tensor_list *list)
{
    while (list->count > 0) {
        drop_tensor(list, list->tensor[list->count - 1].name);
    }
}

/* The sizes of the test model. */
enum { D = 4, FF = 3, N = 2, HEADS = 2, KEY_VALUE_HEADS = 1, HEAD_DIM = 2, VOCAB = 5 };

static inline void add_sparse_experts(tensor_list *list, const char *prefix, float first)
{
    for (int j = 0; j < N; ++j) {
        static const char *const matrix[] = {"w1", "w2", "w3"};
        for (int i = 0; i < 3; ++i) {
            char name[100];
            snprintf(name, sizeof name, "%sblock_sparse_moe.experts.%d.%s.weight", prefix, j, matrix[i]);
            add_matrix(list, name, i == 1 ? D : FF, i == 1 ? FF : D, first + (float)(10 * j + 3 * i));
        }
    }
}

/* The same numbers as add_sparse_experts. */
static inline void add_fused_experts(tensor_list *list, const char *prefix, float first)
{
    char name[100];
    snprintf(name, sizeof name, "%smlp.experts.gate_up_proj", prefix);
    add_tensor(list, name, 3, (const size_t[]){N, 2 * FF, D}, 0.0f);
    adamoe_tensor *gate_up = find_tensor(list, name);
    snprintf(name, sizeof name, "%smlp.experts.down_proj", prefix);
    add_tensor(list, name, 3, (const size_t[]){N, D, FF}, 0.0f);
    adamoe_tensor *down = find_tensor(list, name);
    for (size_t j = 0; j < N; ++j) {
        for (size_t i = 0; i < FF * D; ++i) {
            const float value = first + (float)(10 * j) + 0.25f * (float)i;
            set_element(gate_up, (2 * j) * FF * D + i, value);
            set_element(gate_up, (2 * j + 1) * FF * D + i, value + 6.0f);
            set_element(down, j * FF * D + i, value + 3.0f);
        }
    }
}

/* The router, unless dense, and the experts of one layer. */
static inline void add_expert_layer(tensor_list *list, const char *prefix, name_style style,
                                    size_t null_experts, float first)
{
    static const char *const gate[] = {"block_sparse_moe.gate", "mlp.gate"};
    static const char *const dense[] = {"gate", "up", "down"};
    char name[100];
    if (style == DENSE_NAMES) {
        for (int i = 0; i < 3; ++i) {
            snprintf(name, sizeof name, "%smlp.%s_proj.weight", prefix, dense[i]);
            add_matrix(list, name, i == 2 ? D : FF, i == 2 ? FF : D, first + (float)i);
        }
        return;
    }
    snprintf(name, sizeof name, "%s%s.weight", prefix, gate[style]);
    add_matrix(list, name, N, D, first + 20.0f);
    if (null_experts != SIZE_MAX) {
        snprintf(name, sizeof name, "%s%s2.weight", prefix, gate[style]);
        add_matrix(list, name, null_experts, D, first + 24.0f);
    }
    if (style == FUSED_NAMES) {
        add_fused_experts(list, prefix, first);
    } else {
        add_sparse_experts(list, prefix, first);
    }
}

/* A whole model; null_experts of SIZE_MAX: no gate2 at all. */
static inline void add_model(tensor_list *list, const char *front, size_t layers, name_style style,
                             size_t null_experts)
{
    static const struct {
        const char *name;
        size_t rows, columns;
    } parts[] = {{"q", HEADS * HEAD_DIM, D},
                 {"k", KEY_VALUE_HEADS * HEAD_DIM, D},
                 {"v", KEY_VALUE_HEADS * HEAD_DIM, D},
                 {"o", D, HEADS * HEAD_DIM}};
    char prefix[40], name[100];
    snprintf(name, sizeof name, "%sembed_tokens.weight", front);
    add_matrix(list, name, VOCAB, D, -1.0f);
    for (size_t i = 0; i < layers; ++i) {
        snprintf(prefix, sizeof prefix, "%slayers.%zu.", front, i);
        snprintf(name, sizeof name, "%sinput_layernorm.weight", prefix);
        add_tensor(list, name, 1, (const size_t[]){D}, 1.0f + (float)i);
        snprintf(name, sizeof name, "%spost_attention_layernorm.weight", prefix);
        add_tensor(list, name, 1, (const size_t[]){D}, 2.0f + (float)i);
        for (size_t j = 0; j < 4; ++j) {
            snprintf(name, sizeof name, "%sself_attn.%s_proj.weight", prefix, parts[j].name);
            add_matrix(list, name, parts[j].rows, parts[j].columns, (float)(4 * i + j));
        }
        add_expert_layer(list, prefix, style, null_experts, (float)(32 * i));
    }
    snprintf(name, sizeof name, "%snorm.weight", front);
    add_tensor(list, name, 1, (const size_t[]){D}, 3.0f);
    add_matrix(list, "lm_head.weight", VOCAB, D, -3.0f);
}

/* Writes model.safetensors and config.json; `more` are members of the config, each with a comma in front. */
static inline void write_model(void **state, const tensor_list *list, size_t layers, bool dense,
                               const char *more)
{
    char config[1000];
    snprintf(config, sizeof config,
             "{\"architectures\":[\"%s\"],\"vocab_size\":%d,\"hidden_size\":%d,\"intermediate_size\":%d,"
             "\"num_hidden_layers\":%zu,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
             "\"head_dim\":%d,\"max_position_embeddings\":16,\"rms_norm_eps\":1e-5%s%s}",
             dense ? "LlamaForCausalLM" : "MixtralForCausalLM", VOCAB, D, FF, layers, HEADS, KEY_VALUE_HEADS,
             HEAD_DIM, dense ? "" : ",\"num_local_experts\":2,\"num_experts_per_tok\":2", more);
    write_text(in_folder(state, "config.json").text, config);
    assert_ok(adamoe_safetensors_write(in_folder(state, "model.safetensors").text, list->tensor, list->count,
                                       NULL, 0));
}

#endif
