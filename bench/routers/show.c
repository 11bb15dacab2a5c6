/*
 * The table, for a person and as JSON.
 */
#include "program/json_output.h"
#include "routers/side_by_side.h"

#include <math.h>
#include <stdio.h>

void adamoe_print_routers(const adamoe_subject *subject, const adamoe_kernel *kernel,
                          const adamoe_router_result *results, size_t count)
{
    const adamoe_layer *layer = &subject->layer;
    printf("%s: hidden size %zu, intermediate size %zu, %zu experts, about %zu for a token; kernel %s\n",
           subject->text, layer->hidden_size, layer->intermediate_size, layer->experts, subject->tokens.top_k,
           kernel->name);
    printf("%-23s %13s %9s %8s %7s %8s %5s %10s %9s %6s %5s %7s\n", "", "experts/token", "MFLOP", "router",
           "dropped", "largest", "idle", "routing", "layer", "share", "other", "error");
    for (size_t i = 0; i < count; ++i) {
        const adamoe_router_result *r = &results[i];
        if (r->status.code != ADAMOE_OK) {
            printf("%-23s cannot: %s\n", r->router->name, r->status.message);
            continue;
        }
        printf("%-23s %6.3f ± %4.2f %9.4g %8.3g %7zu %7.2fx %5zu %7.3f ms %6.3f ms %5.1f%% %5zu %7.3f\n",
               r->router->name, r->load, r->deviation, r->expert_flops * 1e-6, r->router_flops * 1e-6,
               r->dropped, r->largest_over_mean, r->idle_experts, r->routing_seconds * 1e3,
               r->layer_seconds * 1e3, 100.0 * r->routing_seconds / (r->routing_seconds + r->layer_seconds),
               r->otherwise, r->error);
    }
    printf(
        "MFLOP and router: for a token, as executed. largest: tokens of the busiest expert over the mean.\n"
        "routing: logits, and the slots of soft_moe, by the kernel where it has a float32 product, and the\n"
        "definition's rule on one thread; layer: the kernel's experts, and the frozen base of memoe. other:\n"
        "tokens that get other experts by logits in double. error: from the mixture of all experts, root mean\n"
        "square, relative.\n");
    printf("\nRows that cross between nodes (each node has a run of tokens and of experts):\n%-23s", "");
    for (size_t node = 0; node < ADAMOE_NODE_COUNTS; ++node) {
        printf(" %7zu nodes", (size_t)2 << node);
    }
    putchar('\n');
    for (size_t i = 0; i < count; ++i) {
        if (results[i].status.code != ADAMOE_OK || isnan(results[i].crossing[0])) {
            continue;
        }
        printf("%-23s", results[i].router->name);
        for (size_t node = 0; node < ADAMOE_NODE_COUNTS; ++node) {
            if (isnan(results[i].crossing[node])) {
                printf(" %13s", "-");
            } else {
                printf(" %8.0f %3.0f%%", results[i].crossing[node],
                       100.0 * results[i].crossing[node] / fmax(1.0, (double)results[i].rows));
            }
        }
        putchar('\n');
    }
}

static json_t *nodes_json(const adamoe_router_result *r, size_t hidden_size)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < ADAMOE_NODE_COUNTS; ++i) {
        if (!isnan(r->crossing[i])) {
            json_array_append_new(nodes, json_pack("{s:I,s:f,s:f}", "nodes", (json_int_t)((size_t)2 << i),
                                                   "crossing_rows", r->crossing[i], "all_to_all_bytes",
                                                   adamoe_crossing_bytes(r, i, hidden_size)));
        }
    }
    return nodes;
}

static json_t *result_json(const adamoe_router_result *r, size_t hidden_size)
{
    if (r->status.code != ADAMOE_OK) {
        return json_pack("{s:s,s:s}", "router", r->router->name, "refused", r->status.message);
    }
    json_t *histogram = json_array();
    for (size_t i = 0; i <= r->experts; ++i) {
        json_array_append_new(histogram, adamoe_json_number(r->histogram[i]));
    }
    return json_pack("{s:s,s:f,s:f,s:o,s:f,s:f,s:I,s:I,s:I,s:f,s:I,s:b,s:I,s:f,s:f,s:f,s:f,s:f,s:o}",
                     "router", r->router->name, "load", r->load, "load_deviation", r->deviation,
                     "true_expert_histogram", histogram, "expert_flops_per_token", r->expert_flops,
                     "router_flops_per_token", r->router_flops, "rows", (json_int_t)r->rows, "dropped",
                     (json_int_t)r->dropped, "rejected", (json_int_t)r->rejected, "largest_over_mean",
                     r->largest_over_mean, "idle_experts", (json_int_t)r->idle_experts, "kernel_made_logits",
                     (int)r->kernel_made_logits, "tokens_routed_otherwise", (json_int_t)r->otherwise,
                     "largest_logit_difference", r->logit_difference, "routing_seconds", r->routing_seconds,
                     "layer_seconds", r->layer_seconds, "routing_share",
                     r->routing_seconds / (r->routing_seconds + r->layer_seconds), "dense_mixture_error",
                     r->error, "nodes", nodes_json(r, hidden_size));
}

json_t *adamoe_routers_json(const adamoe_subject *subject, const adamoe_router_result *results, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; ++i) {
        json_array_append_new(list, result_json(&results[i], subject->layer.hidden_size));
    }
    return list;
}
