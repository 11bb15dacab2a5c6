/*
 * Attention of one whole sequence in double, and its gradient: grouped queries, rotary embedding, causal,
 * with an optional sliding window (reference/README.md section 8).
 */
#include "attention.h"
#include "gradient/gradient.h"
#include "numbers.h"
#include "rotary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One value, or one derivative, for each position of the sequence. */
typedef struct projections {
    double *raw_query, *raw_key; /* query and key before their norm, if they have one, with their bias */
    double *whole_query, *whole_key,
        *whole_value;    /* all three before they are cut, if they are, and rotated */
    double *query;       /* [count, heads, head_dim] rotated, times adamoe_query_multiplier */
    double *key, *value; /* [count, key_value_heads, head_dim]; keys are rotated */
    double *mixed;       /* [count, heads, head_dim] what the output projection reads */
} projections;

static size_t query_width(const adamoe_config *config)
{
    return config->heads * config->head_dim;
}

static size_t key_width(const adamoe_config *config)
{
    return config->key_value_heads * config->head_dim;
}

static void free_projections(projections *p)
{
    free(p->raw_query);
    free(p->raw_key);
    free(p->whole_query);
    free(p->whole_key);
    free(p->whole_value);
    free(p->query);
    free(p->key);
    free(p->value);
    free(p->mixed);
}

static bool allocate_projections(const adamoe_config *config, size_t count, projections *p)
{
    p->raw_query = calloc(count + 1, query_width(config) * sizeof(double)); /* + 1: calloc(0) may give NULL */
    p->raw_key = calloc(count + 1, key_width(config) * sizeof(double));
    p->whole_query = calloc(count + 1, query_width(config) * sizeof(double));
    p->whole_key = calloc(count + 1, key_width(config) * sizeof(double));
    p->whole_value = calloc(count + 1, key_width(config) * sizeof(double));
    p->query = calloc(count + 1, query_width(config) * sizeof(double));
    p->key = calloc(count + 1, key_width(config) * sizeof(double));
    p->value = calloc(count + 1, key_width(config) * sizeof(double));
    p->mixed = calloc(count + 1, query_width(config) * sizeof(double));
    return p->raw_query != NULL && p->raw_key != NULL && p->whole_query != NULL && p->whole_key != NULL &&
           p->whole_value != NULL && p->query != NULL && p->key != NULL && p->value != NULL &&
           p->mixed != NULL;
}

static adamoe_status out_of_memory(size_t count)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "attention: out of memory for %zu positions", count);
}

/* Rotates the heads of one position by +angle (turn 1), or back by -angle (turn -1). A rotation's transpose
 * is its inverse, so that the gradient of turn 1 is turn -1. */
static void rotate_heads(const adamoe_config *config, double *x, size_t heads, size_t position, double turn)
{
    const size_t half = config->head_dim / 2;
    for (size_t h = 0; h < heads; ++h) {
        double *head = x + h * config->head_dim;
        for (size_t i = 0; i < half; ++i) {
            const double angle = turn * (double)position * adamoe_rotary_frequency(config, i);
            const double first = head[i], second = head[i + half];
            head[i] = first * cos(angle) - second * sin(angle);
            head[i + half] = second * cos(angle) + first * sin(angle);
        }
    }
}

static void multiply(double factor, double *x, size_t count)
{
    for (size_t c = 0; c < count; ++c) {
        x[c] *= factor;
    }
}

/* y = W x + b; a NULL bias is none. */
static void project_row(const adamoe_matrix *matrix, const adamoe_matrix *bias, const double *x, double *y,
                        double *row_buffer)
{
    adamoe_matrix_vector(matrix, ADAMOE_FLOAT64, x, y, row_buffer);
    for (size_t c = 0; bias != NULL && c < matrix->rows; ++c) {
        y[c] += adamoe_matrix_at(bias, 0, c);
    }
}

