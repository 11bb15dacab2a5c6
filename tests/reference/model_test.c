/*
 * The whole model: logits of tiny random models against Hugging Face transformers (golden files), and the
 * cache.
 */
#include "test.h"
#include "attention.h"
#include "batch.h"
#include "checkpoint.h"
#include "numbers.h"

#include <time.h>

static adamoe_checkpoint *open_model(const char *folder)
{
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(folder, &checkpoint));
    return checkpoint;
}

static float *run_tokens(const adamoe_model *model, const uint32_t *tokens, size_t count)
{
    float *logits = calloc(count * model->config.vocab_size, sizeof *logits);
    adamoe_cache *cache = NULL;
    assert_non_null(logits);
    assert_ok(adamoe_cache_create(&model->config, count, &cache));
    assert_ok(adamoe_model_forward(model, cache, tokens, count, NULL, NULL, logits));
    assert_int_equal(cache->length, count);
    adamoe_cache_free(cache);
    return logits;
}

/* The file has tokens [sequences, length] and logits [sequences, length, vocabulary]. */
static void compare_with_transformers(const char *folder, const char *expected_path)
{
    adamoe_checkpoint *checkpoint = open_model(folder);
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_safetensors *expected = NULL;
    assert_ok(adamoe_safetensors_open(expected_path, &expected));
    const adamoe_tensor *tokens = adamoe_safetensors_find(expected, "tokens");
    const adamoe_tensor *logits = adamoe_safetensors_find(expected, "logits");
    assert_non_null(tokens);
    assert_non_null(logits);
    const size_t length = tokens->shape[1], vocab = model->config.vocab_size;
    assert_int_equal(logits->elements, tokens->elements * vocab);
    uint32_t ids[64];
    assert_true(length <= 64 && length > model->config.sliding_window);
    double largest = 0.0, magnitude = 0.0;
    for (size_t s = 0; s < tokens->shape[0]; ++s) {
        for (size_t i = 0; i < length; ++i) {
            int64_t id;
            memcpy(&id, (const char *)tokens->data + (s * length + i) * sizeof id, sizeof id);
            ids[i] = (uint32_t)id;
        }
        float *got = run_tokens(model, ids, length);
        for (size_t i = 0; i < length * vocab; ++i) {
            const double e = (double)adamoe_element(logits->data, ADAMOE_F32, s * length * vocab + i);
            largest = fmax(largest, fabs((double)got[i] - e));
            magnitude = fmax(magnitude, fabs(e));
        }
        free(got);
    }
    print_message("largest error %.2e of logits up to %.2f\n", largest, magnitude);
    assert_true(magnitude > 0.5); /* otherwise the comparison would prove little */
    assert_true(largest <= 1e-5);
    adamoe_safetensors_close(expected);
    adamoe_checkpoint_close(checkpoint);
}

static void mixtral_equals_transformers(void **state)
{
    (void)state;
    compare_with_transformers(SOURCE_PATH("tests/golden/tiny_mixtral"),
                              SOURCE_PATH("tests/golden/tiny_mixtral/expected.safetensors"));
}

static void llama_equals_transformers(void **state)
{
    (void)state;
    compare_with_transformers(SOURCE_PATH("tests/golden/tiny_llama"),
                              SOURCE_PATH("tests/golden/tiny_llama/expected.safetensors"));
}

/* The window of the golden model is shorter than its text; a window off by one must show in its logits. */
static void the_window_matters(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = open_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
    adamoe_model model = *adamoe_checkpoint_model(checkpoint);
    uint32_t ids[16];
    for (uint32_t i = 0; i < 16; ++i) {
        ids[i] = i * 7 % 96;
    }
    assert_true(model.config.sliding_window > 1);
    float *right = run_tokens(&model, ids, 16);
    ++model.config.sliding_window;
    float *wrong = run_tokens(&model, ids, 16);
    const size_t vocab = model.config.vocab_size, inside = model.config.sliding_window - 1;
    assert_memory_equal(right, wrong, inside * vocab * sizeof *right);
    double largest = 0.0;
    for (size_t v = 0; v < vocab; ++v) {
        largest = fmax(largest, fabs((double)right[inside * vocab + v] - (double)wrong[inside * vocab + v]));
    }
    assert_true(largest > 1e-3);
    free(right);
    free(wrong);
    adamoe_checkpoint_close(checkpoint);
}

