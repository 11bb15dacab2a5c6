/*
 * Final norm, head and cross-entropy at the tokens that have a target, some positions at a time, so that the
 * logits of a large vocabulary are never held for all.
 */
#include "train/model/backprop_parts.h"

#include <math.h>
#include <string.h>

/* The positions first .. first + count - 1 of those that are wanted. */
typedef struct head_call {
    size_t first;
} head_call;

/* The loss of one position; its logits become their derivatives. */
static void loss_row(const adamoe_backprop *b, size_t i, const void *argument)
{
    const head_call *call = argument;
    const size_t vocab = b->config->vocab_size, place = call->first + i;
    const uint32_t target = b->batch->target[b->at.wanted[place]];
    float *logits = b->at.head_logits + i * vocab;
    adamoe_log_sum sum = adamoe_log_sum_empty;
    if (!b->ops->log_sum_add(&sum, logits, vocab)) {
        b->at.token_loss[place] = NAN;
        return;
    }
    b->at.token_loss[place] = (double)sum.largest - (double)logits[target] + log(sum.sum);
    const double scale = 1.0 / (double)b->targets;
    b->train_ops->scaled_exp(logits, vocab, sum.largest, (float)(scale / sum.sum));
    logits[target] -= (float)scale;
}

static void head_products_backward(adamoe_backprop *b, size_t first, size_t count)
{
    const size_t d = b->config->hidden_size, vocab = b->config->vocab_size;
    const adamoe_matrix *head = &b->parameters->model.head;
    const unsigned kind = b->config->architecture.tied_head ? ADAMOE_EMBEDDING : ADAMOE_HEAD;
    float *dhead = backprop_gradient(b, kind, head);
    size_t products = 0;
    b->gemm[products++] =
        adamoe_gemm_to_input(b->at.head_logits, head->data, count, d, vocab, b->at.dfinal_normed + first * d);
    if (dhead != NULL) {
        b->gemm[products] =
            adamoe_gemm_to_weight(b->at.head_logits, b->at.final_normed + first * d, count, d, vocab, dhead);
        b->gemm[products++].add = first > 0;
    }
    adamoe_gemm_run(b->gemm_space, b->gemm, products);
}

static adamoe_status sum_of_losses(const adamoe_backprop *b, double *cross_entropy)
{
    *cross_entropy = 0.0;
    for (size_t i = 0; i < b->targets; ++i) {
        if (!isfinite(b->at.token_loss[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "token %u of the batch: the loss is not finite",
                                b->at.wanted[i]);
        }
        *cross_entropy += b->at.token_loss[i];
    }
    *cross_entropy /= (double)b->targets;
    return adamoe_ok();
}

adamoe_status backprop_head(adamoe_backprop *b, double *cross_entropy)
{
    const size_t d = b->config->hidden_size, vocab = b->config->vocab_size;
    const adamoe_matrix *norm = &b->parameters->model.final_norm;
    const float *head = b->parameters->model.head.data;
    const float factor =
        b->config->architecture.multipliers ? (float)(1.0 / b->config->multiplier.logits) : 1.0f;
    backprop_norm(b, norm, b->at.output, b->at.wanted, b->targets, b->at.final_normed);
    backprop_multiply(b, factor, b->targets, d, b->at.final_normed); /* and so the logits */
    for (size_t first = 0; first < b->targets; first += b->head_rows) {
        const size_t left = b->targets - first, count = left < b->head_rows ? left : b->head_rows;
        b->gemm[0] =
            adamoe_gemm_forward(b->at.final_normed + first * d, head, count, d, vocab, b->at.head_logits);
        adamoe_gemm_run(b->gemm_space, b->gemm, 1);
        backprop_each_row(b, count, loss_row, &(head_call){first});
        if (b->gradient != NULL) {
            head_products_backward(b, first, count);
        }
    }
    ADAMOE_TRY(sum_of_losses(b, cross_entropy));
    if (b->gradient != NULL) {
        backprop_multiply(b, factor, b->targets, d, b->at.dfinal_normed);
        memset(b->at.dresidual, 0, b->tokens * d * sizeof(float));
        backprop_norm_backward(b, norm, b->at.output, b->at.wanted, b->targets, b->at.dfinal_normed);
    }
    return adamoe_ok();
}
