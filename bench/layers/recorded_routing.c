/*
 * Routing that a model really made, turned back into logits.
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

/* Logits of the experts that one token selected; those of the others are negative already. */
static adamoe_status read_token(const adamoe_safetensors *file, const adamoe_tensor *ids, size_t row,
                                adamoe_mixture mixture, float *logits)
{
    const size_t k = mixture.top_k, all = mixture.experts + mixture.null_experts;
    for (size_t j = 0; j < k; ++j) {
        int64_t id;
        memcpy(&id, (const char *)ids->data + (row * k + j) * sizeof id, sizeof id);
        if (id < 0 || (uint64_t)id >= all || logits[id] > 0.0f) {
            return adamoe_tensor_error(adamoe_safetensors_path(file), tensor_name,
                                       "token %zu of layer %zu: expert %lld: %s", row % ids->shape[1],
                                       row / ids->shape[1], (long long)id,
                                       id < 0 || (uint64_t)id >= all ? "out of range" : "selected twice");
        }
        logits[id] = 2.0f - (float)j / (float)k;
    }
    return adamoe_ok();
}

static adamoe_status read_tokens(const adamoe_safetensors *file, adamoe_mixture mixture, size_t tokens,
                                 uint64_t seed, float *logits)
{
    const adamoe_tensor *ids = NULL;
    ADAMOE_TRY(find_ids(file, mixture, &ids));
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
        ADAMOE_TRY(read_token(file, ids, row, mixture, l));
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
