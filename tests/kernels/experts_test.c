/*
 * The gradient of a layer's experts: within its bound for every instruction set, exact on small integers, the
 * same bits for any number of threads; and the bound notices each of a set of realistic mistakes.
 */
#include "test.h"
#include "machine/team.h"
#include "timing/train_layer.h"
#include "train/gemm_tiles.h"

/* Sizes below, at and above tiles and panels; null experts of both kinds; experts without a row. */
static const adamoe_preset presets[] = {
    {"a", 40, 24, {4, 4, 3}, ADAMOE_NULL_ZERO, 1.5, 2, ADAMOE_F32},
    {"b", 37, 51, {6, 3, 4}, ADAMOE_NULL_IDENTITY, 2.5, 2, ADAMOE_F32},
    {"c", 64, 16, {3, 0, 2}, ADAMOE_NULL_ZERO, 2.0, 2, ADAMOE_F32},
    {"d", 20, 9, {16, 0, 1}, ADAMOE_NULL_ZERO, 1.0, 1, ADAMOE_F32},
};

enum { PRESETS = sizeof presets / sizeof *presets };

static void *allocate(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void release(void *context, void *memory)
{
    (void)context;
    free(memory);
}

static const adamoe_host host = {.allocate = allocate, .release = release};

static void make(const adamoe_preset *preset, adamoe_pattern pattern, size_t tokens, adamoe_team *team,
                 adamoe_train_layer *out)
{
    assert_ok(adamoe_train_layer_create(preset, pattern, tokens, 1, 3, team, &host, NULL, out));
}

/* False where the machine has not got it. */
static bool use(adamoe_train_layer *layer, size_t index)
{
    bool runs_here = false;
    const adamoe_vector_ops *ops = adamoe_vector_ops_at(index, &runs_here);
    if (!runs_here) {
        return false;
    }
    adamoe_gemm_space_free(layer->pass.gemm_space);
    assert_ok(adamoe_gemm_space_create(adamoe_gemm_tiles_at(index, &runs_here), layer->pass.team,
                                       3 * layer->plan->experts, &layer->pass.gemm_space));
    layer->pass.ops = ops;
    layer->pass.train_ops = adamoe_train_ops_at(index, &runs_here);
    return true;
}

static void run(adamoe_train_layer *layer)
{
    adamoe_train_layer_forward(layer);
    adamoe_train_layer_backward(layer);
}

static void test_within_the_bound(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    bool runs_here;
    assert_ok(adamoe_team_create(2, &team));
    for (size_t p = 0; p < PRESETS; ++p) {
        for (size_t tokens = 1; tokens <= 61; tokens += 20) {
            adamoe_train_layer layer;
            adamoe_gradient_yardstick yardstick;
            make(&presets[p], tokens == 41 ? ADAMOE_PATTERN_SKEWED : ADAMOE_PATTERN_RANDOM, tokens, team,
                 &layer);
            if (layer.plan->rows == 0) {
                adamoe_train_layer_free(&layer);
                continue;
            }
            assert_ok(adamoe_train_layer_measure(&layer, &yardstick));
            for (size_t i = 0; adamoe_vector_ops_at(i, &runs_here) != NULL; ++i) {
                if (use(&layer, i)) {
                    run(&layer);
                    assert_ok(adamoe_train_layer_judge(&layer, &yardstick));
                }
            }
            adamoe_gradient_yardstick_free(&yardstick);
            adamoe_train_layer_free(&layer);
        }
    }
    adamoe_team_free(team);
}

/* ------------------------------------------------------------------------------------------------- exact */

/* Small integers in x, dy, w3 and w2; w1 reads the first channel, which is 1, with 64 or 0:
 * silu(64) is 64 and its slope 1, silu(0) is 0 and its slope one half, in float32 and in double.
 * Weights are powers of two. */
static void make_exact(adamoe_train_layer *layer)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size, n = layer->plan->experts;
    for (size_t i = 0; i < layer->plan->tokens * d; ++i) {
        layer->x[i] = i % d == 0 ? 1.0f : (float)((int)(i * 7 % 5) - 2);
        layer->dy[i] = (float)((int)(i * 5 % 7) - 3);
    }
    for (size_t e = 0; e < n; ++e) {
        float *w1 = layer->copy[0].weights + 3 * e * d * ff, *w3 = w1 + d * ff, *w2 = w3 + d * ff;
        for (size_t i = 0; i < d * ff; ++i) {
            w1[i] = i % d == 0 && (i / d + e) % 3 != 0 ? 64.0f : 0.0f;
            w3[i] = (float)((int)((i * 11 + e) % 5) - 2);
            w2[i] = (float)((int)((i * 13 + e) % 3) - 1);
        }
    }
    float *combine = calloc(layer->plan->rows + 1, sizeof *combine);
    assert_non_null(combine);
    for (size_t i = 0; i < layer->plan->rows; ++i) {
        combine[i] = ldexpf(1.0f, -(int)(i % 3));
        memcpy((char *)(uintptr_t)layer->plan->combine + i * sizeof *combine, &combine[i], sizeof *combine);
    }
    free(combine);
}

