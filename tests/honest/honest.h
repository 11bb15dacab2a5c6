/*
 * An honest kernel in pieces, against the public header alone. A wrong kernel is this one with a single piece
 * replaced: the bug is then all that tells the two apart.
 *
 * Left out: speed. Each row of the plan is one task, each product a loop.
 */
#ifndef HONEST_HONEST_H
#define HONEST_HONEST_H

#include "adamoe.h"

/* A matrix as the kernel keeps it: widened, then rounded to the kernel's kind of operand. For int8 the values
 * are whole numbers of steps, -127 .. 127. */
typedef struct packed_matrix {
    size_t rows, columns;
    float *value; /* [rows, columns] */
    float *scale; /* [rows] the step of an output channel; 1 unless int8 */
} packed_matrix;

typedef struct packed_expert {
    packed_matrix w1, w3, w2;
} packed_expert;

/* The rounded input of a product. */
typedef struct operand {
    float *value;
    float scale; /* as in packed_matrix */
} operand;

typedef struct kernel_call kernel_call;

/* What a kernel is made of; NULL stands for the honest piece. `row` is a row of the plan, or of x in a dense
 * product, where call.plan is NULL. */
typedef struct pieces {
    adamoe_arithmetic kind; /* of x, h and the weights */
    /* once, when weights are prepared */
    void (*widen)(const adamoe_matrix *matrix, packed_matrix *out);
    void (*round_matrix)(adamoe_arithmetic kind, packed_matrix *matrix);
    void (*arrange)(packed_expert *expert, size_t experts);
    /* for each row, in this order */
    size_t (*expert_of)(const adamoe_plan *plan, size_t row);
    void (*gather)(const kernel_call *c, size_t row, float *input); /* dispatch * x, [hidden_size] */
    void (*round_x)(const kernel_call *c, size_t row, operand *x, size_t count);
    void (*up)(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x, float *h);
    void (*round_h)(const kernel_call *c, size_t row, operand *h, size_t count);
    void (*down)(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                 float *output);
    /* for each token: the weighted sum of its rows */
    void (*combine)(const kernel_call *c, size_t token);
    /* what the above are made of */
    float (*dot)(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r, const operand *x);
    float (*silu)(float z);
    /* all rows, then all tokens */
    void (*run)(kernel_call *c);
    size_t (*work_bytes)(const adamoe_prepared *prepared, size_t rows, size_t tokens);
    /* what a prepared object keeps from call to call: zero at first */
    size_t own_bytes;
} pieces;

struct adamoe_prepared {
    adamoe_host host;
    pieces pieces; /* complete */
    size_t hidden_size, intermediate_size, experts;
    uint32_t threads, nodes;
    packed_expert *expert; /* [experts] */
    void *own;             /* [pieces.own_bytes] */
};

struct adamoe_prepared_matrix {
    adamoe_host host;
    pieces pieces;
    uint32_t threads, nodes;
    packed_matrix matrix;
    void *own;
};

/* One call of `experts` or `multiply`. */
struct kernel_call {
    const pieces *pieces;
    const adamoe_prepared *prepared;       /* of experts */
    const adamoe_prepared_matrix *product; /* of multiply */
    const adamoe_run *run;
    const adamoe_plan *plan;
    const float *x;
    size_t count; /* inputs of multiply */
    float *y;
    float *outputs; /* [rows, hidden_size] of the experts, before they are weighted */
    float *scratch; /* for each thread: x and h, or x of a dense product */
    uint32_t nodes;
};

/* The honest pieces. */
void honest_widen(const adamoe_matrix *matrix, packed_matrix *out);
void honest_round_matrix(adamoe_arithmetic kind, packed_matrix *matrix);
size_t honest_expert_of(const adamoe_plan *plan, size_t row);
void honest_gather(const kernel_call *c, size_t row, float *input);
void honest_round(const kernel_call *c, size_t row, operand *x, size_t count);
void honest_up(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x, float *h);
void honest_down(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                 float *output);
void honest_combine(const kernel_call *c, size_t token);
float honest_dot(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r, const operand *x);
float honest_silu(float z);
void honest_run(kernel_call *c);
void honest_compute_row(const kernel_call *c, size_t row, const packed_expert *expert, uint32_t thread);
/* The tasks of honest_run: a row of the plan, then a token. */
void honest_row_task(void *call, size_t row, uint32_t thread);
void honest_token_task(void *call, size_t token, uint32_t thread);
size_t honest_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens);

/* Rounds value[count] as reference/README.md section 4 says and returns the step of int8, else 1. */
float round_values(adamoe_arithmetic kind, float *value, size_t count);
float round_to_bfloat16(float value);
uint32_t bits_of(float value);
float float_of(uint32_t bits);

/* The functions of adamoe_kernel. */
bool honest_supported(const char **why_not);
adamoe_status prepare_pieces(const pieces *given, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out);
void honest_release(adamoe_prepared *prepared);
size_t kernel_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens);
adamoe_status kernel_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y);
adamoe_status prepare_matrix_pieces(const pieces *given, const adamoe_host *host, const adamoe_matrix *matrix,
                                    const adamoe_placement *placement, adamoe_prepared_matrix **out);
