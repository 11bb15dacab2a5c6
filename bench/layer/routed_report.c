/*
 * A layer with a router of the table: for a person, as JSON, and as a file.
 */
#include "layer/routed.h"
#include "layer/matrix_tensor.h"
#include "program/json_output.h"
#include "program/machine_json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOSS "loss."

static bool is_loss(const adamoe_routed_array *array)
{
    return strncmp(array->name, LOSS, strlen(LOSS)) == 0;
}

static size_t rows_of(const adamoe_routed_run *run, const char *name)
{
    const adamoe_routed_array *array = adamoe_routed_find(&run->routed, name);
    return array == NULL ? 0 : array->rows;
}

void adamoe_routed_print(const adamoe_routed_run *run, const adamoe_comparison *comparisons, size_t count)
{
    const adamoe_router *router = run->router;
    printf("router %s:", router->name);
    for (size_t i = 0; i < router->parameters; ++i) {
        const adamoe_router_text value = adamoe_router_value_text(&router->parameter[i], run->call->value[i]);
        if (value.text[0] != '\0') {
            printf(" %s %s", router->parameter[i].name, value.text);
        }
    }
    printf("\nkernel %s: %zu tokens, hidden size %zu, intermediate size %zu, %zu true experts\n",
           run->kernel->name, run->call->tokens, run->layer->hidden_size, run->layer->intermediate_size,
           run->layer->experts);
    printf("%zu rows, %zu tokens without one, %zu choices refused\n", run->routed.plan->rows,
           rows_of(run, "dropped"), rows_of(run, "rejected"));
    for (size_t i = 0; i < run->routed.arrays; ++i) {
        if (is_loss(&run->routed.array[i])) {
            printf("loss %s %.9g\n", run->routed.array[i].name + strlen(LOSS),
                   run->routed.array[i].number[0]);
        }
    }
    for (size_t i = 0; i < count; ++i) {
        printf("%s %s%s%s\n", comparisons[i].passed ? adamoe_comparison_status(&comparisons[i]) : "FAILED",
               comparisons[i].name, comparisons[i].detail[0] == '\0' ? "" : ": ", comparisons[i].detail);
    }
}

json_t *adamoe_comparisons_json(const adamoe_comparison *list, size_t count)
{
    json_t *comparisons = json_array();
    for (size_t i = 0; i < count; ++i) {
        json_array_append_new(comparisons,
                              json_pack("{s:s,s:s,s:b,s:o,s:s}", "name", list[i].name, "status",
                                        adamoe_comparison_status(&list[i]), "passed", (int)list[i].passed,
                                        "largest_ratio", adamoe_json_number(list[i].largest_ratio), "detail",
                                        list[i].detail));
    }
    return comparisons;
}

static json_t *parameters_json(const adamoe_routed_run *run)
{
    json_t *parameters = json_object();
    for (size_t i = 0; i < run->router->parameters; ++i) {
        const adamoe_router_parameter *parameter = &run->router->parameter[i];
        const double value = run->call->value[i];
        if (parameter->kind == ADAMOE_PARAMETER_CHOICE) {
            json_object_set_new(parameters, parameter->name,
                                json_string(adamoe_router_value_text(parameter, value).text));
        } else if (!isnan(value)) {
            json_object_set_new(parameters, parameter->name, adamoe_json_number(value));
        }
    }
    return parameters;
}

static json_t *losses_json(const adamoe_routed_run *run)
{
    json_t *losses = json_object();
    for (size_t i = 0; i < run->routed.arrays; ++i) {
        const adamoe_routed_array *array = &run->routed.array[i];
        if (is_loss(array)) {
            json_object_set_new(losses, array->name + strlen(LOSS), adamoe_json_number(array->number[0]));
        }
    }
    return losses;
}

json_t *adamoe_routed_json(const char *input, const adamoe_machine *machine, const adamoe_routed_run *run,
                           const adamoe_comparison *comparisons, size_t count)
{
    const adamoe_plan *plan = run->routed.plan;
    return json_pack("{s:o,s:s,s:o,s:o,s:I,s:I,s:f,s:I,s:I,s:o,s:o,s:o}", "file", adamoe_json_text(input),
                     "router", run->router->name, "parameters", parameters_json(run), "kernel",
                     adamoe_json_text(run->kernel->name), "tokens", (json_int_t)plan->tokens, "rows",
                     (json_int_t)plan->rows, "load", (double)plan->rows / (double)plan->tokens, "dropped",
                     (json_int_t)rows_of(run, "dropped"), "rejected", (json_int_t)rows_of(run, "rejected"),
                     "losses", losses_json(run), "comparisons", adamoe_comparisons_json(comparisons, count),
                     "machine", adamoe_machine_json(machine));
}

/* -------------------------------------------------------------------------------------------------- a file */

/* Numbers are stored as float32: narrow[i] holds those of array i. */
static adamoe_status fill_tensors(const adamoe_routed_run *run, adamoe_tensor *tensor, float **narrow,
                                  size_t *count)
{
    tensor[(*count)++] =
        adamoe_matrix_tensor("output", ADAMOE_F32, run->call->tokens, run->layer->hidden_size, run->output);
    for (size_t i = 0; i < run->routed.arrays; ++i) {
        const adamoe_routed_array *array = &run->routed.array[i];
        const size_t elements = array->rows * array->columns;
        if (array->name[0] == '\0') {
            continue;
        }
        if (array->integer != NULL) {
            tensor[(*count)++] =
                adamoe_matrix_tensor(array->name, ADAMOE_I64, array->rows, array->columns, array->integer);
            continue;
        }
        narrow[i] = calloc(elements + 1, sizeof *narrow[i]);
        if (narrow[i] == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
        }
        for (size_t j = 0; j < elements; ++j) {
            narrow[i][j] = (float)array->number[j];
        }
        tensor[(*count)++] =
            adamoe_matrix_tensor(array->name, ADAMOE_F32, array->rows, array->columns, narrow[i]);
    }
    return adamoe_ok();
}

adamoe_status adamoe_routed_write(const char *path, const adamoe_routed_run *run)
{
    adamoe_tensor tensor[ADAMOE_ROUTED_ARRAYS + 1];
    float *narrow[ADAMOE_ROUTED_ARRAYS] = {NULL};
    size_t count = 0;
    const adamoe_metadata metadata[] = {{"router", run->router->name}, {"kernel", run->kernel->name}};
    adamoe_status status = fill_tensors(run, tensor, narrow, &count);
    if (status.code == ADAMOE_OK) {
        status = adamoe_safetensors_write(path, tensor, count, metadata, sizeof metadata / sizeof *metadata);
    }
    for (size_t i = 0; i < ADAMOE_ROUTED_ARRAYS; ++i) {
        free(narrow[i]);
    }
    return status;
}
