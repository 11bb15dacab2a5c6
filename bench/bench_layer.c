/*
 * One layer, timed.
 */
#include "bench_layer.h"
#include "bench_weights.h"
#include "bound.h"
#include "cpu.h"
#include "gbench/gbench.h"
#include "host.h"
#include "numbers.h"
#include "team.h"

#include <stdlib.h>
#include <string.h>

/* One benchmark. */
typedef struct bench {
    adamoe_bench_layer *layer;
    const adamoe_kernel *kernel;
    adamoe_pattern pattern;
    size_t tokens;
    char name[160];
    struct bench *next;
    /* from here on made when its turn comes, and `status` says whether that succeeded */
    bool made;
    adamoe_status status;
    adamoe_plan **plan; /* [plans] the same routing, with the experts moved on from plan to plan */
    size_t plans, copies, calls;
    float *x, *y; /* [tokens, hidden_size] */
    adamoe_run run;
    double load, touched_bytes;
} bench;

struct adamoe_bench_layer {
    adamoe_bench_options options;
    adamoe_team *team;
    size_t cache_bytes; /* of the last level; 0 where unknown */
    adamoe_bench_weights weights;
    bench *first;
};

static size_t last_level_cache(void)
{
    adamoe_cpu cpu;
    size_t bytes = 0;
    adamoe_cpu_describe(&cpu);
    for (size_t i = 0; i < cpu.caches; ++i) {
        bytes = cpu.cache[i].bytes > bytes ? cpu.cache[i].bytes : bytes;
    }
    return bytes;
}

