/*
 * Rows of a transformer block: shared out among the threads, embedded, normed and rotated.
 */
#include "model/rows.h"
#include "numbers.h"
#include "rotary.h"

#include <math.h>
#include <string.h>

/* One task is enough rows to be worth a wake-up. */
#define ROWS_PER_TASK 16

typedef struct rows_call {
    adamoe_row_function *compute;
    const void *context;
    size_t rows;
} rows_call;

static void rows_task(void *context, size_t i, uint32_t thread)
{
    const rows_call *call = context;
    const size_t first = i * ROWS_PER_TASK, left = call->rows - first;
    for (size_t row = first; row < first + (left < ROWS_PER_TASK ? left : ROWS_PER_TASK); ++row) {
        call->compute(call->context, row, thread);
    }
}

void adamoe_each_row(const adamoe_team *team, size_t rows, adamoe_row_function *compute, const void *context)
{
    rows_call call = {compute, context, rows};
    team->run(team->state, (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, rows_task, &call);
}

/* ------------------------------------------------------------------------------------------------ embedding */

/* A bfloat16 is the upper half of a float. */
static void widen_bf16(const unsigned char *from, size_t count, float *to)
{
    for (size_t c = 0; c < count; ++c) {
        uint16_t half;
        memcpy(&half, from + c * sizeof half, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;
        memcpy(&to[c], &bits, sizeof bits);
    }
}

void adamoe_widen_row(const adamoe_matrix *matrix, size_t row, float *to)
{
    const size_t d = matrix->columns;
    const unsigned char *from =
        (const unsigned char *)matrix->data + row * d * adamoe_dtype_bytes(matrix->dtype);
    if (matrix->dtype == ADAMOE_BF16) {
        widen_bf16(from, d, to);
    } else if (matrix->dtype == ADAMOE_F32) {
        memcpy(to, from, d * sizeof *to);
    } else {
        for (size_t c = 0; c < d; ++c) {
            to[c] = adamoe_element(matrix->data, matrix->dtype, row * d + c);
        }
    }
}

typedef struct embed_call {
    const adamoe_matrix *embedding;
    const uint32_t *token;
    float *to;
} embed_call;

static void embed_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const embed_call *call = context;
    adamoe_widen_row(call->embedding, call->token[row], call->to + row * call->embedding->columns);
}

void adamoe_embed_rows(const adamoe_team *team, const adamoe_matrix *embedding, const uint32_t *token,
                       size_t rows, float *to)
{
    adamoe_each_row(team, rows, embed_row, &(embed_call){embedding, token, to});
}

/* ---------------------------------------------------------------------------------------------------- norms */

void adamoe_add_and_norm_row(const adamoe_row_norm *norm, float *x, const float *update, float *normed)
{
    if (update == NULL) {
        norm->ops->rms_norm(x, norm->gain, norm->eps, norm->hidden_size, normed);
    } else {
        norm->ops->add_rms_norm(x, update, norm->update_factor == 0.0f ? 1.0f : norm->update_factor,
                                norm->gain, norm->eps, norm->hidden_size, normed);
    }
}

typedef struct add_and_norm_call {
    const adamoe_row_norm *norm;
    float *x;
    const float *update;
    float *normed;
} add_and_norm_call;

static void add_and_norm_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const add_and_norm_call *call = context;
    const size_t at = row * call->norm->hidden_size;
    adamoe_add_and_norm_row(call->norm, call->x + at, call->update == NULL ? NULL : call->update + at,
                            call->normed + at);
}

void adamoe_add_and_norm_rows(const adamoe_team *team, const adamoe_row_norm *norm, float *x,
                              const float *update, size_t rows, float *normed)
{
    adamoe_each_row(team, rows, add_and_norm_row, &(add_and_norm_call){norm, x, update, normed});
}

typedef struct norm_call {
    const adamoe_row_norm *norm;
    const float *x;
    const uint32_t *list;
    float *normed;
} norm_call;

static void norm_row(const void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const norm_call *call = context;
    const adamoe_row_norm *norm = call->norm;
    const size_t d = norm->hidden_size, row = call->list == NULL ? i : call->list[i];
    norm->ops->rms_norm(call->x + row * d, norm->gain, norm->eps, d, call->normed + i * d);
}

void adamoe_norm_rows(const adamoe_team *team, const adamoe_row_norm *norm, const float *x,
                      const uint32_t *list, size_t rows, float *normed)
{
    adamoe_each_row(team, rows, norm_row, &(norm_call){norm, x, list, normed});
}

typedef struct multiply_call {
    float factor;
    size_t columns;
    float *x;
} multiply_call;

static void multiply_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const multiply_call *call = context;
    float *x = call->x + row * call->columns;
    for (size_t c = 0; c < call->columns; ++c) {
        x[c] *= call->factor;
    }
}

void adamoe_multiply_rows(const adamoe_team *team, float factor, size_t rows, size_t columns, float *x)
{
    adamoe_each_row(team, rows, multiply_row, &(multiply_call){factor, columns, x});
}

/* --------------------------------------------------------------------------------------------------- rotary */

void adamoe_rotary_angles(const adamoe_config *config, size_t positions, float *cosine, float *sine,
                          float *minus_sine)
{
    const size_t half = config->head_dim / 2;
    for (size_t i = 0; i < half; ++i) {
        const double frequency = adamoe_rotary_frequency(config, i);
        for (size_t p = 0; p < positions; ++p) {
            const double angle = (double)p * frequency;
            cosine[p * half + i] = (float)cos(angle);
            sine[p * half + i] = (float)sin(angle);
            if (minus_sine != NULL) {
                minus_sine[p * half + i] = -sine[p * half + i];
            }
        }
    }
}

typedef struct rotary_call {
    const adamoe_rotary *rotary;
    const float *joined;
    float *query, *key, *value;
} rotary_call;

static void rotate_heads(const adamoe_rotary *r, size_t row, size_t heads, const float *from, float *to)
{
    const size_t half = r->head_dim / 2, angle = r->position[row] * half;
    r->ops->rotate(from, heads, r->cosine + angle, r->sine + angle, half, to);
}

static void rotate_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const rotary_call *call = context;
    const adamoe_rotary *r = call->rotary;
    float *query = call->query + row * r->heads * r->head_dim;
    float *key = call->key + row * r->key_value_heads * r->head_dim;
    rotate_heads(r, row, r->heads, query, query);
    rotate_heads(r, row, r->key_value_heads, key, key);
}

void adamoe_rotate_rows(const adamoe_team *team, const adamoe_rotary *rotary, size_t rows, float *query,
                        float *key)
{
    adamoe_each_row(team, rows, rotate_row, &(rotary_call){.rotary = rotary, .query = query, .key = key});
}

static void split_and_rotate_row(const void *context, size_t row, uint32_t thread)
{
    (void)thread;
    const rotary_call *call = context;
    const adamoe_rotary *r = call->rotary;
    const size_t width = r->heads * r->head_dim, kv = r->key_value_heads * r->head_dim;
    const float *from = call->joined + row * (width + 2 * kv);
    rotate_heads(r, row, r->heads, from, call->query + row * width);
    rotate_heads(r, row, r->key_value_heads, from + width, call->key + row * kv);
    memcpy(call->value + row * kv, from + width + kv, kv * sizeof *from);
}

void adamoe_split_and_rotate_rows(const adamoe_team *team, const adamoe_rotary *rotary, size_t rows,
                                  const float *joined, float *query, float *key, float *value)
{
    adamoe_each_row(team, rows, split_and_rotate_row, &(rotary_call){rotary, joined, query, key, value});
}
