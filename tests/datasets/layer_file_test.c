/*
 * One layer in a file: the oracle's layers as they are, and every disagreement within a file.
 */
#include "checkpoint.h"
#include "model_writer.h"

#include <glob.h>

static adamoe_status write_and_open(void **state, const tensor_list *list, const adamoe_metadata *metadata,
                                    size_t count, adamoe_layer_file **out)
{
    const folder_path path = in_folder(state, "layer.safetensors");
    assert_ok(adamoe_safetensors_write(path.text, list->tensor, list->count, metadata, count));
    return adamoe_layer_file_open(path.text, out);
}

static adamoe_status try_open(void **state, const tensor_list *list, const char *key, const char *value)
{
    const adamoe_metadata metadata = {key, value};
    adamoe_layer_file *file = NULL;
    const adamoe_status status = write_and_open(state, list, &metadata, key != NULL, &file);
    adamoe_layer_file_close(file);
    return status;
}

static void add_layer(tensor_list *list, name_style style, size_t null_experts)
{
    add_matrix(list, "hidden_states", 3, D, -2.0f);
    add_expert_layer(list, "", style, null_experts, 0.0f);
}

static void assert_element(const adamoe_matrix *matrix, size_t row, size_t column, double expected)
{
    assert_true(adamoe_matrix_at(matrix, row, column) == expected);
}

static void reads_old_and_fused_names(void **state)
{
    static const adamoe_dtype dtypes[] = {ADAMOE_F32, ADAMOE_F16, ADAMOE_BF16};
    const adamoe_metadata metadata[] = {
        {"num_local_experts", "2"}, {"num_null_experts", "3"},  {"num_experts_per_tok", "5"},
        {"hidden_size", "4"},       {"intermediate_size", "3"}, {"tokens", "3"},
        {"norm", "none"},           {"null_kind", "identity"},  {"mean_true_experts", "1.5"},
    };
    for (size_t i = 0; i < 6; ++i) {
        tensor_list list = {.dtype = dtypes[i % 3]};
        adamoe_layer_file *file = NULL;
        add_layer(&list, i < 3 ? SPARSE_NAMES : FUSED_NAMES, 3);
        add_matrix(&list, "expected.output", 3, D, 0.0f);
        assert_ok(write_and_open(state, &list, metadata, sizeof metadata / sizeof metadata[0], &file));
        free_tensors(&list);
        const adamoe_layer *layer = adamoe_layer_file_layer(file);
        assert_int_equal(layer->experts, N);
        assert_int_equal(layer->null_experts, 3);
        assert_int_equal(layer->hidden_size, D);
        assert_int_equal(layer->intermediate_size, FF);
        assert_element(&layer->gate, 1, 3, 20.0 + 0.25 * 7);
        assert_element(&layer->gate2, 2, 1, 24.0 + 0.25 * 9);
        assert_element(&layer->expert[1].w1, 2, 3, 10.0 + 0.25 * 11);
        assert_element(&layer->expert[1].w2, 3, 2, 13.0 + 0.25 * 11);
        assert_element(&layer->expert[1].w3, 2, 3, 16.0 + 0.25 * 11);
        const adamoe_rule rule = adamoe_layer_file_rule(file);
        assert_int_equal(rule.top_k, 5);
        assert_int_equal(rule.norm, ADAMOE_NORM_NONE);
        assert_int_equal(rule.null_kind, ADAMOE_NULL_IDENTITY);
        size_t tokens;
        const float *hidden = adamoe_layer_file_hidden_states(file, &tokens);
        assert_int_equal(tokens, 3);
        for (size_t j = 0; j < 3 * D; ++j) {
            assert_true(hidden[j] == -2.0f + 0.25f * (float)j);
        }
        assert_non_null(adamoe_safetensors_find(adamoe_layer_file_tensors(file), "expected.output"));
        adamoe_layer_file_close(file);
    }
}

