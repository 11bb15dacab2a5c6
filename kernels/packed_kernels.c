/*
 * The tables of the packed kernels.
 *
 * All guarantees hold by construction: an element of a product is one sum in ascending order of its terms,
 * whatever tile, task or thread computes it (packed/tile.h), and a token's rows are added in the plan's
 * order. Few rows go through tiles of AMX as many do: tdpbf16ps rounds in another order than AVX-512, so that a
 * path of its own for them would cost the guarantee for batch-mates.
 */
#include "packed_kernels.h"
#include "machine/cpu.h"
#include "packed/experts.h"
#include "train/backward.h"

static bool avx2_supported(const char **why_not)
{
    *why_not = "needs AVX2 and FMA";
    return adamoe_cpu_has("avx2") && adamoe_cpu_has("fma");
}

static bool avx512_supported(const char **why_not)
{
    *why_not = "needs AVX-512 F";
    return adamoe_cpu_has("avx512f");
}

/* BW, because compilers take leave to use it wherever they may use BF16. */
static bool avx512_bf16_supported(const char **why_not)
{
    *why_not = "needs AVX-512 F, BW and BF16";
    return adamoe_cpu_has("avx512f") && adamoe_cpu_has("avx512bw") && adamoe_cpu_has("avx512bf16");
}

static bool avx512_vnni_supported(const char **why_not)
{
    *why_not = "needs AVX-512 F and VNNI";
    return adamoe_cpu_has("avx512f") && adamoe_cpu_has("avx512vnni");
}

/* Beside the tiles these need what rounds and scales, and compilers the rest of AVX-512: every processor with AMX has
 * it. A build that emulates them has what it needs. */
static bool has_avx512_beside_tiles(void)
{
    return adamoe_cpu_has("avx512f") && adamoe_cpu_has("avx512bw") &&
           (adamoe_cpu_has("avx512vl") || adamoe_cpu_emulates_avx512());
}

static bool amx_bf16_supported(const char **why_not)
{
    *why_not = adamoe_cpu_tiles_obstacle();
    if (*why_not != NULL) {
        return false;
    }
    *why_not = "needs AMX's bfloat16 products, and AVX-512 F, BW, VL and BF16";
    return adamoe_cpu_has("amx_bf16") && has_avx512_beside_tiles() && adamoe_cpu_has("avx512bf16");
}

static bool amx_int8_supported(const char **why_not)
{
    *why_not = adamoe_cpu_tiles_obstacle();
    if (*why_not != NULL) {
        return false;
    }
    *why_not = "needs AMX's int8 products, and AVX-512 F, BW, VL and VNNI";
    return adamoe_cpu_has("amx_int8") && has_avx512_beside_tiles() && adamoe_cpu_has("avx512vnni");
}

/* The functions that depend on the products, and the table. */
#define PACKED_KERNEL(kernel, products, the_name, the_summary, is_supported, type, weights, sums, tile_rows, \
                      tile_columns, backward_bytes, backward_pass)                                           \
    static adamoe_status kernel##_prepare(const adamoe_host *host, const adamoe_layer *layer,                \
                                          const adamoe_placement *placement, adamoe_prepared **out)          \
    {                                                                                                        \
        return adamoe_packed_prepare(&products, host, layer, placement, out);                                \
    }                                                                                                        \
    static adamoe_status kernel##_prepare_matrix(const adamoe_host *host, const adamoe_matrix *matrix,       \
                                                 const adamoe_placement *placement,                          \
                                                 adamoe_prepared_matrix **out)                               \
    {                                                                                                        \
        return adamoe_packed_prepare_matrix(&products, host, matrix, placement, out);                        \
    }                                                                                                        \
    static adamoe_status kernel##_combine(const adamoe_run *run, size_t hidden_size, const float *x,         \
                                          const float *outputs, const adamoe_plan *plan, float *y)           \
    {                                                                                                        \
        return adamoe_packed_combine(&products, run, hidden_size, x, outputs, plan, y);                      \
    }                                                                                                        \
    static const adamoe_kernel kernel = {                                                                    \
        .abi = ADAMOE_ABI,                                                                                   \
        .struct_size = sizeof(adamoe_kernel),                                                                \
        .guarantees = ADAMOE_SAME_BITS_RUNS | ADAMOE_SAME_BITS_THREADS | ADAMOE_SAME_BITS_BATCH |            \
                      ADAMOE_SAME_BITS_PLACEMENT,                                                            \
        .name = the_name,                                                                                    \
        .summary = the_summary,                                                                              \
        .x = type,                                                                                           \
        .h = type,                                                                                           \
        .weight = weights,                                                                                   \
        .accumulate = sums,                                                                                  \
        .silu_error = SILU_ERROR,                                                                            \
        .supported = is_supported,                                                                           \
        .prepare = kernel##_prepare,                                                                         \
        .release = adamoe_packed_release,                                                                    \
        .work_bytes = adamoe_packed_work_bytes,                                                              \
        .experts = adamoe_packed_experts,                                                                    \
        .prepare_matrix = kernel##_prepare_matrix,                                                           \
        .release_matrix = adamoe_packed_release_matrix,                                                      \
        .matrix_work_bytes = adamoe_packed_matrix_work_bytes,                                                \
        .multiply = adamoe_packed_multiply_matrix,                                                           \
        .tiles = {.rows = tile_rows, .columns = tile_columns, .depth = 512},                                 \
        .backward_work_bytes = backward_bytes,                                                               \
        .backward = backward_pass,                                                                           \
        .combine = kernel##_combine,                                                                         \
    }

