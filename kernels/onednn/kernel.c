/*
 * The kernels onednn-f32 and onednn-bf16 as the contract wants them.
 *
 * onednn-bf16 rounds x and h to bfloat16, because oneDNN has no product of float32 and bfloat16.
 */
#include "onednn/kernel.h"
#include "onednn/packed.h"
#include "machine/host.h"

#include <stdio.h>

/* The names of the code behind an ordinary product. */
static bool try_product(adamoe_arithmetic type, char *names, size_t size)
{
    const float weights[64 * 4] = {0};
    const adamoe_matrix matrix = {weights, ADAMOE_F32, 4, 64};
    onednn_product *product = NULL;
    const adamoe_placement placement = adamoe_one_node(1);
    const onednn_place place = {&adamoe_heap_host, &placement, 0};
    if (onednn_product_create(&matrix, 0, 4, type, 64, 4, &place, &product).code != ADAMOE_OK) {
        return false;
    }
    const bool reserved = onednn_product_reserve(product, 256).code == ADAMOE_OK;
    (void)snprintf(names, size, "%s", onednn_product_implementation(product));
    onednn_product_free(product);
    return reserved;
}

/* Of a prepared layer what its products were compiled to; otherwise what a trial gives. */
static void describe_implementation(adamoe_arithmetic type, const adamoe_prepared *prepared, char *text,
                                    size_t size)
{
    char version[32], names[256];
    if (prepared != NULL) {
        onednn_prepared_implementation(prepared, names, sizeof names);
    } else if (!try_product(type, names, sizeof names)) {
        (void)snprintf(text, size, "none");
        return;
    }
    onednn_version(version, sizeof version);
    (void)snprintf(text, size, "oneDNN %s%s%s", version, names[0] == '\0' ? "" : " ", names);
}

/* Not where there is no such product, and not where what the kernels ask for comes out wrong. */
static bool is_supported(adamoe_arithmetic type, const char *missing, const char **why_not)
{
    const onednn_findings *found = onednn_find_faults(type);
    *why_not = found->available ? "oneDNN computes wrong products on this processor" : missing;
    return found->available && !found->fault[ONEDNN_WRONG];
}

static bool f32_supported(const char **why_not)
{
    return is_supported(ADAMOE_FLOAT32, "oneDNN has no float32 product for this processor", why_not);
}

static bool bf16_supported(const char **why_not)
{
    return is_supported(ADAMOE_BFLOAT16,
                        "oneDNN has no bfloat16 product for this processor (it needs AVX-512)", why_not);
}

static void f32_implementation(const adamoe_prepared *prepared, char *text, size_t size)
{
    describe_implementation(ADAMOE_FLOAT32, prepared, text, size);
}

static void bf16_implementation(const adamoe_prepared *prepared, char *text, size_t size)
{
    describe_implementation(ADAMOE_BFLOAT16, prepared, text, size);
}

static adamoe_status f32_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                 const adamoe_placement *placement, adamoe_prepared **out)
{
    return onednn_prepare(ADAMOE_FLOAT32, host, layer, placement, out);
}

static adamoe_status bf16_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                  const adamoe_placement *placement, adamoe_prepared **out)
{
    return onednn_prepare(ADAMOE_BFLOAT16, host, layer, placement, out);
}

static adamoe_status f32_prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,
                                        const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    return onednn_prepare_matrix(ADAMOE_FLOAT32, host, matrix, placement, out);
}

static adamoe_status bf16_prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,
                                         const adamoe_placement *placement, adamoe_prepared_matrix **out)
{
    return onednn_prepare_matrix(ADAMOE_BFLOAT16, host, matrix, placement, out);
}

#define COMMON_PARTS                                                                                         \
    .abi = ADAMOE_ABI, .struct_size = sizeof(adamoe_kernel),                                                 \
    .guarantees = ADAMOE_SAME_BITS_RUNS | ADAMOE_SAME_BITS_THREADS | ADAMOE_SAME_BITS_PLACEMENT,             \
    .accumulate = ADAMOE_FLOAT32, .silu_error = 5.0f, .release = onednn_release,                             \
    .work_bytes = onednn_work_bytes, .experts = onednn_experts, .release_matrix = onednn_release_matrix,     \
    .matrix_work_bytes = onednn_matrix_work_bytes, .multiply = onednn_multiply, .combine = onednn_combine

/* The blocks of this adapter; those that oneDNN computes in within them are its own, and no part of its API. */
#define BLOCKS(depth_step)                                                                                   \
    {                                                                                                        \
        .rows = ONEDNN_ROW_BLOCK, .columns = ONEDNN_COLUMN_BLOCK, .depth = (depth_step)                      \
    }

const adamoe_kernel adamoe_onednn_f32_kernel = {
    COMMON_PARTS,
    .name = "onednn-f32",
    .summary = "oneDNN's float32 products",
    .x = ADAMOE_FLOAT32,
    .h = ADAMOE_FLOAT32,
    .weight = ADAMOE_FLOAT32,
    .tiles = BLOCKS(0),
    .supported = f32_supported,
    .prepare = f32_prepare,
    .prepare_matrix = f32_prepare_matrix,
    .implementation = f32_implementation,
};

const adamoe_kernel adamoe_onednn_bf16_kernel = {
    COMMON_PARTS,
    .name = "onednn-bf16",
    .summary = "oneDNN's bfloat16 products: rounds x and h too",
    .x = ADAMOE_BFLOAT16,
    .h = ADAMOE_BFLOAT16,
    .weight = ADAMOE_BFLOAT16,
    .tiles = BLOCKS(ONEDNN_DEPTH_STEP),
    .supported = bf16_supported,
    .prepare = bf16_prepare,
    .prepare_matrix = bf16_prepare_matrix,
    .implementation = bf16_implementation,
};
