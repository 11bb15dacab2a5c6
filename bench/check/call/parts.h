/*
 * What the files of a guarded call share; not for others.
 */
#ifndef ADAMOE_CHECK_CALL_PARTS_H
#define ADAMOE_CHECK_CALL_PARTS_H

#include "check/call/manner.h"
#include "check/call/process.h"
#include "check/cases/cases.h"

/* A plan has seven arrays and one or two inputs; two plans may follow the weights. */
#define CHECK_CALL_PLAN_INPUTS 18
#define CHECK_CALL_INPUTS      (CHECK_CALL_PLAN_INPUTS + 3 * ADAMOE_MOST_GRADIENT_EXPERTS)

typedef struct check_call {
    const adamoe_call_manner *manner;
    adamoe_call_outcome *out;
    adamoe_guarded_host host;
    adamoe_watched_team team;
    adamoe_guarded work;
    double stage_seconds[ADAMOE_STAGES]; /* asked for where buffers touch the page before them */
    adamoe_guarded given;                /* what prepare is given by address; closed when it has returned */
    adamoe_guarded input[CHECK_CALL_INPUTS]; /* [inputs] read-only */
    size_t inputs;
    adamoe_process_settings settings; /* as they were at the begin */
} check_call;

/* The structure must not move between begin and end. */
void check_call_begin(check_call *c, const adamoe_call_manner *manner, adamoe_call_outcome *out);

/* Frees everything, and reports what was left allocated or written outside. Returns `status`, or ENVIRONMENT where
 * memory for the kernel was wanting, and it therefore came to nothing. */
adamoe_status check_call_end(check_call *c, adamoe_status status);

/* Notes an error of the kernel, unless there is one already. */
__attribute__((format(printf, 2, 3))) void check_call_wrong(check_call *c, const char *format, ...);

/* A guarded copy that lives until check_call_end. Errors: memory. */
adamoe_status check_call_input(check_call *c, const void *data, size_t bytes, size_t alignment,
                               const void **out);

/* An output, filled with 0xff: one of the kept ones, or *own, which is to be freed then. Errors: memory. */
adamoe_status check_call_output(check_call *c, size_t bytes, size_t alignment, adamoe_guarded *own,
                                adamoe_guarded **out);

/* What a function of the kernel reported, and whether it left the processor's modes and the settings of the process
 * as they were. */
void check_call_returned(check_call *c, const char *function, const adamoe_control_state *before,
                         adamoe_status status);

/* kernel->prepare and prepare_matrix: NULL in *out where they failed, which then is noted. Errors: memory. And release
 * and release_matrix, of that and of NULL. */
adamoe_status check_call_prepare(check_call *c, const adamoe_layer *layer, adamoe_prepared **out);
adamoe_status check_call_prepare_matrix(check_call *c, const adamoe_matrix *matrix,
                                        adamoe_prepared_matrix **out);
void check_call_release(check_call *c, adamoe_prepared *prepared);
void check_call_release_matrix(check_call *c, adamoe_prepared_matrix *prepared);

/* The same for every array of a plan. Errors: memory. */
adamoe_status check_call_plan(check_call *c, const adamoe_plan *from, adamoe_plan *out);

/* A workspace of exactly this size and the team, for one call; false where there is no memory for it. */
bool check_call_reserve(check_call *c, size_t bytes, adamoe_run *run);

#endif
