/*
 * Calls of a kernel in a process of its own: a message there, an answer back, arrays in shared memory.
 */
#include "remote/call.h"
#include "machine/clock.h"
#include "numbers.h"
#include "remote/link.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Call regions have at least so many bytes, and are doubled where a call does not fit. */
#define SMALLEST_REGION ((size_t)1 << 16)

struct adamoe_prepared {
    adamoe_host host;
    remote_kernel *of;
    uint64_t number, generation;
    size_t hidden_size;
};

/* ------------------------------------------------------------------------------------------------- answers */

static adamoe_code code_of(const char *kind)
{
    return kind != NULL && strcmp(kind, "not supported") == 0 ? ADAMOE_NOT_SUPPORTED
           : kind != NULL && strcmp(kind, "environment") == 0 ? ADAMOE_ENVIRONMENT
                                                              : ADAMOE_BAD_INPUT;
}

/* {"ok":true} or {"error":"...","code":"..."}; *answer is the caller's reference on success. */
static adamoe_status hear_answer(remote_link *link, const char *doing, json_t **answer)
{
    size_t length = 0;
    ADAMOE_TRY(adamoe_remote_receive(&link->process, doing, link->message, &length));
    json_t *json = json_loadb(link->message, length, 0, NULL);
    const char *error = json_string_value(json_object_get(json, "error"));
    if (json_is_true(json_object_get(json, "ok"))) {
        *answer = json;
        return adamoe_ok();
    }
    const adamoe_status status =
        error != NULL
            ? adamoe_error(code_of(json_string_value(json_object_get(json, "code"))), "%.400s", error)
            : adamoe_remote_refuse(&link->process, doing, "no answer but `%.80s'", link->message);
    json_decref(json);
    return status;
}

static adamoe_status ask(remote_link *link, const char *doing, size_t length, const int *descriptor,
                         size_t descriptors, json_t **answer)
{
    ADAMOE_TRY(adamoe_remote_send(&link->process, link->message, length, descriptor, descriptors));
    return hear_answer(link, doing, answer);
}

/* -------------------------------------------------------------------------------------------------- weights */

/* One type for all weights, so that they are one array; and one that the kernel takes. */
static adamoe_status check_weights(const remote_kernel *k, const adamoe_layer *layer)
{
    const adamoe_dtype dtype = layer->expert[0].w1.dtype;
    for (size_t e = 0; e < layer->experts; ++e) {
        const adamoe_expert *x = &layer->expert[e];
        if (x->w1.dtype != dtype || x->w3.dtype != dtype || x->w2.dtype != dtype) {
            return adamoe_error(ADAMOE_NOT_SUPPORTED, "%s: expert %zu: weights of several types",
                                k->kernel.name, e);
        }
    }
    if (dtype >= ADAMOE_REMOTE_DTYPES || (k->announced.dtypes >> dtype & 1u) == 0) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "%s: it takes no weights in %s", k->kernel.name,
                            dtype < ADAMOE_REMOTE_DTYPES ? adamoe_remote_dtype_names[dtype] : "integers");
    }
    return adamoe_ok();
}

typedef struct stacked_weights {
    adamoe_remote_region region;
    size_t w13, w2; /* offsets of [n, 2, intermediate, hidden] and [n, hidden, intermediate] */
} stacked_weights;

