/*
 * What must not grow from call to call: threads, descriptors and memory of the process.
 *
 * Left out: memory of a process that runs under a sanitizer, which keeps what was freed.
 */
#ifndef ADAMOE_CHECK_CALL_GROWTH_H
#define ADAMOE_CHECK_CALL_GROWTH_H

#include <stdbool.h>
#include <stddef.h>

/* What is counted. */
typedef enum adamoe_resource {
    ADAMOE_RESOURCE_THREADS = 0,
    ADAMOE_RESOURCE_DESCRIPTORS = 1,
    ADAMOE_RESOURCE_HEAP = 2,     /* bytes that malloc has given, of all threads */
    ADAMOE_RESOURCE_MAPPINGS = 3, /* bytes of address space */
} adamoe_resource;

#define ADAMOE_RESOURCES 4

/* "threads", "descriptors", "bytes of the heap", "bytes of address space". */
extern const char *const adamoe_resource_names[ADAMOE_RESOURCES];

/* 0 of what cannot be counted. Allocates nothing, and leaves no descriptor. */
typedef struct adamoe_resources {
    size_t count[ADAMOE_RESOURCES];
} adamoe_resources;

void adamoe_resources_read(adamoe_resources *out);

/* Readings after equal rounds of work, oldest first. A resource that is larger in each of them than in the one before
 * is left behind by each round: caches fill up and stop. Returns ADAMOE_RESOURCES where there is none. */
size_t adamoe_growing_resource(const adamoe_resources *reading, size_t readings);

#endif
