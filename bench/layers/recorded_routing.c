/*
 * Routing that a model really made, as ids or turned back into logits.
 */
#include "layers/recorded_routing.h"
#include "layers/random_layer.h"
#include "safetensors/safetensors.h"

#include <stdlib.h>
#include <string.h>

static const char tensor_name[] = "selected_experts";

/* A number in the file's metadata; SIZE_MAX where it is none. */
static size_t metadata_count(const adamoe_safetensors *file, const char *key)
{
    const char *text = adamoe_safetensors_metadata(file, key);
    const bool is_number =
        text != NULL && text[0] != '\0' && strlen(text) < 10 && text[strspn(text, "0123456789")] == '\0';
    return is_number ? (size_t)strtoul(text, NULL, 10) : SIZE_MAX;
}

/* The ids of `mixture`, which are there and of the right shape. */
static adamoe_status find_tensor(const adamoe_safetensors *file, adamoe_mixture mixture,
                                 const adamoe_tensor **out)
{
    const adamoe_tensor *ids = adamoe_safetensors_find(file, tensor_name);
    if (ids == NULL || ids->dtype != ADAMOE_I64 || ids->rank != 3 || ids->elements == 0 ||
        ids->shape[2] != mixture.top_k) {
        return adamoe_tensor_error(adamoe_safetensors_path(file), tensor_name,
                                   "missing, or not I64 [layers, tokens, %zu] with at least one token",
                                   mixture.top_k);
    }
    *out = ids;
    return adamoe_ok();
}

static adamoe_status refuse_id(const adamoe_safetensors *file, const adamoe_tensor *ids, size_t row,
                               int64_t id, const char *reason)
{
    return adamoe_tensor_error(adamoe_safetensors_path(file), tensor_name,
                               "token %zu of layer %zu: expert %lld: %s", row % ids->shape[1],
                               row / ids->shape[1], (long long)id, reason);
}

static int64_t id_at(const adamoe_tensor *ids, size_t row, size_t j)
{
    int64_t id;
    memcpy(&id, (const char *)ids->data + (row * ids->shape[2] + j) * sizeof id, sizeof id);
    return id;
}

/* The ids of one token, each an expert, none twice. */
static adamoe_status check_row(const adamoe_safetensors *file, const adamoe_tensor *ids, size_t row,
                               size_t experts)
{
    for (size_t j = 0; j < ids->shape[2]; ++j) {
        const int64_t id = id_at(ids, row, j);
        if (id < 0 || (uint64_t)id >= experts) {
            return refuse_id(file, ids, row, id, "out of range");
        }
        for (size_t before = 0; before < j; ++before) {
            if (id_at(ids, row, before) == id) {
                return refuse_id(file, ids, row, id, "selected twice");
            }
        }
    }
    return adamoe_ok();
}

/* All of them, also those that are not read: whether a file is good depends on no seed. */
static adamoe_status check_ids(const adamoe_safetensors *file, const adamoe_tensor *ids,
                               adamoe_mixture mixture)
{
    for (size_t row = 0; row < ids->shape[0] * ids->shape[1]; ++row) {
        ADAMOE_TRY(check_row(file, ids, row, mixture.experts + mixture.null_experts));
    }
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------------- as ids */

#define MOST_EXPERTS 65536

static adamoe_status read_mixture(const adamoe_safetensors *file, adamoe_mixture *out)
{
    const char *const key[] = {"num_local_experts", "num_null_experts", "num_experts_per_tok"};
    const size_t least[] = {1, 0, 1};
    size_t count[3];
    for (size_t i = 0; i < 3; ++i) {
        count[i] = metadata_count(file, key[i]);
        if (count[i] < least[i] || count[i] > MOST_EXPERTS) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "%s: __metadata__: %s: missing, or not a number of %zu to %d",
                                adamoe_safetensors_path(file), key[i], least[i], MOST_EXPERTS);
        }
    }
    *out = (adamoe_mixture){count[0], count[1], count[2]};
    return adamoe_ok();
}

static adamoe_status read_ids(const adamoe_safetensors *file, const adamoe_tensor *ids,
                              adamoe_recorded_routing *out)
{
    const size_t k = out->mixture.top_k;
    ADAMOE_TRY(check_ids(file, ids, out->mixture));
    for (size_t i = 0; i < out->layers * out->tokens * k; ++i) {
        out->id[i] = (uint32_t)id_at(ids, i / k, i % k);
    }
    return adamoe_ok();
}

