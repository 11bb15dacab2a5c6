/*
 * What the AVX-512 kernels rely on of the instructions that are not plain arithmetic, against Intel's
 * description of them: masks that keep memory untouched, scalef, roundscale, vpdpbusd, bfloat16, comparisons
 * and shuffles at their exceptional inputs. A build that emulates AVX-512 tests its emulation here; any other
 * the processor, where it has the instructions.
 *
 * Longer than most files: it is a list, a kind of instruction after the other, and grows with the instructions.
 */
#include "test.h"
#include "machine/cpu.h"

#include <immintrin.h>
#include <sys/mman.h>

#define LANES 16

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

/* The same bits, or both NaN. */
static void assert_same(const char *what, size_t i, float got, float expected)
{
    if (!(isnan(got) && isnan(expected)) && bits_of(got) != bits_of(expected)) {
        fail_msg("%s, %zu: %a (%08x), expected %a (%08x)", what, i, (double)got, (unsigned)bits_of(got),
                 (double)expected, (unsigned)bits_of(expected));
    }
}

/* A function of two vectors, applied to pairs of numbers, all of which every lane gets in turn. */
typedef struct binary_case {
    float a, b, expected;
} binary_case;

static void check_binary(const char *what, void (*apply)(const float *a, const float *b, float *out),
                         const binary_case *cases, size_t count)
{
    for (size_t shift = 0; shift < LANES; ++shift) {
        for (size_t from = 0; from < count; from += LANES) {
            float a[LANES] = {0}, b[LANES] = {0}, out[LANES];
            for (size_t i = 0; i < LANES && from + i < count; ++i) {
                a[(i + shift) % LANES] = cases[from + i].a;
                b[(i + shift) % LANES] = cases[from + i].b;
            }
            apply(a, b, out);
            for (size_t i = 0; i < LANES && from + i < count; ++i) {
                assert_same(what, from + i, out[(i + shift) % LANES], cases[from + i].expected);
            }
        }
    }
}

/* One page between two inaccessible ones. */
static char *page_between(size_t page)
{
    char *pages = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(mprotect(pages + page, page, PROT_READ | PROT_WRITE), 0);
    return pages + page;
}

/* Lanes that a mask leaves out: at the end, at the beginning, and all, over memory that cannot be touched. */
static void masks_keep_memory_untouched(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), count = page / sizeof(float);
    float *const first = (float *)(void *)page_between(page), *const end = first + count;
    for (size_t n = 0; n <= LANES; ++n) {
        const __mmask16 low = (__mmask16)((1u << n) - 1u),
                        high = (__mmask16)(0xffffu << (LANES - n) & 0xffffu);
        float out[LANES];
        for (size_t i = 0; i < count; ++i) {
            first[i] = (float)(i + 1);
        }
        _mm512_storeu_ps(out, _mm512_maskz_loadu_ps(low, end - n));
        for (size_t i = 0; i < LANES; ++i) {
            assert_same("load before the end", i, out[i], i < n ? (float)(count - n + i + 1) : 0.0f);
        }
        /* The address of lane 0 may lie before the page. */
        float *const before = (float *)((uintptr_t)first - (LANES - n) * sizeof(float));
        _mm512_storeu_ps(out, _mm512_maskz_loadu_ps(high, before));
        for (size_t i = 0; i < LANES; ++i) {
            assert_same("load from the beginning", i, out[i],
                        i < LANES - n ? 0.0f : (float)(i - (LANES - n) + 1));
        }
        _mm512_mask_storeu_ps(end - n, low, _mm512_set1_ps(-1.0f));
        _mm512_mask_storeu_ps(before, high, _mm512_set1_ps(-2.0f));
        _mm512_mask_storeu_ps(first + 64, (__mmask16)0x5a5a, _mm512_set1_ps(-3.0f));
        for (size_t i = 0; i < count; ++i) {
            const bool among = i >= 64 && i < 64 + LANES && (0x5a5a >> (i - 64) & 1) != 0;
            assert_same("store", i, first[i],
                        i < n            ? -2.0f
                        : i >= count - n ? -1.0f
                        : among          ? -3.0f
                                         : (float)(i + 1));
        }
    }
    munmap((char *)first - page, 3 * page);
}

