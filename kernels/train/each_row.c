/*
 * Work that is done row by row.
 */
#include "train/each_row.h"

/* One task is enough rows to be worth a wake-up. */
#define ROWS_PER_TASK 16

typedef struct rows_call {
    void (*compute)(const void *context, size_t row);
    const void *context;
    size_t rows;
} rows_call;

static void rows_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const rows_call *call = context;
    const size_t end = (i + 1) * ROWS_PER_TASK < call->rows ? (i + 1) * ROWS_PER_TASK : call->rows;
    for (size_t row = i * ROWS_PER_TASK; row < end; ++row) {
        call->compute(call->context, row);
    }
}

void adamoe_each_row(const adamoe_team *team, size_t rows, void (*compute)(const void *context, size_t row),
                     const void *context)
{
    rows_call call = {compute, context, rows};
    team->run(team->state, (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, rows_task, &call);
}
