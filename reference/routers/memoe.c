/*
 * MEMoE (arXiv 2405.19086): reference/README.md section 12.9. Experts beside a frozen feed-forward layer, chosen
 * by token and knowledge anchor.
 *
 * The frozen base has no place in a plan, and gets none: it is a layer of its own (one expert, every token), which
 * no router chooses, and whose sum with the plan's y needs nothing of a kernel. So it is a stage of the layer
 * around the kernel, `after`, and the plan and its ABI stay what they are.
 */
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

/* R(x) = [x; a], where a is the token's row of the anchors, or 0 for id -1; logits = W R(x). */
static adamoe_status anchored_logits(const adamoe_router_call *call, adamoe_routed *out, double **logits)
{
    static const char id_name[] = "router.anchor_id";
    const size_t S = call->tokens, d = call->hidden_size, n = call->experts;
    const adamoe_router_tensor *anchors_tensor = adamoe_router_tensor_find(call, "router.anchors");
    const size_t width = anchors_tensor == NULL ? 0 : anchors_tensor->matrix.columns;
    double *anchors, *gate;
    adamoe_matrix ids;
    ADAMOE_TRY(adamoe_router_numbers(call, "router.anchors", 0, width, out, &anchors));
    ADAMOE_TRY(adamoe_check_size("anchors", call->value[ANCHORS], anchors_tensor->matrix.rows));
    ADAMOE_TRY(adamoe_check_size("anchor_size", call->value[ANCHOR_SIZE], width));
    ADAMOE_TRY(adamoe_router_matrix_of(call, id_name, ADAMOE_I64, 1, S, &ids));
    ADAMOE_TRY(adamoe_router_numbers(call, "block_sparse_moe.gate.weight", n, d + width, out, &gate));
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

/* after = base(x), a SwiGLU layer by the names of a dense model. */
static adamoe_status add_base(const adamoe_router_call *call, adamoe_routed *out)
{
    const size_t S = call->tokens, d = call->hidden_size;
    const adamoe_router_tensor *gate = adamoe_router_tensor_find(call, "mlp.gate_proj.weight");
    const size_t ff = gate == NULL ? 0 : gate->matrix.rows;
    adamoe_expert base;
    double *work;
    ADAMOE_TRY(adamoe_router_matrix_of(call, "mlp.gate_proj.weight", ADAMOE_F32, ff, d, &base.w1));
    ADAMOE_TRY(adamoe_router_matrix_of(call, "mlp.up_proj.weight", ADAMOE_F32, ff, d, &base.w3));
    ADAMOE_TRY(adamoe_router_matrix_of(call, "mlp.down_proj.weight", ADAMOE_F32, d, ff, &base.w2));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, 2 * d + adamoe_expert_work(d, ff), 1, &work));
    out->after = calloc(S * d, sizeof *out->after);
    if (out->after == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    double *x = work, *y = x + d;
    for (size_t s = 0; s < S; ++s) {
        for (size_t c = 0; c < d; ++c) {
            x[c] = (double)call->hidden_states[s * d + c];
        }
        adamoe_expert_forward(&base, adamoe_float32_operands, x, y, y + d);
        for (size_t c = 0; c < d; ++c) {
            out->after[s * d + c] = (float)y[c];
        }
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

ADAMOE_ROUTER_WITH(memoe, "experts beside a frozen layer, chosen by token and anchor", add_base);