static adamoe_status stack_weights(const adamoe_layer *layer, stacked_weights *out)
{
    const size_t matrix =
        layer->intermediate_size * layer->hidden_size * adamoe_dtype_bytes(layer->expert[0].w1.dtype);
    adamoe_remote_layout layout = {0};
    out->w13 = adamoe_remote_place(&layout, 2 * layer->experts * matrix);
    out->w2 = adamoe_remote_place(&layout, layer->experts * matrix);
    ADAMOE_TRY(adamoe_remote_region_create(adamoe_remote_layout_bytes(&layout), true, &out->region));
    unsigned char *data = out->region.data;
    adamoe_remote_guard(data, 0, out->w13);
    adamoe_remote_guard(data, out->w13 + 2 * layer->experts * matrix, out->w2);
    adamoe_remote_guard(data, out->w2 + layer->experts * matrix, out->region.bytes);
    for (size_t e = 0; e < layer->experts; ++e) {
        memcpy(data + out->w13 + 2 * e * matrix, layer->expert[e].w1.data, matrix);
        memcpy(data + out->w13 + (2 * e + 1) * matrix, layer->expert[e].w3.data, matrix);
        memcpy(data + out->w2 + e * matrix, layer->expert[e].w2.data, matrix);
    }
    return adamoe_ok();
}

/* The mutex is held. */
static adamoe_status prepare_there(remote_kernel *k, const adamoe_layer *layer, uint32_t threads,
                                   const stacked_weights *weights, adamoe_prepared *prepared)
{
    remote_link *link = k->link;
    json_t *answer = NULL;
    ADAMOE_TRY(remote_link_be_alive(link));
    prepared->number = ++link->objects;
    prepared->generation = link->generation;
    const int length = snprintf(
        link->message, sizeof link->message,
        "{\"do\":\"prepare\",\"object\":%" PRIu64 ",\"kernel\":\"%s\",\"hidden_size\":%zu,"
        "\"intermediate_size\":%zu,\"experts\":%zu,\"null_experts\":%zu,\"threads\":%u,\"dtype\":\"%s\","
        "\"bytes\":%zu,\"w13\":%zu,\"w2\":%zu}",
        prepared->number, k->kernel.name, layer->hidden_size, layer->intermediate_size, layer->experts,
        layer->null_experts, threads, adamoe_remote_dtype_names[layer->expert[0].w1.dtype],
        weights->region.bytes, weights->w13, weights->w2);
    ADAMOE_TRY(ask(link, "prepare", (size_t)length, &weights->region.descriptor, 1, &answer));
    json_decref(answer);
    return adamoe_ok();
}

adamoe_status remote_prepare(void *context, const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    remote_kernel *k = context;
    stacked_weights weights;
    ADAMOE_TRY(check_weights(k, layer));
    adamoe_prepared *prepared = host->allocate(host->context, sizeof *prepared, _Alignof(adamoe_prepared));
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", k->kernel.name);
    }
    *prepared = (adamoe_prepared){.host = *host, .of = k, .hidden_size = layer->hidden_size};
    adamoe_status status = stack_weights(layer, &weights);
    if (status.code == ADAMOE_OK) {
        (void)pthread_mutex_lock(&k->link->mutex);
        status = prepare_there(k, layer, placement->threads, &weights, prepared);
        (void)pthread_mutex_unlock(&k->link->mutex);
        adamoe_remote_region_free(&weights.region); /* the process has its own mapping */
    }
    if (status.code != ADAMOE_OK) {
        host->release(host->context, prepared);
        return status;
    }
    *out = prepared;
    return adamoe_ok();
}

/* Whether the process in which it was prepared still runs, as far as is known. */
static bool is_there(const adamoe_prepared *prepared)
{
    const remote_link *link = prepared->of->link;
    return link->process.id != 0 && link->generation == prepared->generation;
}

/* A process that does not survive this is seen to be gone by the next prepare, if no call was. */
void remote_release(adamoe_prepared *prepared)
{
    if (prepared == NULL) {
        return;
    }
    remote_link *link = prepared->of->link;
    (void)pthread_mutex_lock(&link->mutex);
    if (is_there(prepared)) {
        json_t *answer = NULL;
        const int length = snprintf(link->message, sizeof link->message,
                                    "{\"do\":\"release\",\"object\":%" PRIu64 "}", prepared->number);
        link->broken = ask(link, "release", (size_t)length, NULL, 0, &answer);
        json_decref(answer);
    }
    (void)pthread_mutex_unlock(&link->mutex);
    const adamoe_host host = prepared->host;
    host.release(host.context, prepared);
}

