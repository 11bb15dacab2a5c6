/*
 * MEMoE (arXiv 2405.19086): reference/README.md section 12.9. Experts beside a frozen feed-forward layer, chosen
 * by token and knowledge anchor.
 *
 * The frozen base has no place in a plan, and gets none: it is a layer of its own (one expert, every token), which
 * no router chooses, and whose sum with the plan's y needs nothing of a kernel. So it is a stage of the layer
 * around the kernel, `after`, and the plan and its ABI stay what they are.
 */
#include "gradient/gradient.h"
#include "layer.h"
#include "routers/parts.h"

#include <stdlib.h>

enum { TOP_K, LAMBDA, ANCHORS, ANCHOR_SIZE };

static const adamoe_router_parameter parameters[] = {
    [TOP_K] = ADAMOE_COUNT("top_k", 1.0, ADAMOE_ANY_COUNT, 1.0),
    [LAMBDA] = {.name = "lambda",
                .kind = ADAMOE_PARAMETER_NUMBER,
                .need = ADAMOE_PARAMETER_REQUIRED,
                .low = -ADAMOE_ANY,
                .high = ADAMOE_ANY},
    [ANCHORS] = ADAMOE_SIZE("anchors"),
    [ANCHOR_SIZE] = ADAMOE_SIZE("anchor_size"),
};

static const char gate_name[] = "block_sparse_moe.gate.weight", anchors_name[] = "router.anchors",
                  id_name[] = "router.anchor_id";

/* R(x) = [x; a], where a is the token's row of the anchors, or 0 for id -1; logits = W R(x). */
static adamoe_status anchored_logits(const adamoe_router_call *call, adamoe_routed *out, double **logits)
{
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts;
    const adamoe_router_tensor *anchors_tensor = adamoe_router_tensor_find(call, anchors_name);
    const size_t width = anchors_tensor == NULL ? 0 : anchors_tensor->matrix.columns;
    double *anchors, *gate;
    adamoe_matrix ids;
    ADAMOE_TRY(adamoe_router_numbers(call, anchors_name, 0, width, out, &anchors));
    ADAMOE_TRY(adamoe_check_size("anchors", call->value[ANCHORS], anchors_tensor->matrix.rows));
    ADAMOE_TRY(adamoe_check_size("anchor_size", call->value[ANCHOR_SIZE], width));
    ADAMOE_TRY(adamoe_router_matrix_of(call, id_name, ADAMOE_I64, 1, S, &ids));
    ADAMOE_TRY(adamoe_router_numbers(call, gate_name, n, d + width, out, &gate));
    ADAMOE_TRY(adamoe_routed_numbers(out, "logits", S, n, logits));
    for (size_t s = 0; s < S; ++s) {
        int64_t id;
        ADAMOE_TRY(adamoe_router_id(&ids, id_name, s, -1, (int64_t)anchors_tensor->matrix.rows, &id));
        for (size_t e = 0; call->logits != NULL && e < n; ++e) {
            (*logits)[s * n + e] = (double)call->logits[s * n + e];
        }
        for (size_t e = 0; call->logits == NULL && e < n; ++e) {
            const double *row = gate + e * (d + width);
            double sum = 0.0;
            for (size_t c = 0; c < d; ++c) {
                sum += row[c] * (double)call->hidden_states[s * d + c];
            }
            for (size_t c = 0; id >= 0 && c < width; ++c) {
                sum += row[d + c] * anchors[(size_t)id * width + c];
            }
            (*logits)[s * n + e] = sum;
        }
    }
    return adamoe_router_check_logits(*logits, S, n);
}

static const char base_w1[] = "mlp.gate_proj.weight", base_w3[] = "mlp.up_proj.weight",
                  base_w2[] = "mlp.down_proj.weight";

/* A SwiGLU layer by the names of a dense model. */
static adamoe_status find_base(const adamoe_router_call *call, adamoe_expert *base)
{
    const size_t d = call->hidden_size;
    const adamoe_router_tensor *gate = adamoe_router_tensor_find(call, base_w1);
    const size_t ff = gate == NULL ? 0 : gate->matrix.rows;
    ADAMOE_TRY(adamoe_router_matrix_of(call, base_w1, ADAMOE_F32, ff, d, &base->w1));
    ADAMOE_TRY(adamoe_router_matrix_of(call, base_w3, ADAMOE_F32, ff, d, &base->w3));
    return adamoe_router_matrix_of(call, base_w2, ADAMOE_F32, d, ff, &base->w2);
}

/* after = base(x). */
static adamoe_status add_base(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, d = call->hidden_size;
    adamoe_expert base;
    double *work, *after;
    ADAMOE_TRY(find_base(call, &base));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, d + adamoe_expert_work(d, base.w1.rows), 1, &work));
    ADAMOE_TRY(adamoe_routed_numbers(out, "after", S, d, &after));
    out->after = calloc(S * d, sizeof *out->after);
    if (out->after == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    double *x = work;
    for (size_t s = 0; s < S; ++s) {
        for (size_t c = 0; c < d; ++c) {
            x[c] = (double)call->hidden_states[s * d + c];
        }
        adamoe_expert_forward(&base, adamoe_float64_operands, x, after + s * d, x + d);
        for (size_t c = 0; c < d; ++c) {
            out->after[s * d + c] = (float)after[s * d + c];
        }
    }
    return adamoe_ok();
}