/* The largest relative error of lanes_silu over all floats, in units of 2^-24, is below this: a test tries
 * them. */
#define SILU_ERROR 4.0f

PACKED_KERNEL(avx2_f32, adamoe_products_f32_avx2, "avx2-f32", "packed float32 weights, AVX2", avx2_supported,
              ADAMOE_FLOAT32, ADAMOE_FLOAT32, ADAMOE_FLOAT32, 6, 16, adamoe_backward_avx2_work_bytes,
              adamoe_backward_avx2);
PACKED_KERNEL(avx2_bf16, adamoe_products_bf16_avx2, "avx2-bf16",
              "packed bfloat16 weights, float32 inputs, AVX2", avx2_supported, ADAMOE_FLOAT32,
              ADAMOE_BFLOAT16, ADAMOE_FLOAT32, 6, 16, NULL, NULL);
PACKED_KERNEL(avx2_int8, adamoe_products_int8_avx2, "avx2-int8", "packed int8 weights, int8 inputs, AVX2",
              avx2_supported, ADAMOE_INT8, ADAMOE_INT8, ADAMOE_INT32, 3, 16, NULL, NULL);
PACKED_KERNEL(avx512_f32, adamoe_products_f32_avx512, "avx512-f32", "packed float32 weights, AVX-512",
              avx512_supported, ADAMOE_FLOAT32, ADAMOE_FLOAT32, ADAMOE_FLOAT32, 14, 32,
              adamoe_backward_avx512_work_bytes, adamoe_backward_avx512);
PACKED_KERNEL(avx512_bf16, adamoe_products_bf16_avx512, "avx512-bf16",
              "packed bfloat16 weights, float32 inputs, AVX-512", avx512_supported, ADAMOE_FLOAT32,
              ADAMOE_BFLOAT16, ADAMOE_FLOAT32, 14, 32, NULL, NULL);
PACKED_KERNEL(avx512_dpbf16, adamoe_products_dpbf16_avx512, "avx512-dpbf16",
              "packed bfloat16 weights, x and h rounded to bfloat16, AVX-512 BF16", avx512_bf16_supported,
              ADAMOE_BFLOAT16, ADAMOE_BFLOAT16, ADAMOE_FLOAT32, 14, 32, NULL, NULL);
PACKED_KERNEL(avx512_int8, adamoe_products_int8_avx512, "avx512-int8",
              "packed int8 weights, int8 inputs, AVX-512 VNNI", avx512_vnni_supported, ADAMOE_INT8,
              ADAMOE_INT8, ADAMOE_INT32, 14, 32, NULL, NULL);
PACKED_KERNEL(amx_int8, adamoe_products_int8_amx, "amx-int8", "packed int8 weights, int8 inputs, AMX tiles",
              amx_int8_supported, ADAMOE_INT8, ADAMOE_INT8, ADAMOE_INT32, 32, 32, NULL, NULL);
PACKED_KERNEL(amx_bf16, adamoe_products_bf16_amx, "amx-bf16",
              "packed bfloat16 weights, x and h rounded to bfloat16, AMX tiles", amx_bf16_supported,
              ADAMOE_BFLOAT16, ADAMOE_BFLOAT16, ADAMOE_FLOAT32, 32, 32, NULL, NULL);
PACKED_KERNEL(amx_split, adamoe_products_split_amx, "amx-split",
              "packed bfloat16 weights, float32 inputs as three bfloat16 parts each, AMX tiles",
              amx_bf16_supported, ADAMOE_FLOAT32, ADAMOE_BFLOAT16, ADAMOE_FLOAT32, 32, 32, NULL, NULL);
PACKED_KERNEL(amx_split_f32, adamoe_products_split_f32_amx, "amx-split-f32",
              "packed float32 weights and float32 inputs, both as three bfloat16 parts each, AMX tiles",
              amx_bf16_supported, ADAMOE_FLOAT32, ADAMOE_FLOAT32, ADAMOE_FLOAT32, 32, 32, NULL, NULL);

/* amx-split-f32 stands before avx512-f32, which is the default then, until it is known which of them is faster. */
const adamoe_kernel *const adamoe_packed_kernels[] = {
    &avx2_int8,     &avx2_bf16,  &avx2_f32, &avx512_int8, &avx512_dpbf16, &avx512_bf16,
    &amx_split_f32, &avx512_f32, &amx_int8, &amx_bf16,    &amx_split,
};

const size_t adamoe_packed_kernel_count = sizeof adamoe_packed_kernels / sizeof *adamoe_packed_kernels;
