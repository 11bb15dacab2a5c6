/*
 * The functions of a remote kernel; for remote.c alone. Their contract is adamoe_kernel's.
 */
#ifndef ADAMOE_REMOTE_CALL_H
#define ADAMOE_REMOTE_CALL_H

#include "adamoe.h"

/* `context` is a remote_kernel. */
adamoe_status remote_prepare(void *context, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out);
void remote_release(adamoe_prepared *prepared);
size_t remote_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens);
adamoe_status remote_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y);
void remote_implementation(const adamoe_prepared *prepared, char *text, size_t size);

#endif