static adamoe_status read_recorded(const adamoe_safetensors *file, adamoe_recorded_routing *out)
{
    const adamoe_tensor *ids = NULL;
    ADAMOE_TRY(read_mixture(file, &out->mixture));
    ADAMOE_TRY(find_tensor(file, out->mixture, &ids));
    out->layers = ids->shape[0];
    out->tokens = ids->shape[1];
    out->id = malloc(ids->elements * sizeof *out->id);
    return out->id == NULL
               ? adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", adamoe_safetensors_path(file))
               : read_ids(file, ids, out);
}

adamoe_status adamoe_recorded_routing_read(const char *path, adamoe_recorded_routing *out)
{
    adamoe_safetensors *file = NULL;
    *out = (adamoe_recorded_routing){.id = NULL};
    ADAMOE_TRY(adamoe_safetensors_open(path, &file));
    const adamoe_status status = read_recorded(file, out);
    adamoe_safetensors_close(file);
    if (status.code != ADAMOE_OK) {
        adamoe_recorded_routing_free(out);
    }
    return status;
}

void adamoe_recorded_routing_free(adamoe_recorded_routing *recorded)
{
    free(recorded->id);
    *recorded = (adamoe_recorded_routing){.id = NULL};
}

/* ------------------------------------------------------------------------------------------------ as logits */

static adamoe_status check_count(const adamoe_safetensors *file, const char *key, size_t expected)
{
    const size_t count = metadata_count(file, key);
    if (count == SIZE_MAX) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %s: missing, or not a number",
                            adamoe_safetensors_path(file), key);
    }
    return count == expected
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: __metadata__: %s: %zu, but the preset has %zu",
                              adamoe_safetensors_path(file), key, count, expected);
}

static adamoe_status find_ids(const adamoe_safetensors *file, adamoe_mixture mixture,
                              const adamoe_tensor **out)
{
    ADAMOE_TRY(check_count(file, "num_local_experts", mixture.experts));
    ADAMOE_TRY(check_count(file, "num_null_experts", mixture.null_experts));
    ADAMOE_TRY(check_count(file, "num_experts_per_tok", mixture.top_k));
    return find_tensor(file, mixture, out);
}

/* Logits of the experts that one token selected; those of the others are negative already. */
static void read_token(const adamoe_tensor *ids, size_t row, float *logits)
{
    const size_t k = ids->shape[2];
    for (size_t j = 0; j < k; ++j) {
        logits[id_at(ids, row, j)] = 2.0f - (float)j / (float)k;
    }
}

size_t adamoe_recorded_layer(size_t layers, uint64_t seed)
{
    adamoe_splitmix64 random = adamoe_random_for("recorded", seed);
    return adamoe_splitmix64_below(&random, layers);
}

static adamoe_status read_tokens(const adamoe_safetensors *file, adamoe_mixture mixture, size_t tokens,
                                 uint64_t seed, float *logits)
{
    const adamoe_tensor *ids = NULL;
    ADAMOE_TRY(find_ids(file, mixture, &ids));
    ADAMOE_TRY(check_ids(file, ids, mixture));
    const size_t all = mixture.experts + mixture.null_experts;
    adamoe_splitmix64 random = adamoe_random_for("recorded", seed);
    const size_t layer = adamoe_splitmix64_below(&random, ids->shape[0]);
    const size_t first = adamoe_splitmix64_below(&random, ids->shape[1]);
    for (size_t t = 0; t < tokens; ++t) {
        float *l = logits + t * all;
        for (size_t i = 0; i < all; ++i) {
            l[i] = -1.0f - (float)((double)(adamoe_splitmix64_next(&random) >> 41) * 0x1p-23);
        }
        const size_t row = layer * ids->shape[1] + (first + t) % ids->shape[1];
        read_token(ids, row, l);
    }
    return adamoe_ok();
}

adamoe_status adamoe_recorded_logits(const char *path, adamoe_mixture mixture, size_t tokens, uint64_t seed,
                                     float *logits)
{
    adamoe_safetensors *file = NULL;
    ADAMOE_TRY(adamoe_safetensors_open(path, &file));
    const adamoe_status status = read_tokens(file, mixture, tokens, seed, logits);
    adamoe_safetensors_close(file);
    return status;
}
