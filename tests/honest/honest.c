/*
 * The honest pieces: the layer of reference/README.md section 2 with the operand rounding of section 4, in
 * float32 and int32.
 */
#include "honest/honest.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------- numbers */

uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float round_to_bfloat16(float value)
{
    const uint32_t bits = bits_of(value);
    return isnan(value) ? value : float_of((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}

static float round_to_int8(float *value, size_t count)
{
    float largest = 0.0f;
    for (size_t i = 0; i < count; ++i) {
        largest = fmaxf(largest, fabsf(value[i]));
    }
    const float scale = largest / 127.0f;
    for (size_t i = 0; i < count; ++i) {
        const float steps = scale == 0.0f ? 0.0f : rintf(value[i] / scale);
        value[i] = fmaxf(-127.0f, fminf(127.0f, steps));
    }
    return scale;
}

float round_values(adamoe_arithmetic kind, float *value, size_t count)
{
    if (kind == ADAMOE_INT8) {
        return round_to_int8(value, count);
    }
    for (size_t i = 0; i < count && kind == ADAMOE_BFLOAT16; ++i) {
        value[i] = round_to_bfloat16(value[i]);
    }
    return 1.0f;
}

static float half_to_float(uint16_t half)
{
    const float sign = (half & 0x8000u) != 0 ? -1.0f : 1.0f;
    const uint32_t exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;
    if (exponent == 0x1f) {
        return fraction != 0 ? NAN : sign * HUGE_VALF;
    }
    return exponent == 0 ? sign * ldexpf((float)fraction, -24)
                         : sign * ldexpf((float)(fraction | 0x400u), (int)exponent - 25);
}

/* The data may stand at an odd address. */
void honest_widen(const adamoe_matrix *matrix, packed_matrix *out)
{
    const unsigned char *data = matrix->data;
    for (size_t i = 0; i < matrix->rows * matrix->columns; ++i) {
        uint16_t half;
        if (matrix->dtype == ADAMOE_F32) {
            memcpy(&out->value[i], data + 4 * i, 4);
        } else {
            memcpy(&half, data + 2 * i, 2);
            out->value[i] =
                matrix->dtype == ADAMOE_F16 ? half_to_float(half) : float_of((uint32_t)half << 16);
        }
    }
}

void honest_round_matrix(adamoe_arithmetic kind, packed_matrix *matrix)
{
    for (size_t r = 0; r < matrix->rows; ++r) {
        matrix->scale[r] = round_values(kind, matrix->value + r * matrix->columns, matrix->columns);
    }
}

/* ------------------------------------------------------------------------------- one row of the plan */

size_t honest_expert_of(const adamoe_plan *plan, size_t row)
{
    size_t e = 0;
    while (plan->offset[e + 1] <= row) {
        ++e;
    }
    return e;
}

void honest_gather(const kernel_call *c, size_t row, float *input)
{
    const size_t d = c->prepared->hidden_size;
    for (size_t i = 0; i < d; ++i) {
        const float scale = c->plan->dispatch == NULL ? 1.0f : c->plan->dispatch[row];
        input[i] = scale * c->x[c->plan->input[row] * d + i];
    }
}

void honest_round(const kernel_call *c, size_t row, operand *x, size_t count)
{
    (void)row;
    x->scale = round_values(c->pieces->kind, x->value, count);
}

/* Scale by scale: the product of two scales could underflow where that with the sum does not. */
float honest_dot(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r, const operand *x)
{
    (void)row;
    const float *weight = matrix->value + r * matrix->columns;
    float sum = 0.0f;
    int32_t steps = 0;
    for (size_t i = 0; i < matrix->columns; ++i) {
        if (c->pieces->kind == ADAMOE_INT8) {
            steps += (int32_t)weight[i] * (int32_t)x->value[i];
        } else {
            sum = fmaf(weight[i], x->value[i], sum);
        }
    }
    return c->pieces->kind == ADAMOE_INT8 ? (float)steps * x->scale * matrix->scale[r] : sum;
}

/* The exponential is of -|z|, which cannot overflow. */
float honest_silu(float z)
{
    const float t = expf(-fabsf(z));
    return z >= 0.0f ? z / (1.0f + t) : z * t / (1.0f + t);
}

void honest_up(const kernel_call *c, size_t row, const packed_expert *expert, const operand *x, float *h)
{
    for (size_t i = 0; i < expert->w1.rows; ++i) {
        const float gate = c->pieces->dot(c, row, &expert->w1, i, x);
        h[i] = c->pieces->silu(gate) * c->pieces->dot(c, row, &expert->w3, i, x);
    }
}

void honest_down(const kernel_call *c, size_t row, const packed_expert *expert, const operand *h,
                 float *output)
{
    for (size_t i = 0; i < expert->w2.rows; ++i) {
        output[i] = c->pieces->dot(c, row, &expert->w2, i, h);
    }
}

/* ----------------------------------------------------------------------------------------- one token */

void honest_combine(const kernel_call *c, size_t token)
{
    const adamoe_plan *plan = c->plan;
    const size_t d = c->prepared->hidden_size;
    float *y = c->y + token * d;
    memset(y, 0, d * sizeof *y);
    for (size_t place = plan->token_offset[token]; place < plan->token_offset[token + 1]; ++place) {
        const float *output = c->outputs + plan->token_row[place] * d;
        for (size_t i = 0; i < d; ++i) {
            y[i] = fmaf(plan->combine[place], output[i], y[i]);
        }
    }
    for (size_t i = 0; i < d && plan->self_scale != NULL; ++i) {
        y[i] = fmaf(plan->self_scale[token], c->x[token * d + i], y[i]);
    }
}

/* ------------------------------------------------------------------------------------------ all rows */

void honest_compute_row(const kernel_call *c, size_t row, const packed_expert *expert, uint32_t thread)
{
    const size_t d = c->prepared->hidden_size, ff = c->prepared->intermediate_size;
    float *scratch = c->scratch + thread * (d + ff);
    operand x = {scratch, 1.0f}, h = {scratch + d, 1.0f};
    c->pieces->gather(c, row, x.value);
    c->pieces->round_x(c, row, &x, d);
    c->pieces->up(c, row, expert, &x, h.value);
    c->pieces->round_h(c, row, &h, ff);
    c->pieces->down(c, row, expert, &h, c->outputs + row * d);
}

void honest_row_task(void *call, size_t row, uint32_t thread)
{
    const kernel_call *c = call;
    honest_compute_row(c, row, &c->prepared->expert[c->pieces->expert_of(c->plan, row)], thread);
}

void honest_token_task(void *call, size_t token, uint32_t thread)
{
    const kernel_call *c = call;
    (void)thread;
    c->pieces->combine(c, token);
}

void honest_run(kernel_call *c)
{
    const adamoe_team *team = c->run->team;
    team->run(team->state, c->plan->rows, honest_row_task, c);
    team->run(team->state, c->plan->tokens, honest_token_task, c);
}

/* ------------------------------------------------------------------------- the functions of a kernel */

bool honest_supported(const char **why_not)
{
    (void)why_not;
    return true;
}

static void arrange_nothing(packed_expert *expert, size_t experts)
{
    (void)expert;
    (void)experts;
}

#define OR_HONEST(piece, honest) (given->piece != NULL ? given->piece : (honest))

static pieces complete(const pieces *given)
{
    return (pieces){
        .kind = given->kind,
        .widen = OR_HONEST(widen, honest_widen),
        .round_matrix = OR_HONEST(round_matrix, honest_round_matrix),
        .arrange = OR_HONEST(arrange, arrange_nothing),
        .expert_of = OR_HONEST(expert_of, honest_expert_of),
        .gather = OR_HONEST(gather, honest_gather),
        .round_x = OR_HONEST(round_x, honest_round),
        .up = OR_HONEST(up, honest_up),
        .round_h = OR_HONEST(round_h, honest_round),
        .down = OR_HONEST(down, honest_down),
        .combine = OR_HONEST(combine, honest_combine),
        .dot = OR_HONEST(dot, honest_dot),
        .silu = OR_HONEST(silu, honest_silu),
        .run = OR_HONEST(run, honest_run),
        .work_bytes = OR_HONEST(work_bytes, honest_work_bytes),
        .own_bytes = given->own_bytes,
    };
}

/* To what any type is aligned to. */
static size_t round_up(size_t bytes)
{
    const size_t to = _Alignof(max_align_t);
    return (bytes + to - 1) / to * to;
}

/* Takes the matrix's floats from *memory. */
static packed_matrix pack(const pieces *p, const adamoe_matrix *matrix, float **memory)
{
    packed_matrix packed = {matrix->rows, matrix->columns, *memory, *memory + matrix->rows * matrix->columns};
    *memory += matrix->rows * (matrix->columns + 1);
    p->widen(matrix, &packed);
    p->round_matrix(p->kind, &packed);
    return packed;
}

/* One block: the object, its experts, their floats, what it keeps. */
adamoe_status prepare_pieces(const pieces *given, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size, n = layer->experts;
    const size_t floats = n * (2 * ff * (d + 1) + d * (ff + 1)), own = round_up(given->own_bytes);
    adamoe_prepared *prepared = host->allocate(
        host->context, sizeof *prepared + own + n * sizeof(packed_expert) + floats * sizeof(float), 64);
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "prepare: out of memory");
    }
    *prepared = (adamoe_prepared){.host = *host,
                                  .pieces = complete(given),
                                  .hidden_size = d,
                                  .intermediate_size = ff,
                                  .experts = n,
                                  .threads = placement->threads,
                                  .nodes = placement->nodes,
                                  .own = prepared + 1,
                                  .expert = (packed_expert *)(void *)((char *)(prepared + 1) + own)};
    memset(prepared->own, 0, own);
    float *memory = (float *)(prepared->expert + n);
    for (size_t e = 0; e < n; ++e) {
        prepared->expert[e].w1 = pack(&prepared->pieces, &layer->expert[e].w1, &memory);
        prepared->expert[e].w3 = pack(&prepared->pieces, &layer->expert[e].w3, &memory);
        prepared->expert[e].w2 = pack(&prepared->pieces, &layer->expert[e].w2, &memory);
    }
    prepared->pieces.arrange(prepared->expert, n);
    *out = prepared;
    return adamoe_ok();
}

