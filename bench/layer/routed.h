/*
 * One layer with a router of the table, run through the contract, and its comparison with what its file expects.
 */
#ifndef ADAMOE_LAYER_ROUTED_H
#define ADAMOE_LAYER_ROUTED_H

#include "layer/run.h"
#include "router_inputs.h"

#include <jansson.h>

/* A layer with everything that was computed from it. The router runs in the reference whatever the kernel is: the
 * plan that a kernel gets is the definition's. */
typedef struct adamoe_routed_run {
    const adamoe_kernel *kernel;
    const adamoe_layer *layer;
    const adamoe_router *router;
    const adamoe_router_call *call;
    adamoe_routed routed;
    const float *x;           /* of the plan: routed.inputs, or the hidden states */
    float *kernel_y, *output; /* [tokens, hidden_size] what the kernel computed; and with routed.after */
    float *reference_y;       /* the same of the reference, always */
    float *reference_output;
} adamoe_routed_run;

/* The router, the experts by the kernel and by the reference, and the stage behind the kernel. On failure nothing
 * is left allocated. */
adamoe_status adamoe_routed_run_create(const adamoe_kernel *kernel, const adamoe_layer_file *file,
                                       adamoe_router_inputs *inputs, const adamoe_machine *machine,
                                       adamoe_routed_run *out);
void adamoe_routed_run_free(adamoe_routed_run *run);

#define ADAMOE_MAX_ROUTED_COMPARISONS 48

/* The kernel's y against the bound of its arithmetic, then every expected.* of the file. Ids, slots, counts and
 * refusals are compared exactly, rows as sets; what the reference computed in double within 1e-5 of the largest
 * expected magnitude, for such files are double rounded to float32; and the output of another kernel within its
 * bound more. Errors (BAD_INPUT): an expected tensor that the router does not compute, or of another dtype;
 * memory. */
adamoe_status adamoe_routed_compare(const adamoe_routed_run *run, const adamoe_safetensors *file,
                                    adamoe_comparison *comparisons, size_t *count);

/* The comparisons as a list of JSON. */
json_t *adamoe_comparisons_json(const adamoe_comparison *comparisons, size_t count);

/* For a person; as JSON; and as a file with the output and every array of the router. */
void adamoe_routed_print(const adamoe_routed_run *run, const adamoe_comparison *comparisons, size_t count);
json_t *adamoe_routed_json(const char *input, const adamoe_machine *machine, const adamoe_routed_run *run,
                           const adamoe_comparison *comparisons, size_t count);
adamoe_status adamoe_routed_write(const char *path, const adamoe_routed_run *run);

#endif
