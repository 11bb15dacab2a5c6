/*
 * A whole file mapped read-only into memory.
 */
#include "files/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A path that leads nowhere is the caller's mistake; one that may not be read is the environment's. */
static adamoe_status path_error(const char *path)
{
    const bool absent = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP;
    return adamoe_error(absent ? ADAMOE_BAD_INPUT : ADAMOE_ENVIRONMENT, "%s: open: %s", path,
                        strerror(errno));
}

static adamoe_status map_descriptor(const char *path, int descriptor, adamoe_mapped_file *out)
{
    struct stat facts;
    if (fstat(descriptor, &facts) != 0) {
        return path_error(path);
    }
    if (!S_ISREG(facts.st_mode)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: open: not a regular file", path);
    }
    out->size = (size_t)facts.st_size;
    out->data = NULL;
    if (out->size == 0) {
        return adamoe_ok(); /* a mapping of length 0 is refused by the system */
    }
    void *data = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: map: %s", path, strerror(errno));
    }
    out->data = data;
    return adamoe_ok();
}

adamoe_status adamoe_mapped_file_open(const char *path, adamoe_mapped_file *out)
{
    /* Without O_NONBLOCK, opening a named pipe would wait for a writer before it can be refused. */
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        return path_error(path);
    }
    const adamoe_status status = map_descriptor(path, descriptor, out);
    close(descriptor);
    return status;
}

void adamoe_mapped_file_close(adamoe_mapped_file *file)
{
    if (file->data != NULL) {
        munmap((void *)(uintptr_t)file->data, file->size);
    }
    file->data = NULL;
    file->size = 0;
}
