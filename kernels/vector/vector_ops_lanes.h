/*
 * The functions of vector_ops.h in the vocabulary of a lanes.h, which is included before. All are static; a
 * file for one instruction set makes a table of them with VECTOR_OPS_TABLE.
 */
#ifndef ADAMOE_VECTOR_VECTOR_OPS_LANES_H
#define ADAMOE_VECTOR_VECTOR_OPS_LANES_H

#include "vector/lanes_math.h"
#include "vector/vector_ops.h"

#include <math.h>
#include <string.h>

/* Sums run in this many chains, so that additions need not wait for one another. */
#define CHAINS 4

/* The lanes at x + i, 0 beyond count. */
static inline lanes load_at(const float *x, size_t i, size_t count)
{
    return i + LANES <= count ? lanes_load(x + i) : lanes_load_first(x + i, count - i);
}

static inline void store_at(float *x, size_t i, size_t count, lanes a)
{
    if (i + LANES <= count) {
        lanes_store(x + i, a);
    } else {
        lanes_store_first(x + i, a, count - i);
    }
}

static inline float sum_of_chains(const lanes chain[CHAINS])
{
    return lanes_sum(lanes_add(lanes_add(chain[0], chain[2]), lanes_add(chain[1], chain[3])));
}

static void add(float *sum, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i += LANES) {
        store_at(sum, i, count, lanes_add(load_at(sum, i, count), load_at(x, i, count)));
    }
}

static float dot(const float *a, const float *b, size_t count)
{
    lanes chain[CHAINS] = {lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f)};
    size_t i = 0;
    for (; i + CHAINS * LANES <= count; i += CHAINS * LANES) {
        for (size_t c = 0; c < CHAINS; ++c) {
            chain[c] = lanes_fma(lanes_load(a + i + c * LANES), lanes_load(b + i + c * LANES), chain[c]);
        }
    }
    for (; i < count; i += LANES) {
        chain[0] = lanes_fma(load_at(a, i, count), load_at(b, i, count), chain[0]);
    }
    return sum_of_chains(chain);
}

/* out = x / sqrt(squares / count + eps) * gain. */
static inline void norm_by(double squares, const float *x, const float *gain, double eps, size_t count,
                           float *out)
{
    const lanes scale = lanes_all((float)(1.0 / sqrt(squares / (double)count + eps)));
    for (size_t i = 0; i < count; i += LANES) {
        const lanes scaled = lanes_multiply(load_at(x, i, count), scale);
        store_at(out, i, count, lanes_multiply(scaled, load_at(gain, i, count)));
    }
}

static void rms_norm(const float *x, const float *gain, double eps, size_t count, float *out)
{
    norm_by((double)dot(x, x, count), x, gain, eps, count, out);
}

/* x += factor * update for the lanes at i; returns them. */
static inline lanes add_at(float *x, const float *update, lanes factor, size_t i, size_t count)
{
    const lanes sum = lanes_fma(factor, load_at(update, i, count), load_at(x, i, count));
    store_at(x, i, count, sum);
    return sum;
}

/* The squares are summed as `dot` sums. */
static void add_rms_norm(float *x, const float *update, float factor, const float *gain, double eps,
                         size_t count, float *out)
{
    lanes chain[CHAINS] = {lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f)};
    const lanes times = lanes_all(factor);
    size_t i = 0;
    for (; i + CHAINS * LANES <= count; i += CHAINS * LANES) {
        for (size_t c = 0; c < CHAINS; ++c) {
            const lanes sum = add_at(x, update, times, i + c * LANES, count);
            chain[c] = lanes_fma(sum, sum, chain[c]);
        }
    }
    for (; i < count; i += LANES) {
        const lanes sum = add_at(x, update, times, i, count);
        chain[0] = lanes_fma(sum, sum, chain[0]);
    }
    norm_by((double)sum_of_chains(chain), x, gain, eps, count, out);
}

static void rotate(const float *from, size_t heads, const float *cosine, const float *sine, size_t half,
                   float *to)
{
    for (size_t h = 0; h < heads; ++h, from += 2 * half, to += 2 * half) {
        for (size_t i = 0; i < half; i += LANES) {
            const lanes c = load_at(cosine, i, half), s = load_at(sine, i, half);
            const lanes first = load_at(from, i, half), second = load_at(from + half, i, half);
            store_at(to, i, half, lanes_subtract(lanes_multiply(first, c), lanes_multiply(second, s)));
            store_at(to + half, i, half, lanes_fma(first, s, lanes_multiply(second, c)));
        }
    }
}

/* The products of one query with the first `keys` keys, LANES or half as many: a constant wherever this is called. The
 * other half of the lanes repeats the first then. */
