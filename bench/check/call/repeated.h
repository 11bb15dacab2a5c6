/*
 * A prepared object that is called again and again, as an engine does it: x, the arrays of the plan, the workspace and y
 * lie where they lay in the call before, and hold something else. Several such objects may be alive, and each may be
 * called in a thread of its own.
 *
 * Left out: what a call may touch and leave changed, which check/call/call.h sees; here only its output counts, and
 * that it writes nothing behind it.
 */
#ifndef ADAMOE_CHECK_CALL_REPEATED_H
#define ADAMOE_CHECK_CALL_REPEATED_H

#include "check/call/call.h"

/* The object of a layer, or of a matrix. */
typedef struct adamoe_repeated adamoe_repeated;

/* The most that a call may have; places are as many as rows. */
typedef struct adamoe_repeated_room {
    size_t tokens, rows;
} adamoe_repeated_room;

/* Prepares. `manner` and `outcome` must outlive it; where the kernel fails the outcome says how, and NULL is in *out.
 * Errors: memory. */
adamoe_status adamoe_repeated_create(const adamoe_call_manner *manner, const adamoe_layer *layer,
                                     adamoe_repeated_room room, adamoe_call_outcome *outcome,
                                     adamoe_repeated **out);
adamoe_status adamoe_repeated_create_matrix(const adamoe_call_manner *manner, const adamoe_matrix *matrix,
                                            size_t most_rows, adamoe_call_outcome *outcome,
                                            adamoe_repeated **out);

/* What the kernel computes of a plan of a routing and x [plan->tokens, hidden_size] into y [plan->tokens,
 * hidden_size]; or of x [count, columns] into y [count, rows]. False where it fails, which is the outcome. */
bool adamoe_repeated_experts(adamoe_repeated *object, const adamoe_plan *plan, const float *x, float *y);
bool adamoe_repeated_multiply(adamoe_repeated *object, const float *x, size_t count, float *y);

/* Releases; what was left of its memory is the outcome, unless there is one. Accepts NULL. Errors: memory that was wanting
 * for the kernel. */
adamoe_status adamoe_repeated_free(adamoe_repeated *object);

#endif
