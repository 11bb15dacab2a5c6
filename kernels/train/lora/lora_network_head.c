/*
 * Final norm, head and log-probabilities at the positions that are wanted, some at a time, so that the logits
 * of a large vocabulary are never held for all.
 */
#include "train/lora/lora_network_parts.h"

#include <math.h>
#include <string.h>

/* One position: the log-probabilities of its goals. With a gradient, which has one goal for each position,
 * its logits become their derivatives. */
static void goals_row(const adamoe_lora_network *n, size_t i, uint32_t thread, void *argument)
{
    (void)thread;
    const size_t place = *(const size_t *)argument + i, vocab = n->config->vocab_size;
    const size_t first = n->at.first_goal[place], end = n->at.first_goal[place + 1];
    float *logits = n->at.head_logits + i * vocab;
    adamoe_log_sum sum = adamoe_log_sum_empty;
    const bool finite = n->ops->log_sum_add(&sum, logits, vocab);
    for (size_t g = first; g < end; ++g) {
        n->at.log_probability[g] =
            finite ? (double)logits[n->at.goal[g]] - (double)sum.largest - log(sum.sum) : NAN;
    }
    if (finite && n->gradient != NULL) {
        const double scale = 1.0 / (double)n->goals;
        n->train_ops->scaled_exp(logits, vocab, sum.largest, (float)(scale / sum.sum));
        logits[n->at.goal[first]] -= (float)scale;
    }
}

static adamoe_status check_finite(const adamoe_lora_network *n)
{
    for (size_t i = 0; i < n->wanted; ++i) {
        for (size_t g = n->at.first_goal[i]; g < n->at.first_goal[i + 1]; ++g) {
            if (!isfinite(n->at.log_probability[g])) {
                return adamoe_error(ADAMOE_BAD_INPUT, "token %u of the batch: its logits are not finite",
                                    n->at.wanted[i]);
            }
        }
    }
    return adamoe_ok();
}

adamoe_status network_head(adamoe_lora_network *n)
{
    const size_t d = n->config->hidden_size, final = 2 * n->config->layers;
    network_norm(n, final, n->at.output, n->at.wanted, n->wanted, n->at.final_normed);
    for (size_t first = 0; first < n->wanted; first += n->head_rows) {
        const size_t left = n->wanted - first, count = left < n->head_rows ? left : n->head_rows;
        ADAMOE_TRY(
            network_multiply(n, n->head.forward, n->at.final_normed + first * d, count, n->at.head_logits));
        network_each_row(n, count, goals_row, &first);
        if (n->gradient != NULL) {
            ADAMOE_TRY(network_multiply(n, n->head.backward, n->at.head_logits, count,
                                        n->at.dfinal_normed + first * d));
        }
    }
    ADAMOE_TRY(check_finite(n));
    if (n->gradient != NULL) {
        memset(n->at.dresidual, 0, n->tokens * d * sizeof(float));
        network_norm_backward(n, final, n->at.output, n->at.wanted, n->wanted, n->at.dfinal_normed);
    }
    return adamoe_ok();
}
