/*
 * What a router reads: tensors by name, and logits.
 */
#include "numbers.h"
#include "routers/parts.h"

#include <math.h>
#include <string.h>

static adamoe_router_tensor *find(const adamoe_router_call *call, const char *name)
{
    for (size_t i = 0; i < call->tensors; ++i) {
        if (strcmp(call->tensor[i].name, name) == 0) {
            return &call->tensor[i];
        }
    }
    return NULL;
}

const adamoe_router_tensor *adamoe_router_tensor_find(const adamoe_router_call *call, const char *name)
{
    return find(call, name);
}

bool adamoe_router_has(const adamoe_router_call *call, const char *name)
{
    return find(call, name) != NULL;
}

adamoe_status adamoe_router_matrix_of(const adamoe_router_call *call, const char *name, adamoe_dtype dtype,
                                      size_t rows, size_t columns, adamoe_matrix *out)
{
    adamoe_router_tensor *tensor = find(call, name);
    if (tensor == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tensor %s: missing", name);
    }
    const adamoe_matrix *matrix = &tensor->matrix;
    if ((matrix->dtype == ADAMOE_I64) != (dtype == ADAMOE_I64)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tensor %s: dtype %s where %s is expected", name,
                            adamoe_dtype_name(matrix->dtype),
                            dtype == ADAMOE_I64 ? "I64" : "a floating-point one");
    }
    if (matrix->columns != columns || (rows != 0 && matrix->rows != rows)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tensor %s: shape [%zu, %zu] where [%zu, %zu] is expected",
                            name, matrix->rows, matrix->columns, rows != 0 ? rows : matrix->rows, columns);
    }
    tensor->taken = true;
    *out = *matrix;
    return adamoe_ok();
}

adamoe_status adamoe_router_numbers(const adamoe_router_call *call, const char *name, size_t rows,
                                    size_t columns, adamoe_routed *out, double **numbers)
{
    adamoe_matrix matrix;
    ADAMOE_TRY(adamoe_router_matrix_of(call, name, ADAMOE_F32, rows, columns, &matrix));
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, matrix.rows, columns, numbers));
    for (size_t r = 0; r < matrix.rows; ++r) {
        adamoe_matrix_row(&matrix, r, *numbers + r * columns);
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_size(const char *name, double given, size_t actual)
{
    return isnan(given) || given == (double)actual
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: %.9g, but the tensors have %zu", name, given, actual);
}

adamoe_status adamoe_router_id(const adamoe_matrix *ids, const char *name, size_t index, int64_t low,
                               int64_t high, int64_t *out)
{
    memcpy(out, (const unsigned char *)ids->data + index * sizeof *out, sizeof *out);
    if (*out < low || *out >= high) {
        return adamoe_error(ADAMOE_BAD_INPUT, "tensor %s: element %zu: %lld is not within %lld .. %lld", name,
                            index, (long long)*out, (long long)low, (long long)high - 1);
    }
    return adamoe_ok();
}

adamoe_status adamoe_router_check_logits(const double *logits, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows * columns; ++i) {
        if (!isfinite((float)logits[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "token %zu: logit of expert %zu is %s", i / columns,
                                i % columns, isnan(logits[i]) ? "NaN" : "infinite");
        }
    }
    return adamoe_ok();
}

/* logits[s, first + r] = row r of the matrix · x[s], summed in one order for all, so that equal rows and equal
 * tokens give equal bits. */
static adamoe_status multiply(const adamoe_router_call *call, const adamoe_matrix *matrix, size_t first,
                              size_t ids, adamoe_routed *out, double *logits)
{
    double *row;
    ADAMOE_TRY(adamoe_routed_numbers(out, NULL, 1, matrix->columns, &row));
    for (size_t r = 0; r < matrix->rows; ++r) {
        adamoe_matrix_row(matrix, r, row);
        for (size_t s = 0; s < call->tokens; ++s) {
            const float *x = call->hidden_states + s * call->hidden_size;
            double sum = 0.0;
            for (size_t c = 0; c < matrix->columns; ++c) {
                sum += row[c] * (double)x[c];
            }
            logits[s * ids + first + r] = sum;
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_gate_products(const adamoe_router_call *call, const char *name, size_t *null_rows,
                                   adamoe_routed *out, double **logits)
{
    adamoe_matrix gate, gate2 = {.rows = 0};
    ADAMOE_TRY(adamoe_router_matrix_of(call, "block_sparse_moe.gate.weight", ADAMOE_F32, call->experts,
                                       call->hidden_size, &gate));
    if (null_rows != NULL) {
        ADAMOE_TRY(adamoe_router_matrix_of(call, "block_sparse_moe.gate2.weight", ADAMOE_F32, 0,
                                           call->hidden_size, &gate2));
        *null_rows = gate2.rows;
    }
    const size_t ids = gate.rows + gate2.rows;
    ADAMOE_TRY(adamoe_routed_numbers(out, name, call->tokens, ids, logits));
    if (call->logits != NULL) {
        for (size_t i = 0; i < call->tokens * ids; ++i) {
            (*logits)[i] = (double)call->logits[i];
        }
    } else {
        ADAMOE_TRY(multiply(call, &gate, 0, ids, out, *logits));
        ADAMOE_TRY(multiply(call, &gate2, gate.rows, ids, out, *logits));
    }
    return adamoe_router_check_logits(*logits, call->tokens, ids);
}

adamoe_status adamoe_gate_logits(const adamoe_router_call *call, size_t *null_rows, adamoe_routed *out,
                                 double **logits)
{
    return adamoe_gate_products(call, "logits", null_rows, out, logits);
}

adamoe_status adamoe_gate_softmax(const adamoe_router_call *call, adamoe_routed *out, double **scores)
{
    double *logits;
    ADAMOE_TRY(adamoe_gate_logits(call, NULL, out, &logits));
    ADAMOE_TRY(adamoe_routed_numbers(out, "scores", call->tokens, call->experts, scores));
    adamoe_softmax_rows(logits, call->tokens, call->experts, *scores);
    return adamoe_ok();
}
