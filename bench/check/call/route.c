/*
 * One guarded call of a kernel: the router.
 */
#include "check/call/call.h"
#include "check/call/parts.h"

#include <string.h>

/* The arrays that a router writes. */
typedef struct route_buffers {
    adamoe_guarded id, weight, probability, probabilities;
} route_buffers;

static void free_buffers(route_buffers *b)
{
    adamoe_guarded_free(&b->id);
    adamoe_guarded_free(&b->weight);
    adamoe_guarded_free(&b->probability);
    adamoe_guarded_free(&b->probabilities);
}

static adamoe_status create_buffers(const adamoe_routing *sizes, adamoe_guard_end end, route_buffers *b)
{
    const size_t selected = sizes->tokens * sizes->rule.top_k * sizeof(float);
    const size_t all = sizes->tokens * (sizes->experts + sizes->null_experts) * sizeof(float);
    ADAMOE_TRY(adamoe_guarded_create(selected, sizeof(float), end, &b->id));
    ADAMOE_TRY(adamoe_guarded_create(selected, sizeof(float), end, &b->weight));
    ADAMOE_TRY(adamoe_guarded_create(selected, sizeof(float), end, &b->probability));
    return adamoe_guarded_create(all, sizeof(float), end, &b->probabilities);
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
    ADAMOE_TRY(create_buffers(out, c->manner->end, b));
    adamoe_routing guarded = *out;
    guarded.id = (uint32_t *)(void *)b->id.data;
    guarded.weight = (float *)(void *)b->weight.data;
    guarded.probability = (float *)(void *)b->probability.data;
    guarded.probabilities = (float *)(void *)b->probabilities.data;
    guarded.logits = (float *)(uintptr_t)guarded_logits; /* read-only: a write to it is stopped */
    const adamoe_control_state before = adamoe_control_state_read();
    check_call_returned(c, "route", &before, c->manner->kernel->route(&run, &guarded));
    copy_back(c, &b->id, out->id);
    copy_back(c, &b->weight, out->weight);
    copy_back(c, &b->probability, out->probability);
    copy_back(c, &b->probabilities, out->probabilities);
    return adamoe_ok();
}

adamoe_status adamoe_call_route(const adamoe_call_manner *manner, const float *logits,
                                adamoe_routing *out_routing, adamoe_call_outcome *out)
{
    check_call c;
    route_buffers buffers = {{0}, {0}, {0}, {0}};
    check_call_begin(&c, manner, out);
    const adamoe_status status = route_guarded(&c, logits, &buffers, out_routing);
    free_buffers(&buffers);
    return check_call_end(&c, status);
}
