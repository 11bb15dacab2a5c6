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
#include "tensors.h"

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
};

static const double copy_noise = 0.2; /* of the deviation of a router row */

static adamoe_config sizes(size_t vocab_size)
{
    return (adamoe_config){.vocab_size = vocab_size,
                           .hidden_size = HIDDEN_SIZE,
                           .intermediate_size = INTERMEDIATE_SIZE,
                           .layers = LAYERS,
                           .heads = HEADS,
                           .key_value_heads = KEY_VALUE_HEADS,
                           .head_dim = HEAD_DIM,
                           .experts = EXPERTS,
                           .null_experts = NULL_EXPERTS};
}

/* A tensor of the model, its name and its values. */
typedef struct drawn_tensor {
    adamoe_model_tensor of;
    adamoe_tensor_name name;
    uint16_t *value;
} drawn_tensor;

typedef struct writer {
    adamoe_splitmix64 random;
    drawn_tensor *tensor; /* [count], in the order of the file, which is that of drawing */
    size_t count;
} writer;

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "checkpoint: out of memory");
}

/* All tensors without their values. A seed draws w2 of an expert before w3. */
static adamoe_status list_tensors(const adamoe_config *config, writer *to)
{
    adamoe_model_tensor tensor;
    size_t count = 0;
    for (adamoe_tensor_walk walk = {.config = config}; adamoe_next_tensor(&walk, &tensor);) {
        ++count;
    }
    to->tensor = calloc(count, sizeof *to->tensor);
    if (to->tensor == NULL) {
        return out_of_memory();
    }
    for (adamoe_tensor_walk walk = {.config = config}; adamoe_next_tensor(&walk, &tensor); ++to->count) {
        drawn_tensor *next = &to->tensor[to->count];
        if (tensor.weight == ADAMOE_WEIGHT_W2) {
            next[0] = next[-1];
            --next;
        }
        *next = (drawn_tensor){.of = tensor,
                               .name = adamoe_name_of_tensor(&tensor, adamoe_naming_of(config), "model.")};
    }
    return adamoe_ok();
}

static uint16_t normal(writer *to, double mean, double deviation)
{
    return adamoe_float_to_bf16((float)(mean + deviation * adamoe_splitmix64_normal(&to->random)));
}

/* `gate` has the values of the gate that was drawn last. */
static uint16_t draw(writer *to, const adamoe_model_tensor *of, const uint16_t *gate, size_t i)
{
    const double deviation = 1.0 / sqrt((double)of->columns);
    if (of->kind == ADAMOE_GAINS) {
        return adamoe_float_to_bf16(1.0F);
    }
    return of->weight == ADAMOE_WEIGHT_GATE2
               ? normal(to, (double)adamoe_bf16_to_float(gate[i]), copy_noise / sqrt((double)of->columns))
               : normal(to, 0.0, deviation);
}

static adamoe_status draw_all(writer *to)
{
    const uint16_t *gate = NULL;
    for (size_t t = 0; t < to->count; ++t) {
        drawn_tensor *tensor = &to->tensor[t];
        const size_t elements = tensor->of.rows * tensor->of.columns;
        tensor->value = calloc(elements, sizeof *tensor->value);
        if (tensor->value == NULL) {
            return out_of_memory();
        }
        for (size_t i = 0; i < elements; ++i) {
            tensor->value[i] = draw(to, &tensor->of, gate, i);
        }
        gate = tensor->of.weight == ADAMOE_WEIGHT_GATE ? tensor->value : gate;
    }
    return adamoe_ok();
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

static adamoe_status write_tensors(const char *path, const writer *from, adamoe_tensor *tensor)
{
    static const adamoe_metadata metadata[] = {
        {"format", "pt"}, /* without it, transformers refuses the file */
        {"weights", "random"},
    };
    for (size_t i = 0; i < from->count; ++i) {
        const adamoe_model_tensor *of = &from->tensor[i].of;
        const bool vector = of->rank == 1;
        tensor[i] = (adamoe_tensor){.name = from->tensor[i].name.text,
                                    .dtype = ADAMOE_BF16,
                                    .rank = of->rank,
                                    .shape = {vector ? of->columns : of->rows, vector ? 0 : of->columns},
                                    .elements = of->rows * of->columns,
                                    .data = from->tensor[i].value};
    }
    return adamoe_safetensors_write(path, tensor, from->count, metadata, 2);
}

static adamoe_status write_weights(const char *folder, const writer *from)
{
    char *path = NULL;
    adamoe_tensor *tensor = calloc(from->count, sizeof *tensor);
    const bool complete = tensor != NULL && asprintf(&path, "%s/model.safetensors", folder) >= 0;
    const adamoe_status status = complete ? write_tensors(path, from, tensor) : out_of_memory();
    free(complete ? path : NULL);
    free(tensor);
    return status;
}

adamoe_status adamoe_random_checkpoint_write(const char *folder, uint64_t seed, size_t vocab_size)
{
    const adamoe_config model = sizes(vocab_size);
    writer weights = {.random = {.state = seed}};
    adamoe_status status = list_tensors(&model, &weights);
    if (status.code == ADAMOE_OK) {
        status = draw_all(&weights);
    }
    if (status.code == ADAMOE_OK) {
        status = write_config(folder, vocab_size);
    }
    if (status.code == ADAMOE_OK) {
        status = write_weights(folder, &weights);
    }
    for (size_t i = 0; i < weights.count; ++i) {
        free(weights.tensor[i].value);
    }
    free(weights.tensor);
    return status;
}