static void visible_keys_of_a_window(void **state)
{
    (void)state;
    assert_int_equal(adamoe_first_visible(9, 0), 0);
    assert_int_equal(adamoe_first_visible(3, 4), 0);
    assert_int_equal(adamoe_first_visible(4, 4), 1);
    assert_int_equal(adamoe_visible_keys(&(adamoe_config){.sliding_window = 4}, 9), 4);
    assert_int_equal(adamoe_visible_keys(&(adamoe_config){.sliding_window = 0}, 9), 10);
}

/* Token by token, all at once, or after the cache was cut back: the same bits. */
static void the_cache_changes_no_bit(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = open_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const size_t vocab = model->config.vocab_size;
    const uint32_t ids[] = {5, 9, 40, 3, 77, 8, 21, 95, 60};
    float *whole = run_tokens(model, ids, 9), *step = calloc(vocab, sizeof *step);
    adamoe_cache *cache = NULL;
    assert_ok(adamoe_cache_create(&model->config, 9, &cache));
    for (size_t i = 0; i < 9; ++i) {
        assert_ok(adamoe_model_forward(model, cache, ids + i, 1, NULL, NULL, step));
        assert_memory_equal(step, whole + i * vocab, vocab * sizeof *step);
    }
    cache->length = 4;
    const uint32_t other[] = {1, 2, 3};
    assert_ok(adamoe_model_forward(model, cache, other, 3, NULL, NULL, NULL));
    cache->length = 4;
    assert_ok(adamoe_model_forward(model, cache, ids + 4, 4, NULL, NULL, NULL));
    assert_ok(adamoe_model_forward(model, cache, ids + 8, 1, NULL, NULL, step));
    assert_memory_equal(step, whole + 8 * vocab, vocab * sizeof *step);
    assert_error(adamoe_model_forward(model, cache, ids, 1, NULL, NULL, step), ADAMOE_BAD_INPUT,
                 "do not fit");
    adamoe_cache_free(cache);
    free(whole);
    free(step);
    adamoe_checkpoint_close(checkpoint);
}

/* Logits that a batch reported, by segment and position. */
typedef struct seen {
    const adamoe_segment *segment;
    size_t vocab, tokens, routed, calls;
    float *logits; /* [segments, 16, vocab] */
    size_t count;
} seen;

static void see_logits(void *context, size_t segment, size_t position, const float *logits)
{
    seen *s = context;
    memcpy(s->logits + (segment * 16 + position) * s->vocab, logits, s->vocab * sizeof *logits);
    ++s->count;
}

static void see_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    seen *s = context;
    s->routed += layer == 0 ? routing->tokens : 0;
    ++s->calls;
}

/* A question with choices of different lengths, a choice of a choice, and a sequence of its own: each
 * segment's logits are those of its whole sequence run alone. */
static void segments_continue_their_ancestors(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = open_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const uint32_t ids[] = {11, 22, 33, 44, 55, 66, 77, 88, 7, 14, 28, 56};
    const adamoe_segment segments[] = {
        {ids, 4, ADAMOE_NO_PARENT, 3},     {ids + 4, 3, 0, 0}, {ids + 7, 1, 0, 0},
        {ids + 8, 4, ADAMOE_NO_PARENT, 2}, {ids + 2, 2, 1, 1}, {ids + 5, 3, 0, 3},
    };
    const size_t count = sizeof segments / sizeof *segments, vocab = model->config.vocab_size;
    seen s = {.segment = segments, .vocab = vocab, .logits = calloc(count * 16 * vocab, sizeof(float))};
    const adamoe_batch_hooks hooks = {.context = &s, .routed = see_routing, .logits = see_logits};
    assert_ok(adamoe_batch_forward(model, segments, count, &hooks));
    assert_int_equal(s.routed, 4 + 3 + 1 + 4 + 2 + 3); /* shared tokens are seen once */
    assert_int_equal(s.calls, count * model->config.layers);
    assert_int_equal(s.count, 1 + 3 + 1 + 2 + 1 + 0);

    const uint32_t sequence[] = {11, 22, 33, 44, 55, 66, 77, 33, 44}; /* segments 0, 1, 4 */
    float *alone = run_tokens(model, sequence, 9);
    assert_memory_equal(s.logits + 3 * vocab, alone + 3 * vocab, vocab * sizeof(float));
    assert_memory_equal(s.logits + 16 * vocab, alone + 4 * vocab, 3 * vocab * sizeof(float));
    assert_memory_equal(s.logits + (4 * 16 + 1) * vocab, alone + 8 * vocab, vocab * sizeof(float));
    free(alone);
    free(s.logits);

    const adamoe_work work = adamoe_batch_work(&model->config, segments, count);
    assert_int_equal(work.tokens, 17);
    assert_int_equal(work.head_positions, 8);
    /* window 5: 1+2+3+4, 5+5+5, 5, 1+2+3+4, 5+5, 5+5+5 */
    assert_int_equal(model->config.sliding_window, 5);
    assert_int_equal(work.visible_keys, 10 + 15 + 5 + 10 + 10 + 15);
    adamoe_checkpoint_close(checkpoint);
}

