/*
 * The tiles of AMX in software: configurations and what is wrong with them, loads and stores, and the two products,
 * against cases worked out by hand, against Intel's description written out one number at a time, and, where the
 * processor has tiles, bit by bit against those.
 */
#include "test.h"
#include "amx/software_tiles.h"
#include "machine/cpu.h"

#include <immintrin.h>
#include <pthread.h>
#include <signal.h>

enum { SUM, LEFT, RIGHT }; /* tiles 0, 1, 2 */

#define ROWS  ADAMOE_TILE_ROWS
#define BYTES ADAMOE_TILE_ROW_BYTES
#define LANES (BYTES / 4)

/* A product of m x n sums over k doublewords. */
typedef struct shape {
    uint8_t m, n, k;
} shape;

/* Operands as they stand in memory, BYTES from row to row. */
typedef struct operands {
    uint32_t sum[ROWS][LANES], left[ROWS][LANES], right[ROWS][LANES];
} operands;

static adamoe_tile_config config_of(shape s)
{
    return (adamoe_tile_config){.palette = 1,
                                .row_bytes = {(uint16_t)(4 * s.n), (uint16_t)(4 * s.k), (uint16_t)(4 * s.n)},
                                .rows = {s.m, s.m, s.k}};
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ------------------------------------------------------------------------------------- one product, three ways */

typedef enum product { BFLOAT16, INT8 } product;

static void by_software(product p, shape s, operands *o)
{
    const adamoe_tile_config config = config_of(s);
    adamoe_tile_loadconfig(&config);
    adamoe_tile_loadd(SUM, o->sum, BYTES);
    adamoe_tile_loadd(LEFT, o->left, BYTES);
    adamoe_tile_loadd(RIGHT, o->right, BYTES);
    if (p == BFLOAT16) {
        adamoe_tile_dpbf16ps(SUM, LEFT, RIGHT);
    } else {
        adamoe_tile_dpbssd(SUM, LEFT, RIGHT);
    }
    adamoe_tile_stored(SUM, o->sum, BYTES);
    adamoe_tile_release();
}

/* Compilers see 8 of the 64 bytes that a configuration is read from, and none of what a tile is loaded from. */
static void by_processor(product p, shape s, operands *o)
{
    const adamoe_tile_config config = config_of(s);
    __asm__ volatile("" : : "r"(&config), "r"(o) : "memory");
    _tile_loadconfig(&config);
    _tile_loadd(0, o->sum, BYTES);
    _tile_loadd(1, o->left, BYTES);
    _tile_loadd(2, o->right, BYTES);
    if (p == BFLOAT16) {
        _tile_dpbf16ps(0, 1, 2);
    } else {
        _tile_dpbssd(0, 1, 2);
    }
    _tile_stored(0, o->sum, BYTES);
    _tile_release();
    __asm__ volatile("" : : "r"(o) : "memory");
}

/* A denormal as the zero of its sign. */
static float flushed(float value)
{
    return fpclassify(value) == FP_SUBNORMAL ? copysignf(0.0f, value) : value;
}

static float term(const uint32_t *row, size_t index)
{
    const uint32_t pair = row[index / 2];
    return flushed(float_of(index % 2 == 0 ? pair << 16 : pair & 0xffff0000u));
}

/* TDPBF16PS of one element, step by step. */
static float defined_bfloat16(const operands *o, shape s, size_t m, size_t n)
{
    float part[2] = {0.0f, 0.0f};
    for (size_t k = 0; k < s.k; ++k) {
        for (size_t i = 0; i < 2; ++i) {
            part[i] = flushed(fmaf(term(o->left[m], 2 * k + i), term(o->right[k], 2 * n + i), part[i]));
        }
    }
    return flushed(flushed(float_of(o->sum[m][n])) + flushed(part[0] + part[1]));
}

static uint32_t defined_int8(const operands *o, shape s, size_t m, size_t n)
{
    uint32_t sum = o->sum[m][n];
    for (size_t k = 0; k < s.k; ++k) {
        int8_t left[4], right[4];
        memcpy(left, &o->left[m][k], sizeof left);
        memcpy(right, &o->right[k][n], sizeof right);
        for (size_t i = 0; i < 4; ++i) {
            sum += (uint32_t)(left[i] * right[i]);
        }
    }
    return sum;
}

static void by_definition(product p, shape s, operands *o)
{
    operands before = *o;
    for (size_t m = 0; m < s.m; ++m) {
        for (size_t n = 0; n < s.n; ++n) {
            o->sum[m][n] =
                p == BFLOAT16 ? bits_of(defined_bfloat16(&before, s, m, n)) : defined_int8(&before, s, m, n);
        }
    }
}

/* The same bits, or both NaN. Outside of the shape nothing may have been written. */
static void assert_same(const char *what, product p, shape s, const operands *got, const operands *expected)
{
    for (size_t m = 0; m < ROWS; ++m) {
        for (size_t n = 0; n < LANES; ++n) {
            const uint32_t a = got->sum[m][n], b = expected->sum[m][n];
            if (a != b && !(p == BFLOAT16 && isnan(float_of(a)) && isnan(float_of(b)))) {
                fail_msg("%s, %u x %u x %u: sum[%zu][%zu] is %08x, expected %08x", what, s.m, s.n, s.k, m, n,
                         (unsigned)a, (unsigned)b);
            }
        }
    }
}

static bool processor_has_tiles(void)
{
    return !adamoe_cpu_emulates_avx512() && adamoe_cpu_has("amx_tile") && adamoe_cpu_has("amx_bf16") &&
           adamoe_cpu_has("amx_int8");
}

static void compare(product p, shape s, const operands *in)
{
    operands software = *in, defined = *in;
    by_software(p, s, &software);
    by_definition(p, s, &defined);
    assert_same("software", p, s, &software, &defined);
    if (processor_has_tiles()) {
        operands processor = *in;
        by_processor(p, s, &processor);
        assert_same("processor", p, s, &processor, &software);
    }
}

/* ------------------------------------------------------------------------------------------------ random operands */

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A bfloat16 near 1, or any there is: denormals, infinities and NaN among them. */
static uint16_t random_half(bool any)
{
    const uint64_t random = next_random();
    return any ? (uint16_t)random : (uint16_t)((random & 0x807f) | (0x78u + (random >> 16) % 16) << 7);
}

static void fill(uint32_t *words, bool any)
{
    for (size_t i = 0; i < (size_t)ROWS * LANES; ++i) {
        words[i] = random_half(any) | (uint32_t)random_half(any) << 16;
    }
}

static operands random_operands(bool any)
{
    operands o;
    fill(o.sum[0], any);
    fill(o.left[0], any);
    fill(o.right[0], any);
    return o;
}

static shape random_shape(size_t trial)
{
    const uint64_t random = next_random();
    return trial % 4 == 0 ? (shape){ROWS, LANES, LANES}
                          : (shape){(uint8_t)(1 + random % ROWS), (uint8_t)(1 + (random >> 8) % LANES),
                                    (uint8_t)(1 + (random >> 16) % LANES)};
}

static void random_products_are_as_defined(void **state)
{
    (void)state;
    random_state = 18;
    for (size_t trial = 0; trial < 2000; ++trial) {
        const operands usual = random_operands(false), any = random_operands(true);
        compare(BFLOAT16, random_shape(trial), &usual);
        compare(BFLOAT16, random_shape(trial), &any);
        compare(INT8, random_shape(trial), &any);
    }
    if (!processor_has_tiles()) {
        print_message(
            "skipped: the comparison with the processor: it has no AMX, or this build emulates it\n");
    }
}

/* ------------------------------------------------------------------------------------------------ by hand */

/* One row of pairs times one column of pairs, both of four terms, and what stands in the sum. */
typedef struct dot_case {
    const char *what;
    float sum, left[4], right[4], expected;
} dot_case;

static uint32_t pair_of(float even, float odd)
{
    assert_true((bits_of(even) & 0xffffu) == 0 && (bits_of(odd) & 0xffffu) == 0); /* bfloat16s */
    return bits_of(even) >> 16 | bits_of(odd);
}

static float dot(const dot_case *c)
{
    operands o = {.sum = {{bits_of(c->sum)}}};
    for (size_t k = 0; k < 2; ++k) {
        o.left[0][k] = pair_of(c->left[2 * k], c->left[2 * k + 1]);
        o.right[k][0] = pair_of(c->right[2 * k], c->right[2 * k + 1]);
    }
    const shape s = {1, 1, 2};
    compare(BFLOAT16, s, &o);
    by_software(BFLOAT16, s, &o);
    return float_of(o.sum[0][0]);
}

static const dot_case dots[] = {
    {"plain", 1.0f, {2, 3, 4, 5}, {6, 7, 8, 9}, 1 + 12 + 21 + 32 + 45},
    /* even terms among themselves: 2^24 + 1 is 2^24, and the odd -2^24 takes it away */
    {"even and odd terms are summed apart", 0.0f, {0x1p12f, 1, 1, 0}, {0x1p12f, -0x1p24f, 1, 0}, 0.0f},
    {"even terms in ascending order", 0.0f, {1, 0, 0x1p12f, 0}, {1, 0, 0x1p12f, 0}, 0x1p24f},
    /* 1 + 1 is 2 before 2^24 hears of it */
    {"the sum comes last", 0x1p24f, {1, 1, 0, 0}, {1, 1, 0, 0}, 0x1p24f + 2},
    /* a product of 16 bits and a sum of 24: rounded once */
    {"products are not rounded", 0.0f, {0x1.02p0f, 0, -1, 0}, {0x1.02p0f, 0, 0x1.04p0f, 0}, 0x1p-14f},
    {"ties to even, downwards", 0x1p24f, {1, 0, 0, 0}, {1, 0, 0, 0}, 0x1p24f},
    {"ties to even, upwards", 0x1p24f + 2, {1, 0, 0, 0}, {1, 0, 0, 0}, 0x1p24f + 4},
    {"a denormal operand is zero", 1.0f, {0x1p-127f, 0, 0, 0}, {0x1p127f, 0, 0, 0}, 1.0f},
    {"a denormal sum is zero", 0x1p-127f, {0x1p-63f, 0, 0, 0}, {0x1p-63f, 0, 0, 0}, 0x1p-126f},
    {"a denormal step is flushed", 0.0f, {0x1p-70f, 0, 0x1p-63f, 0}, {0x1p-60f, 0, 0x1p-63f, 0}, 0x1p-126f},
    {"overflow", 0.0f, {0x1p127f, 0, 0, 0}, {-2, 0, 0, 0}, -HUGE_VALF},
    {"infinity", 1.0f, {HUGE_VALF, 0, 0, 0}, {1, 0, 0, 0}, HUGE_VALF},
};

static void dots_by_hand(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dots / sizeof *dots; ++i) {
        const float got = dot(&dots[i]);
        if (bits_of(got) != bits_of(dots[i].expected)) {
            fail_msg("%s: %a, expected %a", dots[i].what, (double)got, (double)dots[i].expected);
        }
    }
    const dot_case negative = {"flushed", 0x1p-126f, {-0x1p-63f, 0, 0, 0}, {0x1.8p-63f, 0, 0, 0}, -0.0f};
    assert_int_equal(bits_of(dot(&negative)), 0x80000000u);
    const dot_case zero_times_infinity = {"NaN", 1.0f, {HUGE_VALF, 0, 0, 0}, {0, 0, 0, 0}, NAN};
    assert_true(isnan(dot(&zero_times_infinity)));
}

