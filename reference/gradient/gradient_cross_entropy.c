/*
 * The head and the cross-entropy of one position: -log softmax(head · hidden)[target], and its gradient.
 */
#include "gradient/gradient.h"

#include <math.h>

/* logits = head · hidden; returns log sum exp(logits). work is [vocab_size + hidden_size]. */
static double log_sum_exp(const adamoe_matrix *head, const double *hidden, double *work)
{
    double *logits = work, largest = -HUGE_VAL, sum = 0.0;
    adamoe_matrix_vector(head, ADAMOE_FLOAT64, hidden, logits, logits + head->rows);
    for (size_t v = 0; v < head->rows; ++v) {
        largest = fmax(largest, logits[v]);
    }
    for (size_t v = 0; v < head->rows; ++v) {
        sum += exp(logits[v] - largest);
    }
    return largest + log(sum);
}

double adamoe_cross_entropy_double(const adamoe_matrix *head, const double *hidden, uint32_t target,
                                   double *work)
{
    const double all = log_sum_exp(head, hidden, work);
    return all - work[target];
}

/* dlogits = softmax(logits), less 1 at the target. */
void adamoe_cross_entropy_backward(const adamoe_matrix *head, const double *hidden, uint32_t target,
                                   double scale, double *dhidden, double *dhead, double *work)
{
    const double all = log_sum_exp(head, hidden, work);
    for (size_t v = 0; v < head->rows; ++v) {
        work[v] = scale * (exp(work[v] - all) - (v == target ? 1.0 : 0.0));
    }
    adamoe_product_backward(head, hidden, work, dhidden, dhead);
}
