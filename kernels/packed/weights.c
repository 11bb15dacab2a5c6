/*
 * Packing of weights.
 */
#include "packed/weights.h"
#include "machine/cpu.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

static size_t cache_bytes(const adamoe_cpu *cpu, int level, size_t otherwise)
{
    for (size_t i = 0; i < cpu->caches; ++i) {
        if (cpu->cache[i].level == level && strcmp(cpu->cache[i].type, "Instruction") != 0) {
            return cpu->cache[i].bytes;
        }
    }
    return otherwise;
}

static size_t groups_of(const packed_products *products, size_t terms)
{
    return (terms + products->weight_group - 1) / products->weight_group;
}

size_t adamoe_packed_padded_depth(const packed_products *products, size_t depth)
{
    return groups_of(products, depth) * products->weight_group;
}

size_t adamoe_packed_term_bytes(const packed_products *products)
{
    return products->input_bytes * (products->input_parts == 0 ? 1 : products->input_parts);
}

/* The first level for a panel, as it is multiplied; half of the second for inputs, an eighth for sums: what a
 * task's weights stream through the second level from one block of depth to the next must not push its sums
 * out of there. */
packed_blocks adamoe_packed_blocks(const packed_products *products)
{
    adamoe_cpu cpu;
    adamoe_cpu_describe(&cpu);
    const packed_products *multiplied = products->widened != NULL ? products->widened : products;
    const size_t first = cache_bytes(&cpu, 1, 32768), second = cache_bytes(&cpu, 2, 262144);
    const size_t term = PACKED_VECTORS * products->lanes * multiplied->weight_bytes;
    packed_blocks blocks = {.depth = first / term / 16 * 16, .sums = second / 8};
    blocks.depth = blocks.depth < 64 ? 64 : blocks.depth;
    blocks.rows = second / 2 / (blocks.depth * products->input_bytes);
    blocks.rows = blocks.rows < PACKED_VECTOR_ROWS ? PACKED_VECTOR_ROWS : blocks.rows;
    return blocks;
}

/* Tiles of a group, at most: what more of them read no longer comes from the second level. */
#define MOST_TILES 16

/* One block of all depth. The second level has its inputs, a quarter of it is for sums: the more panels a task has, the
 * longer weights come as one stream. */
static packed_blocks whole_blocks(const packed_products *products, size_t depth)
{
    adamoe_cpu cpu;
    adamoe_cpu_describe(&cpu);
    const size_t second = cache_bytes(&cpu, 2, 262144);
    const size_t terms = adamoe_packed_padded_depth(products, depth + (depth == 0));
    const size_t row = terms * adamoe_packed_term_bytes(products);
    const size_t most = MOST_TILES * products->most_rows, fit = second / 2 / row;
    return (packed_blocks){.depth = terms,
                           .rows = fit > most                  ? most
                                   : fit < products->most_rows ? products->most_rows
                                                               : fit,
                           .sums = second / 4};
}

size_t adamoe_packed_panel_outputs(const packed_matrix *matrix)
{
    return (matrix->paired ? 1 : PACKED_VECTORS) * matrix->products->lanes;
}

size_t adamoe_packed_group_bytes(const packed_products *products)
{
    const size_t parts = products->weight_parts == 0 ? 1 : products->weight_parts;
    return parts * PACKED_VECTORS * products->lanes * products->weight_group * products->weight_bytes;
}

static size_t block_terms(const packed_matrix *matrix, size_t first)
{
    return matrix->depth - first < matrix->blocks.depth ? matrix->depth - first : matrix->blocks.depth;
}

size_t adamoe_packed_block_groups(const packed_matrix *matrix, size_t first)
{
    return groups_of(matrix->products, block_terms(matrix, first));
}

/* Blocks but the last are whole groups, so the groups before a block are those of the terms before it. */
static size_t panel_offset(const packed_matrix *matrix, const packed_part *part, size_t first, size_t panel)
{
    const size_t before = groups_of(matrix->products, first) * part->panels;
    return (before + panel * adamoe_packed_block_groups(matrix, first)) *
           adamoe_packed_group_bytes(matrix->products);
}

const char *adamoe_packed_panel(const packed_matrix *matrix, const packed_part *part, size_t first,
                                size_t panel_of_part)
{
    return part->weights + panel_offset(matrix, part, first, panel_of_part);
}

/* One output of a matrix: where its weights come from. */
typedef struct source {
    const adamoe_matrix *matrix; /* NULL: a panel's last outputs may not exist */
    size_t row;
} source;

static source find_source(const packed_matrix *packed, const adamoe_matrix *first,
                          const adamoe_matrix *second, size_t panel, size_t column)
{
    const size_t lanes = packed->products->lanes, vector = column / lanes;
    const adamoe_matrix *matrix = packed->paired && vector > 0 ? second : first;
    const size_t row =
        packed->paired ? panel * lanes + column % lanes : panel * PACKED_VECTORS * lanes + column;
    return row < packed->outputs ? (source){matrix, row} : (source){NULL, 0};
}

