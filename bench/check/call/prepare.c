/*
 * Guarded calls of prepare and release, of a layer or of a matrix: what they are given by address is closed when they
 * have returned, and memory is refused. What all calls share is in check/call/parts.h.
 */
#include "check/call/call.h"
#include "check/call/parts.h"

#include <string.h>

/* What prepare and prepare_matrix are given by address, in pages of their own. */
typedef struct given {
    adamoe_layer layer;
    adamoe_matrix matrix;
    adamoe_placement placement;
    adamoe_expert expert[]; /* [layer.experts], and behind them thread_node */
} given;

/* One of `layer` and `matrix` may be NULL. Errors: memory. */
static adamoe_status give(check_call *c, const adamoe_layer *layer, const adamoe_matrix *matrix, given **out)
{
    const adamoe_placement *placement = &c->manner->placement;
    const size_t experts = layer == NULL ? 0 : layer->experts;
    const size_t nodes = placement->thread_node == NULL ? 0 : placement->threads;
    const size_t bytes = sizeof(given) + experts * sizeof(adamoe_expert) + nodes * sizeof(uint32_t);
    ADAMOE_TRY(adamoe_guarded_create(bytes, _Alignof(given), ADAMOE_GUARD_BACK, &c->given));
    given *g = (given *)(void *)c->given.data;
    uint32_t *thread_node = (uint32_t *)(void *)(g->expert + experts);
    g->placement = *placement;
    if (nodes > 0) {
        memcpy(thread_node, placement->thread_node, nodes * sizeof *thread_node);
        g->placement.thread_node = thread_node;
    }
    if (layer != NULL) {
        g->layer = *layer;
        memcpy(g->expert, layer->expert, experts * sizeof *g->expert);
        g->layer.expert = g->expert;
    }
    if (matrix != NULL) {
        g->matrix = *matrix;
    }
    *out = g;
    return adamoe_ok();
}

/* prepare or prepare_matrix has returned: what it was given is its caller's again. False where there is nothing to
 * go on with. */
static bool prepared_well(check_call *c, const char *function, const adamoe_control_state *before,
                          adamoe_status status, const void *prepared)
{
    adamoe_guarded_close(&c->given);
    check_call_returned(c, function, before, status);
    if (status.code == ADAMOE_OK && prepared == NULL) {
        check_call_wrong(c, "%s reported success and gave nothing", function);
    }
    return status.code == ADAMOE_OK && prepared != NULL;
}

adamoe_status check_call_prepare(check_call *c, const adamoe_layer *layer, adamoe_prepared **out)
{
    adamoe_prepared *prepared = NULL;
    given *g = NULL;
    *out = NULL;
    ADAMOE_TRY(give(c, layer, NULL, &g));
    const adamoe_control_state before = adamoe_control_state_read();
    const adamoe_status status =
        c->manner->kernel->prepare(&c->host.host, &g->layer, &g->placement, &prepared);
    *out = prepared_well(c, "prepare", &before, status, prepared) ? prepared : NULL;
    return adamoe_ok();
}

adamoe_status check_call_prepare_matrix(check_call *c, const adamoe_matrix *matrix,
                                        adamoe_prepared_matrix **out)
{
    adamoe_prepared_matrix *prepared = NULL;
    given *g = NULL;
    *out = NULL;
    ADAMOE_TRY(give(c, NULL, matrix, &g));
    const adamoe_control_state before = adamoe_control_state_read();
    const adamoe_status status =
        c->manner->kernel->prepare_matrix(&c->host.host, &g->matrix, &g->placement, &prepared);
    *out = prepared_well(c, "prepare_matrix", &before, status, prepared) ? prepared : NULL;
    return adamoe_ok();
}

void check_call_release(check_call *c, adamoe_prepared *prepared)
{
    const adamoe_control_state before = adamoe_control_state_read();
    c->manner->kernel->release(prepared);
    c->manner->kernel->release(NULL);
    check_call_returned(c, "release", &before, adamoe_ok());
}

void check_call_release_matrix(check_call *c, adamoe_prepared_matrix *prepared)
{
    const adamoe_control_state before = adamoe_control_state_read();
    c->manner->kernel->release_matrix(prepared);
    c->manner->kernel->release_matrix(NULL);
    check_call_returned(c, "release_matrix", &before, adamoe_ok());
}

/* ---------------------------------------------------------------------------------------- refused memory */

/* One attempt with the n-th allocation refused; false in *again where there were no more than n. */
static adamoe_status prepare_refused(check_call *c, const adamoe_layer *layer, const adamoe_matrix *matrix,
                                     size_t n, bool *again)
{
    const adamoe_kernel *kernel = c->manner->kernel;
    adamoe_prepared *experts = NULL;
    adamoe_prepared_matrix *product = NULL;
    given *g = NULL;
    ADAMOE_TRY(give(c, layer, matrix, &g));
    c->host.refused = n;
    const adamoe_control_state before = adamoe_control_state_read();
    const adamoe_status status =
        layer != NULL ? kernel->prepare(&c->host.host, &g->layer, &g->placement, &experts)
                      : kernel->prepare_matrix(&c->host.host, &g->matrix, &g->placement, &product);
    *again = c->host.asked > n;
    const bool expected = *again && status.code == ADAMOE_ENVIRONMENT;
    const void *prepared = layer != NULL ? (const void *)experts : (const void *)product;
    if (prepared_well(c, "prepare", &before, expected ? adamoe_ok() : status, expected ? c : prepared)) {
        /* A kernel that found another way is prepared. */
        if (!expected && layer != NULL) {
            kernel->release(experts);
        } else if (!expected) {
            kernel->release_matrix(product);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_call_refused(const adamoe_call_manner *manner, const adamoe_layer *layer,
                                  const adamoe_matrix *matrix, adamoe_call_outcome *out)
{
    bool again = true;
    for (size_t n = 0; again; ++n) {
        check_call c;
        check_call_begin(&c, manner, out);
        ADAMOE_TRY(check_call_end(&c, prepare_refused(&c, layer, matrix, n, &again)));
        if (out->end != ADAMOE_CALL_DONE) {
            const adamoe_call_outcome found = *out;
            (void)snprintf(out->detail, sizeof out->detail, "allocation %zu of prepare refused: %.250s",
                           n + 1, found.detail);
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}
