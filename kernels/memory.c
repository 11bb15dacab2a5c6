/*
 * How much memory this process may still use, from /proc, the control groups and the resource limits.
 */
#include "memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t difference(size_t limit, size_t used)
{
    return limit > used ? limit - used : 0;
}

/* The number after `key` in a file of lines `key NUMBER [kB]`; with an empty key, the number that the file
 * begins with. SIZE_MAX where there is none ("max", no such file). */
static size_t read_number(const char *path, const char *key)
{
    FILE *file = fopen(path, "re");
    char line[256];
    size_t found = SIZE_MAX;
    while (file != NULL && found == SIZE_MAX && fgets(line, sizeof line, file) != NULL) {
        char *end = line;
        if (strncmp(line, key, strlen(key)) == 0) {
            const unsigned long long value = strtoull(line + strlen(key), &end, 10);
            found = end == line + strlen(key) ? SIZE_MAX : (size_t)value;
            found = found != SIZE_MAX && strstr(end, "kB") != NULL ? found * 1024 : found;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* One control group, version 2 or 1. Mapped files count as used there, but the system takes them back first.
 */
static size_t group_memory(const char *folder, const char *limit_name, const char *used_name,
                           const char *file_key)
{
    char path[4352];
    (void)snprintf(path, sizeof path, "%s/%s", folder, limit_name);
    const size_t limit = read_number(path, "");
    if (limit == SIZE_MAX) {
        return SIZE_MAX;
    }
    (void)snprintf(path, sizeof path, "%s/%s", folder, used_name);
    const size_t used = read_number(path, "");
    (void)snprintf(path, sizeof path, "%s/memory.stat", folder);
    const size_t mapped = read_number(path, file_key);
    return difference(limit, difference(used == SIZE_MAX ? 0 : used, mapped == SIZE_MAX ? 0 : mapped));
}

/* Every group from the process's own up to the root has a say. */
static size_t groups_memory(const char *root, char *group, const char *limit_name, const char *used_name,
                            const char *file_key)
{
    size_t available = SIZE_MAX;
    for (;;) {
        char folder[4224];
        (void)snprintf(folder, sizeof folder, "%s%s", root, group);
        available = least(available, group_memory(folder, limit_name, used_name, file_key));
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return available;
        }
        *slash = '\0';
    }
}

/* Lines are HIERARCHY:CONTROLLERS:PATH; version 2 has no controllers. */
static size_t control_group_memory(void)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
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
            available = least(available,
                              groups_memory("/sys/fs/cgroup", path, "memory.max", "memory.current", "file "));
        } else if (strstr(controllers, "memory") != NULL) {
            available = least(available, groups_memory("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes",
                                                       "memory.usage_in_bytes", "total_cache "));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return available;
}

static size_t limit_memory(__rlimit_resource_t resource, const char *used_key)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return SIZE_MAX;
    }
    const size_t used = read_number("/proc/self/status", used_key);
    return difference((size_t)limit.rlim_cur, used == SIZE_MAX ? 0 : used);
}

size_t adamoe_available_memory(void)
{
    size_t available = read_number("/proc/meminfo", "MemAvailable:");
    available = least(available, control_group_memory());
    available = least(available, limit_memory(RLIMIT_DATA, "VmData:"));
    return least(available, limit_memory(RLIMIT_AS, "VmSize:"));
}
