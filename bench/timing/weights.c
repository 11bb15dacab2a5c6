/*
 * The weights that benchmarks go round through.
 */
#include "timing/weights.h"
#include "machine/memory.h"
#include "numbers.h"

#include <stdatomic.h>
#include <stdio.h>
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
    free(weights->counting);
    weights->counting = NULL;
}

/* --------------------------------------------------------------------------------------- what is asked for */

static void *allocate(void *context, size_t bytes, size_t alignment)
{
    adamoe_counting_host *counting = context;
    atomic_fetch_add(&counting->bytes, bytes);
    return counting->inner->allocate(counting->inner->context, bytes, alignment);
}

static void *allocate_on(void *context, size_t bytes, size_t alignment, uint32_t node)
{
    adamoe_counting_host *counting = context;
    atomic_fetch_add(&counting->bytes, bytes);
    return counting->inner->allocate_on(counting->inner->context, bytes, alignment, node);
}

static void give_back(void *context, void *memory)
{
    const adamoe_counting_host *counting = context;
    counting->inner->release(counting->inner->context, memory);
}

static void log_line(void *context, const char *message)
{
    const adamoe_counting_host *counting = context;
    counting->inner->log(counting->inner->context, message);
}

static adamoe_status count_host(adamoe_bench_weights *weights, const adamoe_host *host)
{
    if (weights->counting != NULL) {
        return adamoe_ok();
    }
    adamoe_counting_host *counting = calloc(1, sizeof *counting);
    if (counting == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "bench: out of memory");
    }
    counting->inner = host;
    counting->host = (adamoe_host){.context = counting,
                                   .allocate = allocate,
                                   .release = give_back,
                                   .log = host->log == NULL ? NULL : log_line,
                                   .allocate_on = host->allocate_on == NULL ? NULL : allocate_on};
    weights->counting = counting;
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------- what there is */

static size_t elements_of(const adamoe_preset *preset)
{
    return 3 * preset->mixture.experts * preset->hidden_size * preset->intermediate_size;
}

static double stored_bytes(const adamoe_preset *preset)
{
    return (double)elements_of(preset) * (double)adamoe_dtype_bytes(preset->weights);
}