/* A chain of segments, something else, and then two that continue the end and the middle of the chain. */
static void a_long_chain_is_filled_again(void **state)
{
    (void)state;
    enum { CHAIN = 300, LAST = CHAIN + 2 };
    adamoe_checkpoint *checkpoint = open_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const size_t vocab = model->config.vocab_size;
    uint32_t ids[CHAIN + 3];
    adamoe_segment segments[CHAIN + 3];
    for (size_t s = 0; s <= LAST; ++s) {
        ids[s] = (uint32_t)(s * 29 % 96);
        segments[s] = (adamoe_segment){ids + s, 1, s == 0 ? ADAMOE_NO_PARENT : s - 1, 1};
    }
    segments[CHAIN].parent = ADAMOE_NO_PARENT;
    segments[CHAIN + 1] = (adamoe_segment){ids + CHAIN + 1, 1, CHAIN - 1, 0};
    segments[LAST] = (adamoe_segment){ids + CHAIN + 1, 1, CHAIN / 2, 0};
    seen s = {.vocab = vocab, .logits = calloc((LAST + 1) * 16 * vocab, sizeof(float))};
    assert_non_null(s.logits);
    const adamoe_batch_hooks hooks = {.context = &s, .logits = see_logits};
    assert_ok(adamoe_batch_forward(model, segments, LAST + 1, &hooks));
    assert_int_equal(s.count, 2);
    assert_int_equal(adamoe_segment_start(segments, CHAIN + 1), CHAIN);
    ids[CHAIN] = ids[CHAIN + 1];
    float *alone = run_tokens(model, ids, CHAIN + 1);
    assert_memory_equal(s.logits + (CHAIN + 1) * 16 * vocab, alone + CHAIN * vocab, vocab * sizeof(float));
    free(alone);
    ids[CHAIN / 2 + 1] = ids[CHAIN + 1];
    alone = run_tokens(model, ids, CHAIN / 2 + 2);
    assert_memory_equal(s.logits + (size_t)LAST * 16 * vocab, alone + (CHAIN / 2 + 1) * vocab,
                        vocab * sizeof(float));
    free(alone);
    free(s.logits);
    adamoe_checkpoint_close(checkpoint);
}

/* A chain of 200000 segments: walking to the root for each would take half a minute. */
static void the_work_of_a_long_chain(void **state)
{
    (void)state;
    enum { CHAIN = 200000 };
    adamoe_segment *segments = calloc(CHAIN, sizeof *segments);
    assert_non_null(segments);
    for (size_t s = 0; s < CHAIN; ++s) {
        segments[s] = (adamoe_segment){NULL, 3, s == 0 ? ADAMOE_NO_PARENT : s - 1, 2};
    }
    const clock_t start = clock();
    const adamoe_work work = adamoe_batch_work(&(adamoe_config){.sliding_window = 0}, segments, CHAIN);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2.0);
    const uint64_t tokens = 3 * (uint64_t)CHAIN;
    assert_true(work.tokens == tokens && work.head_positions == CHAIN);
    assert_true(work.visible_keys == tokens * (tokens + 1) / 2);
    free(segments);
}