static void assert_equal(const adamoe_yardstick *yardstick, const float *got)
{
    for (size_t i = 0; i < yardstick->count; ++i) {
        if ((double)got[i] != yardstick->expected[i]) {
            fail_msg("element %zu: got %.9g, expected %.17g", i, (double)got[i], yardstick->expected[i]);
        }
    }
}

static void test_integers_are_exact(void **state)
{
    (void)state;
    adamoe_team *team = NULL;
    bool runs_here;
    adamoe_train_layer layer;
    adamoe_gradient_yardstick yardstick;
    assert_ok(adamoe_team_create(2, &team));
    make(&presets[0], ADAMOE_PATTERN_SKEWED, 33, team, &layer);
    make_exact(&layer);
    assert_ok(adamoe_train_layer_measure(&layer, &yardstick));
    for (size_t i = 0; adamoe_vector_ops_at(i, &runs_here) != NULL; ++i) {
        if (!use(&layer, i)) {
            continue;
        }
        run(&layer);
        assert_equal(&yardstick.dx, layer.dx);
        assert_equal(&yardstick.dcombine, layer.dcombine);
        const size_t matrix = layer.hidden_size * layer.intermediate_size;
        for (size_t e = 0; e < layer.plan->experts; ++e) {
            const float *dw = layer.copy[0].gradient + 3 * e * matrix;
            for (size_t k = 0; k < matrix; ++k) {
                assert_true((double)dw[k] == yardstick.w1.expected[e * matrix + k]);
                assert_true((double)dw[matrix + k] == yardstick.w3.expected[e * matrix + k]);
                assert_true((double)dw[2 * matrix + k] == yardstick.w2.expected[e * matrix + k]);
            }
        }
    }
    adamoe_gradient_yardstick_free(&yardstick);
    adamoe_train_layer_free(&layer);
    adamoe_team_free(team);
}

/* ----------------------------------------------------------------------------------------------- threads */

static void test_threads_give_the_same_bits(void **state)
{
    (void)state;
    adamoe_train_layer layer[4];
    adamoe_team *team[4];
    for (uint32_t t = 0; t < 4; ++t) {
        assert_ok(adamoe_team_create(t + 1, &team[t]));
        make(&presets[1], ADAMOE_PATTERN_SKEWED, 57, team[t], &layer[t]);
        run(&layer[t]);
        const size_t d = layer[0].hidden_size, places = layer[0].plan->rows;
        const size_t weights = 3 * layer[0].plan->experts * d * layer[0].intermediate_size;
        assert_memory_equal(layer[t].dx, layer[0].dx, 57 * d * sizeof(float));
        assert_memory_equal(layer[t].dcombine, layer[0].dcombine, places * sizeof(float));
        assert_memory_equal(layer[t].dself, layer[0].dself, 57 * sizeof(float));
        assert_memory_equal(layer[t].copy[0].gradient, layer[0].copy[0].gradient, weights * sizeof(float));
    }
    for (uint32_t t = 0; t < 4; ++t) {
        adamoe_train_layer_free(&layer[t]);
        adamoe_team_free(team[t]);
    }
}