size_t remote_work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    (void)prepared;
    (void)rows;
    (void)tokens;
    return 0;
}

void remote_implementation(const adamoe_prepared *prepared, char *text, size_t size)
{
    const char *implementation = prepared == NULL ? NULL : prepared->of->announced.implementation;
    (void)snprintf(text, size, "%s", implementation == NULL ? "" : implementation);
}

/* ---------------------------------------------------------------------------------------------------- calls */

/* One array that goes there. */
typedef struct array {
    const char *name;
    const void *data; /* NULL: there is none */
    size_t bytes, at;
} array;

enum { X, OFFSET, INPUT, TOKEN_OFFSET, TOKEN_ROW, COMBINE, DISPATCH, SELF_SCALE, ARRAYS };

static void list_arrays(const adamoe_plan *plan, const float *x, size_t hidden_size, array out[ARRAYS])
{
    const size_t places = plan->token_offset[plan->tokens];
    out[X] = (array){"x", x, plan->inputs * hidden_size * sizeof *x, 0};
    out[OFFSET] = (array){"offset", plan->offset, (plan->experts + 1) * sizeof(uint32_t), 0};
    out[INPUT] = (array){"input", plan->input, plan->rows * sizeof(uint32_t), 0};
    out[TOKEN_OFFSET] = (array){"token_offset", plan->token_offset, (plan->tokens + 1) * sizeof(uint32_t), 0};
    out[TOKEN_ROW] = (array){"token_row", plan->token_row, places * sizeof(uint32_t), 0};
    out[COMBINE] = (array){"combine", plan->combine, places * sizeof(float), 0};
    out[DISPATCH] = (array){"dispatch", plan->dispatch, plan->rows * sizeof(float), 0};
    out[SELF_SCALE] = (array){"self_scale", plan->self_scale, plan->tokens * sizeof(float), 0};
}

/* A region of at least so many bytes; one that is replaced is not known there. */
static adamoe_status make_room(remote_link *link, size_t bytes, bool read_only_there,
                               adamoe_remote_region *region)
{
    size_t room = SMALLEST_REGION;
    if (region->bytes >= bytes) {
        return adamoe_ok();
    }
    while (room < bytes) {
        room *= 2;
    }
    adamoe_remote_region_free(region);
    link->known = 0;
    return adamoe_remote_region_create(room, read_only_there, region);
}

/* Copies what there is, each with the pattern behind it. */
static adamoe_status write_inputs(remote_link *link, array list[ARRAYS])
{
    adamoe_remote_layout layout = {0};
    for (size_t i = 0; i < ARRAYS; ++i) {
        list[i].at = list[i].data == NULL ? 0 : adamoe_remote_place(&layout, list[i].bytes);
    }
    const size_t bytes = adamoe_remote_layout_bytes(&layout);
    ADAMOE_TRY(make_room(link, bytes, true, &link->inputs));
    size_t end = 0;
    for (size_t i = 0; i < ARRAYS; ++i) {
        if (list[i].data != NULL) {
            adamoe_remote_guard(link->inputs.data, end, list[i].at);
            memcpy(link->inputs.data + list[i].at, list[i].data, list[i].bytes);
            end = list[i].at + list[i].bytes;
        }
    }
    adamoe_remote_guard(link->inputs.data, end, bytes);
    return adamoe_ok();
}

/* NaN throughout: what is not written is seen, and so is what is written beside it. */
static adamoe_status write_output(remote_link *link, size_t bytes)
{
    ADAMOE_TRY(make_room(link, bytes + 2 * ADAMOE_REMOTE_GUARD, false, &link->outputs));
    adamoe_remote_guard(link->outputs.data, 0, bytes + 2 * ADAMOE_REMOTE_GUARD);
    return adamoe_ok();
}

