/*
 * Reading safetensors: what is right comes through unchanged, and every kind of damage is named. Writing and shards
 * are in safetensors_write_test.c.
 */
#include "numbers.h"
#include "safetensors/safetensors.h"
#include "temporary_folder.h"

/* ---------------------------------------------------------------------------------------- files in memory */

typedef struct byte_array {
    uint8_t *data;
    size_t size;
} byte_array;

/* A file of exactly the given header and so many bytes of data, counted up from 0. */
static byte_array make_file(uint64_t length, const char *header, size_t data_size)
{
    const size_t text = strlen(header);
    byte_array file = {malloc(8 + text + data_size), 8 + text + data_size};
    assert_non_null(file.data);
    for (size_t i = 0; i < 8; ++i) {
        file.data[i] = (uint8_t)(length >> (8 * i));
    }
    memcpy(file.data + 8, header, text);
    for (size_t i = 0; i < data_size; ++i) {
        file.data[8 + text + i] = (uint8_t)i;
    }
    return file;
}

static adamoe_status parse_length(uint64_t length, const char *header, size_t data_size)
{
    const byte_array file = make_file(length, header, data_size);
    adamoe_safetensors *tensors = NULL;
    const adamoe_status status = adamoe_safetensors_parse("file", file.data, file.size, &tensors);
    adamoe_safetensors_close(tensors);
    free(file.data);
    return status;
}

static adamoe_status parse(const char *header, size_t data_size)
{
    return parse_length(strlen(header), header, data_size);
}

/* Five tensors, listed in another order than that of their data; 30 bytes. */
static const char five[] = "{\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[16,22]},"
                           "\"__metadata__\":{\"format\":\"pt\",\"empty\":\"\"},"
                           "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
                           "\"none\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[22,22]},"
                           "\"\\u00e9 \\\"\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[22,30]},"
                           "\"head\":{\"data_offsets\":[0,0],\"dtype\":\"F16\",\"shape\":[2,0,3]}}   ";

static void assert_tensor(const adamoe_safetensors *file, const char *name, adamoe_dtype dtype, size_t rank,
                          size_t elements, size_t offset, const uint8_t *base)
{
    const adamoe_tensor *tensor = adamoe_safetensors_find(file, name);
    assert_non_null(tensor);
    assert_string_equal(tensor->name, name);
    assert_int_equal(tensor->dtype, dtype);
    assert_int_equal(tensor->rank, rank);
    assert_int_equal(tensor->elements, elements);
    assert_ptr_equal(tensor->data, base + offset);
}

static void reads_every_field(void **state)
{
    (void)state;
    const byte_array bytes = make_file(strlen(five), five, 30);
    const uint8_t *base = bytes.data + 8 + strlen(five);
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_parse("file", bytes.data, bytes.size, &file));
    assert_string_equal(adamoe_safetensors_path(file), "file");
    assert_int_equal(adamoe_safetensors_count(file), 5);
    assert_tensor(file, "a", ADAMOE_F32, 2, 4, 0, base);
    assert_tensor(file, "b", ADAMOE_BF16, 1, 3, 16, base);
    assert_tensor(file, "none", ADAMOE_F16, 2, 0, 22, base);
    assert_tensor(file, "\u00e9 \"", ADAMOE_I64, 0, 1, 22, base);
    assert_tensor(file, "head", ADAMOE_F16, 3, 0, 0, base);
    assert_int_equal(adamoe_safetensors_find(file, "head")->shape[2], 3);
    static const char *const order[] = {"head", "a", "b", "none", "\u00e9 \""};
    for (size_t i = 0; i < 5; ++i) {
        assert_string_equal(adamoe_safetensors_at(file, i)->name, order[i]);
    }
    assert_null(adamoe_safetensors_find(file, "c"));
    assert_null(adamoe_safetensors_find(file, "__metadata__"));
    assert_string_equal(adamoe_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(adamoe_safetensors_metadata(file, "empty"), "");
    assert_null(adamoe_safetensors_metadata(file, "absent"));
    adamoe_safetensors_close(file);
    free(bytes.data);
}

static void reads_a_file_without_tensors(void **state)
{
    (void)state;
    assert_ok(parse("{}", 0));
    assert_ok(parse("{\"__metadata__\":{}}", 0));
    const byte_array bytes = make_file(2, "{}", 0);
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_parse("file", bytes.data, bytes.size, &file));
    assert_int_equal(adamoe_safetensors_count(file), 0);
    assert_null(adamoe_safetensors_find(file, "a"));
    assert_null(adamoe_safetensors_metadata(file, "a"));
    assert_ok(adamoe_safetensors_check_finite(file));
    adamoe_safetensors_close(file);
    free(bytes.data);
}