static void scale(const float *a, const float *b, float *out)
{
    _mm512_storeu_ps(out, _mm512_scalef_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b)));
}

/* a * 2^floor(b), rounded once, whatever becomes of 2^floor(b) alone. */
static void scalef_is_exact(void **state)
{
    (void)state;
    const float inf = HUGE_VALF, nan = NAN, largest = 0x1.fffffep127f, least = 0x1p-149f;
    const binary_case cases[] = {
        {1.5f, 3.0f, 12.0f},
        {1.5f, 3.9f, 12.0f},
        {1.5f, -3.1f, 0x1.8p-4f},
        {-1.5f, -0.0f, -1.5f},
        {1.5f, -least, 0.75f},
        {least, 149.0f, 1.0f},
        {least, 276.0f, 0x1p127f},
        {least, 277.0f, inf},
        {-0x1.8p-148f, 150.0f, -6.0f},
        {1.0f, 127.5f, 0x1p127f},
        {1.0f, 128.0f, inf},
        {-1.0f, 1e30f, -inf},
        {largest, -276.0f, 0x1p-148f},
        {largest, -277.0f, least},
        {largest, -278.0f, 0.0f},
        {-largest, -279.0f, -0.0f},
        {1.0f, -149.0f, least},
        {1.0f, -150.0f, 0.0f},
        {1.5f, -150.0f, least},
        {0x1.000002p0f, -150.0f, least},
        {-1.0f, -1e30f, -0.0f},
        {0x1.fffffep0f, -127.0f, 0x1p-126f},
        {0.0f, 1e30f, 0.0f},
        {-0.0f, 5.0f, -0.0f},
        {-0.0f, -1e30f, -0.0f},
        {inf, -1e30f, inf},
        {-inf, 5.0f, -inf},
        {5.0f, inf, inf},
        {-5.0f, inf, -inf},
        {5.0f, -inf, 0.0f},
        {-5.0f, -inf, -0.0f},
        {-inf, inf, -inf},
        {-0.0f, -inf, -0.0f},
        {0.0f, inf, nan},
        {inf, -inf, nan},
        {nan, 3.0f, nan},
        {3.0f, nan, nan},
        {inf, nan, nan},
        {nan, inf, inf},
        {nan, -inf, 0.0f},
    };
    check_binary("scalef", scale, cases, sizeof cases / sizeof *cases);
}

