/*
 * The one place that knows oneDNN.
 *
 * A primitive of oneDNN is made for one number of rows, and making one takes some tenths of a millisecond. So
 * a product of any number of rows is at most two calls: the largest multiple of ROW_STEP, and the rest. That
 * needs few primitives and computes no row in vain. The packed layout of the weights is the one that oneDNN
 * prefers for ROW_STEP rows; every other primitive is asked for with that layout.
 */
#include "adapter.h"
#include "numbers.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_OMP && DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_SEQ
#error "this adapter is written for a oneDNN that runs on OpenMP or sequentially"
#endif

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
/* Declared here: clang comes without the header, and these two are all that is needed. */
extern void omp_set_num_threads(int count);
extern int omp_get_max_threads(void);
#endif

#define ROW_STEP       64
#define MAX_ROW_BLOCKS 16 /* the largest call has ROW_STEP * MAX_ROW_BLOCKS rows */

/* One compiled product for a fixed number of rows. */
typedef struct compiled {
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t x, y;
    size_t scratch_bytes;
} compiled;

struct onednn_product {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    size_t rows, columns, output_stride;
    adamoe_arithmetic type;
    dnnl_data_type_t data_type;
    dnnl_memory_desc_t packed;
    bool has_packed;
    void *weights;                   /* as `packed` says */
    dnnl_memory_t memory;            /* of the weights */
    compiled *rest[ROW_STEP];        /* [r]: r rows, NULL until asked for */
    compiled *block[MAX_ROW_BLOCKS]; /* [b]: (b + 1) * ROW_STEP rows, likewise */
    size_t scratch_bytes;
    char implementation[64];
};

const char *onednn_version(void)
{
    static char text[32];
    const dnnl_version_t *version = dnnl_version();
    (void)snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

static adamoe_status failure(const char *what, dnnl_status_t status)
{
    switch (status) {
    case dnnl_out_of_memory:
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: %s: out of memory", what);
    case dnnl_unimplemented:
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "oneDNN: %s: not implemented for this processor", what);
    default:
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: %s: status %d", what, (int)status);
    }
}

#define DNNL_TRY(what, call)                                                                                 \
    do {                                                                                                     \
        const dnnl_status_t dnnl_try_status = (call);                                                        \
        if (dnnl_try_status != dnnl_success) {                                                               \
            return failure(what, dnnl_try_status);                                                           \
        }                                                                                                    \
    } while (0)

/* Holds oneDNN to the calling thread; returns what to restore. */
static int hold_to_one_thread(void)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    const int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
#else
    return 1;
#endif
}

static void restore_threads(int before)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    omp_set_num_threads(before);
#else
    (void)before;
#endif
}

/* ---------------------------------------------------------------------------- what differs between 2.x
 * and 3.x */

/* A matrix [rows, columns] with the given strides; `any` leaves the layout to oneDNN. */
static dnnl_status_t describe(dnnl_memory_desc_t *out, size_t rows, size_t columns, dnnl_data_type_t type,
                              size_t row_stride, size_t column_stride, bool any)
{
    const dnnl_dims_t sizes = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    const dnnl_dims_t strides = {(dnnl_dim_t)row_stride, (dnnl_dim_t)column_stride};
#if DNNL_VERSION_MAJOR < 3
    return any ? dnnl_memory_desc_init_by_tag(out, 2, sizes, type, dnnl_format_tag_any)
               : dnnl_memory_desc_init_by_strides(out, 2, sizes, type, strides);
#else
    return any ? dnnl_memory_desc_create_with_tag(out, 2, sizes, type, dnnl_format_tag_any)
               : dnnl_memory_desc_create_with_strides(out, 2, sizes, type, strides);
#endif
}

#if DNNL_VERSION_MAJOR < 3
#define DESC(descriptor) (&(descriptor))

static void forget(dnnl_memory_desc_t *descriptor)
{
    (void)descriptor;
}

static size_t desc_bytes(const dnnl_memory_desc_t *descriptor)
{
    return dnnl_memory_desc_get_size(descriptor);
}

static dnnl_status_t make_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                 const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *w,
                                 const dnnl_memory_desc_t *y, const_dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t matmul;
    const dnnl_status_t status = dnnl_matmul_desc_init(&matmul, x, w, NULL, y);
    return status != dnnl_success ? status
                                  : dnnl_primitive_desc_create(out, &matmul, attributes, engine, NULL);
}

static dnnl_status_t copy_queried(dnnl_memory_desc_t *out, const_dnnl_primitive_desc_t from,
                                  dnnl_query_t what)
{
    const dnnl_memory_desc_t *found = dnnl_primitive_desc_query_md(from, what, 0);
    if (found == NULL) {
        return dnnl_runtime_error;
    }
    *out = *found;
    return dnnl_success;
}
#else
#define DESC(descriptor) (descriptor)

