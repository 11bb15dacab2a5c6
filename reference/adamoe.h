/*
 * The contract between routers, plans and kernels of a token-adaptive Mixture-of-Experts layer.
 *
 * A router turns hidden states into a routing: for each token, the ids of the k selected experts, true and
 * null. The plan turns a routing round, by expert; a zero null expert has no row in it, and that is where
 * saved FLOPs become saved time. A kernel computes a plan. A shared object that includes only this header can
 * bring kernels of its own (adamoe_plugin_export).
 *
 * Left out: how a routing is made (reference/router.h), whole models (reference/model.h), files (datasets/).
 *
 * Conventions. Matrices are row-major without gaps. Sizes are counts of elements unless a name says bytes.
 * The caller owns what it passes in; what an _create or prepare function returns is given back to the
 * matching _free or release function. No function keeps a global; a const object may be used by many threads
 * at once.
 */
#ifndef ADAMOE_H
#define ADAMOE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the structures below. It changes when a field changes its meaning or its place; fields that are
 * added at the end of adamoe_kernel do not change it, because struct_size tells which of them are there. */
#define ADAMOE_ABI 1u

/* ------------------------------------------------------------------------------------------------ status */

/* What went wrong, in the numbers that the program exits with. */
typedef enum adamoe_code {
    ADAMOE_OK = 0,
    ADAMOE_DIFFERENCE = 1,    /* a check failed */
    ADAMOE_BAD_INPUT = 2,     /* a file or an argument is wrong */
    ADAMOE_NOT_SUPPORTED = 3, /* this machine cannot run what was asked for */
    ADAMOE_ENVIRONMENT = 4,   /* memory, disk, permission */
} adamoe_code;

/* The result of every function that can fail. The message is empty on success; otherwise it names the file,
 * tensor, token or option at fault, then the reason. It is truncated to its field, never unterminated. */
typedef struct adamoe_status {
    adamoe_code code;
    char message[508];
} adamoe_status;

