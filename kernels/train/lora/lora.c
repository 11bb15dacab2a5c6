/*
 * Low-rank adapters, in products over all adapted matrices at once.
 */
#include "train/lora/lora.h"
#include "train/gemm.h"
#include "train/gemm_tiles.h"
#include "splitmix64.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Streams of the seed that nothing else draws from. */
#define ADAPTER_STREAM (UINT64_C(1) << 41)

struct adamoe_lora {
    adamoe_parameters *parameters;
    size_t rank;
    float scale; /* alpha / rank */
    size_t matrices;
    const adamoe_parameter **matrix; /* [matrices] */
    size_t *first;                   /* [matrices + 1] where the adapters of a matrix begin */
    float *frozen;                   /* W0 of one matrix after the other */
    float *value, *scaled;           /* [first[matrices]] adapters, and scale times them */
    adamoe_gemm *gemm;               /* [2 * matrices] */
    adamoe_gemm_space *space;
};

static bool is_adapted(const adamoe_parameter *p, unsigned adapted)
{
    return (p->kind & adapted) != 0 && p->rank == 2 && p->rows > 0;
}

static size_t list_matrices(adamoe_lora *lora, unsigned adapted)
{
    size_t frozen = 0;
    for (size_t i = 0; i < lora->parameters->parameters; ++i) {
        const adamoe_parameter *p = &lora->parameters->parameter[i];
        if (is_adapted(p, adapted)) {
            lora->first[lora->matrices + 1] =
                lora->first[lora->matrices] + lora->rank * (p->rows + p->columns);
            lora->matrix[lora->matrices++] = p;
            frozen += p->rows * p->columns;
        }
    }
    return frozen;
}

/* Keeps W0, and starts the adapters. */
static void begin(adamoe_lora *lora, uint64_t seed)
{
    float *frozen = lora->frozen;
    for (size_t i = 0; i < lora->matrices; ++i) {
        const adamoe_parameter *p = lora->matrix[i];
        const size_t count = p->rows * p->columns;
        const float scale = (float)(1.0 / sqrt((double)p->columns));
        adamoe_splitmix64 random = adamoe_splitmix64_stream(seed, ADAPTER_STREAM + i);
        memcpy(frozen, lora->parameters->value + p->first, count * sizeof *frozen);
        frozen += count;
        for (size_t j = 0; j < lora->rank * p->columns; ++j) {
            lora->value[lora->first[i] + j] = scale * adamoe_splitmix64_uniform(&random);
        }
    }
}

static adamoe_status allocate(adamoe_lora *lora, const adamoe_team *team, unsigned adapted)
{
    const size_t all = lora->parameters->parameters;
    lora->matrix = calloc(all + 1, sizeof *lora->matrix);
    lora->first = calloc(all + 1, sizeof *lora->first);
    lora->gemm = calloc(2 * all + 1, sizeof *lora->gemm);
    if (lora->matrix == NULL || lora->first == NULL || lora->gemm == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA: out of memory");
    }
    const size_t frozen = list_matrices(lora, adapted), count = lora->first[lora->matrices];
    if (lora->matrices == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "LoRA: the model has no matrix to adapt");
    }
    lora->frozen = calloc(frozen, sizeof *lora->frozen);
    lora->value = calloc(count, sizeof *lora->value);
    lora->scaled = calloc(count, sizeof *lora->scaled);
    if (lora->frozen == NULL || lora->value == NULL || lora->scaled == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA: out of memory for rank %zu", lora->rank);
    }
    return adamoe_gemm_space_create(adamoe_gemm_tiles_best(), team, 2 * lora->matrices, &lora->space);
}

adamoe_status adamoe_lora_create(adamoe_parameters *parameters, const adamoe_team *team, unsigned adapted,
                                 size_t rank, double alpha, uint64_t seed, adamoe_lora **out)
{
    if (rank == 0 || rank > parameters->count) {
        return adamoe_error(ADAMOE_BAD_INPUT, "LoRA: rank %zu is not within 1 .. %zu", rank,
                            parameters->count);
    }
    adamoe_lora *lora = calloc(1, sizeof *lora);
    if (lora == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "LoRA: out of memory");
    }
    lora->parameters = parameters;
    lora->rank = rank;
    lora->scale = (float)(alpha / (double)rank);
    const adamoe_status status = allocate(lora, team, adapted);
    if (status.code != ADAMOE_OK) {
        adamoe_lora_free(lora);
        return status;
    }
    begin(lora, seed);
    *out = lora;
    return adamoe_ok();
}

void adamoe_lora_free(adamoe_lora *lora)
{
    if (lora != NULL) {
        adamoe_gemm_space_free(lora->space);
        free(lora->matrix);
        free(lora->first);
        free(lora->frozen);
        free(lora->value);
        free(lora->scaled);
        free(lora->gemm);
        free(lora);
    }
}

float *adamoe_lora_values(adamoe_lora *lora, size_t *count)
{
    *count = lora->first[lora->matrices];
    return lora->value;
}

void adamoe_lora_merge(adamoe_lora *lora)
{
    const size_t rank = lora->rank;
    const float *frozen = lora->frozen;
    for (size_t i = 0; i < lora->first[lora->matrices]; ++i) {
        lora->scaled[i] = lora->scale * lora->value[i];
    }
    for (size_t i = 0; i < lora->matrices; ++i) {
        const adamoe_parameter *p = lora->matrix[i];
        const float *a = lora->scaled + lora->first[i];
        const float *b = lora->value + lora->first[i] + rank * p->columns;
        float *merged = lora->parameters->value + p->first;
        memcpy(merged, frozen, p->rows * p->columns * sizeof *merged);
        frozen += p->rows * p->columns;
        lora->gemm[i] = (adamoe_gemm){.rows = p->rows,
                                      .columns = p->columns,
                                      .depth = rank,
                                      .a = {b, rank, NULL, false},
                                      .b = {a, p->columns, NULL, false},
                                      .c = merged,
                                      .stride = p->columns,
                                      .add = true};
    }
    adamoe_gemm_run(lora->space, lora->gemm, lora->matrices);
}

void adamoe_lora_gradient(adamoe_lora *lora, const float *gradient, float *adapters)
{
    const size_t rank = lora->rank;
    for (size_t i = 0; i < lora->matrices; ++i) {
        const adamoe_parameter *p = lora->matrix[i];
        const size_t at_a = lora->first[i], at_b = at_a + rank * p->columns;
        const float *dw = gradient + p->first;
        lora->gemm[2 * i] = (adamoe_gemm){.rows = rank,
                                          .columns = p->columns,
                                          .depth = p->rows,
                                          .a = {lora->scaled + at_b, rank, NULL, true},
                                          .b = {dw, p->columns, NULL, false},
                                          .c = adapters + at_a,
                                          .stride = p->columns};
        lora->gemm[2 * i + 1] = (adamoe_gemm){.rows = p->rows,
                                              .columns = rank,
                                              .depth = p->columns,
                                              .a = {dw, p->columns, NULL, false},
                                              .b = {lora->scaled + at_a, p->columns, NULL, true},
                                              .c = adapters + at_b,
                                              .stride = rank};
    }
    adamoe_gemm_run(lora->space, lora->gemm, 2 * lora->matrices);
}
