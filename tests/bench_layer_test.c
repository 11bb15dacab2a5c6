/*
 * What is timed, seen from inside a kernel: cold weights are cold, hot ones are the same, a wrong kernel is
 * not timed, and one that cannot run says so.
 */
#include "test.h"
#include "bench_layer.h"
#include "cpu.h"
#include "gbench/gbench.h"
#include "layer.h"

/* A kernel that is right on its first call and afterwards writes down what it was asked to touch. */
enum { MOST_CALLS = 20000 };

typedef struct touch {
    const adamoe_prepared *prepared;
    uint64_t experts; /* a bit for each */
} touch;

static touch calls[MOST_CALLS];
static size_t call_count;

static adamoe_status experts_that_note(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                       const adamoe_plan *plan, float *y)
{
    touch note = {.prepared = prepared};
    for (size_t e = 0; e < plan->experts; ++e) {
        note.experts |= (uint64_t)(plan->offset[e] < plan->offset[e + 1]) << e;
    }
    if (call_count < MOST_CALLS) {
        calls[call_count] = note;
    }
    return call_count++ == 0 ? adamoe_reference_kernel.experts(prepared, run, x, plan, y) : adamoe_ok();
}

static adamoe_status experts_that_are_wrong(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                            const adamoe_plan *plan, float *y)
{
    ++call_count;
    const adamoe_status status = adamoe_reference_kernel.experts(prepared, run, x, plan, y);
    y[(plan->tokens - 1) * 64 + 63] *= 1.001f; /* the last channel of the last token of the preset tiny */
    return status;
}

static bool not_supported(const char **why_not)
{
    *why_not = "it is Sunday";
    return false;
}

/* Runs one benchmark, by a name that no other test uses: the library forgets nothing. */
static adamoe_status run(adamoe_kernel *kernel, const char *name, size_t tokens, bool hot)
{
    static const adamoe_preset *const tiny = &adamoe_presets[0];
    const adamoe_bench_options options = {.preset = tiny, .seed = 1, .threads = 1, .hot = hot};
    adamoe_bench_layer *layer = NULL;
    gbench_report report;
    char program[] = "bench_layer_test", filter[128], time[] = "--benchmark_min_time=0.02";
    char *arguments[] = {program, filter, time, NULL};
    (void)snprintf(filter, sizeof filter, "--benchmark_filter=/%s/", name);
    kernel->name = name;
    call_count = 0;
    assert_ok(adamoe_bench_layer_create(&options, &layer));
    assert_ok(adamoe_bench_layer_add(layer, kernel, tokens, ADAMOE_PATTERN_BALANCED));
    assert_int_equal(gbench_run(3, arguments, &report), GBENCH_DONE);
    const adamoe_status status = adamoe_bench_layer_status(layer);
    gbench_report_free(&report);
    adamoe_bench_layer_free(layer);
    return status;
}

static size_t count_bits(uint64_t bits)
{
    size_t count = 0;
    for (; bits != 0; bits &= bits - 1) {
        ++count;
    }
    return count;
}

/* The fewest bytes that were touched between two uses of one weight, the use itself included; SIZE_MAX where
 * none was used twice. */
static size_t least_distance(void)
{
    const size_t expert_bytes = 3 * 64 * 96 * sizeof(float);
    const size_t count = call_count < MOST_CALLS ? call_count : MOST_CALLS;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < count; ++i) {
        size_t bytes = 0;
        for (size_t j = i; j < count; ++j) {
            if (j > i && calls[j].prepared == calls[i].prepared &&
                (calls[j].experts & calls[i].experts) != 0) {
                least = bytes < least ? bytes : least;
                break;
            }
            bytes += count_bits(calls[j].experts) * expert_bytes;
        }
    }
    return least;
}

static size_t largest_cache(void)
{
    adamoe_cpu cpu;
    size_t bytes = 0;
    adamoe_cpu_describe(&cpu);
    for (size_t i = 0; i < cpu.caches; ++i) {
        bytes = cpu.cache[i].bytes > bytes ? cpu.cache[i].bytes : bytes;
    }
    return bytes;
}

static void cold_weights_are_cold(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 16};
    static const char *const names[] = {"cold-one", "cold-sixteen"};
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_that_note;
    for (size_t i = 0; i < 2; ++i) {
        assert_ok(run(&kernel, names[i], tokens[i], false));
        const size_t distance = least_distance();
        print_message("%zu tokens: a weight is used again after %.1f MB; the last cache holds %.1f MB\n",
                      tokens[i], (double)distance / 1e6, (double)largest_cache() / 1e6);
        assert_true(distance != SIZE_MAX); /* the rotation has come round, or this shows nothing */
        assert_true(distance >= 2 * largest_cache());
    }
}

static void hot_weights_are_the_same(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_that_note;
    assert_ok(run(&kernel, "hot", 1, true));
    assert_true(call_count > 2);
    for (size_t i = 1; i < call_count && i < MOST_CALLS; ++i) {
        assert_ptr_equal(calls[i].prepared, calls[0].prepared);
        assert_int_equal(calls[i].experts, calls[0].experts);
    }
}

static void a_wrong_kernel_is_not_timed(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_that_are_wrong;
    assert_error(
        run(&kernel, "wrong", 16, false), ADAMOE_DIFFERENCE,
        "layer/tiny/wrong/tokens:16/routing:balanced/threads:1: wrong result at token 15, channel 63");
    assert_int_equal(call_count, 1);
}

static void a_kernel_that_cannot_run_is_skipped(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.supported = not_supported;
    assert_error(run(&kernel, "closed", 1, false), ADAMOE_NOT_SUPPORTED, "cannot run here: it is Sunday");
    assert_int_equal(call_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cold_weights_are_cold),
        cmocka_unit_test(hot_weights_are_the_same),
        cmocka_unit_test(a_wrong_kernel_is_not_timed),
        cmocka_unit_test(a_kernel_that_cannot_run_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
