/*
 * The table of tensors: names, shapes and order of small models as Hugging Face writes them, and that each
 * field of a model is filled by one tensor.
 */
#include "test.h"
#include "lora/lora_model.h"
#include "tensors.h"

#include <string.h>

static const adamoe_config sparse = {.vocab_size = 11,
                                     .hidden_size = 8,
                                     .intermediate_size = 5,
                                     .layers = 2,
                                     .heads = 3,
                                     .key_value_heads = 1,
                                     .head_dim = 4,
                                     .experts = 2,
                                     .null_experts = 7};

/* Everything that an architecture can have. */
static adamoe_config rich(adamoe_query_key_norm norm)
{
    adamoe_config config = sparse;
    config.shared_intermediate_size = 9;
    config.architecture = (adamoe_architecture){.query_key_norm = norm,
                                                .biases = true,
                                                .output_bias = true,
                                                .shared_expert = true,
                                                .naming = ADAMOE_NAMED_SINGLE};
    return config;
}

typedef struct expected_tensor {
    const char *name;
    size_t rank, rows, columns;
} expected_tensor;

static void assert_walk(const adamoe_config *config, const expected_tensor *expected, size_t count)
{
    const adamoe_tensor_totals totals = adamoe_count_tensors(config);
    adamoe_model_tensor tensor;
    size_t i = 0, elements = 0;
    for (adamoe_tensor_walk walk = {.config = config}; adamoe_next_tensor(&walk, &tensor); ++i) {
        assert_true(i < count);
        assert_string_equal(adamoe_name_of_tensor(&tensor, adamoe_naming_of(config), "model.").text,
                            expected[i].name);
        assert_int_equal(tensor.rank, expected[i].rank);
        assert_int_equal(tensor.rows, expected[i].rows);
        assert_int_equal(tensor.columns, expected[i].columns);
        elements += tensor.rows * tensor.columns;
    }
    assert_int_equal(i, count);
    assert_true(totals.tensors == (double)count);
    assert_true(totals.elements == (double)elements);
}

#define SPARSE_LAYER(l)                                                                                      \
    {"model.layers." l ".input_layernorm.weight", 1, 1, 8},                                                  \
        {"model.layers." l ".self_attn.q_proj.weight", 2, 12, 8},                                            \
        {"model.layers." l ".self_attn.k_proj.weight", 2, 4, 8},                                             \
        {"model.layers." l ".self_attn.v_proj.weight", 2, 4, 8},                                             \
        {"model.layers." l ".self_attn.o_proj.weight", 2, 8, 12},                                            \
        {"model.layers." l ".post_attention_layernorm.weight", 1, 1, 8},                                     \
        {"model.layers." l ".block_sparse_moe.gate.weight", 2, 2, 8},                                        \
        {"model.layers." l ".block_sparse_moe.gate2.weight", 2, 7, 8},                                       \
        {"model.layers." l ".block_sparse_moe.experts.0.w1.weight", 2, 5, 8},                                \
        {"model.layers." l ".block_sparse_moe.experts.0.w3.weight", 2, 5, 8},                                \
        {"model.layers." l ".block_sparse_moe.experts.0.w2.weight", 2, 8, 5},                                \
        {"model.layers." l ".block_sparse_moe.experts.1.w1.weight", 2, 5, 8},                                \
        {"model.layers." l ".block_sparse_moe.experts.1.w3.weight", 2, 5, 8},                                \
    {                                                                                                        \
        "model.layers." l ".block_sparse_moe.experts.1.w2.weight", 2, 8, 5                                   \
    }

static void tensors_of_mixtral(void **state)
{
    static const expected_tensor expected[] = {
        {"model.embed_tokens.weight", 2, 11, 8},
        SPARSE_LAYER("0"),
        SPARSE_LAYER("1"),
        {"model.norm.weight", 1, 1, 8},
        {"lm_head.weight", 2, 11, 8},
    };
    (void)state;
    assert_walk(&sparse, expected, sizeof expected / sizeof *expected);
}

static void tensors_of_a_tied_llama(void **state)
{
    static const expected_tensor expected[] = {
        {"model.embed_tokens.weight", 2, 11, 8},
        {"model.layers.0.input_layernorm.weight", 1, 1, 8},
        {"model.layers.0.self_attn.q_proj.weight", 2, 12, 8},
        {"model.layers.0.self_attn.k_proj.weight", 2, 4, 8},
        {"model.layers.0.self_attn.v_proj.weight", 2, 4, 8},
        {"model.layers.0.self_attn.o_proj.weight", 2, 8, 12},
        {"model.layers.0.post_attention_layernorm.weight", 1, 1, 8},
        {"model.layers.0.mlp.gate_proj.weight", 2, 5, 8},
        {"model.layers.0.mlp.up_proj.weight", 2, 5, 8},
        {"model.layers.0.mlp.down_proj.weight", 2, 8, 5},
        {"model.norm.weight", 1, 1, 8},
    };
    (void)state;
    adamoe_config config = sparse;
    config.layers = config.experts = 1;
    config.null_experts = 0;
    config.architecture.dense = config.architecture.tied_head = true;
    assert_walk(&config, expected, sizeof expected / sizeof *expected);
}

