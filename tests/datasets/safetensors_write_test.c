/*
 * Writing safetensors, and reading what was written: as one file, and as shards behind an index.
 */
#include "numbers.h"
#include "safetensors/safetensors.h"
#include "temporary_folder.h"

/* ------------------------------------------------------------------------------------------------ writing */

static const float singles[] = {1.5f, -2.25f, 3e-39f, 0.0f, -0.0f, 7.0f};
static const uint16_t halves[] = {0x3c00, 0x0001, 0xfbff};
static const int64_t integers[] = {INT64_MIN, -1, INT64_MAX};

static const adamoe_tensor samples[] = {
    {"single", ADAMOE_F32, 2, {3, 2}, 6, singles},
    {"half", ADAMOE_F16, 1, {3}, 3, halves},
    {"brain", ADAMOE_BF16, 8, {1, 1, 3, 1, 1, 1, 1, 1}, 3, halves},
    {"none", ADAMOE_BF16, 2, {0, 9}, 0, NULL},
    {"integer \"\\\n\u00fc", ADAMOE_I64, 3, {1, 3, 1}, 3, integers},
    {"scalar", ADAMOE_F32, 0, {0}, 1, singles},
};

static void assert_same_tensor(const adamoe_tensor *actual, const adamoe_tensor *expected)
{
    assert_non_null(actual);
    assert_string_equal(actual->name, expected->name);
    assert_int_equal(actual->dtype, expected->dtype);
    assert_int_equal(actual->rank, expected->rank);
    assert_memory_equal(actual->shape, expected->shape, sizeof actual->shape);
    assert_int_equal(actual->elements, expected->elements);
    if (expected->elements > 0) {
        const size_t size = expected->elements * adamoe_dtype_bytes(expected->dtype);
        assert_memory_equal(actual->data, expected->data, size);
    }
}

static void what_is_written_is_read(void **state)
{
    const size_t count = sizeof samples / sizeof samples[0];
    const folder_path path = in_folder(state, "samples.safetensors");
    const adamoe_metadata metadata[] = {{"norm", "true"}, {"note", "a \"b\"\n"}, {"empty", ""}};
    assert_ok(adamoe_safetensors_write(path.text, samples, count, metadata, 3));
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(path.text, &file));
    assert_int_equal(adamoe_safetensors_count(file), count);
    for (size_t i = 0; i < count; ++i) {
        assert_same_tensor(adamoe_safetensors_at(file, i), &samples[i]);
        assert_ptr_equal(adamoe_safetensors_find(file, samples[i].name), adamoe_safetensors_at(file, i));
    }
    for (size_t i = 0; i < 3; ++i) {
        assert_string_equal(adamoe_safetensors_metadata(file, metadata[i].key), metadata[i].value);
    }
    assert_int_equal(((uintptr_t)adamoe_safetensors_at(file, 0)->data) % 8, 0);
    adamoe_safetensors_close(file);
    assert_int_equal(count_files(state), 1);
}

/* The format, byte by byte, so that a mistake made twice, in writing and in reading, is seen. */
static void written_bytes_are_the_format(void **state)
{
    static const char expected[] = "\x50\0\0\0\0\0\0\0"
                                   "{\"__metadata__\":{\"k\":\"3\"},"
                                   "\"h\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]}} "
                                   "\x00\x3c\x01\x00\xff\xfb";
    const folder_path path = in_folder(state, "h.safetensors");
    const adamoe_tensor tensor = {"h", ADAMOE_F16, 1, {3}, 3, halves};
    const adamoe_metadata metadata = {"k", "3"}, longer = {"k", "33"};
    assert_ok(adamoe_safetensors_write(path.text, &tensor, 1, &metadata, 1));
    size_t size;
    char *content = read_bytes(path.text, &size);
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(content, expected, size);
    free(content);
    /* one character more takes the place of the blank */
    assert_ok(adamoe_safetensors_write(path.text, &tensor, 1, &longer, 1));
    content = read_bytes(path.text, &size);
    assert_int_equal(size, sizeof expected - 1);
    assert_int_equal(content[0], 0x50);
    assert_int_equal(content[8 + 0x50 - 1], '}');
    free(content);
}

static void writes_a_file_without_tensors(void **state)
{
    const folder_path path = in_folder(state, "empty.safetensors");
    assert_ok(adamoe_safetensors_write(path.text, NULL, 0, NULL, 0));
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(path.text, &file));
    assert_int_equal(adamoe_safetensors_count(file), 0);
    adamoe_safetensors_close(file);
}

