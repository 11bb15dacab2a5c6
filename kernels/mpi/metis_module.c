/*
 * A weighted graph cut into parts of equal weight, by METIS (Karypis and Kumar 1998): the only file that knows it.
 *
 * METIS cuts in two here, no more: its own recursion prints to standard output where a heavy vertex leaves a side with
 * fewer vertices than parts.
 */
#include "mpi/metis_module.h"

#include <metis.h>
#include <stdlib.h>
#include <string.h>

/* The whole graph, and the vertices that are being cut in two, as METIS takes them: neighbours in compressed rows. */
typedef struct cutting {
    size_t vertices, room;
    const uint64_t *weight, *edge;
    uint64_t by_weight, by_edge; /* divisors */
    idx_t *first, *neighbour, *tie, *heavy, *found;
    uint32_t *vertex; /* [vertices] in the order of their parts, as far as these are known */
    bool *side;       /* [vertices] the best so far */
} cutting;

static void close_cutting(cutting *c)
{
    free(c->first);
    free(c->neighbour);
    free(c->tie);
    free(c->heavy);
    free(c->found);
    free(c->vertex);
    free(c->side);
}

/* What the values are divided by so that their sum is below 2^30. */
static uint64_t divisor_of(const uint64_t *value, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; ++i) {
        sum += value[i];
    }
    return (sum >> 30) + 1;
}

static bool open_cutting(cutting *c)
{
    const size_t n = c->vertices;
    c->by_weight = divisor_of(c->weight, n);
    c->by_edge = divisor_of(c->edge, n * n);
    c->first = calloc(n + 1, sizeof(idx_t));
    c->neighbour = calloc(n * n, sizeof(idx_t));
    c->tie = calloc(n * n, sizeof(idx_t));
    c->heavy = calloc(n, sizeof(idx_t));
    c->found = calloc(n, sizeof(idx_t));
    c->vertex = calloc(n, sizeof(uint32_t));
    c->side = calloc(n, sizeof(bool));
    for (size_t v = 0; v < n && c->vertex != NULL; ++v) {
        c->vertex[v] = (uint32_t)v;
    }
    return c->first != NULL && c->neighbour != NULL && c->tie != NULL && c->heavy != NULL &&
           c->found != NULL && c->vertex != NULL && c->side != NULL;
}

static uint64_t edge_between(const cutting *c, const uint32_t *vertex, size_t a, size_t b)
{
    return c->edge[vertex[a] * c->vertices + vertex[b]];
}

static void make_graph(cutting *c, const uint32_t *vertex, size_t count)
{
    idx_t edges = 0;
    for (size_t v = 0; v < count; ++v) {
        c->heavy[v] = 1 + (idx_t)(c->weight[vertex[v]] / c->by_weight); /* a sum of 0 could not be balanced */
        for (size_t other = 0; other < count; ++other) {
            const idx_t tie = (idx_t)(edge_between(c, vertex, v, other) / c->by_edge);
            if (other != v && tie > 0) {
                c->neighbour[edges] = (idx_t)other;
                c->tie[edges++] = tie;
            }
        }
        c->first[v + 1] = edges;
    }
}

/* ------------------------------------------------------------------------------------------------ one cut */

/* What moving v to the other side adds to the cut. */
static int64_t loss_of_move(const cutting *c, const uint32_t *vertex, size_t count, size_t v)
{
    int64_t loss = 0;
    for (size_t other = 0; other < count; ++other) {
        const int64_t tie = other == v ? 0 : (int64_t)edge_between(c, vertex, v, other);
        loss += c->found[other] == c->found[v] ? tie : -tie;
    }
    return loss;
}

/* Moves vertices to the other side until side `from` has no more than `most`. */
static void keep_to_room(cutting *c, const uint32_t *vertex, size_t count, idx_t from, size_t most)
{
    size_t held = 0;
    for (size_t v = 0; v < count; ++v) {
        held += c->found[v] == from;
    }
    for (; held > most; --held) {
        size_t best = count;
        int64_t least = 0;
        for (size_t v = 0; v < count; ++v) {
            const int64_t loss = c->found[v] == from ? loss_of_move(c, vertex, count, v) : 0;
            if (c->found[v] == from && (best == count || loss < least)) {
                best = v;
                least = loss;
            }
        }
        c->found[best] = 1 - from;
    }
}