void honest_release(adamoe_prepared *prepared)
{
    if (prepared != NULL) {
        const adamoe_host host = prepared->host;
        host.release(host.context, prepared);
    }
}

size_t honest_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)tokens;
    const size_t d = prepared->hidden_size, ff = prepared->intermediate_size;
    return (rows * d + prepared->threads * (d + ff)) * sizeof(float);
}

size_t kernel_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    return prepared->pieces.work_bytes(prepared, rows, tokens);
}

adamoe_status kernel_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    float *work = run->work;
    kernel_call c = {.pieces = &prepared->pieces,
                     .prepared = prepared,
                     .run = run,
                     .plan = plan,
                     .x = x,
                     .y = y,
                     .scratch = work,
                     .outputs =
                         work + prepared->threads * (prepared->hidden_size + prepared->intermediate_size),
                     .nodes = prepared->nodes};
    prepared->pieces.run(&c);
    return adamoe_ok();
}

adamoe_status prepare_matrix_pieces(const pieces *given, const adamoe_host *host, const adamoe_matrix *matrix,
                                    const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    const size_t floats = matrix->rows * (matrix->columns + 1), own = round_up(given->own_bytes);
    adamoe_prepared_matrix *prepared =
        host->allocate(host->context, sizeof *prepared + own + floats * sizeof(float), 64);
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "prepare_matrix: out of memory");
    }
    float *memory = (float *)(void *)((char *)(prepared + 1) + own);
    *prepared = (adamoe_prepared_matrix){.host = *host,
                                         .pieces = complete(given),
                                         .threads = placement->threads,
                                         .nodes = placement->nodes,
                                         .own = prepared + 1};
    memset(prepared->own, 0, own);
    prepared->matrix = pack(&prepared->pieces, matrix, &memory);
    *out = prepared;
    return adamoe_ok();
}