/* ---------------------------------------------------------------------------------------------- mistakes */

static const adamoe_train_ops *honest;

/* The slope of silu without its second term. */
static float slope_is_sigmoid(float weight, const float *dh, size_t count, float *g, float *u, float *wh)
{
    float derivative = 0.0f;
    for (size_t i = 0; i < count; ++i) {
        const float s = 1.0f / (1.0f + expf(-g[i])), silu = g[i] * s, up = u[i];
        derivative += dh[i] * silu * up;
        wh[i] = weight * silu * up;
        u[i] = weight * dh[i] * silu;
        g[i] = weight * dh[i] * up * s;
    }
    return derivative;
}

static float no_weight_in_dh(float weight, const float *dh, size_t count, float *g, float *u, float *wh)
{
    const float derivative = honest->gate_backward(1.0f, dh, count, g, u, wh);
    for (size_t i = 0; i < count; ++i) {
        wh[i] *= weight;
    }
    return derivative;
}

static float no_weight_in_dw2(float weight, const float *dh, size_t count, float *g, float *u, float *wh)
{
    float *ignored = calloc(count + 1, sizeof *ignored), *gate = calloc(count + 1, sizeof *gate);
    assert_true(ignored != NULL && gate != NULL);
    memcpy(gate, g, count * sizeof *g);
    memcpy(ignored, u, count * sizeof *u);
    (void)honest->gate_backward(1.0f, dh, count, gate, ignored, wh);
    const float derivative = honest->gate_backward(weight, dh, count, g, u, ignored);
    free(ignored);
    free(gate);
    return derivative;
}

static float derivative_with_weight(float weight, const float *dh, size_t count, float *g, float *u,
                                    float *wh)
{
    return weight * honest->gate_backward(weight, dh, count, g, u, wh);
}

static float last_channel_skipped(float weight, const float *dh, size_t count, float *g, float *u, float *wh)
{
    const float derivative = honest->gate_backward(weight, dh, count, g, u, wh);
    g[count - 1] = u[count - 1] = 0.0f;
    return derivative;
}

static size_t rows_of(const adamoe_train_layer *layer, size_t e)
{
    return layer->plan->offset[e + 1] - layer->plan->offset[e];
}

static float *dw1_of(adamoe_train_layer *layer, size_t e)
{
    return layer->copy[0].gradient + 3 * e * layer->hidden_size * layer->intermediate_size;
}

/* The rank-one part that one row gives to dw1, from dg as the pass has left it. */
static void add_row(adamoe_train_layer *layer, size_t e, size_t row, size_t token, float sign)
{
    const size_t d = layer->hidden_size, ff = layer->intermediate_size;
    for (size_t i = 0; i < ff; ++i) {
        for (size_t j = 0; j < d; ++j) {
            dw1_of(layer, e)[i * d + j] += sign * layer->pass.gate[row * ff + i] * layer->x[token * d + j];
        }
    }
}

static size_t busy_expert(const adamoe_train_layer *layer)
{
    size_t e = 0;
    while (rows_of(layer, e) < 2) {
        ++e;
    }
    return e;
}

static void last_row_skipped(adamoe_train_layer *layer)
{
    const size_t e = busy_expert(layer), row = layer->plan->offset[e + 1] - 1;
    add_row(layer, e, row, layer->plan->input[row], -1.0f);
}