/* The norm of queries or keys [width], if there is one, over as much at a time as its gain is wide. */
static void norm_row(const adamoe_config *config, const adamoe_matrix *gain, const double *raw, size_t width,
                     double *out)
{
    if (config->architecture.query_key_norm == ADAMOE_QUERY_KEY_NORM_NONE) {
        memcpy(out, raw, width * sizeof *out);
        return;
    }
    for (size_t at = 0; at < width; at += gain->columns) {
        adamoe_rms_norm_double(gain, config->rms_norm_eps, raw + at, out + at);
    }
}

/* out = whole, cut to +-clip where the architecture has it. */
static void cut_row(const adamoe_config *config, const double *whole, size_t count, double *out)
{
    for (size_t c = 0; c < count; ++c) {
        out[c] = config->architecture.clipped ? fmin(fmax(whole[c], -config->clip), config->clip) : whole[c];
    }
}

/* What is beyond the limit has no derivative; the limit itself, as PyTorch has it, has that of its inside. */
static void cut_row_backward(const adamoe_config *config, const double *whole, size_t count, double *dout)
{
    for (size_t c = 0; c < count && config->architecture.clipped; ++c) {
        dout[c] = fabs(whole[c]) > config->clip ? 0.0 : dout[c];
    }
}

static void project(const adamoe_config *config, const adamoe_attention *attention, const double *x,
                    size_t count, projections *p, double *row_buffer)
{
    const size_t q = query_width(config), kv = key_width(config);
    const bool biases = config->architecture.biases;
    for (size_t t = 0; t < count; ++t) {
        const double *input = x + t * config->hidden_size;
        project_row(&attention->q, biases ? &attention->q_bias : NULL, input, p->raw_query + t * q,
                    row_buffer);
        project_row(&attention->k, biases ? &attention->k_bias : NULL, input, p->raw_key + t * kv,
                    row_buffer);
        project_row(&attention->v, biases ? &attention->v_bias : NULL, input, p->whole_value + t * kv,
                    row_buffer);
        norm_row(config, &attention->q_norm, p->raw_query + t * q, q, p->whole_query + t * q);
        norm_row(config, &attention->k_norm, p->raw_key + t * kv, kv, p->whole_key + t * kv);
        cut_row(config, p->whole_query + t * q, q, p->query + t * q);
        cut_row(config, p->whole_key + t * kv, kv, p->key + t * kv);
        cut_row(config, p->whole_value + t * kv, kv, p->value + t * kv);
        rotate_heads(config, p->query + t * q, config->heads, t, 1.0);
        rotate_heads(config, p->key + t * kv, config->key_value_heads, t, 1.0);
        multiply(adamoe_query_multiplier(config), p->query + t * q, q);
    }
}

/* Where the query head h stands at a position, and the key-value head that it uses. */
static size_t query_at(const adamoe_config *config, size_t position, size_t h)
{
    return position * query_width(config) + h * config->head_dim;
}

static size_t key_at(const adamoe_config *config, size_t position, size_t h)
{
    return position * key_width(config) + h * config->key_value_heads / config->heads * config->head_dim;
}

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0.0;
    for (size_t c = 0; c < count; ++c) {
        sum += a[c] * b[c];
    }
    return sum;
}

/* out += scale * x */
static void add_scaled(double scale, const double *x, size_t count, double *out)
{
    for (size_t c = 0; c < count; ++c) {
        out[c] += scale * x[c];
    }
}

/* share[j] = softmax over the visible j of q · k_j / sqrt(head_dim), for head h at `position`. */
static void attention_shares(const adamoe_config *config, const projections *p, size_t position, size_t h,
                             double *share)
{
    const size_t first = adamoe_first_visible(position, config->sliding_window);
    double largest = -HUGE_VAL, sum = 0.0;
    for (size_t j = first; j <= position; ++j) {
        share[j] =
            dot(p->query + query_at(config, position, h), p->key + key_at(config, j, h), config->head_dim) /
            sqrt((double)config->head_dim);
        largest = fmax(largest, share[j]);
    }
    for (size_t j = first; j <= position; ++j) {
        share[j] = exp(share[j] - largest);
        sum += share[j];
    }
    for (size_t j = first; j <= position; ++j) {
        share[j] /= sum;
    }
}