void honest_release_matrix(adamoe_prepared_matrix *prepared)
{
    if (prepared != NULL) {
        const adamoe_host host = prepared->host;
        host.release(host.context, prepared);
    }
}

size_t kernel_matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count)
{
    (void)count;
    return prepared->threads * prepared->matrix.columns * sizeof(float);
}

static void multiply_input(void *context, size_t i, uint32_t thread)
{
    const kernel_call *c = context;
    const packed_matrix *matrix = &c->product->matrix;
    operand x = {c->scratch + thread * matrix->columns, 1.0f};
    memcpy(x.value, c->x + i * matrix->columns, matrix->columns * sizeof *x.value);
    c->pieces->round_x(c, i, &x, matrix->columns);
    for (size_t r = 0; r < matrix->rows; ++r) {
        c->y[i * matrix->rows + r] = c->pieces->dot(c, i, matrix, r, &x);
    }
}

adamoe_status kernel_multiply(adamoe_prepared_matrix *prepared, const adamoe_run *run, const float *x,
                              size_t count, float *y)
{
    kernel_call c = {.pieces = &prepared->pieces,
                     .product = prepared,
                     .run = run,
                     .x = x,
                     .count = count,
                     .y = y,
                     .scratch = run->work,
                     .nodes = prepared->nodes};
    run->team->run(run->team->state, count, multiply_input, &c);
    return adamoe_ok();
}
