/*
 * The loops that peaks are measured with do what is counted: as many products as a round claims, every byte
 * of the memory once. No rate is asserted.
 */
#include "test.h"
#include "peaks/arithmetic_peak.h"
#include "peaks/burst.h"
#include "peaks/cache_peak.h"
#include "machine/cpu.h"
#include "peaks/fma_peak.h"
#include "peaks/memory_peak.h"
#include "peaks/peak_loops.h"
#include "timing/peak_meter.h"
#include "machine/team.h"

#include <pthread.h>

enum { ROUNDS = 1000, THREADS = 3 };

static const adamoe_arithmetic_path *path_of(float (*rounds)(size_t))
{
    for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
        if (adamoe_arithmetic_paths[i].rounds == rounds) {
            return &adamoe_arithmetic_paths[i];
        }
    }
    fail_msg("no such path");
    return NULL;
}

static const adamoe_arithmetic_path *path_named(const char *name)
{
    for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
        if (strcmp(adamoe_arithmetic_paths[i].name, name) == 0) {
            return &adamoe_arithmetic_paths[i];
        }
    }
    fail_msg("no path %s", name);
    return NULL;
}

/* `expected` is the sum of the first lanes of all products of ROUNDS rounds; `lanes` of `terms` multiply-adds
 * each make one product. */
static void expect_loop(float (*rounds)(size_t), double expected, double chains, double lanes, double terms)
{
    const adamoe_arithmetic_path *path = path_of(rounds);
    assert_true(path->operations == 2.0 * chains * lanes * terms);
    if (adamoe_arithmetic_path_runs(path)) {
        assert_true((double)rounds(ROUNDS) == expected);
        print_message("%s: counted\n", path->name);
    } else {
        print_message("%s: does not run here\n", path->name);
    }
}

static void a_round_is_what_it_claims(void **state)
{
    (void)state;
    /* 3 * -5, two and four terms in a 32-bit lane */
    expect_loop(adamoe_madd_rounds_avx2, ROUNDS * -15.0 * 2 * ADAMOE_MADD_CHAINS, ADAMOE_MADD_CHAINS, 8, 2);
    expect_loop(adamoe_maddubs_rounds_avx2, ROUNDS * -15.0 * 4 * ADAMOE_MADD_CHAINS, ADAMOE_MADD_CHAINS, 8,
                4);
    /* 3 * 5, four terms, and 1 * 1, two; the sums begin at 0, 1, 2 ... */
    const double chains = ADAMOE_DOT_CHAINS, begin = chains * (chains - 1.0) / 2.0;
    expect_loop(adamoe_vnni_rounds_avx512, begin + ROUNDS * chains * 4 * 15, chains, 16, 4);
    expect_loop(adamoe_bf16_rounds_avx512, begin + ROUNDS * chains * 2, chains, 16, 2);
    /* 1 * 1 and 3 * 5: one sum of 32 and of 64 terms in each of four tiles of 256 */
    const double products = ADAMOE_TILE_PRODUCTS;
    expect_loop(adamoe_tile_bf16_rounds_amx, ROUNDS * products * 32, products, 256, 32);
    expect_loop(adamoe_tile_int8_rounds_amx, ROUNDS * products * 64 * 15, products, 256, 64);
    assert_true(path_of(adamoe_fma_rounds_avx2)->operations == 2.0 * ADAMOE_FMA_CHAINS * 8);
    assert_true(path_of(adamoe_fma_rounds_avx512)->operations == 2.0 * ADAMOE_FMA_CHAINS * 16);
}

static void expect_serves(float (*rounds)(size_t), adamoe_operand_pairs pairs, bool expected)
{
    assert_int_equal(adamoe_arithmetic_path_serves(path_of(rounds), pairs), expected);
}