static void row_of_another_token(adamoe_train_layer *layer)
{
    const size_t e = busy_expert(layer), row = layer->plan->offset[e];
    add_row(layer, e, row, layer->plan->input[row], -1.0f);
    add_row(layer, e, row, layer->plan->input[row + 1], 1.0f);
}

static void without_rows_not_zeroed(adamoe_train_layer *layer)
{
    for (size_t e = 0; e < layer->plan->experts; ++e) {
        if (rows_of(layer, e) == 0) {
            dw1_of(layer, e)[0] = 1e-30f;
            return;
        }
    }
    fail_msg("every expert has rows");
}

/* dx of a token with two experts is that of the last one alone. */
static void not_accumulated(adamoe_train_layer *layer)
{
    const adamoe_plan *plan = layer->plan;
    const size_t d = layer->hidden_size;
    for (size_t t = 0; t < plan->tokens; ++t) {
        const size_t end = plan->token_offset[t + 1];
        if (end - plan->token_offset[t] >= 2) {
            memcpy(layer->dx + t * d, layer->pass.slots + plan->token_row[end - 1] * d, d * sizeof(float));
            return;
        }
    }
    fail_msg("no token has two experts");
}

static void token_without_expert_not_written(adamoe_train_layer *layer)
{
    const adamoe_plan *plan = layer->plan;
    for (size_t t = 0; t < plan->tokens; ++t) {
        if (plan->token_offset[t] == plan->token_offset[t + 1]) {
            layer->dx[t * layer->hidden_size] = 1e-30f;
            return;
        }
    }
    fail_msg("every token has an expert");
}

static const struct {
    const char *name;
    float (*gate_backward)(float weight, const float *dh, size_t count, float *g, float *u, float *wh);
    void (*after)(adamoe_train_layer *layer);
} mistakes[] = {
    {"slope_is_sigmoid", slope_is_sigmoid, NULL},
    {"no_weight_in_dh", no_weight_in_dh, NULL},
    {"no_weight_in_dw2", no_weight_in_dw2, NULL},
    {"derivative_with_weight", derivative_with_weight, NULL},
    {"last_channel_skipped", last_channel_skipped, NULL},
    {"last_row_skipped", NULL, last_row_skipped},
    {"row_of_another_token", NULL, row_of_another_token},
    {"without_rows_not_zeroed", NULL, without_rows_not_zeroed},
    {"not_accumulated", NULL, not_accumulated},
    {"token_without_expert_not_written", NULL, token_without_expert_not_written},
};

static void test_mistakes_are_noticed(void **state)
{
    (void)state;
    static const adamoe_preset preset = {"m", 40, 24, {24, 24, 3}, ADAMOE_NULL_ZERO, 1.5, 2, ADAMOE_F32};
    adamoe_team *team = NULL;
    adamoe_train_layer layer;
    adamoe_gradient_yardstick yardstick;
    assert_ok(adamoe_team_create(1, &team));
    make(&preset, ADAMOE_PATTERN_RANDOM, 16, team, &layer);
    assert_ok(adamoe_train_layer_measure(&layer, &yardstick));
    honest = layer.pass.train_ops;
    run(&layer);
    assert_ok(adamoe_train_layer_judge(&layer, &yardstick));
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; ++i) {
        adamoe_train_ops ops = *honest;
        if (mistakes[i].gate_backward != NULL) {
            ops.gate_backward = mistakes[i].gate_backward;
        }
        layer.pass.train_ops = &ops;
        run(&layer);
        if (mistakes[i].after != NULL) {
            mistakes[i].after(&layer);
        }
        const adamoe_status status = adamoe_train_layer_judge(&layer, &yardstick);
        if (status.code != ADAMOE_DIFFERENCE) {
            fail_msg("%s is not noticed", mistakes[i].name);
        }
    }
    adamoe_gradient_yardstick_free(&yardstick);
    adamoe_train_layer_free(&layer);
    adamoe_team_free(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within_the_bound),
        cmocka_unit_test(test_integers_are_exact),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_mistakes_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
