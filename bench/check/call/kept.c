/*
 * Buffers that calls use again: see kept.h.
 */
#include "check/call/kept.h"

#include <stdlib.h>

/* A backward pass of ten experts has some eighty. */
#define MOST_BUFFERS 256

struct adamoe_kept {
    adamoe_guarded buffer[MOST_BUFFERS], work;
    size_t taken; /* of this call */
    size_t calls;
};

adamoe_status adamoe_kept_create(adamoe_kept **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
}

void adamoe_kept_free(adamoe_kept *kept)
{
    for (size_t i = 0; kept != NULL && i < MOST_BUFFERS; ++i) {
        adamoe_guarded_free(&kept->buffer[i]);
    }
    if (kept != NULL) {
        adamoe_guarded_free(&kept->work);
    }
    free(kept);
}

void adamoe_kept_begin(adamoe_kept *kept)
{
    kept->taken = 0;
    ++kept->calls;
}

adamoe_status adamoe_kept_take(adamoe_kept *kept, size_t bytes, size_t alignment, adamoe_guarded **out)
{
    if (kept->taken == MOST_BUFFERS) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: a call has more than %d buffers", MOST_BUFFERS);
    }
    *out = &kept->buffer[kept->taken++];
    return adamoe_guarded_renew(bytes, alignment, false, *out);
}

adamoe_status adamoe_kept_work(adamoe_kept *kept, size_t bytes, size_t alignment, adamoe_guarded *out)
{
    const adamoe_status status = adamoe_guarded_renew(bytes, alignment, kept->calls % 2 == 0, &kept->work);
    *out = kept->work;
    return status;
}
