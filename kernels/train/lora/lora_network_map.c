/*
 * One map with its LoRA experts. The frozen product is the kernel's; router and adapters are computed token
 * by token: the rows of A and B of a token's selected true experts are a list, over which one call takes all
 * products with x, and one call adds all rows to y. The gradients of A and B are products over the rows of an
 * expert.
 */
#include "train/lora/lora_network_parts.h"
#include "train/router_backward.h"

#include <string.h>

/* One map at work. */
typedef struct map_call {
    const adamoe_lora_experts *weights;
    network_map *map;
    const double *slope; /* [n + m] */
    const float *x, *dy;
    float *y, *dx;
} map_call;

static map_call call_of(const adamoe_lora_network *n, size_t layer, size_t map)
{
    const size_t index = layer * ADAMOE_MAPS + map;
    return (map_call){.weights = &n->parameters->model.map[index],
                      .map = &network_layer_at(n, layer)->map[map],
                      .slope = n->slope + index * network_all(n)};
}

static adamoe_listed_rows rows_of(const adamoe_matrix *matrix, const size_t *list)
{
    return (adamoe_listed_rows){matrix->data, list, matrix->columns};
}

/* ------------------------------------------------------------------------------------------------ forward */

static void logits_row(const adamoe_lora_network *n, size_t token, uint32_t thread, void *argument)
{
    (void)thread;
    const map_call *call = argument;
    const adamoe_matrix *router = &call->weights->router;
    const adamoe_listed_rows rows = rows_of(router, n->at.number);
    n->ops->scores(call->x + token * router->columns, &rows, 0, router->rows, router->columns, 1.0f,
                   call->map->routing.routing.logits + token * router->rows);
}

static adamoe_status route(adamoe_lora_network *n, map_call *call)
{
    const adamoe_lora_sizes *s = &n->sizes;
    network_map *map = call->map;
    ADAMOE_TRY(adamoe_routing_space_begin(&map->routing, n->tokens, s->experts, s->null_experts, s->rule));
    if (s->routed) {
        network_each_row(n, n->tokens, logits_row, call);
    } else {
        memset(map->routing.routing.logits, 0, n->tokens * sizeof(float));
    }
    const adamoe_run run = {.team = n->with.team};
    ADAMOE_TRY(adamoe_route(&run, &map->routing.routing));
    return adamoe_plan_build(n->with.team, &map->routing.routing, &map->plan);
}

/* The rows of A and B of a token's experts, ascending by expert as its places are; returns their number. */
static size_t list_rows(const adamoe_lora_network *n, const network_map *map, size_t token, size_t *list)
{
    const adamoe_routing *routing = &map->routing.routing;
    const size_t k = routing->rule.top_k, rank = n->sizes.rank;
    const uint32_t *id = routing->id + token * k;
    size_t count = 0;
    for (size_t from = 0;;) {
        size_t next = routing->experts;
        for (size_t j = 0; j < k; ++j) {
            next = id[j] >= from && id[j] < next ? id[j] : next;
        }
        if (next == routing->experts) {
            return count;
        }
        for (size_t i = 0; i < rank; ++i) {
            list[count++] = next * rank + i;
        }
        from = next + 1;
    }
}

/* y += sum over places of weight * scale * B A x */
static void adapt_row(const adamoe_lora_network *n, size_t token, uint32_t thread, void *argument)
{
    const map_call *call = argument;
    const adamoe_lora_experts *w = call->weights;
    const adamoe_plan *plan = &call->map->plan.plan;
    const size_t first = plan->token_offset[token], in = w->a.columns, out = w->b.columns;
    size_t *list = n->at.thread_rows + thread * n->thread_room;
    float *scaled = n->at.thread_floats + thread * n->thread_room;
    float *h = call->map->h + first * w->rank;
    const size_t count = list_rows(n, call->map, token, list);
    const adamoe_listed_rows a = rows_of(&w->a, list), b = rows_of(&w->b, list);
    n->ops->scores(call->x + token * in, &a, 0, count, in, 1.0f, h);
    for (size_t i = 0; i < count; ++i) {
        scaled[i] = plan->combine[first + i / w->rank] * (float)w->scale * h[i];
    }
    n->ops->mix(scaled, &b, 0, count, out, call->y + token * out);
    for (size_t place = first; place < plan->token_offset[token + 1]; ++place) {
        call->map->place[plan->token_row[place]] = (uint32_t)place;
    }
}

adamoe_status network_map_forward(adamoe_lora_network *n, size_t layer, size_t map, const float *x, float *y)
{
    const size_t index = layer * ADAMOE_MAPS + map;
    map_call call = call_of(n, layer, map);
    call.x = x;
    call.y = y;
    ADAMOE_TRY(network_multiply(n, n->frozen[index].forward, x, n->tokens, y));
    const adamoe_status status = route(n, &call);
    if (status.code != ADAMOE_OK) {
        return adamoe_error(status.code, "%s: %.400s", adamoe_map_names[map], status.message);
    }
    n->routing[index] = &call.map->routing.routing;
    network_each_row(n, n->tokens, adapt_row, &call);
    return adamoe_ok();
}