/* Products of bytes fill all of a doubleword, and wrap. */
static void bytes_by_hand(void **state)
{
    (void)state;
    operands o = {.sum = {{5, INT32_MAX}}, .left = {{0x807f0102u}}, .right = {{0x807f03ffu, 0x00000001u}}};
    const shape s = {1, 2, 1};
    compare(INT8, s, &o);
    by_software(INT8, s, &o);
    /* bytes from the lowest on: 2 * -1 + 1 * 3 + 127 * 127 + -128 * -128, and 2 * 1 beyond the largest */
    assert_int_equal(o.sum[0][0], 5 - 2 + 3 + 127 * 127 + 128 * 128);
    assert_int_equal((int32_t)o.sum[0][1], INT32_MIN + 1);
}

/* MXCSR rounds upwards, keeps denormals and raises flags: the product does none of it. */
static void modes_are_neither_asked_nor_changed(void **state)
{
    (void)state;
    const unsigned before = _mm_getcsr();
    const unsigned upwards = (before & ~0xffffu) | 0x1f80u | 0x4000u;
    operands o = {.sum = {{bits_of(0x1p24f)}}, .left = {{pair_of(1, 0)}}, .right = {{pair_of(1, 0)}}};
    _mm_setcsr(upwards);
    by_software(BFLOAT16, (shape){1, 1, 1}, &o);
    const unsigned after = _mm_getcsr();
    _mm_setcsr(before);
    assert_int_equal(after, upwards);
    assert_int_equal(o.sum[0][0], bits_of(0x1p24f));
}