static void round_nearest(const float *a, const float *b, float *out)
{
    (void)b;
    _mm512_storeu_ps(out,
                     _mm512_roundscale_ps(_mm512_loadu_ps(a), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static void round_down(const float *a, const float *b, float *out)
{
    (void)b;
    _mm512_storeu_ps(out,
                     _mm512_roundscale_ps(_mm512_loadu_ps(a), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
}

static void round_up(const float *a, const float *b, float *out)
{
    (void)b;
    _mm512_storeu_ps(out,
                     _mm512_roundscale_ps(_mm512_loadu_ps(a), _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC));
}

static void truncate_all(const float *a, const float *b, float *out)
{
    (void)b;
    _mm512_storeu_ps(out, _mm512_roundscale_ps(_mm512_loadu_ps(a), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
}

static void roundscale_rounds_as_told(void **state)
{
    (void)state;
    /* nearest, down, up, toward zero */
    static const float rounded[][5] = {
        {0.5f, 0.0f, 0.0f, 1.0f, 0.0f},
        {1.5f, 2.0f, 1.0f, 2.0f, 1.0f},
        {2.5f, 2.0f, 2.0f, 3.0f, 2.0f},
        {-0.5f, -0.0f, -1.0f, -0.0f, -0.0f},
        {-1.5f, -2.0f, -2.0f, -1.0f, -1.0f},
        {-2.5f, -2.0f, -3.0f, -2.0f, -2.0f},
        {0x1.fffffep-2f, 0.0f, 0.0f, 1.0f, 0.0f},
        {0x1.000002p-1f, 1.0f, 0.0f, 1.0f, 0.0f},
        {4194304.5f, 4194304.0f, 4194304.0f, 4194305.0f, 4194304.0f},
        {4194305.5f, 4194306.0f, 4194305.0f, 4194306.0f, 4194305.0f},
        {8388609.0f, 8388609.0f, 8388609.0f, 8388609.0f, 8388609.0f},
        {-0x1.fffffep127f, -0x1.fffffep127f, -0x1.fffffep127f, -0x1.fffffep127f, -0x1.fffffep127f},
        {-0.0f, -0.0f, -0.0f, -0.0f, -0.0f},
        {0x1p-149f, 0.0f, 0.0f, 1.0f, 0.0f},
        {-HUGE_VALF, -HUGE_VALF, -HUGE_VALF, -HUGE_VALF, -HUGE_VALF},
        {NAN, NAN, NAN, NAN, NAN},
    };
    void (*const apply[])(const float *, const float *, float *) = {round_nearest, round_down, round_up,
                                                                    truncate_all};
    for (size_t mode = 0; mode < 4; ++mode) {
        binary_case cases[LANES];
        for (size_t i = 0; i < LANES; ++i) {
            cases[i] = (binary_case){rounded[i][0], 0.0f, rounded[i][mode + 1]};
        }
        check_binary("roundscale", apply[mode], cases, LANES);
    }
}

static void largest(const float *a, const float *b, float *out)
{
    _mm512_storeu_ps(out, _mm512_max_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b)));
}

static void smallest(const float *a, const float *b, float *out)
{
    _mm512_storeu_ps(out, _mm512_min_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b)));
}

static void magnitude(const float *a, const float *b, float *out)
{
    (void)b;
    _mm512_storeu_ps(out, _mm512_abs_ps(_mm512_loadu_ps(a)));
}

/* 1 where a >= b and 2 where a > b, by masks; both are false for NaN. */
static void compare(const float *a, const float *b, float *out)
{
    const __m512 x = _mm512_loadu_ps(a), y = _mm512_loadu_ps(b);
    const __m512 at_least =
        _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_GE_OQ), _mm512_setzero_ps(), _mm512_set1_ps(1.0f));
    _mm512_storeu_ps(
        out, _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_GT_OQ), at_least, _mm512_set1_ps(2.0f)));
}

/* Where both are zero, or one is NaN, the second operand is the result. */
static void comparisons_know_nan(void **state)
{
    (void)state;
    const float inf = HUGE_VALF, nan = NAN;
    const binary_case most[] = {{1.0f, 2.0f, 2.0f},  {2.0f, -3.0f, 2.0f}, {-inf, 0.0f, 0.0f},
                                {nan, 1.0f, 1.0f},   {1.0f, nan, nan},    {0.0f, -0.0f, -0.0f},
                                {-0.0f, 0.0f, 0.0f}, {nan, -inf, -inf},   {inf, nan, nan}};
    const binary_case least[] = {{1.0f, 2.0f, 1.0f},  {2.0f, -3.0f, -3.0f}, {-inf, 0.0f, -inf},
                                 {nan, 1.0f, 1.0f},   {1.0f, nan, nan},     {0.0f, -0.0f, -0.0f},
                                 {-0.0f, 0.0f, 0.0f}, {nan, inf, inf},      {-inf, nan, nan}};
    const binary_case size[] = {
        {-0.0f, 0, 0.0f}, {-1.5f, 0, 1.5f}, {-inf, 0, inf}, {-0x1p-149f, 0, 0x1p-149f}};
    const binary_case order[] = {{1.0f, 1.0f, 1.0f},  {2.0f, 1.0f, 2.0f}, {1.0f, 2.0f, 0.0f},
                                 {0.0f, -0.0f, 1.0f}, {nan, 1.0f, 0.0f},  {1.0f, nan, 0.0f},
                                 {inf, 1.0f, 2.0f},   {-inf, -inf, 1.0f}};
    check_binary("max", largest, most, sizeof most / sizeof *most);
    check_binary("min", smallest, least, sizeof least / sizeof *least);
    check_binary("abs", magnitude, size, sizeof size / sizeof *size);
    check_binary("cmp", compare, order, sizeof order / sizeof *order);
    float out[LANES];
    _mm512_storeu_ps(out, _mm512_abs_ps(_mm512_set1_ps(float_of(0xffc00001u))));
    assert_int_equal(bits_of(out[LANES - 1]), 0x7fc00001u);
}