void honest_release_matrix(adamoe_prepared_matrix *prepared);
size_t kernel_matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count);
adamoe_status kernel_multiply(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                              size_t count, float *y);

/* A kernel `symbol` is made of three things: its pieces, its two functions that prepare, which are the only ones
 * that cannot learn from a prepared object which kernel they belong to, and its table. */
#define KERNEL_PIECES(symbol, operands, ...)                                                                 \
    static const pieces symbol##_pieces = {.kind = (operands), __VA_ARGS__}

#define KERNEL_PREPARES(symbol)                                                                              \
    static adamoe_status symbol##_prepare(const adamoe_host *host, const adamoe_layer *layer,                \
                                          const adamoe_placement *placement, adamoe_prepared **out)          \
    {                                                                                                        \
        return prepare_pieces(&symbol##_pieces, host, layer, placement, out);                                \
    }

#define KERNEL_PREPARES_MATRIX(symbol)                                                                       \
    static adamoe_status symbol##_prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,       \
                                                 const adamoe_placement *placement,                          \
                                                 adamoe_prepared_matrix **out)                               \
    {                                                                                                        \
        return prepare_matrix_pieces(&symbol##_pieces, host, matrix, placement, out);                        \
    }

/* Promises all that the contract knows. `fields`, in brackets, are further fields of adamoe_kernel: tiles, the error
 * of silu and the functions that release at least. */
#define KERNEL_TABLE(symbol, title, text, operands, fields)                                                  \
    static const adamoe_kernel symbol = {.abi = ADAMOE_ABI,                                                  \
                                         .struct_size = sizeof(adamoe_kernel),                               \
                                         .guarantees = ADAMOE_SAME_BITS_RUNS | ADAMOE_SAME_BITS_THREADS |    \
                                                       ADAMOE_SAME_BITS_BATCH | ADAMOE_SAME_BITS_PLACEMENT,  \
                                         .name = (title),                                                    \
                                         .summary = (text),                                                  \
                                         .x = (operands),                                                    \
                                         .h = (operands),                                                    \
                                         .weight = (operands),                                               \
                                         .accumulate =                                                       \
                                             (operands) == ADAMOE_INT8 ? ADAMOE_INT32 : ADAMOE_FLOAT32,      \
                                         .supported = honest_supported,                                      \
                                         .prepare = symbol##_prepare,                                        \
                                         .work_bytes = kernel_work_bytes,                                    \
                                         .experts = kernel_experts,                                          \
                                         .prepare_matrix = symbol##_prepare_matrix,                          \
                                         .matrix_work_bytes = kernel_matrix_work_bytes,                      \
                                         .multiply = kernel_multiply,                                        \
                                         KERNEL_FIELDS fields}

#define KERNEL_FIELDS(...) __VA_ARGS__

#define HONEST_RELEASES .release = honest_release, .release_matrix = honest_release_matrix

/* The whole, with the tiles in brackets. */
#define TILED_KERNEL(symbol, title, text, operands, tiles_, fields, ...)                                     \
    KERNEL_PIECES(symbol, operands, __VA_ARGS__);                                                            \
    KERNEL_PREPARES(symbol)                                                                                  \
    KERNEL_PREPARES_MATRIX(symbol)                                                                           \
    KERNEL_TABLE(                                                                                            \
        symbol, title, text, operands,                                                                       \
        (.tiles = {KERNEL_FIELDS tiles_}, .silu_error = 4.0f, HONEST_RELEASES, KERNEL_FIELDS fields))

#define KERNEL_OF_PIECES(symbol, title, text, operands, fields, ...)                                         \
    TILED_KERNEL(symbol, title, text, operands, (.rows = 4, .columns = 8, .depth = 4), fields, __VA_ARGS__)

/* A kernel with one wrong piece. */
#define WRONG_KERNEL(symbol, title, text, operands, ...)                                                     \
    KERNEL_OF_PIECES(symbol, title, text, operands, (.route = NULL), __VA_ARGS__)

/* The same with tiles of its own. */
#define WRONG_TILES(symbol, title, text, operands, tiles_, ...)                                              \
    TILED_KERNEL(symbol, title, text, operands, tiles_, (.route = NULL), __VA_ARGS__)

/* Defines the object that a plugin exports, from a list of pointers to kernels. */
#define EXPORT_KERNELS(...)                                                                                  \
    static const adamoe_kernel *const exported_kernels[] = {__VA_ARGS__};                                    \
    const adamoe_plugin adamoe_plugin_export = {                                                             \
        .abi = ADAMOE_ABI,                                                                                   \
        .struct_size = sizeof(adamoe_plugin),                                                                \
        .count = sizeof exported_kernels / sizeof *exported_kernels,                                         \
        .kernel = exported_kernels,                                                                          \
    }

#endif
