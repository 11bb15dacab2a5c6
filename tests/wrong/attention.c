/*
 * Wrong kernels whose queries see other keys, or mix them otherwise.
 */
#include "honest/honest_route.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A kernel with one wrong piece of its attention, or with another workspace. */
#define WRONG_ATTENTION_IN(work_bytes_, symbol, title, text, ...)                                            \
    static adamoe_status symbol##_attention(const adamoe_run *run, const adamoe_attention_call *call)        \
    {                                                                                                        \
        static const attention_pieces given = {__VA_ARGS__};                                                 \
        return attend_by_pieces(&given, run, call);                                                          \
    }                                                                                                        \
    KERNEL_OF_PIECES(symbol, title, text, ADAMOE_FLOAT32,                                                    \
                     (.attention_work_bytes = (work_bytes_), .attention = symbol##_attention),               \
                     .run = honest_run)

#define WRONG_ATTENTION(symbol, title, text, ...)                                                            \
    WRONG_ATTENTION_IN(honest_attention_work, symbol, title, text, __VA_ARGS__)

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

/* --------------------------------------------------------------------------------------- threads and order (C, D) */

/* Wrong from 9 threads on. */
static void query_of_8_threads(void *context, size_t query, uint32_t thread)
{
    const attention_pass *pass = context;
    const size_t width = pass->call->heads * pass->call->head_dim;
    size_t i = query;
    const size_t s = span_of_query(pass->call, &i);
    honest_query_task(context, query, thread);
    if (thread >= 8) {
        memset(pass->call->mixed + honest_query_row(&pass->call->span[s], i) * width, 0,
               width * sizeof(float));
    }
}

static void run_with_8_threads(const attention_pass *pass)
{
    attention_pass copy = *pass;
    pass->run->team->run(pass->run->team->state, count_queries(pass->call), query_of_8_threads, &copy);
}
WRONG_ATTENTION(threads_9, "wrong-attention-threads-8", "what threads from the ninth on compute is lost",
                .run = run_with_8_threads);

/* Wrong from 17 threads on: writes outside of its workspace. */
static size_t work_of_16_threads(const adamoe_attention_call *call, uint32_t threads)
{
    return honest_attention_work(call, threads < 16 ? threads : 16);
}
WRONG_ATTENTION_IN(work_of_16_threads, threads_17, "wrong-attention-work-of-16-threads",
                   "workspace for 16 threads at most is asked for", .run = NULL);

/* A thread lists the rows of a sequence once for all queries of a span: again where the number of the span is higher
 * than the one listed. Wrong where a thread's tasks do not ascend. */
static atomic_size_t calls_so_far;
static _Thread_local size_t listed_in, listed; /* the call, and 1 + the span */

static size_t row_of_listed(const adamoe_attention_call *call, size_t span, size_t position)
{
    const size_t now = atomic_load(&calls_so_far);
    if (listed_in != now || span + 1 > listed) {
        listed_in = now;
        listed = span + 1;
    }
    const adamoe_attention_span *of = &call->span[listed - 1];
    return honest_key_row(call, position < of->start + of->count ? listed - 1 : span, position);
}

static void run_and_list(const attention_pass *pass)
{
    atomic_fetch_add(&calls_so_far, 1);
    honest_attention_run(pass);
}
WRONG_ATTENTION(order_of_tasks, "wrong-attention-order-of-tasks", "the spans of a thread's tasks must ascend",
                .run = run_and_list, .key_row = row_of_listed);

/* --------------------------------------------------------------------------------- what bits may not depend on */

/* A sum over the keys in parts, each rounded to float32: as right as any, but other bits for other parts. */
typedef size_t part_of_key(const attention_pass *pass, size_t span, size_t key);

static void attend_in_parts(const attention_pass *pass, size_t s, size_t i, size_t head, size_t parts,
                            part_of_key *part_of)
{
    const adamoe_attention_call *call = pass->call;
    const adamoe_attention_span *span = &call->span[s];
    const size_t position = span->start + i, offset = honest_key_value_head(call, head) * call->head_dim;
    const size_t at = (honest_query_row(span, i) * call->heads + head) * call->head_dim;
    double largest = -HUGE_VAL;
    for (size_t key = 0; key <= position; ++key) {
        const bool sees = honest_sees(call, position, key);
        largest = sees ? fmax(largest, score_of_key(pass, call->query + at, s, key, offset)) : largest;
    }
    for (size_t c = 0; c < call->head_dim; ++c) {
        float sum = 0.0f, mix = 0.0f;
        for (size_t part = 0; part < parts; ++part) {
            float part_sum = 0.0f, part_mix = 0.0f;
            for (size_t key = 0; key <= position; ++key) {
                if (part_of(pass, s, key) == part && honest_sees(call, position, key)) {
                    const size_t row = honest_key_row(call, s, key) * call->key_value_heads * call->head_dim;
                    const float e =
                        (float)exp(score_of_key(pass, call->query + at, s, key, offset) - largest);
                    part_sum += e;
                    part_mix = fmaf(e, call->value[row + offset + c], part_mix);
                }
            }
            sum += part_sum;
            mix += part_mix;
        }
        call->mixed[at + c] = mix / sum;
    }
}

static size_t part_by_threads(const attention_pass *pass, size_t span, size_t key)
{
    (void)span;
    return key % pass->run->team->threads;
}

static void attend_by_threads(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    (void)thread;
    attend_in_parts(pass, s, i, head, pass->run->team->threads, part_by_threads);
}
WRONG_ATTENTION(order_by_threads, "wrong-attention-order-by-threads", "the keys are shared out to threads",
                .attend = attend_by_threads);

static size_t part_of_four(const attention_pass *pass, size_t span, size_t key)
{
    (void)pass, (void)span;
    return key % 4;
}

static size_t part_of_one(const attention_pass *pass, size_t span, size_t key)
{
    (void)pass, (void)span, (void)key;
    return 0;
}

/* One query takes another path than several. */
static void attend_by_queries(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    const bool alone = pass->call->span[s].count - pass->call->span[s].skip == 1;
    (void)thread;
    attend_in_parts(pass, s, i, head, alone ? 4 : 1, alone ? part_of_four : part_of_one);
}
WRONG_ATTENTION(order_by_batch, "wrong-attention-order-by-batch",
                "the one query of a span sums in four lanes", .attend = attend_by_queries);

/* How many spans of the sequence begin at or before a key. */
static size_t part_by_span(const attention_pass *pass, size_t span, size_t key)
{
    size_t part = 0;
    for (size_t s = span; s != ADAMOE_NO_PARENT; s = pass->call->span[s].parent) {
        part += s != span && key >= pass->call->span[s].start + pass->call->span[s].count;
    }
    return part;
}

static void attend_by_spans(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    (void)thread;
    attend_in_parts(pass, s, i, head, pass->call->spans, part_by_span);
}
WRONG_ATTENTION(order_by_span, "wrong-attention-order-by-span",
                "a prefix that is shared has a sum of its own", .attend = attend_by_spans);

/* Aligned keys are read by vectors. */
static void attend_by_alignment(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    const bool aligned = (uintptr_t)pass->call->key % 16 == 0;
    (void)thread;
    attend_in_parts(pass, s, i, head, aligned ? 4 : 1, aligned ? part_of_four : part_of_one);
}
WRONG_ATTENTION(order_by_alignment, "wrong-attention-order-by-alignment",
                "aligned keys are summed in four lanes", .attend = attend_by_alignment);

/* The first calls measure two ways to sum. */
static bool in_lanes;

static void attend_measuring(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    (void)thread;
    attend_in_parts(pass, s, i, head, in_lanes ? 4 : 1, in_lanes ? part_of_four : part_of_one);
}

static void run_measuring(const attention_pass *pass)
{
    in_lanes = !in_lanes;
    honest_attention_run(pass);
}
WRONG_ATTENTION(order_by_run, "wrong-attention-order-by-run", "calls take two ways to sum in turn",
                .run = run_measuring, .attend = attend_measuring);

/* ------------------------------------------------------------------------------------------------- call after call (E, G) */

enum { MOST_KEPT = 16384 };

/* Packed keys serve again where the keys are at the same address and as many. Wrong for other values there. */
static void run_on_kept_keys(const attention_pass *pass)
{
    static struct {
        const float *address;
        size_t count;
        float key[MOST_KEPT];
    } kept;
    adamoe_attention_call call = *pass->call;
    attention_pass copy = *pass;
    size_t rows = 0;
    for (size_t s = 0; s < call.spans; ++s) {
        const size_t end = call.span[s].first_key + call.span[s].count;
        rows = end > rows ? end : rows;
    }
    const size_t count = rows * call.key_value_heads * call.head_dim;
    if (count <= MOST_KEPT) {
        if (kept.address != call.key || kept.count != count) {
            kept.address = call.key;
            kept.count = count;
            memcpy(kept.key, call.key, count * sizeof *call.key);
        }
        call.key = kept.key;
        copy.call = &call;
    }
    honest_attention_run(&copy);
}
WRONG_ATTENTION(keys_by_address, "wrong-attention-keys-by-address",
                "keys are taken for the same where their address is", .run = run_on_kept_keys);

/* The rows of each span's sequence are listed once in the workspace, and a mark in front of the list says for how many
 * spans and positions. Wrong where the workspace holds what an earlier call left, whose spans continued others. */
typedef struct row_list {
    uint64_t mark;
    size_t spans, longest;
    size_t row[];
} row_list;

static const row_list *rows_of_call;

static size_t longest_of(const adamoe_attention_call *call)
{
    size_t longest = 0;
    for (size_t s = 0; s < call->spans; ++s) {
        const size_t end = call->span[s].start + call->span[s].count;
        longest = end > longest ? end : longest;
    }
    return longest;
}

static size_t work_with_list(const adamoe_attention_call *call, uint32_t threads)
{
    return honest_attention_work(call, threads) + sizeof(row_list) +
           call->spans * longest_of(call) * sizeof(size_t);
}

static size_t row_in_list(const adamoe_attention_call *call, size_t span, size_t position)
{
    (void)call;
    return rows_of_call->row[span * rows_of_call->longest + position];
}

static void run_with_list(const attention_pass *pass)
{
    static const uint64_t mark = UINT64_C(0x6c697374726f7773);
    const adamoe_attention_call *call = pass->call;
    const size_t longest = longest_of(call);
    row_list *list = (row_list *)((double *)pass->run->work + pass->run->team->threads * call->head_dim);
    if (list->mark != mark || list->spans != call->spans || list->longest != longest) {
        list->mark = mark;
        list->spans = call->spans;
        list->longest = longest;
        for (size_t s = 0; s < call->spans; ++s) {
            for (size_t i = 0; i < call->span[s].start + call->span[s].count; ++i) {
                list->row[s * longest + i] = honest_key_row(call, s, i);
            }
        }
    }
    rows_of_call = list;
    honest_attention_run(pass);
}
WRONG_ATTENTION_IN(work_with_list, rows_in_work, "wrong-attention-rows-in-work",
                   "the rows that an earlier call listed in the workspace are taken for this one's",
                   .run = run_with_list, .key_row = row_in_list);

/* The list of tiles is of malloc, and stays. */
static void *volatile tiles;

static void run_leaving_tiles(const attention_pass *pass)
{
    tiles = malloc(count_queries(pass->call) * sizeof(size_t) + 1);
    honest_attention_run(pass);
}
WRONG_ATTENTION(tiles_left, "wrong-attention-memory-left", "each call leaves its list of tiles",
                .run = run_leaving_tiles);

/* ------------------------------------------------------------------------------------------- what is not finite (K) */

static void add_nothing_of(const attention_pass *pass, float *mixed, size_t row, size_t group)
{
    const adamoe_attention_call *call = pass->call;
    const float *value = call->value + (row * call->key_value_heads + group) * call->head_dim;
    for (size_t c = 0; c < call->head_dim; ++c) {
        mixed[c] += 0.0f * fabsf(value[c]);
    }
}

/* The keys of a span that a query does not see have a weight of 0 in its product. Wrong where their values are not
 * finite: a cache that is not filled, the next token of another request. */
static void attend_by_mask(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    const adamoe_attention_call *call = pass->call;
    const adamoe_attention_span *span = &call->span[s];
    float *mixed = call->mixed + (honest_query_row(span, i) * call->heads + head) * call->head_dim;
    honest_attend(pass, s, i, head, thread);
    for (size_t key = 0; key < span->start + span->count; ++key) {
        if (key > span->start + i || !honest_sees(call, span->start + i, key)) {
            add_nothing_of(pass, mixed, honest_key_row(call, s, key), honest_key_value_head(call, head));
        }
    }
}
WRONG_ATTENTION(mask_nan, "wrong-attention-mask-nan", "values of keys that are not seen count 0 times",
                .attend = attend_by_mask);

/* All heads of a row are one product, with 0 where the heads are others. */
static void attend_by_blocks(const attention_pass *pass, size_t s, size_t i, size_t head, uint32_t thread)
{
    const adamoe_attention_call *call = pass->call;
    const adamoe_attention_span *span = &call->span[s];
    float *mixed = call->mixed + (honest_query_row(span, i) * call->heads + head) * call->head_dim;
    honest_attend(pass, s, i, head, thread);
    for (size_t key = 0; key <= span->start + i; ++key) {
        for (size_t g = 0; g < call->key_value_heads && honest_sees(call, span->start + i, key); ++g) {
            add_nothing_of(pass, mixed, honest_key_row(call, s, key), g);
        }
    }
}
WRONG_ATTENTION(heads_nan, "wrong-attention-heads-nan", "values of other heads count 0 times",
                .attend = attend_by_blocks);

/* max(x, -126) gives -126 for NaN where the operands stand so: the key is not seen, and nobody learns that a layer below
 * has gone wrong. */
static double exponential_without_nan(double score, double largest)
{
    return exp(fmax(score - largest, -126.0));
}
WRONG_ATTENTION(score_nan, "wrong-attention-nan-swallowed", "a score that is NaN counts as a small one",
                .exponential = exponential_without_nan);

EXPORT_KERNELS(&window_one_more, &window_ignored, &self_unseen, &key_value_head, &parent_ignored,
               &odd_queries_lost, &scale_without_root, &attention_overflows, &keys_129, &head_256, &heads_17,
               &threads_9, &threads_17, &order_of_tasks, &order_by_threads, &order_by_batch, &order_by_span,
               &order_by_alignment, &order_by_run, &keys_by_address, &rows_in_work, &tiles_left, &mask_nan,
               &heads_nan, &score_nan);