static void refuses_to_write_what_cannot_be_read(void **state)
{
    const folder_path path = in_folder(state, "bad.safetensors");
    const adamoe_tensor twice[] = {samples[0], samples[1], samples[0]};
    assert_error(adamoe_safetensors_write(path.text, twice, 3, NULL, 0), ADAMOE_BAD_INPUT,
                 "bad.safetensors: tensor single: is given twice");
    const adamoe_metadata keys[] = {{"a", "1"}, {"a", "1"}};
    assert_error(adamoe_safetensors_write(path.text, NULL, 0, keys, 2), ADAMOE_BAD_INPUT,
                 "__metadata__: a is given twice");
    adamoe_tensor tensor = samples[0];
    tensor.name = "__metadata__";
    assert_error(adamoe_safetensors_write(path.text, &tensor, 1, NULL, 0), ADAMOE_BAD_INPUT, "is reserved");
    tensor.name = "\xc3";
    assert_error(adamoe_safetensors_write(path.text, &tensor, 1, NULL, 0), ADAMOE_BAD_INPUT, "is no UTF-8");
    const adamoe_metadata value = {"a", "\xff"};
    assert_error(adamoe_safetensors_write(path.text, NULL, 0, &value, 1), ADAMOE_BAD_INPUT, "is no UTF-8");
    tensor = samples[0];
    tensor.elements = 5;
    assert_error(adamoe_safetensors_write(path.text, &tensor, 1, NULL, 0), ADAMOE_BAD_INPUT,
                 "tensor single: its shape overflows or contradicts its count");
    tensor.shape[0] = SIZE_MAX / 2 + 1; /* times 2 is 0 */
    tensor.elements = 0;
    assert_error(adamoe_safetensors_write(path.text, &tensor, 1, NULL, 0), ADAMOE_BAD_INPUT, "overflows");
    tensor.rank = 9;
    assert_error(adamoe_safetensors_write(path.text, &tensor, 1, NULL, 0), ADAMOE_BAD_INPUT, "overflows");
    assert_int_equal(count_files(state), 0);
}

static void full_disk_is_reported(void **state)
{
    const folder_path path = full_device(state);
    assert_error(adamoe_safetensors_write(path.text, samples, 1, NULL, 0), ADAMOE_ENVIRONMENT,
                 "/full: write: No space left");
}

/* ------------------------------------------------------------------------------------------------- shards */

static void write_shard(void **state, const char *name, const adamoe_tensor *first, size_t count)
{
    const adamoe_metadata metadata = {"shard", name};
    assert_ok(adamoe_safetensors_write(in_folder(state, name).text, first, count, &metadata, 1));
}

static adamoe_status open_index(void **state, const char *text)
{
    const folder_path path = in_folder(state, "model.safetensors.index.json");
    write_text(path.text, text);
    adamoe_safetensors *file = NULL;
    const adamoe_status status = adamoe_safetensors_open(path.text, &file);
    adamoe_safetensors_close(file);
    return status;
}

static void shards_are_one_file(void **state)
{
    const folder_path path = in_folder(state, "model.safetensors.index.json");
    write_shard(state, "1.safetensors", &samples[0], 2);
    write_shard(state, "2.safetensors", &samples[2], 2);
    write_text(path.text,
               "{\"metadata\":{\"total_size\":36},\"weight_map\":{\"none\":\"2.safetensors\","
               "\"single\":\"1.safetensors\",\"brain\":\"2.safetensors\",\"half\":\"1.safetensors\"}}");
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(path.text, &file));
    assert_string_equal(adamoe_safetensors_path(file), path.text);
    assert_int_equal(adamoe_safetensors_count(file), 4);
    for (size_t i = 0; i < 4; ++i) {
        assert_same_tensor(adamoe_safetensors_at(file, i), &samples[i]);
        assert_same_tensor(adamoe_safetensors_find(file, samples[i].name), &samples[i]);
    }
    assert_null(adamoe_safetensors_find(file, "scalar"));
    assert_string_equal(adamoe_safetensors_metadata(file, "shard"), "1.safetensors");
    adamoe_matrix matrix;
    assert_error(adamoe_safetensors_matrix(file, "scalar", 1, 1, &matrix), ADAMOE_BAD_INPUT,
                 "model.safetensors.index.json: tensor scalar: missing");
    adamoe_safetensors_close(file);
}