/* A head of NaN: nobody asks for logits, so nobody computes them; who asks learns which token it was, counted
 * in its segment. */
static void the_head_is_computed_where_somebody_reads_it(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = open_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
    adamoe_model model = *adamoe_checkpoint_model(checkpoint);
    const size_t size = model.config.vocab_size * model.config.hidden_size;
    float *nan = calloc(size, sizeof *nan);
    assert_non_null(nan);
    for (size_t i = 0; i < size; ++i) {
        nan[i] = NAN;
    }
    model.head = (adamoe_matrix){nan, ADAMOE_F32, model.config.vocab_size, model.config.hidden_size};
    const uint32_t ids[] = {5, 9, 40, 3, 77};
    const adamoe_segment segment = {ids, 5, ADAMOE_NO_PARENT, 2};
    seen s = {.vocab = model.config.vocab_size};
    assert_ok(adamoe_batch_forward(&model, &segment, 1,
                                   &(adamoe_batch_hooks){.context = &s, .routed = see_routing}));
    assert_int_equal(s.calls, model.config.layers);
    s.logits = nan; /* nothing arrives there */
    assert_error(
        adamoe_batch_forward(&model, &segment, 1, &(adamoe_batch_hooks){.context = &s, .logits = see_logits}),
        ADAMOE_BAD_INPUT, "segment 0: head: token 2: logit of vocabulary entry 0 is NaN");

    /* Token 3 has a NaN for its embedding: its router says so, at its place in the segment. */
    for (size_t i = 0; i < size; ++i) {
        nan[i] = i / model.config.hidden_size == 3
                     ? NAN
                     : adamoe_element(model.embedding.data, model.embedding.dtype, i);
    }
    model.head = adamoe_checkpoint_model(checkpoint)->head;
    model.embedding = (adamoe_matrix){nan, ADAMOE_F32, model.config.vocab_size, model.config.hidden_size};
    s.logits = calloc(16 * s.vocab, sizeof *s.logits);
    assert_non_null(s.logits);
    assert_error(
        adamoe_batch_forward(&model, &segment, 1, &(adamoe_batch_hooks){.context = &s, .logits = see_logits}),
        ADAMOE_BAD_INPUT, "segment 0: layer 0: token 3: logit of expert 0 is NaN");
    free(s.logits);
    free(nan);
    adamoe_checkpoint_close(checkpoint);
}

static void refusals(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = open_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const uint32_t ids[] = {1, 2, 96};
    const adamoe_batch_hooks hooks = {0};
    assert_error(adamoe_batch_forward(model, &(adamoe_segment){ids, 3, ADAMOE_NO_PARENT, 3}, 1, &hooks),
                 ADAMOE_BAD_INPUT, "segment 0, token 2: id 96 is outside the vocabulary of 96");
    assert_error(adamoe_batch_forward(model, &(adamoe_segment){ids, 0, ADAMOE_NO_PARENT, 0}, 1, &hooks),
                 ADAMOE_BAD_INPUT, "segment 0: no token");
    assert_error(adamoe_batch_forward(model, &(adamoe_segment){ids, 1, 0, 0}, 1, &hooks), ADAMOE_BAD_INPUT,
                 "segment 0: its parent is not before it");
    adamoe_checkpoint_close(checkpoint);
}

static void log_sum_exp_of_large_logits(void **state)
{
    (void)state;
    const float logits[] = {1000.0f, 1000.0f, -1000.0f};
    assert_true(fabs(adamoe_log_sum_exp(logits, 3) - (1000.0 + log(2.0))) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixtral_equals_transformers),
        cmocka_unit_test(llama_equals_transformers),
        cmocka_unit_test(the_window_matters),
        cmocka_unit_test(visible_keys_of_a_window),
        cmocka_unit_test(the_cache_changes_no_bit),
        cmocka_unit_test(segments_continue_their_ancestors),
        cmocka_unit_test(a_long_chain_is_filled_again),
        cmocka_unit_test(the_work_of_a_long_chain),
        cmocka_unit_test(the_head_is_computed_where_somebody_reads_it),
        cmocka_unit_test(refusals),
        cmocka_unit_test(log_sum_exp_of_large_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