static void read_row(source from, size_t depth, float *row)
{
    for (size_t c = 0; c < depth; ++c) {
        row[c] = from.matrix == NULL
                     ? 0.0f
                     : adamoe_element(from.matrix->data, from.matrix->dtype, from.row * depth + c);
    }
}

static void store_weight(const packed_products *products, char *to, float weight, float scale)
{
    if (products->weight_bytes == sizeof(float)) {
        memcpy(to, &weight, sizeof weight);
    } else if (products->weight_bytes == sizeof(uint16_t)) {
        const uint16_t half = adamoe_float_to_bf16(weight);
        memcpy(to, &half, sizeof half);
    } else {
        const float q = scale == 0.0f ? 0.0f : rintf(weight / scale);
        *(int8_t *)to = (int8_t)fmaxf(-127.0f, fminf(127.0f, q));
    }
}

static float largest_of(const float *row, size_t count)
{
    float largest = 0.0f;
    for (size_t c = 0; c < count; ++c) {
        largest = fmaxf(largest, fabsf(row[c]));
    }
    return largest;
}

static bool has_steps(const packed_products *products)
{
    return products->weight_bytes == sizeof(int8_t) || products->weight_parts != 0;
}

/* Where term `term` of a panel's output `column` stands among the group that has it. */
static size_t place_in_group(const packed_products *products, size_t column, size_t term)
{
    const size_t group = products->weight_group, lanes = products->lanes;
    const size_t side_by_side = products->neighbours == 0 ? group : products->neighbours;
    const size_t vector = column / lanes * (group / side_by_side) + term % group / side_by_side;
    return (vector * lanes + column % lanes) * side_by_side + term % side_by_side;
}

/* Distributes one output's weights over the panel's blocks. Returns their sum for int8. */
static int32_t store_row(const packed_matrix *packed, packed_part *part, size_t panel, size_t column,
                         const float *row, float scale)
{
    const packed_products *products = packed->products;
    const size_t group_bytes = adamoe_packed_group_bytes(products), group = products->weight_group;
    int32_t sum = 0;
    for (size_t first = 0; first < packed->depth; first += packed->blocks.depth) {
        char *const at = part->weights + panel_offset(packed, part, first, panel);
        const size_t terms = block_terms(packed, first);
        for (size_t c = 0; c < groups_of(products, terms) * group; ++c) {
            char *const to =
                at + c / group * group_bytes + place_in_group(products, column, c) * products->weight_bytes;
            store_weight(products, to, c < terms ? row[first + c] : 0.0f, scale);
            sum += products->weight_bytes == 1 ? *(const int8_t *)to : 0;
        }
    }
    return sum;
}

/* Bytes of a row that is cut into parts, as `quantise` leaves it. */
static size_t cut_bytes(const packed_products *products, size_t depth)
{
    return products->weight_parts == 0
               ? 0
               : adamoe_packed_padded_depth(products, depth) * adamoe_packed_term_bytes(products);
}

/* The first parts of one output's weights. Depth is one block. */
static void store_parts(const packed_matrix *packed, packed_part *part, size_t panel, size_t column,
                        const float *row, float step, char *cut)
{
    const packed_products *products = packed->products;
    const size_t terms = products->weight_group, bytes = products->weight_bytes;
    const size_t cut_part = terms * bytes, cut_group = products->input_parts * cut_part;
    const size_t group_bytes = adamoe_packed_group_bytes(products);
    char *at = part->weights + panel_offset(packed, part, 0, panel);
    memset(cut, 0, cut_bytes(products, packed->depth));
    (void)products->quantise(row, packed->depth, step, cut, cut_group);
    for (size_t g = 0; g < groups_of(products, packed->depth); ++g, at += group_bytes, cut += cut_group) {
        for (size_t p = 0; p < products->weight_parts; ++p) {
            char *const to = at + p * (group_bytes / products->weight_parts);
            for (size_t c = 0; c < terms; ++c) {
                memcpy(to + place_in_group(products, column, c) * bytes, cut + p * cut_part + c * bytes,
                       bytes);
            }
        }
    }
}

/* One part holds what bfloat16 does. */
static void round_row(const packed_products *products, size_t count, float *row)
{
    for (size_t c = 0; c < count && products->weight_parts == 1; ++c) {
        row[c] = adamoe_bf16_to_float(adamoe_float_to_bf16(row[c]));
    }
}

/* `cut` is [cut_bytes]. */
static void pack_part(const packed_matrix *packed, packed_part *part, const adamoe_matrix *first,
                      const adamoe_matrix *second, float *row, char *cut)
{
    const packed_products *products = packed->products;
    const size_t columns = PACKED_VECTORS * products->lanes;
    for (size_t p = 0; p < part->panels; ++p) {
        for (size_t c = 0; c < columns; ++c) {
            read_row(find_source(packed, first, second, part->first_panel + p, c), packed->depth, row);
            round_row(products, packed->depth, row);
            const float step = has_steps(products) ? products->step(largest_of(row, packed->depth)) : 0.0f;
            if (products->weight_parts != 0) {
                store_parts(packed, part, p, c, row, step, cut);
                part->scale[p * columns + c] = step;
                continue;
            }
            const int32_t sum = store_row(packed, part, p, c, row, step);
            if (part->scale != NULL) {
                part->scale[p * columns + c] = step;
                part->excess[p * columns + c] = products->excess * sum;
            }
        }
    }
}