static inline __attribute__((always_inline)) lanes
products_with(size_t keys, const float *query, const float *const key[LANES], size_t head_dim)
{
    lanes sum[LANES];
    for (size_t l = 0; l < keys; ++l) {
        sum[l] = lanes_all(0.0f);
    }
    size_t c = 0;
    for (; c + LANES <= head_dim; c += LANES) {
        const lanes q = lanes_load(query + c);
        for (size_t l = 0; l < keys; ++l) {
            sum[l] = lanes_fma(q, lanes_load(key[l] + c), sum[l]);
        }
    }
    if (c < head_dim) {
        const lanes q = lanes_load_first(query + c, head_dim - c);
        for (size_t l = 0; l < keys; ++l) {
            sum[l] = lanes_fma(q, lanes_load_first(key[l] + c, head_dim - c), sum[l]);
        }
    }
    for (size_t l = keys; l < LANES; ++l) {
        sum[l] = sum[l - keys];
    }
    return lanes_sums(sum);
}

/* Where the LANES rows of a list from `at` on stand; beyond the end: any row that is there. */
static inline void find_rows(const adamoe_listed_rows *rows, size_t at, size_t left, const float *row[LANES])
{
    for (size_t l = 0; l < LANES; ++l) {
        row[l] = rows->base + rows->row[at + (l < left ? l : left - 1)] * rows->stride;
    }
}

static void scores(const float *query, const adamoe_listed_rows *keys, size_t first, size_t count,
                   size_t head_dim, float scale, float *score)
{
    const float *key[LANES];
    for (size_t i = 0; i < count; i += LANES) {
        find_rows(keys, first + i, count - i, key);
        store_at(score, i, count,
                 lanes_multiply(products_with(LANES, query, key, head_dim), lanes_all(scale)));
    }
}

/* `vectors` vectors of `mixed`, held in registers over all rows: it is a constant wherever this is called, and so is
 * `fresh`, where what stands there is not added to. */
static inline __attribute__((always_inline)) void mix_columns(bool fresh, const float *weight,
                                                              const float *base, const size_t *row,
                                                              size_t stride, size_t count, size_t vectors,
                                                              float *mixed)
{
    lanes sum[8];
    for (size_t v = 0; v < vectors; ++v) {
        sum[v] = fresh ? lanes_all(0.0f) : lanes_load(mixed + v * LANES);
    }
    for (size_t i = 0; i < count; ++i) {
        const lanes w = lanes_all(weight[i]);
        const float *value = base + row[i] * stride;
        for (size_t v = 0; v < vectors; ++v) {
            sum[v] = lanes_fma(w, lanes_load(value + v * LANES), sum[v]);
        }
    }
    for (size_t v = 0; v < vectors; ++v) {
        lanes_store(mixed + v * LANES, sum[v]);
    }
}

static inline __attribute__((always_inline)) void mix_rows(bool fresh, const float *weight,
                                                           const adamoe_listed_rows *values, size_t first,
                                                           size_t count, size_t head_dim, float *mixed)
{
    const size_t *row = values->row + first;
    const size_t stride = values->stride;
    size_t c = 0;
    for (; c + 8 * LANES <= head_dim; c += 8 * LANES) {
        mix_columns(fresh, weight, values->base + c, row, stride, count, 8, mixed + c);
    }
    if (c + 4 * LANES <= head_dim) {
        mix_columns(fresh, weight, values->base + c, row, stride, count, 4, mixed + c);
        c += 4 * LANES;
    }
    for (; c + LANES <= head_dim; c += LANES) {
        mix_columns(fresh, weight, values->base + c, row, stride, count, 1, mixed + c);
    }
    if (c < head_dim) {
        lanes sum = fresh ? lanes_all(0.0f) : lanes_load_first(mixed + c, head_dim - c);
        for (size_t i = 0; i < count; ++i) {
            const lanes value = lanes_load_first(values->base + row[i] * stride + c, head_dim - c);
            sum = lanes_fma(lanes_all(weight[i]), value, sum);
        }
        lanes_store_first(mixed + c, sum, head_dim - c);
    }
}

static void mix(const float *weight, const adamoe_listed_rows *values, size_t first, size_t count,
                size_t head_dim, float *mixed)
{
    mix_rows(false, weight, values, first, count, head_dim, mixed);
}

/* The last lanes overlap those before them, so that no lane is empty: a maximum may count a value twice. */
static float largest_of(const float *x, size_t count)
{
    if (count < LANES) {
        return lanes_largest(lanes_first_of(lanes_load_first(x, count), count, lanes_all(x[0])));
    }
    lanes even = lanes_load(x), odd = lanes_load(x + count - LANES);
    size_t i = LANES;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        even = lanes_larger(even, lanes_load(x + i));
        odd = lanes_larger(odd, lanes_load(x + i + LANES));
    }
    if (i + LANES <= count) {
        even = lanes_larger(even, lanes_load(x + i));
    }
    return lanes_largest(lanes_larger(even, odd));
}

