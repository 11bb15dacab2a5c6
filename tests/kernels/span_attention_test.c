/*
 * Attention over spans against the reference's attention of one head, position by position, and its promise
 * of bits: the same for any number of threads, any batch-mates, and any way to cut a sequence into spans.
 */
#include "test.h"
#include "attention.h"
#include "model/span_attention.h"
#include "machine/team.h"

typedef struct shape {
    size_t heads, key_value_heads, head_dim, window; /* 0: no limit */
} shape;

static const shape shapes[] = {
    {1, 1, 1, 0}, {4, 2, 8, 0}, {9, 3, 64, 0}, {8, 1, 20, 7}, {3, 2, 16, 0}, {2, 2, 128, 33}, {20, 20, 6, 1},
};

/* Three sequences: 0-40-60 and 0-40-45 share their first 40 positions, the third is 70 long. */
static const size_t cuts[][4] = {{0, 40, 60, 0}, {0, 40, 45, 0}, {0, 70, 0, 0}};
enum { PREFIX = 40, FIRST = 20, SECOND = 5, THIRD = 70, TOKENS = PREFIX + FIRST + SECOND + THIRD };

typedef struct data {
    const shape *shape;
    float *query, *key, *value, *mixed;
} data;

static float *random_floats(size_t count, uint64_t seed)
{
    float *x = calloc(count, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; ++i) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((double)(seed >> 33) * 0x1p-30 - 1.0);
    }
    return x;
}

static data make_data(const shape *s)
{
    const size_t width = s->heads * s->head_dim, kv = s->key_value_heads * s->head_dim;
    return (data){s, random_floats(TOKENS * width, 1), random_floats(TOKENS * kv, 2),
                  random_floats(TOKENS * kv, 3), random_floats(TOKENS * width, 4)};
}

static void free_data(data *d)
{
    free(d->query);
    free(d->key);
    free(d->value);
    free(d->mixed);
}

static void run_spans(const data *d, const adamoe_attention_span *span, size_t spans, uint32_t threads,
                      float *mixed)
{
    const shape *s = d->shape;
    const adamoe_attention_call call = {
        .heads = s->heads,
        .head_dim = s->head_dim,
        .key_value_heads = s->key_value_heads,
        .window = s->window == 0 ? SIZE_MAX : s->window,
        .spans = spans,
        .span = span,
        .query = d->query,
        .key = d->key,
        .value = d->value,
        .mixed = mixed,
    };
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(threads, &team));
    const size_t bytes = adamoe_span_attention_work_bytes(&call, threads);
    void *work = aligned_alloc(64, bytes);
    assert_non_null(work);
    adamoe_run run = {.team = team, .work = work, .work_bytes = bytes - 1};
    assert_error(adamoe_span_attention(&run, &call), ADAMOE_BAD_INPUT, "attention: a workspace of");
    run.work_bytes = bytes;
    memset(work, 0xa5, bytes);
    assert_ok(adamoe_span_attention(&run, &call));
    free(work);
    adamoe_team_free(team);
}

static const adamoe_attention_span batch[] = {
    {.first_query = 0, .first_key = 0, .start = 0, .count = PREFIX, .parent = ADAMOE_NO_PARENT},
    {.first_query = 40, .first_key = 40, .start = PREFIX, .count = FIRST, .parent = 0},
    {.first_query = 60, .first_key = 60, .start = PREFIX, .count = SECOND, .parent = 0},
    {.first_query = 65, .first_key = 65, .start = 0, .count = THIRD, .parent = ADAMOE_NO_PARENT},
};

/* Row of position p of sequence 0, 1, 2 in the batch above. */
static size_t row_of(size_t sequence, size_t p)
{
    const size_t first[] = {40 - PREFIX, 60 - PREFIX, 65};
    return sequence < 2 && p < PREFIX ? p : first[sequence] + p;
}

/* One query head in double, from the reference, with the bound of its float32 computation: a score is off by
 * d <= (head_dim + 2) u sum |q k| scale, a weight by the factor exp(2 max d) and the few units of a softmax
 * of `count` terms, the sum of `count` weighted values by (count + 2) u of their magnitude. */
static void check_head(const data *d, size_t sequence, size_t position, size_t head)
{
    const shape *s = d->shape;
    const size_t hd = s->head_dim, kv = head * s->key_value_heads / s->heads;
    const size_t row = row_of(sequence, position), count = position + 1;
    float *keys = calloc(count * hd, sizeof *keys), *values = calloc(count * hd, sizeof *values);
    float expected[128];
    double scores[THIRD], worst = 0.0;
    const float *query = d->query + (row * s->heads + head) * hd;
    for (size_t p = 0; p < count; ++p) {
        const size_t at = (row_of(sequence, p) * s->key_value_heads + kv) * hd;
        memcpy(keys + p * hd, d->key + at, hd * sizeof *keys);
        memcpy(values + p * hd, d->value + at, hd * sizeof *values);
        double magnitude = 0.0;
        for (size_t c = 0; c < hd; ++c) {
            magnitude += fabs((double)query[c] * (double)d->key[at + c]) / sqrt((double)hd);
        }
        worst = fmax(worst, ((double)hd + 4.0) * 0x1p-24 * magnitude);
    }
    adamoe_attention_head(query, keys, values, hd, hd, position, s->window, scores, expected);
    /* Values are at most 1, and the weights add up to 1. */
    const double bound = expm1(2.0 * worst) + (2.0 * (double)count + 12.0) * 0x1p-24;
    for (size_t c = 0; c < hd; ++c) {
        const double got = (double)d->mixed[(row * s->heads + head) * hd + c];
        if (!(fabs(got - (double)expected[c]) <= bound)) {
            fail_msg("sequence %zu, position %zu, head %zu, %zu: %.9g, expected %.9g, bound %.3g", sequence,
                     position, head, c, got, (double)expected[c], bound);
        }
    }
    free(keys);
    free(values);
}

