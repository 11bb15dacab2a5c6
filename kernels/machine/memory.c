/*
 * How much memory this process may still use, from /proc, the control groups and the resource limits.
 */
#include "machine/memory.h"
#include "machine/system_file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Room for the root and the path of a control group, which is a line of 4096 bytes. */
#define PATH_ROOM 8192

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t difference(size_t limit, size_t used)
{
    return limit > used ? limit - used : 0;
}

static size_t read_number_or_0(const char *folder, const char *name, const char *key)
{
    const size_t number = adamoe_system_file_number(folder, name, key);
    return number == SIZE_MAX ? 0 : number;
}

/* What one version of the control groups calls its files, and the entries of its memory.stat. */
typedef struct group_names {
    const char *folder;
    const char *limit, *high; /* the latter NULL where there is no limit of that kind */
    const char *used;
    const char *file, *shared;
} group_names;

static const group_names version_2 = {"sys/fs/cgroup",  "memory.max", "memory.high",
                                      "memory.current", "file ",      "shmem "};
static const group_names version_1 = {"sys/fs/cgroup/memory",  "memory.limit_in_bytes", NULL,
                                      "memory.usage_in_bytes", "total_cache ",          "total_shmem "};

/* Files that are mapped or cached count as used, but the system takes them back first; not so what is
 * shared memory or lies in a tmpfs, which is counted among them. Above `high` a process is slowed
 * down to a crawl. */
static size_t group_memory(const char *folder, const group_names *names)
{
    size_t limit = adamoe_system_file_number(folder, names->limit, "");
    if (names->high != NULL) {
        limit = least(limit, adamoe_system_file_number(folder, names->high, ""));
    }
    if (limit == SIZE_MAX) {
        return SIZE_MAX;
    }
    const size_t reclaimable = difference(read_number_or_0(folder, "memory.stat", names->file),
                                          read_number_or_0(folder, "memory.stat", names->shared));
    return difference(limit, difference(read_number_or_0(folder, names->used, ""), reclaimable));
}

/* Every group from the process's own up to the root has a say. Where the process's own is not mounted here,
 * which containers bring about, its parents still are. */
static size_t groups_memory(const char *root, char *group, const group_names *names)
{
    size_t available = SIZE_MAX;
    for (;;) {
        char folder[PATH_ROOM];
        const int length = snprintf(folder, sizeof folder, "%s/%s%s", root, names->folder, group);
        if (length >= 0 && (size_t)length < sizeof folder) {
            available = least(available, group_memory(folder, names));
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return available;
        }
        *slash = '\0';
    }
}

/* Lines are HIERARCHY:CONTROLLERS:PATH; version 2 has no controllers. */
static size_t control_group_memory(const char *root)
{
    FILE *file = adamoe_system_file_open(root, "proc/self/cgroup");
    char line[4096];
    size_t available = SIZE_MAX;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path == NULL) {
            continue;
        }
        *path++ = '\0';
        if (controllers[1] == '\0') {
            available = least(available, groups_memory(root, path, &version_2));
        } else if (strstr(controllers, "memory") != NULL) {
            available = least(available, groups_memory(root, path, &version_1));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return available;
}

size_t adamoe_available_memory_under(const char *root)
{
    return least(adamoe_system_file_number(root, "proc/meminfo", "MemAvailable:"),
                 control_group_memory(root));
}

static size_t limit_memory(const struct rlimit *limit, const char *used_key)
{
    return limit->rlim_cur == RLIM_INFINITY
               ? SIZE_MAX
               : difference((size_t)limit->rlim_cur, read_number_or_0("", "proc/self/status", used_key));
}

/* What is left, and who leaves no more. */
typedef struct memory_left {
    size_t bytes;
    const char *limit, *raise; /* the latter is what to do about it, empty for the machine itself */
} memory_left;

static void tighten(memory_left *left, size_t bytes, const char *limit, const char *raise)
{
    if (bytes < left->bytes) {
        *left = (memory_left){bytes, limit, raise};
    }
}

static memory_left find_memory(void)
{
    memory_left left = {SIZE_MAX, "the machine", ""};
    struct rlimit limit;
    tighten(&left, adamoe_system_file_number("", "proc/meminfo", "MemAvailable:"), "the machine", "");
    tighten(&left, control_group_memory(""), "the memory limit of the control group",
            "raise the limit of the control group (container, systemd unit)");
    if (getrlimit(RLIMIT_DATA, &limit) == 0) {
        tighten(&left, limit_memory(&limit, "VmData:"), "ulimit -d", "raise ulimit -d");
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0) {
        tighten(&left, limit_memory(&limit, "VmSize:"), "ulimit -v", "raise ulimit -v");
    }
    return left;
}

size_t adamoe_available_memory(void)
{
    return find_memory().bytes;
}

bool adamoe_has_memory(size_t bytes)
{
    return bytes < ADAMOE_LARGE_BLOCK || bytes <= find_memory().bytes;
}

adamoe_status adamoe_ask_memory(const char *what, double bytes, const char *advice)
{
    if (bytes < (double)ADAMOE_LARGE_BLOCK) {
        return adamoe_ok();
    }
    const memory_left left = find_memory();
    if (bytes <= (double)left.bytes) {
        return adamoe_ok();
    }
    const bool both = advice != NULL && left.raise[0] != '\0';
    return adamoe_error(ADAMOE_ENVIRONMENT, "%.60s: %.2f GB of memory are needed, %s leaves %.2f GB%s%s%s%s",
                        what, bytes / 1e9, left.limit, (double)left.bytes / 1e9,
                        advice != NULL || left.raise[0] != '\0' ? ": " : "", advice != NULL ? advice : "",
                        both ? ", or " : "", left.raise);
}
