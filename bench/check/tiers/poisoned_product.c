/*
 * The property `poisoned-token` of a dense product: a row of x that is not finite leaves no finite number in its own row
 * of y, and all others as they were.
 */
#include "check/tiers/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the kernel gave for x, and for x with a row in the middle that is poisoned. */
typedef struct product_trial {
    const adamoe_checking *k;
    const adamoe_case_data *data;
    adamoe_yardstick yardstick; /* its expected is `expected` */
    float *x;                   /* [tokens, columns] poisoned */
    float *expected, *got;      /* [tokens, rows] */
} product_trial;

/* By bits if the kernel guarantees them, by twice the bound otherwise. */
static bool judge_product(const product_trial *t)
{
    const uint32_t wanted = ADAMOE_SAME_BITS_BATCH | ADAMOE_SAME_BITS_RUNS;
    const adamoe_case *c = t->k->c;
    return (t->k->kernel->guarantees & wanted) == wanted
               ? adamoe_check_same_bits(t->k, t->got, t->expected, c->tokens * c->rows, c->rows,
                                        "beside a row that is not finite, and beside one that is")
               : adamoe_check_judge(t->k, &t->yardstick, t->got, c->rows, 2.0);
}

static adamoe_status poison_product(const product_trial *t, size_t poison, bool *go_on)
{
    const adamoe_case *c = t->k->c;
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    const size_t chosen = c->tokens / 2;
    float *y = t->got + chosen * c->rows;
    adamoe_call_outcome outcome;
    char what[120];
    memcpy(t->x, t->data->x, c->tokens * c->columns * sizeof *t->x);
    adamoe_poison_row(poison, t->x + chosen * c->columns, c->columns);
    ADAMOE_TRY(adamoe_call_multiply(&manner, &t->data->matrix, t->x, c->tokens, t->got, &outcome));
    (void)snprintf(what, sizeof what, "y of a row that is %s", adamoe_poison_names[poison]);
    *go_on = adamoe_check_called(t->k, &outcome) &&
             (t->k->kernel->x == ADAMOE_INT8 ||
              adamoe_check_nowhere_finite(t->k, y, chosen, c->rows, c->rows, what));
    memcpy(y, t->expected + chosen * c->rows, c->rows * sizeof *y);
    *go_on = *go_on && judge_product(t);
    return adamoe_ok();
}

static adamoe_status run_product(product_trial *t)
{
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    adamoe_call_outcome outcome;
    ADAMOE_TRY(
        adamoe_call_multiply(&manner, &t->data->matrix, t->data->x, t->k->c->tokens, t->expected, &outcome));
    bool go_on = adamoe_check_called(t->k, &outcome);
    ADAMOE_TRY(adamoe_matrix_yardstick(&t->data->matrix, adamoe_kernel_arithmetic(t->k->kernel), t->data->x,
                                       t->k->c->tokens, &t->yardstick));
    for (size_t i = 0; i < t->yardstick.count; ++i) {
        t->yardstick.expected[i] = (double)t->expected[i];
    }
    for (size_t i = 0; i < ADAMOE_POISONS && go_on; ++i) {
        ADAMOE_TRY(poison_product(t, i, &go_on));
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_poisoned_product(const adamoe_checking *k, const adamoe_case_data *data)
{
    const size_t outputs = k->c->tokens * k->c->rows;
    product_trial t = {.k = k, .data = data};
    adamoe_status status = adamoe_check_floats(k->c->tokens * k->c->columns, &t.x);
    status = status.code == ADAMOE_OK ? adamoe_check_floats(outputs, &t.expected) : status;
    status = status.code == ADAMOE_OK ? adamoe_check_floats(outputs, &t.got) : status;
    status = status.code == ADAMOE_OK ? adamoe_yardstick_create(outputs, &t.yardstick) : status;
    status = status.code == ADAMOE_OK ? run_product(&t) : status;
    free(t.x);
    free(t.expected);
    free(t.got);
    adamoe_yardstick_free(&t.yardstick);
    return status;
}