/* Every prefix of a good file, in a buffer of its own so that a read past the end is seen. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    const byte_array whole = make_file(strlen(five), five, 30);
    for (size_t size = 0; size < whole.size; ++size) {
        uint8_t *part = malloc(size + (size == 0));
        assert_non_null(part);
        memcpy(part, whole.data, size);
        adamoe_safetensors *file = NULL;
        const adamoe_status status = adamoe_safetensors_parse("cut", part, size, &file);
        if (status.code != ADAMOE_BAD_INPUT || strncmp(status.message, "cut: ", 5) != 0) {
            fail_msg("%zu bytes: code %d, \"%s\"", size, (int)status.code, status.message);
        }
        assert_null(file);
        free(part);
    }
    free(whole.data);
    assert_error(parse(five, 31), ADAMOE_BAD_INPUT,
                 "file: data: the tensors end at 30, the file's data at 31");
}

static void header_length_is_checked(void **state)
{
    (void)state;
    assert_error(parse_length(0, "{}", 0), ADAMOE_BAD_INPUT, "file: header: length 0");
    assert_error(parse_length(3, "{}", 0), ADAMOE_BAD_INPUT,
                 "file: header: length 3, but the file has only 2 bytes more");
    assert_error(parse_length(100000000, "{}", 0), ADAMOE_BAD_INPUT, "has only 2 bytes more");
    assert_error(parse_length(100000001, "{}", 0), ADAMOE_BAD_INPUT,
                 "length 100000001 is above the limit of 100000000");
    assert_error(parse_length(UINT64_MAX, "{}", 0), ADAMOE_BAD_INPUT,
                 "length 18446744073709551615 is above the limit");
    assert_error(parse_length(UINT64_MAX - 7, "{}", 0), ADAMOE_BAD_INPUT, "is above the limit");
}

static void what_is_no_safetensors_file_is_named(void **state)
{
    (void)state;
    static const char pointer[] =
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1048576\n";
    adamoe_safetensors *file = NULL;
    assert_error(adamoe_safetensors_parse("file", (const uint8_t *)pointer, sizeof pointer - 1, &file),
                 ADAMOE_BAD_INPUT, "file: header: a Git LFS pointer, not the file itself; `git lfs pull`");
    static const uint8_t padded[16] = {8, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    assert_error(adamoe_safetensors_parse("file", padded, sizeof padded, &file), ADAMOE_BAD_INPUT,
                 "file: header: padded with zero bytes, where the format has blanks");
}

/* A header with one tensor, x, of which the given fields are the description. */
#define ONE(fields)                   "{\"x\":{" fields "}}"
#define FIELDS(dtype, shape, offsets) "\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets

