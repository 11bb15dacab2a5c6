/*
 * The dense product on packed weights.
 */
#include "packed/experts.h"
#include "machine/node_tasks.h"
#include "machine/keep_placement.h"
#include "packed/tasks.h"
#include "machine/placement.h"

struct adamoe_prepared_matrix {
    adamoe_host host;
    adamoe_placement placement;
    packed_matrix matrix;
};

void adamoe_packed_release_matrix(adamoe_prepared_matrix *prepared)
{
    if (prepared != NULL) {
        const adamoe_host host = prepared->host;
        adamoe_packed_free(&host, &prepared->matrix);
        adamoe_free_kept_placement(&host, &prepared->placement);
        host.release(host.context, prepared);
    }
}

adamoe_status adamoe_packed_prepare_matrix(const packed_products *products, const adamoe_host *host,
                                           const adamoe_matrix *matrix, const adamoe_placement *placement,
                                           adamoe_prepared_matrix **out)
{
    adamoe_prepared_matrix *prepared =
        host->allocate(host->context, sizeof *prepared, _Alignof(adamoe_prepared_matrix));
    if (prepared == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "packed matrix: out of memory");
    }
    *prepared = (adamoe_prepared_matrix){.host = *host};
    adamoe_status status = adamoe_keep_placement(host, placement, &prepared->placement);
    if (status.code == ADAMOE_OK) {
        status = adamoe_packed_create(host, products, matrix, NULL, placement, ADAMOE_ALL_NODES,
                                      &prepared->matrix);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_packed_release_matrix(prepared);
        return status;
    }
    *out = prepared;
    return adamoe_ok();
}

typedef struct layout {
    size_t groups;
    size_t group, share, inputs, scale, node_first, sums, widened; /* offsets in bytes */
    size_t thread_sums, thread_widened;                            /* bytes */
    size_t total;
} layout;

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static layout plan_layout(const adamoe_prepared_matrix *p, size_t count)
{
    const packed_matrix *matrix = &p->matrix;
    layout l = {.groups = (count + matrix->blocks.rows - 1) / matrix->blocks.rows,
                .thread_sums = aligned(adamoe_packed_sums(matrix) * sizeof(float)),
                .thread_widened = aligned(adamoe_packed_widened_bytes(matrix))};
    l.share = l.group + aligned(l.groups * sizeof(packed_group));
    l.inputs = l.share + aligned(matrix->parts * l.groups * sizeof(packed_share));
    l.scale = l.inputs + aligned(adamoe_packed_input_bytes(matrix->products, count, matrix->depth));
    l.node_first = l.scale + aligned(count * sizeof(packed_row_scale));
    l.sums = l.node_first + aligned((p->placement.nodes + 1) * sizeof(size_t));
    l.widened = l.sums + p->placement.threads * l.thread_sums;
    l.total = l.widened + p->placement.threads * l.thread_widened;
    return l;
}

size_t adamoe_packed_matrix_work_bytes(const adamoe_prepared_matrix *prepared, size_t count)
{
    return plan_layout(prepared, count).total;
}

typedef struct call {
    const packed_matrix *matrix;
    const float *x;
    float *y;
    layout layout;
    char *work;
    packed_group *group;
    size_t groups;
    packed_share *share;
} call;

static char *inputs_of(const call *c, const packed_group *group)
{
    return c->work + c->layout.inputs +
           adamoe_packed_input_bytes(c->matrix->products, group->first_row, c->matrix->depth);
}

static packed_row_scale *scales_of(const call *c, const packed_group *group)
{
    return (packed_row_scale *)(void *)(c->work + c->layout.scale) + group->first_row;
}

static void pack_inputs_task(void *context, size_t tile, uint32_t thread)
{
    (void)thread;
    const call *c = context;
    const packed_group *group = c->group;
    while (tile >= group->first_tile + group->tiles) {
        ++group;
    }
    tile -= group->first_tile;
    const packed_rows rows = adamoe_packed_tile_rows(group, tile);
    const float *terms[PACKED_MOST_ROWS];
    for (size_t r = 0; r < rows.count; ++r) {
        terms[r] = c->x + (group->first_row + rows.first + r) * c->matrix->depth;
    }
    adamoe_packed_store_tile(c->matrix, group, tile, terms, NULL, NULL, inputs_of(c, group),
                             scales_of(c, group) + rows.first);
}

static void product_task(void *context, size_t i, uint32_t thread)
{
    const call *c = context;
    const packed_matrix *matrix = c->matrix;
    const packed_task task = adamoe_packed_task(matrix, c->share, c->groups, i);
    const packed_group *group = &c->group[task.group];
    float *const own = (float *)(void *)(c->work + c->layout.sums + thread * c->layout.thread_sums);
    float *const out = c->y + group->first_row * matrix->outputs;
    const packed_sums sums = adamoe_packed_sums_of(matrix, &task, own, out, matrix->outputs);
    adamoe_packed_multiply(matrix, &matrix->part[task.part], task.first_panel, task.panels, group,
                           inputs_of(c, group), scales_of(c, group), sums,
                           c->work + c->layout.widened + thread * c->layout.thread_widened);
    adamoe_packed_store(matrix, &task, group->rows, sums, out, matrix->outputs);
}

adamoe_status adamoe_packed_multiply_matrix(adamoe_prepared_matrix *prepared, const adamoe_run *run,
                                            const float *x, size_t count, float *y)
{
    const packed_matrix *matrix = &prepared->matrix;
    call c = {.matrix = matrix, .x = x, .y = y, .layout = plan_layout(prepared, count), .work = run->work};
    if (run->work_bytes < c.layout.total) {
        return adamoe_error(ADAMOE_BAD_INPUT, "packed matrix: workspace too small");
    }
    if (count == 0 || matrix->outputs == 0) {
        return adamoe_ok();
    }
    c.group = (packed_group *)(void *)(c.work + c.layout.group);
    c.share = (packed_share *)(void *)(c.work + c.layout.share);
    size_t *first = (size_t *)(void *)(c.work + c.layout.node_first);
    c.groups = adamoe_packed_cut(matrix->products, matrix->blocks.rows, 0, 0, count, 0, c.group);
    const packed_group *last = &c.group[c.groups - 1];
    run->team->run(run->team->state, last->first_tile + last->tiles, pack_inputs_task, &c);
    const size_t tasks = adamoe_packed_share(matrix, c.group, c.groups, prepared->placement.threads, c.share);
    adamoe_packed_node_tasks(matrix, c.share, c.groups, tasks, &prepared->placement, NULL, NULL, first);
    adamoe_run_by_node(run->team, &prepared->placement, first, product_task, &c);
    return adamoe_ok();
}
