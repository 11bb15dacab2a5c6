/*
 * What several routers are made of. Arrays are row-major; everything is in double.
 */
#ifndef ADAMOE_ROUTERS_PARTS_H
#define ADAMOE_ROUTERS_PARTS_H

#include "routers/routers.h"

/* ------------------------------------------------------------------------------- parameters as table rows */

#define ADAMOE_COUNT(NAME, LOW, HIGH, STANDARD)                                                              \
    {                                                                                                        \
        .name = NAME, .kind = ADAMOE_PARAMETER_COUNT, .standard = STANDARD, .low = LOW, .high = HIGH         \
    }
#define ADAMOE_NUMBER(NAME, LOW, HIGH, STANDARD)                                                             \
    {                                                                                                        \
        .name = NAME, .kind = ADAMOE_PARAMETER_NUMBER, .standard = STANDARD, .low = LOW, .high = HIGH        \
    }
#define ADAMOE_POSITIVE(NAME, STANDARD)                                                                      \
    {                                                                                                        \
        .name = NAME, .kind = ADAMOE_PARAMETER_NUMBER, .standard = STANDARD, .low = 0.0, .low_open = true,   \
        .high = ADAMOE_ANY                                                                                   \
    }
#define ADAMOE_CHOICE(NAME, CHOICES)                                                                         \
    {                                                                                                        \
        .name = NAME, .kind = ADAMOE_PARAMETER_CHOICE, .choices = CHOICES                                    \
    }
#define ADAMOE_FLAG(NAME, STANDARD) ADAMOE_COUNT(NAME, 0.0, 1.0, STANDARD)
#define ADAMOE_ANY                  1.7976931348623157e308 /* DBL_MAX: any finite number */
#define ADAMOE_ANY_COUNT            4294967295.0           /* what a plan counts in */

/* A size that the tensors have anyway, and that has to agree with them where it is given. */
#define ADAMOE_SIZE(NAME)                                                                                    \
    {                                                                                                        \
        .name = NAME, .kind = ADAMOE_PARAMETER_COUNT, .need = ADAMOE_PARAMETER_OPTIONAL, .low = 0.0,         \
        .high = ADAMOE_ANY_COUNT                                                                             \
    }

/* A router's row, after its `parameters` and its `route`; at the end the names of its losses, or NULL. */
#define ADAMOE_ROUTER(NAME, SUMMARY, BACKWARD, ...)                                                          \
    ADAMOE_ROUTER_WITH(NAME, SUMMARY, NULL, BACKWARD, __VA_ARGS__)
#define ADAMOE_ROUTER_WITH(NAME, SUMMARY, AFTER, BACKWARD, ...)                                              \
    extern const adamoe_router adamoe_router_##NAME;                                                         \
    const adamoe_router adamoe_router_##NAME = {.name = #NAME,                                               \
                                                .summary = SUMMARY,                                          \
                                                .parameter = parameters,                                     \
                                                .parameters = sizeof parameters / sizeof *parameters,        \
                                                .route = route,                                              \
                                                .after = AFTER,                                              \
                                                .loss = {__VA_ARGS__},                                       \
                                                .backward = BACKWARD}

/* ------------------------------------------------------------------------------------------------- results */

/* An array of the result, all 0; `name` is NULL for scratch, which lives as long as the result. Errors:
 * memory. */
adamoe_status adamoe_routed_numbers(adamoe_routed *out, const char *name, size_t rows, size_t columns,
                                    double **data);
adamoe_status adamoe_routed_integers(adamoe_routed *out, const char *name, size_t rows, size_t columns,
                                     int64_t **data);

/* One number, and one whole number, under a name. Losses are "loss.NAME". */
adamoe_status adamoe_routed_number(adamoe_routed *out, const char *name, double value);
adamoe_status adamoe_routed_integer(adamoe_routed *out, const char *name, size_t value);

/* The places of D and B: slot[s, i] is the slot of token s at id i, or -1, and weight[s, i] its B there. Ids
 * below n are true experts, whose slots are counted from 0 without gap; what else a router chooses among has ids
 * from n on and no place in the plan. */