static void mix_values(const adamoe_config *config, size_t count, projections *p, double *share)
{
    for (size_t t = 0; t < count; ++t) {
        for (size_t h = 0; h < config->heads; ++h) {
            attention_shares(config, p, t, h, share);
            for (size_t j = adamoe_first_visible(t, config->sliding_window); j <= t; ++j) {
                add_scaled(share[j], p->value + key_at(config, j, h), config->head_dim,
                           p->mixed + query_at(config, t, h));
            }
        }
    }
}

/* mixed = sum over j of a_j v_j with a = softmax(s) and s_j = q · k_j / sqrt(head_dim):
 *   dv_j += a_j dmixed,  da_j = dmixed · v_j,  ds_j = a_j (da_j - sum over i of a_i da_i),
 *   dq += ds_j k_j / sqrt(head_dim),  dk_j += ds_j q / sqrt(head_dim). */
static void mix_head_backward(const adamoe_config *config, const projections *p, size_t t, size_t h,
                              const double *share, double *dshare, projections *d)
{
    const size_t hd = config->head_dim, at = query_at(config, t, h);
    const size_t first = adamoe_first_visible(t, config->sliding_window);
    double mean = 0.0;
    for (size_t j = first; j <= t; ++j) {
        dshare[j] = dot(d->mixed + at, p->value + key_at(config, j, h), hd);
        mean += share[j] * dshare[j];
    }
    for (size_t j = first; j <= t; ++j) {
        const size_t key = key_at(config, j, h);
        const double dscore = share[j] * (dshare[j] - mean) / sqrt((double)hd);
        add_scaled(share[j], d->mixed + at, hd, d->value + key);
        add_scaled(dscore, p->key + key, hd, d->query + at);
        add_scaled(dscore, p->query + at, hd, d->key + key);
    }
}

/* draw, the derivative of what norm_row reads, from dout, that of what it gives; draw begins at 0. */
static void norm_row_backward(const adamoe_config *config, const adamoe_matrix *gain, const double *raw,
                              size_t width, const double *dout, double *draw, double *dgain)
{
    if (config->architecture.query_key_norm == ADAMOE_QUERY_KEY_NORM_NONE) {
        memcpy(draw, dout, width * sizeof *draw);
        return;
    }
    for (size_t at = 0; at < width; at += gain->columns) {
        adamoe_rms_norm_backward(gain, config->rms_norm_eps, raw + at, dout + at, draw + at, dgain);
    }
}

/* Through y = W x + b; dbias may be NULL. */
static void project_row_backward(const adamoe_matrix *matrix, const double *x, const double *dy, double *dx,
                                 double *dmatrix, double *dbias)
{
    adamoe_product_backward(matrix, x, dy, dx, dmatrix);
    for (size_t c = 0; dbias != NULL && c < matrix->rows; ++c) {
        dbias[c] += dy[c];
    }
}

static void project_backward(const adamoe_config *config, const adamoe_attention *attention, const double *x,
                             size_t count, const projections *p, projections *d, double *dx,
                             const adamoe_attention_gradient *gradient)
{
    const size_t q = query_width(config), kv = key_width(config), hidden = config->hidden_size;
    for (size_t t = 0; t < count; ++t) {
        double *dinput = dx == NULL ? NULL : dx + t * hidden;
        const double *input = x + t * hidden;
        multiply(adamoe_query_multiplier(config), d->query + t * q, q);
        rotate_heads(config, d->query + t * q, config->heads, t, -1.0);
        rotate_heads(config, d->key + t * kv, config->key_value_heads, t, -1.0);
        cut_row_backward(config, p->whole_query + t * q, q, d->query + t * q);
        cut_row_backward(config, p->whole_key + t * kv, kv, d->key + t * kv);
        cut_row_backward(config, p->whole_value + t * kv, kv, d->value + t * kv);
        norm_row_backward(config, &attention->q_norm, p->raw_query + t * q, q, d->query + t * q,
                          d->raw_query + t * q, gradient->q_norm);
        norm_row_backward(config, &attention->k_norm, p->raw_key + t * kv, kv, d->key + t * kv,
                          d->raw_key + t * kv, gradient->k_norm);
        project_row_backward(&attention->q, input, d->raw_query + t * q, dinput, gradient->q,
                             gradient->q_bias);
        project_row_backward(&attention->k, input, d->raw_key + t * kv, dinput, gradient->k,
                             gradient->k_bias);
        project_row_backward(&attention->v, input, d->value + t * kv, dinput, gradient->v, gradient->v_bias);
    }
}