/* Of one copy, before it is seen what the kernel asks for. */
static double packed_bytes(const adamoe_preset *preset, const adamoe_kernel *kernel)
{
    return (double)elements_of(preset) * (double)adamoe_arithmetic_bytes(kernel->weight);
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

static adamoe_prepared_copies *store_of(const adamoe_bench_weights *weights, const adamoe_kernel *kernel)
{
    for (size_t s = 0; s < weights->stores; ++s) {
        if (weights->store[s].kernel == kernel) {
            return &weights->store[s];
        }
    }
    return NULL;
}

static adamoe_status find_store(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                adamoe_prepared_copies **out)
{
    *out = store_of(weights, kernel);
    if (*out != NULL) {
        return adamoe_ok();
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

/* ------------------------------------------------------------------------------------------ what there may be */

static bool is_held(const adamoe_bench_weights *weights, const adamoe_kernel *kernel)
{
    const adamoe_prepared_copies *store = store_of(weights, kernel);
    return store != NULL && store->count > 0;
}

/* Of weights: what is asked for besides, for rounding up and for the work of a call. */
#define MARGIN 1.1

/* Bytes besides what is held already, so that each of the kernels has a copy. */
static double least_bytes(const adamoe_bench_weights *weights, const adamoe_kernel *const *kernels,
                          size_t count)
{
    double bytes = weights->copies == 0 ? stored_bytes(weights->preset) : 0.0;
    for (size_t i = 0; i < count; ++i) {
        bytes += is_held(weights, kernels[i]) ? 0.0 : packed_bytes(weights->preset, kernels[i]);
    }
    return MARGIN * bytes;
}

/* The kernel that needs least, where that fits alone; NULL where none does. */
static const adamoe_kernel *find_one_that_fits(const adamoe_bench_weights *weights,
                                               const adamoe_kernel *const *kernels, size_t count,
                                               double available)
{
    const adamoe_kernel *best = NULL;
    for (size_t i = 0; i < count; ++i) {
        const double bytes = least_bytes(weights, &kernels[i], 1);
        if (bytes <= available && (best == NULL || bytes < least_bytes(weights, &best, 1))) {
            best = kernels[i];
        }
    }
    return best;
}

/* The largest preset that fits with a kernel; NULL where none does. */
static const adamoe_preset *find_preset_that_fits(const adamoe_kernel *kernel, double available)
{
    const adamoe_preset *best = NULL;
    for (size_t i = 0; i < ADAMOE_PRESETS; ++i) {
        const adamoe_preset *p = &adamoe_presets[i];
        if (MARGIN * (stored_bytes(p) + packed_bytes(p, kernel)) <= available &&
            (best == NULL || elements_of(p) > elements_of(best))) {
            best = p;
        }
    }
    return best;
}

adamoe_status adamoe_bench_weights_check(const adamoe_bench_weights *weights,
                                         const adamoe_kernel *const *kernels, size_t count)
{
    const double available = (double)adamoe_available_memory();
    char advice[160] = "no preset fits into it";
    if (count == 0 || least_bytes(weights, kernels, count) <= available) {
        return adamoe_ok();
    }
    const adamoe_kernel *kernel = find_one_that_fits(weights, kernels, count, available);
    const adamoe_preset *preset = kernel != NULL ? NULL : find_preset_that_fits(kernels[0], available);
    if (kernel != NULL) {
        (void)snprintf(advice, sizeof advice, "time one kernel at a time (--kernel %.40s fits)",
                       kernel->name);
    } else if (preset != NULL) {
        (void)snprintf(advice, sizeof advice, "time a smaller layer (--preset %s fits)", preset->name);
    }
    return adamoe_ask_memory(weights->preset->name, least_bytes(weights, kernels, count), advice);
}

/* Further copies, `share` of those that are wanted beside the first. */
static size_t scaled_copies(const adamoe_copies *c, double share)
{
    return c->wanted <= 1 ? 1 : 1 + (size_t)(share * (double)(c->wanted - 1));
}

/* Bytes that those would take besides what is held. */
static double scaled_bytes(const adamoe_bench_weights *weights, const adamoe_copies *copies, size_t count,
                           double share)
{
    double bytes = 0.0;
    size_t stored = weights->copies;
    for (size_t i = 0; i < count; ++i) {
        const adamoe_prepared_copies *store = store_of(weights, copies[i].kernel);
        const size_t want = scaled_copies(&copies[i], share), held = store == NULL ? 0 : store->count;
        const size_t further = want > held ? want - held : 0;
        bytes += (double)further *
                 (store == NULL ? packed_bytes(weights->preset, copies[i].kernel) : (double)store->bytes);
        stored = (store == NULL || !store->packs) && want > stored ? want : stored;
    }
    return bytes + (double)(stored - weights->copies) * stored_bytes(weights->preset);
}

void adamoe_bench_weights_plan(const adamoe_bench_weights *weights, adamoe_copies *copies, size_t count)
{
    const double budget = (double)adamoe_available_memory() / 2.0;
    double low = 0.0, high = 1.0; /* the share fits; it may not */
    if (scaled_bytes(weights, copies, count, 1.0) <= budget) {
        low = 1.0;
    }
    for (int i = 0; i < 50 && low < 1.0; ++i) {
        const double middle = (low + high) / 2.0;
        *(scaled_bytes(weights, copies, count, middle) <= budget ? &low : &high) = middle;
    }
    for (size_t i = 0; i < count; ++i) {
        copies[i].count = low < 1.0 ? scaled_copies(&copies[i], low) : copies[i].wanted;
    }
}

/* --------------------------------------------------------------------------------------------- making them */

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

static adamoe_status prepare_next(adamoe_bench_weights *weights, adamoe_prepared_copies *store,
                                  const adamoe_placement *placement)
{
    const size_t i = store->packs ? 0 : store->count;
    const size_t before = weights->counting->bytes;
    const adamoe_status status = store->kernel->prepare(&weights->counting->host, &weights->copy[i].layer,
                                                        placement, &store->prepared[store->count]);
    if (status.code == ADAMOE_ENVIRONMENT) { /* it takes more than adamoe_bench_weights_check could know */
        return adamoe_error(
            status.code,
            "%s: %.40s: %.200s: time one kernel at a time (--kernel), or a smaller layer (--preset)",
            weights->preset->name, store->kernel->name, status.message);
    }
    ADAMOE_TRY(status);
    if (store->count++ == 0) {
        store->bytes = weights->counting->bytes - before;
        store->packs = (double)store->bytes >= packed_bytes(weights->preset, store->kernel);
    }
    return adamoe_ok();
}

adamoe_status adamoe_bench_weights_hold(adamoe_bench_weights *weights, const adamoe_kernel *kernel,
                                        size_t count, const adamoe_team *team, const adamoe_host *host,
                                        const adamoe_placement *placement, adamoe_prepared ***out)
{
    adamoe_prepared_copies *store = NULL;
    ADAMOE_TRY(count_host(weights, host));
    ADAMOE_TRY(find_store(weights, kernel, &store));
    if (store->count < count) {
        adamoe_prepared **prepared = realloc(store->prepared, count * sizeof(adamoe_prepared *));
        if (prepared == NULL) {
            return out_of_memory(weights);
        }
        store->prepared = prepared;
    }
    while (store->count < count) {
        const size_t stored = store->count == 0 || store->packs ? 1 : count;
        if (weights->copies < stored) {
            ADAMOE_TRY(add_copies(weights, stored, team));
        }
        ADAMOE_TRY(prepare_next(weights, store, placement));
    }
    *out = store->prepared;
    return adamoe_ok();
}