typedef struct adamoe_slots {
    size_t ids;
    int64_t *slot;  /* [tokens, ids] */
    double *weight; /* [tokens, ids] */
} adamoe_slots;

adamoe_status adamoe_slots_create(const adamoe_router_call *call, size_t ids, adamoe_routed *out,
                                  adamoe_slots *placement);

/* D, B and self_scale ([tokens] or NULL) as a plan: rows by expert, then by slot. Then what the plan is under
 * names: adamoe_routed_describe. */
adamoe_status adamoe_routed_plan(const adamoe_router_call *call, const adamoe_slots *placement,
                                 const double *self_scale, adamoe_routed *out);

/* index, dispatch, combine, dropped and self_scale, read off out->plan. Then combine and self_scale as they are
 * before the plan rounds them: weight is [tokens, ids], self_scale [tokens] where the plan has one. */
adamoe_status adamoe_routed_describe(adamoe_routed *out);
void adamoe_routed_exactly(adamoe_routed *out, const double *weight, size_t ids, const double *self_scale);

/* -------------------------------------------------------------------------------------------------- input */

/* The tensor `name`, which counts as taken. Errors: missing; another shape; ids where numbers are expected, or
 * the other way round. A `rows` of 0 takes any number of rows. The second and the third tell whether there is
 * one, and find it (or NULL) for its shape, without taking it; the last gives its numbers as a new array. */
adamoe_status adamoe_router_matrix_of(const adamoe_router_call *call, const char *name, adamoe_dtype dtype,
                                      size_t rows, size_t columns, adamoe_matrix *out);
bool adamoe_router_has(const adamoe_router_call *call, const char *name);
const adamoe_router_tensor *adamoe_router_tensor_find(const adamoe_router_call *call, const char *name);
adamoe_status adamoe_router_numbers(const adamoe_router_call *call, const char *name, size_t rows,
                                    size_t columns, adamoe_routed *out, double **numbers);

/* BAD_INPUT, "NAME: ..., but the tensors have ...", where a size is given and is another. */
adamoe_status adamoe_check_size(const char *name, double given, size_t actual);

/* Id `index` of a matrix of ids, within low .. high - 1. Errors: out of range, with the name. */
adamoe_status adamoe_router_id(const adamoe_matrix *ids, const char *name, size_t index, int64_t low,
                               int64_t high, int64_t *out);

/* l = W x: logits[s, i] = row i of `gate` · x[s] for i < n, then the rows of `gate2`, of which there are
 * *null_rows; NULL where the router has none. Where the call brings logits, they are those. The array is called
 * `name`, or "logits". Errors: as above, and a logit that float32 does not hold. */
adamoe_status adamoe_gate_products(const adamoe_router_call *call, const char *name, size_t *null_rows,
                                   adamoe_routed *out, double **logits);
adamoe_status adamoe_gate_logits(const adamoe_router_call *call, size_t *null_rows, adamoe_routed *out,
                                 double **logits);

/* The same without gate2, and "scores", the softmax of its rows. */
adamoe_status adamoe_gate_softmax(const adamoe_router_call *call, adamoe_routed *out, double **scores);

/* Errors: one of values[rows, columns] that float32 does not hold, by token and expert. */
adamoe_status adamoe_router_check_logits(const double *logits, size_t rows, size_t columns);

/* ---------------------------------------------------------------------------------------------- arithmetic */

/* The row maximum is subtracted first. */
void adamoe_softmax_rows(const double *logits, size_t rows, size_t columns, double *probability);

/* The k largest of value[0], value[stride], ... value[(count - 1) stride], in descending order; among equals the
 * lower index first. None of them is NaN, and k is at most count. The second one gives what comes behind `last`
 * in that order; behind -1 comes the largest. */
void adamoe_select_largest(const double *value, size_t count, size_t stride, size_t k, int64_t *chosen);
int64_t adamoe_next_largest(const double *value, size_t count, size_t stride, int64_t last);

/* BAD_INPUT, "top_k: K is not within 1 .. most". */
adamoe_status adamoe_check_top_k(size_t top_k, size_t most);

