/*
 * Writing files whole or not at all. Left out: a crash or a full disk between write and rename, which a test
 * cannot bring about without help from the system; a device that is always full stands for it.
 */
#include "files/output_file.h"
#include "temporary_folder.h"

static adamoe_output_file *open_output(const char *path)
{
    adamoe_output_file *file = NULL;
    assert_ok(adamoe_output_file_open(path, &file));
    return file;
}

static void assert_content(const char *path, const char *expected)
{
    size_t size;
    char *content = read_bytes(path, &size);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(content, expected);
    free(content);
}

static void commit_makes_the_file(void **state)
{
    const folder_path path = in_folder(state, "new");
    adamoe_output_file *file = open_output(path.text);
    fputs("whole", adamoe_output_file_stream(file));
    assert_int_equal(access(path.text, F_OK), -1); /* not there before it is whole */
    assert_ok(adamoe_output_file_commit(file));
    assert_content(path.text, "whole");
    assert_int_equal(count_files(state), 1);
}

static void commit_replaces_the_file(void **state)
{
    const folder_path path = in_folder(state, "old");
    write_text(path.text, "before, and longer than what comes");
    adamoe_output_file *file = open_output(path.text);
    fputs("after", adamoe_output_file_stream(file));
    assert_content(path.text, "before, and longer than what comes");
    assert_ok(adamoe_output_file_commit(file));
    assert_content(path.text, "after");
    assert_int_equal(count_files(state), 1);
}

static void discard_leaves_the_file_alone(void **state)
{
    const folder_path path = in_folder(state, "old");
    write_text(path.text, "before");
    adamoe_output_file *file = open_output(path.text);
    fputs("after", adamoe_output_file_stream(file));
    fflush(adamoe_output_file_stream(file));
    adamoe_output_file_discard(file);
    assert_content(path.text, "before");
    assert_int_equal(count_files(state), 1);
    adamoe_output_file_discard(NULL);
}

static void discard_leaves_nothing(void **state)
{
    adamoe_output_file *file = open_output(in_folder(state, "new").text);
    fputs("after", adamoe_output_file_stream(file));
    adamoe_output_file_discard(file);
    assert_int_equal(count_files(state), 0);
}

/* The stream is given a descriptor that refuses to be written to, as a full disk would. */
static void failed_write_leaves_the_file_alone(void **state)
{
    const folder_path path = in_folder(state, "old");
    write_text(path.text, "before");
    adamoe_output_file *file = open_output(path.text);
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC); /* written to by no code under test */
    if (full < 0) {
        adamoe_output_file_discard(file);
        skip();
    }
    FILE *stream = adamoe_output_file_stream(file);
    assert_true(dup2(full, fileno(stream)) >= 0);
    close(full);
    fputs("after", stream);
    assert_error(adamoe_output_file_commit(file), ADAMOE_ENVIRONMENT, "old: write: No space left");
    assert_content(path.text, "before");
    assert_int_equal(count_files(state), 1);
}