/* ----------------------------------------------------------------------------------------------- backward */

/* With u = B^T dy: dweight = scale h . u, dh = weight * scale * u; h becomes weight * scale * h. Returns
 * dweight. */
static float place_backward(size_t rank, float scale, float weight, const float *u, float *h, float *dh)
{
    double product = 0.0;
    for (size_t i = 0; i < rank; ++i) {
        product += (double)h[i] * (double)u[i];
        dh[i] = weight * scale * u[i];
        h[i] *= weight * scale;
    }
    return (float)((double)scale * product);
}

/* dx += A^T dh, and through the router. */
static void adapt_backward_row(const adamoe_lora_network *n, size_t token, uint32_t thread, void *argument)
{
    const map_call *call = argument;
    const adamoe_lora_experts *w = call->weights;
    const adamoe_plan *plan = &call->map->plan.plan;
    const size_t first = plan->token_offset[token], places = plan->token_offset[token + 1] - first;
    const size_t in = w->a.columns, out = w->b.columns, rank = w->rank;
    size_t *list = n->at.thread_rows + thread * n->thread_room;
    float *u = n->at.thread_floats + thread * n->thread_room, *dx = call->dx + token * in;
    float *h = call->map->h + first * rank, *dh = n->at.dh + first * rank;
    const size_t count = list_rows(n, call->map, token, list);
    const adamoe_listed_rows a = rows_of(&w->a, list), b = rows_of(&w->b, list);
    n->ops->scores(call->dy + token * out, &b, 0, count, out, 1.0f, u);
    for (size_t p = 0; p < places; ++p) { /* u[p] has been read when dweight takes its place */
        const float dweight = place_backward(rank, (float)w->scale, plan->combine[first + p], u + p * rank,
                                             h + p * rank, dh + p * rank);
        u[p] = dweight;
    }
    n->ops->mix(dh, &a, 0, count, in, dx);
    if (n->sizes.routed) {
        float *dlogits = n->at.dlogits + token * network_all(n);
        const adamoe_listed_rows router = rows_of(&w->router, n->at.number);
        adamoe_router_token_backward(&call->map->routing.routing, token, u, 0.0, call->slope, dlogits);
        n->ops->mix(dlogits, &router, 0, w->router.rows, in, dx);
    }
}

/* c [rows, columns] = left^T right over the listed rows of both. */
static adamoe_gemm outer(const float *left, const uint32_t *left_list, size_t rows, const float *right,
                         const uint32_t *right_list, size_t columns, size_t depth, float *c)
{
    return (adamoe_gemm){.rows = rows,
                         .columns = columns,
                         .depth = depth,
                         .a = {left, rows, left_list, true},
                         .b = {right, columns, right_list, false},
                         .c = c,
                         .stride = columns};
}

static void weights_backward(adamoe_lora_network *n, const map_call *call, const adamoe_lora_place *at)
{
    const adamoe_lora_experts *w = call->weights;
    const adamoe_plan *plan = &call->map->plan.plan;
    const size_t in = w->a.columns, out = w->b.columns, rank = w->rank;
    size_t count = 0;
    for (size_t e = 0; e < w->experts; ++e) {
        const size_t first = plan->offset[e], rows = plan->offset[e + 1] - first;
        const uint32_t *place = call->map->place + first, *token = plan->input + first;
        n->gemm[count++] =
            outer(n->at.dh, place, rank, call->x, token, in, rows, n->gradient + at->a + e * rank * in);
        n->gemm[count++] = outer(call->map->h, place, rank, call->dy, token, out, rows,
                                 n->gradient + at->b + e * rank * out);
    }
    if (n->sizes.routed) {
        n->gemm[count++] = outer(n->at.dlogits, NULL, w->router.rows, call->x, NULL, in, n->tokens,
                                 n->gradient + at->router);
    }
    adamoe_gemm_run(n->gemm_space, n->gemm, count);
}

adamoe_status network_map_backward(adamoe_lora_network *n, size_t layer, size_t map, const float *x,
                                   const float *dy, float *dx)
{
    const size_t index = layer * ADAMOE_MAPS + map;
    map_call call = call_of(n, layer, map);
    call.x = x;
    call.dy = dy;
    call.dx = dx;
    ADAMOE_TRY(network_multiply(n, n->frozen[index].backward, dy, n->tokens, dx));
    network_each_row(n, n->tokens, adapt_backward_row, &call);
    weights_backward(n, &call, &n->parameters->place[index]);
    return adamoe_ok();
}
