/*
 * The data of a check's case. Everything is drawn from one generator in the order in which it stands here.
 */
#include "check/tiers/data.h"
#include "machine/host.h"
#include "numbers.h"
#include "plan.h"
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ODD_OFFSET = 1 };

/* h goes with the square of x: 2^-140 is a denormal, 2^100 is not infinite, but
 * exp(-2^50) or exp(2^50) is. */
static const float magnitude_scale[ADAMOE_MAGNITUDES] = {1.0f, 0x1p-70f, 0x1p50f, 1.0f, 1.0f};

/* From 2^-20, where silu(z) is half of z, to 104, where exp(z) is infinite and exp(-z) less than any float. */
#define SMALLEST_GATE 0x1p-20
#define LARGEST_GATE  104.0

static adamoe_status out_of_memory(const adamoe_case *c)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", adamoe_name_case(c).text);
}

static adamoe_status make_states(const adamoe_case *c, adamoe_splitmix64 *random, size_t width,
                                 adamoe_case_data *data)
{
    const size_t count = c->tokens * width;
    float *memory = adamoe_heap_host.allocate(NULL, (count + 1) * sizeof *memory, 64);
    if (memory == NULL) {
        return out_of_memory(c);
    }
    data->x_memory = memory;
    data->x = memory + 1;
    adamoe_random_states(random, count, data->x);
    for (size_t i = 0; i < count; ++i) {
        data->x[i] *= magnitude_scale[c->magnitude];
    }
    return adamoe_ok();
}

/* Half of the tokens have positive values, half negative ones, evenly spread in the logarithm; another seed gives
 * other values. */
static void sweep_states(adamoe_splitmix64 *random, size_t count, float *x)
{
    const double step = log(LARGEST_GATE / SMALLEST_GATE) / (double)(count / 2 + 1);
    for (size_t i = 0; i < count; ++i) {
        const double at = (double)(i / 2) + (double)adamoe_splitmix64_uniform(random);
        const double size = SMALLEST_GATE * exp(step * at);
        x[i] = (float)(i % 2 == 0 ? size : -size);
    }
}

/* Every row one value, which is positive in the rows of two in turn, or in all. */
static void fill_rows(unsigned char *values, const adamoe_matrix *like, size_t distinct, bool all_positive)
{
    const float size = (float)adamoe_weight_bound(like->columns);
    for (size_t i = 0; i < like->rows * like->columns; ++i) {
        const size_t row = i / like->columns % distinct;
        adamoe_set_element(values, like->dtype, i, all_positive || row % 2 == 0 ? size : -size);
    }
}

static unsigned char *values_of(const adamoe_case_data *data, const adamoe_matrix *matrix)
{
    return data->layer.memory + ((const unsigned char *)matrix->data - data->layer.memory);
}

/* silu at each gate, which is x: w1 is 1 throughout. */
static void sweep_experts(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_case_data *data)
{
    for (size_t e = 0; e < c->mixture.experts; ++e) {
        const adamoe_matrix *w1 = &data->layer.expert[e].w1;
        for (size_t i = 0; i < w1->rows; ++i) {
            adamoe_set_element(values_of(data, w1), w1->dtype, i, 1.0f);
        }
    }
    sweep_states(random, c->tokens, data->x);
}

/* h is one value throughout a row because w1 and w3 are. */
static void fill_experts(const adamoe_case *c, adamoe_case_data *data)
{
    for (size_t e = 0; e < c->mixture.experts; ++e) {
        const adamoe_expert *expert = &data->layer.expert[e];
        fill_rows(values_of(data, &expert->w1), &expert->w1, expert->w1.rows, true);
        fill_rows(values_of(data, &expert->w3), &expert->w3, expert->w3.rows, true);
        fill_rows(values_of(data, &expert->w2), &expert->w2, expert->w2.rows, false);
    }
    for (size_t i = 0; i < c->tokens * c->hidden_size; ++i) {
        data->x[i] = i / c->hidden_size % 2 == 0 ? 1.0f : -1.0f;
    }
}

/* Scales between a half and one and a half. */
static adamoe_status make_dispatch(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_plan *plan)
{
    float *dispatch = calloc(plan->rows + 1, sizeof *dispatch);
    if (dispatch == NULL) {
        return out_of_memory(c);
    }
    adamoe_random_values(random, ADAMOE_F32, 0.5, plan->rows, dispatch);
    for (size_t r = 0; r < plan->rows; ++r) {
        dispatch[r] += 1.0f;
    }
    plan->dispatch = dispatch;
    return adamoe_ok();
}

