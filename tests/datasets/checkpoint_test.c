/*
 * Opening a folder as a model: names old and new, every disagreement between config.json and the weights, and
 * conversions in memory.
 */
#include "checkpoint.h"
#include "model_writer.h"

static adamoe_status try_open(void **state)
{
    adamoe_checkpoint *checkpoint = NULL;
    const adamoe_status status = adamoe_checkpoint_open(*state, &checkpoint);
    adamoe_checkpoint_close(checkpoint);
    return status;
}

static adamoe_checkpoint *open_model(void **state, name_style style, size_t null_experts, const char *more)
{
    tensor_list list = {.dtype = ADAMOE_F32};
    adamoe_checkpoint *checkpoint = NULL;
    add_model(&list, "model.", 2, style, null_experts);
    write_model(state, &list, 2, style == DENSE_NAMES, more);
    free_tensors(&list);
    assert_ok(adamoe_checkpoint_open(*state, &checkpoint));
    return checkpoint;
}

/* A matrix whose elements count up from `first` in quarters. */
static void assert_matrix(const adamoe_matrix *matrix, adamoe_dtype dtype, size_t rows, size_t columns,
                          double first)
{
    assert_int_equal(matrix->dtype, dtype);
    assert_int_equal(matrix->rows, rows);
    assert_int_equal(matrix->columns, columns);
    for (size_t row = 0; row < rows; ++row) {
        for (size_t column = 0; column < columns; ++column) {
            const double expected = first + 0.25 * (double)(row * columns + column);
            assert_true(adamoe_matrix_at(matrix, row, column) == expected);
        }
    }
}

static void assert_layer(const adamoe_layer *layer, adamoe_dtype dtype, size_t null_experts, double first)
{
    assert_int_equal(layer->hidden_size, D);
    assert_int_equal(layer->intermediate_size, FF);
    assert_int_equal(layer->experts, N);
    assert_int_equal(layer->null_experts, null_experts);
    assert_matrix(&layer->gate, dtype, N, D, first + 20.0);
    assert_matrix(&layer->gate2, dtype, null_experts, D, first + 24.0);
    for (size_t j = 0; j < N; ++j) {
        const double expert = first + 10.0 * (double)j;
        assert_matrix(&layer->expert[j].w1, dtype, FF, D, expert);
        assert_matrix(&layer->expert[j].w2, dtype, D, FF, expert + 3.0);
        assert_matrix(&layer->expert[j].w3, dtype, FF, D, expert + 6.0);
    }
}

static void assert_rest(const adamoe_model *model, adamoe_dtype dtype)
{
    assert_matrix(&model->embedding, dtype, VOCAB, D, -1.0);
    assert_matrix(&model->final_norm, dtype, 1, D, 3.0);
    assert_matrix(&model->head, dtype, VOCAB, D, -3.0);
    for (size_t i = 0; i < model->config.layers; ++i) {
        const adamoe_block *block = &model->block[i];
        assert_matrix(&block->input_norm, dtype, 1, D, 1.0 + (double)i);
        assert_matrix(&block->post_attention_norm, dtype, 1, D, 2.0 + (double)i);
        assert_matrix(&block->attention.q, dtype, HEADS * HEAD_DIM, D, 4.0 * (double)i);
        assert_matrix(&block->attention.k, dtype, KEY_VALUE_HEADS * HEAD_DIM, D, 4.0 * (double)i + 1.0);
        assert_matrix(&block->attention.v, dtype, KEY_VALUE_HEADS * HEAD_DIM, D, 4.0 * (double)i + 2.0);
        assert_matrix(&block->attention.o, dtype, D, HEADS * HEAD_DIM, 4.0 * (double)i + 3.0);
    }
}

/* ------------------------------------------------------------------------------------------------ opening */