static inline adamoe_status adamoe_ok(void)
{
    adamoe_status status;
    status.code = ADAMOE_OK;
    status.message[0] = '\0';
    return status;
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline adamoe_status
adamoe_error(adamoe_code code, const char *format, ...)
{
    adamoe_status status;
    status.code = code;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(status.message, sizeof status.message, format, arguments);
    va_end(arguments);
    return status;
}

/* Returns the status from the calling function unless it is ADAMOE_OK. */
#define ADAMOE_TRY(call)                                                                                     \
    do {                                                                                                     \
        const adamoe_status adamoe_try_status = (call);                                                      \
        if (adamoe_try_status.code != ADAMOE_OK) {                                                           \
            return adamoe_try_status;                                                                        \
        }                                                                                                    \
    } while (0)

/* ------------------------------------------------------------------------------------- weights of a layer */

/* How a number is stored. */
typedef enum adamoe_dtype {
    ADAMOE_F32 = 0,
    ADAMOE_F16 = 1,
    ADAMOE_BF16 = 2,
    ADAMOE_I64 = 3,
} adamoe_dtype;

/* A view of a matrix [rows, columns]. The data may be unaligned: it can point into a mapped file. */
typedef struct adamoe_matrix {
    const void *data;
    adamoe_dtype dtype;
    size_t rows, columns;
} adamoe_matrix;

/* One SwiGLU expert, E(x) = w2 · (silu(w1 · x) * (w3 · x)). */
typedef struct adamoe_expert {
    adamoe_matrix w1; /* [intermediate_size, hidden_size] */
    adamoe_matrix w3; /* [intermediate_size, hidden_size] */
    adamoe_matrix w2; /* [hidden_size, intermediate_size] */
} adamoe_expert;

/* The expert layer of a model: n true experts, m null experts, and the router's rows for both.
 * A dense feed-forward layer has one expert, no null expert and a gate without rows. */
typedef struct adamoe_layer {
    size_t hidden_size, intermediate_size;
    size_t experts;              /* n, at least 1 */
    size_t null_experts;         /* m, may be 0 */
    adamoe_matrix gate;          /* [n, hidden_size], or [0, hidden_size] for a dense layer */
    adamoe_matrix gate2;         /* [m, hidden_size] */
    const adamoe_expert *expert; /* [n] */
} adamoe_layer;

/* ------------------------------------------------------------------------------------------------ routing */

/* Which selected experts the weights are normalised over (the paper's section 3.4). */
typedef enum adamoe_norm {
    ADAMOE_NORM_TRUE = 0,  /* the selected true experts: AdaMoE's choice */
    ADAMOE_NORM_ALL = 1,   /* all selected experts, true and null */
    ADAMOE_NORM_NONE = 2,  /* not at all: the softmax over all n + m */
    ADAMOE_NORM_EVERY = 3, /* every true expert, selected or not: NONE before there were null experts */
    ADAMOE_NORMS,          /* how many there are; names and equations: reference/router.c */
} adamoe_norm;

/* What a null expert returns. */
typedef enum adamoe_null_kind {
    ADAMOE_NULL_ZERO = 0,     /* 0 */
    ADAMOE_NULL_IDENTITY = 1, /* its input, times its probability */
    ADAMOE_NULL_KINDS,        /* how many there are */
} adamoe_null_kind;

/* How a routing is made from logits. */
typedef struct adamoe_rule {
    size_t top_k; /* 1 .. n + m */
    adamoe_norm norm;
    adamoe_null_kind null_kind;
} adamoe_rule;

/* The choice of experts for each token. Ids 0 .. n-1 are true experts, n .. n+m-1 are null experts. */
typedef struct adamoe_routing {
    size_t tokens, experts, null_experts; /* T, n, m */
    adamoe_rule rule;
    uint32_t *id;         /* [T, k]   by descending logit; among equal logits the lower id first */
    float *weight;        /* [T, k]   what the expert's output is multiplied by; 0 for a null expert */
    float *probability;   /* [T, k]   the softmax over all n + m of the selected experts */
    float *logits;        /* [T, n+m] */
    float *probabilities; /* [T, n+m] softmax of the logits, for the balance losses */
} adamoe_routing;

/* --------------------------------------------------------------------------------------------------- plan */

/* A routing by expert and by token, both in compressed rows. All arrays are read-only to a kernel.
 *
 * combine belongs to a place in a token's list, not to a row: a slot of Soft MoE is one row whose output goes
 * to many tokens, to each with another weight. A plan of a routing has every row in one list. The rows of a
 * list ascend, and so do their experts. self_scale takes x[t] for token t, so where it is given inputs equals
 * tokens. */
typedef struct adamoe_plan {
    size_t tokens;                /* rows of y */
    size_t inputs;                /* rows of x: tokens, or slots for Soft MoE */
    size_t rows;                  /* (input, true expert) pairs that are computed */
    size_t experts;               /* n */
    const uint32_t *offset;       /* [experts+1] rows of expert e are offset[e] .. offset[e+1]-1 */
    const uint32_t *input;        /* [rows]      which row of x it reads */
    const float *dispatch;        /* [rows] or NULL: scales the input */
    const uint32_t *token_offset; /* [tokens+1]  places of token t are token_offset[t] .. [t+1]-1 */
    const uint32_t *token_row;    /* [token_offset[tokens]] the row at a place, in the order of summation */
    const float *combine;         /* [token_offset[tokens]] what that row's output is scaled by there */
    const float *self_scale;      /* [tokens] or NULL: y += self_scale * x, the weight of identity experts */
} adamoe_plan;

/* ------------------------------------------------------------------------------------------------- kernel */

/* How a kernel rounds an operand or accumulates a sum; the reference imitates it when
 * it judges the kernel. */
typedef enum adamoe_arithmetic {
    ADAMOE_FLOAT32 = 0,  /* as stored; as accumulation: fused multiply-add in float32 */
    ADAMOE_BFLOAT16 = 1, /* rounded to nearest even */
    ADAMOE_INT8 = 2,     /* symmetric, scale = max(abs) / 127 per token, or per output channel of a weight */
    ADAMOE_INT32 = 3,    /* accumulation only */
    ADAMOE_FLOAT64 = 4,  /* accumulation only: the reference */
} adamoe_arithmetic;

/* What a kernel promises about the bits of its result; a bit set is a promise that `adamoe check` tests. */
enum {
    ADAMOE_SAME_BITS_RUNS = 1u << 0,      /* from run to run */
    ADAMOE_SAME_BITS_THREADS = 1u << 1,   /* for any number of threads */
    ADAMOE_SAME_BITS_BATCH = 1u << 2,     /* for a token, whatever its batch-mates */
    ADAMOE_SAME_BITS_PLACEMENT = 1u << 3, /* for any placement of weights and threads */
};

/* Services that the program gives to a kernel. `context` is the host's own. */
typedef struct adamoe_host {
    void *context;
    /* At least `bytes` bytes, aligned to `alignment` (a power of two), or NULL. */
    void *(*allocate)(void *context, size_t bytes, size_t alignment);
    void (*release)(void *context, void *memory);
    /* A line for a person; may be NULL. */
    void (*log)(void *context, const char *message);
    /* The same as `allocate` on one node of the placement, 0 .. nodes-1, or page by page in turn over all of
     * them for ADAMOE_ALL_NODES; given back by `release`. May be NULL: then `allocate` serves. */
    void *(*allocate_on)(void *context, size_t bytes, size_t alignment, uint32_t node);
} adamoe_host;

#define ADAMOE_ALL_NODES UINT32_MAX

/* Where weights and threads live. */
typedef enum adamoe_numa_policy {
    ADAMOE_NUMA_LOCAL = 0,      /* wherever the preparing thread is */
    ADAMOE_NUMA_INTERLEAVE = 1, /* pages in turn over all nodes */
    ADAMOE_NUMA_EXPERTS = 2,    /* an expert lives on one node, and its rows are computed there */
    ADAMOE_NUMA_SPLIT = 3,      /* w1 and w3 by rows, w2 by rows: each node holds a part of every expert */
} adamoe_numa_policy;

typedef struct adamoe_placement {
    adamoe_numa_policy policy;
    uint32_t nodes;              /* at least 1 */
    uint32_t threads;            /* at least 1 */
    const uint32_t *thread_node; /* [threads] the node of each thread, or NULL: all on node 0 */
} adamoe_placement;

/* A team of threads. `run` calls task(context, i, thread) once for each i < tasks, thread < threads, in any
 * order and from any of its threads, and returns when all calls have returned. It is not reentrant: no task
 * runs its own team, and one thread at a time runs a team. */
typedef struct adamoe_team {
    void *state;
    uint32_t threads;
    void (*run)(void *state, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                void *context);
} adamoe_team;

/* What a kernel may use during one call: it starts no threads, and takes no memory that grows with the call
 * but this. What its library needs for a number of rows that was not met before, compiled code for one, it
 * may create and keep with the prepared object. */
typedef struct adamoe_run {
    const adamoe_team *team;
    void *work; /* work_bytes bytes, aligned to 64, with undefined content */
    size_t work_bytes;
    double *stage_seconds; /* [ADAMOE_STAGES] or NULL: a kernel that knows its stages adds to each */
} adamoe_run;

/* The stages of adamoe_kernel.experts: w1, w3 and silu; w2; the weighted sum over a token's rows. What does
 * not belong to one of them (a gather, a quantisation) is part of the one that needs it. */
enum { ADAMOE_STAGE_UP, ADAMOE_STAGE_DOWN, ADAMOE_STAGE_COMBINE, ADAMOE_STAGES };

/* Attention of one layer over a batch of sequences that share prefixes. A span is a run of tokens that
 * begins a sequence, or continues the whole of an earlier span, its parent. Query i of a span stands at
 * position start + i of its sequence; it sees the key at position j of that sequence if 0 <= start + i
 * - j < window. */
#define ADAMOE_NO_PARENT SIZE_MAX

typedef struct adamoe_attention_span {
    size_t first_query; /* row of `query` and `mixed` */
    size_t first_key;   /* row of `key` and `value` */
    size_t start;       /* position of its first token: the parent's start + count, or 0 without a parent */
    size_t count;
    size_t parent; /* index of an earlier span, or ADAMOE_NO_PARENT */
    size_t skip;   /* the first so many of its tokens have keys but no query: they came in an earlier call */
} adamoe_attention_span;

typedef struct adamoe_attention_call {
    size_t heads, head_dim;
    size_t key_value_heads; /* query head h uses key-value head h * key_value_heads / heads */
    size_t window;          /* SIZE_MAX: every earlier key is seen */
    size_t spans;
    const adamoe_attention_span *span; /* [spans] */
    const float *query;       /* [queries, heads, head_dim], rotated; a span has count - skip of them */
    const float *key, *value; /* [keys, key_value_heads, head_dim]; keys are rotated */
    float *mixed;             /* [queries, heads, head_dim] softmax(query . key / sqrt(head_dim)) . value */
} adamoe_attention_call;

/* An expert's matrices as training keeps them, in float32 and in the shapes of adamoe_expert; and where the
 * derivatives of the loss with respect to them go. Row-major without gaps, aligned as floats are. */
typedef struct adamoe_float_expert {
    const float *w1, *w3, *w2;
} adamoe_float_expert;

typedef struct adamoe_float_expert_gradient {
    float *w1, *w3, *w2;
} adamoe_float_expert_gradient;

/* The gradient of the experts of one layer. dy stands for the derivative of the loss with respect to y; with
 *   g = w1 x,  u = w3 x,  h = silu(g) * u,  y[t] = sum over the places i of token t of combine[i] * w2 h
 *                                                  + self_scale[t] * x[t]
 * a row of token t at place i, with c = combine[i], gives
 *   dcombine[i] = dy[t] . (w2 h),           dself_scale[t] = dy[t] . x[t],
 *   dh = c * w2^T dy[t],                    dg = dh * u * silu'(g),  du = dh * silu(g),
 *   dw2 += c * dy[t] h^T,                   dw1 += dg x[t]^T,        dw3 += du x[t]^T,
 *   dx[t] += w1^T dg + w3^T du,             and once dx[t] += self_scale[t] * dy[t].
 * The sums begin at +0: every element of every output is written, whatever it held before. So the matrices of
 * an expert without rows get +0, and so does dx of a token that selected zero null experts alone; what is not
 * finite in x or dy of a token shows in what that token has a part in, and nowhere else. combine and self_scale
 * are any finite floats: with a weight of 0, dcombine is what it is with any other.
 *
 * The plan is one of a routing: inputs equals tokens, dispatch is NULL, and each row stands in one list, that
 * of the token that it reads. All arrays are aligned as floats are, no more; outputs overlap nothing. */
typedef struct adamoe_backward_call {
    size_t hidden_size, intermediate_size;
    const adamoe_plan *plan;
    const adamoe_float_expert *expert; /* [plan->experts] */
    const float *x, *dy;               /* [tokens, hidden_size] */
    /* outputs */
    float *dx;                                   /* [tokens, hidden_size] */
    const adamoe_float_expert_gradient *dexpert; /* [plan->experts] */
    float *dcombine;                             /* [token_offset[tokens]] */
    float *dself_scale;                          /* [tokens], or NULL where the plan has no self_scale */
} adamoe_backward_call;

/* Sizes of the blocks that a kernel computes in, so that a check can try sizes below, at and above each; 0
 * where it has none. */
typedef struct adamoe_tiles {
    uint32_t rows;    /* tokens of one expert */
    uint32_t columns; /* outputs of one product */
    uint32_t depth;   /* terms of one sum */
} adamoe_tiles;

/* Weights in a kernel's own layout. Each kernel defines these structures for itself. One call at a time works
 * on a prepared object; calls on different ones may run at once, each with a team of its own. */
typedef struct adamoe_prepared adamoe_prepared;
typedef struct adamoe_prepared_matrix adamoe_prepared_matrix;

/* One way to compute a plan. */
typedef struct adamoe_kernel {
    uint32_t abi;         /* ADAMOE_ABI */
    uint32_t struct_size; /* sizeof(adamoe_kernel) as the kernel was compiled */
    uint32_t guarantees;  /* ADAMOE_SAME_BITS_... */
    const char *name;     /* "reference", "onednn-f32": lower case, no blanks */
    const char *summary;  /* one line for a person */

    adamoe_arithmetic x, h;       /* the input of w1 and w3; the input of w2 */
    adamoe_arithmetic weight;     /* w1, w3 and w2 */
    adamoe_arithmetic accumulate; /* every sum */
    float silu_error;             /* the largest relative error of silu(z) as computed, in units of 2^-24 */

    /* False where the machine cannot run it; then *why_not is a static text. */
    bool (*supported)(const char **why_not);

    /* Packs and places the weights of a layer once. The data that the matrices point to must outlive *out unless
     * the kernel copies it; callers assume that it does not. So must the structure `host`, which `release` uses.
     * What else is given by address ends when prepare has returned: the layer and its array of experts, the
     * placement and its thread_node. A kernel copies what it needs of them.
     *
     * Where the host refuses memory, prepare returns ADAMOE_ENVIRONMENT; on any error it has given back what it
     * took, and *out is of no use. `release` takes back what prepare made; it accepts NULL, and so does
     * release_matrix. All of this holds for prepare_matrix and its matrix too.
     *
     * No function of a kernel leaves the process otherwise than it found it: threads, descriptors and memory do
     * not grow from call to call; handlers and masks of signals, affinity, locale, working folder, umask,
     * environment and limits are what they were, and so are the modes and the registers of the processor
     * (MXCSR, x87, vzeroupper, emms, tiles), in each thread of the team. */
    adamoe_status (*prepare)(const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out);
    void (*release)(adamoe_prepared *prepared);

    /* Bytes of workspace that `experts` needs for a plan of these sizes, for any routing, with a team of at
     * most the placement's number of threads: callers never bring a larger one. */
    size_t (*work_bytes)(const adamoe_prepared *prepared, size_t rows, size_t tokens);

    /* y[t] = sum over the places i of token t, in ascending order, of combine[i] * E_e(dispatch[r] *
     * x[input[r]]) with row r = token_row[i] of expert e, plus self_scale[t] * x[t]. x is [inputs,
     * hidden_size], y [tokens, hidden_size]; they do not overlap. Writes every row of y, those of tokens
     * without a row too. x and y are aligned as floats are, no more.
     *
     * Values. combine, dispatch and self_scale are any finite floats: negative, denormal and 0 too. A weight
     * of 0 is a factor like any other, since 0 times NaN is NaN. Denormal results are not taken for 0. The y of
     * a token without a place is +0 where there is no self_scale, whatever its x is; the sign of any other zero
     * is free. An x that is not finite leaves no finite number in the y of the tokens that sum a row of it, and
     * shows in no other; only int8 operands, which have no such value, may lose it. Where a product is added to
     * a sum it may be rounded first or not: the bound covers both. silu(z) is within silu_error of its value for
     * every z: it need not be z for large z, and may be 0 where exp(-z) overflows. */
    adamoe_status (*experts)(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y);

    /* The dense product, for router, attention and head; all four are NULL where a kernel has none.
     * y[i, r] = sum over c of x[i, c] * matrix[r, c]; x is [count, columns], y is [count, rows], both aligned
     * as floats are. Equal rows
     * of the matrix give bit-equal columns of y wherever they stand. */
    adamoe_status (*prepare_matrix)(const adamoe_host *host, const adamoe_matrix *matrix,
                                    const adamoe_placement *placement, adamoe_prepared_matrix **out);
    void (*release_matrix)(adamoe_prepared_matrix *prepared);
    size_t (*matrix_work_bytes)(const adamoe_prepared_matrix *prepared, size_t count);
    adamoe_status (*multiply)(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                              size_t count, float *y);

    /* What code computes the products, where a library chooses it: of `prepared`, or on this machine in
     * general where that is NULL. Writes a zero-terminated text. May be NULL: the kernel is its own code. */
    void (*implementation)(const adamoe_prepared *prepared, char *text, size_t size);

    adamoe_tiles tiles;

    /* The rest of a model, for a kernel that brings its own; where NULL, the program's serves. */

    /* Selection, weights and probabilities from routing->logits, which are finite: fills all other arrays of
     * `routing`, whose sizes and rule are set, as adamoe_routing_create defines them. Needs no workspace. */
    adamoe_status (*route)(const adamoe_run *run, adamoe_routing *routing);

    /* Fills call->mixed. Of the guarantees, SAME_BITS_BATCH means that a query depends on the keys that it sees
     * alone: on no other query or span of the call, and not on where its sequence is cut into spans, which the
     * batch-mates decide; SAME_BITS_PLACEMENT does not apply here, nor to `route`.
     *
     * What is not finite. A NaN in a query or a key leaves no finite number in `mixed` where a head that uses it
     * sees it, a value that is not finite none in its channel there; what a score that is infinite gives is free.
     * None of it shows elsewhere: in queries that do not see the key, in heads of other key-value heads. */
    size_t (*attention_work_bytes)(const adamoe_attention_call *call, uint32_t threads);
    adamoe_status (*attention)(const adamoe_run *run, const adamoe_attention_call *call);

    /* Training; both are NULL where a kernel has none. Fills the outputs of `call`, in float32 whatever the
     * arithmetic of `experts`, from weights as they are: they change with every step, so that nothing is
     * prepared. It computes again what it needs of the forward pass. Of the guarantees, SAME_BITS_BATCH means
     * that dx, dcombine and dself_scale of a token depend on no other token, and the matrices of an expert on
     * no rows but its own; SAME_BITS_PLACEMENT does not apply. */
    size_t (*backward_work_bytes)(const adamoe_backward_call *call, uint32_t threads);
    adamoe_status (*backward)(const adamoe_run *run, const adamoe_backward_call *call);

    /* The last step of `experts` alone, for a caller whose rows were computed elsewhere, on other machines for one; NULL
     * where a kernel cannot take it apart. With outputs [rows, hidden_size], y[t] = sum over the places i of token t, in
     * ascending order, of combine[i] * outputs[token_row[i]], plus self_scale[t] * x[t]. Of the plan it reads tokens,
     * token_offset, token_row, combine and self_scale, and of x, which may be NULL without self_scale, nothing else.
     * No workspace, no weights; values as in `experts`.
     *
     * It is a promise: let u be what `experts` gives for the same rows, each a token of its own whose one place has the
     * weight 1. Then combine of u has the bits that `experts` has for the plan itself, but for the sign of a zero (an
     * output of -0 is +0 in u, which a weighted product too small for a float may show). So `experts` rounds each row's
     * output to float32, whatever it sums in. */
    adamoe_status (*combine)(const adamoe_run *run, size_t hidden_size, const float *x, const float *outputs,
                             const adamoe_plan *plan, float *y);

    /* What is rounded on the way besides operands: w1 x and w3 x, before silu; w2 h, the output of a row; y, the weighted
     * sum. Each is ADAMOE_FLOAT32, which is 0, so that a kernel compiled without these fields has it, or
     * ADAMOE_BFLOAT16, as engines do whose tensors are bfloat16 from layer to layer. Where there is a self_scale, y may be
     * rounded before self_scale * x is added, after it, or both times. A kernel that rounds y has no `combine`: a sum
     * of rounded sums is no rounded sum. `multiply` has nothing to do with them. */
    adamoe_arithmetic up, down, y;
} adamoe_kernel;

/* The kernels that a shared object brings. It defines one object of this type by the name below. */
typedef struct adamoe_plugin {
    uint32_t abi;         /* ADAMOE_ABI */
    uint32_t struct_size; /* sizeof(adamoe_plugin) */
    size_t count;
    const adamoe_kernel *const *kernel; /* [count] */
} adamoe_plugin;

#if defined(__GNUC__)
#define ADAMOE_EXPORT __attribute__((visibility("default")))
#else
#define ADAMOE_EXPORT
#endif

extern ADAMOE_EXPORT const adamoe_plugin adamoe_plugin_export;

#ifdef __cplusplus
}
#endif
#endif
