/*
 * The one place that knows oneDNN.
 *
 * A primitive of oneDNN is made for one number of rows, and making one takes some tenths of a millisecond. So
 * a product of any number of rows is at most two calls: the largest multiple of ROW_STEP, and the rest. That
 * needs few primitives and computes no row in vain. The packed layout of the weights is the one that oneDNN
 * prefers for ROW_STEP rows; every other primitive is asked for with that layout.
 */
#include "onednn/adapter.h"
#include "numbers.h"
#include "onednn/api.h"
#include "machine/placement.h"

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

#define ROW_STEP      64
#define MAX_ROW_STEPS (ONEDNN_ROW_BLOCK / ROW_STEP)

/* One product for a fixed number of rows, described and then compiled. */
typedef struct compiled {
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t x, y, scratch;
    size_t scratch_bytes;
} compiled;

struct onednn_product {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    size_t rows, depth, output_stride;
    adamoe_arithmetic type;
    dnnl_data_type_t data_type;
    dnnl_memory_desc_t packed;
    bool has_packed;
    adamoe_host host;               /* of the weights */
    void *weights;                  /* as `packed` says */
    dnnl_memory_t memory;           /* of the weights */
    compiled *rest[ROW_STEP];       /* [r]: r rows, NULL until asked for */
    compiled *steps[MAX_ROW_STEPS]; /* [s]: (s + 1) * ROW_STEP rows, likewise */
    size_t scratch_bytes;           /* the most that a compiled one asks for */
    char implementation[128];
};

void onednn_version(char *text, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    (void)snprintf(text, size, "%d.%d.%d", version->major, version->minor, version->patch);
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

/* ------------------------------------------------------------------------------------------- compiling */

/* The scratch memory is the caller's: oneDNN's own belongs to the thread that made the primitive. float32 is
 * float32, even where an environment variable allows oneDNN to round it to bfloat16. */
static dnnl_status_t make_attributes(dnnl_primitive_attr_t *out)
{
    dnnl_status_t status = dnnl_primitive_attr_create(out);
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_fpmath_mode(*out, dnnl_fpmath_mode_strict);
    }
    return status;
}

/* A primitive descriptor for `count` rows, with the packed layout or (`any`) the one that oneDNN prefers. */
static adamoe_status make_descriptor(const onednn_product *p, size_t count, bool any, compiled *c,
                                     dnnl_primitive_desc_t *out)
{
    dnnl_memory_desc_t free_choice;
    dnnl_primitive_attr_t attributes = NULL;
    DNNL_TRY("describe input", describe(&c->x, count, p->depth, p->data_type, p->depth, 1, false));
    DNNL_TRY("describe output", describe(&c->y, count, p->rows, dnnl_f32, p->output_stride, 1, false));
    DNNL_TRY("describe weights", describe(&free_choice, p->depth, p->rows, p->data_type, 0, 0, true));
    dnnl_status_t status = make_attributes(&attributes);
    if (status == dnnl_success) {
        status = make_matmul(out, p->engine, DESC(c->x), any ? DESC(free_choice) : DESC(p->packed),
                             DESC(c->y), attributes);
    }
    if (attributes != NULL) {
        dnnl_primitive_attr_destroy(attributes);
    }
    forget(&free_choice);
    if (status == dnnl_success) {
        status = copy_queried(&c->scratch, *out, dnnl_query_scratchpad_md);
    }
    c->scratch_bytes = status == dnnl_success ? desc_bytes(DESC(c->scratch)) : 0;
    return status == dnnl_success ? adamoe_ok() : failure("matrix product", status);
}

/* For `count` rows, with the packed layout. What was described or compiled goes to free_parts. */
static adamoe_status describe_product(const onednn_product *p, size_t count, compiled *c,
                                      dnnl_primitive_desc_t *out)
{
    *out = NULL;
    const int threads = hold_to_one_thread();
    const adamoe_status status = make_descriptor(p, count, false, c, out);
    restore_threads(threads);
    return status;
}

static void free_descriptor(dnnl_primitive_desc_t descriptor)
{
    if (descriptor != NULL) {
        dnnl_primitive_desc_destroy(descriptor);
    }
}

/* Whether the list, joined by '+', has the first `length` characters of `name` as an entry. */
static bool is_listed(const char *list, const char *name, size_t length)
{
    for (const char *entry = list; *entry != '\0'; entry += *entry == '+') {
        const size_t size = strcspn(entry, "+");
        if (size == length && memcmp(entry, name, length) == 0) {
            return true;
        }
        entry += size;
    }
    return false;
}

