/*
 * Packing of floats, by the functions of every instruction set: each value where it belongs, nothing else
 * written, nothing read or written beyond the arrays, for numbers of rows, terms and columns around those of
 * a vector and of a tile.
 */
#include "guarded.h"
#include "test.h"
#include "train/gemm_tiles.h"

enum { MOST = 40 };

/* What is never packed: a value that stays means that nothing was written. */
#define UNTOUCHED (-1.0f)

static float value(size_t row, size_t term)
{
    return (float)(row * 1000 + term + 1);
}

/* An array of MOST rows, each of which ends at an inaccessible page. */
typedef struct rows {
    guarded memory[MOST];
    const float *at[MOST];
} rows;

static void make_rows(size_t count, size_t terms, rows *r)
{
    for (size_t i = 0; i < count; ++i) {
        float *row = guarded_array(&r->memory[i], terms * sizeof *row);
        for (size_t k = 0; k < terms; ++k) {
            row[k] = value(i, k);
        }
        r->at[i] = row;
    }
}

static void free_rows(size_t count, rows *r)
{
    for (size_t i = 0; i < count; ++i) {
        guarded_free(&r->memory[i]);
    }
}

static float *untouched(guarded *memory, size_t count)
{
    float *array = guarded_array(memory, count * sizeof *array);
    for (size_t i = 0; i < count; ++i) {
        array[i] = UNTOUCHED;
    }
    return array;
}

static void check_interleave(const packed_products *tiles, size_t count, size_t terms, size_t width)
{
    rows r;
    guarded memory;
    make_rows(count, terms, &r);
    const size_t packed = (terms - 1) * width + count;
    float *to = untouched(&memory, packed);
    tiles->interleave(r.at, count, terms, width, to);
    for (size_t i = 0; i < packed; ++i) {
        const float expected = i % width < count ? value(i % width, i / width) : UNTOUCHED;
        assert_true(to[i] == expected);
    }
    guarded_free(&memory);
    free_rows(count, &r);
}

static void check_copy(const packed_products *tiles, size_t terms, size_t groups, size_t width)
{
    rows r;
    guarded memory;
    make_rows(terms, groups * width, &r);
    float *to = untouched(&memory, groups * terms * width);
    tiles->copy_groups(r.at, terms, groups, width, to);
    for (size_t g = 0; g < groups; ++g) {
        for (size_t k = 0; k < terms; ++k) {
            for (size_t c = 0; c < width; ++c) {
                assert_true(to[(g * terms + k) * width + c] == value(k, g * width + c));
            }
        }
    }
    guarded_free(&memory);
    free_rows(terms, &r);
}

static void test_every_value_goes_where_it_belongs(void **state)
{
    (void)state;
    static const size_t terms[] = {1, 3, 4, 15, 16, 17, 35};
    bool runs_here;
    for (size_t t = 0; adamoe_gemm_tiles_at(t, &runs_here) != NULL; ++t) {
        const packed_products *tiles = adamoe_gemm_tiles_at(t, &runs_here);
        for (size_t i = 0; runs_here && i < sizeof terms / sizeof *terms; ++i) {
            for (size_t count = 1; count <= 33; ++count) {
                check_interleave(tiles, count, terms[i], count);
                check_interleave(tiles, count, terms[i], count + 3);
            }
            for (size_t groups = 1; groups <= 3; ++groups) {
                static const size_t widths[] = {1, 4, 6, 14, 16, 32, 35};
                for (size_t w = 0; w < sizeof widths / sizeof *widths; ++w) {
                    check_copy(tiles, terms[i], groups, widths[w]);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_value_goes_where_it_belongs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
