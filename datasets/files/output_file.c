/*
 * Writing a file so that it is there whole or not at all: a temporary file beside it, fsync, rename.
 * What is there already and is no regular file (a pipe, a device) is written to directly: it must not be
 * replaced by a file. A symbolic link to a file is followed, so that it stays a link; one to nothing is
 * refused. What is replaced keeps its permissions, and must allow itself to be written to: that the folder
 * allows it is not enough. Left out: keeping another owner, access control lists, hard links.
 */
#include "files/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct adamoe_output_file {
    char *path;      /* as given, for messages */
    char *target;    /* with links followed: what is replaced */
    char *temporary; /* NULL where the target is written to directly */
    FILE *stream;
};

static adamoe_status disk_error(const char *path, const char *place)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: %s: %s", path, place, strerror(errno));
}

static void free_file(adamoe_output_file *file)
{
    free(file->path);
    free(file->target);
    free(file->temporary);
    free(file);
}

/* The permissions of any new file; mkstemp gives them to the owner alone. */
static mode_t new_file_mode(void)
{
    const mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static adamoe_status open_temporary(adamoe_output_file *file, mode_t mode)
{
    const int descriptor = mkostemp(file->temporary, O_CLOEXEC);
    if (descriptor < 0) {
        return disk_error(file->path, "create");
    }
    (void)fchmod(descriptor, mode);
    file->stream = fdopen(descriptor, "wb");
    if (file->stream == NULL) {
        const adamoe_status status = disk_error(file->path, "create");
        close(descriptor);
        unlink(file->temporary);
        return status;
    }
    return adamoe_ok();
}

static adamoe_status open_target(adamoe_output_file *file)
{
    file->stream = fopen(file->target, "wbe");
    return file->stream == NULL ? disk_error(file->path, "open") : adamoe_ok();
}

static char *with_suffix(const char *path, const char *suffix)
{
    char *joined = NULL;
    return asprintf(&joined, "%s%s", path, suffix) < 0 ? NULL : joined;
}

/* What stands at the path: *exists is false where a new file can be made. Errors: a link to nothing, a file
 * that must not be written to, a path that cannot be followed. */
static adamoe_status look_at(const char *path, struct stat *facts, bool *exists)
{
    *exists = stat(path, facts) == 0;
    if (*exists) {
        return S_ISREG(facts->st_mode) && access(path, W_OK) != 0 ? disk_error(path, "open") : adamoe_ok();
    }
    if (errno != ENOENT) {
        return disk_error(path, "create");
    }
    return lstat(path, facts) == 0
               ? adamoe_error(ADAMOE_ENVIRONMENT, "%s: create: a symbolic link to nothing", path)
               : adamoe_ok();
}

static adamoe_status open_file(adamoe_output_file *file, const char *path)
{
    struct stat facts;
    bool exists = false;
    ADAMOE_TRY(look_at(path, &facts, &exists));
    const bool direct = exists && !S_ISREG(facts.st_mode);
    file->target = exists ? realpath(path, NULL) : strdup(path);
    if (file->target == NULL) {
        return disk_error(path, "create");
    }
    file->path = strdup(path);
    file->temporary = direct ? NULL : with_suffix(file->target, ".XXXXXX");
    if (file->path == NULL || (!direct && file->temporary == NULL)) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: create: out of memory", path);
    }
    return direct ? open_target(file) : open_temporary(file, exists ? facts.st_mode & 0777 : new_file_mode());
}

adamoe_status adamoe_output_file_open(const char *path, adamoe_output_file **out)
{
    adamoe_output_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: create: out of memory", path);
    }
    const adamoe_status status = open_file(file, path);
    if (status.code != ADAMOE_OK) {
        free_file(file);
        return status;
    }
    *out = file;
    return adamoe_ok();
}

FILE *adamoe_output_file_stream(adamoe_output_file *file)
{
    return file->stream;
}

/* The rename itself lasts only once the folder is on disk; where a folder cannot be synced, it is not an
 * error: the file's content is safe already. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (folder == NULL) {
        return;
    }
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        close(descriptor);
    }
    free(folder);
}

/* A pipe or a device cannot be synced, and says so with EINVAL. */
static bool write_through(adamoe_output_file *file)
{
    if (ferror(file->stream) || fflush(file->stream) != 0) {
        return false;
    }
    return file->temporary == NULL || fsync(fileno(file->stream)) == 0;
}

adamoe_status adamoe_output_file_commit(adamoe_output_file *file)
{
    adamoe_status status = adamoe_ok();
    if (!write_through(file)) {
        status = disk_error(file->path, "write");
    }
    if (fclose(file->stream) != 0 && status.code == ADAMOE_OK) {
        status = disk_error(file->path, "write");
    }
    if (file->temporary != NULL) {
        if (status.code == ADAMOE_OK && rename(file->temporary, file->target) != 0) {
            status = disk_error(file->path, "rename");
        }
        if (status.code == ADAMOE_OK) {
            sync_folder(file->target);
        } else {
            unlink(file->temporary);
        }
    }
    free_file(file);
    return status;
}

void adamoe_output_file_discard(adamoe_output_file *file)
{
    if (file == NULL) {
        return;
    }
    fclose(file->stream);
    if (file->temporary != NULL) {
        unlink(file->temporary);
    }
    free_file(file);
}