static void tensors_of_a_rich_architecture(void **state)
{
    static const expected_tensor expected[] = {
        {"model.embed_tokens.weight", 2, 11, 8},
        {"model.layers.0.input_layernorm.weight", 1, 1, 8},
        {"model.layers.0.self_attn.q_proj.weight", 2, 12, 8},
        {"model.layers.0.self_attn.k_proj.weight", 2, 4, 8},
        {"model.layers.0.self_attn.v_proj.weight", 2, 4, 8},
        {"model.layers.0.self_attn.o_proj.weight", 2, 8, 12},
        {"model.layers.0.self_attn.q_proj.bias", 1, 1, 12},
        {"model.layers.0.self_attn.k_proj.bias", 1, 1, 4},
        {"model.layers.0.self_attn.v_proj.bias", 1, 1, 4},
        {"model.layers.0.self_attn.o_proj.bias", 1, 1, 8},
        {"model.layers.0.self_attn.q_norm.weight", 1, 1, 12},
        {"model.layers.0.self_attn.k_norm.weight", 1, 1, 4},
        {"model.layers.0.post_attention_layernorm.weight", 1, 1, 8},
        {"model.layers.0.mlp.gate.weight", 2, 2, 8},
        {"model.layers.0.mlp.gate2.weight", 2, 7, 8},
        {"model.layers.0.mlp.shared_expert.gate_proj.weight", 2, 9, 8},
        {"model.layers.0.mlp.shared_expert.up_proj.weight", 2, 9, 8},
        {"model.layers.0.mlp.shared_expert.down_proj.weight", 2, 8, 9},
        {"model.layers.0.mlp.shared_expert_gate.weight", 2, 1, 8},
        {"model.layers.0.mlp.experts.0.gate_proj.weight", 2, 5, 8},
        {"model.layers.0.mlp.experts.0.up_proj.weight", 2, 5, 8},
        {"model.layers.0.mlp.experts.0.down_proj.weight", 2, 8, 5},
        {"model.layers.0.mlp.experts.1.gate_proj.weight", 2, 5, 8},
        {"model.layers.0.mlp.experts.1.up_proj.weight", 2, 5, 8},
        {"model.layers.0.mlp.experts.1.down_proj.weight", 2, 8, 5},
        {"model.norm.weight", 1, 1, 8},
        {"lm_head.weight", 2, 11, 8},
    };
    (void)state;
    adamoe_config config = rich(ADAMOE_QUERY_KEY_NORM_WIDTH);
    config.layers = 1;
    assert_walk(&config, expected, sizeof expected / sizeof *expected);
    config.architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS;
    assert_int_equal(adamoe_tensor_of(&config, ADAMOE_WEIGHT_Q_NORM, 0, 0).columns, 4);
    assert_int_equal(adamoe_tensor_of(&config, ADAMOE_WEIGHT_K_NORM, 0, 0).columns, 4);
    assert_string_equal(adamoe_name_in_layer("", ADAMOE_NAMED_LINEAR, ADAMOE_WEIGHT_GATE, 0).text,
                        "block_sparse_moe.router.layer.weight");
}

static void a_model_without_layers(void **state)
{
    static const expected_tensor expected[] = {
        {"model.embed_tokens.weight", 2, 11, 8},
        {"model.norm.weight", 1, 1, 8},
        {"lm_head.weight", 2, 11, 8},
    };
    (void)state;
    adamoe_config config = sparse;
    config.layers = 0;
    assert_walk(&config, expected, sizeof expected / sizeof *expected);
}

/* Counts that a size_t cannot hold are still seen. */
static void sizes_beyond_memory_are_counted(void **state)
{
    (void)state;
    adamoe_config config = sparse;
    config.hidden_size = config.intermediate_size = config.layers = (size_t)1 << 40;
    assert_true(adamoe_count_tensors(&config).elements > 0x1p120);
}

static size_t matrices_at(const void *data, size_t bytes, const adamoe_matrix *mark)
{
    const adamoe_matrix *matrix = data;
    size_t found = 0;
    for (size_t i = 0; i < bytes / sizeof *matrix; ++i) {
        found += matrix[i].data == mark->data;
    }
    return found;
}