/* Every matrix has its numbers, whatever the names, the dtype, and the front of the names. */
static void reads_every_matrix(void **state)
{
    static const adamoe_dtype dtypes[] = {ADAMOE_F32, ADAMOE_F16, ADAMOE_BF16};
    static const char *const fronts[] = {"model.", "model.", ""};
    for (size_t i = 0; i < 6; ++i) {
        tensor_list list = {.dtype = dtypes[i % 3]};
        add_model(&list, fronts[i % 3], 2, i < 3 ? SPARSE_NAMES : FUSED_NAMES, 3);
        write_model(state, &list, 2, false, ",\"num_null_experts\":3");
        free_tensors(&list);
        adamoe_checkpoint *checkpoint = NULL;
        assert_ok(adamoe_checkpoint_open(*state, &checkpoint));
        const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
        assert_int_equal(model->config.layers, 2);
        assert_int_equal(model->config.null_experts, 3);
        assert_rest(model, dtypes[i % 3]);
        assert_layer(&model->block[0].moe, dtypes[i % 3], 3, 0.0);
        assert_layer(&model->block[1].moe, dtypes[i % 3], 3, 32.0);
        assert_ok(adamoe_checkpoint_check_finite(checkpoint));
        adamoe_checkpoint_close(checkpoint);
    }
}

static void reads_a_dense_model(void **state)
{
    adamoe_checkpoint *checkpoint = open_model(state, DENSE_NAMES, 0, "");
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    assert_true(model->config.architecture.dense);
    assert_rest(model, ADAMOE_F32);
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_layer *layer = &model->block[i].moe;
        assert_int_equal(layer->experts, 1);
        assert_int_equal(layer->null_experts, 0);
        assert_int_equal(layer->gate.rows, 0);
        assert_int_equal(layer->gate.columns, D);
        assert_int_equal(layer->gate2.rows, 0);
        assert_matrix(&layer->expert[0].w1, ADAMOE_F32, FF, D, 32.0 * (double)i);
        assert_matrix(&layer->expert[0].w3, ADAMOE_F32, FF, D, 32.0 * (double)i + 1.0);
        assert_matrix(&layer->expert[0].w2, ADAMOE_F32, D, FF, 32.0 * (double)i + 2.0);
    }
    adamoe_checkpoint_close(checkpoint);
}

static void infers_null_experts_from_gate2(void **state)
{
    static const size_t rows[] = {3, 0, SIZE_MAX};
    for (size_t i = 0; i < 3; ++i) {
        adamoe_checkpoint *checkpoint = open_model(state, SPARSE_NAMES, rows[i], "");
        const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
        assert_int_equal(model->config.null_experts, i == 0 ? 3 : 0);
        assert_layer(&model->block[1].moe, ADAMOE_F32, i == 0 ? 3 : 0, 32.0);
        adamoe_checkpoint_close(checkpoint);
    }
}

static void reads_shards(void **state)
{
    static const char *const shards[] = {"model-1.safetensors", "model-2.safetensors"};
    tensor_list list = {.dtype = ADAMOE_BF16};
    char map[8000] = "{\"weight_map\":{";
    add_model(&list, "model.", 2, SPARSE_NAMES, 3);
    write_model(state, &list, 2, false, "");
    assert_int_equal(remove(in_folder(state, "model.safetensors").text), 0);
    const size_t half = list.count / 2;
    assert_ok(adamoe_safetensors_write(in_folder(state, shards[0]).text, list.tensor, half, NULL, 0));
    assert_ok(adamoe_safetensors_write(in_folder(state, shards[1]).text, list.tensor + half,
                                       list.count - half, NULL, 0));
    for (size_t i = 0; i < list.count; ++i) {
        const size_t length = strlen(map);
        snprintf(map + length, sizeof map - length, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", list.tensor[i].name,
                 shards[i >= half]);
    }
    strcat(map, "}}");
    free_tensors(&list);
    write_text(in_folder(state, "model.safetensors.index.json").text, map);
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(*state, &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    assert_rest(model, ADAMOE_BF16);
    assert_layer(&model->block[0].moe, ADAMOE_BF16, 3, 0.0);
    assert_layer(&model->block[1].moe, ADAMOE_BF16, 3, 32.0);
    adamoe_checkpoint_close(checkpoint);
    assert_int_equal(remove(in_folder(state, shards[1]).text), 0);
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "/model-2.safetensors: open: No such file");
}

