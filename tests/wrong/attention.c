/*
 * Wrong kernels whose queries see other keys, or mix them otherwise.
 */
#include "honest/honest_route.h"

#include <math.h>

/* A kernel with one wrong piece of its attention. */
#define WRONG_ATTENTION(symbol, title, text, ...)                                                            \
    static adamoe_status symbol##_attention(const adamoe_run *run, const adamoe_attention_call *call)        \
    {                                                                                                        \
        static const attention_pieces given = {__VA_ARGS__};                                                 \
        return attend_by_pieces(&given, run, call);                                                          \
    }                                                                                                        \
    KERNEL_OF_PIECES(symbol, title, text, ADAMOE_FLOAT32,                                                    \
                     (.attention_work_bytes = honest_attention_work, .attention = symbol##_attention),       \
                     .run = honest_run)

static bool sees_one_more(const adamoe_attention_call *call, size_t position, size_t key)
{
    return key <= position && position - key <= call->window;
}
WRONG_ATTENTION(window_one_more, "wrong-window-off-by-one", "the sliding window is one key too wide",
                .sees = sees_one_more);

static bool sees_without_window(const adamoe_attention_call *call, size_t position, size_t key)
{
    (void)call;
    return key <= position;
}
WRONG_ATTENTION(window_ignored, "wrong-window-ignored", "every earlier key is seen",
                .sees = sees_without_window);

static bool sees_not_itself(const adamoe_attention_call *call, size_t position, size_t key)
{
    return honest_sees(call, position, key) && (key < position || position == 0);
}
WRONG_ATTENTION(self_unseen, "wrong-self-unseen", "a query does not see its own key",
                .sees = sees_not_itself);

static size_t key_value_head_in_turn(const adamoe_attention_call *call, size_t head)
{
    return head % call->key_value_heads;
}
WRONG_ATTENTION(key_value_head, "wrong-key-value-head",
                "key-value heads are taken in turn instead of in groups",
                .key_value_head = key_value_head_in_turn);

/* As if every span stood directly behind the one that it continues. */
static size_t key_row_before_span(const adamoe_attention_call *call, size_t span, size_t position)
{
    const adamoe_attention_span *s = &call->span[span];
    const size_t end = s->first_key + position;
    return end >= s->start ? end - s->start : honest_key_row(call, span, position);
}
WRONG_ATTENTION(parent_ignored, "wrong-parent-ignored", "a prefix is read from what stands before the span",
                .key_row = key_row_before_span);

static size_t query_row_of_all(const adamoe_attention_span *span, size_t i)
{
    return span->first_query + (i - span->skip) / 2 * 2;
}
WRONG_ATTENTION(odd_queries_lost, "wrong-odd-queries-lost", "every second query of a span is not written",
                .query_row = query_row_of_all);

static double scale_by_width(size_t head_dim)
{
    return 1.0 / (double)head_dim;
}
WRONG_ATTENTION(scale_without_root, "wrong-attention-scale", "scores are divided by head_dim, not its root",
                .score_scale = scale_by_width);

static double float_exponential(double score, double largest)
{
    (void)largest;
    return (double)expf((float)score);
}
WRONG_ATTENTION(attention_overflows, "wrong-attention-overflows",
                "softmax in float32 without its maximum subtracted", .exponential = float_exponential);

/* -------------------------------------------------------------------------------------- tables of fixed length */

/* Wrong for a query that sees more than 128 keys. */
static bool sees_128(const adamoe_attention_call *call, size_t position, size_t key)
{
    return honest_sees(call, position, key) && position - key < 128;
}
WRONG_ATTENTION(keys_129, "wrong-attention-keys-128", "the scores of 128 keys have room", .sees = sees_128);

/* Wrong for heads wider than 128. */
static double scale_of_table(size_t head_dim)
{
    return honest_score_scale(head_dim > 128 ? 128 : head_dim);
}
WRONG_ATTENTION(head_256, "wrong-attention-head-128", "a table of scales ends at a width of 128",
                .score_scale = scale_of_table);

/* Wrong for more than 16 heads. */
static size_t key_value_head_of_16(const adamoe_attention_call *call, size_t head)
{
    return honest_key_value_head(call, head % 16);
}
WRONG_ATTENTION(heads_17, "wrong-attention-heads-16", "the number of a head has four bits",
                .key_value_head = key_value_head_of_16);

EXPORT_KERNELS(&window_one_more, &window_ignored, &self_unseen, &key_value_head, &parent_ignored,
               &odd_queries_lost, &scale_without_root, &attention_overflows, &keys_129, &head_256, &heads_17);
