/*
 * See generation_config.h. Left out: everything that samples; text here is greedy.
 */
#include "generation_config.h"
#include "files/json_file.h"

#include <stdlib.h>
#include <unistd.h>

static adamoe_status append_token(const char *path, const json_t *value, adamoe_tokens *out)
{
    size_t id = 0;
    if (!adamoe_json_size(value, &id) || id > UINT32_MAX) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: eos_token_id: is no token id", path);
    }
    return adamoe_tokens_append(out, (uint32_t)id);
}

static adamoe_status read_tokens(const char *path, const json_t *document, adamoe_tokens *out)
{
    const json_t *eos = json_object_get(document, "eos_token_id");
    if (!json_is_object(document)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: not a JSON object", path);
    }
    for (size_t i = 0; json_is_array(eos) && i < json_array_size(eos); ++i) {
        ADAMOE_TRY(append_token(path, json_array_get(eos, i), out));
    }
    return eos == NULL || json_is_null(eos) || json_is_array(eos) ? adamoe_ok()
                                                                  : append_token(path, eos, out);
}

adamoe_status adamoe_generation_end_tokens(const char *folder, adamoe_tokens *out)
{
    char *path = NULL;
    json_t *document = NULL;
    adamoe_status status = adamoe_ok();
    if (asprintf(&path, "%s/generation_config.json", folder) < 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", folder);
    }
    if (access(path, F_OK) == 0) {
        status = adamoe_json_read(path, &document);
        if (status.code == ADAMOE_OK) {
            status = read_tokens(path, document, out);
        }
    }
    json_decref(document);
    free(path);
    return status;
}