static const struct damage {
    const char *header;
    size_t data_size;
    const char *message;
} damages[] = {
    /* no JSON, or not of this form */
    {" {}", 0, "file: header: does not begin with {"},
    {"[]", 0, "file: header: does not begin with {"},
    {"{", 0, "file: header: line 1 column 1: "},
    {"{}{}", 0, "file: header: line 1 column 3: end of file expected"},
    {"{\"x\":\xff}", 0, "unable to decode byte 0xff"},
    {"{\"x\\u0000\":1}", 0, "file: header: line 1 column"},
    {"{\"x\":1}", 0, "file: tensor x: is described by no object"},
    {"{\"x\":{},\"x\":{}}", 0, "duplicate object key"},
    {ONE(FIELDS("F32", "[1]", "[0,4]")) "\n\n{", 4, "file: header: line 3 column 1: "},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, "file: header: __metadata__ is no object"},
    {"{\"__metadata__\":null}", 0, "file: header: __metadata__ is no object"},
    {"{\"__metadata__\":{\"k\":\"1\",\"n\":8}}", 0, "file: __metadata__: n is no string"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate object key"},
    /* dtype */
    {ONE("\"shape\":[1],\"data_offsets\":[0,4]"), 4, "file: tensor x: dtype is absent"},
    {ONE(FIELDS("F64", "[1]", "[0,8]")), 8, "file: tensor x: dtype F64 is not among F32, F16, BF16, I64"},
    {ONE(FIELDS("f32", "[1]", "[0,4]")), 4, "dtype f32 is not among"},
    {ONE("\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]"), 4, "dtype is absent or no string"},
    /* shape */
    {ONE("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), 4, "file: tensor x: shape is absent"},
    {ONE(FIELDS("F32", "4", "[0,4]")), 4, "shape is absent or no array"},
    {ONE(FIELDS("F32", "[1,-1]", "[0,4]")), 4, "file: tensor x: shape[1] is no count"},
    {ONE(FIELDS("F32", "[1.0]", "[0,4]")), 4, "file: tensor x: shape[0] is no count"},
    {ONE(FIELDS("F32", "[1.5]", "[0,4]")), 4, "shape[0] is no count"},
    {ONE(FIELDS("F32", "[\"1\"]", "[0,4]")), 4, "shape[0] is no count"},
    {ONE(FIELDS("F32", "[9223372036854775808]", "[0,4]")), 4, "too big integer"},
    {ONE(FIELDS("F32", "[1e400]", "[0,4]")), 4, "real number overflow"},
    {ONE(FIELDS("F32", "[9223372036854775807]", "[0,4]")), 4, "the product of its shape overflows"},
    {ONE(FIELDS("F32", "[4294967296,4294967296]", "[0,0]")), 0, "the product of its shape overflows"},
    {ONE(FIELDS("F16", "[4611686018427387905,4]", "[0,8]")), 8, "the product of its shape overflows"},
    {ONE(FIELDS("F32", "[0,4294967296,4294967296]", "[0,0]")), 0, "the product of its shape overflows"},
    {ONE(FIELDS("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]")), 4, "file: tensor x: rank 9 is above 8"},
    /* offsets */
    {ONE("\"dtype\":\"F32\",\"shape\":[1]"), 4, "file: tensor x: data_offsets are no pair of counts"},
    {ONE(FIELDS("F32", "[1]", "[0]")), 4, "data_offsets are no pair"},
    {ONE(FIELDS("F32", "[1]", "[0,4,8]")), 4, "data_offsets are no pair"},
    {ONE(FIELDS("F32", "[1]", "[-4,0]")), 4, "data_offsets are no pair"},
    {ONE(FIELDS("F32", "[1]", "[4,0]")), 4, "data_offsets [4, 0] run backwards"},
    {ONE(FIELDS("F32", "[2]", "[0,8]")), 4, "data_offsets [0, 8] leave the 4 bytes of data"},
    {ONE(FIELDS("F32", "[1]", "[9223372036854775803,9223372036854775807]")), 4, "leave the 4 bytes"},
    {ONE(FIELDS("F32", "[1]", "[0,8]")), 8, "file: tensor x: 8 bytes of data where its shape takes 4"},
    {ONE(FIELDS("F32", "[0]", "[0,4]")), 4, "4 bytes of data where its shape takes 0"},
    {ONE(FIELDS("F32", "[1]", "[4,8]")), 8, "file: tensor x: its data begins at 4 and leaves a gap from 0"},
    {ONE(FIELDS("F32", "[1]", "[0,4]") ",\"strides\":[1]"), 4, "a field besides dtype, shape"},
    /* several tensors */
    {"{\"x\":{" FIELDS("F32", "[2]", "[0,8]") "},\"y\":{" FIELDS("F32", "[2]", "[4,12]") "}}", 12,
     "file: tensor y: its data begins at 4 and overlaps that of x"},
    {"{\"x\":{" FIELDS("F32", "[1]", "[0,4]") "},\"y\":{" FIELDS("F32", "[1]", "[0,4]") "}}", 4,
     "file: tensor y: its data begins at 0 and overlaps that of x"},
    {"{\"x\":{" FIELDS("F32", "[2]", "[0,8]") "},\"y\":{" FIELDS("F32", "[0]", "[4,4]") "}}", 8,
     "file: tensor y: its data begins at 4 and overlaps that of x"},
    {"{\"x\":{" FIELDS("F32", "[1]", "[0,4]") "},\"y\":{" FIELDS("F32", "[1]", "[5,9]") "}}", 9,
     "file: tensor y: its data begins at 5 and leaves a gap from 4"},
};

static void every_damage_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; ++i) {
        const adamoe_status status = parse(damages[i].header, damages[i].data_size);
        if (status.code != ADAMOE_BAD_INPUT || strstr(status.message, damages[i].message) == NULL) {
            fail_msg("%s: code %d, \"%s\"; expected \"%s\"", damages[i].header, (int)status.code,
                     status.message, damages[i].message);
        }
    }
    assert_ok(parse(ONE(FIELDS("F32", "[1]", "[0,4]")), 4)); /* the pattern itself is sound */
}

