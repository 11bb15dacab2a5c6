/*
 * Buffers for calls of a function without a prepared object (attention, route, backward), as an engine has them: each
 * lies where it lay in the call before, and holds something else. A call takes them in the order in which it comes to
 * its arrays, so calls with the same arrays find each where it was, whatever their sizes.
 *
 * For one call at a time. Left out: prepared objects, whose buffers are check/call/repeated.h's.
 */
#ifndef ADAMOE_CHECK_CALL_KEPT_H
#define ADAMOE_CHECK_CALL_KEPT_H

#include "check/call/memory.h"

typedef struct adamoe_kept adamoe_kept;

/* Errors: memory. */
adamoe_status adamoe_kept_create(adamoe_kept **out);
void adamoe_kept_free(adamoe_kept *kept);

/* A call begins: its first buffer is the first one again. */
void adamoe_kept_begin(adamoe_kept *kept);

/* The next buffer of the call, filled with 0xff. Errors: memory. */
adamoe_status adamoe_kept_take(adamoe_kept *kept, size_t bytes, size_t alignment, adamoe_guarded **out);

/* The workspace; in every other call it holds what the one before left there. Errors: memory. */
adamoe_status adamoe_kept_work(adamoe_kept *kept, size_t bytes, size_t alignment, adamoe_guarded *out);

#endif
