/*
 * See model_router.h.
 */
#include "routers/model/model_router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------------------- what routers need */

typedef enum router_state {
    STATE_NONE,
    STATE_BIAS,   /* router.bias, and bias_next */
    STATE_LAMBDA, /* the parameter lambda, and loss.lambda_next */
} router_state;

/* Factors of the losses, of alpha and of lambda where `times_lambda`. A router that is not listed has no state, a
 * gate, and losses with factors of their own. */
typedef struct router_facts {
    const char *router;
    router_state state;
    bool no_gate;
    double of_alpha[ADAMOE_ROUTER_LOSSES]; /* where one of them is not 0 */
    const char *missing;                   /* what a model has not, or NULL */
} router_facts;

static const router_facts facts[] = {
    {.router = "adamoe", .of_alpha = {0.0, 1.0}},
    {.router = "top_k", .of_alpha = {1.0, 0.0}},
    {.router = "softmax_token_choice", .of_alpha = {0.5, 0.5}},
    {.router = "sinkhorn_token_choice", .of_alpha = {0.5, 0.5}},
    {.router = "soft_moe", .no_gate = true, .missing = "its slots are weights (router.phi)"},
    {.router = "locmoe", .no_gate = true},
    {.router = "locmoe_plus", .no_gate = true},
    {.router = "memoe", .missing = "its anchors and its frozen base come from elsewhere"},
    {.router = "loss_free", .state = STATE_BIAS},
    {.router = "longcat", .state = STATE_BIAS},
    {.router = "remoe", .state = STATE_LAMBDA},
};

static const router_facts *facts_of(const adamoe_router *router)
{
    static const router_facts plain = {.state = STATE_NONE};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; ++i) {
        if (strcmp(facts[i].router, router->name) == 0) {
            return &facts[i];
        }
    }
    return &plain;
}

/* The place of a parameter, or ADAMOE_ROUTER_PARAMETERS. */
static size_t place_of(const adamoe_router *router, const char *name)
{
    for (size_t i = 0; i < router->parameters; ++i) {
        if (strcmp(router->parameter[i].name, name) == 0) {
            return i;
        }
    }
    return ADAMOE_ROUTER_PARAMETERS;
}

static double value_of(const adamoe_router *router, const double *value, const char *name, double otherwise)
{
    const size_t place = place_of(router, name);
    return place == ADAMOE_ROUTER_PARAMETERS || isnan(value[place]) ? otherwise : value[place];
}

bool adamoe_router_is_causal(const adamoe_router *router, const double value[ADAMOE_ROUTER_PARAMETERS])
{
    return isnan(value_of(router, value, "capacity_factor", NAN));
}

bool adamoe_router_has_gate(const adamoe_router *router)
{
    return !facts_of(router)->no_gate;
}

/* ----------------------------------------------------------------------------------------------- the object */

adamoe_status adamoe_model_router_create(const adamoe_router *router,
                                         const double value[ADAMOE_ROUTER_PARAMETERS], size_t layers,
                                         size_t experts, size_t null_rows, adamoe_model_router *out)
{
    const router_facts *f = facts_of(router);
    *out = (adamoe_model_router){.router = router, .layers = layers};
    if (f->missing != NULL || value_of(router, value, "constant", 0.0) > 0.0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "router %s: a model has not what it needs: %s", router->name,
                            f->missing != NULL ? f->missing : "constant experts have vectors of their own");
    }
    memcpy(out->value, value, sizeof out->value);
    out->states = f->state == STATE_BIAS ? experts + null_rows : f->state == STATE_LAMBDA ? 1 : 0;
    out->state = calloc(layers * out->states + 1, sizeof *out->state);
    if (out->state == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    for (size_t layer = 0; layer < layers && f->state == STATE_LAMBDA; ++layer) {
        out->state[layer] = (float)value_of(router, value, "lambda", 0.0);
    }
    return adamoe_ok();
}

void adamoe_model_router_free(adamoe_model_router *model_router)
{
    free(model_router->state);
    *model_router = (adamoe_model_router){.router = NULL};
}

/* -------------------------------------------------------------------------------------------------- a batch */