static void long_names_do_not_hide_the_reason(void **state)
{
    (void)state;
    char header[4200];
    const int length = snprintf(header, sizeof header, "{\"%04000d\":{}}", 7);
    assert_in_range(length, 4000, 4100);
    assert_error(parse(header, 0), ADAMOE_BAD_INPUT, "0: dtype is absent");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    char *header = malloc(100006);
    assert_non_null(header);
    strcpy(header, "{\"x\":");
    memset(header + 5, '[', 100000);
    header[100005] = '\0';
    assert_error(parse(header, 0), ADAMOE_BAD_INPUT, "maximum parsing depth");
    free(header);
}

/* -------------------------------------------------------------------------------------- using the tensors */

static void finds_each_of_thousands(void **state)
{
    enum { COUNT = 20000 };
    const folder_path path = in_folder(state, "many.safetensors");
    adamoe_tensor *tensor = calloc(COUNT, sizeof *tensor);
    char(*name)[24] = calloc(COUNT, sizeof *name);
    int64_t *value = calloc(COUNT, sizeof *value);
    assert_true(tensor != NULL && name != NULL && value != NULL);
    for (size_t i = 0; i < COUNT; ++i) {
        snprintf(name[i], sizeof name[i], "layers.%zu.w", (i * 7919) % COUNT);
        value[i] = (int64_t)((i * 7919) % COUNT);
        tensor[i] = (adamoe_tensor){name[i], ADAMOE_I64, 1, {1}, 1, &value[i]};
    }
    assert_ok(adamoe_safetensors_write(path.text, tensor, COUNT, NULL, 0));
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(path.text, &file));
    for (size_t i = 0; i < COUNT; ++i) {
        const adamoe_tensor *found = adamoe_safetensors_find(file, name[i]);
        assert_non_null(found);
        assert_memory_equal(found->data, &value[i], sizeof value[i]);
        assert_ptr_equal(found, adamoe_safetensors_at(file, i)); /* the order of the data */
    }
    assert_null(adamoe_safetensors_find(file, "layers.20000.w"));
    adamoe_safetensors_close(file);
    free(value);
    free(name);
    free(tensor);
}

static void matrix_checks_shape_and_dtype(void **state)
{
    (void)state;
    const byte_array bytes = make_file(strlen(five), five, 30);
    adamoe_safetensors *file = NULL;
    adamoe_matrix matrix;
    assert_ok(adamoe_safetensors_parse("file", bytes.data, bytes.size, &file));
    assert_ok(adamoe_safetensors_matrix(file, "a", 2, 2, &matrix));
    assert_ptr_equal(matrix.data, bytes.data + 8 + strlen(five));
    assert_int_equal(matrix.dtype, ADAMOE_F32);
    assert_int_equal(matrix.rows, 2);
    assert_int_equal(matrix.columns, 2);
    assert_ok(adamoe_safetensors_matrix(file, "b", 1, 3, &matrix));
    assert_int_equal(matrix.rows, 1);
    assert_int_equal(matrix.dtype, ADAMOE_BF16);
    assert_ok(adamoe_safetensors_matrix(file, "none", 0, 7, &matrix));
    assert_error(adamoe_safetensors_matrix(file, "c", 1, 1, &matrix), ADAMOE_BAD_INPUT,
                 "file: tensor c: missing");
    assert_error(adamoe_safetensors_matrix(file, "a", 2, 3, &matrix), ADAMOE_BAD_INPUT,
                 "file: tensor a: shape [2, 2] where [2, 3] is expected");
    assert_error(adamoe_safetensors_matrix(file, "a", 1, 4, &matrix), ADAMOE_BAD_INPUT, "shape [2, 2]");
    assert_error(adamoe_safetensors_matrix(file, "b", 3, 1, &matrix), ADAMOE_BAD_INPUT, "shape [3] where");
    assert_error(adamoe_safetensors_matrix(file, "b", 2, 3, &matrix), ADAMOE_BAD_INPUT, "shape [3] where");
    assert_error(adamoe_safetensors_matrix(file, "head", 2, 0, &matrix), ADAMOE_BAD_INPUT, "[2, 0, 3]");
    assert_error(adamoe_safetensors_matrix(file, "\u00e9 \"", 1, 1, &matrix), ADAMOE_BAD_INPUT,
                 "shape [] where");
    adamoe_safetensors_close(file);
    free(bytes.data);
    static const char one_integer[] = ONE(FIELDS("I64", "[1,1]", "[0,8]"));
    const byte_array other = make_file(strlen(one_integer), one_integer, 8);
    assert_ok(adamoe_safetensors_parse("file", other.data, other.size, &file));
    assert_error(adamoe_safetensors_matrix(file, "x", 1, 1, &matrix), ADAMOE_BAD_INPUT,
                 "file: tensor x: dtype I64 where a floating-point one is expected");
    adamoe_safetensors_close(file);
    free(other.data);
}