static void operands_have_their_paths(void **state)
{
    (void)state;
    static const adamoe_arithmetic kinds[] = {ADAMOE_FLOAT32, ADAMOE_BFLOAT16, ADAMOE_INT8};
    for (size_t i = 0; i < 9; ++i) {
        const adamoe_arithmetic input = kinds[i / 3], weight = kinds[i % 3];
        const adamoe_operand_pairs pairs = ADAMOE_OPERAND_PAIR(input, weight);
        const bool bytes = input == ADAMOE_INT8 && weight == ADAMOE_INT8;
        const bool halves = input == ADAMOE_BFLOAT16 && weight == ADAMOE_BFLOAT16;
        expect_serves(adamoe_fma_rounds_avx2, pairs, !bytes);
        expect_serves(adamoe_fma_rounds_avx512, pairs, !bytes);
        expect_serves(adamoe_bf16_rounds_avx512, pairs, halves);
        expect_serves(adamoe_vnni_rounds_avx512, pairs, bytes);
        expect_serves(adamoe_madd_rounds_avx2, pairs, bytes);
        expect_serves(adamoe_maddubs_rounds_avx2, pairs, bytes);
        expect_serves(adamoe_tile_bf16_rounds_amx, pairs, halves);
        expect_serves(adamoe_tile_int8_rounds_amx, pairs, bytes);
        const bool parts = (input == ADAMOE_BFLOAT16 || weight == ADAMOE_BFLOAT16) && input != ADAMOE_INT8 &&
                           weight != ADAMOE_INT8;
        assert_int_equal(adamoe_arithmetic_path_serves(path_named("tdpbf16ps in three parts, AMX"), pairs),
                         parts);
        assert_int_equal(
            adamoe_arithmetic_path_serves(path_named("tdpbf16ps in six products of parts, AMX"), pairs),
            input != ADAMOE_INT8 && weight != ADAMOE_INT8);
    }
    /* a third and a sixth of the rate, by the same loop */
    assert_true(path_named("tdpbf16ps in six products of parts, AMX")->operations * 6.0 ==
                path_named("tdpbf16ps, AMX")->operations);
    assert_true(path_named("tdpbf16ps in three parts, AMX")->operations * 3.0 ==
                path_named("tdpbf16ps, AMX")->operations);
}

/* A kernel's path multiplies x and h both. */
static void a_kernel_declares_its_operands(void **state)
{
    (void)state;
    char text[64];
    adamoe_kernel kernel = {.x = ADAMOE_BFLOAT16, .h = ADAMOE_BFLOAT16, .weight = ADAMOE_BFLOAT16};
    expect_serves(adamoe_bf16_rounds_avx512, adamoe_kernel_pairs(&kernel), true);
    assert_string_equal(adamoe_operands_text(&kernel, text, sizeof text),
                        "bfloat16 inputs, bfloat16 weights");
    kernel.x = ADAMOE_FLOAT32;
    expect_serves(adamoe_bf16_rounds_avx512, adamoe_kernel_pairs(&kernel), false);
    expect_serves(adamoe_fma_rounds_avx2, adamoe_kernel_pairs(&kernel), true);
    assert_string_equal(adamoe_operands_text(&kernel, text, sizeof text),
                        "float32 x, bfloat16 h, bfloat16 weights");
    kernel.h = kernel.weight = ADAMOE_INT8;
    expect_serves(adamoe_fma_rounds_avx2, adamoe_kernel_pairs(&kernel), false);
    expect_serves(adamoe_vnni_rounds_avx512, adamoe_kernel_pairs(&kernel), false);
}

/* bfloat16 products may be much faster than those of floats, and are no peak for a kernel that needs the
 * latter; both are among the bursts. */
static void a_peak_is_that_of_both_operands(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    adamoe_peak_meter *meter = NULL;
    const adamoe_operand_pairs halves = ADAMOE_OPERAND_PAIR(ADAMOE_BFLOAT16, ADAMOE_BFLOAT16);
    const adamoe_operand_pairs mixed = ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_BFLOAT16);
    adamoe_peak peak;
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(adamoe_peak_meter_create(team, &meter));
    assert_ok(adamoe_peak_meter_burst(meter, halves | mixed, 1));
    assert_ok(adamoe_peak_meter_read(meter, mixed, &peak));
    if (!adamoe_cpu_has("fma")) {
        assert_string_equal(peak.path, "none");
    } else if (strncmp(peak.path, "vfmadd", 6) != 0 && strstr(peak.path, "parts") == NULL) {
        fail_msg("float32 by bfloat16: %s", peak.path); /* in parts where there are tiles, real or emulated */
    }
    assert_ok(adamoe_peak_meter_read(meter, halves, &peak));
    assert_true(peak.bursts == 1);
    print_message("bfloat16 by bfloat16: %.0f GFLOP/s by %s\n", peak.gflops, peak.path);
    assert_ok(adamoe_peak_meter_read(meter, ADAMOE_OPERAND_PAIR(ADAMOE_INT8, ADAMOE_INT8), &peak));
    assert_string_equal(peak.path, "none");
    adamoe_peak_meter_free(meter);
    adamoe_team_free(team);
}

/* Hot weights: 2 MB from the second level at 100 GB/s, 8 more from the third at 50, the rest from memory at 10. */
static void hot_weights_come_from_the_levels_that_hold_them(void **state)
{
    (void)state;
    const adamoe_cache_rates r = {.level2_bytes = 2e6, .level3_bytes = 10e6, .level2 = 100.0, .level3 = 50.0};
    assert_true(adamoe_hot_rate(&r, 1e6, 10.0) == 100.0 && adamoe_hot_level(&r, 1e6, 10.0) == 2);
    /* 20 us and 160 us; then 1 ms more */
    assert_true(fabs(adamoe_hot_rate(&r, 10e6, 10.0) - 10e3 / 180.0) < 1e-9);
    assert_int_equal(adamoe_hot_level(&r, 10e6, 10.0), 3);
    assert_true(fabs(adamoe_hot_rate(&r, 20e6, 10.0) - 20e3 / 1180.0) < 1e-9);
    assert_int_equal(adamoe_hot_level(&r, 20e6, 10.0), 4);
    assert_true(adamoe_hot_rate(&r, 0.0, 10.0) == INFINITY);
    const adamoe_cache_rates unknown = {.level2_bytes = 2e6, .level3_bytes = 10e6};
    assert_true(adamoe_hot_rate(&unknown, 10e6, 10.0) == INFINITY);
}

