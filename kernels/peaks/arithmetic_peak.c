/*
 * The arithmetic peak of the threads of a team.
 */
#include "peaks/arithmetic_peak.h"
#include "peaks/burst.h"
#include "machine/clock.h"
#include "machine/cpu.h"
#include "peaks/fma_peak.h"
#include "numbers.h"
#include "peaks/peak_loops.h"

#include <string.h>

#define HALVES ADAMOE_OPERAND_PAIR(ADAMOE_BFLOAT16, ADAMOE_BFLOAT16)
#define BYTES  ADAMOE_OPERAND_PAIR(ADAMOE_INT8, ADAMOE_INT8)
#define FLOATS                                                                                               \
    (HALVES | ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_FLOAT32) |                                          \
     ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_BFLOAT16) |                                                  \
     ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_INT8) |                                                      \
     ADAMOE_OPERAND_PAIR(ADAMOE_BFLOAT16, ADAMOE_FLOAT32) |                                                  \
     ADAMOE_OPERAND_PAIR(ADAMOE_BFLOAT16, ADAMOE_INT8) | ADAMOE_OPERAND_PAIR(ADAMOE_INT8, ADAMOE_FLOAT32) |  \
     ADAMOE_OPERAND_PAIR(ADAMOE_INT8, ADAMOE_BFLOAT16))

/* Three bfloat16s are a float: what multiplies two of the former multiplies the latter in three steps. */
#define PARTS                                                                                                \
    (HALVES | ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_BFLOAT16) |                                         \
     ADAMOE_OPERAND_PAIR(ADAMOE_BFLOAT16, ADAMOE_FLOAT32))

/* With both cut, of the nine products six: the three that are left out are as small as what float32 rounds off. */
#define PRODUCTS_OF_PARTS (PARTS | ADAMOE_OPERAND_PAIR(ADAMOE_FLOAT32, ADAMOE_FLOAT32))

/* Sums of a tile. */
#define TILE_SUMS (16.0 * 16 * ADAMOE_TILE_PRODUCTS)

#if defined(__x86_64__)
const adamoe_arithmetic_path adamoe_arithmetic_paths[ADAMOE_ARITHMETIC_PATHS] = {
    {"vfmadd, AVX-512", 2.0 * 16 * ADAMOE_FMA_CHAINS, "avx512f", FLOATS, adamoe_fma_rounds_avx512},
    {"vfmadd, AVX2", 2.0 * 8 * ADAMOE_FMA_CHAINS, "avx2 fma", FLOATS, adamoe_fma_rounds_avx2},
    {"vdpbf16ps, AVX-512", 2.0 * 32 * ADAMOE_DOT_CHAINS, "avx512f avx512bw avx512bf16", HALVES,
     adamoe_bf16_rounds_avx512},
    {"vpdpbusd, AVX-512", 2.0 * 64 * ADAMOE_DOT_CHAINS, "avx512f avx512vnni", BYTES,
     adamoe_vnni_rounds_avx512},
    {"vpmaddwd, AVX2", 2.0 * 16 * ADAMOE_MADD_CHAINS, "avx2", BYTES, adamoe_madd_rounds_avx2},
    {"vpmaddubsw and vpmaddwd, AVX2", 2.0 * 32 * ADAMOE_MADD_CHAINS, "avx2", BYTES,
     adamoe_maddubs_rounds_avx2},
    {"tdpbf16ps, AMX", 2.0 * 32 * TILE_SUMS, "amx_tile amx_bf16", HALVES, adamoe_tile_bf16_rounds_amx},
    {"tdpbf16ps in three parts, AMX", 2.0 * 32 * TILE_SUMS / 3.0, "amx_tile amx_bf16", PARTS,
     adamoe_tile_bf16_rounds_amx},
    {"tdpbf16ps in six products of parts, AMX", 2.0 * 32 * TILE_SUMS / 6.0, "amx_tile amx_bf16",
     PRODUCTS_OF_PARTS, adamoe_tile_bf16_rounds_amx},
    {"tdpbssd, AMX", 2.0 * 64 * TILE_SUMS, "amx_tile amx_int8", BYTES, adamoe_tile_int8_rounds_amx},
};
#endif

adamoe_operand_pairs adamoe_kernel_pairs(const adamoe_kernel *kernel)
{
    return ADAMOE_OPERAND_PAIR(kernel->x, kernel->weight) | ADAMOE_OPERAND_PAIR(kernel->h, kernel->weight);
}

const char *adamoe_operands_text(const adamoe_kernel *kernel, char *text, size_t size)
{
    const char *const x = adamoe_arithmetic_name(kernel->x), *const h = adamoe_arithmetic_name(kernel->h);
    const char *const weight = adamoe_arithmetic_name(kernel->weight);
    if (kernel->x == kernel->h) {
        (void)snprintf(text, size, "%s inputs, %s weights", x, weight);
    } else {
        (void)snprintf(text, size, "%s x, %s h, %s weights", x, h, weight);
    }
    return text;
}

bool adamoe_arithmetic_path_serves(const adamoe_arithmetic_path *path, adamoe_operand_pairs pairs)
{
    return (path->pairs & pairs) == pairs;
}

bool adamoe_arithmetic_path_runs(const adamoe_arithmetic_path *path)
{
    char features[64], *rest = features;
    (void)snprintf(features, sizeof features, "%s", path->needs);
    for (const char *one = strsep(&rest, " "); one != NULL; one = strsep(&rest, " ")) {
        if (!adamoe_cpu_has(one)) {
            return false;
        }
    }
    return true;
}

typedef struct loop {
    const adamoe_arithmetic_path *path;
    size_t rounds;
} loop;

static void run_loop(void *context, uint32_t i)
{
    (void)i;
    const loop *l = context;
    volatile float keep = l->path->rounds(l->rounds); /* so that the loop is not optimised away */
    (void)keep;
}

double adamoe_arithmetic_burst(const adamoe_team *team, const adamoe_arithmetic_path *path, double seconds)
{
    loop l = {path, 1000};
    const double start = adamoe_now(); /* how long a round takes, on this thread; wakes the units up too */
    run_loop(&l, 0);
    run_loop(&l, 0);
    const double once = (adamoe_now() - start) / 2.0;
    l.rounds = once > 0.0 && once < seconds ? (size_t)((double)l.rounds * seconds / once) : l.rounds;
    const double total = path->operations * (double)l.rounds * (double)team->threads;
    return total / adamoe_burst(team, run_loop, &l) * 1e-9;
}
