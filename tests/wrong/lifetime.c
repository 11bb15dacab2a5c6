/*
 * Wrong kernels whose result depends on what was called before, with which buffers, and on what other objects
 * there are. A server calls one object a million times, in the same buffers, beside thirty others.
 */
#include "honest/honest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------- E: one object, many calls */

static uint32_t count_call(const kernel_call *c)
{
    uint32_t *calls = c->prepared->own;
    return (*calls)++;
}

/* Two calls in the general path measure, the third is the first in the tuned one, which forgets an odd last term of
 * w2. Wrong from an object's third call on. */
static float dot_without_odd_term(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                                  const operand *x)
{
    const size_t last = matrix->columns - 1;
    const float sum = honest_dot(c, row, matrix, r, x);
    return last % 2 == 0 && last > 0 ? fmaf(-matrix->value[r * matrix->columns + last], x->value[last], sum)
                                     : sum;
}

static void run_tuned(kernel_call *c)
{
    pieces tuned = *c->pieces;
    kernel_call call = *c;
    if (count_call(c) >= 2) {
        tuned.dot = dot_without_odd_term;
        call.pieces = &tuned;
    }
    honest_run(&call);
}
WRONG_KERNEL(third_call, "wrong-third-call", "from the third call on a tuned path forgets an odd last term",
             ADAMOE_FLOAT32, .run = run_tuned, .own_bytes = sizeof(uint32_t));

/* 0 is the mark of an object that was never called, whose outputs need no sum yet. Wrong in the 256th call, and in
 * every 256th after it. */
static void run_counting_in_8_bits(kernel_call *c)
{
    honest_run(c);
    if ((uint8_t)(count_call(c) + 1) == 0) {
        memset(c->y, 0, c->plan->tokens * c->prepared->hidden_size * sizeof *c->y);
    }
}
WRONG_KERNEL(call_counter, "wrong-call-counter-8-bit", "the 256th call is taken for none", ADAMOE_FLOAT32,
             .run = run_counting_in_8_bits, .own_bytes = sizeof(uint32_t));

enum { MOST_KEPT = 4096 };

/* Inputs as they were at an address. */
typedef struct kept_input {
    const float *address;
    size_t count;
    float value[MOST_KEPT];
} kept_input;

static const float *input_of_address(kept_input *kept, const float *x, size_t count)
{
    if (count > MOST_KEPT) {
        return x;
    }
    if (kept->address != x || kept->count != count) {
        kept->address = x;
        kept->count = count;
        memcpy(kept->value, x, count * sizeof *x);
    }
    return kept->value;
}

/* The packed x of the last call serves again where x is at the same address and as long. Wrong for other values
 * there. */
static void run_on_kept_input(kernel_call *c)
{
    kernel_call call = *c;
    call.x = input_of_address(c->prepared->own, c->x, c->plan->inputs * c->prepared->hidden_size);
    honest_run(&call);
}
WRONG_KERNEL(input_by_address, "wrong-input-by-address", "x is taken for the same where its address is",
             ADAMOE_FLOAT32, .run = run_on_kept_input, .own_bytes = sizeof(kept_input));

/* The same for the one input of a dense product, as a model's head has it for each new token. */
static void round_and_keep(const kernel_call *c, size_t row, operand *x, size_t count)
{
    honest_round(c, row, x, count);
    if (c->plan == NULL && c->count == 1 && count <= MOST_KEPT) {
        memcpy(x->value, input_of_address(c->product->own, c->x, count), count * sizeof *x->value);
    }
}
WRONG_KERNEL(product_by_address, "wrong-product-input-by-address",
             "the one input of a dense product is taken for the same where its address is", ADAMOE_FLOAT32,
             .round_x = round_and_keep, .own_bytes = sizeof(kept_input));

/* Which expert a row belongs to is looked up once for each list of offsets. Wrong for another plan of as many rows at
 * the same address. */
typedef struct kept_plan {
    const uint32_t *address;
    size_t rows;
    uint32_t expert[MOST_KEPT];
} kept_plan;

