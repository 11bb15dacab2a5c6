/*
 * Buffers between inaccessible pages, by mmap and mprotect.
 *
 * What is freed is inaccessible from then on, and kept for the next buffer of its size: a call takes some dozens,
 * and the system needs longer to find, clear and map their pages than many a kernel to compute.
 */
#include "check/call/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATTERN 0xa5

/* One for the process, as the processor that it makes up for is. */
static bool reads_allowed;

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* --------------------------------------------------------------------------------------- pages that are kept */

#define MOST_KEPT       256
#define MOST_KEPT_BYTES ((size_t)32 << 20)

/* Pages with guards on both sides; the body is inaccessible. The last that was freed is the first that is used
 * again, at the same address. */
typedef struct kept_pages {
    unsigned char *body;
    size_t body_bytes;
} kept_pages;

static pthread_mutex_t kept_mutex = PTHREAD_MUTEX_INITIALIZER;
static kept_pages kept[MOST_KEPT]; /* [kept_count] */
static size_t kept_count, kept_bytes;

static void unmap(const kept_pages *pages, size_t page)
{
    (void)munmap(pages->body - page, pages->body_bytes + 2 * page);
}

/* Takes them out of the list. */
static kept_pages remove_kept(size_t i)
{
    const kept_pages pages = kept[i];
    memmove(kept + i, kept + i + 1, (--kept_count - i) * sizeof *kept);
    kept_bytes -= pages.body_bytes;
    return pages;
}

/* Makes room by giving up those that were not used for longest. False where they are too many for that. */
static bool keep_pages(const kept_pages *pages, size_t page)
{
    if (pages->body_bytes > MOST_KEPT_BYTES || mprotect(pages->body, pages->body_bytes, PROT_NONE) != 0) {
        return false;
    }
    pthread_mutex_lock(&kept_mutex);
    while (kept_count == MOST_KEPT || pages->body_bytes > MOST_KEPT_BYTES - kept_bytes) {
        const kept_pages oldest = remove_kept(0);
        unmap(&oldest, page);
    }
    kept[kept_count++] = *pages;
    kept_bytes += pages->body_bytes;
    pthread_mutex_unlock(&kept_mutex);
    return true;
}

/* Pages of just this size, accessible again; NULL where there are none. */
static unsigned char *take_pages(size_t body_bytes)
{
    kept_pages found = {NULL, 0};
    pthread_mutex_lock(&kept_mutex);
    for (size_t i = kept_count; i-- > 0 && found.body == NULL;) {
        if (kept[i].body_bytes == body_bytes) {
            found = remove_kept(i);
        }
    }
    pthread_mutex_unlock(&kept_mutex);
    if (found.body != NULL && mprotect(found.body, body_bytes, PROT_READ | PROT_WRITE) != 0) {
        unmap(&found, (size_t)sysconf(_SC_PAGESIZE));
        return NULL;
    }
    return found.body;
}

void adamoe_guarded_allow_reads(void)
{
    reads_allowed = true;
    pthread_mutex_lock(&kept_mutex);
    for (; kept_count > 0; --kept_count) {
        unmap(&kept[kept_count - 1], (size_t)sysconf(_SC_PAGESIZE));
    }
    kept_bytes = 0;
    pthread_mutex_unlock(&kept_mutex);
}

/* ------------------------------------------------------------------------------------------------- buffers */

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

/* Whole pages; of large ones a few more, so that what is nearly as large can use them again. */
static size_t body_of(size_t bytes, size_t page)
{
    size_t step = page;
    while (bytes / step >= 32) {
        step *= 2;
    }
    return round_up(bytes, step);
}

/* New pages with guards on both sides; NULL without memory. */
static unsigned char *map_pages(size_t body_bytes, size_t page)
{
    unsigned char *pages =
        mmap(NULL, body_bytes + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return NULL;
    }
    if (!guard(pages, page) || !guard(pages + page + body_bytes, page)) {
        (void)munmap(pages, body_bytes + 2 * page);
        return NULL;
    }
    return pages + page;
}

adamoe_status adamoe_guarded_create(size_t bytes, size_t alignment, adamoe_guard_end end, adamoe_guarded *out)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *out = (adamoe_guarded){0};
    if (bytes > SIZE_MAX / 4 || alignment > SIZE_MAX / 8) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory for %zu bytes", bytes);
    }
    const size_t body_bytes = body_of(bytes + 2 * alignment, page);
    unsigned char *body = take_pages(body_bytes);
    if (body == NULL) {
        body = map_pages(body_bytes, page);
    }
    if (body == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory for %zu bytes", bytes);
    }
    *out = (adamoe_guarded){place(body, body_bytes, bytes, alignment, end), bytes, body, body_bytes, page};
    const size_t before = (size_t)(out->data - body);
    memset(body, PATTERN, before);
    memset(out->data, 0xff, bytes);
    memset(out->data + bytes, PATTERN, body_bytes - before - bytes);
    return adamoe_ok();
}

adamoe_status adamoe_guarded_renew(size_t bytes, size_t alignment, bool as_left, adamoe_guarded *buffer)
{
    const size_t room = buffer->body_bytes;
    if (buffer->body == NULL || bytes > room || room - bytes < 2 * alignment) {
        adamoe_guarded_free(buffer);
        return adamoe_guarded_create(bytes, alignment, ADAMOE_GUARD_FRONT, buffer);
    }
    if (mprotect(buffer->body, room, PROT_READ | PROT_WRITE) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: memory cannot be made writable");
    }
    buffer->data = place(buffer->body, room, bytes, alignment, ADAMOE_GUARD_FRONT);
    buffer->bytes = bytes;
    const size_t before = (size_t)(buffer->data - buffer->body);
    memset(buffer->body, PATTERN, before);
    if (!as_left) {
        memset(buffer->data, 0xff, bytes);
    }
    memset(buffer->data + bytes, PATTERN, room - before - bytes);
    return adamoe_ok();
}

adamoe_status adamoe_guarded_lock(const adamoe_guarded *buffer)
{
    return mprotect(buffer->body, buffer->body_bytes, PROT_READ) == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "check: memory cannot be made read-only");
}

adamoe_status adamoe_guarded_copy(const void *data, size_t bytes, size_t alignment, adamoe_guard_end end,
                                  adamoe_guarded *out)
{
    ADAMOE_TRY(adamoe_guarded_create(bytes, alignment, end, out));
    if (bytes > 0) {
        memcpy(out->data, data, bytes);
    }
    const adamoe_status status = adamoe_guarded_lock(out);
    if (status.code != ADAMOE_OK) {
        adamoe_guarded_free(out);
    }
    return status;
}

/* Each byte as the one before it, and the first. */
static bool is_pattern(const unsigned char *bytes, size_t count)
{
    return count == 0 || (bytes[0] == PATTERN && memcmp(bytes, bytes + 1, count - 1) == 0);
}

bool adamoe_guarded_intact(const adamoe_guarded *buffer)
{
    const size_t before = (size_t)(buffer->data - buffer->body);
    return buffer->body == NULL ||
           (is_pattern(buffer->body, before) &&
            is_pattern(buffer->data + buffer->bytes, buffer->body_bytes - before - buffer->bytes));
}

void adamoe_guarded_free(adamoe_guarded *buffer)
{
    const kept_pages pages = {buffer->body, buffer->body_bytes};
    if (buffer->body != NULL && !keep_pages(&pages, buffer->page)) {
        unmap(&pages, buffer->page);
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
