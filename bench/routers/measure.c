/*
 * What each router makes of the same tokens: rows, FLOPs, balance, times, and the distance from the dense mixture.
 */
#include "routers/side_by_side.h"
#include "routers/timed_router.h"
#include "statistics/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The kernel with the layer's weights prepared, for every router. */
typedef struct bench_layer {
    const adamoe_subject *subject;
    const adamoe_kernel *kernel;
    const adamoe_machine *machine;
    adamoe_prepared *prepared;
    float *dense; /* [tokens, hidden_size] the dense mixture */
} bench_layer;

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "routers: out of memory");
}

/* ------------------------------------------------------------------------------------------------- numbers */

static void count_tokens(const adamoe_plan *plan, bool slots, adamoe_router_result *r)
{
    double sum = 0.0, squares = 0.0;
    for (size_t s = 0; s < plan->tokens; ++s) {
        /* a token of Soft MoE is part of every slot; what it is worth are the slots for a token */
        const double count = slots ? (double)plan->rows / (double)plan->tokens
                                   : (double)(plan->token_offset[s + 1] - plan->token_offset[s]);
        const size_t bin = (size_t)fmin(nearbyint(count), (double)plan->experts);
        r->histogram[bin] += 1.0 / (double)plan->tokens;
        r->dropped += plan->token_offset[s] == plan->token_offset[s + 1];
        sum += count;
        squares += count * count;
    }
    const double tokens = (double)plan->tokens;
    r->load = sum / tokens;
    r->deviation = sqrt(fmax(0.0, squares / tokens - r->load * r->load));
}

static void count_experts(const adamoe_plan *plan, adamoe_router_result *r)
{
    uint32_t largest = 0;
    for (size_t e = 0; e < plan->experts; ++e) {
        const uint32_t rows = plan->offset[e + 1] - plan->offset[e];
        largest = rows > largest ? rows : largest;
        r->idle_experts += rows == 0;
    }
    r->rows = plan->rows;
    r->largest_over_mean =
        plan->rows == 0 ? 0.0 : (double)largest * (double)plan->experts / (double)plan->rows;
}

/* As executed, 2 for a multiply-add: rows of experts and a frozen base; gates and what else multiplies tokens, and
 * the mixing of slots. */
static void count_flops(const adamoe_router_setup *setup, const adamoe_routed *routed,
                        const adamoe_layer *layer, adamoe_router_result *r)
{
    const double d = (double)layer->hidden_size, tokens = (double)routed->plan->tokens;
    r->expert_flops = 6.0 * d * (double)layer->intermediate_size * (double)routed->plan->rows / tokens;
    for (size_t i = 0; i < setup->call.tensors; ++i) {
        const adamoe_router_tensor *tensor = &setup->tensor[i];
        const double elements = (double)tensor->matrix.rows * (double)tensor->matrix.columns;
        if (strncmp(tensor->name, "mlp.", 4) == 0) { /* which a kernel multiplies, unseen by the router */
            r->expert_flops += 2.0 * elements;
        } else if (tensor->taken && tensor->matrix.dtype != ADAMOE_I64 && elements >= d &&
                   tensor->matrix.columns >= layer->hidden_size) {
            r->router_flops += 2.0 * elements;
        }
    }
    if (routed->inputs != NULL) {
        r->router_flops += 2.0 * d * (double)routed->plan->inputs;
    }
}

/* Rows whose expert is not on the node of their token: tokens and experts lie on the nodes in equal runs. A slot of
 * Soft MoE needs every token: NaN. */
static void count_crossings(const adamoe_plan *plan, bool slots, adamoe_router_result *r)
{
    for (size_t i = 0; i < ADAMOE_NODE_COUNTS; ++i) {
        const size_t nodes = (size_t)2 << i;
        r->crossing[i] = slots || plan->experts % nodes != 0 ? (double)NAN : 0.0;
        for (size_t e = 0; e < plan->experts && !isnan(r->crossing[i]); ++e) {
            for (size_t row = plan->offset[e]; row < plan->offset[e + 1]; ++row) {
                const size_t home = (size_t)plan->input[row] * nodes / plan->tokens;
                r->crossing[i] += home != e / (plan->experts / nodes);
            }
        }
    }
}

double adamoe_crossing_bytes(const adamoe_router_result *result, size_t node_count, size_t hidden_size)
{
    return 2.0 * (double)sizeof(float) * (double)hidden_size * result->crossing[node_count];
}

static double relative_error(const bench_layer *b, const float *y)
{
    const size_t count = b->subject->tokens.tokens * b->subject->layer.hidden_size;
    double error = 0.0, size = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const double value = (double)y[i], dense = (double)b->dense[i];
        error += (value - dense) * (value - dense);
        size += dense * dense;
    }
    return size > 0.0 ? sqrt(error / size) : 0.0;
}

/* ------------------------------------------------------------------------------------------------- routers */

/* The medians of `repeat` calls of both, after one that warms up. */
static adamoe_status time_router(adamoe_timed_router *router, size_t repeat, double *times,
                                 adamoe_router_result *r)
{
    double *routing = times, *layer = times + repeat, spare[2];
    for (size_t i = 0; i <= repeat; ++i) {
        ADAMOE_TRY(adamoe_timed_router_route(router, i == 0 ? &spare[0] : &routing[i - 1]));
        ADAMOE_TRY(adamoe_timed_router_run(router, i == 0 ? &spare[1] : &layer[i - 1]));
    }
    adamoe_sort(routing, repeat);
    adamoe_sort(layer, repeat);
    r->routing_seconds = adamoe_median(routing, repeat);
    r->layer_seconds = adamoe_median(layer, repeat);
    return adamoe_ok();
}

