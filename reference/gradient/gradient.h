/*
 * Gradients of the parts of a model, in double: product, RMSNorm, attention, router, experts, balance losses
 * and cross-entropy. A part's backward function takes the part's input and the gradient of the loss with
 * respect to its output, computes again what it needs in between, and adds to the gradients it is given;
 * where one of these is NULL it is not wanted, a frozen weight for one. Beside it stands the part's value in
 * double, for the forward functions round to float32 between the parts and a finite difference would see
 * little else.
 *
 * The whole model is in gradient_model.h. Left out: optimisers, and gradients through the selection of
 * experts, which is a constant here as it is in the paper's training.
 *
 * Notation: dy stands for the derivative of the loss with respect to y.
 */
#ifndef ADAMOE_GRADIENT_GRADIENT_H
#define ADAMOE_GRADIENT_GRADIENT_H

#include "layer.h"
#include "balance_loss.h"
#include "model.h"

/* ---------------------------------------------------------------------------------------------- gradients */

/* Arrays in the shapes of the matrices of the same names. */
typedef struct adamoe_attention_gradient {
    double *q, *k, *v, *o;
    double *q_bias, *k_bias, *v_bias, *o_bias, *q_norm, *k_norm; /* where the architecture has them */
} adamoe_attention_gradient;

typedef struct adamoe_expert_gradient {
    double *w1, *w3, *w2;
} adamoe_expert_gradient;

typedef struct adamoe_shared_gradient {
    adamoe_expert_gradient expert;
    double *gate;
} adamoe_shared_gradient;

typedef struct adamoe_layer_gradient {
    double *gate, *gate2;
    adamoe_expert_gradient *expert; /* [n] */
} adamoe_layer_gradient;

/* --------------------------------------------------------------------------------------- product and norm */

/* Of y = W x: dx += W^T dy, dW += dy x^T. x, dx are [columns], dy is [rows]; y is adamoe_matrix_vector. */
void adamoe_product_backward(const adamoe_matrix *matrix, const double *x, const double *dy, double *dx,
                             double *dmatrix);

/* One position of RMSNorm, y = x / sqrt(mean(x^2) + eps) * gain: its value, then its gradient. All arrays are
 * [columns of gain]. */
void adamoe_rms_norm_double(const adamoe_matrix *gain, double eps, const double *x, double *y);
void adamoe_rms_norm_backward(const adamoe_matrix *gain, double eps, const double *x, const double *dy,
                              double *dx, double *dgain);

/* ---------------------------------------------------------------------------------------------- attention */

/* Attention of one whole sequence, projections and rotary embedding included (reference/README.md section 8):
 * y from x, both [count, hidden_size], then the gradient. Errors: memory. */
adamoe_status adamoe_attention_double(const adamoe_config *config, const adamoe_attention *attention,
                                      const double *x, size_t count, double *y);
adamoe_status adamoe_attention_backward(const adamoe_config *config, const adamoe_attention *attention,
                                        const double *x, size_t count, const double *dy, double *dx,
                                        const adamoe_attention_gradient *gradient);

/* The part between the projections, for callers that compute those themselves: rotates query [count, heads,
 * head_dim] and key [count, key_value_heads, head_dim] in place and writes mixed, shaped as query. Errors:
 * memory. */
adamoe_status adamoe_attention_mix_double(const adamoe_config *config, double *query, double *key,
                                          double *value, size_t count, double *mixed);

/* ------------------------------------------------------------------------------------------------- router */

/* One token's logits [n + m] in double; 0 for a layer without gate. */
void adamoe_router_logits_double(const adamoe_layer *layer, const double *x, double *logits);
void adamoe_router_backward(const adamoe_layer *layer, const double *x, const double *dlogits, double *dx,
                            const adamoe_layer_gradient *gradient);

/* What one token's logits become for a given selection (reference/README.md section 2): weight[j] belongs to
 * id[j], 0 for a null expert. */
typedef struct adamoe_token_weights {
    double *probability; /* [n + m] the softmax */
    double *weight;      /* [k] */
    double self;         /* the weight of identity experts; 0 for other kinds */
} adamoe_token_weights;

/* n and m are the layer's, logits and dlogits are [n + m], id is [k]. `derivative` holds the derivatives of
 * the loss with respect to the three values; those of the weights of null experts are not read. */
void adamoe_token_weights_double(adamoe_rule rule, size_t experts, size_t null_experts, const double *logits,
                                 const uint32_t *id, adamoe_token_weights *out);
void adamoe_token_weights_backward(adamoe_rule rule, size_t experts, size_t null_experts,
                                   const double *logits, const uint32_t *id,
                                   const adamoe_token_weights *derivative, double *dlogits);

/* ------------------------------------------------------------------------------------------------ experts */