static void what_the_file_does_not_say_has_defaults(void **state)
{
    static const size_t rows[] = {0, SIZE_MAX};
    for (size_t i = 0; i < 2; ++i) {
        tensor_list list = {.dtype = ADAMOE_F32};
        adamoe_layer_file *file = NULL;
        add_layer(&list, SPARSE_NAMES, rows[i]);
        assert_ok(write_and_open(state, &list, NULL, 0, &file));
        free_tensors(&list);
        const adamoe_rule rule = adamoe_layer_file_rule(file);
        assert_int_equal(rule.top_k, 0);
        assert_int_equal(rule.norm, ADAMOE_NORM_TRUE);
        assert_int_equal(rule.null_kind, ADAMOE_NULL_ZERO);
        const adamoe_layer *layer = adamoe_layer_file_layer(file);
        assert_int_equal(layer->null_experts, 0);
        assert_int_equal(layer->gate2.rows, 0);
        assert_int_equal(layer->gate2.columns, D);
        adamoe_layer_file_close(file);
    }
}

static void metadata_must_agree(void **state)
{
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"num_local_experts", "3", "__metadata__: num_local_experts: 3, but the tensors have 2"},
        {"num_null_experts", "0", "__metadata__: num_null_experts: 0, but the tensors have 3"},
        {"hidden_size", "5", "__metadata__: hidden_size: 5, but the tensors have 4"},
        {"intermediate_size", "6", "__metadata__: intermediate_size: 6, but the tensors have 3"},
        {"tokens", "4", "__metadata__: tokens: 4, but the tensors have 3"},
        {"tokens", "", "__metadata__: tokens:  is no count"},
        {"tokens", "+3", "__metadata__: tokens: +3 is no count"},
        {"tokens", " 3", "is no count"},
        {"tokens", "3.0", "is no count"},
        {"tokens", "18446744073709551619", "18446744073709551619 is no count"},
        {"num_experts_per_tok", "0", "num_experts_per_tok: 0 is not within 1 .. 5"},
        {"num_experts_per_tok", "6", "num_experts_per_tok: 6 is not within 1 .. 5"},
        {"num_experts_per_tok", "-1", "num_experts_per_tok: -1 is no count"},
        {"norm", "both", "__metadata__: norm: both is not implemented"},
        {"null_kind", "", "__metadata__: null_kind:  is not implemented"},
    };
    tensor_list list = {.dtype = ADAMOE_F32};
    add_layer(&list, SPARSE_NAMES, 3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        assert_error(try_open(state, &list, cases[i].key, cases[i].value), ADAMOE_BAD_INPUT,
                     cases[i].message);
    }
    assert_ok(try_open(state, &list, "num_experts_per_tok", "5"));
    free_tensors(&list);
}

static void every_tensor_is_needed(void **state)
{
    for (int style = SPARSE_NAMES; style <= FUSED_NAMES; ++style) {
        tensor_list list = {.dtype = ADAMOE_F32};
        add_layer(&list, (name_style)style, 3);
        for (size_t i = 0; i < list.count; ++i) {
            const adamoe_tensor kept = list.tensor[i];
            char message[120];
            list.tensor[i].name = "expected.other";
            snprintf(message, sizeof message, "/layer.safetensors: tensor %s: missing", kept.name);
            if (strstr(kept.name, "gate2") != NULL) {
                assert_ok(try_open(state, &list, NULL, NULL));
            } else if (strcmp(kept.name, "mlp.gate.weight") == 0) { /* decides on the style */
                assert_error(try_open(state, &list, NULL, NULL), ADAMOE_BAD_INPUT,
                             "tensor block_sparse_moe.gate.weight: missing");
            } else {
                assert_error(try_open(state, &list, NULL, NULL), ADAMOE_BAD_INPUT, message);
            }
            list.tensor[i] = kept;
        }
        free_tensors(&list);
    }
}

/* Replaces a tensor by one of another shape. */
static adamoe_status open_reshaped(void **state, const char *name, size_t rank, const size_t *shape)
{
    tensor_list list = {.dtype = ADAMOE_F32};
    add_layer(&list, SPARSE_NAMES, 3);
    drop_tensor(&list, name);
    add_tensor(&list, name, rank, shape, 0.0f);
    const adamoe_status status = try_open(state, &list, NULL, NULL);
    free_tensors(&list);
    return status;
}