static void reads_a_tied_head(void **state)
{
    static const char tied[] = ",\"tie_word_embeddings\":true";
    tensor_list list = {.dtype = ADAMOE_F32};
    add_model(&list, "model.", 1, SPARSE_NAMES, 2);
    write_model(state, &list, 1, false, tied);
    assert_error(try_open(state), ADAMOE_BAD_INPUT,
                 "tensor lm_head.weight: differs from the embedding that config.json ties it to");
    for (size_t i = 0; i < VOCAB * D; ++i) {
        set_element(find_tensor(&list, "lm_head.weight"), i, -1.0f + 0.25f * (float)i);
    }
    write_model(state, &list, 1, false, tied);
    assert_ok(try_open(state));
    drop_tensor(&list, "lm_head.weight");
    write_model(state, &list, 1, false, tied);
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(*state, &checkpoint));
    assert_matrix(&adamoe_checkpoint_model(checkpoint)->head, ADAMOE_F32, VOCAB, D, -1.0);
    adamoe_checkpoint_close(checkpoint);
    write_model(state, &list, 1, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "model.safetensors: tensor lm_head.weight: missing");
    free_tensors(&list);
}

static void reads_a_real_model(void **state)
{
    (void)state;
    static const char path[] = SHARED_PATH("stories260K");
    SKIP_WITHOUT(path);
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(path, &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    assert_int_equal(model->config.layers, 5);
    assert_int_equal(model->block[4].moe.expert[0].w2.rows, 64);
    assert_int_equal(model->block[4].moe.expert[0].w2.columns, 172);
    assert_ptr_equal(model->head.data, model->embedding.data);
    assert_ok(adamoe_checkpoint_check_finite(checkpoint));
    adamoe_checkpoint_close(checkpoint);
}

/* ------------------------------------------------------------------------------------------ disagreements */

/* Each tensor of a model is needed, and named when it is absent or when it is not of its shape. */
static void every_tensor_is_needed_in_its_shape(void **state)
{
    static const name_style styles[] = {SPARSE_NAMES, FUSED_NAMES, DENSE_NAMES};
    for (size_t s = 0; s < 3; ++s) {
        tensor_list list = {.dtype = ADAMOE_F32};
        add_model(&list, "model.", 2, styles[s], 2);
        const char *config = styles[s] == DENSE_NAMES ? "" : ",\"num_null_experts\":2";
        for (size_t i = 0; i < list.count; ++i) {
            const adamoe_tensor kept = list.tensor[i];
            char missing[120];
            snprintf(missing, sizeof missing, "tensor %s: ", kept.name);
            list.tensor[i].name = "model.other"; /* refused for what is missing, not for what is there */
            write_model(state, &list, 2, styles[s] == DENSE_NAMES, config);
            const bool is_gate = strstr(kept.name, "mlp.gate.weight") != NULL; /* decides on the style */
            assert_error(try_open(state), ADAMOE_BAD_INPUT, is_gate ? "gate.weight: missing" : missing);
            list.tensor[i] = kept;
            list.tensor[i].shape[kept.rank - 1] -= 1;
            list.tensor[i].elements =
                kept.elements / kept.shape[kept.rank - 1] * list.tensor[i].shape[kept.rank - 1];
            write_model(state, &list, 2, styles[s] == DENSE_NAMES, config);
            assert_error(try_open(state), ADAMOE_BAD_INPUT, missing);
            assert_error(try_open(state), ADAMOE_BAD_INPUT, "where [");
            list.tensor[i] = kept;
            list.tensor[i].rank = 4;
            list.tensor[i].shape[3] = list.tensor[i].shape[2] = 1;
            list.tensor[i].shape[1] = kept.elements / kept.shape[0];
            write_model(state, &list, 2, styles[s] == DENSE_NAMES, config);
            assert_error(try_open(state), ADAMOE_BAD_INPUT, missing);
            list.tensor[i] = kept;
        }
        write_model(state, &list, 2, styles[s] == DENSE_NAMES, config);
        assert_ok(try_open(state));
        free_tensors(&list);
    }
}

/* A stack of experts with a wrong number of rows, or of experts. */
static void stacks_are_checked_in_every_dimension(void **state)
{
    static const char name[] = "model.layers.1.mlp.experts.gate_up_proj";
    static const size_t shapes[][3] = {{N, 2 * FF - 1, D}, {N + 1, 2 * FF, D}, {N, FF, 2 * D}};
    static const char *const messages[] = {"shape [2, 5, 4] where [2, 6, 4] is expected",
                                           "shape [3, 6, 4] where [2, 6, 4] is expected",
                                           "shape [2, 3, 8] where [2, 6, 4] is expected"};
    for (size_t i = 0; i < 3; ++i) {
        tensor_list list = {.dtype = ADAMOE_F32};
        add_model(&list, "model.", 2, FUSED_NAMES, 2);
        drop_tensor(&list, name);
        add_tensor(&list, name, 3, shapes[i], 0.0f);
        write_model(state, &list, 2, false, "");
        assert_error(try_open(state), ADAMOE_BAD_INPUT, messages[i]);
        free_tensors(&list);
    }
}

static void integers_are_no_weights(void **state)
{
    static const char *const names[] = {"model.layers.1.mlp.experts.down_proj", "model.norm.weight"};
    for (size_t i = 0; i < 2; ++i) {
        tensor_list list = {.dtype = ADAMOE_F32};
        add_model(&list, "model.", 2, FUSED_NAMES, 2);
        adamoe_tensor *tensor = find_tensor(&list, names[i]);
        free((void *)(uintptr_t)tensor->data);
        tensor->dtype = ADAMOE_I64;
        tensor->data = calloc(tensor->elements, 8);
        write_model(state, &list, 2, false, "");
        assert_error(try_open(state), ADAMOE_BAD_INPUT, "dtype I64 where a floating-point one is expected");
        free_tensors(&list);
    }
}

static void unused_tensors_are_refused(void **state)
{
    tensor_list list = {.dtype = ADAMOE_F32};
    add_model(&list, "model.", 1, SPARSE_NAMES, 2);
    add_tensor(&list, "model.layers.0.self_attn.rotary_emb.inv_freq", 1, (const size_t[]){1}, 1.0f);
    write_model(state, &list, 1, false, "");
    assert_ok(try_open(state));
    add_tensor(&list, "model.layers.0.self_attn.q_proj.bias", 1, (const size_t[]){4}, 0.0f);
    write_model(state, &list, 1, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT,
                 "/model.safetensors: tensor model.layers.0.self_attn.q_proj.bias: not expected");
    drop_tensor(&list, "model.layers.0.self_attn.q_proj.bias");
    add_matrix(&list, "model.layers.0.block_sparse_moe.experts.2.w1.weight", FF, D, 0.0f);
    write_model(state, &list, 1, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "experts.2.w1.weight: not expected");
    drop_tensor(&list, "model.layers.0.block_sparse_moe.experts.2.w1.weight");
    add_tensor(&list, "model.layers.1.input_layernorm.weight", 1, (const size_t[]){D}, 0.0f);
    write_model(state, &list, 1, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "model.layers.1.input_layernorm.weight: not expected");
    free_tensors(&list);
}

static void null_experts_must_agree(void **state)
{
    static const char gate2[] = "model.layers.1.block_sparse_moe.gate2.weight";
    tensor_list list = {.dtype = ADAMOE_F32};
    add_model(&list, "model.", 2, SPARSE_NAMES, 2);
    write_model(state, &list, 2, false, ",\"num_null_experts\":4");
    assert_error(
        try_open(state), ADAMOE_BAD_INPUT,
        "tensor model.layers.0.block_sparse_moe.gate2.weight: 2 null experts, but config.json has 4");
    drop_tensor(&list, gate2);
    write_model(state, &list, 2, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT,
                 "tensor model.layers.1.block_sparse_moe.gate2.weight: 0 null experts, but layer 0 has 2");
    add_matrix(&list, gate2, 3, D, 0.0f);
    write_model(state, &list, 2, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "gate2.weight: 3 null experts, but layer 0 has 2");
    drop_tensor(&list, gate2);
    add_tensor(&list, gate2, 1, (const size_t[]){2 * D}, 0.0f);
    write_model(state, &list, 2, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "gate2.weight: rank 1 where 2 is expected");
    free_tensors(&list);
}

/* What config.json claims is checked against the files before memory is asked for it. */
static void claims_are_checked_before_they_are_believed(void **state)
{
    tensor_list list = {.dtype = ADAMOE_F32};
    add_model(&list, "model.", 1, FUSED_NAMES, 2);
    write_model(state, &list, 1000000000000, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT,
                 "/config.json: num_hidden_layers: 1000000000000, but the file has only 13 tensors");
    write_model(state, &list, 2, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "tensor model.layers.1.input_layernorm.weight: missing");
    free_tensors(&list);
    write_text(
        in_folder(state, "config.json").text,
        "{\"architectures\":[\"MixtralForCausalLM\"],\"vocab_size\":5,\"hidden_size\":4,"
        "\"intermediate_size\":3,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
        "\"num_key_value_heads\":1,\"head_dim\":2,\"max_position_embeddings\":16,\"rms_norm_eps\":1e-5,"
        "\"num_local_experts\":4000000000,\"num_experts_per_tok\":2}");
    assert_error(try_open(state), ADAMOE_BAD_INPUT,
                 "mlp.gate.weight: shape [2, 4] where [4000000000, 4] is expected");
}

static void top_k_is_checked_against_gate2(void **state)
{
    tensor_list list = {.dtype = ADAMOE_F32};
    add_model(&list, "model.", 1, SPARSE_NAMES, SIZE_MAX);
    write_model(state, &list, 1, false, "");
    assert_ok(try_open(state)); /* k = 2 of 2 */
    free_tensors(&list);
    size_t size;
    const folder_path path = in_folder(state, "config.json");
    char *config = read_bytes(path.text, &size);
    strchr(strstr(config, "per_tok"), '2')[0] = '3';
    write_bytes(path.text, config, size);
    free(config);
    assert_error(try_open(state), ADAMOE_BAD_INPUT,
                 "/config.json: num_experts_per_tok: 3 is not within 1 .. 2");
}

static void folders_without_a_model(void **state)
{
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "/config.json: open: No such file or directory");
    tensor_list list = {.dtype = ADAMOE_F32};
    write_model(state, &list, 1, false, "");
    assert_error(try_open(state), ADAMOE_BAD_INPUT, "tensor model.embed_tokens.weight: missing");
    assert_int_equal(remove(in_folder(state, "model.safetensors").text), 0);
    assert_error(try_open(state), ADAMOE_BAD_INPUT,
                 ": open: neither model.safetensors nor model.safetensors.index.json");
    adamoe_checkpoint_close(NULL);
}

