/*
 * What is timed, seen from inside a kernel: cold weights are cold, hot ones are the same, a wrong kernel is
 * not timed, and one that cannot run says so.
 */
#include "test.h"
#include "timing/judge.h"
#include "bench/layer.h"
#include "machine/last_level_cache.h"
#include "gbench/gbench.h"
#include "layer.h"
#include "kernel/kernel.h"
#include "registry.h"

#include <stdlib.h>

/* A kernel that is right on its first call and its last, and in between writes down what it was asked to touch. */
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
    if (call_count > 0 && isnan(y[0])) { /* what comes after the times, on cleared memory, is judged */
        return adamoe_reference_kernel.experts(prepared, run, x, plan, y);
    }
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

enum { REPETITIONS = 5 };

/* The latest run's view. */
static struct {
    bool shown;
    adamoe_bench_member member;
    double seconds[REPETITIONS];
} latest;

static void keep(void *context, const adamoe_bench_view *view)
{
    (void)context;
    latest.shown = true;
    latest.member = view->member[0];
    for (size_t i = 0; i < REPETITIONS && view->member[0].seconds != NULL; ++i) {
        latest.seconds[i] = view->member[0].seconds[i];
    }
}

/* Of one repetition. */
static double least_seconds = 0.002;

/* Runs one benchmark. */
static adamoe_status run(adamoe_kernel *kernel, const char *name, size_t tokens, bool hot)
{
    const adamoe_bench_options options = {
        .preset = &adamoe_presets[0],
        .pattern = ADAMOE_PATTERN_BALANCED,
        .timing = {.seed = 1, .repetitions = REPETITIONS, .least_seconds = least_seconds, .hot = hot},
        .fallback = &adamoe_reference_kernel,
        .shown = keep};
    adamoe_bench_layer *layer = NULL;
    gbench_report report;
    char program[] = "bench_layer_test";
    char *arguments[] = {program, NULL};
    kernel->name = name;
    call_count = 0;
    latest.shown = false;
    assert_ok(adamoe_bench_layer_create(&options, &layer));
    const adamoe_kernel *list[] = {kernel};
    assert_ok(adamoe_bench_layer_add(layer, list, 1, tokens, 1));
    assert_int_equal(gbench_run(1, arguments, &report), GBENCH_DONE);
    const adamoe_status status = adamoe_bench_layer_status(layer);
    gbench_report_free(&report);
    adamoe_bench_layer_free(layer);
    return status;
}

/* A kernel that computes nothing may be faster than the machine, and is timed all the same. */
static void assert_timed(adamoe_status status)
{
    if (status.code != ADAMOE_OK && strstr(status.message, ": impossible: ") == NULL) {
        fail_msg("%s", status.message);
    }
}

static size_t count_bits(uint64_t bits)
{
    size_t count = 0;
    for (; bits != 0; bits &= bits - 1) {
        ++count;
    }
    return count;
}

/* Calls before any that is timed: the check, and three that tell how many there shall be. */
enum { EARLIER_CALLS = 4 };

/* The fewest bytes that were touched between two uses of one weight by calls[begin .. end), the use itself included; SIZE_MAX
 * where none was used twice. */
