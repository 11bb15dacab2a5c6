/*
 * A Mixtral-shaped AdaMoE checkpoint: matrices of deviation 1/sqrt(fan-in), norm weights of 1, and null
 * experts that start, as the paper's do, as copies of the true experts' router rows. A little noise parts the
 * copies, so that the load differs from token to token.
 */
#include "generate/random_checkpoint.h"
#include "generate/json_print.h"
#include "numbers.h"
#include "safetensors/safetensors.h"
#include "splitmix64.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HIDDEN_SIZE = 64,
    INTERMEDIATE_SIZE = 96,
    LAYERS = 4,
    HEADS = 4,
    KEY_VALUE_HEADS = 2,
    HEAD_DIM = HIDDEN_SIZE / HEADS,
    EXPERTS = 8,
    NULL_EXPERTS = EXPERTS, /* each a copy of one true expert's row */
    TOP_K = 3,
    CONTEXT = 512,
    NAME_BYTES = 96,
    TENSORS = 3 + LAYERS * (8 + 3 * EXPERTS),
};

static const double copy_noise = 0.2; /* of the deviation of a router row */

typedef struct writer {
    adamoe_splitmix64 random;
    adamoe_tensor tensor[TENSORS];
    char name[TENSORS][NAME_BYTES];
    void *data[TENSORS];
    size_t count;
} writer;

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "checkpoint: out of memory");
}

/* Appends a tensor of zeros, a vector where rows is 0, and returns its data; NULL where memory is out. */
static uint16_t *append(writer *to, const char *name, size_t rows, size_t columns)
{
    const size_t elements = rows == 0 ? columns : rows * columns;
    uint16_t *data = calloc(elements, sizeof *data);
    if (data == NULL) {
        return NULL;
    }
    const size_t i = to->count++;
    to->data[i] = data;
    (void)snprintf(to->name[i], NAME_BYTES, "%s", name);
    adamoe_tensor *tensor = &to->tensor[i];
    *tensor = (adamoe_tensor){.name = to->name[i], .dtype = ADAMOE_BF16, .elements = elements, .data = data};
    tensor->rank = rows == 0 ? 1 : 2;
    tensor->shape[0] = rows == 0 ? columns : rows;
    tensor->shape[1] = rows == 0 ? 0 : columns;
    return data;
}

static uint16_t normal(writer *to, double mean, double deviation)
{
    return adamoe_float_to_bf16((float)(mean + deviation * adamoe_splitmix64_normal(&to->random)));
}

static adamoe_status append_ones(writer *to, const char *name, size_t length)
{
    uint16_t *data = append(to, name, 0, length);
    if (data == NULL) {
        return out_of_memory();
    }
    for (size_t i = 0; i < length; i++) {
        data[i] = adamoe_float_to_bf16(1.0F);
    }
    return adamoe_ok();
}

static adamoe_status append_matrix(writer *to, const char *name, size_t rows, size_t columns)
{
    uint16_t *data = append(to, name, rows, columns);
    if (data == NULL) {
        return out_of_memory();
    }
    for (size_t i = 0; i < rows * columns; i++) {
        data[i] = normal(to, 0.0, 1.0 / sqrt((double)columns));
    }
    return adamoe_ok();
}

static const char *in_layer(char name[NAME_BYTES], size_t layer, const char *part)
{
    (void)snprintf(name, NAME_BYTES, "model.layers.%zu.%s.weight", layer, part);
    return name;
}

static adamoe_status append_attention(writer *to, size_t layer)
{
    char name[NAME_BYTES];
    const size_t queries = HEADS * HEAD_DIM, keys = KEY_VALUE_HEADS * HEAD_DIM;
    ADAMOE_TRY(append_matrix(to, in_layer(name, layer, "self_attn.q_proj"), queries, HIDDEN_SIZE));
    ADAMOE_TRY(append_matrix(to, in_layer(name, layer, "self_attn.k_proj"), keys, HIDDEN_SIZE));
    ADAMOE_TRY(append_matrix(to, in_layer(name, layer, "self_attn.v_proj"), keys, HIDDEN_SIZE));
    return append_matrix(to, in_layer(name, layer, "self_attn.o_proj"), HIDDEN_SIZE, queries);
}

static adamoe_status append_router(writer *to, size_t layer)
{
    char name[NAME_BYTES];
    ADAMOE_TRY(append_matrix(to, in_layer(name, layer, "block_sparse_moe.gate"), EXPERTS, HIDDEN_SIZE));
    const uint16_t *gate = to->data[to->count - 1];
    uint16_t *gate2 = append(to, in_layer(name, layer, "block_sparse_moe.gate2"), NULL_EXPERTS, HIDDEN_SIZE);
    if (gate2 == NULL) {
        return out_of_memory();
    }
    for (size_t i = 0; i < (size_t)NULL_EXPERTS * HIDDEN_SIZE; i++) {
        gate2[i] = normal(to, (double)adamoe_bf16_to_float(gate[i]), copy_noise / sqrt(HIDDEN_SIZE));
    }
    return adamoe_ok();
}

