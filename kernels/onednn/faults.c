/*
 * Small products of small whole numbers, whose sums are exact in any order, so that a result is either equal
 * to what it should be or wrong.
 */
#include "onednn/faults.h"
#include "machine/host.h"
#include "numbers.h"
#include "onednn/adapter.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* y [count, rows] with `stride` floats from row to row, from x [count, depth] and a matrix [rows, columns]. */
typedef struct probe {
    size_t rows, columns, depth, stride, count;
    bool poisoned; /* every other row of x is NaN; the rows between must not show it */
} probe;

typedef enum outcome { RIGHT, WRONG, UNAVAILABLE } outcome;

static float weight_at(size_t r, size_t c)
{
    return (float)((5 * r + 3 * c) % 7) - 3.0f;
}

static float input_at(size_t i, size_t c)
{
    return (float)((3 * i + c) % 5) - 2.0f;
}

static bool is_poisoned(const probe *p, size_t i)
{
    return p->poisoned && i % 2 == 1;
}

/* What no product gives: where it is found afterwards, nothing was written. */
static const float untouched = -12345.0f;

typedef struct probe_memory {
    float *weights, *x, *y;
    void *operands, *scratch;
} probe_memory;

static void fill(const probe *p, adamoe_arithmetic type, probe_memory *m)
{
    uint16_t *halves = m->operands;
    float *floats = m->operands;
    for (size_t i = 0; i < p->rows * p->columns; ++i) {
        m->weights[i] = weight_at(i / p->columns, i % p->columns);
    }
    for (size_t i = 0; i < p->count * p->depth; ++i) {
        const size_t row = i / p->depth, column = i % p->depth;
        const float value = column >= p->columns ? 0.0f : is_poisoned(p, row) ? NAN : input_at(row, column);
        if (type == ADAMOE_BFLOAT16) {
            halves[i] = adamoe_float_to_bf16(value);
        } else {
            floats[i] = value;
        }
    }
    for (size_t i = 0; i < p->count * p->stride; ++i) {
        m->y[i] = untouched;
    }
}

static float expected_at(const probe *p, size_t i, size_t r)
{
    float sum = 0.0f;
    for (size_t c = 0; c < p->columns; ++c) {
        sum += input_at(i, c) * weight_at(r, c);
    }
    return sum;
}

static bool is_right(const probe *p, const float *y)
{
    for (size_t i = 0; i < p->count; ++i) {
        for (size_t r = 0; r < p->stride; ++r) {
            const float got = y[i * p->stride + r];
            if (r >= p->rows ? got != untouched : !is_poisoned(p, i) && got != expected_at(p, i, r)) {
                return false;
            }
        }
    }
    return true;
}

static outcome run_product(const probe *p, onednn_product *product, probe_memory *m)
{
    if (onednn_product_reserve(product, p->count).code != ADAMOE_OK) {
        return UNAVAILABLE;
    }
    m->scratch = adamoe_heap_host.allocate(NULL, onednn_product_scratch(product) + 64, 64);
    if (m->scratch == NULL ||
        onednn_product_run(product, m->operands, p->count, m->y, m->scratch).code != ADAMOE_OK) {
        return UNAVAILABLE;
    }
    return is_right(p, m->y) ? RIGHT : WRONG;
}

static outcome run_in_memory(const probe *p, adamoe_arithmetic type, probe_memory *m)
{
    fill(p, type, m);
    const adamoe_matrix matrix = {m->weights, ADAMOE_F32, p->rows, p->columns};
    const adamoe_placement placement = adamoe_one_node(1);
    const onednn_place place = {&adamoe_heap_host, &placement, 0};
    onednn_product *product = NULL;
    if (onednn_product_create(&matrix, 0, p->rows, type, p->depth, p->stride, &place, &product).code !=
        ADAMOE_OK) {
        return UNAVAILABLE;
    }
    const outcome result = run_product(p, product, m);
    onednn_product_free(product);
    return result;
}

static outcome run_probe(const probe *p, adamoe_arithmetic type)
{
    probe_memory m = {.weights = calloc(p->rows * p->columns, sizeof(float)),
                      .y = calloc(p->count * p->stride, sizeof(float)),
                      .operands = adamoe_heap_host.allocate(NULL, p->count * p->depth * sizeof(float), 64)};
    const outcome result =
        m.weights != NULL && m.y != NULL && m.operands != NULL ? run_in_memory(p, type, &m) : UNAVAILABLE;
    free(m.weights);
    free(m.y);
    adamoe_heap_host.release(NULL, m.operands);
    adamoe_heap_host.release(NULL, m.scratch);
    return result;
}

