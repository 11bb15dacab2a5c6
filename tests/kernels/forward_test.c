/*
 * The batched forward pass on the contract, against the naive model: with the weights held and layer by layer, for several
 * numbers of threads, on every built-in kernel that this machine can run. Scores are in forward_score_test.c, sequences
 * that grow in forward_continue_test.c.
 */
#include "kernels/forward_batch.h"
#include "checkpoint.h"
#include "kernel/kernel.h"
#include "numbers.h"
#include "model/route.h"
#include "model/span_attention.h"
#include "machine/clock.h"

/* And the same bits for any number of threads, with the weights held or layer by layer. */
static void check_kernel(const adamoe_kernel *kernel, const adamoe_model *model, const seen *expected)
{
    const size_t size = SEGMENTS * LONGEST * model->config.vocab_size;
    seen first = run_forward(kernel, model, 1, SIZE_MAX);
    assert_int_equal(first.count, expected->count);
    if (is_float32(kernel)) {
        assert_close(&first, expected, size);
    }
    for (uint32_t threads = 2; threads <= 7; threads += 1) {
        seen other = run_forward(kernel, model, threads, threads % 2 == 0 ? SIZE_MAX : 0);
        assert_memory_equal(other.logits, first.logits, size * sizeof(float));
        assert_memory_equal(other.ids, first.ids, first.ids_count * sizeof(uint32_t));
        free_seen(&other);
    }
    free_seen(&first);
}

static void equals_the_naive_model(const char *folder)
{
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(folder, &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    seen expected = make_seen(model);
    const adamoe_batch_hooks hooks = {.context = &expected, .logits = see_logits};
    assert_ok(adamoe_batch_forward(model, segments, SEGMENTS, &hooks));
    assert_true(expected.count > 10);
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        const char *why_not = NULL;
        if (kernel->supported(&why_not)) {
            check_kernel(kernel, model, &expected);
        } else {
            print_message("left out: %s: %s\n", kernel->name, why_not);
        }
    }
    adamoe_registry_free(registry);
    free_seen(&expected);
    adamoe_checkpoint_close(checkpoint);
}

/* The router is the only matrix of the golden model with 8 rows. */
static adamoe_status refuse_router(const adamoe_host *host, const adamoe_matrix *matrix,
                                   const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    if (matrix->rows == 8) {
        return adamoe_error(ADAMOE_BAD_INPUT, "the kernel was given the router");
    }
    return adamoe_reference_kernel.prepare_matrix(host, matrix, placement, out);
}

/* The router's product is not the kernel's where that would round its inputs: with the reference's own
 * products, but declared as bfloat16, the result is still the naive model's, and the dense product never sees
 * the router. */
static void a_kernel_that_rounds_leaves_the_router_alone(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_kernel rounding = adamoe_reference_kernel;
    rounding.x = ADAMOE_BFLOAT16;
    rounding.prepare_matrix = refuse_router;
    seen expected = make_seen(model);
    const adamoe_batch_hooks hooks = {.context = &expected, .logits = see_logits};
    assert_ok(adamoe_batch_forward(model, segments, SEGMENTS, &hooks));
    seen got = run_forward(&rounding, model, 2, SIZE_MAX);
    assert_close(&got, &expected, SEGMENTS * LONGEST * model->config.vocab_size);
    free_seen(&got);
    free_seen(&expected);
    adamoe_checkpoint_close(checkpoint);
}

static void mixtral_in_a_batch(void **state)
{
    (void)state;
    equals_the_naive_model(SOURCE_PATH("tests/golden/tiny_mixtral"));
}

static void llama_in_a_batch(void **state)
{
    (void)state;
    equals_the_naive_model(SOURCE_PATH("tests/golden/tiny_llama"));
}

/* The embedding of token 14 is NaN: it stands in segment 3, the last of its tokens, and
 * alone in segment 7. */