static void nan_is_named(void **state)
{
    static const char w3[] = "model.layers.1.block_sparse_moe.experts.1.w3.weight";
    tensor_list list = {.dtype = ADAMOE_F16};
    add_model(&list, "model.", 2, SPARSE_NAMES, 2);
    set_element(find_tensor(&list, w3), 7, NAN);
    write_model(state, &list, 2, false, "");
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(*state, &checkpoint));
    assert_error(
        adamoe_checkpoint_check_finite(checkpoint), ADAMOE_BAD_INPUT,
        "/model.safetensors: tensor model.layers.1.block_sparse_moe.experts.1.w3.weight: element 7 is NaN");
    adamoe_checkpoint_close(checkpoint);
    free_tensors(&list);
}

/* -------------------------------------------------------------------------------------------- conversions */

static void vanilla_gets_null_experts(void **state)
{
    adamoe_checkpoint *checkpoint = open_model(state, SPARSE_NAMES, SIZE_MAX, "");
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    assert_ok(adamoe_checkpoint_set_null_experts(checkpoint, 6));
    assert_ptr_equal(adamoe_checkpoint_model(checkpoint), model);
    assert_int_equal(model->config.null_experts, 6);
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_layer *layer = &model->block[i].moe;
        assert_int_equal(layer->null_experts, 6);
        assert_int_equal(layer->gate2.rows, 6);
        assert_int_equal(layer->gate2.columns, D);
        assert_int_equal(layer->gate2.dtype, layer->gate.dtype);
        for (size_t row = 0; row < 6; ++row) {
            assert_memory_equal((const float *)layer->gate2.data + row * D,
                                (const uint8_t *)layer->gate.data + row % N * D * sizeof(float),
                                D * sizeof(float));
        }
    }
    assert_error(adamoe_checkpoint_set_null_experts(checkpoint, 6), ADAMOE_BAD_INPUT,
                 "/config.json: num_null_experts: the checkpoint has 6 already");
    assert_ok(adamoe_checkpoint_set_null_experts(checkpoint, 0));
    assert_layer(&model->block[0].moe, ADAMOE_F32, 0, 0.0);
    assert_ok(adamoe_checkpoint_set_null_experts(checkpoint, 2));
    assert_int_equal(model->block[1].moe.gate2.rows, 2);
    adamoe_checkpoint_close(checkpoint);
}

