/*
 * An honest backward pass in pieces, as honest.h has the forward pass: a wrong one is this with a single
 * piece replaced.
 */
#ifndef WRONG_HONEST_BACKWARD_H
#define WRONG_HONEST_BACKWARD_H

#include "honest/honest.h"

typedef struct backward_pass backward_pass;

/* A row of the plan: its expert and token, its place in the token's list and the weight there. */
typedef struct row_place {
    size_t row, expert, token, place;
    float weight;
} row_place;

/* What it is made of; NULL stands for the honest piece. */
typedef struct backward_pieces {
    /* all rows, then all experts, then all tokens */
    void (*run)(backward_pass *b);
    /* one row: fills its dg, du and wh, and dcombine */
    void (*row)(const backward_pass *b, const row_place *at);
    /* one expert: dw1, dw3 and dw2 from those of its rows */
    void (*matrices)(const backward_pass *b, size_t expert);
    /* one token: dx and dself_scale */
    void (*token)(const backward_pass *b, size_t token);
    float (*slope)(float z); /* of silu */
} backward_pieces;

struct backward_pass {
    backward_pieces pieces; /* complete */
    const adamoe_run *run;
    const adamoe_backward_call *call;
    float *dg, *du, *wh; /* [rows, intermediate_size] all with the row's weight */
};

row_place place_of(const backward_pass *b, size_t row);
/* Rows of x and of dy. */
const float *x_of(const backward_pass *b, size_t token);
const float *dy_of(const backward_pass *b, size_t token);
/* The first of `intermediate_size` values of a row in dg, du or wh. */
float *inner_row(const backward_pass *b, float *values, size_t row);

/* The honest pieces, and what they are made of. */
void honest_backward_run(backward_pass *b);
void honest_row(const backward_pass *b, const row_place *at);
void honest_matrices(const backward_pass *b, size_t expert);
void honest_token(const backward_pass *b, size_t token);
float honest_slope(float z);
void clear_matrices(const backward_pass *b, size_t expert);
/* dw1 += dg x^T, dw3 += du x^T, dw2 += dy wh^T of one row. */
void add_to_matrices(const backward_pass *b, size_t expert, size_t row, const float *x, const float *dy);
/* dx += w1^T dg + w3^T du of one row. */
void add_to_input(const backward_pass *b, size_t row, float *dx);

/* The functions of adamoe_kernel. */
size_t backward_pieces_bytes(const adamoe_backward_call *call, uint32_t threads);
adamoe_status run_backward_pieces(const backward_pieces *given, const adamoe_run *run,
                                  const adamoe_backward_call *call);

/* A kernel `symbol` that is honest but for the given pieces of its backward pass. */
#define WRONG_BACKWARD(symbol, title, text, ...)                                                             \
    static adamoe_status symbol##_backward(const adamoe_run *run, const adamoe_backward_call *call)          \
    {                                                                                                        \
        static const backward_pieces replaced = {__VA_ARGS__};                                               \
        return run_backward_pieces(&replaced, run, call);                                                    \
    }                                                                                                        \
    KERNEL_OF_PIECES(symbol, title, text, ADAMOE_FLOAT32,                                                    \
                     (.backward_work_bytes = backward_pieces_bytes, .backward = symbol##_backward),          \
                     .run = honest_run)

#endif