adamoe_status adamoe_bench_layer_create(const adamoe_bench_options *options, adamoe_bench_layer **out)
{
    adamoe_bench_layer *layer = calloc(1, sizeof *layer);
    if (layer == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    layer->options = *options;
    layer->cache_bytes = last_level_cache();
    layer->weights = (adamoe_bench_weights){
        .preset = options->preset, .seed = options->seed, .placement = adamoe_one_node(options->threads)};
    const adamoe_status status = adamoe_team_create(options->threads, &layer->team);
    if (status.code != ADAMOE_OK) {
        free(layer);
        return status;
    }
    *out = layer;
    return adamoe_ok();
}

static void free_bench(bench *b)
{
    for (size_t i = 0; i < b->plans; ++i) {
        adamoe_plan_free(b->plan[i]);
    }
    free(b->plan);
    free(b->x);
    free(b->y);
    adamoe_heap_host.release(NULL, b->run.work);
    free(b);
}

void adamoe_bench_layer_free(adamoe_bench_layer *layer)
{
    if (layer == NULL) {
        return;
    }
    while (layer->first != NULL) {
        bench *b = layer->first;
        layer->first = b->next;
        free_bench(b);
    }
    adamoe_bench_weights_free(&layer->weights);
    adamoe_team_free(layer->team);
    free(layer);
}

/* ------------------------------------------------------------------------------------------------- making */

static size_t touched_experts(const adamoe_plan *plan)
{
    size_t count = 0;
    for (size_t e = 0; e < plan->experts; ++e) {
        count += plan->offset[e] < plan->offset[e + 1];
    }
    return count;
}

/* Plans of one routing: in each one the experts are those of the one before, moved on by `step`. */
static adamoe_status make_plans(bench *b, adamoe_routing *routing, size_t count, size_t step)
{
    const size_t selections = routing->tokens * routing->rule.top_k;
    while (b->plans < count) {
        ADAMOE_TRY(adamoe_plan_create(routing, &b->plan[b->plans]));
        ++b->plans;
        for (size_t i = 0; i < selections; ++i) {
            if (routing->id[i] < routing->experts) {
                routing->id[i] = (uint32_t)((routing->id[i] + step) % routing->experts);
            }
        }
    }
    return adamoe_ok();
}

/* As many plans as touch different experts, and as many copies of the layer as twice the cache then asks for.
 * Moved plans of a skewed routing may share some experts. */
static adamoe_status make_rotation(bench *b, adamoe_routing *routing)
{
    const adamoe_preset *preset = b->layer->options.preset;
    b->plan = calloc(preset->mixture.experts, sizeof(adamoe_plan *));
    if (b->plan == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", b->name);
    }
    ADAMOE_TRY(make_plans(b, routing, 1, 0));
    const size_t touched = touched_experts(b->plan[0]);
    const double expert_bytes = 3.0 * (double)(preset->hidden_size * preset->intermediate_size) *
                                (double)adamoe_arithmetic_bytes(b->kernel->weight);
    b->load = adamoe_routing_load(routing);
    b->touched_bytes = (double)touched * expert_bytes;
    b->copies = 1;
    if (b->layer->options.hot || touched == 0) {
        return adamoe_ok();
    }
    adamoe_plan_free(b->plan[--b->plans]);
    ADAMOE_TRY(make_plans(b, routing, preset->mixture.experts / touched, touched));
    const double wanted = 2.0 * (double)b->layer->cache_bytes;
    b->copies += (size_t)(wanted / (b->touched_bytes * (double)b->plans));
    return adamoe_ok();
}

static adamoe_status make_routing(bench *b)
{
    const adamoe_preset *preset = b->layer->options.preset;
    adamoe_splitmix64 random = adamoe_random_for(adamoe_pattern_names[b->pattern], b->layer->options.seed);
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(adamoe_pattern_routing(b->pattern, preset->mixture, ADAMOE_NULL_ZERO, preset->load, b->tokens,
                                      &random, &routing));
    const adamoe_status status = make_rotation(b, routing);
    adamoe_routing_free(routing);
    return status;
}

static adamoe_status make_buffers(bench *b)
{
    const size_t count = b->tokens * b->layer->options.preset->hidden_size;
    const adamoe_plan *plan = b->plan[0];
    b->x = calloc(count + 1, sizeof *b->x);
    b->y = calloc(count + 1, sizeof *b->y);
    b->run.team = b->layer->team;
    b->run.work_bytes = b->kernel->work_bytes(b->layer->weights.prepared[0], plan->rows, plan->tokens);
    b->run.work = adamoe_heap_host.allocate(NULL, b->run.work_bytes, 64);
    if (b->x == NULL || b->y == NULL || b->run.work == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", b->name);
    }
    adamoe_splitmix64 random = adamoe_random_for("hidden_states", b->layer->options.seed);
    adamoe_random_states(&random, count, b->x);
    return adamoe_ok();
}

/* One call, on the next plan and, after the last one, the next copy. */
static adamoe_status call(bench *b)
{
    const size_t plan = b->calls % b->plans, copy = b->calls / b->plans % b->copies;
    ++b->calls;
    return b->kernel->experts(b->layer->weights.prepared[copy], &b->run, b->x, b->plan[plan], b->y);
}

/* ----------------------------------------------------------------------------------------------- checking */

/* Multiply-adds of the yardstick that one benchmark may cost: about a second. */
#define CHECK_BUDGET 1e8

/* The last tokens, where tails are, as many as the budget allows; the last one always. */
static size_t tokens_to_check(const bench *b)
{
    const adamoe_preset *preset = b->layer->options.preset;
    const double per_token = 3.0 * b->load * (double)(preset->hidden_size * preset->intermediate_size);
    const double bearable = CHECK_BUDGET / per_token;
    return bearable >= (double)b->tokens ? b->tokens : bearable < 1.0 ? 1 : (size_t)bearable;
}

static adamoe_status judge_tokens(const bench *b, size_t first, adamoe_yardstick *yardstick)
{
    const size_t d = b->layer->options.preset->hidden_size;
    adamoe_plan part = *b->plan[0];
    part.tokens = b->tokens - first;
    part.token_offset += first;
    ADAMOE_TRY(adamoe_layer_yardstick(&b->layer->weights.copy[0].layer, adamoe_kernel_arithmetic(b->kernel),
                                      b->x, &part, yardstick));
    const adamoe_verdict verdict = adamoe_judge(yardstick, b->y + first * d, 1.0);
    if (!verdict.passed) {
        return adamoe_error(
            ADAMOE_DIFFERENCE,
            "wrong result at token %zu, channel %zu: got %.9g, expected %.9g; error/bound %.3g, "
            "rms %.3g",
            first + verdict.worst / d, verdict.worst % d, (double)b->y[first * d + verdict.worst],
            yardstick->expected[verdict.worst], verdict.largest_ratio, verdict.rms_ratio);
    }
    return verdict.vacuous ? adamoe_error(ADAMOE_DIFFERENCE, "the check of the result proves nothing")
                           : adamoe_ok();
}

/* The first call of the rotation, judged. */
static adamoe_status check(bench *b)
{
    const size_t d = b->layer->options.preset->hidden_size, first = b->tokens - tokens_to_check(b);
    memset(b->y, 0xff, b->tokens * d * sizeof *b->y); /* NaN: what is not written is seen */
    ADAMOE_TRY(call(b));
    adamoe_yardstick yardstick;
    ADAMOE_TRY(adamoe_yardstick_create((b->tokens - first) * d, &yardstick));
    const adamoe_status status = judge_tokens(b, first, &yardstick);
    adamoe_yardstick_free(&yardstick);
    return status;
}

static adamoe_status make(bench *b)
{
    const char *why_not = "no reason given";
    if (!b->kernel->supported(&why_not)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "cannot run here: %s", why_not);
    }
    ADAMOE_TRY(make_routing(b));
    ADAMOE_TRY(adamoe_bench_weights_hold(&b->layer->weights, b->kernel, b->copies));
    ADAMOE_TRY(make_buffers(b));
    return check(b);
}