/* 1 + 2^-12 squared, less 1 + 2^-11: what is left is lost where the product is rounded before. */
static void fmadd_rounds_once(void **state)
{
    (void)state;
    float out[LANES];
    _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_set1_ps(0x1.001p0f), _mm512_set1_ps(0x1.001p0f),
                                          _mm512_set1_ps(-0x1.002p0f)));
    for (size_t i = 0; i < LANES; ++i) {
        assert_same("fmadd", i, out[i], 0x1p-24f);
    }
}

static void integers_become_the_nearest_floats(void **state)
{
    (void)state;
    const int32_t in[LANES] = {0,         1,         -1,       16777217,  16777219, -16777217,
                               INT32_MAX, INT32_MIN, 16777216, -16777219, 33554434, 33554438,
                               127,       -128,      65537,    -2};
    const float expected[LANES] = {0.0f,    1.0f,     -1.0f,       0x1p24f,      16777220.0f, -0x1p24f,
                                   0x1p31f, -0x1p31f, 16777216.0f, -16777220.0f, 33554432.0f, 33554440.0f,
                                   127.0f,  -128.0f,  65537.0f,    -2.0f};
    float out[LANES];
    _mm512_storeu_ps(out, _mm512_cvtepi32_ps(_mm512_loadu_si512(in)));
    for (size_t i = 0; i < LANES; ++i) {
        assert_same("cvtepi32_ps", i, out[i], expected[i]);
    }
    uint16_t words[LANES];
    uint32_t wide[LANES];
    for (size_t i = 0; i < LANES; ++i) {
        words[i] = (uint16_t)(0x1fff * i);
    }
    _mm512_storeu_si512(wide,
                        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)words)));
    for (size_t i = 0; i < LANES; ++i) {
        assert_int_equal(wide[i], words[i]);
    }
}

/* splitmix64: the same numbers on every machine. */
static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Modulo 2^32; in between, neither the products nor their sum is cut to 16 bits. */
static void check_dot(const int32_t *sum, const uint8_t *a, const int8_t *b)
{
    uint32_t out[LANES];
    _mm512_storeu_si512(
        out, _mm512_dpbusd_epi32(_mm512_loadu_si512(sum), _mm512_loadu_si512(a), _mm512_loadu_si512(b)));
    for (size_t i = 0; i < LANES; ++i) {
        uint32_t expected = (uint32_t)sum[i];
        for (size_t j = 4 * i; j < 4 * i + 4; ++j) {
            expected += (uint32_t)((int32_t)a[j] * (int32_t)b[j]);
        }
        assert_int_equal(out[i], expected);
    }
}

static void dot_products_of_bytes_are_exact(void **state)
{
    (void)state;
    int32_t sum[LANES];
    uint8_t a[4 * LANES];
    int8_t b[4 * LANES];
    static const int8_t ends[] = {127, -128};
    static const int32_t sums[] = {0, INT32_MAX, INT32_MIN};
    for (size_t s = 0; s < 3; ++s) {
        for (size_t e = 0; e < 2; ++e) {
            for (size_t i = 0; i < 4 * LANES; ++i) {
                sum[i / 4] = sums[s];
                a[i] = 255;
                b[i] = ends[e];
            }
            check_dot(sum, a, b);
        }
    }
    random_state = 1;
    for (size_t trial = 0; trial < 1000; ++trial) {
        for (size_t i = 0; i < 4 * LANES; ++i) {
            const uint64_t bits = next_random();
            sum[i / 4] = (int32_t)(bits >> 32);
            a[i] = (uint8_t)bits;
            b[i] = (int8_t)(uint8_t)(bits >> 8);
        }
        check_dot(sum, a, b);
    }
}

