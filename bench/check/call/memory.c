/*
 * Buffers between inaccessible pages, by mmap and mprotect.
 */
#include "check/call/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATTERN 0xa5

/* One for the process, as the processor that it makes up for is. */
static bool reads_allowed;

void adamoe_guarded_allow_reads(void)
{
    reads_allowed = true;
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Where the data begin in a body of pages. What is not even aligned as floats are begins
 * at an odd address. */
static unsigned char *place(unsigned char *body, size_t body_bytes, size_t bytes, size_t alignment,
                            adamoe_guard_end end)
{
    const uintptr_t last = (uintptr_t)body + body_bytes - bytes;
    const uintptr_t first = (uintptr_t)body + 1;
    const uintptr_t at = end == ADAMOE_GUARD_BACK      ? last / alignment * alignment
                         : alignment < _Alignof(float) ? first
                                                       : round_up(first, alignment);
    return body + (at - (uintptr_t)body);
}

static bool guard(unsigned char *guarding, size_t page)
{
    if (!reads_allowed) {
        return mprotect(guarding, page, PROT_NONE) == 0;
    }
    memset(guarding, 0xff, page);
    return mprotect(guarding, page, PROT_READ) == 0;
}

adamoe_status adamoe_guarded_create(size_t bytes, size_t alignment, adamoe_guard_end end, adamoe_guarded *out)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *out = (adamoe_guarded){0};
    if (bytes > SIZE_MAX / 4 || alignment > SIZE_MAX / 8) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory for %zu bytes", bytes);
    }
    const size_t body_bytes = round_up(bytes + 2 * alignment, page);
    unsigned char *pages =
        mmap(NULL, body_bytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory for %zu bytes", bytes);
    }
    unsigned char *body = pages + page;
    if (!guard(pages, page) || !guard(body + body_bytes, page)) {
        (void)munmap(pages, body_bytes + 2 * page);
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory for %zu bytes", bytes);
    }
    *out = (adamoe_guarded){place(body, body_bytes, bytes, alignment, end), bytes, body, body_bytes, page};
    memset(body, PATTERN, body_bytes);
    memset(out->data, 0xff, bytes);
    return adamoe_ok();
}

adamoe_status adamoe_guarded_copy(const void *data, size_t bytes, size_t alignment, adamoe_guard_end end,
                                  adamoe_guarded *out)
{
    ADAMOE_TRY(adamoe_guarded_create(bytes, alignment, end, out));
    if (bytes > 0) {
        memcpy(out->data, data, bytes);
    }
    if (mprotect(out->body, out->body_bytes, PROT_READ) != 0) {
        adamoe_guarded_free(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: memory cannot be made read-only");
    }
    return adamoe_ok();
}

bool adamoe_guarded_intact(const adamoe_guarded *buffer)
{
    const size_t before = (size_t)(buffer->data - buffer->body);
    for (size_t i = 0; i < before; ++i) {
        if (buffer->body[i] != PATTERN) {
            return false;
        }
    }
    for (size_t i = before + buffer->bytes; i < buffer->body_bytes; ++i) {
        if (buffer->body[i] != PATTERN) {
            return false;
        }
    }
    return true;
}

void adamoe_guarded_free(adamoe_guarded *buffer)
{
    if (buffer->body != NULL) {
        (void)munmap(buffer->body - buffer->page, buffer->body_bytes + 2 * buffer->page);
    }
    *buffer = (adamoe_guarded){0};
}

void adamoe_guarded_close(const adamoe_guarded *buffer)
{
    if (buffer->body != NULL) {
        (void)mprotect(buffer->body, buffer->body_bytes, PROT_NONE);
    }
}

/* -------------------------------------------------------------------------------------------------- host */

typedef struct adamoe_guarded_allocation {
    adamoe_guarded buffer;
    struct adamoe_guarded_allocation *next;
} adamoe_guarded_allocation;

static bool refuses(adamoe_guarded_host *host)
{
    pthread_mutex_lock(&host->mutex);
    const bool refused = host->asked++ == host->refused;
    pthread_mutex_unlock(&host->mutex);
    return refused;
}

static void *allocate(void *context, size_t bytes, size_t alignment)
{
    adamoe_guarded_host *host = context;
    if (refuses(host)) {
        return NULL;
    }
    adamoe_guarded_allocation *allocation = calloc(1, sizeof *allocation);
    /* What a kernel keeps has structures in it: never less aligned than malloc's. */
    const size_t least = _Alignof(max_align_t), aligned = alignment < least ? least : alignment;
    if (allocation == NULL ||
        adamoe_guarded_create(bytes, aligned, ADAMOE_GUARD_BACK, &allocation->buffer).code != ADAMOE_OK) {
        free(allocation);
        pthread_mutex_lock(&host->mutex);
        host->failed = host->failed || bytes < ADAMOE_GUARDED_MOST;
        pthread_mutex_unlock(&host->mutex);
        return NULL;
    }
    pthread_mutex_lock(&host->mutex);
    allocation->next = host->first;
    host->first = allocation;
    pthread_mutex_unlock(&host->mutex);
    return allocation->buffer.data;
}

/* Unlinks the allocation at `memory`, or any where that is NULL; NULL where there is none. */
static adamoe_guarded_allocation *unlink_allocation(adamoe_guarded_host *host, const void *memory)
{
    adamoe_guarded_allocation **link = &host->first;
    while (*link != NULL && memory != NULL && (*link)->buffer.data != memory) {
        link = &(*link)->next;
    }
    adamoe_guarded_allocation *allocation = *link;
    if (allocation != NULL) {
        *link = allocation->next;
        host->damaged = host->damaged || !adamoe_guarded_intact(&allocation->buffer);
    }
    return allocation;
}

static void free_allocation(adamoe_guarded_allocation *allocation)
{
    adamoe_guarded_free(&allocation->buffer);
    free(allocation);
}

static void release(void *context, void *memory)
{
    adamoe_guarded_host *host = context;
    if (memory == NULL) {
        return;
    }
    pthread_mutex_lock(&host->mutex);
    adamoe_guarded_allocation *allocation = unlink_allocation(host, memory);
    host->unknown_free = host->unknown_free || allocation == NULL;
    pthread_mutex_unlock(&host->mutex);
    if (allocation != NULL) {
        free_allocation(allocation);
    }
}

/* The memory is where the system puts it: what is checked is which nodes are asked for. */
static void *allocate_on(void *context, size_t bytes, size_t alignment, uint32_t node)
{
    adamoe_guarded_host *host = context;
    if (node != ADAMOE_ALL_NODES && node >= host->nodes) {
        pthread_mutex_lock(&host->mutex);
        host->unknown_node = true;
        pthread_mutex_unlock(&host->mutex);
        return NULL;
    }
    return allocate(context, bytes, alignment);
}

void adamoe_guarded_host_create(uint32_t nodes, adamoe_guarded_host *out)
{
    *out = (adamoe_guarded_host){
        .host = {.context = out, .allocate = allocate, .release = release, .allocate_on = allocate_on},
        .nodes = nodes,
        .refused = SIZE_MAX};
    (void)pthread_mutex_init(&out->mutex, NULL);
}

size_t adamoe_guarded_host_free(adamoe_guarded_host *host)
{
    size_t left = 0;
    for (; host->first != NULL; ++left) {
        free_allocation(unlink_allocation(host, NULL));
    }
    (void)pthread_mutex_destroy(&host->mutex);
    return left;
}