void onednn_add_names(char *list, size_t size, const char *names)
{
    for (const char *name = names; *name != '\0'; name += *name == '+') {
        const size_t length = strcspn(name, "+"), used = strlen(list);
        if (!is_listed(list, name, length) && used + 1 + length < size) {
            (void)snprintf(list + used, size - used, "%s%.*s", used == 0 ? "" : "+", (int)length, name);
        }
        name += length;
    }
}

static adamoe_status finish_compiling(onednn_product *p, dnnl_primitive_desc_t descriptor, compiled *c)
{
    const char *name = NULL;
    DNNL_TRY("name", dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str, 0, &name));
    const int threads = hold_to_one_thread();
    const dnnl_status_t status = dnnl_primitive_create(&c->primitive, descriptor);
    restore_threads(threads);
    DNNL_TRY("compile", status);
    onednn_add_names(p->implementation, sizeof p->implementation, name);
    p->scratch_bytes = c->scratch_bytes > p->scratch_bytes ? c->scratch_bytes : p->scratch_bytes;
    return adamoe_ok();
}

static void free_parts(compiled *c)
{
    if (c->primitive != NULL) {
        dnnl_primitive_destroy(c->primitive);
    }
    forget(&c->x);
    forget(&c->y);
    forget(&c->scratch);
}

static void free_compiled(compiled *c)
{
    if (c != NULL) {
        free_parts(c);
        free(c);
    }
}