static void floats_become_bfloat16(void **state)
{
    (void)state;
    /* A float and its bfloat16: ties, carries, overflow, denormals, infinity, NaN. Volatile, because gcc 14
     * computes conversions of constants itself, and keeps denormals that the instruction takes for zeros. */
    static const volatile uint32_t cases[LANES][2] = {
        {0x3f800000u, 0x3f80u}, {0x3f808000u, 0x3f80u}, {0x3f818000u, 0x3f82u}, {0x3f808001u, 0x3f81u},
        {0x3f80ffffu, 0x3f81u}, {0x3fff8000u, 0x4000u}, {0x7f7fffffu, 0x7f80u}, {0xff7f7fffu, 0xff7fu},
        {0x00000000u, 0x0000u}, {0x80000000u, 0x8000u}, {0x007fffffu, 0x0000u}, {0x80000001u, 0x8000u},
        {0x7f800000u, 0x7f80u}, {0xff800000u, 0xff80u}, {0x7f800001u, 0x7fc0u}, {0xffffffffu, 0xffffu}};
    float a[LANES], b[LANES];
    uint16_t out[2 * LANES];
    for (size_t i = 0; i < LANES; ++i) {
        b[i] = float_of(cases[i][0]);
        a[i] = float_of(cases[LANES - 1 - i][0]);
    }
    const __m512bh pairs = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(a), _mm512_loadu_ps(b));
    memcpy(out, &pairs, sizeof out);
    for (size_t i = 0; i < LANES; ++i) {
        assert_int_equal(out[i], cases[i][1]);
        assert_int_equal(out[LANES + i], cases[LANES - 1 - i][1]);
    }
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(b));
    memcpy(out, &half, sizeof half);
    for (size_t i = 0; i < LANES; ++i) {
        assert_int_equal(out[i], cases[i][1]);
    }
}

/* sum + odd * odd' + even * even', the same in every lane. */
static float dot_pair(float sum, float odd, float odd2, float even, float even2)
{
    const uint32_t left = (bits_of(odd) & 0xffff0000u) | bits_of(even) >> 16,
                   right = (bits_of(odd2) & 0xffff0000u) | bits_of(even2) >> 16;
    const __m512i a = _mm512_set1_epi32((int)left), b = _mm512_set1_epi32((int)right);
    __m512bh x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    float out[LANES];
    _mm512_storeu_ps(out, _mm512_dpbf16_ps(_mm512_set1_ps(sum), x, y));
    for (size_t i = 1; i < LANES; ++i) {
        assert_int_equal(bits_of(out[i]), bits_of(out[0]));
    }
    return out[0];
}