static void row_of_kept_plan(void *call, size_t row, uint32_t thread)
{
    const kernel_call *c = call;
    const kept_plan *kept = c->prepared->own;
    const size_t e = c->plan->rows <= MOST_KEPT ? kept->expert[row] : honest_expert_of(c->plan, row);
    honest_compute_row(c, row, &c->prepared->expert[e], thread);
}

static void run_by_kept_plan(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    kept_plan *kept = c->prepared->own;
    if (kept->address != c->plan->offset || kept->rows != c->plan->rows) {
        kept->address = c->plan->offset;
        kept->rows = c->plan->rows;
        for (size_t row = 0; row < c->plan->rows && row < MOST_KEPT; ++row) {
            kept->expert[row] = (uint32_t)honest_expert_of(c->plan, row);
        }
    }
    team->run(team->state, c->plan->rows, row_of_kept_plan, c);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}
WRONG_KERNEL(plan_by_address, "wrong-plan-by-address", "a plan is taken for the same where its offsets are",
             ADAMOE_FLOAT32, .run = run_by_kept_plan, .own_bytes = sizeof(kept_plan));

/* Rows of y that were cleared once, and that nobody but this kernel should have written since, are not cleared
 * again. Wrong where y is the same buffer as in the last call and the caller has used it in between. */
typedef struct cleared_rows {
    const float *address;
    bool cleared[MOST_KEPT];
} cleared_rows;

static bool has_no_sum(const adamoe_plan *plan, size_t token)
{
    return plan->token_offset[token] == plan->token_offset[token + 1] && plan->self_scale == NULL;
}

static void combine_unless_cleared(const kernel_call *c, size_t token)
{
    const cleared_rows *rows = c->prepared->own;
    if (token >= MOST_KEPT || !has_no_sum(c->plan, token) || !rows->cleared[token]) {
        honest_combine(c, token);
    }
}

static void run_clearing_once(kernel_call *c)
{
    cleared_rows *rows = c->prepared->own;
    if (rows->address != c->y) {
        memset(rows->cleared, 0, sizeof rows->cleared);
        rows->address = c->y;
    }
    honest_run(c);
    for (size_t t = 0; t < c->plan->tokens && t < MOST_KEPT; ++t) {
        rows->cleared[t] = has_no_sum(c->plan, t);
    }
}
WRONG_KERNEL(cleared_once, "wrong-y-cleared-once",
             "a row of y that was cleared in the last call is not cleared", ADAMOE_FLOAT32,
             .run = run_clearing_once, .combine = combine_unless_cleared, .own_bytes = sizeof(cleared_rows));

/* --------------------------------------------------------------------------------------- F: several objects */

/* The same weights are packed once, for whoever asks; who releases them first takes them from the others. Wrong where
 * one layer is prepared twice and one of the two released: the other reads memory that is gone. */
typedef struct shared_object {
    const void *weights;
    adamoe_prepared *object;
} shared_object;

static shared_object shared[8];

KERNEL_PIECES(prepared_once, ADAMOE_FLOAT32, .run = honest_run);
KERNEL_PREPARES_MATRIX(prepared_once)

static adamoe_status prepared_once_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                           const adamoe_placement *placement, adamoe_prepared **out)
{
    shared_object *place = NULL;
    for (size_t i = 0; i < sizeof shared / sizeof *shared; ++i) {
        if (shared[i].object != NULL && shared[i].weights == layer->expert[0].w1.data) {
            *out = shared[i].object;
            return adamoe_ok();
        }
        place = shared[i].object == NULL ? &shared[i] : place;
    }
    ADAMOE_TRY(prepare_pieces(&prepared_once_pieces, host, layer, placement, out));
    if (place != NULL) {
        *place = (shared_object){layer->expert[0].w1.data, *out};
    }
    return adamoe_ok();
}