/* choice[tokens, K]: the K largest of each row of score[tokens, ids]. The array is called "choice". Errors: K out
 * of range, a score that is NaN. */
adamoe_status adamoe_choose(const adamoe_router_call *call, const double *score, size_t ids, size_t top_k,
                            adamoe_routed *out, int64_t **choice);

/* max(1, ceil(slots)), and max(1, ceil(m c / n)), in double, the product first. */
size_t adamoe_whole_slots(double slots);
size_t adamoe_capacity(double m, size_t n, double c);

/* place(choice, C) of reference/README.md section 12: for every k, the tokens in the order of order[tokens], or
 * ascending where that is NULL, take the next slot of their k-th choice, or are refused where capacity[id] are
 * taken; capacity is [ids]. Adds "rejected". The second one is the same with one capacity for all ids, and adds
 * "capacity". */
adamoe_status adamoe_place(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                           const int64_t *capacity, const int64_t *order, adamoe_routed *out,
                           adamoe_slots *placement);
adamoe_status adamoe_place_evenly(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                                  size_t capacity, const int64_t *order, adamoe_routed *out,
                                  adamoe_slots *placement);

/* "rejected": the choices that have no slot, by token. */
adamoe_status adamoe_list_refusals(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                                   const adamoe_slots *placement, adamoe_routed *out);

/* Without capacity: slot = number of lower tokens at that id. A choice of -1 is none. */
void adamoe_place_all(const adamoe_router_call *call, const int64_t *choice, size_t top_k,
                      adamoe_slots *placement);

/* Every expert takes its C best tokens of score[tokens, n], slot = rank; B = probability. Adds "capacity". */
adamoe_status adamoe_expert_choice(const adamoe_router_call *call, const double *score,
                                   const double *probability, double capacity_factor, adamoe_routed *out);

/* AdaMoE's rule (reference/README.md section 2), with the rows of gate2 as null experts or without any. */
adamoe_status adamoe_route_by_rule(const adamoe_router_call *call, bool with_null_experts, adamoe_rule rule,
                                   adamoe_routed *out);

/* Token choice with capacity, as both routers of the vision study have it: K largest of score[tokens, n], place,
 * B = probability, the losses gshard and importance. */
adamoe_status adamoe_token_choice(const adamoe_router_call *call, const double *score,
                                  const double *probability, size_t top_k, double capacity_factor,
                                  bool batch_priority, adamoe_routed *out);

/* count[i] of choices [tokens, K] that are id i. */
void adamoe_count_choices(const int64_t *choice, size_t choices, size_t ids, double *count);

/* Mean over rows of value[rows, columns] in column i. */
double adamoe_column_mean(const double *value, size_t rows, size_t columns, size_t i);

/* Sum over i of f_i P_i: f_i = count[i] / tokens, P_i the mean of probability[tokens, ids] in column i. */
double adamoe_balance(const double *count, const double *probability, size_t tokens, size_t ids);

/* Scores as adamoe_gate_softmax has them, and the transport plan of entropic optimal transport between tokens (mass
 * 1) and experts (mass S/n) after `iterations` of Sinkhorn's on the same logits, columns first, in the log domain.
 * plan is [tokens, n] and called "plan". Errors: a plan that overflows, or whose rows no longer sum to 1. */
adamoe_status adamoe_gate_sinkhorn(const adamoe_router_call *call, double epsilon, double iterations,
                                   adamoe_routed *out, double **scores, double **plan);

/* The regularised incomplete beta function I_x(a, b), 0 <= x <= 1, a and b positive. */
double adamoe_incomplete_beta(double x, double a, double b);

/* P(|cos| >= delta) for a fixed and a uniformly drawn direction in `hidden_size` dimensions. */
double adamoe_cosine_tail(double delta, size_t hidden_size);

/* What both routers of LocMoE have: experts that stand for groups of channels, and two losses. Their parameters,
 * whose places in a table are ALPHA, MU, ETA and NODES: */