static void caches_are_measured(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(2, &team));
    const adamoe_cache_rates r = adamoe_measure_cache_rates(team);
    print_message("L2 %.1f GB/s from %.1f MB, L3 %.1f GB/s from %.1f MB\n", r.level2, r.level2_bytes * 1e-6,
                  r.level3, r.level3_bytes * 1e-6);
    assert_true(isfinite(r.level2) && isfinite(r.level3) && (r.level2 > 0.0) == (r.level2_bytes > 0.0));
    adamoe_team_free(team);
}

typedef uint64_t reader(const unsigned char *data, size_t bytes, unsigned streams, size_t ahead);

/* A word that was read twice in place of another one changes the sum. */
static void expect_whole(reader *read, const unsigned char *data, size_t bytes, uint64_t expected)
{
    for (unsigned streams = 1; streams <= 8; streams *= 2) {
        assert_true(read(data, bytes, streams, 0) == expected);
        assert_true(read(data, bytes, streams, 512) == expected);
    }
}

static void every_byte_is_read_once(void **state)
{
    (void)state;
    const size_t bytes = (size_t)3 * 4096;
    uint64_t *data = aligned_alloc(64, bytes), expected = 0;
    assert_non_null(data);
    for (size_t i = 0; i < bytes / sizeof *data; ++i) {
        data[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        expected += data[i];
    }
    expect_whole(adamoe_read, (unsigned char *)data, bytes, expected);
    if (adamoe_cpu_has("avx2")) {
        expect_whole(adamoe_read_avx2, (unsigned char *)data, bytes, expected);
    }
    if (adamoe_cpu_has("avx512f")) {
        expect_whole(adamoe_read_avx512, (unsigned char *)data, bytes, expected);
    }
    free(data);
}

typedef struct parts {
    pthread_t thread[THREADS];
    unsigned calls[THREADS];
} parts;

static void note_part(void *context, uint32_t i)
{
    parts *p = context;
    p->thread[i] = pthread_self();
    ++p->calls[i];
}

static void a_burst_is_one_part_a_thread(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(THREADS, &team));
    parts p = {.calls = {0}};
    assert_true(adamoe_burst(team, note_part, &p) >= 0.0);
    for (size_t i = 0; i < THREADS; ++i) {
        assert_int_equal(p.calls[i], 1);
    }
    adamoe_team_free(team);
}

static void all_ways_are_tried(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    adamoe_memory_peak *peak = NULL;
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(adamoe_memory_peak_create(team, 0, SIZE_MAX, &peak));
    double best = 0.0;
    assert_int_equal(adamoe_memory_peak_trials(peak), 5 * 24);
    while (adamoe_memory_peak_trials(peak) > 0) {
        const double rate = adamoe_memory_burst(peak);
        best = rate > best ? rate : best;
    }
    assert_true(best > 0.0 && adamoe_memory_peak_best(peak).best == best);
    const double again = adamoe_memory_burst(peak);
    assert_true(adamoe_memory_peak_best(peak).best == (again > best ? again : best));
    const adamoe_reading way = adamoe_memory_peak_best(peak);
    print_message("reading: %.1f GB/s with %u streams, %zu bytes ahead, %s pages\n", way.best, way.streams,
                  way.ahead, way.huge_pages ? "huge" : "ordinary");
    for (size_t i = 0; i < ADAMOE_ARITHMETIC_PATHS; ++i) {
        const adamoe_arithmetic_path *path = &adamoe_arithmetic_paths[i];
        if (adamoe_arithmetic_path_runs(path)) {
            const double rate = adamoe_arithmetic_burst(team, path, 0.002);
            print_message("%s: %.0f G operations per second\n", path->name, rate);
            assert_true(rate > 0.0 && isfinite(rate));
        }
    }
    adamoe_memory_peak_free(peak);
    adamoe_team_free(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_is_what_it_claims),
        cmocka_unit_test(operands_have_their_paths),
        cmocka_unit_test(a_kernel_declares_its_operands),
        cmocka_unit_test(a_peak_is_that_of_both_operands),
        cmocka_unit_test(hot_weights_come_from_the_levels_that_hold_them),
        cmocka_unit_test(caches_are_measured),
        cmocka_unit_test(every_byte_is_read_once),
        cmocka_unit_test(a_burst_is_one_part_a_thread),
        cmocka_unit_test(all_ways_are_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
