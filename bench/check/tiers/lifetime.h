/*
 * What the two properties of objects share: calls of a batch and parts of it, with what a fresh object gives for each.
 * Not for others than the tiers.
 */
#ifndef ADAMOE_CHECK_TIERS_LIFETIME_H
#define ADAMOE_CHECK_TIERS_LIFETIME_H

#include "check/call/repeated.h"
#include "check/tiers/data.h"
#include "check/tiers/judge.h"

/* One call: of a plan, or of a dense product where `plan` is NULL. */
typedef struct adamoe_lifetime_call {
    adamoe_plan *plan;
    float *x;
    size_t tokens;   /* or rows of x */
    float *expected; /* what a fresh object gives */
    float *other;    /* and one of the other layer or matrix; of several objects alone */
    /* [other], around what that object gave; empty where the kernel guarantees its bits */
    adamoe_yardstick yardstick[2];
} adamoe_lifetime_call;

#define ADAMOE_MOST_LIFETIME_CALLS 48

typedef struct adamoe_lifetime {
    const adamoe_checking *k;
    const adamoe_case_data *data; /* its layer, or its matrix where it has no plan */
    adamoe_layer other_layer;     /* the experts in reverse */
    adamoe_matrix other_matrix;   /* the first half of the rows */
    adamoe_expert *reversed;
    size_t x_width, y_width, other_width;
    adamoe_lifetime_call call[ADAMOE_MOST_LIFETIME_CALLS];
    size_t calls;
    float *got; /* [tokens, y_width] */
} adamoe_lifetime;

/* Calls of several sizes, of one for ADAMOE_PROPERTY_SEVERAL_OBJECTS; of each size some differ in one respect alone: x, its last element, the experts of the plan,
 * its tokens, its weights. False in *go_on where the kernel fails, which then is the result. `out` is to be freed in any
 * case. Errors: memory. */
adamoe_status adamoe_lifetime_create(const adamoe_checking *k, const adamoe_case_data *data,
                                     adamoe_lifetime *out, bool *go_on);
void adamoe_lifetime_free(adamoe_lifetime *t);

/* Call i by an object of its own, of the other layer or matrix where `other`. False in *go_on where the kernel fails,
 * which then is the result. Errors: memory. */
adamoe_status adamoe_lifetime_fresh(const adamoe_lifetime *t, size_t i, bool other, float *y, bool *go_on);

/* An object, NULL where the kernel fails, which then is the outcome. Errors: memory. */
adamoe_status adamoe_lifetime_object(const adamoe_lifetime *t, bool other, const adamoe_call_manner *manner,
                                     adamoe_call_outcome *outcome, adamoe_repeated **out);

/* Call i. False where the kernel fails. */
bool adamoe_lifetime_call_object(const adamoe_lifetime *t, adamoe_repeated *object, size_t i, float *y);

/* The properties ADAMOE_PROPERTY_REPEATED_CALLS and ADAMOE_PROPERTY_SEVERAL_OBJECTS, of the layer or the matrix. Errors:
 * memory. */
adamoe_status adamoe_check_objects(const adamoe_checking *k, const adamoe_case_data *data);

/* By bits if the kernel guarantees them from run to run, by twice the bound otherwise; `what` says of what. */
bool adamoe_lifetime_judge(const adamoe_lifetime *t, size_t i, bool other, const float *y, const char *what);

/* Whether these are other bits than are guaranteed, or beyond twice the bound where none are. For threads that must not
 * write the result. */
bool adamoe_lifetime_differs(const adamoe_lifetime *t, size_t i, bool other, const float *y);

#endif