static void a_nan_is_named_by_segment_and_token(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    adamoe_model model = *adamoe_checkpoint_model(checkpoint);
    const size_t d = model.config.hidden_size, count = model.config.vocab_size * d;
    float *embedding = calloc(count, sizeof *embedding);
    assert_non_null(embedding);
    for (size_t i = 0; i < count; ++i) {
        embedding[i] = i / d == 14 ? NAN : adamoe_element(model.embedding.data, model.embedding.dtype, i);
    }
    model.embedding.data = embedding;
    model.embedding.dtype = ADAMOE_F32;
    adamoe_registry *registry = NULL;
    adamoe_team *team = NULL;
    adamoe_forward *forward = NULL;
    const adamoe_placement placement = adamoe_one_node(2);
    const adamoe_batch_hooks hooks = {0};
    assert_ok(adamoe_registry_create(&registry));
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(adamoe_forward_create(adamoe_registry_default(registry), &model, team, &placement,
                                    &adamoe_heap_host, SIZE_MAX, &forward));
    assert_error(adamoe_forward_batch(forward, segments, SEGMENTS, &hooks), ADAMOE_BAD_INPUT,
                 "layer 0: segment 3, token 7: logit of expert 0 is NaN");
    assert_ok(adamoe_forward_batch(forward, segments, 3, &hooks)); /* those before it are not affected */
    assert_error(adamoe_forward_batch(forward, segments + 7, 1, &hooks), ADAMOE_BAD_INPUT,
                 "layer 0: segment 0, token 0: logit of expert 0 is NaN");
    adamoe_forward_free(forward);
    assert_ok(adamoe_forward_create(adamoe_registry_default(registry), &model, team, &placement,
                                    &adamoe_heap_host, SIZE_MAX, &forward));
    assert_ok(adamoe_forward_batch(forward, segments, 0, &hooks)); /* the first batch, and an empty one */
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    adamoe_registry_free(registry);
    free(embedding);
    adamoe_checkpoint_close(checkpoint);
}

/* ------------------------------------------------------------------------------------------ a long batch */

#define COPIES 150

typedef struct copies_seen {
    const seen *one;
    _Atomic size_t count, different;
} copies_seen;

static void see_copy(void *context, size_t segment, size_t position, const float *logits)
{
    copies_seen *s = context;
    const float *one = s->one->logits + (segment % SEGMENTS * LONGEST + position) * s->one->vocab;
    s->different += memcmp(one, logits, s->one->vocab * sizeof *logits) != 0;
    ++s->count;
}

/* All calls, and those by one thread alone. */
static _Atomic size_t attention_calls, lone_calls;

static adamoe_status count_attention(const adamoe_run *run, const adamoe_attention_call *call)
{
    ++attention_calls;
    lone_calls += run->team->threads == 1;
    return adamoe_span_attention(run, call);
}

static adamoe_segment *copy_segments(void)
{
    adamoe_segment *many = calloc(COPIES * SEGMENTS, sizeof *many);
    assert_non_null(many);
    for (size_t i = 0; i < COPIES * SEGMENTS; ++i) {
        many[i] = segments[i % SEGMENTS];
        many[i].parent += many[i].parent == ADAMOE_NO_PARENT ? 0 : i / SEGMENTS * SEGMENTS;
    }
    return many;
}

/* A batch of more rows than stay in cache goes through attention part by part. No segment is cut off from
 * what it continues, and a token has the bits that it has alone. */
static void a_long_batch_has_the_bits_of_a_short_one(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    assert_ok(adamoe_registry_create(&registry));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_kernel kernel = *adamoe_registry_default(registry);
    assert_true((kernel.guarantees & ADAMOE_SAME_BITS_BATCH) != 0);
    kernel.attention_work_bytes = adamoe_span_attention_work_bytes;
    kernel.attention = count_attention;
    attention_calls = lone_calls = 0;
    seen one = run_forward(&kernel, model, 2, SIZE_MAX);
    assert_true(attention_calls == model->config.layers && lone_calls == 0); /* by the team */
    adamoe_segment *many = copy_segments();
    machine m = make_machine(&kernel, model, SIZE_MAX);
    copies_seen copies = {.one = &one};
    const adamoe_batch_hooks hooks = {.context = &copies, .logits = see_copy};
    attention_calls = 0;
    assert_ok(adamoe_forward_batch(m.forward, many, COPIES * SEGMENTS, &hooks));
    assert_true(attention_calls > 4 * model->config.layers && lone_calls == attention_calls);
    assert_int_equal(copies.count, COPIES * one.count);
    assert_int_equal(copies.different, 0);
    free_machine(&m);
    free(many);
    free_seen(&one);
    adamoe_registry_free(registry);
    adamoe_checkpoint_close(checkpoint);
}

/* Parts are computed by threads at the same time, but it is the first token of the batch that is named; every stage that
 * the model has gets its time, and together they take no more than the batch. */