/* Rows of the four matrices, and two rows of shares. */
static double *allocate_buffer(const adamoe_config *config, size_t count)
{
    const size_t width = query_width(config), hidden = config->hidden_size;
    const size_t longest = width > hidden ? width : hidden;
    return calloc(longest > 2 * count ? longest : 2 * count, sizeof(double));
}

adamoe_status adamoe_attention_double(const adamoe_config *config, const adamoe_attention *attention,
                                      const double *x, size_t count, double *y)
{
    projections p;
    double *buffer = allocate_buffer(config, count);
    const bool complete = allocate_projections(config, count, &p) && buffer != NULL;
    if (complete) {
        project(config, attention, x, count, &p, buffer);
        mix_values(config, count, &p, buffer);
        for (size_t t = 0; t < count; ++t) {
            project_row(&attention->o, config->architecture.output_bias ? &attention->o_bias : NULL,
                        p.mixed + t * query_width(config), y + t * config->hidden_size, buffer);
        }
    }
    free_projections(&p);
    free(buffer);
    return complete ? adamoe_ok() : out_of_memory(count);
}

adamoe_status adamoe_attention_mix_double(const adamoe_config *config, double *query, double *key,
                                          double *value, size_t count, double *mixed)
{
    const size_t q = query_width(config), kv = key_width(config);
    projections p = {.query = query, .key = key, .value = value, .mixed = mixed};
    double *share = calloc(count + 1, sizeof *share);
    if (share == NULL) {
        return out_of_memory(count);
    }
    for (size_t t = 0; t < count; ++t) {
        rotate_heads(config, query + t * q, config->heads, t, 1.0);
        rotate_heads(config, key + t * kv, config->key_value_heads, t, 1.0);
    }
    memset(mixed, 0, count * q * sizeof *mixed);
    mix_values(config, count, &p, share);
    free(share);
    return adamoe_ok();
}

adamoe_status adamoe_attention_backward(const adamoe_config *config, const adamoe_attention *attention,
                                        const double *x, size_t count, const double *dy, double *dx,
                                        const adamoe_attention_gradient *gradient)
{
    const size_t q = query_width(config);
    projections p, d;
    double *buffer = allocate_buffer(config, count);
    const bool values = allocate_projections(config, count, &p);
    const bool complete = allocate_projections(config, count, &d) && values && buffer != NULL;
    if (complete) {
        project(config, attention, x, count, &p, buffer);
        mix_values(config, count, &p, buffer);
        for (size_t t = 0; t < count; ++t) {
            project_row_backward(&attention->o, p.mixed + t * q, dy + t * config->hidden_size,
                                 d.mixed + t * q, gradient->o, gradient->o_bias);
            for (size_t h = 0; h < config->heads; ++h) {
                attention_shares(config, &p, t, h, buffer);
                mix_head_backward(config, &p, t, h, buffer, buffer + count, &d);
            }
        }
        project_backward(config, attention, x, count, &p, &d, dx, gradient);
    }
    free_projections(&p);
    free_projections(&d);
    free(buffer);
    return complete ? adamoe_ok() : out_of_memory(count);
}
