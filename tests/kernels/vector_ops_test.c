/*
 * Every table of vector functions that this machine can run, against the same formulas in double, at sizes
 * below, at and above each vector, in arrays that end at inaccessible pages. Bounds are those of the rounding
 * errors of a sum in any order, u = 2^-24: |error| <= (terms + operations of a term) * u * sum |term|.
 */
#include "test.h"
#include "batch.h"
#include "guarded.h"
#include "vector/vector_ops.h"

#define LONGEST 100
#define UNIT    0x1p-24

/* splitmix64: the same numbers on every machine. */
static uint64_t state;

static double uniform(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Uniform in -size .. size. */
static void fill(float *x, size_t count, double size)
{
    for (size_t i = 0; i < count; ++i) {
        x[i] = (float)((2.0 * uniform() - 1.0) * size);
    }
}

static void assert_near(const char *what, size_t count, size_t i, double got, double expected, double bound)
{
    if (!(fabs(got - expected) <= bound)) {
        fail_msg("%s of %zu, element %zu: %.9g, expected %.9g, bound %.3g", what, count, i, got, expected,
                 bound);
    }
}

static void check_sums(const adamoe_vector_ops *ops, size_t count)
{
    guarded memory[3];
    float *a = guarded_array(&memory[0], count * sizeof *a),
          *b = guarded_array(&memory[1], count * sizeof *b);
    float *out = guarded_array(&memory[2], count * sizeof *out);
    fill(a, count, 2.0);
    fill(b, count, 2.0);
    double product = 0.0, magnitude = 0.0, squares = 0.0;
    for (size_t i = 0; i < count; ++i) {
        product += (double)a[i] * (double)b[i];
        magnitude += fabs((double)a[i] * (double)b[i]);
        squares += (double)a[i] * (double)a[i];
    }
    assert_near("dot", count, 0, (double)ops->dot(a, b, count), product,
                (double)(count + 2) * UNIT * magnitude);
    ops->rms_norm(a, b, 1e-5, count, out);
    for (size_t i = 0; i < count; ++i) {
        const double expected = (double)a[i] / sqrt(squares / (double)count + 1e-5) * (double)b[i];
        assert_near("rms_norm", count, i, (double)out[i], expected,
                    (double)(count + 5) * UNIT * fabs(expected));
    }
    float normed[LONGEST], moved[LONGEST]; /* 0.75 b is exact, and so is what is added to */
    memcpy(moved, a, count * sizeof *moved);
    ops->add_rms_norm(moved, b, 0.75f, b, 1e-5, count, out);
    ops->rms_norm(moved, b, 1e-5, count, normed);
    assert_memory_equal(out, normed, count * sizeof *out);
    for (size_t i = 0; i < count; ++i) {
        const double expected = (double)a[i] + 0.75 * (double)b[i];
        assert_near("add_rms_norm", count, i, (double)moved[i], expected,
                    2.0 * UNIT * (fabs((double)a[i]) + 0.75 * fabs((double)b[i])));
    }
    memcpy(moved, a, count * sizeof *moved);
    ops->add_rms_norm(moved, b, 1.0f, b, 1e-5, count, out);
    memcpy(out, a, count * sizeof *out);
    ops->add(out, b, count);
    assert_memory_equal(out, moved, count * sizeof *out);
    for (size_t i = 0; i < count; ++i) {
        assert_true(out[i] == a[i] + b[i]);
    }
    for (size_t i = 0; i < 3; ++i) {
        guarded_free(&memory[i]);
    }
}

static void check_rotation(const adamoe_vector_ops *ops, size_t half)
{
    enum { HEADS = 3 };
    guarded memory[3];
    float *heads = guarded_array(&memory[0], 2 * HEADS * half * sizeof *heads), before[2 * HEADS * LONGEST],
          apart[2 * HEADS * LONGEST];
    float *cosine = guarded_array(&memory[1], half * sizeof *cosine);
    float *sine = guarded_array(&memory[2], half * sizeof *sine);
    fill(heads, 2 * HEADS * half, 3.0);
    fill(cosine, half, 1.0);
    fill(sine, half, 1.0);
    memcpy(before, heads, 2 * HEADS * half * sizeof *heads);
    ops->rotate(before, HEADS, cosine, sine, half, apart);
    ops->rotate(heads, HEADS, cosine, sine, half, heads);
    assert_memory_equal(apart, heads, 2 * HEADS * half * sizeof *heads);
    for (size_t i = 0; i < HEADS * half; ++i) {
        const size_t at = i / half * 2 * half + i % half;
        const double first = (double)before[at], second = (double)before[at + half];
        const double c = (double)cosine[i % half], s = (double)sine[i % half];
        const double bound = 2.0 * UNIT * (fabs(first) + fabs(second));
        assert_near("rotate", half, at, (double)heads[at], first * c - second * s, bound);
        assert_near("rotate", half, at + half, (double)heads[at + half], second * c + first * s, bound);
    }
    for (size_t i = 0; i < 3; ++i) {
        guarded_free(&memory[i]);
    }
}

/* Rows of a [2 * count, stride] array in an order that is not theirs; the last of them touches the end. */
static adamoe_listed_rows list_rows(float *base, size_t *row, size_t count, size_t stride)
{
    for (size_t i = 0; i < count; ++i) {
        row[i] = 2 * (count - 1 - i) + 1;
    }
    return (adamoe_listed_rows){base, row, stride};
}

static void check_attention(const adamoe_vector_ops *ops, size_t count, size_t head_dim)
{
    const size_t stride = head_dim; /* so that the last row ends at the inaccessible page */
    guarded memory[4];
    float *query = guarded_array(&memory[0], head_dim * sizeof *query);
    float *rows = guarded_array(&memory[1], 2 * count * stride * sizeof *rows);
    float *score = guarded_array(&memory[2], count * sizeof *score);
    float *mixed = guarded_array(&memory[3], head_dim * sizeof *mixed), once[LONGEST];
    size_t row[LONGEST];
    fill(query, head_dim, 1.0);
    fill(rows, 2 * count * stride, 1.0);
    const adamoe_listed_rows list = list_rows(rows, row, count, stride);
    ops->scores(query, &list, 0, count, head_dim, 0.25f, score);
    for (size_t i = 0; i < count; ++i) {
        double sum = 0.0, magnitude = 0.0;
        for (size_t c = 0; c < head_dim; ++c) {
            const double term = (double)query[c] * (double)rows[row[i] * stride + c];
            sum += term;
            magnitude += fabs(term);
        }
        assert_near("scores", head_dim, i, (double)score[i], 0.25 * sum,
                    (double)(head_dim + 2) * UNIT * 0.25 * magnitude);
    }
    memset(mixed, 0, head_dim * sizeof *mixed);
    ops->mix(score, &list, 0, count, head_dim, mixed);
    for (size_t c = 0; c < head_dim; ++c) {
        double sum = 0.0, magnitude = 0.0;
        for (size_t i = 0; i < count; ++i) {
            sum += (double)score[i] * (double)rows[row[i] * stride + c];
            magnitude += fabs((double)score[i] * (double)rows[row[i] * stride + c]);
        }
        assert_near("mix", count, c, (double)mixed[c], sum, (double)(count + 2) * UNIT * magnitude);
    }
    memcpy(once, mixed, head_dim * sizeof *mixed);
    memset(mixed, 0, head_dim * sizeof *mixed);
    ops->mix(score, &list, 0, count / 3, head_dim, mixed);
    ops->mix(score + count / 3, &list, count / 3, count - count / 3, head_dim, mixed);
    assert_memory_equal(mixed, once, head_dim * sizeof *mixed);
    for (size_t i = 0; i < 4; ++i) {
        guarded_free(&memory[i]);
    }
}

/* A weight: the softmax's bound (below) with one rounding more, for the quotient by way of a reciprocal, and what the
 * error of its score does to it, twice: by itself and in the sum. The mixing is a sum. */
static void check_attend(const adamoe_vector_ops *ops, size_t count, size_t head_dim, double size)
{
    guarded memory[4];
    float *query = guarded_array(&memory[0], head_dim * sizeof *query);
    float *keys = guarded_array(&memory[1], 2 * count * head_dim * sizeof *keys);
    float *values = guarded_array(&memory[2], 2 * count * head_dim * sizeof *values);
    float *mixed = guarded_array(&memory[3], head_dim * sizeof *mixed);
    double score[LONGEST], largest = -INFINITY, sum = 0.0, error = 0.0;
    size_t row[LONGEST];
    fill(query, head_dim, 1.0);
    fill(keys, 2 * count * head_dim, size);
    fill(values, 2 * count * head_dim, 1.0);
    fill(mixed, head_dim, 1.0); /* which is not added to */
    const adamoe_listed_rows k = list_rows(keys, row, count, head_dim),
                             v = list_rows(values, row, count, head_dim);
    for (size_t i = 0; i < count; ++i) {
        double magnitude = 0.0;
        score[i] = 0.0;
        for (size_t c = 0; c < head_dim; ++c) {
            score[i] += 0.25 * (double)query[c] * (double)keys[row[i] * head_dim + c];
            magnitude += fabs(0.25 * (double)query[c] * (double)keys[row[i] * head_dim + c]);
        }
        largest = fmax(largest, score[i]);
        error = fmax(error, (double)(head_dim + 2) * UNIT * magnitude);
    }
    for (size_t i = 0; i < count; ++i) {
        sum += exp(score[i] - largest);
    }
    ops->attend(query, &k, &v, 0, count, head_dim, 0.25f, mixed);
    const double relative = (8.0 + (double)count / 4.0 + 3.0 + (double)count + 2.0) * UNIT + 2.0 * error;
    for (size_t c = 0; c < head_dim; ++c) {
        double expected = 0.0, magnitude = 0.0;
        for (size_t i = 0; i < count; ++i) {
            const double term = exp(score[i] - largest) / sum * (double)values[row[i] * head_dim + c];
            expected += term;
            magnitude += fabs(term);
        }
        assert_near("attend", count, c, (double)mixed[c], expected, relative * magnitude + 0x1p-140);
    }
    for (size_t i = 0; i < 4; ++i) {
        guarded_free(&memory[i]);
    }
}

/* exp within 2 units and its correction in 1, the sum of positive terms in at most count / 4 + 3 additions,
 * the quotient in 1; the logarithm's sum carries no correction, so each term adds the rounding of its
 * difference. Values below the normal range have an absolute error instead. */
static void check_softmax(const adamoe_vector_ops *ops, size_t count, double size)
{
    guarded memory[2];
    float *x = guarded_array(&memory[0], count * sizeof *x),
          *out = guarded_array(&memory[1], count * sizeof *x);
    fill(x, count, size);
    double largest = (double)x[0], sum = 0.0, error = 0.0;
    for (size_t i = 0; i < count; ++i) {
        largest = fmax(largest, (double)x[i]);
    }
    for (size_t i = 0; i < count; ++i) {
        const double difference = (double)x[i] - largest;
        sum += exp(difference);
        error += exp(difference) * (3.0 - fmax(difference, -1e3));
    }
    const double additions = (double)count / 4.0 + 3.0;
    ops->softmax(x, count, out);
    for (size_t i = 0; i < count; ++i) {
        const double expected = exp((double)x[i] - largest) / sum;
        assert_near("softmax", count, i, (double)out[i], expected,
                    (7.0 + additions) * UNIT * expected + 0x1p-149);
    }
    adamoe_log_sum log_sum = adamoe_log_sum_empty;
    const size_t part = count / 2;
    assert_true(part == 0 || ops->log_sum_add(&log_sum, x, part));
    assert_true(ops->log_sum_add(&log_sum, x + part, count - part));
    assert_near("log_sum_add", count, 0, (double)log_sum.largest + log(log_sum.sum),
                adamoe_log_sum_exp(x, count), UNIT * (error / sum + additions) + 1e-15 * size);
    ops->softmax(x, count, x);
    assert_memory_equal(x, out, count * sizeof *x);
    guarded_free(&memory[0]);
    guarded_free(&memory[1]);
}

static void check_finite(const adamoe_vector_ops *ops, size_t count)
{
    guarded memory;
    float *x = guarded_array(&memory, count * sizeof *x);
    const float bad[] = {NAN, HUGE_VALF, -HUGE_VALF};
    fill(x, count, 3e38);
    adamoe_log_sum sum = adamoe_log_sum_empty;
    assert_true(ops->all_finite(x, count));
    for (size_t i = 0; i < 3 * count; ++i) {
        const float good = x[i / 3];
        x[i / 3] = bad[i % 3];
        assert_false(ops->all_finite(x, count));
        assert_false(ops->log_sum_add(&sum, x, count));
        x[i / 3] = good;
    }
    guarded_free(&memory);
}

/* The definition: of what is left the largest, of equal ones the first. */
static void naive_top_k(const float *x, size_t count, size_t k, uint32_t *index)
{
    bool taken[LONGEST] = {false};
    for (size_t j = 0; j < k; ++j) {
        size_t best = count;
        for (size_t i = 0; i < count; ++i) {
            if (!taken[i] && (best == count || x[i] > x[best])) {
                best = i;
            }
        }
        taken[best] = true;
        index[j] = (uint32_t)best;
    }
}

/* Values from a few different ones, so that most are ties, 0 of either sign among them. */
static void check_top_k(const adamoe_vector_ops *ops, size_t count, size_t k, double different)
{
    guarded memory[2];
    float *x = guarded_array(&memory[0], count * sizeof *x);
    uint32_t *index = guarded_array(&memory[1], k * sizeof *index), expected[LONGEST];
    for (size_t i = 0; i < count; ++i) {
        x[i] = (float)floor((uniform() - 0.5) * different);
        x[i] = x[i] == 0.0f && uniform() < 0.5 ? -0.0f : x[i];
    }
    ops->top_k(x, count, k, index);
    naive_top_k(x, count, k, expected);
    assert_memory_equal(index, expected, k * sizeof *index);
    guarded_free(&memory[0]);
    guarded_free(&memory[1]);
}

static void check_table(const adamoe_vector_ops *ops)
{
    state = 1;
    for (size_t count = 1; count < LONGEST; ++count) {
        check_sums(ops, count);
        check_rotation(ops, count);
        check_softmax(ops, count, 3.0);
        check_softmax(ops, count, 60.0);
        check_softmax(ops, count, 3e38);
        check_finite(ops, count);
        check_attention(ops, count, 1 + (count * 7) % (LONGEST - 1));
        check_attention(ops, 1 + count % 37, count);
        check_attend(ops, 1 + count % ADAMOE_ATTEND_MOST, 1 + count * 7 % (LONGEST - 1), 1.0);
        check_attend(ops, 1 + count % ADAMOE_ATTEND_MOST, count, 40.0);
        for (size_t k = 1; k <= count; k += 1 + k / 3) {
            check_top_k(ops, count, k, 3.0);
            check_top_k(ops, count, k, 1e6);
        }
    }
}

static void every_table(void **context)
{
    (void)context;
    bool runs_here = false;
    size_t checked = 0;
    for (size_t i = 0; adamoe_vector_ops_at(i, &runs_here) != NULL; ++i) {
        const adamoe_vector_ops *ops = adamoe_vector_ops_at(i, &runs_here);
        if (!runs_here) {
            print_message("left out: %s\n", ops->name);
            continue;
        }
        print_message("%s\n", ops->name);
        check_table(ops);
        ++checked;
    }
    assert_true(checked >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
