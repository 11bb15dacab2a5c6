/*
 * A sequence that grows piece by piece on a key-value cache: the logits of one batch, on every built-in kernel that this
 * machine can run.
 */
#include "kernels/forward_batch.h"
#include "checkpoint.h"
#include "numbers.h"

/* The whole of `ids` in pieces behind one another: the logits after each piece are those of one batch, to the
 * bit where the kernel promises that for any batch-mates. */
static void check_continuing(const adamoe_kernel *kernel, const adamoe_model *model, size_t memory)
{
    static const size_t piece[] = {3, 1, 1, 4, 2, 1};
    enum { ALL = sizeof ids / sizeof *ids };
    const size_t vocab = model->config.vocab_size;
    machine m = make_machine(kernel, model, memory);
    float *whole = calloc(ALL * vocab, sizeof *whole);
    assert_non_null(whole);
    seen s = {.vocab = vocab, .logits = whole}; /* one segment: a row for each position */
    const adamoe_segment segment = {ids, ALL, ADAMOE_NO_PARENT, 0};
    const adamoe_batch_hooks hooks = {.context = &s, .logits = see_logits};
    assert_ok(adamoe_forward_batch(m.forward, &segment, 1, &hooks));
    seen one = make_seen(model);
    const adamoe_batch_hooks see = {.context = &one, .logits = see_logits};
    adamoe_key_value_cache *cache = NULL;
    assert_ok(adamoe_key_value_cache_create(&model->config, ALL, &cache));
    for (size_t round = 0; round < 2; ++round) {
        cache->length = 0;
        for (size_t i = 0; i < sizeof piece / sizeof *piece; ++i) {
            one.count = 0;
            assert_ok(adamoe_forward_continue(m.forward, cache, ids + cache->length, piece[i], &see));
            assert_int_equal(one.count, 1);
            const float *got = one.logits + (piece[i] - 1) * vocab,
                        *right = whole + (cache->length - 1) * vocab;
            for (size_t v = 0; v < vocab; ++v) {
                const float off = kernel->guarantees & ADAMOE_SAME_BITS_BATCH ? 0.0f : 1e-5f;
                assert_true(!is_float32(kernel) || fabsf(got[v] - right[v]) <= off);
            }
        }
        assert_int_equal(cache->length, ALL);
    }
    assert_error(adamoe_forward_continue(m.forward, cache, ids, 1, &see), ADAMOE_BAD_INPUT,
                 "key-value cache: 1 tokens behind 12, room for 12");
    cache->length = 4;
    assert_error(adamoe_forward_continue(m.forward, cache, ids, 0, &see), ADAMOE_BAD_INPUT, "no token");
    assert_int_equal(cache->length, 4);
    adamoe_key_value_cache_free(cache);
    free_machine(&m);
    free_seen(&one);
    free(whole);
}

static void a_cache_stands_for_what_came_before(void **state)
{
    (void)state;
    static const char *const folders[] = {SOURCE_PATH("tests/golden/tiny_mixtral"),
                                          SOURCE_PATH("tests/golden/tiny_llama")};
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    for (size_t f = 0; f < 2; ++f) {
        adamoe_checkpoint *checkpoint = NULL;
        assert_ok(adamoe_checkpoint_open(folders[f], &checkpoint));
        for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
            const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
            const char *why_not = NULL;
            if (kernel->supported(&why_not)) {
                check_continuing(kernel, adamoe_checkpoint_model(checkpoint), i % 2 == 0 ? SIZE_MAX : 0);
            }
        }
        adamoe_checkpoint_close(checkpoint);
    }
    adamoe_registry_free(registry);
}

static void a_cache_of_another_model_is_refused(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_config other = model->config;
    other.layers += 1;
    machine m = make_machine(NULL, model, SIZE_MAX);
    adamoe_key_value_cache *cache = NULL;
    const adamoe_batch_hooks none = {0};
    assert_ok(adamoe_key_value_cache_create(&other, 4, &cache));
    assert_error(adamoe_forward_continue(m.forward, cache, ids, 1, &none), ADAMOE_BAD_INPUT,
                 "key-value cache: made for");
    adamoe_key_value_cache_free(cache);
    assert_error(adamoe_key_value_cache_create(&other, SIZE_MAX / 2, &cache), ADAMOE_ENVIRONMENT,
                 "key-value cache: out of memory");
    free_machine(&m);
    adamoe_checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_stands_for_what_came_before),
        cmocka_unit_test(a_cache_of_another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