/* exp(x - largest) for x <= largest, with the rounding error of the difference (by Knuth's two-sum) added to
 * first order. Where the difference overflows the error is NaN, and any finite one serves: the exponential
 * is 0. */
static inline lanes exp_of_difference(lanes x, lanes largest)
{
    const lanes d = lanes_subtract(x, largest), back = lanes_add(d, largest);
    lanes error = lanes_subtract(lanes_subtract(x, back), lanes_subtract(largest, lanes_subtract(back, d)));
    error = lanes_larger(error, lanes_all(-1.0f));
    error = lanes_smaller(error, lanes_all(1.0f));
    const lanes e = lanes_exp(d);
    return lanes_fma(e, error, e);
}

/* Whole vectors all the way: lanes beyond the last key have the score of some key, which no maximum is changed by, until
 * their exponential is replaced by 0. */
static void attend(const float *query, const adamoe_listed_rows *keys, const adamoe_listed_rows *values,
                   size_t first, size_t count, size_t head_dim, float scale, float *mixed)
{
    lanes term[ADAMOE_ATTEND_MOST / LANES];
    float weight[ADAMOE_ATTEND_MOST];
    const float *key[LANES];
    size_t vectors = 0;
    lanes most = lanes_all(-INFINITY), sum = lanes_all(0.0f);
    for (size_t i = 0; i < count; i += LANES, ++vectors) {
        find_rows(keys, first + i, count - i, key);
        const lanes product = count - i > LANES / 2 ? products_with(LANES, query, key, head_dim)
                                                    : products_with(LANES / 2, query, key, head_dim);
        term[vectors] = lanes_multiply(product, lanes_all(scale));
        most = lanes_larger(most, term[vectors]);
    }
    const lanes largest = lanes_all(lanes_largest(most));
    for (size_t v = 0; v < vectors; ++v) {
        term[v] = exp_of_difference(term[v], largest);
        if (v + 1 == vectors) {
            term[v] = lanes_first_of(term[v], count - v * LANES, lanes_all(0.0f));
        }
        sum = lanes_add(sum, term[v]);
    }
    const lanes share = lanes_all(1.0f / lanes_sum(sum));
    for (size_t v = 0; v < vectors; ++v) {
        lanes_store(weight + v * LANES, lanes_multiply(term[v], share));
    }
    mix_rows(true, weight, values, first, count, head_dim, mixed);
}

/* The last exponentials, 0 beyond count. */
static inline lanes exp_of_last(const float *x, size_t i, size_t count, float largest)
{
    const lanes e = exp_of_difference(lanes_load_first(x + i, count - i), lanes_all(largest));
    return lanes_first_of(e, count - i, lanes_all(0.0f));
}

/* One vector, which stays in its register: memory that was written by halves is slow to read at once. */
static void softmax_of_few(const float *x, size_t count, float *out)
{
    const lanes e = exp_of_last(x, 0, count, largest_of(x, count));
    lanes_store_first(out, lanes_divide(e, lanes_all(lanes_sum(e))), count);
}

static void softmax(const float *x, size_t count, float *out)
{
    if (count < LANES) {
        softmax_of_few(x, count, out);
        return;
    }
    const float largest = largest_of(x, count);
    lanes sum = lanes_all(0.0f);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const lanes e = exp_of_difference(lanes_load(x + i), lanes_all(largest));
        lanes_store(out + i, e);
        sum = lanes_add(sum, e);
    }
    if (i < count) {
        const lanes e = exp_of_last(x, i, count, largest);
        lanes_store_first(out + i, e, count - i);
        sum = lanes_add(sum, e);
    }
    const lanes total = lanes_all(lanes_sum(sum));
    for (i = 0; i < count; i += LANES) {
        store_at(out, i, count, lanes_divide(load_at(out, i, count), total));
    }
}

/* 0 times a finite value is 0, times any other NaN. */
static bool all_finite(const float *x, size_t count)
{
    lanes sum[2] = {lanes_all(0.0f), lanes_all(0.0f)};
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        sum[0] = lanes_fma(lanes_load(x + i), lanes_all(0.0f), sum[0]);
        sum[1] = lanes_fma(lanes_load(x + i + LANES), lanes_all(0.0f), sum[1]);
    }
    for (; i < count; i += LANES) {
        sum[0] = lanes_fma(load_at(x, i, count), lanes_all(0.0f), sum[0]);
    }
    return lanes_sum(lanes_add(sum[0], sum[1])) == 0.0f;
}