/* ------------------------------------------------------------------------------------------------ moving */

/* Rows and bytes beyond the configured are zeros, whatever stood there. */
static void what_is_beyond_is_zero(void **state)
{
    (void)state;
    const adamoe_tile_config config = {.palette = 1, .row_bytes = {12, 64}, .rows = {3, 16}};
    unsigned char from[ROWS][BYTES], to[ROWS][BYTES];
    memset(from, 0xff, sizeof from);
    adamoe_tile_loadconfig(&config);
    const adamoe_software_tiles *tiles = adamoe_software_tiles_now();
    assert_int_equal(tiles->data[1][15][63], 0); /* a configuration zeros all */
    adamoe_tile_loadd(0, from, BYTES);
    adamoe_tile_loadd(1, from, BYTES);
    for (size_t r = 0; r < ROWS; ++r) {
        for (size_t b = 0; b < BYTES; ++b) {
            assert_int_equal(tiles->data[0][r][b], r < 3 && b < 12 ? 0xff : 0);
            assert_int_equal(tiles->data[1][r][b], 0xff);
        }
    }
    memset(to, 1, sizeof to);
    adamoe_tile_stored(0, to, BYTES);
    for (size_t r = 0; r < ROWS; ++r) {
        for (size_t b = 0; b < BYTES; ++b) {
            assert_int_equal(to[r][b], r < 3 && b < 12 ? 0xff : 1);
        }
    }
    adamoe_tile_zero(1);
    assert_int_equal(tiles->data[1][0][0], 0);
    adamoe_tile_release();
}