static void forget(dnnl_memory_desc_t *descriptor)
{
    if (*descriptor != NULL) {
        dnnl_memory_desc_destroy(*descriptor);
        *descriptor = NULL;
    }
}

static size_t desc_bytes(const_dnnl_memory_desc_t descriptor)
{
    return dnnl_memory_desc_get_size(descriptor);
}

static dnnl_status_t make_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const_dnnl_memory_desc_t x,
                                 const_dnnl_memory_desc_t w, const_dnnl_memory_desc_t y,
                                 const_dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(out, engine, x, w, NULL, y, attributes);
}

static dnnl_status_t copy_queried(dnnl_memory_desc_t *out, const_dnnl_primitive_desc_t from,
                                  dnnl_query_t what)
{
    const_dnnl_memory_desc_t found = dnnl_primitive_desc_query_md(from, what, 0);
    return found == NULL ? dnnl_runtime_error : dnnl_memory_desc_clone(out, found);
}
#endif

/* ------------------------------------------------------------------------------------------------- compiling
 */

/* The scratch memory is the caller's: oneDNN's own belongs to the thread that made the primitive. */
static dnnl_status_t make_attributes(dnnl_primitive_attr_t *out)
{
    const dnnl_status_t status = dnnl_primitive_attr_create(out);
    return status != dnnl_success ? status
                                  : dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
}

/* A primitive descriptor for `count` rows, with the packed layout or (`any`) the one that oneDNN prefers. */
static adamoe_status make_descriptor(onednn_product *p, size_t count, bool any, compiled *c,
                                     dnnl_primitive_desc_t *out)
{
    dnnl_memory_desc_t free_choice;
    dnnl_primitive_attr_t attributes = NULL;
    DNNL_TRY("describe input", describe(&c->x, count, p->columns, p->data_type, p->columns, 1, false));
    DNNL_TRY("describe output", describe(&c->y, count, p->rows, dnnl_f32, p->output_stride, 1, false));
    DNNL_TRY("describe weights", describe(&free_choice, p->columns, p->rows, p->data_type, 0, 0, true));
    dnnl_status_t status = make_attributes(&attributes);
    if (status == dnnl_success) {
        status = make_matmul(out, p->engine, DESC(c->x), any ? DESC(free_choice) : DESC(p->packed),
                             DESC(c->y), attributes);
    }
    dnnl_primitive_attr_destroy(attributes);
    forget(&free_choice);
    return status == dnnl_success ? adamoe_ok() : failure("matrix product", status);
}

static adamoe_status finish_compiling(onednn_product *p, dnnl_primitive_desc_t descriptor, compiled *c)
{
    const char *name = NULL;
    DNNL_TRY("name", dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str, 0, &name));
    if (p->implementation[0] == '\0') {
        (void)snprintf(p->implementation, sizeof p->implementation, "%s", name);
    } else if (strcmp(p->implementation, name) != 0 && strchr(p->implementation, '+') == NULL) {
        const size_t used = strlen(p->implementation);
        (void)snprintf(p->implementation + used, sizeof p->implementation - used, "+%s", name);
    }
    c->scratch_bytes =
        dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0) == NULL
            ? 0
            : desc_bytes(dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0));
    p->scratch_bytes = c->scratch_bytes > p->scratch_bytes ? c->scratch_bytes : p->scratch_bytes;
    DNNL_TRY("compile", dnnl_primitive_create(&c->primitive, descriptor));
    return adamoe_ok();
}

static void free_compiled(compiled *c)
{
    if (c != NULL) {
        if (c->primitive != NULL) {
            dnnl_primitive_destroy(c->primitive);
        }
        forget(&c->x);
        forget(&c->y);
        free(c);
    }
}

static adamoe_status compile_new(onednn_product *p, size_t count, compiled *c)
{
    dnnl_primitive_desc_t descriptor = NULL;
    const int threads = hold_to_one_thread();
    adamoe_status status = make_descriptor(p, count, false, c, &descriptor);
    if (status.code == ADAMOE_OK) {
        status = finish_compiling(p, descriptor, c);
    }
    if (descriptor != NULL) {
        dnnl_primitive_desc_destroy(descriptor);
    }
    restore_threads(threads);
    return status;
}

static adamoe_status compile(onednn_product *p, size_t count, compiled **slot)
{
    if (*slot != NULL) {
        return adamoe_ok();
    }
    compiled *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    }
    const adamoe_status status = compile_new(p, count, c);
    if (status.code != ADAMOE_OK) {
        free_compiled(c);
        return status;
    }
    *slot = c;
    return status;
}