static adamoe_status compile_new(onednn_product *p, size_t count, compiled *c)
{
    dnnl_primitive_desc_t descriptor = NULL;
    adamoe_status status = describe_product(p, count, c, &descriptor);
    if (status.code == ADAMOE_OK) {
        status = finish_compiling(p, descriptor, c);
    }
    free_descriptor(descriptor);
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

/* --------------------------------------------------------------------------------------------- packing */

/* The rows as a plain array [rows, depth] of the product's type, with zeros behind a row's last column. */
static void *plain_copy(const adamoe_matrix *matrix, size_t first_row, const onednn_product *p)
{
    const size_t bytes = p->rows * p->depth * adamoe_arithmetic_bytes(p->type);
    void *copy = NULL;
    if (posix_memalign(&copy, 64, bytes + 64) != 0) {
        return NULL;
    }
    memset(copy, 0, bytes);
    float *floats = copy;
    uint16_t *halves = copy;
    for (size_t r = 0; r < p->rows; ++r) {
        for (size_t c = 0; c < matrix->columns; ++c) {
            const float value =
                adamoe_element(matrix->data, matrix->dtype, (first_row + r) * matrix->columns + c);
            if (p->type == ADAMOE_BFLOAT16) {
                halves[r * p->depth + c] = adamoe_float_to_bf16(value);
            } else {
                floats[r * p->depth + c] = value;
            }
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
    free_descriptor(descriptor);
    free_parts(&trial);
    restore_threads(threads);
    return status;
}

static adamoe_status reorder(onednn_product *p, const dnnl_memory_desc_t *plain, dnnl_memory_t from)
{
    dnnl_primitive_desc_t descriptor = NULL;
    dnnl_primitive_t primitive = NULL;
    DNNL_TRY("pack", dnnl_reorder_primitive_desc_create(&descriptor, DESC(*plain), p->engine, DESC(p->packed),
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

/* Wᵀ [depth, rows] lies in memory as the rows of W one after the other. */
static adamoe_status pack(onednn_product *p, const onednn_place *place, void *plain)
{
    dnnl_memory_desc_t descriptor;
    dnnl_memory_t from = NULL;
    p->weights = adamoe_placed_allocate(place->host, place->placement, place->node,
                                        desc_bytes(DESC(p->packed)) + 64, 64);
    if (p->weights == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory for packed weights");
    }
    DNNL_TRY("pack", dnnl_memory_create(&p->memory, DESC(p->packed), p->engine, p->weights));
    DNNL_TRY("pack", describe(&descriptor, p->depth, p->rows, p->data_type, 1, p->depth, false));
    const dnnl_status_t made = dnnl_memory_create(&from, DESC(descriptor), p->engine, plain);
    adamoe_status status = made == dnnl_success ? adamoe_ok() : failure("pack", made);
    const int threads = hold_to_one_thread();
    if (status.code == ADAMOE_OK) {
        status = reorder(p, &descriptor, from);
    }
    restore_threads(threads);
    dnnl_memory_destroy(from);
    forget(&descriptor);
    return status;
}

static adamoe_status build(onednn_product *p, const adamoe_matrix *matrix, size_t first_row,
                           const onednn_place *place)
{
    DNNL_TRY("engine", dnnl_engine_create(&p->engine, dnnl_cpu, 0));
    DNNL_TRY("stream", dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags));
    ADAMOE_TRY(choose_layout(p));
    void *plain = plain_copy(matrix, first_row, p);
    if (plain == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory for weights");
    }
    const adamoe_status status = pack(p, place, plain);
    free(plain);
    return status;
}

adamoe_status onednn_product_create(const adamoe_matrix *matrix, size_t first_row, size_t rows,
                                    adamoe_arithmetic type, size_t depth, size_t output_stride,
                                    const onednn_place *place, onednn_product **out)
{
    onednn_product *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "oneDNN: out of memory");
    }
    p->rows = rows;
    p->depth = depth;
    p->host = *place->host;
    p->output_stride = output_stride;
    p->type = type;
    p->data_type = type == ADAMOE_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
    const adamoe_status status = build(p, matrix, first_row, place);
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
    for (size_t i = 0; i < MAX_ROW_STEPS; ++i) {
        free_compiled(p->steps[i]);
    }
    if (p->memory != NULL) {
        dnnl_memory_destroy(p->memory);
    }
    if (p->has_packed) {
        forget(&p->packed);
    }
    if (p->weights != NULL) {
        p->host.release(p->host.context, p->weights);
    }
    if (p->stream != NULL) {
        dnnl_stream_destroy(p->stream);
    }
    if (p->engine != NULL) {
        dnnl_engine_destroy(p->engine);
    }
    free(p);
}

/* --------------------------------------------------------------------------------------------- running */

/* The rows of the next call of a product of `count` rows. */
static size_t next_rows(size_t count)
{
    return count >= ROW_STEP ? count / ROW_STEP * ROW_STEP : count;
}

adamoe_status onednn_product_reserve(onednn_product *p, size_t count)
{
    for (size_t left = count; left > 0;) {
        const size_t rows = next_rows(left);
        ADAMOE_TRY(compile(p, rows, rows >= ROW_STEP ? &p->steps[rows / ROW_STEP - 1] : &p->rest[rows]));
        left -= rows;
    }
    return adamoe_ok();
}

size_t onednn_product_scratch(const onednn_product *p)
{
    return p->scratch_bytes;
}

adamoe_status onednn_product_largest_scratch(const onednn_product *p, size_t *bytes)
{
    *bytes = 0;
    for (size_t rows = 1; rows <= ONEDNN_ROW_BLOCK; rows += rows < ROW_STEP ? 1 : ROW_STEP) {
        compiled trial = {0};
        dnnl_primitive_desc_t descriptor = NULL;
        const adamoe_status status = describe_product(p, rows, &trial, &descriptor);
        *bytes = trial.scratch_bytes > *bytes ? trial.scratch_bytes : *bytes;
        free_descriptor(descriptor);
        free_parts(&trial);
        ADAMOE_TRY(status);
    }
    return adamoe_ok();
}

/* Memory objects are views and cheap to make; made anew for each call, so that threads share nothing. */
static adamoe_status execute(const onednn_product *p, const compiled *c, const void *x, float *y,
                             void *scratch)
{
    dnnl_memory_t input = NULL, output = NULL, room = NULL;
    /* oneDNN takes the address of inputs without const. */
    void *const source = (void *)(uintptr_t)x;
    dnnl_status_t status = dnnl_memory_create(&input, DESC(c->x), p->engine, source);
    if (status == dnnl_success) {
        status = dnnl_memory_create(&output, DESC(c->y), p->engine, y);
    }
    if (status == dnnl_success && c->scratch_bytes > 0) {
        status = dnnl_memory_create(&room, DESC(c->scratch), p->engine, scratch);
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
    return status == dnnl_success ? adamoe_ok() : failure("matrix product", status);
}

adamoe_status onednn_product_run(const onednn_product *p, const void *x, size_t count, float *y,
                                 void *scratch)
{
    const size_t row_bytes = p->depth * adamoe_arithmetic_bytes(p->type);
    const unsigned char *input = x;
    adamoe_status status = adamoe_ok();
    const int threads = hold_to_one_thread();
    for (size_t left = count; left > 0 && status.code == ADAMOE_OK;) {
        const size_t rows = next_rows(left);
        status =
            execute(p, rows >= ROW_STEP ? p->steps[rows / ROW_STEP - 1] : p->rest[rows], input, y, scratch);
        input += rows * row_bytes;
        y += rows * p->output_stride;
        left -= rows;
    }
    restore_threads(threads);
    return status;
}

const char *onednn_product_implementation(const onednn_product *p)
{
    return p->implementation;
}