static adamoe_status make_plan(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_case_data *data)
{
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_pattern_routing(c->pattern, c->mixture, c->null_kind,
                                      adamoe_indifferent_load(c->mixture), c->tokens, random, &routing));
    const adamoe_status status = adamoe_plan_create(routing, &data->plan);
    adamoe_routing_free(routing);
    return status.code == ADAMOE_OK && c->dispatch ? make_dispatch(c, random, data->plan) : status;
}

static adamoe_status make_experts(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_case_data *data)
{
    const adamoe_layer_sizes sizes = {c->hidden_size, c->intermediate_size, c->mixture.experts,
                                      c->mixture.null_experts};
    ADAMOE_TRY(adamoe_random_layer_create(sizes, c->weights, ODD_OFFSET, random, &data->layer));
    ADAMOE_TRY(make_states(c, random, c->hidden_size, data));
    if (c->magnitude == ADAMOE_MAGNITUDE_SWEEP) {
        sweep_experts(c, random, data);
    } else if (c->magnitude == ADAMOE_MAGNITUDE_FULL) {
        fill_experts(c, data);
    }
    return make_plan(c, random, data);
}

static adamoe_status make_gradient(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_case_data *data)
{
    const size_t count = c->tokens * c->hidden_size;
    ADAMOE_TRY(make_experts(c, random, data));
    data->dy = calloc(count + 1, sizeof *data->dy);
    if (data->dy == NULL) {
        return out_of_memory(c);
    }
    adamoe_random_states(random, count, data->dy);
    return adamoe_ok();
}

static adamoe_status make_matrix(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_case_data *data)
{
    const size_t row_bytes = c->columns * adamoe_dtype_bytes(c->weights);
    data->distinct = (c->rows + 1) / 2;
    data->matrix_memory = adamoe_heap_host.allocate(NULL, c->rows * row_bytes + ODD_OFFSET, 64);
    if (data->matrix_memory == NULL) {
        return out_of_memory(c);
    }
    unsigned char *rows = data->matrix_memory + ODD_OFFSET;
    adamoe_random_values(random, c->weights, adamoe_weight_bound(c->columns), data->distinct * c->columns,
                         rows);
    memcpy(rows + data->distinct * row_bytes, rows, (c->rows - data->distinct) * row_bytes);
    data->matrix = (adamoe_matrix){rows, c->weights, c->rows, c->columns};
    ADAMOE_TRY(make_states(c, random, c->columns, data));
    if (c->magnitude == ADAMOE_MAGNITUDE_FULL) {
        fill_rows(rows, &data->matrix, data->distinct, false);
        for (size_t i = 0; i < c->tokens * c->columns; ++i) {
            data->x[i] = i / c->columns % 2 == 0 ? 1.0f : -1.0f;
        }
    }
    return adamoe_ok();
}

typedef adamoe_status make_data(const adamoe_case *c, adamoe_splitmix64 *random, adamoe_case_data *data);

static adamoe_status create(const adamoe_case *c, uint64_t seed, make_data *make, adamoe_case_data *out)
{
    adamoe_splitmix64 random = adamoe_random_for(adamoe_name_case(c).text, seed);
    *out = (adamoe_case_data){0};
    const adamoe_status status = make(c, &random, out);
    if (status.code != ADAMOE_OK) {
        adamoe_case_data_free(out);
    }
    return status;
}

adamoe_status adamoe_experts_data_create(const adamoe_case *c, uint64_t seed, adamoe_case_data *out)
{
    return create(c, seed, make_experts, out);
}

adamoe_status adamoe_gradient_data_create(const adamoe_case *c, uint64_t seed, adamoe_case_data *out)
{
    return create(c, seed, make_gradient, out);
}

adamoe_status adamoe_multiply_data_create(const adamoe_case *c, uint64_t seed, adamoe_case_data *out)
{
    return create(c, seed, make_matrix, out);
}

void adamoe_case_data_free(adamoe_case_data *data)
{
    adamoe_heap_host.release(NULL, data->x_memory);
    free(data->dy);
    adamoe_random_layer_free(&data->layer);
    adamoe_plan_free(data->plan);
    adamoe_heap_host.release(NULL, data->matrix_memory);
    *data = (adamoe_case_data){0};
}
