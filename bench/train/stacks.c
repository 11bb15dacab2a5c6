/*
 * See stacks.h. A layer's experts are w1, w3 and w2 of the first, then those of the next; its stacks are w1 and w3 of all
 * of them, then w2 of all.
 */
#include "train/stacks.h"
#include "numbers.h"

#include <stdlib.h>
#include <string.h>

bool adamoe_train_has_stacks(const adamoe_config *config)
{
    return adamoe_naming_of(config) == ADAMOE_NAMED_LINEAR;
}

/* Elements of one matrix of an expert: its three have as many. */
static size_t elements_of(const adamoe_parameter *p)
{
    return p->rows * p->columns;
}

static void stack_layer(const adamoe_parameters *parameters, size_t first, size_t element, const char *from,
                        char *to)
{
    const adamoe_parameter *p = &parameters->parameter[first];
    const size_t n = parameters->model.config.experts, size = elements_of(p) * element;
    for (size_t e = 0; e < n; ++e) {
        const char *expert = from + p->first * element + 3 * e * size;
        memcpy(to + p->first * element + 2 * e * size, expert, 2 * size);
        memcpy(to + p->first * element + (2 * n + e) * size, expert + 2 * size, size);
    }
}

void *adamoe_train_stack(const adamoe_parameters *parameters, adamoe_dtype dtype, const void *data)
{
    const size_t element = adamoe_dtype_bytes(dtype), n = parameters->model.config.experts;
    char *out = malloc(parameters->count * element + 1);
    if (out == NULL) {
        return NULL;
    }
    memcpy(out, data, parameters->count * element);
    for (size_t i = 0; i < parameters->parameters;) {
        const bool experts = parameters->parameter[i].kind == ADAMOE_EXPERTS;
        if (experts) {
            stack_layer(parameters, i, element, data, out);
        }
        i += experts ? 3 * n : 1;
    }
    return out;
}

/* Behind what stands before "experts." in the name of a layer's first matrix. */
static adamoe_tensor_name stack_name(const char *matrix, const char *stack)
{
    adamoe_tensor_name name;
    const char *end = strstr(matrix, "experts.");
    (void)snprintf(name.text, sizeof name.text, "%.*s%s.weight", end == NULL ? 0 : (int)(end - matrix),
                   matrix, stack);
    return name;
}

void adamoe_train_list_stacks(const adamoe_parameters *parameters, size_t first, adamoe_dtype dtype,
                              const void *data, adamoe_tensor_name name[2], adamoe_tensor tensor[2])
{
    const adamoe_parameter *p = &parameters->parameter[first];
    const size_t n = parameters->model.config.experts, elements = elements_of(p);
    const char *at = (const char *)data + p->first * adamoe_dtype_bytes(dtype);
    name[0] = stack_name(p->name, "input_linear");
    name[1] = stack_name(p->name, "output_linear");
    tensor[0] = (adamoe_tensor){.name = name[0].text,
                                .dtype = dtype,
                                .rank = 3,
                                .shape = {n, 2 * p->rows, p->columns},
                                .elements = 2 * n * elements,
                                .data = at};
    tensor[1] = (adamoe_tensor){.name = name[1].text,
                                .dtype = dtype,
                                .rank = 3,
                                .shape = {n, p->columns, p->rows},
                                .elements = n * elements,
                                .data = at + 2 * n * elements * adamoe_dtype_bytes(dtype)};
}
