/*
 * What a router and its layer computed against what the file expects.
 */
#include "layer/routed.h"
#include "numbers.h"
#include "bound/bound.h"
#include "bound/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the definition asks of files that hold doubles rounded to float32, relative to the largest expected
 * magnitude of an array. */
#define PRECISION 1e-5

#define PREFIX "expected."

typedef struct comparing {
    const adamoe_routed_run *run;
    const adamoe_safetensors *file;
    adamoe_comparison *list;
    size_t count;
} comparing;

static adamoe_comparison *add(comparing *c, const char *name, bool passed)
{
    adamoe_comparison *next = &c->list[c->count++];
    *next = (adamoe_comparison){.name = name, .passed = passed};
    return next;
}

static float float_at(const adamoe_tensor *tensor, size_t i)
{
    float value;
    memcpy(&value, (const unsigned char *)tensor->data + i * sizeof value, sizeof value);
    return value;
}

static int64_t integer_at(const adamoe_tensor *tensor, size_t i)
{
    int64_t value;
    memcpy(&value, (const unsigned char *)tensor->data + i * sizeof value, sizeof value);
    return value;
}

static adamoe_status check_dtype(const comparing *c, const adamoe_tensor *tensor, adamoe_dtype dtype)
{
    return tensor->dtype == dtype
               ? adamoe_ok()
               : adamoe_tensor_error(adamoe_safetensors_path(c->file), tensor->name,
                                     "dtype %s where %s is expected", adamoe_dtype_name(tensor->dtype),
                                     adamoe_dtype_name(dtype));
}

/* ------------------------------------------------------------------------------------------------- floats */

static double largest_magnitude(const adamoe_tensor *tensor)
{
    double largest = 0.0;
    for (size_t i = 0; i < tensor->elements; ++i) {
        largest = fmax(largest, fabs((double)float_at(tensor, i)));
    }
    return largest;
}

/* Elements of an array that is either in double or in float32. */
typedef struct values {
    const double *wide;
    const float *narrow;
    size_t rows, columns;
} values;

static double value_at(const values *v, size_t i)
{
    return v->wide != NULL ? v->wide[i] : (double)v->narrow[i];
}

