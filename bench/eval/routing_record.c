/*
 * The routing of a whole evaluation, kept and written.
 */
#include "eval/routing_record.h"
#include "safetensors/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The ids of one layer, as they come. */
typedef struct layer_ids {
    uint32_t *id;
    size_t count, room;
} layer_ids;

struct adamoe_routing_record {
    size_t layers, top_k;
    bool out_of_memory;
    layer_ids *layer; /* [layers] */
};

adamoe_status adamoe_routing_record_create(const adamoe_config *config, adamoe_routing_record **out)
{
    if (config->architecture.dense) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--record-routing: a dense model routes nothing");
    }
    adamoe_routing_record *record = calloc(1, sizeof *record);
    if (record == NULL || (record->layer = calloc(config->layers, sizeof *record->layer)) == NULL) {
        free(record);
        return adamoe_error(ADAMOE_ENVIRONMENT, "--record-routing: out of memory");
    }
    record->layers = config->layers;
    record->top_k = config->rule.top_k;
    *out = record;
    return adamoe_ok();
}

void adamoe_routing_record_free(adamoe_routing_record *record)
{
    if (record == NULL) {
        return;
    }
    for (size_t l = 0; l < record->layers; ++l) {
        free(record->layer[l].id);
    }
    free(record->layer);
    free(record);
}

void adamoe_routing_record_add(adamoe_routing_record *record, size_t layer, const adamoe_routing *routing)
{
    layer_ids *ids = &record->layer[layer];
    const size_t more = routing->tokens * routing->rule.top_k;
    if (ids->room - ids->count < more) {
        const size_t room = 2 * ids->room + more;
        uint32_t *grown = realloc(ids->id, room * sizeof *grown);
        if (grown == NULL) {
            record->out_of_memory = true;
            return;
        }
        ids->id = grown;
        ids->room = room;
    }
    memcpy(ids->id + ids->count, routing->id, more * sizeof *ids->id);
    ids->count += more;
}

static adamoe_status write_ids(const adamoe_routing_record *record, const adamoe_config *config,
                               const char *path, const int64_t *ids)
{
    const size_t tokens = record->layer[0].count / record->top_k;
    const adamoe_tensor tensor = {.name = "selected_experts",
                                  .dtype = ADAMOE_I64,
                                  .rank = 3,
                                  .shape = {record->layers, tokens, record->top_k},
                                  .elements = record->layers * tokens * record->top_k,
                                  .data = ids};
    char n[32], m[32], k[32];
    (void)snprintf(n, sizeof n, "%zu", config->experts);
    (void)snprintf(m, sizeof m, "%zu", config->null_experts);
    (void)snprintf(k, sizeof k, "%zu", record->top_k);
    const adamoe_metadata metadata[] = {
        {"num_local_experts", n}, {"num_null_experts", m}, {"num_experts_per_tok", k}};
    return adamoe_safetensors_write(path, &tensor, 1, metadata, 3);
}

adamoe_status adamoe_routing_record_write(const adamoe_routing_record *record, const adamoe_config *config,
                                          const char *path)
{
    const size_t each = record->layer[0].count;
    int64_t *ids = record->out_of_memory ? NULL : malloc(record->layers * each * sizeof *ids + 1);
    if (ids == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    for (size_t l = 0; l < record->layers; ++l) {
        for (size_t i = 0; i < each; ++i) {
            ids[l * each + i] = record->layer[l].id[i];
        }
    }
    const adamoe_status status = write_ids(record, config, path, ids);
    free(ids);
    return status;
}
