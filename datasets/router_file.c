/*
 * See router_file.h.
 */
#include "router_file.h"
#include "files/json_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *path_in(const char *folder)
{
    char *path = NULL;
    return asprintf(&path, "%s/router.json", folder) < 0 ? NULL : path;
}

bool adamoe_router_file_in(const char *folder)
{
    char *path = path_in(folder);
    const bool there = path != NULL && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* ------------------------------------------------------------------------------------------------- reading */

static adamoe_status set_parameter(const adamoe_router *router, double *value, const char *name,
                                   const json_t *given)
{
    char text[64];
    if (!json_is_number(given) && !json_is_string(given)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%.80s: neither a number nor a text", name);
    }
    if (json_is_number(given)) {
        (void)snprintf(text, sizeof text, "%.17g", json_number_value(given));
    }
    return adamoe_router_set(router, value, name, json_is_string(given) ? json_string_value(given) : text);
}

static adamoe_status read_parameters(const adamoe_router *router, const json_t *parameters, double *value)
{
    const char *name;
    json_t *given;
    adamoe_router_defaults(router, value);
    json_object_foreach((json_t *)(uintptr_t)parameters, name, given)
    {
        ADAMOE_TRY(set_parameter(router, value, name, given));
    }
    return adamoe_ok();
}

static adamoe_status read_state(const json_t *state, adamoe_model_router *out)
{
    for (size_t i = 0; i < out->layers * out->states; ++i) {
        const json_t *layer = json_array_get(state, i / out->states);
        const json_t *number = json_array_get(layer, i % out->states);
        if (json_array_size(state) != out->layers || json_array_size(layer) != out->states ||
            !json_is_number(number) || !isfinite((float)json_number_value(number))) {
            return adamoe_error(ADAMOE_BAD_INPUT, "state: not %zu lists of %zu numbers", out->layers,
                                out->states);
        }
        out->state[i] = (float)json_number_value(number);
    }
    return out->states > 0 || state == NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "state: router %s has none", out->router->name);
}

static adamoe_status read_document(const json_t *document, const adamoe_config *config,
                                   adamoe_model_router *out)
{
    const char *name = json_string_value(json_object_get(document, "router"));
    const adamoe_router *router = name == NULL ? NULL : adamoe_router_find(name);
    double value[ADAMOE_ROUTER_PARAMETERS];
    if (router == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "router: no router is called %.80s", name == NULL ? "?" : name);
    }
    ADAMOE_TRY(read_parameters(router, json_object_get(document, "parameters"), value));
    ADAMOE_TRY(adamoe_model_router_create(router, value, config->layers, config->experts,
                                          config->null_experts, out));
    return read_state(json_object_get(document, "state"), out);
}

adamoe_status adamoe_router_file_read(const char *folder, const adamoe_config *config,
                                      adamoe_model_router *out)
{
    char *path = path_in(folder);
    json_t *document = NULL;
    *out = (adamoe_model_router){.router = NULL};
    if (path == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", folder);
    }
    adamoe_status status = adamoe_json_read(path, &document);
    if (status.code == ADAMOE_OK) {
        const adamoe_status read = read_document(document, config, out);
        if (read.code != ADAMOE_OK) {
            adamoe_model_router_free(out);
            status = adamoe_error(read.code, "%.250s: %.250s", path, read.message);
        }
    }
    json_decref(document);
    free(path);
    return status;
}

/* ------------------------------------------------------------------------------------------------- writing */

static json_t *parameters_json(const adamoe_model_router *m)
{
    json_t *parameters = json_object();
    for (size_t i = 0; i < m->router->parameters; ++i) {
        const adamoe_router_parameter *p = &m->router->parameter[i];
        if (p->kind == ADAMOE_PARAMETER_CHOICE) {
            json_object_set_new(parameters, p->name,
                                json_string(adamoe_router_value_text(p, m->value[i]).text));
        } else if (!isnan(m->value[i])) {
            json_object_set_new(parameters, p->name, json_real(m->value[i]));
        }
    }
    return parameters;
}

json_t *adamoe_router_file_json(const adamoe_model_router *m)
{
    json_t *document = json_pack("{s:s,s:o}", "router", m->router->name, "parameters", parameters_json(m));
    json_t *state = m->states == 0 ? NULL : json_array();
    for (size_t layer = 0; state != NULL && layer < m->layers; ++layer) {
        json_t *list = json_array();
        for (size_t i = 0; i < m->states; ++i) {
            json_array_append_new(list, json_real((double)m->state[layer * m->states + i]));
        }
        json_array_append_new(state, list);
    }
    if (state != NULL) {
        json_object_set_new(document, "state", state);
    }
    return document;
}
