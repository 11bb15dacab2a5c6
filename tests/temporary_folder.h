/*
 * A folder for the files of one test: made by the setup function, removed with all its content by the
 * teardown function of cmocka_unit_test_setup_teardown.
 */
#ifndef ADAMOE_TEMPORARY_FOLDER_H
#define ADAMOE_TEMPORARY_FOLDER_H

#include "test.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static inline int make_folder(void **state)
{
    const char *parent = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/adamoe-test-XXXXXX", parent == NULL ? "/tmp" : parent) < 0) {
        return -1;
    }
    *state = mkdtemp(path);
    return *state == NULL ? -1 : 0;
}

static inline int remove_entry(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline int remove_folder(void **state)
{
    const int result = nftw(*state, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return result;
}

/* The path of a file in the folder; lives as long as the expression that it stands in. */
typedef struct folder_path {
    char text[512];
} folder_path;

static inline folder_path in_folder(void **state, const char *name)
{
    folder_path path;
    const int length = snprintf(path.text, sizeof path.text, "%s/%s", (const char *)*state, name);
    assert_in_range(length, 1, sizeof path.text - 1);
    return path;
}

static inline void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

/* The content of a file, followed by a zero; to be freed with free(). */
static inline char *read_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long end = ftell(file);
    assert_true(end >= 0);
    rewind(file);
    char *data = calloc((size_t)end + 1, 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)end, file), end);
    fclose(file);
    *size = (size_t)end;
    return data;
}

/* How many files there are in the folder. */
static inline size_t count_files(void **state)
{
    DIR *folder = opendir(*state);
    assert_non_null(folder);
    size_t count = 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count;
}

/* A device that refuses every byte, as a full disk would. The superuser gets one in the folder: a mistake in
 * the code under test must not be able to replace the machine's own. Skips the test where there is none. */
static inline folder_path full_device(void **state)
{
    folder_path path = {"/dev/full"};
    if (geteuid() == 0) {
        path = in_folder(state, "full");
        (void)mknod(path.text, S_IFCHR | 0600, makedev(1, 7));
    }
    const int descriptor = open(path.text, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) {
        print_message("skipped: no device that is always full\n");
        skip();
    }
    close(descriptor);
    return path;
}

#endif