/* map[i] is the element of the file that element i is to be; NULL: the same. */
static adamoe_status compare_floats(comparing *c, const adamoe_tensor *tensor, values got, const size_t *map)
{
    ADAMOE_TRY(check_dtype(c, tensor, ADAMOE_F32));
    if (tensor->elements != got.rows * got.columns) {
        (void)snprintf(add(c, tensor->name, false)->detail, sizeof c->list->detail,
                       "got %zu elements, expected %zu", got.rows * got.columns, tensor->elements);
        return adamoe_ok();
    }
    const double magnitude = largest_magnitude(tensor), allowed = PRECISION * magnitude;
    double worst_error = 0.0;
    size_t worst = 0;
    for (size_t i = 0; i < tensor->elements; ++i) {
        const double error = fabs(value_at(&got, i) - (double)float_at(tensor, map == NULL ? i : map[i]));
        if (!(error <= worst_error)) { /* NaN too */
            worst_error = error;
            worst = i;
        }
    }
    adamoe_comparison *entry = add(c, tensor->name, worst_error <= allowed);
    entry->vacuous = entry->passed && tensor->elements == 0;
    entry->largest_ratio = worst_error == 0.0 ? 0.0 : worst_error / allowed;
    if (tensor->elements > 0) {
        (void)snprintf(entry->detail, sizeof entry->detail,
                       "largest error %.3g of a magnitude of %.3g; at [%zu, %zu]: got %.9g, expected %.9g",
                       worst_error, magnitude, worst / got.columns, worst % got.columns,
                       value_at(&got, worst), (double)float_at(tensor, map == NULL ? worst : map[worst]));
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------ integers */

static adamoe_status compare_integers(comparing *c, const adamoe_tensor *tensor,
                                      const adamoe_routed_array *array)
{
    ADAMOE_TRY(check_dtype(c, tensor, ADAMOE_I64));
    if (tensor->elements != array->rows * array->columns) {
        (void)snprintf(add(c, tensor->name, false)->detail, sizeof c->list->detail,
                       "got %zu elements, expected %zu", array->rows * array->columns, tensor->elements);
        return adamoe_ok();
    }
    for (size_t i = 0; i < tensor->elements; ++i) {
        if (array->integer[i] != integer_at(tensor, i)) {
            (void)snprintf(add(c, tensor->name, false)->detail, sizeof c->list->detail,
                           "[%zu, %zu]: got %" PRId64 ", expected %" PRId64, i / array->columns,
                           i % array->columns, array->integer[i], integer_at(tensor, i));
            return adamoe_ok();
        }
    }
    adamoe_comparison *entry = add(c, tensor->name, true);
    entry->vacuous = tensor->elements == 0;
    (void)snprintf(entry->detail, sizeof entry->detail, "%zu equal", tensor->elements);
    return adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- sets of rows */

/* A row of a set, and where it stood. */
typedef struct set_row {
    int64_t value[3]; /* (token), (token, expert), (expert, slot, token) */
    size_t from;
} set_row;

static int by_value(const void *a, const void *b)
{
    const set_row *left = a, *right = b;
    for (size_t i = 0; i < 3; ++i) {
        if (left->value[i] != right->value[i]) {
            return left->value[i] < right->value[i] ? -1 : 1;
        }
    }
    return 0;
}

/* Rows of an index are ordered by expert and slot, as a plan has them. */
static void order_index(set_row *row)
{
    const int64_t token = row->value[0];
    row->value[0] = row->value[1];
    row->value[1] = row->value[2];
    row->value[2] = token;
}

static void describe_row(const set_row *row, size_t columns, char *text, size_t size)
{
    if (columns == 1) {
        (void)snprintf(text, size, "token %" PRId64, row->value[0]);
    } else if (columns == 2) {
        (void)snprintf(text, size, "token %" PRId64 " at expert %" PRId64, row->value[0], row->value[1]);
    } else {
        (void)snprintf(text, size, "token %" PRId64 " at expert %" PRId64 ", slot %" PRId64, row->value[2],
                       row->value[0], row->value[1]);
    }
}

static void report_sets(comparing *c, const char *name, const set_row *got, size_t got_rows,
                        const set_row *expected, size_t expected_rows, size_t columns)
{
    const size_t both = got_rows < expected_rows ? got_rows : expected_rows;
    size_t i = 0;
    while (i < both && by_value(&got[i], &expected[i]) == 0) {
        ++i;
    }
    adamoe_comparison *entry = add(c, name, i == got_rows && i == expected_rows);
    if (entry->passed) {
        entry->vacuous = got_rows == 0;
        (void)snprintf(entry->detail, sizeof entry->detail, "%zu rows", got_rows);
        return;
    }
    char ours[80] = "nothing", theirs[80] = "nothing";
    if (i < got_rows) {
        describe_row(&got[i], columns, ours, sizeof ours);
    }
    if (i < expected_rows) {
        describe_row(&expected[i], columns, theirs, sizeof theirs);
    }
    (void)snprintf(entry->detail, sizeof entry->detail,
                   "%zu rows, expected %zu; first difference: got %s, expected %s", got_rows, expected_rows,
                   ours, theirs);
}

/* rows[tensor's rows], sorted. */
static void read_set(const adamoe_tensor *tensor, size_t columns, set_row *rows)
{
    const size_t count = tensor->elements / columns;
    for (size_t i = 0; i < count; ++i) {
        rows[i] = (set_row){.from = i};
        for (size_t j = 0; j < columns; ++j) {
            rows[i].value[j] = integer_at(tensor, i * columns + j);
        }
        if (columns == 3) {
            order_index(&rows[i]);
        }
    }
    qsort(rows, count, sizeof *rows, by_value);
}

static adamoe_status compare_sets(comparing *c, const adamoe_tensor *tensor, const adamoe_routed_array *array)
{
    const size_t columns = array->columns;
    ADAMOE_TRY(check_dtype(c, tensor, ADAMOE_I64));
    if (tensor->elements % columns != 0 || (tensor->rank == 2 && tensor->shape[1] != columns)) {
        return adamoe_tensor_error(adamoe_safetensors_path(c->file), tensor->name, "no rows of %zu", columns);
    }
    const size_t expected_rows = tensor->elements / columns;
    const adamoe_tensor ours = {.elements = array->rows * columns, .data = array->integer};
    set_row *got = calloc(array->rows + 1, sizeof *got),
            *expected = calloc(expected_rows + 1, sizeof *expected);
    if (got == NULL || expected == NULL) {
        free(got);
        free(expected);
        return adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
    }
    read_set(&ours, columns, got);
    read_set(tensor, columns, expected);
    report_sets(c, tensor->name, got, array->rows, expected, expected_rows, columns);
    free(got);
    free(expected);
    return adamoe_ok();
}

/* dispatch and combine, whose elements belong to the rows of the file's index. */
static adamoe_status compare_by_row(comparing *c, const adamoe_tensor *tensor,
                                    const adamoe_routed_array *array)
{
    const values got = {.wide = array->number, .rows = array->rows, .columns = array->columns};
    const adamoe_tensor *index = adamoe_safetensors_find(c->file, PREFIX "index");
    if (index == NULL || index->dtype != ADAMOE_I64 || index->elements != 3 * array->rows ||
        tensor->elements != array->rows) {
        return compare_floats(c, tensor, got, NULL);
    }
    set_row *rows = calloc(array->rows + 1, sizeof *rows);
    size_t *map = calloc(array->rows + 1, sizeof *map);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "layer: out of memory");
    if (rows != NULL && map != NULL) {
        read_set(index, 3, rows);
        for (size_t i = 0; i < array->rows; ++i) {
            map[i] = rows[i].from;
        }
        status = compare_floats(c, tensor, got, map);
    }
    free(rows);
    free(map);
    return status;
}

/* ------------------------------------------------------------------------------------------------- outputs */

static values outputs(const adamoe_routed_run *run, const float *y)
{
    return (values){.narrow = y, .rows = run->call->tokens, .columns = run->layer->hidden_size};
}

static void report_verdict(comparing *c, const char *name, const adamoe_verdict *verdict,
                           const adamoe_yardstick *yardstick, const float *got)
{
    const size_t worst = verdict->worst, columns = c->run->layer->hidden_size;
    adamoe_comparison *entry = add(c, name, verdict->passed);
    entry->vacuous = verdict->passed && verdict->vacuous;
    entry->largest_ratio = verdict->largest_ratio;
    (void)snprintf(entry->detail, sizeof entry->detail,
                   "largest error/bound %.3g, rms %.3g; at [%zu, %zu]: got %.9g, expected %.9g",
                   verdict->largest_ratio, verdict->rms_ratio, worst / columns, worst % columns,
                   (double)got[worst], yardstick->expected[worst]);
}

/* The kernel's y against the bound of its arithmetic; then its output against the file's, by the same bound, the
 * precision of the file, and the one rounding of the stage behind the kernel. */
static adamoe_status judge_kernel(comparing *c, const adamoe_tensor *tensor, adamoe_yardstick *yardstick)
{
    const adamoe_routed_run *run = c->run;
    ADAMOE_TRY(adamoe_layer_yardstick(run->layer, adamoe_kernel_arithmetic(run->kernel), run->x,
                                      run->routed.plan, yardstick));
    adamoe_verdict verdict = adamoe_judge(yardstick, run->kernel_y, 1.0);
    report_verdict(c, "output of the kernel", &verdict, yardstick, run->kernel_y);
    if (tensor == NULL || tensor->dtype != ADAMOE_F32 || tensor->elements != yardstick->count) {
        return adamoe_ok(); /* compare_floats says so */
    }
    const double slack = PRECISION * largest_magnitude(tensor);
    for (size_t i = 0; i < yardstick->count; ++i) {
        yardstick->expected[i] = (double)float_at(tensor, i);
        yardstick->slack[i] += slack + 0x1p-24 * fabs(yardstick->expected[i]);
    }
    verdict = adamoe_judge(yardstick, run->output, 1.0);
    report_verdict(c, "expected.output by the kernel", &verdict, yardstick, run->output);
    return adamoe_ok();
}

static adamoe_status compare_kernel(comparing *c)
{
    adamoe_yardstick yardstick;
    ADAMOE_TRY(adamoe_yardstick_create(c->run->call->tokens * c->run->layer->hidden_size, &yardstick));
    const adamoe_status status =
        judge_kernel(c, adamoe_safetensors_find(c->file, PREFIX "output"), &yardstick);
    adamoe_yardstick_free(&yardstick);
    return status;
}

/* ------------------------------------------------------------------------------------------------- by name */

static bool is_one_of(const char *name, const char *a, const char *b, const char *c)
{
    return strcmp(name, a) == 0 || strcmp(name, b) == 0 || strcmp(name, c) == 0;
}

static adamoe_status compare_array(comparing *c, const adamoe_tensor *tensor,
                                   const adamoe_routed_array *array)
{
    const values got = {.wide = array->number, .rows = array->rows, .columns = array->columns};
    if (is_one_of(array->name, "index", "rejected", "dropped")) {
        return compare_sets(c, tensor, array);
    }
    if (array->integer != NULL) {
        return compare_integers(c, tensor, array);
    }
    return is_one_of(array->name, "dispatch", "combine", "") ? compare_by_row(c, tensor, array)
                                                             : compare_floats(c, tensor, got, NULL);
}

static adamoe_status compare_tensor(comparing *c, const adamoe_tensor *tensor)
{
    const adamoe_routed_run *run = c->run;
    const char *name = tensor->name + strlen(PREFIX);
    const adamoe_routed_array *array = adamoe_routed_find(&run->routed, name);
    if (strcmp(name, "output") == 0) {
        return compare_floats(c, tensor, outputs(run, run->reference_output), NULL);
    }
    if (strcmp(name, "expert_output") == 0) {
        return compare_floats(c, tensor, outputs(run, run->reference_y), NULL);
    }
    if (strcmp(name, "base_output") == 0 && run->routed.after != NULL) {
        return compare_floats(c, tensor, outputs(run, run->routed.after), NULL);
    }
    if (array == NULL || name[0] == '\0') {
        return adamoe_tensor_error(adamoe_safetensors_path(c->file), tensor->name,
                                   "router %s computes no such thing", run->router->name);
    }
    return compare_array(c, tensor, array);
}

/* The capacity that __metadata__ states. */
static adamoe_status compare_capacity(comparing *c)
{
    const char *text = adamoe_safetensors_metadata(c->file, "capacity");
    const adamoe_routed_array *array = adamoe_routed_find(&c->run->routed, "capacity");
    if (text == NULL || array == NULL) {
        return adamoe_ok();
    }
    char ours[32];
    (void)snprintf(ours, sizeof ours, "%" PRId64, array->integer[0]);
    (void)snprintf(add(c, "capacity", strcmp(ours, text) == 0)->detail, sizeof c->list->detail,
                   "got %s, expected %.40s", ours, text);
    return adamoe_ok();
}

adamoe_status adamoe_routed_compare(const adamoe_routed_run *run, const adamoe_safetensors *file,
                                    adamoe_comparison *comparisons, size_t *count)
{
    comparing c = {.run = run, .file = file, .list = comparisons};
    ADAMOE_TRY(compare_kernel(&c));
    ADAMOE_TRY(compare_capacity(&c));
    for (size_t i = 0; i < adamoe_safetensors_count(file); ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_at(file, i);
        if (strncmp(tensor->name, PREFIX, strlen(PREFIX)) == 0) {
            if (c.count == ADAMOE_MAX_ROUTED_COMPARISONS) {
                return adamoe_tensor_error(adamoe_safetensors_path(file), tensor->name,
                                           "one expected tensor too many");
            }
            ADAMOE_TRY(compare_tensor(&c, tensor));
        }
    }
    *count = c.count;
    return adamoe_ok();
}