static void equals_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
        data d = make_data(&shapes[i]);
        run_spans(&d, batch, 4, 2, d.mixed);
        for (size_t sequence = 0; sequence < 3; ++sequence) {
            const size_t length = cuts[sequence][sequence < 2 ? 2 : 1];
            for (size_t p = 0; p < length; ++p) {
                for (size_t h = 0; h < shapes[i].heads; ++h) {
                    check_head(&d, sequence, p, h);
                }
            }
        }
        free_data(&d);
    }
}

/* The sequences of the batch again: the first cut elsewhere, the third alone as pieces of every length. */
static void the_same_bits_however_it_is_cut(void **state)
{
    (void)state;
    adamoe_attention_span pieces[THIRD];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
        data d = make_data(&shapes[i]);
        const size_t width = shapes[i].heads * shapes[i].head_dim;
        float *other = calloc(TOKENS * width, sizeof *other);
        assert_non_null(other);
        run_spans(&d, batch, 4, 1, d.mixed);
        for (uint32_t threads = 2; threads <= 7; threads += 5) {
            memset(other, 0, TOKENS * width * sizeof *other);
            run_spans(&d, batch, 4, threads, other);
            assert_memory_equal(other, d.mixed, TOKENS * width * sizeof *other);
        }
        for (size_t length = 1; length <= THIRD; length = 2 * length + 1) {
            size_t count = 0;
            for (size_t p = 0; p < THIRD; p += length, ++count) {
                const size_t rest = THIRD - p < length ? THIRD - p : length;
                pieces[count] = (adamoe_attention_span){65 + p, 65 + p, p, rest, count - 1, 0};
                pieces[count].parent = count == 0 ? ADAMOE_NO_PARENT : count - 1;
            }
            memset(other, 0, TOKENS * width * sizeof *other);
            run_spans(&d, pieces, count, 2, other);
            assert_memory_equal(other + 65 * width, d.mixed + 65 * width, THIRD * width * sizeof *other);
        }
        free(other);
        free_data(&d);
    }
}

/* Only the last queries of the third sequence: its first keys were there before. */
static void skipped_tokens_have_keys_but_no_query(void **state)
{
    (void)state;
    data d = make_data(&shapes[2]);
    const size_t width = shapes[2].heads * shapes[2].head_dim;
    float *other = calloc(TOKENS * width, sizeof *other);
    assert_non_null(other);
    run_spans(&d, batch, 4, 1, d.mixed);
    for (size_t skip = 0; skip <= THIRD; skip += 23) {
        const adamoe_attention_span span = {65 + skip, 65, 0, THIRD, ADAMOE_NO_PARENT, skip};
        memset(other, 0, TOKENS * width * sizeof *other);
        run_spans(&d, &span, 1, 2, other);
        assert_memory_equal(other + (65 + skip) * width, d.mixed + (65 + skip) * width,
                            (THIRD - skip) * width * sizeof *other);
        for (size_t j = 0; j < (65 + skip) * width; ++j) {
            assert_true(other[j] == 0.0f);
        }
    }
    free(other);
    free_data(&d);
}

/* A value that is not a number is seen by the queries after it alone. */
static void a_nan_does_not_reach_earlier_queries(void **state)
{
    (void)state;
    data d = make_data(&shapes[2]);
    const size_t width = shapes[2].heads * shapes[2].head_dim, kv = 3 * 64;
    float *other = calloc(TOKENS * width, sizeof *other);
    assert_non_null(other);
    run_spans(&d, batch, 4, 2, d.mixed);
    for (size_t c = 0; c < kv; ++c) {
        d.value[(65 + 37) * kv + c] = NAN;
        d.key[(65 + 38) * kv + c] = NAN;
    }
    run_spans(&d, batch, 4, 2, other);
    assert_memory_equal(other, d.mixed, (65 + 37) * width * sizeof *other);
    for (size_t j = (65 + 37) * width; j < TOKENS * width; ++j) {
        assert_true(isnan(other[j]));
    }
    free(other);
    free_data(&d);
}

static void bad_spans_are_refused(void **state)
{
    (void)state;
    adamoe_attention_span span[] = {{0, 0, 0, 4, ADAMOE_NO_PARENT, 0}, {4, 4, 4, 2, 0, 0}};
    adamoe_attention_call call = {
        .heads = 2, .head_dim = 4, .key_value_heads = 1, .window = 3, .spans = 2, .span = span};
    const adamoe_run run = {0};
    span[1].parent = 1;
    assert_error(adamoe_span_attention(&run, &call), ADAMOE_BAD_INPUT, "span 1: its parent is not before it");
    span[1].parent = 0;
    span[1].start = 3;
    assert_error(adamoe_span_attention(&run, &call), ADAMOE_BAD_INPUT, "span 1: starts at 3, expected 4");
    span[1].start = 4;
    span[1].skip = 3;
    assert_error(adamoe_span_attention(&run, &call), ADAMOE_BAD_INPUT, "3 of 2 skipped");
    call.window = 0;
    assert_error(adamoe_span_attention(&run, &call), ADAMOE_BAD_INPUT, "a window of 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_reference),
        cmocka_unit_test(the_same_bits_however_it_is_cut),
        cmocka_unit_test(skipped_tokens_have_keys_but_no_query),
        cmocka_unit_test(a_nan_does_not_reach_earlier_queries),
        cmocka_unit_test(bad_spans_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
