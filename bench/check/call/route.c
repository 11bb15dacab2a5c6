/*
 * One guarded call of a kernel: the router.
 */
#include "check/call/call.h"
#include "check/call/parts.h"

#include <string.h>

/* The arrays that a router writes. */
enum { ID, WEIGHT, PROBABILITY, PROBABILITIES, ARRAYS };

typedef struct route_buffers {
    adamoe_guarded own[ARRAYS], *array[ARRAYS];
} route_buffers;

static adamoe_status create_buffers(check_call *c, const adamoe_routing *sizes, route_buffers *b)
{
    const size_t selected = sizes->tokens * sizes->rule.top_k * sizeof(float);
    const size_t all = sizes->tokens * (sizes->experts + sizes->null_experts) * sizeof(float);
    for (size_t i = 0; i < ARRAYS; ++i) {
        ADAMOE_TRY(check_call_output(c, i == PROBABILITIES ? all : selected, sizeof(float), &b->own[i],
                                     &b->array[i]));
    }
    return adamoe_ok();
}

static void copy_back(check_call *c, const adamoe_guarded *buffer, void *out)
{
    if (!adamoe_guarded_intact(buffer)) {
        check_call_wrong(c, "route wrote outside of an array of the routing");
    }
    memcpy(out, buffer->data, buffer->bytes);
}

static adamoe_status route_guarded(check_call *c, const float *logits, route_buffers *b, adamoe_routing *out)
{
    const size_t all = out->tokens * (out->experts + out->null_experts);
    const void *guarded_logits = NULL;
    const adamoe_run run = {.team = &c->team.team};
    ADAMOE_TRY(check_call_input(c, logits, all * sizeof *logits, sizeof *logits, &guarded_logits));
    ADAMOE_TRY(create_buffers(c, out, b));
    adamoe_routing guarded = *out;
    guarded.id = (uint32_t *)(void *)b->array[ID]->data;
    guarded.weight = (float *)(void *)b->array[WEIGHT]->data;
    guarded.probability = (float *)(void *)b->array[PROBABILITY]->data;
    guarded.probabilities = (float *)(void *)b->array[PROBABILITIES]->data;
    guarded.logits = (float *)(uintptr_t)guarded_logits; /* read-only: a write to it is stopped */
    const adamoe_control_state before = adamoe_control_state_read();
    check_call_returned(c, "route", &before, c->manner->kernel->route(&run, &guarded));
    copy_back(c, b->array[ID], out->id);
    copy_back(c, b->array[WEIGHT], out->weight);
    copy_back(c, b->array[PROBABILITY], out->probability);
    copy_back(c, b->array[PROBABILITIES], out->probabilities);
    return adamoe_ok();
}

adamoe_status adamoe_call_route(const adamoe_call_manner *manner, const float *logits,
                                adamoe_routing *out_routing, adamoe_call_outcome *out)
{
    check_call c;
    route_buffers buffers = {.array = {NULL}};
    check_call_begin(&c, manner, out);
    const adamoe_status status = route_guarded(&c, logits, &buffers, out_routing);
    for (size_t i = 0; i < ARRAYS; ++i) {
        adamoe_guarded_free(&buffers.own[i]);
    }
    return check_call_end(&c, status);
}