/* E(x) = w2 · (silu(w1 · x) * (w3 · x)); its value is adamoe_expert_forward with adamoe_float64_operands.
 * work is [adamoe_expert_backward_work]. */
extern const adamoe_operands adamoe_float64_operands;
size_t adamoe_expert_backward_work(size_t hidden_size, size_t intermediate_size);
void adamoe_expert_backward(const adamoe_expert *expert, const double *x, const double *dy, double *dx,
                            const adamoe_expert_gradient *gradient, double *work);

/* The weights of a plan in double, in place of those that it carries in float32; or their gradients. */
typedef struct adamoe_plan_weights {
    double *combine;    /* [places] */
    double *self_scale; /* [tokens] or NULL */
} adamoe_plan_weights;

/* y[t] = sum over the places i of token t of combine[i] * E(dispatch * x) + self_scale[t] * x[t], as
 * adamoe_layer_forward has it; the plan gives the order and `dispatch`, which is a constant. x, dx are
 * [inputs, hidden_size], y, dy [tokens, hidden_size]. `expert` [n] and `derivative` may be NULL. work is
 * [adamoe_plan_backward_work], which serves both. */
size_t adamoe_plan_backward_work(const adamoe_layer *layer);
void adamoe_plan_double(const adamoe_layer *layer, const double *x, const adamoe_plan *plan,
                        const adamoe_plan_weights *weights, double *y, double *work);
void adamoe_plan_backward(const adamoe_layer *layer, const double *x, const adamoe_plan *plan,
                          const adamoe_plan_weights *weights, const double *dy, double *dx,
                          const adamoe_expert_gradient *expert, const adamoe_plan_weights *derivative,
                          double *work);

/* The shared expert of a block (reference/README.md section 8.2): y += sigmoid(shared_gate . x) * E(x) for one
 * token, then the gradient. All are [hidden_size]; work is [adamoe_shared_work], which serves both. */
size_t adamoe_shared_work(const adamoe_config *config);
void adamoe_shared_double(const adamoe_block *block, const double *x, double *y, double *work);
void adamoe_shared_backward(const adamoe_block *block, const double *x, const double *dy, double *dx,
                            const adamoe_shared_gradient *gradient, double *work);

/* adamoe_plan_backward as the functions of adamoe_kernel, from floats to floats. */
size_t adamoe_reference_backward_work_bytes(const adamoe_backward_call *call, uint32_t threads);
adamoe_status adamoe_reference_backward(const adamoe_run *run, const adamoe_backward_call *call);

/* The whole layer, router included. `routing` is the selection, and y and its gradient are computed from x
 * with that selection. slope [n + m] or NULL is the derivative of the loss with respect to p[t, i], the same
 * for every token t: what the balance loss adds (adamoe_balance_slope). probability_sums [n + m] or NULL
 * receives the sums of p over the tokens. Errors: as adamoe_plan_create. */
adamoe_status adamoe_layer_double(const adamoe_layer *layer, const adamoe_routing *routing, const double *x,
                                  double *y, double *probability_sums);
adamoe_status adamoe_layer_backward(const adamoe_layer *layer, const adamoe_routing *routing, const double *x,
                                    const double *slope, const double *dy, double *dx,
                                    const adamoe_layer_gradient *gradient);

/* ------------------------------------------------------------------------------------------- balance loss */

typedef enum adamoe_balance_form {
    ADAMOE_BALANCE_NULL_AVERAGED = 0, /* the paper's equation 6 */
    ADAMOE_BALANCE_SWITCH = 1,
    ADAMOE_BALANCE_RELEASED = 2,
} adamoe_balance_form;

/* The balance loss is linear in the probabilities, for f is a constant to its gradient (reference/README.md
 * section 3):
 *   loss = sum over layers l, counted tokens t and experts i of slope[l, i] * p[l, t, i],
 * so that slope[l, i] is its derivative with respect to p[l, t, i] of every counted token, and that of the
 * others is 0. slope is [layers, n + m]; alpha is a factor of the whole; the rest is as in
 * adamoe_model_balance_loss. */
void adamoe_balance_slope(const adamoe_routing *const *routing, size_t layers, adamoe_balance_form form,
                          adamoe_balance_pooling pooling, const bool *counted, double alpha, double *slope);

/* ------------------------------------------------------------------------------------------ cross-entropy */

/* -log softmax(head · hidden)[target] of one position; the gradient of scale times that. hidden, dhidden are
 * [hidden_size]; work is [hidden_size + vocab_size]. */
double adamoe_cross_entropy_double(const adamoe_matrix *head, const double *hidden, uint32_t target,
                                   double *work);
void adamoe_cross_entropy_backward(const adamoe_matrix *head, const double *hidden, uint32_t target,
                                   double scale, double *dhidden, double *dhead, double *work);

#endif