static size_t least_distance(size_t begin, size_t end)
{
    const size_t expert_bytes = 3 * 64 * 96 * sizeof(float);
    const size_t count = end < MOST_CALLS ? end : MOST_CALLS;
    size_t least = SIZE_MAX;
    for (size_t i = begin; i < count; ++i) {
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

static void cold_weights_are_cold(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 16};
    static const char *const names[] = {"cold-one", "cold-sixteen"};
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_that_note;
    for (size_t i = 0; i < 2; ++i) {
        assert_timed(run(&kernel, names[i], tokens[i], false));
        const size_t distance = least_distance(EARLIER_CALLS, call_count);
        print_message("%zu tokens: a weight is used again after %.1f MB; the last cache holds %.1f MB\n",
                      tokens[i], (double)distance / 1e6, (double)adamoe_last_level_cache() / 1e6);
        assert_true(distance != SIZE_MAX); /* the rotation has come round, or this shows nothing */
        assert_true(distance >= 2 * adamoe_last_level_cache());
    }
}

/* A cache that a repetition may not fill: no weight is used twice in a repetition and the call before it but where what lies
 * between fills the cache twice, and there are no more copies than calls. */
static void one_repetition_is_cold_behind_a_large_cache(void **state)
{
    (void)state;
    const char *before = getenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE);
    char *kept = before == NULL ? NULL : strdup(before);
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_that_note;
    assert_int_equal(setenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE, "64M", 1), 0);
    least_seconds = 0.0003;
    for (size_t tokens = 1; tokens <= 16; tokens += 15) {
        assert_timed(run(&kernel, tokens == 1 ? "large-cache" : "large-cache-sixteen", tokens, false));
        const size_t each = latest.member.calls + 1, first = call_count - REPETITIONS * each;
        /* How many calls fit into a repetition is up to the machine: with the one before it there are two at least. */
        assert_true(latest.member.calls >= 1 && call_count == EARLIER_CALLS + REPETITIONS * each);
        assert_true(latest.member.copies == latest.member.copies_wanted && latest.member.copies <= each);
        print_message("%zu tokens: %zu copies for repetitions of %zu calls\n", tokens, latest.member.copies,
                      latest.member.calls);
        for (size_t r = 0; r < REPETITIONS; ++r) {
            const size_t begin = first + r * each;
            assert_true(least_distance(begin, begin + each) >= 2 * adamoe_last_level_cache());
        }
    }
    assert_int_equal(kept == NULL ? unsetenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE)
                                  : setenv(ADAMOE_LAST_LEVEL_CACHE_VARIABLE, kept, 1),
                     0);
    free(kept);
    least_seconds = 0.002;
}

/* Kernels that hold all their weights themselves share one stored layer; others have one for each copy. */
static void stored_weights_are_shared_where_they_can_be(void **state)
{
    (void)state;
    static const adamoe_kernel *kernels[2];
    adamoe_registry *registry = NULL;
    adamoe_bench_machine machine = {.fallback = &adamoe_reference_kernel};
    adamoe_bench_weights weights = {.preset = &adamoe_presets[0], .seed = 1};
    adamoe_prepared **packed = NULL, **in_place = NULL;
    assert_ok(adamoe_registry_create(&registry));
    kernels[0] = adamoe_registry_find(registry, "onednn-f32");
    kernels[1] = adamoe_registry_find(registry, "reference");
    assert_ok(adamoe_bench_machine_enter(&machine, &(adamoe_machine_options){.threads = 1}));
    assert_ok(adamoe_bench_weights_hold(&weights, kernels[0], 3, machine.team, machine.host,
                                        &machine.placement, &packed));
    assert_int_equal(weights.copies, 1);
    assert_true(weights.store[0].packs && weights.store[0].bytes >= 8 * 3 * 64 * 96 * 4);
    assert_true(packed[0] != packed[1] && packed[1] != packed[2]);
    assert_ok(adamoe_bench_weights_hold(&weights, kernels[1], 3, machine.team, machine.host,
                                        &machine.placement, &in_place));
    assert_int_equal(weights.copies, 3);
    assert_false(weights.store[1].packs);
    adamoe_bench_weights_free(&weights);
    adamoe_bench_machine_leave(&machine);
    adamoe_registry_free(registry);
}

static void hot_weights_are_the_same(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_that_note;
    assert_timed(run(&kernel, "hot", 1, true));
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
    assert_true(latest.member.status.code == ADAMOE_DIFFERENCE);
}

/* Right until it was timed: on cleared memory it writes nothing but at its first call. */
static adamoe_status experts_until_timed(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                         const adamoe_plan *plan, float *y)
{
    return call_count++ == 0 || !isnan(y[0]) ? adamoe_reference_kernel.experts(prepared, run, x, plan, y)
                                             : adamoe_ok();
}

static void what_was_timed_is_judged_too(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_until_timed;
    assert_error(
        run(&kernel, "until-timed", 16, false), ADAMOE_DIFFERENCE,
        "on the last copy of the weights, after it was timed: wrong result at token 0, channel 0: got ");
    assert_true(latest.member.status.code == ADAMOE_DIFFERENCE);
}

/* Four million operations in the time of an empty call: a peak that misses what a kernel computes with would show so. */
static void a_kernel_faster_than_the_machine_fails(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.experts = experts_that_note;
    assert_error(run(&kernel, "too-fast", 64, true), ADAMOE_DIFFERENCE,
                 "layer/tiny/too-fast/tokens:64/routing:balanced/threads:1/hot: impossible: ");
    assert_true(latest.member.status.code == ADAMOE_OK && latest.member.possible.code == ADAMOE_DIFFERENCE);
}