static void release_shared(adamoe_prepared *prepared)
{
    for (size_t i = 0; i < sizeof shared / sizeof *shared; ++i) {
        if (shared[i].object == prepared) {
            shared[i] = (shared_object){NULL, NULL};
        }
    }
    honest_release(prepared);
}
KERNEL_TABLE(prepared_once, "wrong-prepared-once", "two objects of one layer are one, which is released once",
             ADAMOE_FLOAT32,
             (.tiles = {4, 8, 4}, .silu_error = 4.0f, .release = release_shared,
              .release_matrix = honest_release_matrix));

/* A table of the process, made by the first object and freed with whichever object goes first. Wrong for the objects
 * that are left: here it gives silu 0. */
static float *silu_table;

KERNEL_PIECES(table_freed, ADAMOE_FLOAT32, .silu = NULL);
KERNEL_PREPARES_MATRIX(table_freed)

static float silu_of_table(float z)
{
    return silu_table == NULL ? 0.0f : honest_silu(z);
}

static adamoe_status table_freed_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                         const adamoe_placement *placement, adamoe_prepared **out)
{
    pieces with_table = table_freed_pieces;
    with_table.silu = silu_of_table;
    ADAMOE_TRY(prepare_pieces(&with_table, host, layer, placement, out));
    silu_table = silu_table == NULL ? calloc(256, sizeof *silu_table) : silu_table;
    return adamoe_ok();
}

static void release_with_table(adamoe_prepared *prepared)
{
    free(silu_table);
    silu_table = NULL;
    honest_release(prepared);
}
KERNEL_TABLE(table_freed, "wrong-table-freed",
             "a table of the process is freed with the first object that goes", ADAMOE_FLOAT32,
             (.tiles = {4, 8, 4}, .silu_error = 4.0f, .release = release_with_table,
              .release_matrix = honest_release_matrix));

/* Scratch of the process, a part for each number of a thread. Wrong where two objects compute at once: their threads
 * have the same numbers. */
static float process_scratch[64][2048];

static void run_in_process_scratch(kernel_call *c)
{
    const size_t each = c->prepared->hidden_size + c->prepared->intermediate_size;
    kernel_call call = *c;
    if (each * c->prepared->threads <= sizeof process_scratch / sizeof(float)) {
        call.scratch = process_scratch[0];
    }
    honest_run(&call);
}
WRONG_KERNEL(scratch_of_process, "wrong-scratch-of-process", "all objects use the same scratch",
             ADAMOE_FLOAT32, .run = run_in_process_scratch);

/* The team and the workspace of the first call, in all further ones. Wrong where the caller brings others. */
typedef struct kept_run {
    const adamoe_team *team;
    void *work;
    size_t bytes;
} kept_run;

static void run_with_kept_team(kernel_call *c)
{
    kept_run *kept = c->prepared->own;
    kept->team = kept->team == NULL ? c->run->team : kept->team;
    adamoe_run run = *c->run;
    run.team = kept->team;
    kernel_call call = *c;
    call.run = &run;
    honest_run(&call);
}
WRONG_KERNEL(team_kept, "wrong-team-kept", "the team of the first call runs all of them", ADAMOE_FLOAT32,
             .run = run_with_kept_team, .own_bytes = sizeof(kept_run));

/* One that is large enough. */
static void run_in_kept_work(kernel_call *c)
{
    kept_run *kept = c->prepared->own;
    if (kept->bytes < c->run->work_bytes) {
        *kept = (kept_run){.work = c->run->work, .bytes = c->run->work_bytes};
    }
    kernel_call call = *c;
    call.outputs = (float *)kept->work + ((float *)(void *)c->outputs - (float *)c->run->work);
    call.scratch = (float *)kept->work + (c->scratch - (float *)c->run->work);
    honest_run(&call);
}
WRONG_KERNEL(work_kept, "wrong-work-kept",
             "the workspace of an earlier call is used as long as it is large enough", ADAMOE_FLOAT32,
             .run = run_in_kept_work, .own_bytes = sizeof(kept_run));

EXPORT_KERNELS(&team_kept, &work_kept, &third_call, &call_counter, &input_by_address, &product_by_address,
               &plan_by_address, &cleared_once, &prepared_once, &table_freed, &scratch_of_process);