static void new_file_gets_the_usual_permissions(void **state)
{
    const folder_path path = in_folder(state, "new");
    const mode_t mask = umask(027);
    assert_ok(adamoe_output_file_commit(open_output(path.text)));
    umask(mask);
    struct stat facts;
    assert_int_equal(stat(path.text, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0640);
}

static void replaced_file_keeps_its_permissions(void **state)
{
    const folder_path path = in_folder(state, "old");
    write_text(path.text, "before");
    assert_int_equal(chmod(path.text, 0604), 0);
    assert_ok(adamoe_output_file_commit(open_output(path.text)));
    struct stat facts;
    assert_int_equal(stat(path.text, &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0604);
    assert_content(path.text, "");
}

static void read_only_file_is_refused(void **state)
{
    const folder_path path = in_folder(state, "old");
    adamoe_output_file *file = NULL;
    if (geteuid() == 0) {
        print_message("skipped: permissions do not bind the superuser\n");
        skip();
    }
    write_text(path.text, "before");
    assert_int_equal(chmod(path.text, 0444), 0);
    assert_error(adamoe_output_file_open(path.text, &file), ADAMOE_ENVIRONMENT,
                 "/old: open: Permission denied");
    assert_content(path.text, "before");
    assert_int_equal(count_files(state), 1);
}

/* To nothing, and round in a circle. */
static void links_that_lead_nowhere_are_refused(void **state)
{
    const folder_path link = in_folder(state, "link"), circle = in_folder(state, "circle");
    adamoe_output_file *file = NULL;
    assert_int_equal(symlink("absent", link.text), 0);
    assert_error(adamoe_output_file_open(link.text, &file), ADAMOE_ENVIRONMENT,
                 "/link: create: a symbolic link to nothing");
    assert_int_equal(symlink("circle", circle.text), 0);
    assert_error(adamoe_output_file_open(circle.text, &file), ADAMOE_ENVIRONMENT,
                 "/circle: create: Too many levels of symbolic links");
    struct stat facts;
    assert_int_equal(lstat(link.text, &facts), 0);
    assert_true(S_ISLNK(facts.st_mode));
    assert_int_equal(count_files(state), 2);
}

static void unwritable_folder_is_reported(void **state)
{
    adamoe_output_file *file = NULL;
    assert_error(adamoe_output_file_open(in_folder(state, "absent/new").text, &file), ADAMOE_ENVIRONMENT,
                 "/absent/new: create: No such file or directory");
    if (geteuid() == 0) {
        print_message("skipped: permissions do not bind the superuser\n");
        return;
    }
    assert_int_equal(chmod(*state, 0555), 0);
    const adamoe_status status = adamoe_output_file_open(in_folder(state, "new").text, &file);
    assert_int_equal(chmod(*state, 0755), 0);
    assert_error(status, ADAMOE_ENVIRONMENT, "/new: create: Permission denied");
    assert_int_equal(count_files(state), 0);
}

static void folder_is_no_file(void **state)
{
    adamoe_output_file *file = NULL;
    assert_error(adamoe_output_file_open(*state, &file), ADAMOE_ENVIRONMENT, ": open: Is a directory");
}

static void device_is_written_to_directly(void **state)
{
    const folder_path path = full_device(state);
    adamoe_output_file *file = open_output(path.text);
    fputs("lost", adamoe_output_file_stream(file));
    assert_error(adamoe_output_file_commit(file), ADAMOE_ENVIRONMENT, "/full: write: No space left");
    struct stat facts;
    assert_int_equal(stat(path.text, &facts), 0);
    assert_true(S_ISCHR(facts.st_mode));
}

static void pipe_is_written_to_directly(void **state)
{
    const folder_path path = in_folder(state, "pipe");
    assert_int_equal(mkfifo(path.text, 0600), 0);
    const int reader = open(path.text, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    adamoe_output_file *file = open_output(path.text);
    fputs("through", adamoe_output_file_stream(file));
    assert_ok(adamoe_output_file_commit(file));
    char text[16] = "";
    assert_int_equal(read(reader, text, sizeof text), 7);
    assert_string_equal(text, "through");
    close(reader);
    struct stat facts;
    assert_int_equal(stat(path.text, &facts), 0);
    assert_true(S_ISFIFO(facts.st_mode));
    assert_int_equal(count_files(state), 1);
}

static void symbolic_link_stays_a_link(void **state)
{
    const folder_path link = in_folder(state, "link"), target = in_folder(state, "target");
    write_text(target.text, "before");
    assert_int_equal(symlink("target", link.text), 0);
    adamoe_output_file *file = open_output(link.text);
    fputs("after", adamoe_output_file_stream(file));
    assert_ok(adamoe_output_file_commit(file));
    struct stat facts;
    assert_int_equal(lstat(link.text, &facts), 0);
    assert_true(S_ISLNK(facts.st_mode));
    assert_content(target.text, "after");
    assert_int_equal(count_files(state), 2);
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(commit_makes_the_file),
        FOLDER_TEST(commit_replaces_the_file),
        FOLDER_TEST(discard_leaves_the_file_alone),
        FOLDER_TEST(discard_leaves_nothing),
        FOLDER_TEST(failed_write_leaves_the_file_alone),
        FOLDER_TEST(new_file_gets_the_usual_permissions),
        FOLDER_TEST(replaced_file_keeps_its_permissions),
        FOLDER_TEST(read_only_file_is_refused),
        FOLDER_TEST(links_that_lead_nowhere_are_refused),
        FOLDER_TEST(unwritable_folder_is_reported),
        FOLDER_TEST(folder_is_no_file),
        FOLDER_TEST(device_is_written_to_directly),
        FOLDER_TEST(pipe_is_written_to_directly),
        FOLDER_TEST(symbolic_link_stays_a_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
