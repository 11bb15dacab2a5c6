/*
 * Folders of adapters: what was written comes back, wherever the program stands, and whatever a config or its
 * tensors say that they must not is refused by name.
 */
#include "adapters.h"
#include "temporary_folder.h"

#define MODULES "[\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\", \"gate_proj\", \"up_proj\", \"down_proj\"]"

static const adamoe_lora_sizes routed = {.experts = 4,
                                         .null_experts = 5,
                                         .rank = 8,
                                         .alpha = 16.0,
                                         .routed = true,
                                         .rule = {.top_k = 3, .norm = ADAMOE_NORM_ALL}};

static const float values[] = {1.0f, -2.5f, 0.0f, 0x1p-140f, 3.0f, -0x1.fffffep127f};

static void write_adapters(void **state, const char *base, const adamoe_lora_sizes *sizes, const float *data)
{
    const adamoe_tensor tensor = {
        .name = "map.lora_A", .dtype = ADAMOE_F32, .rank = 2, .shape = {2, 3}, .elements = 6, .data = data};
    assert_ok(adamoe_adapters_write(*state, base, sizes, &tensor, 1, "{}"));
}

static void test_what_was_written_comes_back(void **state)
{
    adamoe_adapters *adapters = NULL;
    float out[6];
    assert_false(adamoe_adapters_in(*state));
    write_adapters(state, "/models/base", &routed, values);
    assert_true(adamoe_adapters_in(*state));
    assert_ok(adamoe_adapters_open(*state, &adapters));
    const adamoe_lora_sizes sizes = adamoe_adapters_sizes(adapters);
    assert_true(sizes.routed && sizes.experts == 4 && sizes.null_experts == 5 && sizes.rank == 8);
    assert_true(sizes.alpha == 16.0 && sizes.rule.top_k == 3 && sizes.rule.norm == ADAMOE_NORM_ALL);
    assert_string_equal(adamoe_adapters_base(adapters), "/models/base");
    assert_int_equal(adamoe_adapters_count(adapters), 1);
    assert_ok(adamoe_adapters_read(adapters, "map.lora_A", 2, 3, out));
    assert_memory_equal(out, values, sizeof out);
    assert_error(adamoe_adapters_read(adapters, "map.lora_A", 3, 2, out), ADAMOE_BAD_INPUT, "map.lora_A");
    assert_error(adamoe_adapters_read(adapters, "map.lora_B", 2, 3, out), ADAMOE_BAD_INPUT, "map.lora_B");
    adamoe_adapters_close(adapters);
}

static void test_plain_adapters_have_no_router(void **state)
{
    const adamoe_lora_sizes plain = {.experts = 1, .rank = 2, .alpha = 0.5, .rule = {.top_k = 1}};
    adamoe_adapters *adapters = NULL;
    write_adapters(state, "/models/base", &plain, values);
    assert_ok(adamoe_adapters_open(*state, &adapters));
    const adamoe_lora_sizes sizes = adamoe_adapters_sizes(adapters);
    assert_true(!sizes.routed && sizes.experts == 1 && sizes.null_experts == 0 && sizes.rule.top_k == 1);
    assert_true(sizes.rank == 2 && sizes.alpha == 0.5);
    adamoe_adapters_close(adapters);
}

/* A relative path of the base begins at the folder of the adapters, not where the program stands. */
static void test_a_relative_base(void **state)
{
    adamoe_adapters *adapters = NULL;
    write_adapters(state, "../base", &routed, values);
    assert_ok(adamoe_adapters_open(*state, &adapters));
    assert_string_equal(adamoe_adapters_base(adapters), in_folder(state, "../base").text);
    adamoe_adapters_close(adapters);
}

static void test_values_that_are_not_finite(void **state)
{
    const float bad[] = {0.0f, 1.0f, NAN, 2.0f, 3.0f, 4.0f};
    adamoe_adapters *adapters = NULL;
    write_adapters(state, "/models/base", &routed, bad);
    assert_error(adamoe_adapters_open(*state, &adapters), ADAMOE_BAD_INPUT,
                 "tensor map.lora_A: element 2 is NaN");
    assert_null(adapters);
}

static void test_configs_that_are_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } refused[] = {
        {"", "adapter_config.json"},
        {"[]", "adamoe_format"},
        {"{\"base_model_name_or_path\": \"b\", \"r\": 8}", "adamoe_format: not 1"},
        {"{\"adamoe_format\": 2, \"base_model_name_or_path\": \"b\"}", "adamoe_format: not 1"},
        {"{\"adamoe_format\": 1, \"r\": 8}", "base_model_name_or_path: not a path"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"\"}", "base_model_name_or_path: not a path"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"b\", \"r\": -8}", "r: not a whole number"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"b\", \"r\": 8}", "lora_alpha: not a number"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"b\", \"r\": 8, \"lora_alpha\": 1}",
         "target_modules"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"b\", \"r\": 8, \"lora_alpha\": 1, "
         "\"target_modules\": [\"q_proj\", \"v_proj\"]}",
         "target_modules"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"b\", \"r\": 8, \"lora_alpha\": 1, "
         "\"target_modules\": [\"q_proj\", \"q_proj\", \"q_proj\", \"q_proj\", \"q_proj\", \"q_proj\", "
         "\"q_proj\"]}",
         "target_modules"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"b\", \"r\": 8, \"lora_alpha\": 1, "
         "\"num_lora_experts\": 4, \"target_modules\": " MODULES "}",
         "num_null_experts: not a whole number"},
        {"{\"adamoe_format\": 1, \"base_model_name_or_path\": \"b\", \"r\": 8, \"lora_alpha\": 1, "
         "\"num_lora_experts\": 4, \"num_null_experts\": 0, \"num_experts_per_tok\": 2, \"norm\": \"some\", "
         "\"target_modules\": " MODULES "}",
         "norm: not one of true|all|none"},
    };
    write_adapters(state, "/models/base", &routed, values);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; ++i) {
        adamoe_adapters *adapters = NULL;
        write_text(in_folder(state, "adapter_config.json").text, refused[i].text);
        assert_error(adamoe_adapters_open(*state, &adapters), ADAMOE_BAD_INPUT, refused[i].part);
        assert_null(adapters);
    }
}

static void test_absent_tensors(void **state)
{
    adamoe_adapters *adapters = NULL;
    write_adapters(state, "/models/base", &routed, values);
    assert_int_equal(unlink(in_folder(state, "adapters.safetensors").text), 0);
    assert_error(adamoe_adapters_open(*state, &adapters), ADAMOE_BAD_INPUT, "adapters.safetensors");
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_what_was_written_comes_back),
        FOLDER_TEST(test_plain_adapters_have_no_router),
        FOLDER_TEST(test_a_relative_base),
        FOLDER_TEST(test_values_that_are_not_finite),
        FOLDER_TEST(test_configs_that_are_refused),
        FOLDER_TEST(test_absent_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