/* Bits of a float, or of one of a pair's bfloat16 in its upper half, with a denormal flushed. */
static float flushed(uint32_t bits)
{
    return float_of((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

/* What Intel's description says: the odd term, rounded, then the even one; denormals are zeros. */
static float defined_dot(float sum, uint32_t left, uint32_t right)
{
    const float odd = flushed(
        bits_of(fmaf(flushed(left & 0xffff0000u), flushed(right & 0xffff0000u), flushed(bits_of(sum)))));
    return flushed(bits_of(fmaf(flushed(left << 16), flushed(right << 16), odd)));
}

typedef struct dot_operands {
    float sum[LANES];
    uint32_t left[LANES], right[LANES]; /* pairs */
} dot_operands;

/* Of the compiler's intrinsic, or of the emulation that stands for it. */
static void dot_by_intrinsic(const dot_operands *in, float *out)
{
    __m512bh left, right;
    memcpy(&left, in->left, sizeof left);
    memcpy(&right, in->right, sizeof right);
    _mm512_storeu_ps(out, _mm512_dpbf16_ps(_mm512_loadu_ps(in->sum), left, right));
}

/* Of the processor, in whatever build. */
static void dot_by_processor(const dot_operands *in, float *out)
{
    __asm__ volatile("vmovups %1, %%zmm0\n\tvmovups %2, %%zmm1\n\tvdpbf16ps %3, %%zmm1, %%zmm0\n\t"
                     "vmovups %%zmm0, %0\n\tvzeroupper"
                     : "=m"(*(float(*)[LANES])(void *)out)
                     : "m"(in->sum), "m"(in->left), "m"(in->right)
                     : "xmm0", "xmm1");
}

/* Any bits; and numbers near 1, whose products often cancel or fall on a boundary. */
static dot_operands random_dot(bool near)
{
    dot_operands out;
    for (size_t i = 0; i < LANES; ++i) {
        const uint64_t a = next_random(), b = next_random();
        uint32_t sum = (uint32_t)b;
        out.left[i] = (uint32_t)a;
        out.right[i] = (uint32_t)(a >> 32);
        if (near) {
            out.left[i] = (out.left[i] & 0x807f807fu) | 0x3f803f80u;
            out.right[i] = (out.right[i] & 0x807f807fu) | 0x3f803f80u;
            sum = (sum & 0x807fffffu) | 0x3f800000u;
        }
        out.sum[i] = float_of(sum);
    }
    return out;
}

/* How far a sum of three terms may be off, however it is rounded: what the kernels rely on. */
static bool near_enough(const dot_operands *in, size_t i, float got)
{
    const double odd =
        (double)flushed(in->left[i] & 0xffff0000u) * (double)flushed(in->right[i] & 0xffff0000u);
    const double even = (double)flushed(in->left[i] << 16) * (double)flushed(in->right[i] << 16);
    const double sum = (double)flushed(bits_of(in->sum[i])), exact = odd + even + sum;
    if (!(fabs(odd) + fabs(even) + fabs(sum) < 0x1p127)) {
        return true; /* it may overflow on the way, or is NaN */
    }
    return fabs((double)got - exact) <= 0x1p-22 * (fabs(odd) + fabs(even) + fabs(sum)) + 0x1p-125;
}

/* The emulation is the definition to the last bit. A processor may add the products in another way, so it has
 * to be near; where it is the definition too, that is said. */
static void dot_products_are_as_defined(void **state)
{
    (void)state;
    const bool here = __builtin_cpu_supports("avx512bf16") != 0;
    size_t different = 0, trials = 0;
    random_state = 7;
    for (; trials < 20000; ++trials) {
        const dot_operands in = random_dot(trials % 2 == 0);
        float got[LANES], processor[LANES];
        dot_by_intrinsic(&in, got);
        if (here) {
            dot_by_processor(&in, processor);
        }
        for (size_t i = 0; i < LANES; ++i) {
            const float defined = defined_dot(in.sum[i], in.left[i], in.right[i]);
            if (adamoe_cpu_emulates_avx512()) {
                assert_same("dpbf16", trials, got[i], defined);
            }
            assert_true(near_enough(&in, i, got[i]) && (!here || near_enough(&in, i, processor[i])));
            different +=
                here && bits_of(processor[i]) != bits_of(defined) && !(isnan(processor[i]) && isnan(defined));
        }
    }
    if (here) {
        print_message("vdpbf16ps of this processor: %zu of %zu results differ from Intel's description\n",
                      different, trials * LANES);
    }
}

static void dot_products_of_bfloat16(void **state)
{
    (void)state;
    assert_same("plain", 0, dot_pair(1.0f, 2.0f, 3.0f, -4.0f, 5.0f), -13.0f);
    assert_same("NaN", 0, dot_pair(1.0f, 2.0f, NAN, 1.0f, 1.0f), NAN);
    assert_same("infinity", 0, dot_pair(1.0f, 2.0f, 1.0f, 0x1p127f, -2.0f), -HUGE_VALF);
    assert_same("a denormal operand is zero", 0, dot_pair(1.0f, 0x1p-127f, 0x1p127f, 0.0f, 0.0f), 1.0f);
    if (!adamoe_cpu_emulates_avx512()) {
        return; /* No kernel depends on the rest, which Intel's description says of each step. */
    }
    assert_same("each step rounds", 0, dot_pair(1.0f, 0x1p-12f, 0x1p-12f, 0x1p-12f, 0x1p-12f), 1.0f);
    assert_same("odd first", 0, dot_pair(1.0f, 0x1p12f, 0x1p12f, 0x1p12f, -0x1p12f), 0.0f);
    assert_same("a denormal sum is zero", 0, dot_pair(0x1p-127f, 1.0f, 0x1p-126f, 0.0f, 0.0f), 0x1p-126f);
    assert_same("a denormal step is flushed", 0, dot_pair(0.0f, 0x1p-70f, 0x1p-70f, 0.0f, 0.0f), 0.0f);
    assert_same("with its sign", 0, dot_pair(0x1p-126f, 1.0f, -0x1.8p-126f, -0.0f, 0.0f), -0.0f);
}

static void expect_lanes(const char *what, __m512 got, const float *expected)
{
    float out[LANES];
    _mm512_storeu_ps(out, got);
    for (size_t i = 0; i < LANES; ++i) {
        assert_same(what, i, out[i], expected[i]);
    }
}

/* Lanes 0 to 15 are numbered in the first operand, 16 to 31 in the second. */
static void shuffles_take_the_lanes_they_name(void **state)
{
    (void)state;
    float a[LANES], b[LANES];
    for (size_t i = 0; i < LANES; ++i) {
        a[i] = (float)i;
        b[i] = (float)(LANES + i);
    }
    const __m512 x = _mm512_loadu_ps(a), y = _mm512_loadu_ps(b);
    expect_lanes("shuffle_f32x4 0x44", _mm512_shuffle_f32x4(x, y, 0x44),
                 (float[]){0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23});
    expect_lanes("shuffle_f32x4 0xee", _mm512_shuffle_f32x4(x, y, 0xee),
                 (float[]){8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31});
    expect_lanes("shuffle_f32x4 0xd8", _mm512_shuffle_f32x4(x, y, 0xd8),
                 (float[]){0, 1, 2, 3, 8, 9, 10, 11, 20, 21, 22, 23, 28, 29, 30, 31});
    expect_lanes("shuffle_ps 0x88", _mm512_shuffle_ps(x, y, 0x88),
                 (float[]){0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30});
    expect_lanes("shuffle_ps 0xee", _mm512_shuffle_ps(x, y, 0xee),
                 (float[]){2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31});
    float high[LANES / 2];
    _mm256_storeu_ps(high, _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    assert_memory_equal(high, a + LANES / 2, sizeof high);
    assert_same("cvtss_f32", 0, _mm512_cvtss_f32(y), 16.0f);
}

int main(void)
{
    if (!adamoe_cpu_has("avx512f") || !adamoe_cpu_has("avx512vnni") || !adamoe_cpu_has("avx512bf16")) {
        printf(
            "skipped: the processor lacks AVX-512 F, VNNI or BF16, and this build does not emulate them\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_keep_memory_untouched),
        cmocka_unit_test(scalef_is_exact),
        cmocka_unit_test(roundscale_rounds_as_told),
        cmocka_unit_test(comparisons_know_nan),
        cmocka_unit_test(fmadd_rounds_once),
        cmocka_unit_test(integers_become_the_nearest_floats),
        cmocka_unit_test(dot_products_of_bytes_are_exact),
        cmocka_unit_test(floats_become_bfloat16),
        cmocka_unit_test(dot_products_of_bfloat16),
        cmocka_unit_test(dot_products_are_as_defined),
        cmocka_unit_test(shuffles_take_the_lanes_they_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