/* Layers keep the dtype of their own gate. */
static void copies_keep_the_dtype(void **state)
{
    tensor_list list = {.dtype = ADAMOE_BF16};
    adamoe_checkpoint *checkpoint = NULL;
    add_model(&list, "model.", 2, FUSED_NAMES, 0);
    write_model(state, &list, 2, false, "");
    free_tensors(&list);
    assert_ok(adamoe_checkpoint_open(*state, &checkpoint));
    assert_ok(adamoe_checkpoint_set_null_experts(checkpoint, 4));
    const adamoe_layer *layer = &adamoe_checkpoint_model(checkpoint)->block[1].moe;
    assert_int_equal(layer->gate2.dtype, ADAMOE_BF16);
    for (size_t row = 0; row < 4; ++row) {
        for (size_t column = 0; column < D; ++column) {
            assert_true(adamoe_matrix_at(&layer->gate2, row, column) ==
                        adamoe_matrix_at(&layer->gate, row % N, column));
        }
    }
    adamoe_checkpoint_close(checkpoint);
}

static void null_experts_are_dropped(void **state)
{
    adamoe_checkpoint *checkpoint = open_model(state, SPARSE_NAMES, 3, "");
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    assert_error(adamoe_checkpoint_set_null_experts(checkpoint, 4), ADAMOE_BAD_INPUT,
                 "num_null_experts: the checkpoint has 3 already");
    assert_layer(&model->block[1].moe, ADAMOE_F32, 3, 32.0); /* unchanged */
    assert_ok(adamoe_checkpoint_set_null_experts(checkpoint, 0));
    assert_int_equal(model->config.null_experts, 0);
    assert_layer(&model->block[0].moe, ADAMOE_F32, 0, 0.0);
    assert_layer(&model->block[1].moe, ADAMOE_F32, 0, 32.0);
    adamoe_checkpoint_close(checkpoint);
}