static void a_kernel_that_cannot_run_is_skipped(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.supported = not_supported;
    assert_error(run(&kernel, "closed", 1, false), ADAMOE_NOT_SUPPORTED, "cannot run here: it is Sunday");
    assert_int_equal(call_count, 0);
}

/* All that a line counts, on the preset tiny with 3 tokens: 2 + 1 + 2 rows, five experts in turn. */
static void counts_are_exact(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    assert_timed(run(&kernel, "counted", 3, false));
    assert_true(latest.shown);
    const adamoe_bench_member *m = &latest.member;
    assert_int_equal(m->work.rows, 5);
    assert_int_equal(m->work.touched_experts, 5);
    assert_true(m->work.flops == 5.0 * 6 * 64 * 96);
    assert_true(m->work.bytes == 5.0 * 3 * 64 * 96 * 4);
    assert_true(m->load == 5.0 / 3.0);
    assert_true(m->peak.gflops >= m->peak.gflops_median && m->peak.gflops_median > 0.0);
    assert_true(m->peak.gbytes_per_second >= m->peak.gbytes_per_second_median);
    const double arithmetic = m->work.flops / m->peak.gflops * 1e-9;
    const double memory = m->work.bytes / m->peak.gbytes_per_second * 1e-9;
    const double larger = arithmetic > memory ? arithmetic : memory;
    assert_true(fabs(m->limit.seconds / larger - 1.0) < 1e-12);
    for (size_t i = 0; i < REPETITIONS; ++i) {
        assert_true(latest.seconds[i] > 0.0);
    }
    assert_true(m->summary.speedup.median == 1.0);
}

/* Who was called, in order. */
static char order[64];

static adamoe_status log_call(char who, adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                              const adamoe_plan *plan, float *y)
{
    const size_t length = strlen(order);
    assert_true(length + 1 < sizeof order);
    order[length] = who;
    return adamoe_reference_kernel.experts(prepared, run, x, plan, y);
}

static adamoe_status experts_of_one(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                    const adamoe_plan *plan, float *y)
{
    return log_call('1', prepared, run, x, plan, y);
}

static adamoe_status experts_of_two(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                    const adamoe_plan *plan, float *y)
{
    return log_call('2', prepared, run, x, plan, y);
}

/* Three kernels: the one in the middle cannot run, and takes nothing from the others. */
static void kernels_take_turns(void **state)
{
    (void)state;
    static adamoe_kernel one, closed, two;
    one = closed = two = adamoe_reference_kernel;
    one.name = "one";
    closed.name = "closed";
    closed.supported = not_supported;
    two.name = "two";
    one.experts = experts_of_one;
    two.experts = experts_of_two;
    adamoe_bench_machine machine = {.fallback = &adamoe_reference_kernel};
    adamoe_bench_weights weights = {.preset = &adamoe_presets[0], .seed = 1};
    adamoe_bench_member member[3] = {{.kernel = &one, .wanted = true},
                                     {.kernel = &closed, .wanted = true},
                                     {.kernel = &two, .wanted = true}};
    const adamoe_timing_options options = {.seed = 1, .repetitions = 4, .hot = true, .stages = true};
    float logits[2 * 16];
    adamoe_splitmix64 random = {1};
    adamoe_traffic traffic;
    const adamoe_preset *tiny = &adamoe_presets[0];
    adamoe_pattern_logits(ADAMOE_PATTERN_BALANCED, tiny->mixture, tiny->load, 2, &random, logits);
    assert_ok(adamoe_traffic_create(adamoe_preset_selection(tiny), logits, 2, 1, false, &traffic));
    assert_ok(adamoe_bench_machine_enter(&machine, &(adamoe_machine_options){.threads = 1}));
    assert_ok(adamoe_bench_group_run(&machine, &weights, &traffic, &options, member, 3));
    assert_ok(member[0].status);
    assert_error(member[1].status, ADAMOE_NOT_SUPPORTED, "it is Sunday");
    assert_ok(member[2].status);
    assert_int_equal(member[2].calls, 1); /* no least time */
    /* each: the check, three calls to choose their number; then the repetitions, a warm call
     * and a timed one; the check of what was timed */
    assert_string_equal(order, "1111"
                               "2222"
                               "1122"
                               "2211"
                               "2211"
                               "1122"
                               "12");
    for (size_t r = 0; r < 4; ++r) {
        assert_true(member[0].seconds[r] > 0.0 && member[2].seconds[r] > 0.0);
        assert_true(member[2].stages[r].route > 0.0 && member[2].stages[r].plan > 0.0);
        assert_false(adamoe_tells_stages(&member[2].stages[r]));
    }
    for (size_t i = 0; i < 3; ++i) {
        adamoe_bench_member_free(&member[i]);
    }
    adamoe_bench_weights_free(&weights);
    adamoe_bench_machine_leave(&machine);
    adamoe_traffic_free(&traffic);
}