static uint64_t cut_of(const cutting *c, const uint32_t *vertex, size_t count)
{
    uint64_t cut = 0;
    for (size_t v = 0; v < count; ++v) {
        for (size_t other = 0; other < v; ++other) {
            cut += c->found[v] != c->found[other] ? edge_between(c, vertex, v, other) : 0;
        }
    }
    return cut;
}

/* How much heavier than its share a side may be, in thousandths. A few heavy vertices cannot be balanced closely, and
 * METIS then cares for nothing else. */
static const idx_t tolerances[] = {1, 10, 30, 100};

/* side[] of `count` vertices, for `left` parts and `right` ones. */
static int cut_in_two(cutting *c, const uint32_t *vertex, size_t count, size_t left, size_t right)
{
    uint64_t least = UINT64_MAX;
    make_graph(c, vertex, count);
    for (size_t t = 0; t < sizeof tolerances / sizeof *tolerances; ++t) {
        idx_t options[METIS_NOPTIONS], n = (idx_t)count, constraints = 1, two = 2, ignored;
        real_t share[] = {(real_t)left / (real_t)(left + right), (real_t)right / (real_t)(left + right)};
        (void)METIS_SetDefaultOptions(options);
        options[METIS_OPTION_SEED] = 1;
        options[METIS_OPTION_NCUTS] = 8; /* the best of so many */
        options[METIS_OPTION_UFACTOR] = tolerances[t];
        const int code = METIS_PartGraphRecursive(&n, &constraints, c->first, c->neighbour, c->heavy, NULL,
                                                  c->tie, &two, share, NULL, options, &ignored, c->found);
        if (code != METIS_OK) {
            return code;
        }
        keep_to_room(c, vertex, count, 0, left * c->room);
        keep_to_room(c, vertex, count, 1, right * c->room);
        const uint64_t cut = cut_of(c, vertex, count);
        for (size_t v = 0; v < count && cut < least; ++v) {
            c->side[v] = c->found[v] == 1;
        }
        least = cut < least ? cut : least;
    }
    return METIS_OK;
}

/* ---------------------------------------------------------------------------------------------- recursion */

/* Brings the vertices of the left side to the front, otherwise in their order; returns how many there are. */
static size_t sort_sides(cutting *c, uint32_t *vertex, size_t count)
{
    uint32_t *right = (uint32_t *)c->found; /* no longer needed */
    size_t lefts = 0, rights = 0;
    for (size_t v = 0; v < count; ++v) {
        if (c->side[v]) {
            right[rights++] = vertex[v];
        } else {
            vertex[lefts++] = vertex[v];
        }
    }
    memcpy(vertex + lefts, right, rights * sizeof *right);
    return lefts;
}

static int divide(cutting *c, uint32_t *vertex, size_t count, size_t first_part, size_t parts, uint32_t *part)
{
    if (parts == 1 || count < 2) {
        for (size_t v = 0; v < count; ++v) {
            part[vertex[v]] = (uint32_t)first_part;
        }
        return METIS_OK;
    }
    const size_t left = parts / 2;
    int code = cut_in_two(c, vertex, count, left, parts - left);
    if (code == METIS_OK) {
        const size_t lefts = sort_sides(c, vertex, count);
        code = divide(c, vertex, lefts, first_part, left, part);
        code = code != METIS_OK
                   ? code
                   : divide(c, vertex + lefts, count - lefts, first_part + left, parts - left, part);
    }
    return code;
}

static adamoe_status partition(size_t vertices, const uint64_t *weight, const uint64_t *edge, size_t parts,
                               size_t room, uint32_t *part)
{
    cutting c = {.vertices = vertices, .room = room, .weight = weight, .edge = edge};
    const bool opened = open_cutting(&c);
    const int code = opened ? divide(&c, c.vertex, vertices, 0, parts, part) : METIS_OK;
    close_cutting(&c);
    if (!opened) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "placement by co-activation: out of memory");
    }
    return code == METIS_OK ? adamoe_ok()
                            : adamoe_error(ADAMOE_ENVIRONMENT,
                                           "placement by co-activation: METIS failed with code %d", code);
}

const adamoe_metis_module adamoe_metis_module_export = {.version = ADAMOE_METIS_MODULE,
                                                        .partition = partition};