static void impossible_conversions_are_refused(void **state)
{
    adamoe_checkpoint *checkpoint = open_model(state, SPARSE_NAMES, SIZE_MAX, "");
    assert_error(adamoe_checkpoint_set_null_experts(checkpoint, 3), ADAMOE_BAD_INPUT,
                 "/config.json: num_null_experts: 3 is no multiple of the 2 experts");
    assert_error(adamoe_checkpoint_set_null_experts(checkpoint, SIZE_MAX - 1), ADAMOE_BAD_INPUT,
                 "num_null_experts: 18446744073709551614 is beyond 32-bit ids");
    assert_int_equal(adamoe_checkpoint_model(checkpoint)->config.null_experts, 0);
    adamoe_checkpoint_close(checkpoint);
    checkpoint = open_model(state, DENSE_NAMES, 0, "");
    assert_error(adamoe_checkpoint_set_null_experts(checkpoint, 1), ADAMOE_BAD_INPUT,
                 "num_null_experts: a dense model has no router");
    assert_error(adamoe_checkpoint_set_null_experts(checkpoint, 0), ADAMOE_BAD_INPUT, "has no router");
    adamoe_checkpoint_close(checkpoint);
}

static void rule_is_changed_within_its_limits(void **state)
{
    adamoe_checkpoint *checkpoint = open_model(state, SPARSE_NAMES, 3, "");
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const adamoe_rule all = {5, ADAMOE_NORM_ALL, ADAMOE_NULL_IDENTITY};
    assert_ok(adamoe_checkpoint_set_rule(checkpoint, all));
    assert_int_equal(model->config.rule.top_k, 5);
    assert_int_equal(model->config.rule.norm, ADAMOE_NORM_ALL);
    assert_int_equal(model->config.rule.null_kind, ADAMOE_NULL_IDENTITY);
    assert_error(adamoe_checkpoint_set_rule(checkpoint, (adamoe_rule){.top_k = 6}), ADAMOE_BAD_INPUT,
                 "/config.json: num_experts_per_tok: 6 is not within 1 .. 5");
    assert_error(adamoe_checkpoint_set_rule(checkpoint, (adamoe_rule){.top_k = 0}), ADAMOE_BAD_INPUT,
                 "num_experts_per_tok: 0 is not within 1 .. 5");
    assert_int_equal(model->config.rule.top_k, 5);
    /* dropping the null experts would leave k above n */
    assert_error(adamoe_checkpoint_set_null_experts(checkpoint, 0), ADAMOE_BAD_INPUT,
                 "num_experts_per_tok: 5 is not within 1 .. 2");
    assert_int_equal(model->config.null_experts, 3);
    assert_ok(adamoe_checkpoint_set_rule(checkpoint, (adamoe_rule){.top_k = 2}));
    assert_ok(adamoe_checkpoint_set_null_experts(checkpoint, 0));
    adamoe_checkpoint_close(checkpoint);
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(reads_every_matrix),
        FOLDER_TEST(reads_a_dense_model),
        FOLDER_TEST(infers_null_experts_from_gate2),
        FOLDER_TEST(reads_shards),
        FOLDER_TEST(reads_a_tied_head),
        cmocka_unit_test(reads_a_real_model),
        FOLDER_TEST(every_tensor_is_needed_in_its_shape),
        FOLDER_TEST(stacks_are_checked_in_every_dimension),
        FOLDER_TEST(integers_are_no_weights),
        FOLDER_TEST(unused_tensors_are_refused),
        FOLDER_TEST(null_experts_must_agree),
        FOLDER_TEST(claims_are_checked_before_they_are_believed),
        FOLDER_TEST(top_k_is_checked_against_gate2),
        FOLDER_TEST(folders_without_a_model),
        FOLDER_TEST(nan_is_named),
        FOLDER_TEST(vanilla_gets_null_experts),
        FOLDER_TEST(copies_keep_the_dtype),
        FOLDER_TEST(null_experts_are_dropped),
        FOLDER_TEST(impossible_conversions_are_refused),
        FOLDER_TEST(rule_is_changed_within_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
