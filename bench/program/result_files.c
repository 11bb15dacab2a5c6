/*
 * Whether results can be written, found out by trying. The temporary files of the results themselves are made
 * when there is something to write, so that an interrupted run leaves none behind.
 */
#include "program/result_files.h"
#include "program/held_signals.h"
#include "files/output_file.h"

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

adamoe_status adamoe_check_result_files(const adamoe_result_file *files, size_t count)
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
            ADAMOE_TRY(check_file(files[i].path));
        }
    }
    return adamoe_ok();
}