/* The last element of a tensor of `count` is given by its bits; the others are the largest finite number. */
static adamoe_status check_bits(adamoe_dtype dtype, uint32_t bits, uint32_t largest, size_t count)
{
    char header[200];
    const size_t width = adamoe_dtype_bytes(dtype), size = width * count;
    snprintf(header, sizeof header, "{\"w\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}",
             adamoe_dtype_name(dtype), count, size);
    const byte_array bytes = make_file(strlen(header), header, size);
    uint8_t *data = bytes.data + 8 + strlen(header);
    for (size_t i = 0; i < count; ++i) {
        memcpy(data + i * width, i + 1 == count ? &bits : &largest, width);
    }
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_parse("file", bytes.data, bytes.size, &file));
    const adamoe_status status = adamoe_safetensors_check_finite(file);
    adamoe_safetensors_close(file);
    free(bytes.data);
    return status;
}

static void nan_and_infinity_are_named(void **state)
{
    (void)state;
    static const struct {
        adamoe_dtype dtype;
        uint32_t largest, infinity, nan;
    } kinds[] = {
        {ADAMOE_F32, 0x7f7fffff, 0x7f800000, 0x7f800001},
        {ADAMOE_F16, 0x7bff, 0x7c00, 0x7c01},
        {ADAMOE_BF16, 0x7f7f, 0x7f80, 0xff81},
    };
    for (size_t i = 0; i < 3; ++i) {
        const uint32_t largest = kinds[i].largest;
        assert_ok(check_bits(kinds[i].dtype, largest, largest, 5));
        assert_error(check_bits(kinds[i].dtype, kinds[i].infinity, largest, 5), ADAMOE_BAD_INPUT,
                     "file: tensor w: element 4 is infinite");
        assert_error(check_bits(kinds[i].dtype, kinds[i].nan, largest, 1), ADAMOE_BAD_INPUT,
                     "file: tensor w: element 0 is NaN");
    }
    /* integers have no NaN */
    static const char one_integer[] = ONE(FIELDS("I64", "[1]", "[0,8]"));
    const byte_array bytes = make_file(strlen(one_integer), one_integer, 8);
    memset(bytes.data + bytes.size - 8, 0xff, 8);
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_parse("file", bytes.data, bytes.size, &file));
    assert_ok(adamoe_safetensors_check_finite(file));
    adamoe_safetensors_close(file);
    free(bytes.data);
}

static void files_that_cannot_be_opened(void **state)
{
    adamoe_safetensors *file = NULL;
    assert_error(adamoe_safetensors_open(in_folder(state, "absent").text, &file), ADAMOE_BAD_INPUT,
                 "/absent: open: No such file or directory");
    assert_error(adamoe_safetensors_open(*state, &file), ADAMOE_BAD_INPUT, ": open: not a regular file");
    write_text(in_folder(state, "empty").text, "");
    assert_error(adamoe_safetensors_open(in_folder(state, "empty").text, &file), ADAMOE_BAD_INPUT,
                 "/empty: header: the file is shorter than the 8 bytes");
    assert_null(file);
    adamoe_safetensors_close(NULL);
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(reads_a_file_without_tensors),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(header_length_is_checked),
        cmocka_unit_test(what_is_no_safetensors_file_is_named),
        cmocka_unit_test(every_damage_is_named),
        cmocka_unit_test(long_names_do_not_hide_the_reason),
        cmocka_unit_test(deep_nesting_is_refused),
        FOLDER_TEST(finds_each_of_thousands),
        cmocka_unit_test(matrix_checks_shape_and_dtype),
        cmocka_unit_test(nan_and_infinity_are_named),
        FOLDER_TEST(files_that_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