static void shapes_must_agree(void **state)
{
    static const char gate[] = "block_sparse_moe.gate.weight", gate2[] = "block_sparse_moe.gate2.weight";
    static const char w1[] = "block_sparse_moe.experts.0.w1.weight";
    static const char w2[] = "block_sparse_moe.experts.1.w2.weight";
    static const struct {
        const char *name;
        size_t rank, shape[3];
        const char *message;
    } cases[] = {
        {"hidden_states", 2, {3, 5}, "tensor hidden_states: shape [3, 5] where [3, 4] is expected"},
        {"hidden_states", 2, {0, 4}, "tensor hidden_states: is no matrix, or has no row"},
        {"hidden_states", 1, {4}, "tensor hidden_states: is no matrix, or has no row"},
        {gate, 2, {2, 5}, "tensor block_sparse_moe.gate2.weight: shape [3, 4] where [3, 5] is expected"},
        {gate, 2, {3, 4}, "tensor block_sparse_moe.experts.2.w1.weight: missing"},
        {gate, 2, {1, 4}, "tensor block_sparse_moe.experts.1.w1.weight: not expected"},
        {gate, 1, {4}, "tensor block_sparse_moe.gate.weight: is no matrix, or an empty one"},
        {gate, 2, {1000000000000, 0}, "tensor block_sparse_moe.gate.weight: is no matrix, or an empty one"},
        {gate2, 1, {4}, "tensor block_sparse_moe.gate2.weight: rank 1 where 2 is expected"},
        {w1, 2, {0, 4}, "experts: intermediate size 0"},
        {w1, 1, {4}, "tensor block_sparse_moe.experts.0.w1.weight: rank 1 where 2 is expected"},
        {w1, 2, {2, 4}, "tensor block_sparse_moe.experts.0.w3.weight: shape [3, 4] where [2, 4] is"},
        {w2, 2, {3, 4}, "tensor block_sparse_moe.experts.1.w2.weight: shape [3, 4] where [4, 3] is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        assert_error(open_reshaped(state, cases[i].name, cases[i].rank, cases[i].shape), ADAMOE_BAD_INPUT,
                     cases[i].message);
    }
}

static void biases_are_refused(void **state)
{
    tensor_list list = {.dtype = ADAMOE_F32};
    add_layer(&list, FUSED_NAMES, 3);
    add_tensor(&list, "mlp.gate.bias", 1, (const size_t[]){2}, 0.0f);
    assert_error(try_open(state, &list, NULL, NULL), ADAMOE_BAD_INPUT, "tensor mlp.gate.bias: not expected");
    free_tensors(&list);
}

/* The oracle's files: shapes and metadata agree, and every number is finite. */
static void opens_the_oracle(void **state)
{
    (void)state;
    SKIP_WITHOUT(SHARED_PATH("oracle"));
    glob_t found;
    assert_int_equal(glob(SHARED_PATH("oracle/*.safetensors"), 0, NULL, &found), 0);
    assert_int_equal(glob(SHARED_PATH("oracle/rules/*.safetensors"), GLOB_APPEND, NULL, &found), 0);
    assert_true(found.gl_pathc >= 16);
    for (size_t i = 0; i < found.gl_pathc; ++i) {
        adamoe_layer_file *file = NULL;
        assert_ok(adamoe_layer_file_open(found.gl_pathv[i], &file));
        assert_true(adamoe_layer_file_rule(file).top_k > 0);
        assert_ok(adamoe_safetensors_check_finite(adamoe_layer_file_tensors(file)));
        adamoe_layer_file_close(file);
    }
    globfree(&found);
}

static void reads_one_of_the_oracle(void **state)
{
    (void)state;
    static const char path[] = SHARED_PATH("oracle/rules/identity_null.safetensors");
    SKIP_WITHOUT(path);
    adamoe_layer_file *file = NULL;
    assert_ok(adamoe_layer_file_open(path, &file));
    const adamoe_layer *layer = adamoe_layer_file_layer(file);
    assert_int_equal(layer->experts, 8);
    assert_int_equal(layer->null_experts, 8);
    assert_int_equal(layer->hidden_size, 48);
    assert_int_equal(layer->intermediate_size, 64);
    assert_int_equal(adamoe_layer_file_rule(file).top_k, 4);
    assert_int_equal(adamoe_layer_file_rule(file).null_kind, ADAMOE_NULL_IDENTITY);
    adamoe_layer_file_close(file);
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(reads_old_and_fused_names), FOLDER_TEST(what_the_file_does_not_say_has_defaults),
        FOLDER_TEST(metadata_must_agree),       FOLDER_TEST(every_tensor_is_needed),
        FOLDER_TEST(shapes_must_agree),         FOLDER_TEST(biases_are_refused),
        cmocka_unit_test(opens_the_oracle),     cmocka_unit_test(reads_one_of_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