/* Sum of exp(x - largest), or NaN where a value is NaN or infinite: 0 times such a value is NaN. */
static double sum_of_exp(const float *x, size_t count, float largest)
{
    lanes chain[CHAINS] = {lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f)};
    lanes finite[CHAINS] = {lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f), lanes_all(0.0f)};
    const lanes most = lanes_all(largest), zero = lanes_all(0.0f);
    size_t i = 0;
    for (; i + CHAINS * LANES <= count; i += CHAINS * LANES) {
        for (size_t c = 0; c < CHAINS; ++c) {
            const lanes value = lanes_load(x + i + c * LANES);
            finite[c] = lanes_fma(value, zero, finite[c]);
            chain[c] = lanes_add(chain[c], lanes_exp(lanes_subtract(value, most)));
        }
    }
    for (; i + LANES <= count; i += LANES) {
        const lanes value = lanes_load(x + i);
        finite[0] = lanes_fma(value, zero, finite[0]);
        chain[0] = lanes_add(chain[0], lanes_exp(lanes_subtract(value, most)));
    }
    if (i < count) {
        finite[1] = lanes_fma(lanes_load_first(x + i, count - i), zero, finite[1]);
        chain[1] = lanes_add(chain[1], exp_of_last(x, i, count, largest));
    }
    return (double)sum_of_chains(chain) + (double)sum_of_chains(finite);
}

static bool log_sum_add(adamoe_log_sum *sum, const float *x, size_t count)
{
    const float largest = largest_of(x, count);
    if (largest > sum->largest) {
        sum->sum *= exp((double)sum->largest - (double)largest);
        sum->largest = largest;
    }
    sum->sum += sum_of_exp(x, count, sum->largest);
    return !isnan(sum->sum);
}

/* Puts i into a list of indices by descending x, behind those of the same x; a full list loses its last. */
static inline void insert(const float *x, uint32_t i, uint32_t *index, size_t *listed, size_t room)
{
    size_t place = *listed < room ? (*listed)++ : room - 1;
    for (; place > 0 && x[index[place - 1]] < x[i]; --place) {
        index[place] = index[place - 1];
    }
    index[place] = i;
}

/* Two vectors: the largest of those that are left, and of equal ones the first. */
static void top_k_of_few(const float *x, size_t count, size_t room, uint32_t *index)
{
    const lanes lowest = lanes_all(-INFINITY);
    const lanes low = load_at(x, 0, count), high = count > LANES ? load_at(x, LANES, count) : lowest;
    uint32_t left = (uint32_t)((UINT64_C(1) << count) - 1);
    for (size_t j = 0; j < room; ++j) {
        const lanes most =
            lanes_larger(lanes_keep(low, left, lowest), lanes_keep(high, left >> LANES, lowest));
        const lanes largest = lanes_all(lanes_largest(most));
        const uint32_t equal =
            (lanes_bits_equal(low, largest) | lanes_bits_equal(high, largest) << LANES) & left;
        index[j] = (uint32_t)__builtin_ctz(equal);
        left &= ~(1u << index[j]);
    }
}

/* As many that passing over the list again for each of them is less than keeping it in order. */
#define FEW 4

/* In ascending order of the index, what is larger than the last of a full list replaces it: of equal values
 * the first ones stay. Few are, and whole vectors are passed over. */
static void top_k(const float *x, size_t count, size_t room, uint32_t *index)
{
    size_t listed = 0, i = 0;
    if (count <= 2 * LANES && room <= FEW) {
        top_k_of_few(x, count, room, index);
        return;
    }
    for (; i < room; ++i) {
        insert(x, (uint32_t)i, index, &listed, room);
    }
    for (; i + LANES <= count; i += LANES) {
        uint32_t larger = lanes_bits_larger(lanes_load(x + i), lanes_all(x[index[room - 1]]));
        for (; larger != 0; larger &= larger - 1) {
            const uint32_t candidate = (uint32_t)i + (uint32_t)__builtin_ctz(larger);
            if (x[candidate] > x[index[room - 1]]) {
                insert(x, candidate, index, &listed, room);
            }
        }
    }
    for (; i < count; ++i) {
        if (x[i] > x[index[room - 1]]) {
            insert(x, (uint32_t)i, index, &listed, room);
        }
    }
}

/* clang-format off */
#define VECTOR_OPS_TABLE(instruction_set)                                                                    \
    {                                                                                                        \
        .name = (instruction_set), .add = add, .dot = dot, .rms_norm = rms_norm,                             \
        .add_rms_norm = add_rms_norm, .rotate = rotate, .scores = scores, .mix = mix, .attend = attend, .softmax = softmax, .log_sum_add = log_sum_add,                        \
        .all_finite = all_finite, .top_k = top_k,                                                            \
    }
/* clang-format on */

#endif
