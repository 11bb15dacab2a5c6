/*
 * Threads, descriptors and memory of the process: see growth.h.
 */
#include "check/call/growth.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define KEEPS_FREED_MEMORY true
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define KEEPS_FREED_MEMORY true
#endif
#endif
#ifndef KEEPS_FREED_MEMORY
#define KEEPS_FREED_MEMORY false
#endif

const char *const adamoe_resource_names[ADAMOE_RESOURCES] = {"threads", "descriptors", "bytes of the heap",
                                                             "bytes of address space"};

/* The entries of a folder of /proc, its own descriptor among them; 0 where there is none. */
static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *folder = opendir(path);
    while (folder != NULL && readdir(folder) != NULL) {
        ++count;
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return count;
}

/* The first number of /proc/self/statm, in bytes. */
static size_t address_space(void)
{
    char text[64] = "";
    const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    const ssize_t length = read(file, text, sizeof text - 1);
    (void)close(file);
    return length <= 0 ? 0 : (size_t)strtoull(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

void adamoe_resources_read(adamoe_resources *out)
{
    *out = (adamoe_resources){{0}};
    out->count[ADAMOE_RESOURCE_THREADS] = count_entries("/proc/self/task");
    out->count[ADAMOE_RESOURCE_DESCRIPTORS] = count_entries("/proc/self/fd");
    if (!KEEPS_FREED_MEMORY) {
        const struct mallinfo2 heap = mallinfo2();
        out->count[ADAMOE_RESOURCE_HEAP] = heap.uordblks + heap.hblkhd;
        out->count[ADAMOE_RESOURCE_MAPPINGS] = address_space();
    }
}

size_t adamoe_growing_resource(const adamoe_resources *reading, size_t readings)
{
    for (size_t resource = 0; resource < ADAMOE_RESOURCES; ++resource) {
        bool grows = readings > 1;
        for (size_t i = 1; i < readings; ++i) {
            grows = grows && reading[i].count[resource] > reading[i - 1].count[resource];
        }
        if (grows) {
            return resource;
        }
    }
    return ADAMOE_RESOURCES;
}