static adamoe_status describe(const bench_layer *b, const adamoe_timed_router *router,
                              adamoe_router_result *r)
{
    const adamoe_layer *layer = &b->subject->layer;
    const adamoe_routed *routed = &router->routed;
    const adamoe_routed_array *rejected = adamoe_routed_find(routed, "rejected");
    r->experts = layer->experts;
    r->histogram = calloc(layer->experts + 1, sizeof *r->histogram);
    if (r->histogram == NULL) {
        return no_memory();
    }
    count_tokens(routed->plan, routed->inputs != NULL, r);
    count_experts(routed->plan, r);
    count_flops(router->setup, routed, layer, r);
    count_crossings(routed->plan, routed->inputs != NULL, r);
    r->rejected = rejected == NULL ? 0 : rejected->rows;
    r->kernel_made_logits = router->kernel_made_logits;
    r->error = relative_error(b, router->y);
    return adamoe_timed_router_compare(router, &r->otherwise, &r->logit_difference);
}

/* "top_p.tau=0.6", where it is for this router. */
static adamoe_status apply_settings(const char *const *settings, size_t count, adamoe_router_setup *setup)
{
    const size_t length = strlen(setup->router->name);
    for (size_t i = 0; i < count; ++i) {
        char name[64];
        const char *equals = strchr(settings[i], '=');
        if (strncmp(settings[i], setup->router->name, length) == 0 && settings[i][length] == '.') {
            (void)snprintf(name, sizeof name, "%.*s", (int)(equals - settings[i] - (ptrdiff_t)length - 1),
                           settings[i] + length + 1);
            const adamoe_status status =
                adamoe_router_set(setup->router, setup->call.value, name, equals + 1);
            if (status.code != ADAMOE_OK) {
                return adamoe_error(status.code, "--set: %s", status.message);
            }
        }
    }
    return adamoe_ok();
}

/* What the router refuses is its result; what else fails is an error. */
static adamoe_status measure(const bench_layer *b, adamoe_router_setup *setup, size_t repeat,
                             adamoe_router_result *r)
{
    adamoe_timed_router router;
    double seconds, *times = calloc(2 * repeat, sizeof *times);
    if (times == NULL) {
        return no_memory();
    }
    adamoe_status status = adamoe_timed_router_open(setup, b->kernel, b->machine, b->prepared, &router);
    if (status.code == ADAMOE_OK) {
        r->status = adamoe_timed_router_route(&router, &seconds);
        status = r->status.code == ADAMOE_BAD_INPUT ? adamoe_ok() : r->status;
    }
    if (status.code == ADAMOE_OK && r->status.code == ADAMOE_OK) {
        status = time_router(&router, repeat, times, r);
    }
    if (status.code == ADAMOE_OK && r->status.code == ADAMOE_OK) {
        status = describe(b, &router, r);
    }
    adamoe_timed_router_close(&router);
    free(times);
    return status;
}

/* Every expert, weighted by the softmax of the gate. */
static adamoe_status compute_dense(bench_layer *b)
{
    adamoe_router_subject subject = b->subject->tokens;
    adamoe_router_setup setup;
    adamoe_timed_router router;
    double seconds;
    subject.top_k = b->subject->layer.experts;
    ADAMOE_TRY(adamoe_router_setup_create(adamoe_router_find("top_k"), &subject, &setup));
    adamoe_status status = adamoe_timed_router_open(&setup, b->kernel, b->machine, b->prepared, &router);
    if (status.code == ADAMOE_OK) {
        status = adamoe_timed_router_route(&router, &seconds);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_timed_router_run(&router, &seconds);
        b->dense = router.y;
        router.y = NULL;
    }
    adamoe_timed_router_close(&router);
    adamoe_router_setup_free(&setup);
    return status;
}

static adamoe_status measure_all(bench_layer *b, const adamoe_router *const *router, size_t count,
                                 const char *const *settings, size_t settings_count, size_t repeat,
                                 adamoe_router_result *results)
{
    ADAMOE_TRY(compute_dense(b));
    for (size_t i = 0; i < count; ++i) {
        adamoe_router_setup setup;
        results[i] = (adamoe_router_result){.router = router[i]};
        ADAMOE_TRY(adamoe_router_setup_create(router[i], &b->subject->tokens, &setup));
        adamoe_status status = apply_settings(settings, settings_count, &setup);
        if (status.code == ADAMOE_OK) {
            status = measure(b, &setup, repeat, &results[i]);
        }
        adamoe_router_setup_free(&setup);
        ADAMOE_TRY(status);
    }
    return adamoe_ok();
}

adamoe_status adamoe_measure_routers(const adamoe_subject *subject, const adamoe_router *const *router,
                                     size_t count, const char *const *settings, size_t settings_count,
                                     size_t repeat, const adamoe_kernel *kernel,
                                     const adamoe_machine *machine, adamoe_router_result *results)
{
    bench_layer b = {.subject = subject, .kernel = kernel, .machine = machine};
    ADAMOE_TRY(kernel->prepare(&machine->host, &subject->layer, machine->placement, &b.prepared));
    const adamoe_status status = measure_all(&b, router, count, settings, settings_count, repeat, results);
    kernel->release(b.prepared);
    free(b.dense);
    return status;
}

void adamoe_router_result_free(adamoe_router_result *result)
{
    free(result->histogram);
    result->histogram = NULL;
}