static void add_tensor(adamoe_routed_layer *out, const char *name, adamoe_matrix matrix)
{
    out->tensor[out->call.tensors++] = (adamoe_router_tensor){.name = name, .matrix = matrix};
}

static adamoe_status add_homes(adamoe_routed_layer *out, double nodes)
{
    const size_t S = out->call.tokens;
    out->home = calloc(S + 1, sizeof *out->home);
    if (out->home == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "router: out of memory");
    }
    for (size_t s = 0; s < S; ++s) {
        out->home[s] = (int64_t)(s * (size_t)nodes / S);
    }
    add_tensor(out, "router.home", (adamoe_matrix){out->home, ADAMOE_I64, 1, S});
    return adamoe_ok();
}

adamoe_status adamoe_model_router_run(const adamoe_model_router *m, size_t layer, const adamoe_layer *moe,
                                      const float *x, size_t tokens, const float *logits,
                                      adamoe_routed_layer *out)
{
    const router_facts *f = facts_of(m->router);
    const double nodes = value_of(m->router, m->value, "nodes", 0.0);
    *out = (adamoe_routed_layer){.call = {.tokens = tokens,
                                          .hidden_size = moe->hidden_size,
                                          .experts = moe->experts,
                                          .hidden_states = x,
                                          .logits = f->no_gate ? NULL : logits}};
    out->call.tensor = out->tensor;
    memcpy(out->call.value, m->value, sizeof out->call.value);
    add_tensor(out, "block_sparse_moe.gate.weight", moe->gate);
    add_tensor(out, "block_sparse_moe.gate2.weight", moe->gate2);
    if (f->state == STATE_BIAS) {
        add_tensor(out, "router.bias",
                   (adamoe_matrix){m->state + layer * m->states, ADAMOE_F32, 1, m->states});
    }
    if (f->state == STATE_LAMBDA) {
        out->call.value[place_of(m->router, "lambda")] = (double)m->state[layer];
    }
    adamoe_status status = nodes > 0.0 ? add_homes(out, nodes) : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status = adamoe_router_run(m->router, &out->call, &out->routed);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_routed_layer_free(out);
        return adamoe_error(status.code, "router %s: %.400s", m->router->name, status.message);
    }
    return status;
}

void adamoe_routed_layer_free(adamoe_routed_layer *routed)
{
    free(routed->home);
    adamoe_routed_free(&routed->routed);
    *routed = (adamoe_routed_layer){.home = NULL};
}

void adamoe_model_router_advance(adamoe_model_router *m, size_t layer, const adamoe_routed *routed)
{
    const router_state state = facts_of(m->router)->state;
    const adamoe_routed_array *next =
        state == STATE_NONE
            ? NULL
            : adamoe_routed_find(routed, state == STATE_BIAS ? "bias_next" : "loss.lambda_next");
    for (size_t i = 0; next != NULL && i < m->states; ++i) {
        m->state[layer * m->states + i] = (float)next->number[i];
    }
}

/* --------------------------------------------------------------------------------------------------- losses */

void adamoe_model_router_loss_weights(const adamoe_model_router *m, size_t layer, double alpha,
                                      double weight[ADAMOE_ROUTER_LOSSES])
{
    const router_facts *f = facts_of(m->router);
    const bool by_alpha = f->of_alpha[0] != 0.0 || f->of_alpha[1] != 0.0;
    const double own = f->state == STATE_LAMBDA ? (double)m->state[layer] : 1.0;
    for (size_t i = 0; i < ADAMOE_ROUTER_LOSSES; ++i) {
        weight[i] = by_alpha ? alpha * f->of_alpha[i] : own;
    }
}

double adamoe_model_router_loss(const adamoe_model_router *m, const adamoe_routed *routed,
                                const double weight[ADAMOE_ROUTER_LOSSES])
{
    double sum = 0.0;
    for (size_t i = 0; i < ADAMOE_ROUTER_LOSSES && m->router->loss[i] != NULL; ++i) {
        char name[64];
        (void)snprintf(name, sizeof name, "loss.%s", m->router->loss[i]);
        sum += weight[i] * adamoe_routed_find(routed, name)->number[0];
    }
    return sum;
}