/* A stride may be negative, and start_row leaves the rows before it as they are, once. */
static void strides_and_the_first_row(void **state)
{
    (void)state;
    adamoe_tile_config config = {.palette = 1, .start_row = 2, .row_bytes = {4}, .rows = {4}};
    const int32_t from[] = {10, 11, 12, 13};
    int32_t to[] = {1, 2, 3, 4};
    adamoe_tile_loadconfig(&config);
    adamoe_tile_loadd(0, from + 3, -4);
    adamoe_tile_stored(0, to, 4); /* start_row is 0 again */
    assert_true(to[0] == 0 && to[1] == 0 && to[2] == 11 && to[3] == 10);
    adamoe_tile_loadconfig(&config);
    to[0] = 5;
    adamoe_tile_stored(0, to, 4);
    assert_true(to[0] == 5 && to[2] == 0);
    adamoe_tile_release();
}

static void a_configuration_is_stored_as_loaded(void **state)
{
    (void)state;
    const adamoe_tile_config config = {
        .palette = 1, .row_bytes = {64, 32, 4, 64, 8, 12, 16, 20}, .rows = {16, 1, 2, 3, 4, 5, 6, 7}};
    const adamoe_tile_config none = {0};
    adamoe_tile_config got;
    adamoe_tile_loadconfig(&config);
    adamoe_tile_storeconfig(&got);
    assert_memory_equal(&got, &config, sizeof got);
    if (processor_has_tiles()) {
        __asm__ volatile("" : : "r"(&config) : "memory");
        _tile_loadconfig(&config);
        memset(&got, 1, sizeof got);
        __asm__ volatile("" : : "r"(&got) : "memory");
        _tile_storeconfig(&got);
        __asm__ volatile("" : : "r"(&got) : "memory");
        _tile_release();
        assert_memory_equal(&got, &config, sizeof got);
    }
    adamoe_tile_release();
    adamoe_tile_storeconfig(&got);
    assert_memory_equal(&got, &none, sizeof got);
    adamoe_tile_loadconfig(&config);
    adamoe_tile_loadconfig(&none);
    assert_false(adamoe_software_tiles_in_use());
}