static size_t describe_call(remote_link *link, const adamoe_prepared *prepared, uint32_t threads,
                            const adamoe_plan *plan, const array list[ARRAYS])
{
    char *text = link->message;
    size_t length = (size_t)snprintf(text, ADAMOE_REMOTE_MESSAGE,
                                     "{\"do\":\"experts\",\"object\":%" PRIu64
                                     ",\"threads\":%u,\"tokens\":%zu,\"inputs\":%zu,"
                                     "\"rows\":%zu,\"places\":%zu,\"y\":%d",
                                     prepared->number, threads, plan->tokens, plan->inputs, plan->rows,
                                     (size_t)plan->token_offset[plan->tokens], ADAMOE_REMOTE_GUARD);
    for (size_t i = 0; i < ARRAYS; ++i) {
        if (list[i].data != NULL) {
            length += (size_t)snprintf(text + length, ADAMOE_REMOTE_MESSAGE - length, ",\"%s\":%zu",
                                       list[i].name, list[i].at);
        }
    }
    if (link->known != link->generation) {
        length += (size_t)snprintf(text + length, ADAMOE_REMOTE_MESSAGE - length, ",\"regions\":[%zu,%zu]",
                                   link->inputs.bytes, link->outputs.bytes);
    }
    return length + (size_t)snprintf(text + length, ADAMOE_REMOTE_MESSAGE - length, "}");
}

/* The message, the answer, and what the process's own clock says. */
static adamoe_status cross(remote_link *link, const adamoe_prepared *prepared, size_t length, double *there)
{
    const int descriptor[] = {link->inputs.descriptor, link->outputs.descriptor};
    json_t *answer = NULL;
    const bool known = link->known == link->generation;
    ADAMOE_TRY(ask(link, "experts", length, descriptor, known ? 0 : 2, &answer));
    const json_t *seconds = json_object_get(answer, "seconds");
    const bool told = json_is_number(seconds) && json_number_value(seconds) >= 0.0;
    *there = json_number_value(seconds);
    json_decref(answer);
    link->known = prepared->generation;
    return told ? adamoe_ok()
                : adamoe_remote_refuse(&link->process, "experts", "the answer has no `seconds'");
}

static adamoe_status compute(remote_link *link, const adamoe_prepared *prepared, uint32_t threads,
                             const float *x, const adamoe_plan *plan, float *y, double *there)
{
    const size_t bytes = plan->tokens * prepared->hidden_size * sizeof *y, end = ADAMOE_REMOTE_GUARD + bytes;
    array list[ARRAYS];
    list_arrays(plan, x, prepared->hidden_size, list);
    ADAMOE_TRY(write_inputs(link, list));
    ADAMOE_TRY(write_output(link, bytes));
    ADAMOE_TRY(cross(link, prepared, describe_call(link, prepared, threads, plan, list), there));
    if (!adamoe_remote_is_intact(link->outputs.data, 0, ADAMOE_REMOTE_GUARD) ||
        !adamoe_remote_is_intact(link->outputs.data, end, end + ADAMOE_REMOTE_GUARD)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: it wrote outside of its output",
                            prepared->of->kernel.name);
    }
    memcpy(y, link->outputs.data + ADAMOE_REMOTE_GUARD, bytes);
    return adamoe_ok();
}

adamoe_status remote_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    const double start = adamoe_now();
    remote_kernel *k = prepared->of;
    double there = 0.0;
    (void)pthread_mutex_lock(&k->link->mutex);
    const adamoe_status status =
        is_there(prepared)
            ? compute(k->link, prepared, run->team->threads, x, plan, y, &there)
            : adamoe_error(ADAMOE_BAD_INPUT, "%s: its process has ended, and what was prepared with it",
                           k->kernel.name);
    if (status.code == ADAMOE_OK) {
        ++k->clock.calls;
        k->clock.there += there;
        k->clock.here += adamoe_now() - start;
    }
    (void)pthread_mutex_unlock(&k->link->mutex);
    return status;
}
