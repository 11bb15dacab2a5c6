/*
 * What the files of the backward pass share; not for others.
 *
 * Rows are the tokens of all sequences in their order; T is their number, d the hidden size. A layer keeps
 * what its way back needs: residuals before attention and before the experts, rotated queries and keys,
 * values, mixed values, w1 x and w3 x of every row of its plan, its routing and its plan.
 */
#ifndef ADAMOE_TRAIN_MODEL_BACKPROP_PARTS_H
#define ADAMOE_TRAIN_MODEL_BACKPROP_PARTS_H

#include "model/plan_build.h"
#include "model/route.h"
#include "model/rows.h"
#include "train/model/backprop.h"
#include "train/batch_memory.h"
#include "train/experts.h"

typedef struct backprop_layer {
    float *attention_input;     /* [T, d] */
    float *query, *key, *value; /* [T, heads * head_dim], [T, key_value_heads * head_dim] */
    float *raw_query, *raw_key; /* query and key before their norm; the same arrays where they have none */
    unsigned char *query_cut, *key_cut,
        *value_cut;                 /* as those, where they are cut: what was beyond the limit */
    float *mixed;                   /* [T, heads * head_dim], times the residual multiplier */
    float *experts_input;           /* [T, d] */
    float *gate, *up;               /* [rows of the plan, intermediate_size] w1 x and w3 x */
    float *shared_gate, *shared_up; /* [T, shared_intermediate_size] the same of the shared expert */
    float *shared_scale; /* [T] its weight: sigmoid(shared_gate . x), times the residual multiplier */
    adamoe_routing_space routing;
    adamoe_plan_space plan;
    adamoe_routed_layer routed; /* in place of both, where there is a router */
} backprop_layer;

/* Arrays that serve one layer after the other. */
typedef struct backprop_arrays {
    float *output;                 /* [T, d] the residual after the last layer */
    float *normed;                 /* [T, d] the norm at work */
    float *dresidual, *dnormed;    /* [T, d] */
    float *inverse_rms;            /* [T, heads] of the norm at work */
    float *dquery, *dkey, *dvalue; /* as query, key, value */
    float *draw;                   /* [T, the wider of query and key] before their norm */
    float *dmixed;                 /* as mixed */
    float *hidden, *dhidden;       /* [rows, intermediate_size], or [T, shared_intermediate_size] */
    float *slots;                  /* [rows or T, d] what the experts give for each row */
    float *dweight;                /* [rows] derivatives of the weights, in the order of the plan's places */
    float *dshared;                /* [T, d] what flows back through the shared expert */
    float *dshared_scale;          /* [T] of its weights, then of the logits of its gate */
    uint32_t *identity;            /* [T + 1] 0, 1, 2, ...: the plan of the shared expert */
    float *dlogits;                /* [T, n + m] of the router */
    float *dself;                  /* [T] the derivative of the weight of identity experts */
    float *cosine, *sine, *minus_sine;   /* [longest, head_dim / 2] */
    float *shares;                       /* [threads, 2, longest] of attention */
    float *final_normed, *dfinal_normed; /* [targets, d] */
    float *head_logits;                  /* [head_rows, vocab_size] */
    double *token_loss;                  /* [targets] */
    size_t *position;                    /* [T] in its sequence */
    size_t *number;                      /* [T] 0, 1, 2, ...: the rows of keys as a list */
    uint32_t *wanted;                    /* [T] rows with a target, the first `targets` */
    adamoe_attention_span *span;         /* [sequences] */
    void *work;                          /* of the forward attention */
} backprop_arrays;

struct adamoe_backprop {
    const adamoe_parameters *parameters;
    const adamoe_config *config;
    const adamoe_team *team;
    unsigned trained;
    const adamoe_vector_ops *ops;
    const adamoe_train_ops *train_ops;
    adamoe_gemm_space *gemm_space;
    adamoe_gemm *gemm;                             /* [3 n + 8] the products of one call */
    adamoe_float_expert *expert;                   /* [n] of the layer at work */
    adamoe_float_expert_gradient *expert_gradient; /* [n] the same */
    backprop_layer *layer;                         /* [layers] */
    const adamoe_routing **routing;                /* [layers] */
    double *slope, *probability_sums;              /* [layers, n + m] */
    adamoe_model_router *router;                   /* NULL: the config's rule */
    double router_alpha;                           /* the objective's, for its losses */
    adamoe_attention_call call; /* of the forward attention; its arrays change from layer to layer */

    /* The batch at work. */
    const adamoe_training_batch *batch;
    size_t tokens, targets, longest;
    size_t head_rows;  /* positions whose logits are held at a time */
    size_t work_bytes; /* of arrays.work */
    float *gradient;   /* NULL: none is wanted */

    /* One block of memory, cut into arrays anew for each batch. */
    adamoe_batch_memory memory;
    backprop_arrays at;
};

