/*
 * One layer with a router of the table: router, experts, and what the layer adds behind them.
 */
#include "layer.h"
#include "layer/routed.h"

#include <stdlib.h>

static adamoe_status no_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
}

/* y + after, in float32; after is what no kernel computes (reference/routers/routers.h). */
static adamoe_status add_after(const adamoe_routed_run *run, const float *y, float **output)
{
    const size_t count = run->call->tokens * run->layer->hidden_size;
    *output = calloc(count, sizeof **output);
    if (*output == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < count; ++i) {
        (*output)[i] = run->routed.after == NULL ? y[i] : y[i] + run->routed.after[i];
    }
    return adamoe_ok();
}

static adamoe_status run_reference(adamoe_routed_run *run)
{
    double *work = calloc(adamoe_layer_work(run->layer), sizeof *work);
    run->reference_y = calloc(run->call->tokens * run->layer->hidden_size, sizeof *run->reference_y);
    if (work == NULL || run->reference_y == NULL) {
        free(work);
        return no_memory();
    }
    adamoe_layer_forward(run->layer, adamoe_float32_operands, run->x, run->routed.plan, run->reference_y,
                         work);
    free(work);
    return add_after(run, run->reference_y, &run->reference_output);
}

static adamoe_status run_steps(const adamoe_layer_file *file, adamoe_router_inputs *inputs,
                               const adamoe_machine *machine, adamoe_routed_run *run)
{
    ADAMOE_TRY(adamoe_router_inputs_route(file, inputs, &run->routed));
    run->x = run->routed.inputs != NULL ? run->routed.inputs : run->call->hidden_states;
    ADAMOE_TRY(run_reference(run));
    ADAMOE_TRY(
        adamoe_layer_run_experts(run->kernel, run->layer, machine, run->x, run->routed.plan, &run->kernel_y));
    return add_after(run, run->kernel_y, &run->output);
}

adamoe_status adamoe_routed_run_create(const adamoe_kernel *kernel, const adamoe_layer_file *file,
                                       adamoe_router_inputs *inputs, const adamoe_machine *machine,
                                       adamoe_routed_run *out)
{
    *out = (adamoe_routed_run){.kernel = kernel,
                               .layer = adamoe_layer_file_layer(file),
                               .router = inputs->router,
                               .call = &inputs->call};
    const adamoe_status status = run_steps(file, inputs, machine, out);
    if (status.code != ADAMOE_OK) {
        adamoe_routed_run_free(out);
    }
    return status;
}

void adamoe_routed_run_free(adamoe_routed_run *run)
{
    adamoe_routed_free(&run->routed);
    free(run->kernel_y);
    free(run->output);
    free(run->reference_y);
    free(run->reference_output);
    *run = (adamoe_routed_run){0};
}