/* Through the base, which is frozen: to the hidden states alone, unless somebody wants more. */
static adamoe_status base_backward(const adamoe_router_call *call, adamoe_routed *routed,
                                   const adamoe_router_derivative *derivative,
                                   const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, d = call->hidden_size;
    const adamoe_expert_gradient weights = {.w1 = adamoe_gradient_of(call, gradient, base_w1),
                                            .w3 = adamoe_gradient_of(call, gradient, base_w3),
                                            .w2 = adamoe_gradient_of(call, gradient, base_w2)};
    adamoe_expert base;
    double *work;
    ADAMOE_TRY(find_base(call, &base));
    ADAMOE_TRY(
        adamoe_routed_numbers(routed, NULL, 2 * d + adamoe_expert_backward_work(d, base.w1.rows), 1, &work));
    double *x = work, *spare = x + d;
    for (size_t s = 0; s < S; ++s) {
        for (size_t c = 0; c < d; ++c) {
            x[c] = (double)call->hidden_states[s * d + c];
        }
        adamoe_expert_backward(&base, x, derivative->after + s * d,
                               gradient->hidden_states == NULL ? spare : gradient->hidden_states + s * d,
                               &weights, spare + d);
    }
    return adamoe_ok();
}

/* Of l = W [x; a], for one token: the gradients of x and a, where they are wanted, and of W. */
static void anchored_backward(const double *gate, const float *x, const double *a, const double *dlogits,
                              size_t n, size_t d, size_t width, double *dx, double *da, double *dgate)
{
    for (size_t e = 0; e < n; ++e) {
        const double *row = gate + e * (d + width);
        for (size_t c = 0; c < d; ++c) {
            if (dx != NULL) {
                dx[c] += dlogits[e] * row[c];
            }
            if (dgate != NULL) {
                dgate[e * (d + width) + c] += dlogits[e] * (double)x[c];
            }
        }
        for (size_t c = 0; a != NULL && c < width; ++c) {
            if (da != NULL) {
                da[c] += dlogits[e] * row[d + c];
            }
            if (dgate != NULL) {
                dgate[e * (d + width) + d + c] += dlogits[e] * a[c];
            }
        }
    }
}

static adamoe_status logits_backward(const adamoe_router_call *call, const double *dlogits,
                                     adamoe_routed *routed, const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts;
    const size_t width = adamoe_router_tensor_find(call, anchors_name)->matrix.columns;
    double *anchors, *gate, *dx = gradient->hidden_states;
    double *da = adamoe_gradient_of(call, gradient, anchors_name);
    adamoe_matrix ids;
    ADAMOE_TRY(adamoe_router_numbers(call, anchors_name, 0, width, routed, &anchors));
    ADAMOE_TRY(adamoe_router_numbers(call, gate_name, n, d + width, routed, &gate));
    ADAMOE_TRY(adamoe_router_matrix_of(call, id_name, ADAMOE_I64, 1, S, &ids));
    for (size_t s = 0; s < S; ++s) {
        int64_t id;
        ADAMOE_TRY(adamoe_router_id(&ids, id_name, s, -1, INT64_MAX, &id));
        const size_t at = id < 0 ? 0 : (size_t)id * width;
        anchored_backward(gate, call->hidden_states + s * d, id < 0 ? NULL : anchors + at, dlogits + s * n, n,
                          d, width, dx == NULL ? NULL : dx + s * d, da == NULL ? NULL : da + at,
                          adamoe_gradient_of(call, gradient, gate_name));
    }
    return adamoe_ok();
}

static adamoe_status route(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, n = call->experts, top_k = (size_t)call->value[TOP_K];
    adamoe_slots placement;
    double *logits, *scores;
    int64_t *choice;
    ADAMOE_TRY(anchored_logits(call, out, &logits));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", S, n, &scores));
    adamoe_softmax_rows(logits, S, n, scores);
    ADAMOE_TRY(adamoe_choose(call, scores, n, top_k, out, &choice));
    ADAMOE_TRY(adamoe_slots_create(call, n, out, &placement));
    adamoe_place_all(call, choice, top_k, &placement);
    for (size_t i = 0; i < S * n; ++i) {
        placement.weight[i] = call->value[LAMBDA] * scores[i];
    }
    return adamoe_routed_plan(call, &placement, NULL, out);
}

static adamoe_status backward(const adamoe_router_call *call, adamoe_routed *routed,
                              const adamoe_router_derivative *derivative,
                              const adamoe_router_gradient *gradient)
{
    const size_t S = call->tokens, n = call->experts;
    double *dscores, *dlogits;
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dscores));
    ADAMOE_TRY(adamoe_routed_numbers(routed, NULL, S, n, &dlogits));
    adamoe_combine_backward(routed, derivative, n, dscores);
    for (size_t i = 0; i < S * n; ++i) {
        dscores[i] *= call->value[LAMBDA];
    }
    adamoe_softmax_rows_backward(adamoe_routed_numbers_of(routed, "scores"), dscores, S, n, dlogits);
    ADAMOE_TRY(logits_backward(call, dlogits, routed, gradient));
    return base_backward(call, routed, derivative, gradient);
}

ADAMOE_ROUTER_WITH(memoe, "experts beside a frozen layer, chosen by token and anchor", add_base, backward,
                   NULL);