/* Each shape with few rows and with 64: oneDNN compiles another primitive for each number of them. */
static void try_probe(probe p, adamoe_arithmetic type, bool *fault, bool *available)
{
    static const size_t counts[] = {10, 64};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; ++i) {
        p.count = counts[i];
        const outcome result = run_probe(&p, type);
        *available = *available && result != UNAVAILABLE;
        *fault = *fault || result == WRONG;
    }
}

/* What the kernels ask for, after which nothing may be wrong: outputs of two columns with a gap and of one
 * without, and rows that are padded where they would leak. */
static void find_what_is_left(adamoe_arithmetic type, onednn_findings *f)
{
    const bool pads = type == ADAMOE_BFLOAT16 || f->fault[ONEDNN_ROW_LEAK];
    const probe asked[] = {
        {.rows = 2, .columns = 32, .depth = 32, .stride = 7},
        {.rows = 1, .columns = 32, .depth = 32, .stride = 1},
        {.rows = 48, .columns = 33, .depth = pads ? 64 : 33, .stride = 50, .poisoned = true},
        {.rows = 64, .columns = 65, .depth = pads ? 96 : 65, .stride = 64, .poisoned = true},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; ++i) {
        try_probe(asked[i], type, &f->fault[ONEDNN_WRONG], &f->available);
    }
}

static void find(adamoe_arithmetic type, onednn_findings *f)
{
    const probe one_column = {.rows = 1, .columns = 5, .depth = 5, .stride = 7};
    const probe leaks[] = {{.rows = 64, .columns = 33, .depth = 33, .stride = 64, .poisoned = true},
                           {.rows = 64, .columns = 65, .depth = 65, .stride = 64, .poisoned = true}};
    f->available = true;
    try_probe(one_column, type, &f->fault[ONEDNN_ONE_COLUMN], &f->available);
    for (size_t i = 0; i < sizeof leaks / sizeof *leaks && f->available; ++i) {
        try_probe(leaks[i], type, &f->fault[ONEDNN_ROW_LEAK], &f->available);
    }
    if (f->available) {
        find_what_is_left(type, f);
    }
}

static onednn_findings float32_findings, bfloat16_findings;

static void find_of_float32(void)
{
    find(ADAMOE_FLOAT32, &float32_findings);
}

static void find_of_bfloat16(void)
{
    find(ADAMOE_BFLOAT16, &bfloat16_findings);
}

const onednn_findings *onednn_find_faults(adamoe_arithmetic type)
{
    static pthread_once_t float32_once = PTHREAD_ONCE_INIT, bfloat16_once = PTHREAD_ONCE_INIT;
    if (type == ADAMOE_BFLOAT16) {
        (void)pthread_once(&bfloat16_once, find_of_bfloat16);
        return &bfloat16_findings;
    }
    (void)pthread_once(&float32_once, find_of_float32);
    return &float32_findings;
}

size_t onednn_depth(adamoe_arithmetic type, size_t columns)
{
    const bool pads = type == ADAMOE_BFLOAT16 || onednn_find_faults(type)->fault[ONEDNN_ROW_LEAK];
    return pads ? (columns + ONEDNN_DEPTH_STEP - 1) / ONEDNN_DEPTH_STEP * ONEDNN_DEPTH_STEP : columns;
}

typedef struct description {
    const char *name, *text, *remedy;
} description;

static const description descriptions[ONEDNN_FAULTS] = {
    [ONEDNN_ONE_COLUMN] = {"one_column_stride",
                           "a product of one column ignores the stride between the rows of its output",
                           "no block has one column"},
    [ONEDNN_ROW_LEAK] = {"row_leak", "NaN of one row reaches others where sums have no multiple of 32 terms",
                         "rows are padded with zeros"},
    [ONEDNN_WRONG] = {"wrong_products", "products of shapes that are needed are wrong",
                      "the kernel refuses to run"},
};

const char *onednn_fault_name(onednn_fault fault)
{
    return descriptions[fault].name;
}

const char *onednn_fault_text(onednn_fault fault)
{
    return descriptions[fault].text;
}

const char *onednn_fault_remedy(onednn_fault fault)
{
    return descriptions[fault].remedy;
}