#define ADAMOE_LOCALITY_PARAMETERS                                                                           \
    [ALPHA] = ADAMOE_NUMBER("alpha", 0.0, ADAMOE_ANY, 0.01),                                                 \
    [MU] = ADAMOE_NUMBER("mu", 0.0, ADAMOE_ANY, 0.01),                                                       \
    [ETA] = {.name = "eta",                                                                                  \
             .kind = ADAMOE_PARAMETER_NUMBER,                                                                \
             .standard = 0.1,                                                                                \
             .low = 0.0,                                                                                     \
             .low_open = true,                                                                               \
             .high = 1.0},                                                                                   \
    [NODES] = {.name = "nodes",                                                                              \
               .kind = ADAMOE_PARAMETER_COUNT,                                                               \
               .need = ADAMOE_PARAMETER_REQUIRED,                                                            \
               .low = 1.0,                                                                                   \
               .high = ADAMOE_ANY_COUNT}

typedef struct adamoe_locality {
    double alpha, mu, eta, nodes;
} adamoe_locality;

/* Channels of a group, d / n. Errors: n does not divide d. */
adamoe_status adamoe_channel_group(const adamoe_router_call *call, size_t *group);

/* loss.balance = alpha n sum of f P, with f of choice[tokens, K]; and loss.locality of probability[tokens, n], from
 * the ids of "router.home" (reference/README.md section 12.7). Errors: nodes that do not divide n; a home out of
 * range. Backward: dprobability += through both, which are the first and the second loss of the router's row. */
adamoe_status adamoe_locality_losses(const adamoe_router_call *call, adamoe_locality locality,
                                     const double *probability, const int64_t *choice, size_t top_k,
                                     adamoe_routed *out);
adamoe_status adamoe_locality_losses_backward(const adamoe_router_call *call, adamoe_locality locality,
                                              const double *probability, const int64_t *choice, size_t top_k,
                                              const adamoe_router_derivative *derivative,
                                              adamoe_routed *routed, double *dprobability);

/* ----------------------------------------------------------------------------------------------- gradients */

/* An array of the result that is there. */
const double *adamoe_routed_numbers_of(const adamoe_routed *routed, const char *name);
const int64_t *adamoe_routed_integers_of(const adamoe_routed *routed, const char *name);

/* Where the gradient of a tensor is wanted, its array; or NULL. */
double *adamoe_gradient_of(const adamoe_router_call *call, const adamoe_router_gradient *gradient,
                           const char *name);

/* dweight[s, e] += the derivative with respect to the combine weight of token s at expert e; rows are `ids` apart. */
void adamoe_combine_backward(const adamoe_routed *routed, const adamoe_router_derivative *derivative,
                             size_t ids, double *dweight);

/* Of adamoe_softmax_rows: dlogits += from dprobability, for probability [rows, columns]. */
void adamoe_softmax_rows_backward(const double *probability, const double *dprobability, size_t rows,
                                  size_t columns, double *dlogits);

/* Of factor * adamoe_balance: dprobability [tokens, ids] +=, with `count` a constant. */
void adamoe_balance_backward(const double *count, double factor, size_t tokens, size_t ids,
                             double *dprobability);

/* Of adamoe_gate_products, from dlogits [tokens, ids]: to the hidden states, the rows of the gate, and those of gate2
 * where ids is more than n. */
adamoe_status adamoe_gate_backward(const adamoe_router_call *call, const double *dlogits, size_t ids,
                                   const adamoe_router_gradient *gradient);

/* Of routers whose weights are the softmax of the gate's logits and that have no loss, as `backward` of a row; and of
 * adamoe_token_choice, with its losses. */
adamoe_status adamoe_gate_softmax_backward(const adamoe_router_call *call, adamoe_routed *routed,
                                           const adamoe_router_derivative *derivative,
                                           const adamoe_router_gradient *gradient);
adamoe_status adamoe_token_choice_backward(const adamoe_router_call *call, adamoe_routed *routed,
                                           const adamoe_router_derivative *derivative,
                                           const adamoe_router_gradient *gradient);

/* Of adamoe_route_by_rule, with the losses `switch` and `null_averaged`. */
adamoe_status adamoe_rule_backward(const adamoe_router_call *call, adamoe_rule rule, adamoe_routed *routed,
                                   const adamoe_router_derivative *derivative,
                                   const adamoe_router_gradient *gradient);

#endif
