/*
 * A number that tells files of one content from those of another: see fingerprint.h.
 */
#include "ranks/fingerprint.h"
#include "fnv1a.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHOLE ((off_t)16 << 20)
#define BEGIN ((off_t)1 << 20)
#define PAGE  4096
#define PAGES 1024

static adamoe_status mix_range(const char *path, int file, off_t from, off_t to, uint64_t *hash)
{
    unsigned char part[1 << 16];
    while (from < to) {
        const off_t left = to - from;
        const ssize_t got = pread(file, part, left < (off_t)sizeof part ? (size_t)left : sizeof part, from);
        if (got <= 0) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "%s: read: %s", path,
                                got == 0 ? "it ends early" : strerror(errno));
        }
        *hash = adamoe_fnv1a(*hash, part, (size_t)got);
        from += got;
    }
    return adamoe_ok();
}

static adamoe_status mix_content(const char *path, int file, off_t size, uint64_t *hash)
{
    *hash = adamoe_fnv1a_mix(*hash, (uint64_t)size);
    if (size <= WHOLE) {
        return mix_range(path, file, 0, size, hash);
    }
    ADAMOE_TRY(mix_range(path, file, 0, BEGIN, hash));
    for (off_t i = 0; i < PAGES; ++i) {
        const off_t at = BEGIN + (size - BEGIN - PAGE) / (PAGES - 1) * i;
        ADAMOE_TRY(mix_range(path, file, at, at + PAGE, hash));
    }
    return adamoe_ok();
}

static adamoe_status mix_file(const char *path, uint64_t *hash)
{
    struct stat facts;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &facts) != 0) {
        const adamoe_status status = adamoe_error(ADAMOE_BAD_INPUT, "%s: open: %s", path, strerror(errno));
        if (file >= 0) {
            (void)close(file);
        }
        return status;
    }
    const adamoe_status status =
        S_ISREG(facts.st_mode) ? mix_content(path, file, facts.st_size, hash) : adamoe_ok();
    (void)close(file);
    return status;
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static adamoe_status mix_folder(const char *path, uint64_t *hash)
{
    struct dirent **list = NULL;
    const int count = scandir(path, &list, is_shown, alphasort);
    adamoe_status status =
        count < 0 ? adamoe_error(ADAMOE_BAD_INPUT, "%s: open: %s", path, strerror(errno)) : adamoe_ok();
    for (int i = 0; i < count; ++i) {
        char file[4096];
        (void)snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
        if (status.code == ADAMOE_OK) {
            *hash = adamoe_fnv1a(*hash, list[i]->d_name, strlen(list[i]->d_name) + 1);
            status = mix_file(file, hash);
        }
        free(list[i]);
    }
    free(list);
    return status;
}

adamoe_status adamoe_fingerprint(const char *path, uint64_t *out)
{
    struct stat facts;
    *out = ADAMOE_FNV1A_START;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode) ? mix_folder(path, out) : mix_file(path, out);
}
