/*
 * Wrong kernels that touch what is not theirs, leave the processor in another state, crash, or do not return.
 */
#include "honest/honest.h"

#include <fenv.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------- beyond a buffer */

static size_t y_count(const kernel_call *c)
{
    return c->plan->tokens * c->prepared->hidden_size;
}

static void write_past_y(kernel_call *c)
{
    honest_run(c);
    c->y[y_count(c)] = 0.0f;
}
WRONG_KERNEL(past_y, "wrong-write-past-y", "one float behind y is written", ADAMOE_FLOAT32,
             .run = write_past_y);

static void write_before_y(kernel_call *c)
{
    honest_run(c);
    memset((unsigned char *)c->y - sizeof *c->y, 0, sizeof *c->y);
}
WRONG_KERNEL(before_y, "wrong-write-before-y", "one float before y is written", ADAMOE_FLOAT32,
             .run = write_before_y);

static volatile float sink;

static void read_past_x(kernel_call *c)
{
    honest_run(c);
    sink = c->x[c->plan->inputs * c->prepared->hidden_size];
}
WRONG_KERNEL(past_x, "wrong-read-past-x", "one float behind x is read", ADAMOE_FLOAT32, .run = read_past_x);

static void read_past_weights(const adamoe_matrix *matrix, packed_matrix *out)
{
    const size_t bytes = matrix->rows * matrix->columns * (matrix->dtype == ADAMOE_F32 ? 4 : 2);
    honest_widen(matrix, out);
    sink = (float)((const volatile unsigned char *)matrix->data)[bytes];
}
WRONG_KERNEL(past_weights, "wrong-read-past-weights", "one byte behind a matrix is read", ADAMOE_FLOAT32,
             .widen = read_past_weights);

static void read_past_plan(kernel_call *c)
{
    honest_run(c);
    sink = (float)((const volatile uint32_t *)c->plan->token_offset)[c->plan->tokens + 1];
}
WRONG_KERNEL(past_plan, "wrong-read-past-plan", "one entry behind token_offset is read", ADAMOE_FLOAT32,
             .run = read_past_plan);

static size_t one_row_less(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    return honest_work_bytes(prepared, rows > 0 ? rows - 1 : 0, tokens);
}
WRONG_KERNEL(workspace_overrun, "wrong-workspace-overrun", "the workspace is asked for one row too short",
             ADAMOE_FLOAT32, .work_bytes = one_row_less);

static void write_x(kernel_call *c)
{
    honest_run(c);
    float *x = (float *)(uintptr_t)c->x;
    for (size_t i = 0; i < c->plan->inputs * c->prepared->hidden_size; ++i) {
        x[i] = round_to_bfloat16(x[i]);
    }
}
WRONG_KERNEL(x_overwritten, "wrong-x-overwritten", "x is rounded where it stands", ADAMOE_FLOAT32,
             .run = write_x);

/* ----------------------------------------------------------------------------- assumptions on memory */

static void down_onto_workspace(const kernel_call *c, size_t row, const packed_expert *expert,
                                const operand *h, float *output)
{
    for (size_t i = 0; i < expert->w2.rows; ++i) {
        output[i] += honest_dot(c, row, &expert->w2, i, h);
    }
}
WRONG_KERNEL(workspace_assumed_zero, "wrong-workspace-assumed-zero",
             "sums begin with what the workspace held", ADAMOE_FLOAT32, .down = down_onto_workspace);

typedef float four_floats __attribute__((vector_size(16)));

/* A load that demands an address which 16 divides, as the vector types do. */
static void gather_aligned(const kernel_call *c, size_t row, float *input)
{
    honest_gather(c, row, input);
    if (c->prepared->hidden_size >= 4) {
        const float *x = c->x + c->plan->input[row] * c->prepared->hidden_size;
        const volatile four_floats first = *(const four_floats *)(const void *)x;
        sink = first[0];
    }
}
WRONG_KERNEL(alignment_assumed, "wrong-alignment-assumed", "x is loaded as if 16 divided its address",
             ADAMOE_FLOAT32, .gather = gather_aligned);

/* ----------------------------------------------------------------------------- the processor's state */

#if defined(__x86_64__)
enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x40 };

static void flush_to_zero(void)
{
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
}
#else
static void flush_to_zero(void)
{
    (void)fesetround(FE_TOWARDZERO);
}
#endif

static void leave_flushing(kernel_call *c)
{
    honest_run(c);
    flush_to_zero();
}
WRONG_KERNEL(flush_left_on, "wrong-flush-left-on", "denormals are flushed after the call", ADAMOE_FLOAT32,
             .run = leave_flushing);

static void leave_flushing_in_task(const kernel_call *c, size_t token)
{
    honest_combine(c, token);
    flush_to_zero();
}
WRONG_KERNEL(flush_left_on_in_team, "wrong-flush-left-on-in-team", "the same in the threads of the team",
             ADAMOE_FLOAT32, .combine = leave_flushing_in_task);

static void flush_denormals(const kernel_call *c, size_t token)
{
    fenv_t before;
    (void)fegetenv(&before);
    flush_to_zero();
    honest_combine(c, token);
    (void)fesetenv(&before);
}
WRONG_KERNEL(denormals_flushed, "wrong-denormals-flushed", "denormals are flushed in the weighted sum",
             ADAMOE_FLOAT32, .combine = flush_denormals);

static void leave_rounding_up(kernel_call *c)
{
    honest_run(c);
    (void)fesetround(FE_UPWARD);
}
WRONG_KERNEL(rounding_left_up, "wrong-rounding-left-up", "the rounding mode is another after the call",
             ADAMOE_FLOAT32, .run = leave_rounding_up);

/* ------------------------------------------------------------------------------ no result, no return */

static void crash(kernel_call *c)
{
    honest_run(c);
    volatile uintptr_t nowhere = 64;
    *(volatile int *)nowhere = 1;
}
WRONG_KERNEL(crashes, "wrong-crash", "writes to an address that is not mapped", ADAMOE_FLOAT32, .run = crash);

static void trap(kernel_call *c)
{
    honest_run(c);
    __builtin_trap();
}
WRONG_KERNEL(illegal_instruction, "wrong-illegal-instruction", "an instruction that no processor has",
             ADAMOE_FLOAT32, .run = trap);

static void never_return(kernel_call *c)
{
    honest_run(c);
    for (volatile int forever = 1; forever != 0;) {
    }
}
WRONG_KERNEL(endless_loop, "wrong-endless-loop", "does not return", ADAMOE_FLOAT32, .run = never_return);

static void leave(kernel_call *c)
{
    honest_run(c);
    exit(0);
}
WRONG_KERNEL(exits, "wrong-exit", "ends the process with success", ADAMOE_FLOAT32, .run = leave);

static void spend_rows(kernel_call *c)
{
    volatile size_t shares = c->plan->rows;
    sink = (float)(c->plan->tokens / shares);
    honest_run(c);
}
WRONG_KERNEL(divides_by_rows, "wrong-divides-by-rows", "divides by the number of rows, which may be 0",
             ADAMOE_FLOAT32, .run = spend_rows);

EXPORT_KERNELS(&past_y, &before_y, &past_x, &past_weights, &past_plan, &workspace_overrun, &x_overwritten,
               &workspace_assumed_zero, &alignment_assumed, &flush_left_on, &flush_left_on_in_team,
               &denormals_flushed, &rounding_left_up, &crashes, &illegal_instruction, &endless_loop, &exits,
               &divides_by_rows);