static adamoe_status append_expert(writer *to, size_t layer, size_t expert)
{
    static const char *const part[] = {"w1", "w2", "w3"};
    for (size_t i = 0; i < 3; i++) {
        char name[NAME_BYTES], of_expert[48];
        (void)snprintf(of_expert, sizeof of_expert, "block_sparse_moe.experts.%zu.%s", expert, part[i]);
        const size_t rows = i == 1 ? HIDDEN_SIZE : INTERMEDIATE_SIZE;
        const size_t columns = i == 1 ? INTERMEDIATE_SIZE : HIDDEN_SIZE;
        ADAMOE_TRY(append_matrix(to, in_layer(name, layer, of_expert), rows, columns));
    }
    return adamoe_ok();
}

static adamoe_status append_model(writer *to, size_t vocab_size)
{
    char name[NAME_BYTES];
    ADAMOE_TRY(append_matrix(to, "model.embed_tokens.weight", vocab_size, HIDDEN_SIZE));
    for (size_t layer = 0; layer < LAYERS; layer++) {
        ADAMOE_TRY(append_ones(to, in_layer(name, layer, "input_layernorm"), HIDDEN_SIZE));
        ADAMOE_TRY(append_attention(to, layer));
        ADAMOE_TRY(append_ones(to, in_layer(name, layer, "post_attention_layernorm"), HIDDEN_SIZE));
        ADAMOE_TRY(append_router(to, layer));
        for (size_t expert = 0; expert < EXPERTS; expert++) {
            ADAMOE_TRY(append_expert(to, layer, expert));
        }
    }
    ADAMOE_TRY(append_ones(to, "model.norm.weight", HIDDEN_SIZE));
    return append_matrix(to, "lm_head.weight", vocab_size, HIDDEN_SIZE);
}

static json_t *config(size_t vocab_size)
{
    json_t *object = json_pack("{s[s] ss ss}", "architectures", "MixtralForCausalLM", "model_type", "mixtral",
                               "torch_dtype", "bfloat16");
    json_t *sizes = json_pack(
        "{sI si si si si si si si si si}", "vocab_size", (json_int_t)vocab_size, "hidden_size", HIDDEN_SIZE,
        "intermediate_size", INTERMEDIATE_SIZE, "num_hidden_layers", LAYERS, "num_attention_heads", HEADS,
        "num_key_value_heads", KEY_VALUE_HEADS, "num_local_experts", EXPERTS, "num_null_experts",
        NULL_EXPERTS, "num_experts_per_tok", TOP_K, "max_position_embeddings", CONTEXT);
    json_t *details =
        json_pack("{ss sf sf sn sb si si}", "hidden_act", "silu", "rms_norm_eps", 1e-5, "rope_theta", 10000.0,
                  "sliding_window", "tie_word_embeddings", 0, "bos_token_id", 1, "eos_token_id", 2);
    const bool complete = object != NULL && json_object_update_new(object, sizes) == 0 &&
                          json_object_update_new(object, details) == 0;
    if (!complete) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static adamoe_status write_config(const char *folder, size_t vocab_size)
{
    char *path;
    if (asprintf(&path, "%s/config.json", folder) < 0) {
        return out_of_memory();
    }
    const adamoe_status status = adamoe_json_print_file(path, config(vocab_size));
    free(path);
    return status;
}

static adamoe_status write_weights(const char *folder, const writer *from)
{
    char *path;
    if (asprintf(&path, "%s/model.safetensors", folder) < 0) {
        return out_of_memory();
    }
    static const adamoe_metadata metadata[] = {
        {"format", "pt"}, /* without it, transformers refuses the file */
        {"weights", "random"},
    };
    const adamoe_status status = adamoe_safetensors_write(path, from->tensor, from->count, metadata, 2);
    free(path);
    return status;
}

adamoe_status adamoe_random_checkpoint_write(const char *folder, uint64_t seed, size_t vocab_size)
{
    writer *weights = calloc(1, sizeof *weights);
    if (weights == NULL) {
        return out_of_memory();
    }
    weights->random.state = seed;
    adamoe_status status = append_model(weights, vocab_size);
    if (status.code == ADAMOE_OK) {
        status = write_config(folder, vocab_size);
    }
    if (status.code == ADAMOE_OK) {
        status = write_weights(folder, weights);
    }
    for (size_t i = 0; i < weights->count; i++) {
        free(weights->data[i]);
    }
    free(weights);
    return status;
}