/* Tokens in the middle and identity experts, which read x by the number of the token. */
static void every_token_is_checked_against_its_own_state(void **state)
{
    (void)state;
    enum { TOKENS = 7, D = 64 };
    const adamoe_layer_sizes sizes = {D, 96, 8, 8};
    const adamoe_selection selection = {D, {8, 8, 3}, ADAMOE_NULL_IDENTITY};
    adamoe_splitmix64 random = {2};
    adamoe_random_layer layer;
    adamoe_traffic_batch batch;
    adamoe_team *team = NULL;
    float logits[TOKENS * 16], y[TOKENS * D];
    assert_ok(adamoe_random_layer_create(sizes, ADAMOE_F32, 0, &random, &layer));
    adamoe_pattern_logits(ADAMOE_PATTERN_BALANCED, selection.mixture, 1.67, TOKENS, &random, logits);
    assert_ok(adamoe_traffic_batch_create(selection, logits, TOKENS, 1, &batch));
    assert_non_null(batch.plan->self_scale);
    assert_ok(adamoe_team_create(2, &team));
    double *work = malloc(adamoe_layer_work(&layer.layer) * sizeof *work);
    assert_non_null(work);
    adamoe_layer_forward(&layer.layer, adamoe_float32_operands, batch.x, batch.plan, y, work);
    assert_ok(adamoe_bench_check(&adamoe_reference_kernel, &layer.layer, &batch, TOKENS, y, team));
    for (size_t t = 0; t < TOKENS; ++t) {
        char place[64];
        (void)snprintf(place, sizeof place, "wrong result at token %zu, channel 5", t);
        const float right = y[t * D + 5];
        y[t * D + 5] = right + 0.01f;
        assert_error(adamoe_bench_check(&adamoe_reference_kernel, &layer.layer, &batch, TOKENS, y, team),
                     ADAMOE_DIFFERENCE, place);
        y[t * D + 5] = NAN;
        assert_error(adamoe_bench_check(&adamoe_reference_kernel, &layer.layer, &batch, TOKENS, y, team),
                     ADAMOE_DIFFERENCE, place);
        y[t * D + 5] = right;
    }
    free(work);
    adamoe_team_free(team);
    adamoe_traffic_batch_free(&batch);
    adamoe_random_layer_free(&layer);
}

static void copies_outlast_the_cache(void **state)
{
    (void)state;
    assert_int_equal(adamoe_cold_copies(100.0, 1, 50), 2); /* 100 is not more than twice 50 */
    assert_int_equal(adamoe_cold_copies(101.0, 1, 50), 1);
    assert_int_equal(adamoe_cold_copies(10.0, 4, 50), 3);
    assert_int_equal(adamoe_cold_copies(0.0, 4, 50), 1);
    assert_int_equal(adamoe_cold_copies(10.0, 4, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cold_weights_are_cold),
        cmocka_unit_test(one_repetition_is_cold_behind_a_large_cache),
        cmocka_unit_test(stored_weights_are_shared_where_they_can_be),
        cmocka_unit_test(hot_weights_are_the_same),
        cmocka_unit_test(a_kernel_faster_than_the_machine_fails),
        cmocka_unit_test(a_wrong_kernel_is_not_timed),
        cmocka_unit_test(what_was_timed_is_judged_too),
        cmocka_unit_test(a_kernel_that_cannot_run_is_skipped),
        cmocka_unit_test(counts_are_exact),
        cmocka_unit_test(kernels_take_turns),
        cmocka_unit_test(every_token_is_checked_against_its_own_state),
        cmocka_unit_test(copies_outlast_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
