/*
 * Cutting a product into tasks.
 */
#include "packed/tasks.h"

#include <string.h>

/* Reading a panel's weights costs about as much as multiplying them with so many rows. */
#define ROWS_OF_READING 8

/* At least the panels that tiles of few rows take side by side. */
#define LEAST_PANELS 4

size_t adamoe_packed_sums(const packed_matrix *matrix)
{
    const size_t width = PACKED_VECTORS * matrix->products->lanes;
    const size_t least = LEAST_PANELS * width * matrix->blocks.rows;
    const size_t wanted = matrix->blocks.sums / sizeof(float);
    return wanted > least ? wanted : least;
}

static size_t most_panels(const packed_matrix *matrix, const packed_group *group)
{
    const size_t width = PACKED_VECTORS * matrix->products->lanes;
    const size_t wanted = matrix->blocks.sums / sizeof(float) / (group->rows * width);
    return wanted > LEAST_PANELS ? wanted / LEAST_PANELS * LEAST_PANELS : LEAST_PANELS;
}

/* How many panels a task of each group takes: about task_work, a unit of which is one row times one panel. */
static size_t panels_of(const packed_matrix *matrix, const packed_group *group, size_t task_work)
{
    const size_t most = most_panels(matrix, group);
    const size_t panels = task_work / (group->rows + ROWS_OF_READING) / LEAST_PANELS * LEAST_PANELS;
    return panels < LEAST_PANELS ? LEAST_PANELS : panels > most ? most : panels;
}

size_t adamoe_packed_share(const packed_matrix *matrix, const packed_group *group, size_t groups,
                           uint32_t threads, packed_share *share)
{
    size_t work = 0, tasks = 0;
    for (size_t i = 0; i < groups; ++i) {
        work += matrix->panels * (group[i].rows + ROWS_OF_READING);
    }
    const size_t task_work = work / ((size_t)threads * PACKED_TASKS_PER_THREAD) + 1;
    for (uint32_t part = 0; part < matrix->parts; ++part) {
        for (size_t i = 0; i < groups; ++i) {
            const size_t panels = panels_of(matrix, &group[i], task_work);
            share[part * groups + i] = (packed_share){tasks, panels};
            tasks += (matrix->part[part].panels + panels - 1) / panels;
        }
    }
    return tasks;
}

/* The last share whose first task is not beyond `task`; shares without a task are followed by one with it. */
static size_t find_share(const packed_share *share, size_t shares, size_t task)
{
    size_t low = 0, high = shares;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (share[middle].first_task <= task) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

packed_task adamoe_packed_task(const packed_matrix *matrix, const packed_share *share, size_t groups,
                               size_t task)
{
    const size_t at = find_share(share, groups * matrix->parts, task), panels = share[at].panels;
    const uint32_t part = (uint32_t)(at / groups);
    const size_t first = (task - share[at].first_task) * panels, all = matrix->part[part].panels;
    return (packed_task){at % groups, part, first, all - first < panels ? all - first : panels};
}

void adamoe_packed_node_tasks(const packed_matrix *matrix, const packed_share *share, size_t groups,
                              size_t tasks, const adamoe_placement *placement,
                              uint32_t (*group_node)(const void *context, size_t group), const void *context,
                              size_t *first)
{
    size_t group = 0;
    first[0] = 0;
    for (uint32_t node = 1; node < placement->nodes; ++node) {
        first[node] = tasks;
        if (matrix->parts > 1) {
            first[node] = node < matrix->parts ? share[node * groups].first_task : tasks;
        } else if (placement->policy == ADAMOE_NUMA_EXPERTS) {
            while (group < groups && group_node(context, group) < node) {
                ++group;
            }
            first[node] = group < groups ? share[group].first_task : tasks;
        }
    }
    first[placement->nodes] = tasks;
}

/* The first output of a task. */
static size_t first_output(const packed_matrix *matrix, const packed_task *task)
{
    return (matrix->part[task->part].first_panel + task->first_panel) * adamoe_packed_panel_outputs(matrix);
}

packed_sums adamoe_packed_sums_of(const packed_matrix *matrix, const packed_task *task, float *sums,
                                  float *out, size_t stride)
{
    const size_t all = task->panels * adamoe_packed_panel_outputs(matrix), first = first_output(matrix, task);
    const bool once = matrix->depth <= matrix->blocks.depth && matrix->products->scale_sums == NULL;
    return once && first + all <= matrix->outputs
               ? (packed_sums){out + first, stride}
               : (packed_sums){sums, task->panels * PACKED_VECTORS * matrix->products->lanes};
}

void adamoe_packed_store(const packed_matrix *matrix, const packed_task *task, size_t rows, packed_sums sums,
                         float *out, size_t stride)
{
    const size_t first = first_output(matrix, task), left = matrix->outputs - first;
    const size_t all = task->panels * adamoe_packed_panel_outputs(matrix);
    if (sums.at == out + first) {
        return;
    }
    for (size_t r = 0; r < rows; ++r) {
        memcpy(out + r * stride + first, sums.at + r * sums.stride, (left < all ? left : all) * sizeof *out);
    }
}
