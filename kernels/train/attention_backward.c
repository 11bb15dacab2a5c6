/*
 * The gradient of attention between its projections, head by head.
 */
#include "train/attention_backward.h"
#include "attention.h"

#include <math.h>
#include <string.h>

typedef adamoe_attention_backward_call heads_call;

static size_t query_width(const heads_call *c)
{
    return c->heads * c->head_dim;
}

static size_t key_width(const heads_call *c)
{
    return c->key_value_heads * c->head_dim;
}

/* One query head at one position, whose sequence begins at row `start`:
 *   a = softmax(s), s_j = q . k_j / sqrt(head_dim), mixed = sum over j of a_j v_j. */
static void head_backward(const heads_call *c, size_t start, size_t position, size_t head, size_t key_head,
                          float *share, float *dshare)
{
    const size_t hd = c->head_dim, kv = key_width(c), row = start + position;
    const size_t first = adamoe_first_visible(position, c->window);
    const size_t count = position + 1 - first, at = row * query_width(c) + head * hd;
    const size_t key = (start + first) * kv + key_head * hd;
    const adamoe_listed_rows keys = {c->key + key_head * hd, c->number, kv};
    const adamoe_listed_rows values = {c->value + key_head * hd, c->number, kv};
    const float scale = (float)(1.0 / sqrt((double)hd));
    c->ops->scores(c->query + at, &keys, start + first, count, hd, scale, share);
    c->ops->softmax(share, count, share);
    c->ops->scores(c->dmixed + at, &values, start + first, count, hd, 1.0f, dshare);
    c->train_ops->softmax_backward(share, scale, count, dshare);
    c->ops->mix(dshare, &keys, start + first, count, hd, c->dquery + at);
    c->train_ops->add_outer(dshare, c->query + at, hd, c->dkey + key, kv, count);
    c->train_ops->add_outer(share, c->dmixed + at, hd, c->dvalue + key, kv, count);
}

/* The first query head h with floor(h * key_value_heads / heads) >= g. */
static size_t first_head_of(const heads_call *c, size_t g)
{
    return (g * c->heads + c->key_value_heads - 1) / c->key_value_heads;
}

static void heads_task(void *context, size_t i, uint32_t thread)
{
    const heads_call *c = context;
    const size_t hd = c->head_dim, sequence = i / c->key_value_heads, key_head = i % c->key_value_heads;
    const size_t first = first_head_of(c, key_head), end = first_head_of(c, key_head + 1);
    const size_t start = c->offset[sequence], stop = c->offset[sequence + 1];
    float *share = c->shares + thread * 2 * c->longest, *dshare = share + c->longest;
    for (size_t row = start; row < stop; ++row) {
        memset(c->dkey + row * key_width(c) + key_head * hd, 0, hd * sizeof(float));
        memset(c->dvalue + row * key_width(c) + key_head * hd, 0, hd * sizeof(float));
        memset(c->dquery + row * query_width(c) + first * hd, 0, (end - first) * hd * sizeof(float));
        for (size_t h = first; h < end; ++h) {
            head_backward(c, start, row - start, h, key_head, share, dshare);
        }
    }
}

void adamoe_attention_heads_backward(const adamoe_team *team, const adamoe_attention_backward_call *call)
{
    adamoe_attention_backward_call own = *call; /* a team's tasks take what is not const */
    team->run(team->state, call->sequences * call->key_value_heads, heads_task, &own);
}