/* --------------------------------------------------------------------------------------------------- packing
 */

/* The rows as a plain array of the product's type. */
static void *plain_copy(const adamoe_matrix *matrix, size_t first_row, size_t rows, adamoe_arithmetic type)
{
    const size_t first = first_row * matrix->columns, count = rows * matrix->columns;
    void *copy = NULL;
    if (posix_memalign(&copy, 64, count * sizeof(float) + 64) != 0) {
        return NULL;
    }
    float *floats = copy;
    uint16_t *halves = copy;
    for (size_t i = 0; i < count; ++i) {
        const float value = adamoe_element(matrix->data, matrix->dtype, first + i);
        if (type == ADAMOE_BFLOAT16) {
            halves[i] = adamoe_float_to_bf16(value);
        } else {
            floats[i] = value;
        }
    }
    return copy;
}

/* Asks oneDNN which layout it prefers. */
static adamoe_status choose_layout(onednn_product *p)
{
    compiled trial = {0};
    dnnl_primitive_desc_t descriptor = NULL;
    const int threads = hold_to_one_thread();
    adamoe_status status = make_descriptor(p, ROW_STEP, true, &trial, &descriptor);
    if (status.code == ADAMOE_OK) {
        const dnnl_status_t copied = copy_queried(&p->packed, descriptor, dnnl_query_weights_md);
        p->has_packed = copied == dnnl_success;
        status = copied == dnnl_success ? status : failure("layout of the weights", copied);
    }
    if (descriptor != NULL) {
        dnnl_primitive_desc_destroy(descriptor);
    }
    forget(&trial.x);
    forget(&trial.y);
    restore_threads(threads);
    return status;
}

static adamoe_status reorder(onednn_product *p, dnnl_memory_t from)
{
    dnnl_primitive_desc_t descriptor = NULL;
    dnnl_primitive_t primitive = NULL;
#if DNNL_VERSION_MAJOR < 3
    const dnnl_memory_desc_t *plain = NULL;
#else
    const_dnnl_memory_desc_t plain = NULL;
#endif
    DNNL_TRY("pack", dnnl_memory_get_memory_desc(from, &plain));
    DNNL_TRY("pack", dnnl_reorder_primitive_desc_create(&descriptor, plain, p->engine, DESC(p->packed),
                                                        p->engine, NULL));
    dnnl_status_t status = dnnl_primitive_create(&primitive, descriptor);
    if (status == dnnl_success) {
        const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, p->memory}};
        status = dnnl_primitive_execute(primitive, p->stream, 2, arguments);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(p->stream);
    }
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(descriptor);
    return status == dnnl_success ? adamoe_ok() : failure("pack", status);
}

/* Wᵀ [columns, rows] lies in memory as the rows of W one after the other. */
static adamoe_status pack(onednn_product *p, void *plain)
{
    dnnl_memory_desc_t descriptor;
    dnnl_memory_t from = NULL;
    if (posix_memalign(&p->weights, 64, desc_bytes(DESC(p->packed)) + 64) != 0) {
        p->weights = NULL;
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory for packed weights");
    }
    DNNL_TRY("pack", dnnl_memory_create(&p->memory, DESC(p->packed), p->engine, p->weights));
    DNNL_TRY("pack", describe(&descriptor, p->columns, p->rows, p->data_type, 1, p->columns, false));
    const dnnl_status_t made = dnnl_memory_create(&from, DESC(descriptor), p->engine, plain);
    adamoe_status status = made == dnnl_success ? adamoe_ok() : failure("pack", made);
    const int threads = hold_to_one_thread();
    if (status.code == ADAMOE_OK) {
        status = reorder(p, from);
    }
    restore_threads(threads);
    dnnl_memory_destroy(from);
    forget(&descriptor);
    return status;
}

static adamoe_status build(onednn_product *p, const adamoe_matrix *matrix, size_t first_row)
{
    DNNL_TRY("engine", dnnl_engine_create(&p->engine, dnnl_cpu, 0));
    DNNL_TRY("stream", dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags));
    ADAMOE_TRY(choose_layout(p));
    void *plain = plain_copy(matrix, first_row, p->rows, p->type);
    if (plain == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory for weights");
    }
    const adamoe_status status = pack(p, plain);
    free(plain);
    return status;
}

adamoe_status onednn_product_create(const adamoe_matrix *matrix, size_t first_row, size_t rows,
                                    adamoe_arithmetic type, size_t output_stride, onednn_product **out)
{
    onednn_product *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    }
    p->rows = rows;
    p->columns = matrix->columns;
    p->output_stride = output_stride;
    p->type = type;
    p->data_type = type == ADAMOE_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
    const adamoe_status status = build(p, matrix, first_row);
    if (status.code != ADAMOE_OK) {
        onednn_product_free(p);
        return status;
    }
    *out = p;
    return adamoe_ok();
}

