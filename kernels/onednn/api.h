/*
 * What differs between the C API of oneDNN 2.x and that of 3.x: memory descriptors are structures in the one
 * and pointers to be freed in the other, and matrix products are described in two steps or in one. For
 * adapter.c alone.
 */
#ifndef ADAMOE_ONEDNN_API_H
#define ADAMOE_ONEDNN_API_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stddef.h>

/* A matrix [rows, columns] with the given strides; `any` leaves the layout to oneDNN. */
static inline dnnl_status_t describe(dnnl_memory_desc_t *out, size_t rows, size_t columns,
                                     dnnl_data_type_t type, size_t row_stride, size_t column_stride, bool any)
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

static inline void forget(dnnl_memory_desc_t *descriptor)
{
    (void)descriptor;
}

static inline size_t desc_bytes(const dnnl_memory_desc_t *descriptor)
{
    return dnnl_memory_desc_get_size(descriptor);
}

static inline dnnl_status_t make_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *w,
                                        const dnnl_memory_desc_t *y, const_dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t matmul;
    const dnnl_status_t status = dnnl_matmul_desc_init(&matmul, x, w, NULL, y);
    return status != dnnl_success ? status
                                  : dnnl_primitive_desc_create(out, &matmul, attributes, engine, NULL);
}

static inline dnnl_status_t copy_queried(dnnl_memory_desc_t *out, const_dnnl_primitive_desc_t from,
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

static inline void forget(dnnl_memory_desc_t *descriptor)
{
    if (*descriptor != NULL) {
        dnnl_memory_desc_destroy(*descriptor);
        *descriptor = NULL;
    }
}

static inline size_t desc_bytes(const_dnnl_memory_desc_t descriptor)
{
    return dnnl_memory_desc_get_size(descriptor);
}

static inline dnnl_status_t make_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t w,
                                        const_dnnl_memory_desc_t y, const_dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(out, engine, x, w, NULL, y, attributes);
}

static inline dnnl_status_t copy_queried(dnnl_memory_desc_t *out, const_dnnl_primitive_desc_t from,
                                         dnnl_query_t what)
{
    const_dnnl_memory_desc_t found = dnnl_primitive_desc_query_md(from, what, 0);
    return found == NULL ? dnnl_runtime_error : dnnl_memory_desc_clone(out, found);
}
#endif

#endif