static void parts_that_run_at_once_fail_and_are_timed_in_order(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    adamoe_model model = *adamoe_checkpoint_model(checkpoint);
    const size_t d = model.config.hidden_size, count = model.config.vocab_size * d;
    float *embedding = calloc(count, sizeof *embedding);
    assert_non_null(embedding);
    for (size_t i = 0; i < count; ++i) {
        embedding[i] = i / d == 95 ? NAN : adamoe_element(model.embedding.data, model.embedding.dtype, i);
    }
    model.embedding.data = embedding;
    model.embedding.dtype = ADAMOE_F32;
    adamoe_segment *many = copy_segments();
    const adamoe_batch_hooks none = {0};
    machine m = make_machine(NULL, &model, SIZE_MAX);
    adamoe_forward_clock clock = {0};
    adamoe_forward_time_stages(m.forward, &clock);
    const double start = adamoe_now();
    assert_ok(adamoe_forward_batch(m.forward, many, COPIES * SEGMENTS, &none));
    const double passed = adamoe_now() - start;
    double all = 0.0;
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        const bool is_there =
            i != ADAMOE_FORWARD_HEAD && i != ADAMOE_FORWARD_LOG_SOFTMAX && i != ADAMOE_FORWARD_PACKING;
        assert_true(is_there ? clock.seconds[i] > 0.0 : clock.seconds[i] == 0.0);
        all += clock.seconds[i];
    }
    assert_true(all <= passed && all > 0.5 * passed);
    static const uint32_t bad[] = {11, 95, 22};
    for (size_t s = 400; s < COPIES * SEGMENTS; s += 100) { /* segments without a child or parent */
        many[s / SEGMENTS * SEGMENTS + 7] = (adamoe_segment){bad, 3, ADAMOE_NO_PARENT, 3};
    }
    for (size_t i = 0; i < 5; ++i) {
        assert_error(adamoe_forward_batch(m.forward, many, COPIES * SEGMENTS, &none), ADAMOE_BAD_INPUT,
                     "layer 0: segment 407, token 1: logit of expert 0 is NaN");
    }
    free_machine(&m);
    free(many);
    free(embedding);
    adamoe_checkpoint_close(checkpoint);
}

/* A kernel's own router and attention are called in place of the program's. */
static _Atomic size_t own_calls;

static adamoe_status own_route(const adamoe_run *run, adamoe_routing *routing)
{
    ++own_calls;
    return adamoe_route(run, routing);
}

static adamoe_status own_attention(const adamoe_run *run, const adamoe_attention_call *call)
{
    ++own_calls;
    return adamoe_span_attention(run, call);
}

static adamoe_status route_out_of_range(const adamoe_run *run, adamoe_routing *routing)
{
    ADAMOE_TRY(adamoe_route(run, routing));
    routing->id[3] = UINT32_MAX;
    return adamoe_ok();
}

static void a_kernel_brings_its_own_parts(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint = NULL;
    assert_ok(adamoe_checkpoint_open(SOURCE_PATH("tests/golden/tiny_mixtral"), &checkpoint));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.route = own_route;
    kernel.attention = own_attention;
    kernel.attention_work_bytes = adamoe_span_attention_work_bytes;
    seen expected = run_forward(&adamoe_reference_kernel, model, 2, SIZE_MAX);
    seen got = run_forward(&kernel, model, 2, SIZE_MAX);
    assert_int_equal(own_calls, 2 * model->config.layers);
    assert_memory_equal(got.logits, expected.logits, SEGMENTS * LONGEST * got.vocab * sizeof(float));
    kernel.route = route_out_of_range;
    machine m = make_machine(&kernel, model, SIZE_MAX);
    const adamoe_batch_hooks none = {0};
    assert_error(adamoe_forward_batch(m.forward, segments, SEGMENTS, &none), ADAMOE_BAD_INPUT,
                 "layer 0: plan: token");
    free_machine(&m);
    free_seen(&got);
    free_seen(&expected);
    adamoe_checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_that_rounds_leaves_the_router_alone),
        cmocka_unit_test(mixtral_in_a_batch),
        cmocka_unit_test(llama_in_a_batch),
        cmocka_unit_test(a_nan_is_named_by_segment_and_token),
        cmocka_unit_test(a_long_batch_has_the_bits_of_a_short_one),
        cmocka_unit_test(parts_that_run_at_once_fail_and_are_timed_in_order),
        cmocka_unit_test(a_kernel_brings_its_own_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
