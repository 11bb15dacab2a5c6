/*
 * The experts of one layer as training computes them.
 */
#include "timing/train_layer.h"
#include "train/gemm_tiles.h"
#include "machine/memory.h"
#include "layers/random_layer.h"
#include "bound/judge.h"
#include "plan.h"
#include "bound/bound.h"
#include "router.h"

#include <stdlib.h>

/* Of the small layer: a whole panel of the tiles and a part of one, whole tiles of rows and a part. */
enum { CHECK_HIDDEN = 72, CHECK_INTERMEDIATE = 44, CHECK_TOKENS = 40 };

static size_t matrix_floats(const adamoe_train_layer *layer)
{
    return layer->hidden_size * layer->intermediate_size;
}

static float *allocate(const adamoe_host *host, size_t count)
{
    return host->allocate(host->context, (count + 1) * sizeof(float), 64);
}

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "training of a layer: out of memory");
}

/* Allocation alone does not tell: the system promises more than it has. */
static adamoe_status check_memory(const adamoe_train_layer *layer, const char *name)
{
    const double d = (double)layer->hidden_size, ff = (double)layer->intermediate_size;
    const double floats = 6.0 * (double)(layer->copies * layer->plan->experts) * d * ff +
                          (double)layer->plan->rows * (4.0 * ff + d) + 4.0 * (double)layer->plan->tokens * d;
    return adamoe_ask_memory(name, floats * sizeof(float), "fewer tokens (--tokens), or a smaller --preset");
}

/* One matrix, sixteen random bits for each weight, which keep the size of what they multiply. */
typedef struct filling {
    const adamoe_train_layer *layer;
    uint64_t seed;
} filling;

static void fill_matrix(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const filling *f = context;
    const size_t count = matrix_floats(f->layer);
    const size_t columns = i % 3 == 2 ? f->layer->intermediate_size : f->layer->hidden_size;
    const float step = (float)(adamoe_weight_bound(columns) * 0x1p-15);
    adamoe_splitmix64 random = adamoe_random_for("train/weights", f->seed + UINT64_C(0x9e3779b97f4a7c15) * i);
    uint64_t bits = 0;
    for (size_t k = 0; k < count; ++k, bits >>= 16) {
        bits = k % 4 == 0 ? adamoe_splitmix64_next(&random) : bits;
        f->layer->copy[i / (3 * f->layer->plan->experts)]
            .weights[i % (3 * f->layer->plan->experts) * count + k] =
            ((float)(bits & 0xffff) - 32767.5f) * step;
    }
}

static adamoe_status make_copy(adamoe_train_layer *layer, adamoe_train_copy *copy)
{
    const size_t n = layer->plan->experts, matrix = matrix_floats(layer);
    copy->weights = allocate(layer->host, 3 * n * matrix);
    copy->gradient = allocate(layer->host, 3 * n * matrix);
    copy->expert = calloc(n, sizeof *copy->expert);
    copy->expert_gradient = calloc(n, sizeof *copy->expert_gradient);
    if (copy->weights == NULL || copy->gradient == NULL || copy->expert == NULL ||
        copy->expert_gradient == NULL) {
        return out_of_memory();
    }
    for (size_t e = 0; e < n; ++e) {
        const float *w = copy->weights + 3 * e * matrix;
        float *dw = copy->gradient + 3 * e * matrix;
        copy->expert[e] = (adamoe_float_expert){w, w + matrix, w + 2 * matrix};
        copy->expert_gradient[e] = (adamoe_float_expert_gradient){dw, dw + matrix, dw + 2 * matrix};
    }
    return adamoe_ok();
}

static adamoe_status make_arrays(adamoe_train_layer *layer)
{
    adamoe_experts_pass *p = &layer->pass;
    const adamoe_host *host = layer->host;
    const size_t rows = layer->plan->rows, values = layer->plan->tokens * layer->hidden_size;
    p->gate = allocate(host, rows * layer->intermediate_size);
    p->up = allocate(host, rows * layer->intermediate_size);
    p->hidden = allocate(host, rows * layer->intermediate_size);
    p->dhidden = allocate(host, rows * layer->intermediate_size);
    p->slots = allocate(host, rows * layer->hidden_size);
    layer->x = allocate(host, values);
    layer->y = allocate(host, values);
    layer->dy = allocate(host, values);
    layer->dx = allocate(host, values);
    layer->dcombine = allocate(host, rows);
    layer->dself = allocate(host, layer->plan->tokens);
    p->gemm = calloc(3 * layer->plan->experts, sizeof *p->gemm);
    const bool complete = p->gate != NULL && p->up != NULL && p->hidden != NULL && p->dhidden != NULL &&
                          p->slots != NULL && layer->x != NULL && layer->y != NULL && layer->dy != NULL &&
                          layer->dx != NULL && layer->dcombine != NULL && layer->dself != NULL &&
                          p->gemm != NULL;
    return complete ? adamoe_gemm_space_create(adamoe_gemm_tiles_best(), p->team, 3 * layer->plan->experts,
                                               &p->gemm_space)
                    : out_of_memory();
}