/* ------------------------------------------------------------------------------------------------ faults */

static sigjmp_buf back;

static void jump(int signal)
{
    siglongjmp(back, signal);
}

/* The signal that `instruction` on `config` raises; 0 for none. */
static int signal_of(void (*instruction)(void), const adamoe_tile_config *config)
{
    struct sigaction to_us = {.sa_handler = jump}, segv, ill;
    sigaction(SIGSEGV, &to_us, &segv);
    sigaction(SIGILL, &to_us, &ill);
    const int raised = sigsetjmp(back, 1);
    if (raised == 0) {
        adamoe_tile_release();
        if (config != NULL) {
            adamoe_tile_loadconfig(config);
        }
        if (instruction != NULL) {
            instruction();
        }
    }
    sigaction(SIGSEGV, &segv, NULL);
    sigaction(SIGILL, &ill, NULL);
    adamoe_tile_release();
    return raised;
}

static const adamoe_tile_config fitting = {
    .palette = 1, .row_bytes = {64, 32, 64}, .rows = {5, 5, 8}}; /* 5 x 16 sums over 8 */

static void wrong_configurations_are_general_protection_faults(void **state)
{
    (void)state;
    assert_int_equal(signal_of(NULL, &fitting), 0);
    adamoe_tile_config c = fitting;
    c.palette = 2;
    assert_int_equal(signal_of(NULL, &c), SIGSEGV);
    for (size_t byte = 2; byte < sizeof c; ++byte) {
        const bool reserved = byte < 16 || (byte >= 32 && byte < 48) || byte >= 56;
        c = fitting;
        ((unsigned char *)&c)[byte] = 1;
        if (reserved) {
            assert_int_equal(signal_of(NULL, &c), SIGSEGV);
        }
    }
    c = fitting;
    c.row_bytes[0] = 65;
    assert_int_equal(signal_of(NULL, &c), SIGSEGV);
    c = fitting;
    c.rows[7] = 17;
    c.row_bytes[7] = 64;
    assert_int_equal(signal_of(NULL, &c), SIGSEGV);
    c = fitting;
    c.rows[7] = 1;
    assert_int_equal(signal_of(NULL, &c), SIGSEGV);
    c = fitting;
    c.row_bytes[7] = 4;
    assert_int_equal(signal_of(NULL, &c), SIGSEGV);
    c = (adamoe_tile_config){.palette = 0, .reserved = {1}}; /* nothing but the palette is read */
    assert_int_equal(signal_of(NULL, &c), 0);
}

static unsigned char memory[ROWS][BYTES];

