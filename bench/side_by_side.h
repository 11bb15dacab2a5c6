/*
 * One model on the same questions as vanilla top-2 and with its null experts: accuracy, load, FLOPs and time
 * beside each other, with the paper's rows beneath.
 */
#ifndef ADAMOE_SIDE_BY_SIDE_H
#define ADAMOE_SIDE_BY_SIDE_H

#include "evaluate.h"

/* Measured runs of each side. */
#define ADAMOE_SIDE_RUNS 5

typedef struct adamoe_side {
    const char *name;
    adamoe_evaluation evaluation;
    adamoe_eval_result result;
    double seconds[ADAMOE_SIDE_RUNS];
} adamoe_side;

typedef struct adamoe_side_by_side {
    adamoe_side vanilla, adaptive;
} adamoe_side_by_side;

/* Opens and prepares both sides. On failure the caller still frees. */
adamoe_status adamoe_side_by_side_open(const char *model, const char *questions,
                                       const adamoe_machine *machine, const adamoe_kernel *kernel,
                                       adamoe_side_by_side *out);

/* Runs both sides in turn, each once unmeasured before. The seconds in the results are medians. */
adamoe_status adamoe_side_by_side_run(adamoe_side_by_side *sides);

void adamoe_side_by_side_free(adamoe_side_by_side *sides);

/* Of sides that were run. */
void adamoe_side_by_side_print(const adamoe_side_by_side *sides);
json_t *adamoe_side_by_side_json(const adamoe_side_by_side *sides);

#endif
