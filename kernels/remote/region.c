/*
 * Memory that two processes share: see region.h.
 */
#include "remote/region.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static adamoe_status failed(const char *what, size_t bytes)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "shared memory of %zu bytes: %s: %s", bytes, what,
                        strerror(errno));
}

/* Pages are promised here, so that want of memory is an error now and not a signal later. */
static adamoe_status fill(adamoe_remote_region *region, size_t bytes, bool read_only_there)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (read_only_there ? F_SEAL_FUTURE_WRITE : 0);
    if (fallocate(region->descriptor, 0, 0, (off_t)bytes) != 0) {
        return failed("allocate", bytes);
    }
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->descriptor, 0);
    if (data == MAP_FAILED) {
        return failed("map", bytes);
    }
    region->data = data;
    region->bytes = bytes;
    return fcntl(region->descriptor, F_ADD_SEALS, seals) == 0 ? adamoe_ok() : failed("seal", bytes);
}

adamoe_status adamoe_remote_region_create(size_t bytes, bool read_only_there, adamoe_remote_region *out)
{
    *out = (adamoe_remote_region){.descriptor = -1};
    out->descriptor = memfd_create("adamoe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const adamoe_status status =
        out->descriptor < 0 ? failed("create", bytes) : fill(out, bytes, read_only_there);
    if (status.code != ADAMOE_OK) {
        adamoe_remote_region_free(out);
    }
    return status;
}

void adamoe_remote_region_free(adamoe_remote_region *region)
{
    if (region->data != NULL) {
        (void)munmap(region->data, region->bytes);
    }
    if (region->descriptor > 0) {
        (void)close(region->descriptor);
    }
    *region = (adamoe_remote_region){0};
}

size_t adamoe_remote_place(adamoe_remote_layout *layout, size_t bytes)
{
    const size_t from = layout->end + ADAMOE_REMOTE_GAP + ADAMOE_REMOTE_ALIGNMENT - 1;
    const size_t at = from / ADAMOE_REMOTE_ALIGNMENT * ADAMOE_REMOTE_ALIGNMENT;
    layout->end = at + bytes;
    return at;
}

size_t adamoe_remote_layout_bytes(const adamoe_remote_layout *layout)
{
    return layout->end + ADAMOE_REMOTE_GAP;
}

void adamoe_remote_guard(unsigned char *data, size_t from, size_t to)
{
    memset(data + from, ADAMOE_REMOTE_PATTERN, to - from);
}

bool adamoe_remote_is_intact(const unsigned char *data, size_t from, size_t to)
{
    /* Each byte equals the one before it, and the first is the pattern. */
    return to == from ||
           (data[from] == ADAMOE_REMOTE_PATTERN && memcmp(data + from, data + from + 1, to - from - 1) == 0);
}
