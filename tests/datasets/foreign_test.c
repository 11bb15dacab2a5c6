/*
 * Files of another kind than expected: told by how they begin, wherever a file is read, and never where the bytes are
 * a good file after all.
 */
#include "test.h"
#include "files/foreign.h"
#include "files/json_file.h"
#include "questions.h"
#include "safetensors/safetensors.h"
#include "temporary_folder.h"

static const struct sample {
    const char *bytes;
    size_t size;
    const char *part;
} samples[] = {
    {"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", 64, "`git lfs pull`"},
    {"\x1f\x8b\x08\x08"
     "abcdefghijk",
     15, "gunzip"},
    {"\x28\xb5\x2f\xfd"
     "abcdefghijk",
     15, "unzstd"},
    {"BZh91AY&SY12345", 15, "bunzip2"},
    {"\xfd"
     "7zXZ\0abcdefghi",
     15, "unxz"},
    {"PK\x03\x04"
     "\xff\xff\xff\xff"
     "abcdefg",
     15, "zip archive"},
    {"PAR1"
     "\xff\xff\xff\xff"
     "abcdefg",
     15, "parquet"},
    {"GGUF"
     "\xff\xff\xff\xff"
     "abcdefg",
     15, "from_gguf.py"},
    {"\xff\xfe{\0}\0\n\0 \0 \0 \0", 14, "UTF-16"},
    {"\xfe\xff\0{\0}\0\n\0 \0 \0 ", 14, "UTF-16"},
    {"<!DOCTYPE html><html>", 21, "HTML"},
};

static void every_reader_says_what_it_is(void **state)
{
    const folder_path path = in_folder(state, "file");
    for (size_t i = 0; i < sizeof samples / sizeof *samples; ++i) {
        const struct sample *s = &samples[i];
        json_t *document = NULL;
        adamoe_questions *questions = NULL;
        adamoe_safetensors *tensors = NULL;
        write_bytes(path.text, s->bytes, s->size);
        assert_non_null(adamoe_foreign_file(s->bytes, s->size));
        assert_error(adamoe_json_read(path.text, &document), ADAMOE_BAD_INPUT, s->part);
        assert_error(adamoe_questions_read(path.text, &questions), ADAMOE_BAD_INPUT, s->part);
        assert_error(adamoe_safetensors_open(path.text, &tensors), ADAMOE_BAD_INPUT, s->part);
    }
}

/* A header of 0x8b1f bytes begins as gzip does, and one of 0xfeff bytes as UTF-16 does. */
static void good_files_are_not_accused(void **state)
{
    static const size_t lengths[] = {0x088b1f, 0xfeff, 0xfffe};
    const folder_path path = in_folder(state, "file");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; ++i) {
        adamoe_safetensors *tensors = NULL;
        unsigned char *data = malloc(lengths[i] + 8);
        assert_non_null(data);
        memset(data, ' ', lengths[i] + 8);
        for (size_t b = 0; b < 8; ++b) {
            data[b] = (unsigned char)(lengths[i] >> (8 * b));
        }
        memcpy(data + 8, "{}", 2);
        write_bytes(path.text, data, lengths[i] + 8);
        assert_non_null(adamoe_foreign_file(data, lengths[i] + 8));
        assert_ok(adamoe_safetensors_open(path.text, &tensors));
        adamoe_safetensors_close(tensors);
        free(data);
    }
    assert_null(adamoe_foreign_file("{}", 2));
    assert_null(adamoe_foreign_file("", 0));
    assert_null(adamoe_foreign_file("version https://git", 19));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_reader_says_what_it_is, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(good_files_are_not_accused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