static adamoe_status make(adamoe_train_layer *layer, const adamoe_preset *preset, adamoe_pattern pattern,
                          size_t tokens, uint64_t seed)
{
    adamoe_splitmix64 random = adamoe_random_for("train/routing", seed);
    ADAMOE_TRY(adamoe_pattern_routing(pattern, preset->mixture, preset->null_kind, preset->load, tokens,
                                      &random, &layer->routing));
    ADAMOE_TRY(adamoe_plan_create(layer->routing, &layer->plan));
    ADAMOE_TRY(check_memory(layer, preset->name));
    ADAMOE_TRY(make_arrays(layer));
    layer->copy = calloc(layer->copies, sizeof *layer->copy);
    if (layer->copy == NULL) {
        return out_of_memory();
    }
    for (size_t i = 0; i < layer->copies; ++i) {
        ADAMOE_TRY(make_copy(layer, &layer->copy[i]));
    }
    filling f = {layer, seed};
    layer->pass.team->run(layer->pass.team->state, layer->copies * 3 * layer->plan->experts, fill_matrix, &f);
    random = adamoe_random_for("train/states", seed);
    adamoe_random_states(&random, tokens * layer->hidden_size, layer->x);
    adamoe_random_states(&random, tokens * layer->hidden_size, layer->dy);
    layer->pass.plan = layer->plan;
    layer->pass.x = layer->x;
    return adamoe_ok();
}

adamoe_status adamoe_train_layer_create(const adamoe_preset *preset, adamoe_pattern pattern, size_t tokens,
                                        size_t copies, uint64_t seed, const adamoe_team *team,
                                        const adamoe_host *host, double *stage_seconds,
                                        adamoe_train_layer *out)
{
    *out = (adamoe_train_layer){.hidden_size = preset->hidden_size,
                                .intermediate_size = preset->intermediate_size,
                                .host = host,
                                .copies = copies,
                                .pass = {.hidden_size = preset->hidden_size,
                                         .intermediate_size = preset->intermediate_size,
                                         .team = team,
                                         .ops = adamoe_vector_ops_best(),
                                         .train_ops = adamoe_train_ops_best(),
                                         .stage_seconds = stage_seconds}};
    const adamoe_status status = make(out, preset, pattern, tokens, seed);
    if (status.code != ADAMOE_OK) {
        adamoe_train_layer_free(out);
    }
    return status;
}

void adamoe_train_layer_free(adamoe_train_layer *layer)
{
    const adamoe_host *host = layer->host;
    float *const arrays[] = {layer->pass.gate,  layer->pass.up,  layer->pass.hidden, layer->pass.dhidden,
                             layer->pass.slots, layer->x,        layer->y,           layer->dy,
                             layer->dx,         layer->dcombine, layer->dself};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i) {
        host->release(host->context, arrays[i]);
    }
    for (size_t i = 0; i < layer->copies && layer->copy != NULL; ++i) {
        host->release(host->context, layer->copy[i].weights);
        host->release(host->context, layer->copy[i].gradient);
        free(layer->copy[i].expert);
        free(layer->copy[i].expert_gradient);
    }
    free(layer->copy);
    free(layer->pass.gemm);
    adamoe_gemm_space_free(layer->pass.gemm_space);
    adamoe_plan_free(layer->plan);
    adamoe_routing_free(layer->routing);
    *layer = (adamoe_train_layer){.host = host};
}

void adamoe_train_layer_forward(adamoe_train_layer *layer)
{
    layer->turn = (layer->turn + 1) % layer->copies;
    layer->pass.expert = layer->copy[layer->turn].expert;
    adamoe_experts_forward(&layer->pass, NULL, layer->y);
}

void adamoe_train_layer_backward(adamoe_train_layer *layer)
{
    const adamoe_experts_gradient gradient = {.expert = layer->copy[layer->turn].expert_gradient,
                                              .dx = layer->dx,
                                              .dcombine = layer->dcombine,
                                              .dself = layer->dself};
    adamoe_experts_backward(&layer->pass, layer->dy, &gradient);
}