static void *allocate(const adamoe_host *host, bool placed, uint32_t node, size_t bytes)
{
    const size_t least = bytes == 0 ? ALIGNMENT : bytes;
    if (placed && host->allocate_on != NULL) {
        return host->allocate_on(host->context, least, ALIGNMENT, node);
    }
    return host->allocate(host->context, least, ALIGNMENT);
}

static bool allocate_part(const adamoe_host *host, const packed_matrix *packed, bool placed,
                          packed_part *part)
{
    const size_t outputs = part->panels * PACKED_VECTORS * packed->products->lanes;
    const size_t bytes = part->panels * groups_of(packed->products, packed->depth) *
                         adamoe_packed_group_bytes(packed->products);
    part->weights = allocate(host, placed, part->node, bytes);
    const bool steps = has_steps(packed->products), excess = packed->products->weight_bytes == sizeof(int8_t);
    part->scale = steps ? allocate(host, false, 0, outputs * sizeof *part->scale) : NULL;
    part->excess = excess ? allocate(host, false, 0, outputs * sizeof *part->excess) : NULL;
    return part->weights != NULL && (part->scale != NULL || !steps) && (part->excess != NULL || !excess);
}

/* Blocks of equal depth, near the wanted one: a short last one would cost as many loads and stores of sums as
 * a long one. */
static void balance_blocks(packed_matrix *packed)
{
    const size_t blocks = (packed->depth + packed->blocks.depth / 2) / packed->blocks.depth;
    if (blocks > 0) {
        packed->blocks.depth = ((packed->depth + blocks - 1) / blocks + 15) / 16 * 16;
    }
}

/* How many parts there are, and where each goes. */
static bool divide(const adamoe_placement *placement, uint32_t node, packed_matrix *packed)
{
    const bool everywhere = node == ADAMOE_ALL_NODES;
    const bool spread =
        everywhere && (placement->policy == ADAMOE_NUMA_EXPERTS || placement->policy == ADAMOE_NUMA_SPLIT);
    packed->parts = spread ? placement->nodes : 1;
    for (uint32_t i = 0; i < packed->parts && packed->part != NULL; ++i) {
        packed_part *part = &packed->part[i];
        part->node = spread ? i : node;
        part->first_panel = packed->panels * i / packed->parts;
        part->panels = packed->panels * (i + 1) / packed->parts - part->first_panel;
    }
    return !everywhere || placement->policy != ADAMOE_NUMA_LOCAL;
}

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "packed weights: out of memory");
}

adamoe_status adamoe_packed_create(const adamoe_host *host, const packed_products *products,
                                   const adamoe_matrix *first, const adamoe_matrix *second,
                                   const adamoe_placement *placement, uint32_t node, packed_matrix *out)
{
    packed_matrix packed = {
        .products = products, .paired = second != NULL, .outputs = first->rows, .depth = first->columns};
    if (products->whole_depth) {
        packed.blocks = whole_blocks(products, packed.depth);
    } else {
        packed.blocks = adamoe_packed_blocks(products);
        balance_blocks(&packed);
    }
    const size_t outputs = adamoe_packed_panel_outputs(&packed);
    packed.panels = (packed.outputs + outputs - 1) / outputs;
    (void)divide(placement, node, &packed);
    packed.part = allocate(host, false, 0, packed.parts * sizeof *packed.part);
    float *row = malloc((packed.depth + 1) * sizeof *row);
    char *cut = malloc(cut_bytes(products, packed.depth) + 1);
    bool complete = packed.part != NULL && row != NULL && cut != NULL;
    if (packed.part != NULL) {
        memset(packed.part, 0, packed.parts * sizeof *packed.part);
        const bool placed = divide(placement, node, &packed);
        for (uint32_t i = 0; i < packed.parts && complete; ++i) {
            complete = allocate_part(host, &packed, placed, &packed.part[i]);
        }
    }
    for (uint32_t i = 0; i < packed.parts && complete; ++i) {
        pack_part(&packed, &packed.part[i], first, second, row, cut);
    }
    free(row);
    free(cut);
    if (!complete) {
        adamoe_packed_free(host, &packed);
        return out_of_memory();
    }
    *out = packed;
    return adamoe_ok();
}

static void give_back(const adamoe_host *host, void *memory)
{
    if (memory != NULL) {
        host->release(host->context, memory);
    }
}

void adamoe_packed_free(const adamoe_host *host, packed_matrix *matrix)
{
    for (uint32_t i = 0; i < matrix->parts && matrix->part != NULL; ++i) {
        give_back(host, matrix->part[i].weights);
        give_back(host, matrix->part[i].scale);
        give_back(host, matrix->part[i].excess);
    }
    give_back(host, matrix->part);
    *matrix = (packed_matrix){0};
}