void onednn_product_free(onednn_product *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < ROW_STEP; ++i) {
        free_compiled(p->rest[i]);
    }
    for (size_t i = 0; i < MAX_ROW_BLOCKS; ++i) {
        free_compiled(p->block[i]);
    }
    if (p->memory != NULL) {
        dnnl_memory_destroy(p->memory);
    }
    if (p->has_packed) {
        forget(&p->packed);
    }
    free(p->weights);
    if (p->stream != NULL) {
        dnnl_stream_destroy(p->stream);
    }
    if (p->engine != NULL) {
        dnnl_engine_destroy(p->engine);
    }
    free(p);
}

/* --------------------------------------------------------------------------------------------------- running
 */

/* The rows of the next call of a product of `count` rows. */
static size_t next_rows(size_t count)
{
    if (count >= ROW_STEP * MAX_ROW_BLOCKS) {
        return ROW_STEP * MAX_ROW_BLOCKS;
    }
    return count >= ROW_STEP ? count / ROW_STEP * ROW_STEP : count;
}

static size_t compiled_slot(size_t rows, bool *is_block)
{
    *is_block = rows >= ROW_STEP;
    return *is_block ? rows / ROW_STEP - 1 : rows;
}

adamoe_status onednn_product_reserve(onednn_product *p, size_t count)
{
    for (size_t left = count; left > 0;) {
        bool is_block = false;
        const size_t rows = next_rows(left), slot = compiled_slot(rows, &is_block);
        ADAMOE_TRY(compile(p, rows, is_block ? &p->block[slot] : &p->rest[slot]));
        left -= rows;
    }
    return adamoe_ok();
}

size_t onednn_product_scratch(const onednn_product *p)
{
    return p->scratch_bytes;
}

/* Memory objects are views and cheap to make; made anew for each call, so that threads share nothing. */
static adamoe_status execute(const onednn_product *p, const compiled *c, const void *x, float *y,
                             void *scratch)
{
    dnnl_memory_t input = NULL, output = NULL, room = NULL;
    dnnl_memory_desc_t bytes;
    /* oneDNN takes the address of inputs without const. */
    void *const source = (void *)(uintptr_t)x;
    const dnnl_dims_t sizes = {(dnnl_dim_t)(c->scratch_bytes > 0 ? c->scratch_bytes : 1)};
    const dnnl_dims_t strides = {1};
#if DNNL_VERSION_MAJOR < 3
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(&bytes, 1, sizes, dnnl_u8, strides);
#else
    dnnl_status_t status = dnnl_memory_desc_create_with_strides(&bytes, 1, sizes, dnnl_u8, strides);
#endif
    if (status == dnnl_success) {
        status = dnnl_memory_create(&input, DESC(c->x), p->engine, source);
    }
    if (status == dnnl_success) {
        status = dnnl_memory_create(&output, DESC(c->y), p->engine, y);
    }
    if (status == dnnl_success) {
        status = dnnl_memory_create(&room, DESC(bytes), p->engine, scratch);
    }
    if (status == dnnl_success) {
        const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, input},
                                             {DNNL_ARG_WEIGHTS, p->memory},
                                             {DNNL_ARG_DST, output},
                                             {DNNL_ARG_SCRATCHPAD, room}};
        status = dnnl_primitive_execute(c->primitive, p->stream, c->scratch_bytes > 0 ? 4 : 3, arguments);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(p->stream);
    }
    dnnl_memory_destroy(input);
    dnnl_memory_destroy(output);
    dnnl_memory_destroy(room);
    forget(&bytes);
    return status == dnnl_success ? adamoe_ok() : failure("matrix product", status);
}

adamoe_status onednn_product_run(const onednn_product *p, const void *x, size_t count, float *y,
                                 void *scratch)
{
    const size_t row_bytes = p->columns * (p->type == ADAMOE_BFLOAT16 ? sizeof(uint16_t) : sizeof(float));
    const unsigned char *input = x;
    adamoe_status status = adamoe_ok();
    const int threads = hold_to_one_thread();
    for (size_t left = count; left > 0 && status.code == ADAMOE_OK;) {
        bool is_block = false;
        const size_t rows = next_rows(left), slot = compiled_slot(rows, &is_block);
        status = execute(p, is_block ? p->block[slot] : p->rest[slot], input, y, scratch);
        input += rows * row_bytes;
        y += rows * p->output_stride;
        left -= rows;
    }
    restore_threads(threads);
    return status;
}

const char *onednn_product_implementation(const onednn_product *p)
{
    return p->implementation[0] == '\0' ? "none yet" : p->implementation;
}