/* Cuts the memory into arrays for the batch; takes more where there is too little. */
adamoe_status backprop_lay_out(adamoe_backprop *b);

/* Runs compute for each row below `rows`; a row is computed by one thread. */
typedef void backprop_row(const adamoe_backprop *b, size_t row, const void *argument);
void backprop_each_row(const adamoe_backprop *b, size_t rows, backprop_row *compute, const void *argument);

/* A layer's weights, views of the parameters. */
static inline const adamoe_block *backprop_block(const adamoe_backprop *b, size_t layer)
{
    return &b->parameters->model.block[layer];
}

/* The gradient of a matrix of the parameters' model, NULL where it is not wanted, or the model has no such matrix. */
float *backprop_gradient(const adamoe_backprop *b, unsigned kind, const adamoe_matrix *weight);

/* normed[i] = RMSNorm(x[list[i]]), or of x[i] where the list is NULL. */
void backprop_norm(const adamoe_backprop *b, const adamoe_matrix *gain, const float *x, const uint32_t *list,
                   size_t rows, float *normed);

/* dresidual[list[i]] += through the same norm from dnormed[i]; and the gradient of its gain. */
void backprop_norm_backward(const adamoe_backprop *b, const adamoe_matrix *gain, const float *x,
                            const uint32_t *list, size_t rows, const float *dnormed);

/* What multiplies what attention and experts give: the residual multiplier, or 1. */
static inline float backprop_residual_factor(const adamoe_backprop *b)
{
    return b->config->architecture.multipliers ? (float)b->config->multiplier.residual : 1.0f;
}

/* x [rows, columns] = factor * x, unless the factor is 1. */
void backprop_multiply(const adamoe_backprop *b, float factor, size_t rows, size_t columns, float *x);

/* x [T, columns] += a bias [columns], where the model has it. */
void backprop_add_bias(const adamoe_backprop *b, const adamoe_matrix *bias, float *x);

/* dbias [columns] = the sum of dy [T, columns] over the tokens in ascending order; dbias may be NULL. */
void backprop_bias_backward(const adamoe_backprop *b, const float *dy, size_t columns, float *dbias);

/* x [T, columns] cut to +-clip, and which were beyond; and dout, the derivative of what is cut, becomes that of what
 * was there before. Where the architecture does not cut nothing is done. */
void backprop_cut(const adamoe_backprop *b, size_t columns, float *x, unsigned char *beyond);
void backprop_cut_backward(const adamoe_backprop *b, size_t columns, unsigned char *beyond, float *dout);

/* Queries or keys [T, width] from those before their norm, over as much at a time as the gain is wide; and
 * dout, the derivative of what the norm gives, becomes that of what it reads. Where the architecture has no
 * such norm nothing is done. */
void backprop_head_norm(const adamoe_backprop *b, const adamoe_matrix *gain, const float *raw, size_t width,
                        float *out);
void backprop_head_norm_backward(const adamoe_backprop *b, const adamoe_matrix *gain, const float *raw,
                                 size_t width, float *dout);

/* The shared expert, where there is one. Forward, from `normed`: next += what it gives. Backward, from
 * dresidual: dnormed += through it. */
void backprop_shared_forward(adamoe_backprop *b, size_t layer, float *next);
void backprop_shared_backward(adamoe_backprop *b, size_t layer);

/* The parts of a layer. Forward: `next` is the residual after it. Backward: dresidual, the derivative of what
 * the part gives, becomes that of what it reads. */
adamoe_status backprop_attention_forward(adamoe_backprop *b, size_t layer);
void backprop_attention_backward(adamoe_backprop *b, size_t layer);
adamoe_status backprop_experts_forward(adamoe_backprop *b, size_t layer, float *next);
adamoe_status backprop_experts_backward(adamoe_backprop *b, size_t layer);

/* Routing and plan of a layer from `normed`; dnormed += through the router, from dweight, dself and slope. */
adamoe_status backprop_route(adamoe_backprop *b, size_t layer);
void backprop_router_backward(adamoe_backprop *b, size_t layer);

/* The plan of a layer, whoever made it. */
const adamoe_plan *backprop_plan(const adamoe_backprop *b, size_t layer);

/* The same by a router of the table: the plan; the sum of all losses; dnormed += through the router; its state after
 * the batch. */
adamoe_status backprop_route_by_router(adamoe_backprop *b, size_t layer);
double backprop_router_losses(adamoe_backprop *b, double alpha);
adamoe_status backprop_routed_backward(adamoe_backprop *b, size_t layer);
void backprop_advance_router(adamoe_backprop *b);

/* Head and cross-entropy at the tokens with a target: their mean loss; where a gradient is wanted, that of
 * head and final norm, and dresidual, which is 0 at all other tokens. */
adamoe_status backprop_head(adamoe_backprop *b, double *cross_entropy);

#endif