/* ------------------------------------------------------------------------------------------------- timing */

static void prepare(gbench_state *state, void *context)
{
    bench *b = context;
    if (!b->made) {
        b->made = true;
        b->status = make(b);
    } else if (b->status.code == ADAMOE_OK) {
        b->status = adamoe_bench_weights_hold(&b->layer->weights, b->kernel, b->copies);
    }
    if (b->status.code != ADAMOE_OK) {
        gbench_skip(state, b->status.message);
    }
}

static void iterate(gbench_state *state, void *context)
{
    bench *b = context;
    const adamoe_status status = call(b);
    if (status.code != ADAMOE_OK) {
        b->status = status;
        gbench_skip(state, b->status.message);
    }
}

static void finish(gbench_state *state, void *context)
{
    bench *b = context;
    const adamoe_preset *preset = b->layer->options.preset;
    const double flops =
        6.0 * (double)b->plan[0]->rows * (double)(preset->hidden_size * preset->intermediate_size);
    gbench_rate(state, "gflops", flops / 1e9);
    gbench_rate(state, "gbytes_per_second", b->touched_bytes / 1e9);
    gbench_counter(state, "executed_flops", flops);
    gbench_counter(state, "touched_bytes", b->touched_bytes);
    gbench_counter(state, "load", b->load);
    if (b->kernel->implementation != NULL) {
        char text[128] = "";
        b->kernel->implementation(b->layer->weights.prepared[0], text, sizeof text);
        gbench_label(state, text);
    }
}

adamoe_status adamoe_bench_layer_add(adamoe_bench_layer *layer, const adamoe_kernel *kernel, size_t tokens,
                                     adamoe_pattern pattern)
{
    static const gbench_functions functions = {prepare, iterate, finish};
    bench *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    b->layer = layer;
    b->kernel = kernel;
    b->tokens = tokens;
    b->pattern = pattern;
    (void)snprintf(b->name, sizeof b->name, "layer/%s/%s/tokens:%zu/routing:%s/threads:%u%s",
                   layer->options.preset->name, kernel->name, tokens, adamoe_pattern_names[pattern],
                   layer->options.threads, layer->options.hot ? "/hot" : "");
    b->next = layer->first;
    layer->first = b;
    return gbench_register(b->name, &functions, b) ? adamoe_ok()
                                                   : adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
}

/* The order in which codes matter to the one who reads a single one. */
static int gravity(adamoe_code code)
{
    switch (code) {
    case ADAMOE_OK:
        return 0;
    case ADAMOE_NOT_SUPPORTED:
        return 1;
    case ADAMOE_DIFFERENCE:
        return 3;
    default:
        return 2;
    }
}

adamoe_status adamoe_bench_layer_status(const adamoe_bench_layer *layer)
{
    const bench *worst = NULL;
    for (const bench *b = layer->first; b != NULL; b = b->next) {
        if (worst == NULL || gravity(b->status.code) > gravity(worst->status.code)) {
            worst = b;
        }
    }
    return worst == NULL || worst->status.code == ADAMOE_OK
               ? adamoe_ok()
               : adamoe_error(worst->status.code, "%s: %.330s", worst->name, worst->status.message);
}