/* ------------------------------------------------------------------------------------------- correctness */

static adamoe_status judge(const char *name, const adamoe_yardstick *yardstick, const float *got)
{
    const adamoe_verdict verdict = adamoe_judge(yardstick, got, 1.0);
    if (verdict.passed && !verdict.vacuous) {
        return adamoe_ok();
    }
    return adamoe_error(
        ADAMOE_DIFFERENCE,
        "wrong gradient: %s, element %zu: got %.9g, expected %.9g; error/bound %.3g, rms %.3g%s", name,
        verdict.worst, (double)got[verdict.worst], yardstick->expected[verdict.worst], verdict.largest_ratio,
        verdict.rms_ratio, verdict.vacuous ? "; proves nothing" : "");
}

adamoe_status adamoe_train_layer_measure(const adamoe_train_layer *layer, adamoe_gradient_yardstick *out)
{
    const size_t n = layer->plan->experts, d = layer->hidden_size, ff = layer->intermediate_size;
    adamoe_expert *expert = calloc(n, sizeof *expert);
    if (expert == NULL) {
        return out_of_memory();
    }
    for (size_t e = 0; e < n; ++e) {
        const adamoe_float_expert *from = &layer->copy[0].expert[e];
        expert[e] = (adamoe_expert){.w1 = {from->w1, ADAMOE_F32, ff, d},
                                    .w3 = {from->w3, ADAMOE_F32, ff, d},
                                    .w2 = {from->w2, ADAMOE_F32, d, ff}};
    }
    const adamoe_layer seen = {.hidden_size = d, .intermediate_size = ff, .experts = n, .expert = expert};
    const adamoe_status status = adamoe_gradient_yardstick_create(&seen, layer->x, layer->plan, layer->dy,
                                                                  ADAMOE_EXPERTS_SILU_ERROR, out);
    free(expert);
    return status;
}

/* The gradient's array has w1, w3, w2 expert by expert, the yardsticks a matrix after the other. */
static adamoe_status judge_weights(const adamoe_train_layer *layer, const adamoe_gradient_yardstick *y)
{
    static const char *const names[] = {"w1", "w3", "w2"};
    const adamoe_yardstick *const all[] = {&y->w1, &y->w3, &y->w2};
    const size_t n = layer->plan->experts, matrix = matrix_floats(layer);
    float *got = calloc(n * matrix + 1, sizeof *got);
    adamoe_status status = got == NULL ? out_of_memory() : adamoe_ok();
    for (size_t m = 0; m < 3 && status.code == ADAMOE_OK; ++m) {
        for (size_t i = 0; i < n * matrix; ++i) {
            got[i] = layer->copy[0].gradient[(i / matrix * 3 + m) * matrix + i % matrix];
        }
        status = judge(names[m], all[m], got);
    }
    free(got);
    return status;
}

adamoe_status adamoe_train_layer_judge(const adamoe_train_layer *layer,
                                       const adamoe_gradient_yardstick *yardstick)
{
    ADAMOE_TRY(judge("x", &yardstick->dx, layer->dx));
    ADAMOE_TRY(judge("combine", &yardstick->dcombine, layer->dcombine));
    return judge_weights(layer, yardstick);
}

static adamoe_status check(adamoe_train_layer *layer)
{
    adamoe_gradient_yardstick yardstick;
    ADAMOE_TRY(adamoe_train_layer_measure(layer, &yardstick));
    adamoe_train_layer_forward(layer);
    adamoe_train_layer_backward(layer);
    const adamoe_status status = adamoe_train_layer_judge(layer, &yardstick);
    adamoe_gradient_yardstick_free(&yardstick);
    return status;
}

adamoe_status adamoe_train_layer_check(const adamoe_preset *preset, adamoe_pattern pattern, uint64_t seed,
                                       const adamoe_team *team, const adamoe_host *host)
{
    adamoe_preset small = *preset;
    adamoe_train_layer layer;
    small.hidden_size = CHECK_HIDDEN;
    small.intermediate_size = CHECK_INTERMEDIATE;
    ADAMOE_TRY(adamoe_train_layer_create(&small, pattern, CHECK_TOKENS, 1, seed, team, host, NULL, &layer));
    const adamoe_status status = check(&layer);
    adamoe_train_layer_free(&layer);
    return status;
}
