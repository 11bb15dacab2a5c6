/*
 * Whether results can be written, found out by trying. The temporary files of the results themselves are made
 * when there is something to write, so that an interrupted run leaves none behind.
 */
#include "program/result_files.h"
#include "adapters.h"
#include "program/held_signals.h"
#include "files/output_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The path with its links followed, of a file that need not exist; NULL where its folder does not either. */
static char *resolve(const char *path)
{
    char *whole = realpath(path, NULL);
    if (whole != NULL) {
        return whole;
    }
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    char *given = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    char *folder = given == NULL ? NULL : realpath(given, NULL);
    if (folder != NULL && asprintf(&whole, "%s/%s", folder, name) < 0) {
        whole = NULL;
    }
    free(folder);
    free(given);
    return whole;
}

static bool same_file(const char *a, const char *b)
{
    if (strcmp(a, b) == 0) {
        return true;
    }
    if (strcmp(a, "-") == 0 || strcmp(b, "-") == 0) {
        return false;
    }
    char *x = resolve(a), *y = resolve(b);
    const bool same = x != NULL && y != NULL && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

/* A pipe or a device is not opened: that may wait for a reader, and a reader would see it end. */
static adamoe_status check_special(const char *path, mode_t mode)
{
    errno = S_ISDIR(mode) ? EISDIR : 0;
    if (errno == 0 && access(path, W_OK) == 0) {
        return adamoe_ok();
    }
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: open: %s", path, strerror(errno));
}

static adamoe_status check_file(const char *path)
{
    struct stat facts;
    if (strcmp(path, "-") == 0) {
        return adamoe_ok();
    }
    if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode)) {
        return check_special(path, facts.st_mode);
    }
    adamoe_output_file *file = NULL;
    adamoe_hold_signals();
    const adamoe_status status = adamoe_output_file_open(path, &file);
    if (status.code == ADAMOE_OK) {
        adamoe_output_file_discard(file);
    }
    adamoe_release_signals();
    return status;
}

/* ------------------------------------------------------------------------------------------------- inputs */

static bool ends_in(const char *name, const char *suffix)
{
    const size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

/* Whether a model's folder is read for this file. Results may lie beside them. */
static bool belongs_to_model(const char *name)
{
    static const char *const names[] = {"config.json",           "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json", "adapter_config.json",    "router.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return ends_in(name, ".safetensors") || ends_in(name, ".safetensors.index.json");
}

/* Device and inode, links followed: neither a symbolic link nor a second name hides a file. */
static bool is_file(const struct stat *facts, const char *path)
{
    struct stat other;
    return stat(path, &other) == 0 && other.st_dev == facts->st_dev && other.st_ino == facts->st_ino;
}

static bool is_in_folder(const struct stat *facts, const char *folder)
{
    DIR *list = opendir(folder);
    bool found = false;
    for (struct dirent *entry; list != NULL && !found && (entry = readdir(list)) != NULL;) {
        char *path = NULL;
        if (belongs_to_model(entry->d_name) && asprintf(&path, "%s/%s", folder, entry->d_name) >= 0) {
            found = is_file(facts, path);
            free(path);
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    return found;
}

/* Adapters refer to a base, which is read too. What is wrong with them is said when they are opened. */
static bool is_in_base(const struct stat *facts, const char *folder)
{
    adamoe_adapters *adapters = NULL;
    if (!adamoe_adapters_in(folder) || adamoe_adapters_open(folder, &adapters).code != ADAMOE_OK) {
        return false;
    }
    const bool found = is_in_folder(facts, adamoe_adapters_base(adapters));
    adamoe_adapters_close(adapters);
    return found;
}

static bool is_input(const struct stat *facts, const char *input)
{
    struct stat kind;
    if (stat(input, &kind) != 0) {
        return false;
    }
    return S_ISDIR(kind.st_mode) ? is_in_folder(facts, input) || is_in_base(facts, input)
                                 : is_file(facts, input);
}

/* A word of a command that is the file: the script of `python3 kernel.py'. */
static bool is_in_command(const struct stat *facts, const char *command)
{
    char *words = strdup(command), *rest = NULL;
    bool found = false;
    for (char *word = words == NULL ? NULL : strtok_r(words, " \t\n'\"", &rest); word != NULL && !found;
         word = strtok_r(NULL, " \t\n'\"", &rest)) {
        found = is_file(facts, word);
    }
    free(words);
    return found;
}

/* What brings kernels is read, too. */
static adamoe_status refuse_kernels(const char *option, const char *path, const adamoe_common_options *from)
{
    struct stat facts;
    if (from == NULL) {
        return adamoe_ok();
    }
    for (size_t i = 0; i < from->commands; ++i) {
        if (strcmp(path, "-") != 0 && stat(path, &facts) == 0 && S_ISREG(facts.st_mode) &&
            is_in_command(&facts, from->command[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s: it would overwrite an input, --command %s", option,
                                path, from->command[i]);
        }
    }
    return adamoe_refuse_input(option, path, &from->plugin, 1);
}

adamoe_status adamoe_refuse_input(const char *option, const char *path, const char *const *input,
                                  size_t inputs)
{
    struct stat facts;
    if (strcmp(path, "-") == 0 || stat(path, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        return adamoe_ok(); /* what is no file has nothing to lose */
    }
    for (size_t i = 0; i < inputs; ++i) {
        if (input[i] != NULL && is_input(&facts, input[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s: it would overwrite an input, %s", option, path,
                                input[i]);
        }
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ results */

adamoe_status adamoe_check_result_files(const adamoe_result_file *files, size_t count,
                                        const char *const *input, size_t inputs,
                                        const adamoe_common_options *kernels)
{
    for (size_t i = 0; i < count; ++i) {
        for (size_t j = 0; j < i && files[i].path != NULL; ++j) {
            if (files[j].path != NULL && same_file(files[j].path, files[i].path)) {
                return adamoe_error(ADAMOE_BAD_INPUT, "%s: %s: %s writes there", files[i].option,
                                    files[i].path, files[j].option);
            }
        }
    }
    for (size_t i = 0; i < count; ++i) {
        if (files[i].path != NULL) {
            ADAMOE_TRY(adamoe_refuse_input(files[i].option, files[i].path, input, inputs));
            ADAMOE_TRY(refuse_kernels(files[i].option, files[i].path, kernels));
            ADAMOE_TRY(check_file(files[i].path));
        }
    }
    return adamoe_ok();
}