/* Every matrix of a model's structures is what one tensor fills, and reading finds it there. */
static void every_field_has_one_tensor(void **state)
{
    static const char mark = 0;
    const adamoe_matrix marked = {&mark, ADAMOE_F32, 3, 4};
    const adamoe_config all = rich(ADAMOE_QUERY_KEY_NORM_HEADS);
    adamoe_weights w;
    adamoe_model_tensor tensor;
    size_t tensors = 0;
    (void)state;
    assert_ok(adamoe_weights_create(&all, &w));
    for (adamoe_tensor_walk walk = {.config = &all}; adamoe_next_tensor(&walk, &tensor); ++tensors) {
        adamoe_matrix *place = adamoe_weights_at(&w, &tensor);
        assert_true(place->data == NULL);
        *place = marked;
        assert_ptr_equal(adamoe_model_at(&w.model, &tensor), place);
    }
    size_t found = matrices_at(w.expert, all.layers * all.experts * sizeof *w.expert, &marked) +
                   matrices_at(&w.model.embedding, 3 * sizeof(adamoe_matrix), &marked);
    for (size_t layer = 0; layer < all.layers; ++layer) {
        const adamoe_block *block = &w.block[layer];
        found += matrices_at(block, offsetof(adamoe_block, moe), &marked) +
                 matrices_at(&block->moe.gate, 2 * sizeof(adamoe_matrix), &marked);
        assert_int_equal(offsetof(adamoe_block, moe) % sizeof(adamoe_matrix), 0);
        assert_ptr_equal(block->moe.expert, w.expert + layer * all.experts);
        assert_int_equal(block->moe.null_experts, 7);
    }
    assert_int_equal(found, tensors);
    assert_int_equal(sizeof(adamoe_expert), 3 * sizeof(adamoe_matrix));
    assert_int_equal(tensors, 3 + all.layers * (offsetof(adamoe_block, moe) / sizeof(adamoe_matrix) + 2 +
                                                3 * all.experts));
    adamoe_weights_free(&w);
}

/* A layer file has no layer before its names; a fused one no experts of their own. */
static void names_within_a_layer(void **state)
{
    (void)state;
    assert_string_equal(adamoe_name_in_layer("", ADAMOE_NAMED_FUSED, ADAMOE_WEIGHT_GATE2, 0).text,
                        "mlp.gate2.weight");
    assert_string_equal(adamoe_name_in_layer("layers.3.", ADAMOE_NAMED_SPARSE, ADAMOE_WEIGHT_W2, 41).text,
                        "layers.3.block_sparse_moe.experts.41.w2.weight");
    const adamoe_model_tensor embedding = adamoe_tensor_of(&sparse, ADAMOE_WEIGHT_EMBEDDING, 0, 0);
    assert_string_equal(adamoe_name_of_tensor(&embedding, ADAMOE_NAMED_SPARSE, "").text,
                        "embed_tokens.weight");
}

/* The maps that LoRA experts adapt are the matrices of a dense layer. */
static void maps_are_matrices_of_a_dense_layer(void **state)
{
    static const adamoe_weight weight[ADAMOE_MAPS] = {ADAMOE_WEIGHT_Q, ADAMOE_WEIGHT_K,  ADAMOE_WEIGHT_V,
                                                      ADAMOE_WEIGHT_O, ADAMOE_WEIGHT_W1, ADAMOE_WEIGHT_W3,
                                                      ADAMOE_WEIGHT_W2};
    (void)state;
    for (size_t map = 0; map < ADAMOE_MAPS; ++map) {
        const adamoe_model_tensor tensor = adamoe_tensor_of(&sparse, weight[map], 0, 0);
        const adamoe_map_size size = adamoe_map_size_of(&sparse, map);
        char name[64];
        (void)snprintf(name, sizeof name, "%s.weight", adamoe_map_names[map]);
        assert_string_equal(adamoe_name_in_layer("", ADAMOE_NAMED_DENSE, weight[map], 0).text, name);
        assert_int_equal(size.out, tensor.rows);
        assert_int_equal(size.in, tensor.columns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_of_mixtral),
        cmocka_unit_test(tensors_of_a_tied_llama),
        cmocka_unit_test(tensors_of_a_rich_architecture),
        cmocka_unit_test(a_model_without_layers),
        cmocka_unit_test(sizes_beyond_memory_are_counted),
        cmocka_unit_test(every_field_has_one_tensor),
        cmocka_unit_test(names_within_a_layer),
        cmocka_unit_test(maps_are_matrices_of_a_dense_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