static void load(void)
{
    adamoe_tile_loadd(SUM, memory, BYTES);
}

static void store(void)
{
    adamoe_tile_stored(SUM, memory, BYTES);
}

static void zero(void)
{
    adamoe_tile_zero(SUM);
}

static void load_the_ninth(void)
{
    adamoe_tile_loadd(8, memory, BYTES);
}

static void multiply(void)
{
    adamoe_tile_dpbf16ps(SUM, LEFT, RIGHT);
}

static void multiply_bytes(void)
{
    adamoe_tile_dpbssd(SUM, LEFT, RIGHT);
}

static void multiply_one_by_itself(void)
{
    adamoe_tile_dpbf16ps(SUM, LEFT, LEFT);
}

static void undefined_instructions_are_faults(void **state)
{
    (void)state;
    void (*const all[])(void) = {load, store, zero, multiply, multiply_bytes};
    const adamoe_tile_config others = {.palette = 1, .row_bytes = {[7] = 64}, .rows = {[7] = 16}};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        assert_int_equal(signal_of(all[i], &fitting), 0);
        assert_int_equal(signal_of(all[i], NULL), SIGILL);
        assert_int_equal(signal_of(all[i], &others), SIGILL);
    }
    assert_int_equal(signal_of(load_the_ninth, &fitting), SIGILL);
    assert_int_equal(signal_of(multiply_one_by_itself, &fitting), SIGILL);
    adamoe_tile_config c = fitting;
    c.row_bytes[SUM] = 63;
    assert_int_equal(signal_of(load, &c), SIGILL);
    assert_int_equal(signal_of(zero, &c), 0);
    c = fitting;
    c.start_row = 5;
    assert_int_equal(signal_of(load, &c), SIGILL);
    assert_int_equal(signal_of(store, &c), SIGILL);
    c = fitting;
    c.row_bytes[RIGHT] = 60; /* the sums are wider than the right operand */
    assert_int_equal(signal_of(multiply, &c), SIGILL);
    c = fitting;
    c.rows[SUM] = 6; /* more sums than rows of the left operand */
    assert_int_equal(signal_of(multiply_bytes, &c), SIGILL);
    c = fitting;
    c.rows[RIGHT] = 7; /* a depth that the left operand does not have */
    assert_int_equal(signal_of(multiply, &c), SIGILL);
}

static void *leave_tiles_behind(void *nothing)
{
    adamoe_tile_loadconfig(&fitting);
    return nothing;
}

static void tiles_that_are_not_released_are_counted(void **state)
{
    (void)state;
    const size_t before = adamoe_software_tiles_unreleased();
    assert_false(adamoe_software_tiles_in_use());
    adamoe_tile_loadconfig(&fitting);
    adamoe_tile_loadconfig(&fitting);
    assert_true(adamoe_software_tiles_in_use());
    assert_int_equal(adamoe_software_tiles_unreleased(), before + 1);
    adamoe_tile_release();
    assert_false(adamoe_software_tiles_in_use());
    assert_int_equal(adamoe_software_tiles_unreleased(), before);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, leave_tiles_behind, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(adamoe_software_tiles_unreleased(), before + 1);
    assert_false(adamoe_software_tiles_in_use()); /* not those of this thread */
}

int main(void)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        printf("skipped: the products in software need AVX2 and FMA\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots_by_hand),
        cmocka_unit_test(bytes_by_hand),
        cmocka_unit_test(modes_are_neither_asked_nor_changed),
        cmocka_unit_test(random_products_are_as_defined),
        cmocka_unit_test(what_is_beyond_is_zero),
        cmocka_unit_test(strides_and_the_first_row),
        cmocka_unit_test(a_configuration_is_stored_as_loaded),
        cmocka_unit_test(wrong_configurations_are_general_protection_faults),
        cmocka_unit_test(undefined_instructions_are_faults),
        cmocka_unit_test(tiles_that_are_not_released_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
