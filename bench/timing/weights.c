/*
 * The weights that benchmarks go round through. Each prepared copy has stored weights of its own, because a
 * kernel may use them where they are; kernels share them.
 */
#include "timing/weights.h"
#include "machine/memory.h"
#include "numbers.h"

#include <stdlib.h>

void adamoe_bench_weights_release(adamoe_bench_weights *weights)
{
    for (size_t s = 0; s < weights->stores; ++s) {
        adamoe_prepared_copies *store = &weights->store[s];
        for (size_t i = 0; i < store->count; ++i) {
            store->kernel->release(store->prepared[i]);
        }
        free(store->prepared);
    }
    free(weights->store);
    weights->store = NULL;
    weights->stores = 0;
}

void adamoe_bench_weights_free(adamoe_bench_weights *weights)
{
    adamoe_bench_weights_release(weights);
    for (size_t i = 0; i < weights->copies; ++i) {
        adamoe_random_layer_free(&weights->copy[i]);
    }
    free(weights->copy);
    *weights = (adamoe_bench_weights){0};
}

static adamoe_status out_of_memory(const adamoe_bench_weights *weights)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", weights->preset->name);
}

static adamoe_status find_store(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                adamoe_prepared_copies **out)
{
    for (size_t s = 0; s < weights->stores; ++s) {
        if (weights->store[s].kernel == kernel) {
            *out = &weights->store[s];
            return adamoe_ok();
        }
    }
    adamoe_prepared_copies *store = realloc(weights->store, (weights->stores + 1) * sizeof *store);
    if (store == NULL) {
        return out_of_memory(weights);
    }
    weights->store = store;
    *out = &store[weights->stores++];
    **out = (adamoe_prepared_copies){.kernel = kernel};
    return adamoe_ok();
}

/* Allocation alone does not tell: the system promises more than it has, and ends the program later. */
static adamoe_status check_memory(const adamoe_bench_weights *weights, const adamoe_prepared_copies *store,
                                  size_t count)
{
    const adamoe_preset *preset = weights->preset;
    const double elements =
        3.0 * (double)preset->mixture.experts * (double)(preset->hidden_size * preset->intermediate_size);
    const double needed =
        elements * ((double)(count > weights->copies ? count - weights->copies : 0) *
                        (double)adamoe_dtype_bytes(preset->weights) +
                    (double)(count - store->count) * (double)adamoe_arithmetic_bytes(store->kernel->weight));
    const size_t available = adamoe_available_memory();
    return needed <= (double)available
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_ENVIRONMENT,
                     "%s: %s: %.1f GB more are needed, %.1f GB are available: compare fewer kernels in one "
                     "run (--kernel)",
                     preset->name, store->kernel->name, needed / 1e9, (double)available / 1e9);
}

/* Sixteen random bits for each weight, uniform in (-bound, bound): all that bfloat16 keeps, at a fraction of
 * the time of the generator's other functions. One task is one matrix with a generator of its own. */
static void fill_matrix(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const adamoe_bench_weights *weights = context;
    const adamoe_expert *expert = &weights->copy[0].expert[i / 3];
    const adamoe_matrix *matrix = i % 3 == 0 ? &expert->w1 : i % 3 == 1 ? &expert->w3 : &expert->w2;
    const float step = (float)(adamoe_weight_bound(matrix->columns) * 0x1p-15);
    const size_t count = matrix->rows * matrix->columns;
    adamoe_splitmix64 random = adamoe_random_for("weights", weights->seed + UINT64_C(0x9e3779b97f4a7c15) * i);
    const size_t bytes = adamoe_dtype_bytes(matrix->dtype);
    unsigned char *data =
        weights->copy[0].memory + ((const unsigned char *)matrix->data - weights->copy[0].memory);
    uint64_t bits = 0;
    for (size_t k = 0; k < count; ++k, bits >>= 16) {
        bits = k % 4 == 0 ? adamoe_splitmix64_next(&random) : bits;
        const float value = ((float)(bits & 0xffff) - 32767.5f) * step;
        if (bytes == sizeof value) {
            ((float *)(void *)data)[k] = value;
        } else {
            ((uint16_t *)(void *)data)[k] = adamoe_float_to_bf16(value);
        }
    }
}

static adamoe_status make_first_copy(adamoe_bench_weights *weights, const adamoe_team *team)
{
    const adamoe_preset *preset = weights->preset;
    const adamoe_layer_sizes sizes = {preset->hidden_size, preset->intermediate_size, preset->mixture.experts,
                                      preset->mixture.null_experts};
    ADAMOE_TRY(adamoe_random_layer_allocate(sizes, preset->weights, &weights->copy[0]));
    team->run(team->state, 3 * preset->mixture.experts, fill_matrix, weights);
    return adamoe_ok();
}

static adamoe_status add_copies(adamoe_bench_weights *weights, size_t count, const adamoe_team *team)
{
    adamoe_random_layer *copy = realloc(weights->copy, count * sizeof *copy);
    if (copy == NULL) {
        return out_of_memory(weights);
    }
    weights->copy = copy;
    while (weights->copies < count) {
        ADAMOE_TRY(weights->copies == 0 ? make_first_copy(weights, team)
                                        : adamoe_random_layer_copy(&copy[0], &copy[weights->copies]));
        ++weights->copies;
    }
    return adamoe_ok();
}

adamoe_status adamoe_bench_weights_hold(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                        size_t count, const adamoe_team *team, const adamoe_host *host,
                                        const adamoe_placement *placement, adamoe_prepared ***out)
{
    adamoe_prepared_copies *store = NULL;
    ADAMOE_TRY(find_store(weights, kernel, &store));
    if (store->count < count) {
        ADAMOE_TRY(check_memory(weights, store, count));
        adamoe_prepared **prepared = realloc(store->prepared, count * sizeof(adamoe_prepared *));
        if (prepared == NULL) {
            return out_of_memory(weights);
        }
        store->prepared = prepared;
    }
    if (weights->copies < count) {
        ADAMOE_TRY(add_copies(weights, count, team));
    }
    for (; store->count < count; ++store->count) {
        const size_t i = store->count;
        ADAMOE_TRY(kernel->prepare(host, &weights->copy[i].layer, placement, &store->prepared[i]));
    }
    *out = store->prepared;
    return adamoe_ok();
}
