/*
 * The weights that benchmarks go round through. Each prepared copy has stored weights of its own, because a
 * kernel may use them where they are.
 */
#include "bench_weights.h"
#include "host.h"
#include "memory.h"
#include "numbers.h"

#include <stdlib.h>

static void release_prepared(adamoe_bench_weights *weights)
{
    for (size_t i = 0; i < weights->prepared_count; ++i) {
        weights->kernel->release(weights->prepared[i]);
    }
    weights->prepared_count = 0;
    weights->kernel = NULL;
}

void adamoe_bench_weights_free(adamoe_bench_weights *weights)
{
    release_prepared(weights);
    for (size_t i = 0; i < weights->copies; ++i) {
        adamoe_random_layer_free(&weights->copy[i]);
    }
    free(weights->prepared);
    free(weights->copy);
    *weights = (adamoe_bench_weights){0};
}

/* Allocation alone does not tell: the system promises more than it has, and ends the program later. */
static adamoe_status check_memory(const adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                  size_t count)
{
    const adamoe_preset *preset = weights->preset;
    const double elements =
        3.0 * (double)preset->mixture.experts * (double)(preset->hidden_size * preset->intermediate_size);
    const double needed = elements * ((double)(count > weights->copies ? count - weights->copies : 0) *
                                          (double)adamoe_dtype_bytes(preset->weights) +
                                      (double)(count - weights->prepared_count) *
                                          (double)adamoe_arithmetic_bytes(kernel->weight));
    const size_t available = adamoe_available_memory();
    return needed <= (double)available
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "%s: %.1f GB are needed, %.1f GB are available",
                              preset->name, needed / 1e9, (double)available / 1e9);
}

static adamoe_status reserve(adamoe_bench_weights *weights, size_t count)
{
    adamoe_random_layer *copy =
        realloc(weights->copy, (count > weights->copies ? count : weights->copies) * sizeof *copy);
    if (copy != NULL) {
        weights->copy = copy;
    }
    adamoe_prepared **prepared = realloc(weights->prepared, count * sizeof(adamoe_prepared *));
    if (prepared != NULL) {
        weights->prepared = prepared;
    }
    return copy != NULL && prepared != NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", weights->preset->name);
}

static adamoe_status add_copy(adamoe_bench_weights *weights)
{
    const adamoe_preset *preset = weights->preset;
    adamoe_random_layer *out = &weights->copy[weights->copies];
    if (weights->copies == 0) {
        const adamoe_layer_sizes sizes = {preset->hidden_size, preset->intermediate_size,
                                          preset->mixture.experts, preset->mixture.null_experts};
        adamoe_splitmix64 random = adamoe_random_for(preset->name, weights->seed);
        ADAMOE_TRY(adamoe_random_layer_create(sizes, preset->weights, 0, &random, out));
    } else {
        ADAMOE_TRY(adamoe_random_layer_copy(&weights->copy[0], out));
    }
    ++weights->copies;
    return adamoe_ok();
}

adamoe_status adamoe_bench_weights_hold(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                        size_t count)
{
    if (weights->kernel != kernel) {
        release_prepared(weights);
        weights->kernel = kernel;
    }
    if (count <= weights->prepared_count) {
        return adamoe_ok();
    }
    ADAMOE_TRY(check_memory(weights, kernel, count));
    ADAMOE_TRY(reserve(weights, count));
    while (weights->copies < count) {
        ADAMOE_TRY(add_copy(weights));
    }
    while (weights->prepared_count < count) {
        const size_t i = weights->prepared_count;
        ADAMOE_TRY(kernel->prepare(&adamoe_heap_host, &weights->copy[i].layer, &weights->placement,
                                   &weights->prepared[i]));
        ++weights->prepared_count;
    }
    return adamoe_ok();
}
