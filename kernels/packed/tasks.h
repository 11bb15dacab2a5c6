/*
 * How a product of groups of rows with panels of weights is cut into tasks for a team: (part x group x
 * neighbouring panels), in this order, so that the tasks of a node follow each other. Which thread computes a
 * task changes no bit.
 */
#ifndef ADAMOE_PACKED_TASKS_H
#define ADAMOE_PACKED_TASKS_H

#include "packed/rows.h"

/* The panels of one part that one group is multiplied with. */
typedef struct packed_share {
    size_t first_task;
    size_t panels; /* of a task; the last one may have fewer */
} packed_share;

typedef struct packed_task {
    size_t group;
    uint32_t part;
    size_t first_panel, panels; /* of the part */
} packed_task;

/* Cuts the work of all groups with matrices shaped like `matrix` into tasks of about equal work, some more
 * than PACKED_TASKS_PER_THREAD for each thread. share is [parts * groups]. Returns the number of tasks. */
#define PACKED_TASKS_PER_THREAD 12
size_t adamoe_packed_share(const packed_matrix *matrix, const packed_group *group, size_t groups,
                           uint32_t threads, packed_share *share);

packed_task adamoe_packed_task(const packed_matrix *matrix, const packed_share *share, size_t groups,
                               size_t task);

/* Floats of sums that a task may need. */
size_t adamoe_packed_sums(const packed_matrix *matrix);

/* Where a product's tasks of each node begin: first[nodes + 1] for adamoe_run_by_node. group_node tells the
 * node of a group under the policy experts; under split a part's node is its number; otherwise all tasks
 * stand with node 0, whose threads have no claim to them. */
void adamoe_packed_node_tasks(const packed_matrix *matrix, const packed_share *share, size_t groups,
                              size_t tasks, const adamoe_placement *placement,
                              uint32_t (*group_node)(const void *context, size_t group), const void *context,
                              size_t *first);

/* Where a task's sums are computed: where they are wanted, row after row of `out` `stride` apart, if each is
 * written once and every output of the task exists; otherwise in `sums`. */
packed_sums adamoe_packed_sums_of(const packed_matrix *matrix, const packed_task *task, float *sums,
                                  float *out, size_t stride);

/* Copies the sums of a task, without the outputs that do not exist, to out[row][output of the matrix], unless
 * they were computed there; rows of out are `stride` apart. */
void adamoe_packed_store(const packed_matrix *matrix, const packed_task *task, size_t rows, packed_sums sums,
                         float *out, size_t stride);

#endif