static void shards_beside_an_index_in_the_working_folder(void **state)
{
    char *before = getcwd(NULL, 0);
    assert_non_null(before);
    assert_int_equal(chdir(*state), 0);
    assert_ok(adamoe_safetensors_write("1.safetensors", samples, 1, NULL, 0));
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"single\":\"1.safetensors\"}}");
    adamoe_safetensors *file = NULL;
    const adamoe_status status = adamoe_safetensors_open("model.safetensors.index.json", &file);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_ok(status);
    assert_int_equal(adamoe_safetensors_count(file), 1);
    adamoe_safetensors_close(file);
}

static void index_must_agree_with_its_shards(void **state)
{
    write_shard(state, "1", &samples[0], 1); /* single */
    write_shard(state, "2", &samples[1], 1); /* half */
    write_shard(state, "both", &samples[0], 2);
    assert_ok(open_index(state, "{\"weight_map\":{\"single\":\"1\",\"half\":\"2\"}}"));
    assert_error(open_index(state, "{\"weight_map\":{\"single\":\"1\",\"half\":\"3\"}}"), ADAMOE_BAD_INPUT,
                 "/3: open: No such file or directory");
    assert_error(open_index(state, "{\"weight_map\":{\"single\":\"2\",\"half\":\"1\"}}"), ADAMOE_BAD_INPUT,
                 "index.json: tensor half: not in 1, where the index places it");
    assert_error(open_index(state, "{\"weight_map\":{\"single\":\"1\",\"half\":\"1\"}}"), ADAMOE_BAD_INPUT,
                 "index.json: tensor half: not in 1, where the index places it");
    /* `single` stands in both files */
    assert_error(open_index(state, "{\"weight_map\":{\"single\":\"1\",\"half\":\"both\"}}"), ADAMOE_BAD_INPUT,
                 "/both: tensor single: the index does not place it in this shard");
    assert_error(open_index(state, "{\"weight_map\":{\"single\":\"both\"}}"), ADAMOE_BAD_INPUT,
                 "/both: tensor half: the index does not place it in this shard");
    write_text(in_folder(state, "cut").text, "abc");
    assert_error(open_index(state, "{\"weight_map\":{\"single\":\"cut\"}}"), ADAMOE_BAD_INPUT,
                 "/cut: header: the file is shorter than");
}

static void index_is_checked(void **state)
{
    write_shard(state, "1", &samples[0], 1);
    assert_error(open_index(state, ""), ADAMOE_BAD_INPUT, "index.json: line 1 column 0: ");
    assert_error(open_index(state, "{}"), ADAMOE_BAD_INPUT, "index.json: weight_map: absent or no object");
    assert_error(open_index(state, "[1]"), ADAMOE_BAD_INPUT, "index.json: weight_map: absent or no object");
    assert_error(open_index(state, "{\"weight_map\":[]}"), ADAMOE_BAD_INPUT,
                 "weight_map: absent or no object");
    assert_error(open_index(state, "{\"weight_map\":{}}"), ADAMOE_BAD_INPUT, "weight_map: empty");
    assert_error(open_index(state, "{\"weight_map\":{\"single\":1}}"), ADAMOE_BAD_INPUT,
                 "index.json: tensor single: its shard is no string");
    assert_error(open_index(state, "{\"weight_map\":{\"single\":\"1\",\"single\":\"1\"}}"), ADAMOE_BAD_INPUT,
                 "duplicate object key");
}

static void shards_stay_in_the_folder(void **state)
{
    static const char *const names[] = {"../1", "/etc/passwd", "", ".", "..", "a/1", "./1"};
    write_shard(state, "1", &samples[0], 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        char text[100], message[100];
        snprintf(text, sizeof text, "{\"weight_map\":{\"single\":\"%s\"}}", names[i]);
        snprintf(message, sizeof message, "tensor single: its shard %s is no file beside the index",
                 names[i]);
        assert_error(open_index(state, text), ADAMOE_BAD_INPUT, message);
    }
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(what_is_written_is_read),
        FOLDER_TEST(written_bytes_are_the_format),
        FOLDER_TEST(writes_a_file_without_tensors),
        FOLDER_TEST(refuses_to_write_what_cannot_be_read),
        FOLDER_TEST(full_disk_is_reported),
        FOLDER_TEST(shards_are_one_file),
        FOLDER_TEST(shards_beside_an_index_in_the_working_folder),
        FOLDER_TEST(index_must_agree_with_its_shards),
        FOLDER_TEST(index_is_checked),
        FOLDER_TEST(shards_stay_in_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
