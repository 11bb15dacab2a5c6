/*
 * What the files of the sharded kernel share; not for others.
 */
#ifndef ADAMOE_MPI_SHARDED_PARTS_H
#define ADAMOE_MPI_SHARDED_PARTS_H

#include "mpi/sharded.h"
#include "mpi/volume.h"

/* Memory that is kept from call to call, and grows. */
typedef struct sharded_buffer {
    void *data;
    size_t bytes;
} sharded_buffer;

/* What stood in it may be lost. Errors: memory. */
adamoe_status sharded_reserve(sharded_buffer *buffer, size_t bytes);
void sharded_release(sharded_buffer *buffer);

/* A plan in which every row is a token of its own with the weight 1, so that `experts` gives the outputs of
 * the rows. */
typedef struct sharded_rows {
    adamoe_plan plan;
    uint32_t *offset, *input, *token_offset, *token_row;
    float *combine, *dispatch;
    sharded_buffer memory;
} sharded_rows;

/* Room for so many rows of so many experts; no row yet. */
adamoe_status sharded_rows_begin(sharded_rows *rows, size_t experts, size_t count, bool dispatch);

/* The next row, of an expert that is not before that of the row before; its output is that of token
 * `token`. */
static inline void sharded_rows_add(sharded_rows *rows, size_t expert, uint32_t input, size_t token)
{
    const size_t row = rows->plan.rows++;
    ++rows->offset[expert + 1];
    rows->input[row] = input;
    rows->token_row[token] = (uint32_t)row;
}

/* Makes offsets of the counts. `inputs` are the rows of x. */
void sharded_rows_end(sharded_rows *rows, size_t inputs);

struct adamoe_sharded {
    adamoe_kernel kernel;
    const adamoe_kernel *inner;
    adamoe_sharded_options options;
    adamoe_rank_counters counters;
    uint32_t **assignment; /* [layers] */
    size_t layers;
    uint64_t calls;
    /* Of a call: */
    sharded_rows kept, served;
    sharded_buffer peers;    /* [ranks] */
    sharded_buffer messages; /* of all kinds */
    sharded_buffer seen;     /* [inputs] */
    sharded_buffer place;    /* [places] token_row of the plan, in the order in which outputs arrive */
    sharded_buffer at;       /* [rows] where the output of a row of the plan stands */
    sharded_buffer outputs;  /* [rows, hidden_size] of this rank's tokens */
    sharded_buffer index_out, index_in;   /* numbers of requests */
    sharded_buffer inputs_out, inputs_in; /* as they travel */
    sharded_buffer wide; /* [inputs, hidden_size] received ones as floats, where they travel as bfloat16 */
    sharded_buffer served_outputs; /* [rows, hidden_size] of others' tokens */
    sharded_buffer work;           /* of the inner kernel */
};

typedef struct sharded_layer {
    adamoe_sharded *sharded;
    size_t layer, hidden_size, experts;
    const uint32_t *rank_of_expert; /* [experts] */
    uint32_t *local;                /* [experts] its number among its owner's */
    uint32_t *owned;                /* [ranks] experts of each */
    adamoe_prepared *inner;         /* of this rank's own; NULL where it has none */
} sharded_layer;

/* The inner kernel with the workspace that it wants. */
adamoe_status sharded_compute(const sharded_layer *layer, const adamoe_team *team, const float *x,
                              const adamoe_plan *plan, float *y);

/* One exchange: adamoe_kernel.experts for a layer that is spread over ranks. */
adamoe_status sharded_exchange(const sharded_layer *layer, const adamoe_run *run, const float *x,
                               const adamoe_plan *plan, float *y);

/* y from the outputs of the rows, by the inner kernel where it has `combine`, otherwise in float64 as the
 * definition does. */
adamoe_status sharded_combine(const adamoe_kernel *inner, const adamoe_run *run, size_t hidden_size,
                              const float *x, const float *outputs, const adamoe_plan *plan, float *y);

#endif
