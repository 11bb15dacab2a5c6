/*
 * A weighted graph cut into parts of equal weight, by METIS (Karypis and Kumar 1998) where the build has it.
 */
#include "mpi/partition.h"

#ifdef ADAMOE_METIS

#include <metis.h>
#include <stdlib.h>
#include <string.h>

/* The graph as METIS takes it: neighbours in compressed rows. */
typedef struct metis_graph {
    idx_t *first, *neighbour; /* [vertices+1], [first[vertices]] */
    idx_t *edge;              /* [first[vertices]] */
    idx_t *weight;            /* [vertices] */
    idx_t *part;              /* [vertices] */
} metis_graph;

static void free_graph(metis_graph *graph)
{
    free(graph->first);
    free(graph->neighbour);
    free(graph->edge);
    free(graph->weight);
    free(graph->part);
    *graph = (metis_graph){0};
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

static adamoe_status make_graph(size_t vertices, const uint64_t *weight, const uint64_t *edge,
                                metis_graph *out)
{
    const uint64_t by_weight = divisor_of(weight, vertices), by_edge = divisor_of(edge, vertices * vertices);
    *out = (metis_graph){.first = calloc(vertices + 1, sizeof(idx_t)),
                         .neighbour = calloc(vertices * vertices, sizeof(idx_t)),
                         .edge = calloc(vertices * vertices, sizeof(idx_t)),
                         .weight = calloc(vertices, sizeof(idx_t)),
                         .part = calloc(vertices, sizeof(idx_t))};
    if (out->first == NULL || out->neighbour == NULL || out->edge == NULL || out->weight == NULL ||
        out->part == NULL) {
        free_graph(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "partition: out of memory");
    }
    idx_t edges = 0;
    for (size_t v = 0; v < vertices; ++v) {
        out->weight[v] = 1 + (idx_t)(weight[v] / by_weight); /* a sum of 0 could not be balanced */
        for (size_t other = 0; other < vertices; ++other) {
            const idx_t tie = (idx_t)(edge[v * vertices + other] / by_edge);
            if (other != v && tie > 0) {
                out->neighbour[edges] = (idx_t)other;
                out->edge[edges++] = tie;
            }
        }
        out->first[v + 1] = edges;
    }
    return adamoe_ok();
}

bool adamoe_has_partitioner(void)
{
    return true;
}

adamoe_status adamoe_partition(size_t vertices, const uint64_t *weight, const uint64_t *edge, size_t parts,
                               uint32_t *part)
{
    metis_graph graph;
    idx_t options[METIS_NOPTIONS], cut, count = (idx_t)vertices, constraints = 1, wanted = (idx_t)parts;
    memset(part, 0, vertices * sizeof *part);
    if (parts == 1) { /* which METIS 5.1 takes for an error where a graph has no edge */
        return adamoe_ok();
    }
    ADAMOE_TRY(make_graph(vertices, weight, edge, &graph));
    (void)METIS_SetDefaultOptions(options);
    options[METIS_OPTION_SEED] = 1;
    options[METIS_OPTION_NCUTS] = 16; /* the best of so many */
    const int code =
        METIS_PartGraphRecursive(&count, &constraints, graph.first, graph.neighbour, graph.weight, NULL,
                                 graph.edge, &wanted, NULL, NULL, options, &cut, graph.part);
    for (size_t v = 0; v < vertices; ++v) {
        part[v] = (uint32_t)graph.part[v];
    }
    free_graph(&graph);
    return code == METIS_OK ? adamoe_ok()
                            : adamoe_error(ADAMOE_ENVIRONMENT, "partition: METIS failed with code %d", code);
}

#else

bool adamoe_has_partitioner(void)
{
    return false;
}

adamoe_status adamoe_partition(size_t vertices, const uint64_t *weight, const uint64_t *edge, size_t parts,
                               uint32_t *part)
{
    (void)vertices, (void)weight, (void)edge, (void)parts, (void)part;
    return adamoe_error(ADAMOE_NOT_SUPPORTED,
                        "placement by co-activation: this build has no METIS (package libmetis-dev)");
}

#endif
