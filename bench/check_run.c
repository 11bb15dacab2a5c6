/*
 * One case of `adamoe check`.
 */
#include "check_run.h"
#include "bound.h"
#include "check_data.h"
#include "host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const adamoe_check_status_names[ADAMOE_CHECK_STATUSES] = {"passed", "failed", "skipped",
                                                                      "vacuous"};

/* Everything of one run. y is [tokens, width]. */
typedef struct checking {
    const adamoe_kernel *kernel;
    const adamoe_case *c;
    const adamoe_team *team;
    adamoe_placement placement;
    adamoe_case_data data;
    adamoe_yardstick yardstick;
    size_t width;
    float *y_memory, *y;
    void *work_memory;
    adamoe_run run;
    adamoe_check_result *out;
} checking;

/* True where the kernel reports an error; the case is decided then. */
static bool kernel_gave_up(checking *k, const char *function, adamoe_status status)
{
    if (status.code == ADAMOE_OK) {
        return false;
    }
    const bool cannot = status.code == ADAMOE_NOT_SUPPORTED;
    k->out->status = cannot ? ADAMOE_CHECK_SKIPPED : ADAMOE_CHECK_FAILED;
    (void)snprintf(k->out->detail, sizeof k->out->detail, "%s: %.250s", function, status.message);
    return true;
}

/* All bits set are a NaN, in a float and in a double. */
static bool reserve_work(checking *k, size_t bytes)
{
    enum { ALIGNMENT = 64 };
    unsigned char *memory = bytes > SIZE_MAX - ALIGNMENT
                                ? NULL
                                : adamoe_heap_host.allocate(NULL, bytes + ALIGNMENT, 2 * ALIGNMENT);
    if (memory == NULL) {
        k->out->status = ADAMOE_CHECK_FAILED;
        (void)snprintf(k->out->detail, sizeof k->out->detail,
                       "there is no memory for the workspace of %zu bytes that it asks for", bytes);
        return false;
    }
    k->work_memory = memory;
    k->run = (adamoe_run){.team = k->team, .work = memory + ALIGNMENT, .work_bytes = bytes};
    memset(k->run.work, 0xff, bytes);
    return true;
}

/* True where the kernel computed y. */
static bool call_experts(checking *k)
{
    const adamoe_kernel *kernel = k->kernel;
    const adamoe_plan *plan = k->data.plan;
    adamoe_prepared *prepared = NULL;
    if (kernel_gave_up(k, "prepare",
                       kernel->prepare(&adamoe_heap_host, &k->data.layer.layer, &k->placement, &prepared))) {
        return false;
    }
    const bool computed =
        reserve_work(k, kernel->work_bytes(prepared, plan->rows, plan->tokens)) &&
        !kernel_gave_up(k, "experts", kernel->experts(prepared, &k->run, k->data.x, plan, k->y));
    kernel->release(prepared);
    return computed;
}

static bool call_multiply(checking *k)
{
    const adamoe_kernel *kernel = k->kernel;
    adamoe_prepared_matrix *prepared = NULL;
    if (kernel_gave_up(
            k, "prepare_matrix",
            kernel->prepare_matrix(&adamoe_heap_host, &k->data.matrix, &k->placement, &prepared))) {
        return false;
    }
    const bool computed =
        reserve_work(k, kernel->matrix_work_bytes(prepared, k->c->tokens)) &&
        !kernel_gave_up(k, "multiply", kernel->multiply(prepared, &k->run, k->data.x, k->c->tokens, k->y));
    kernel->release_matrix(prepared);
    return computed;
}

static void set_element(checking *k, size_t at, double expected, double bound)
{
    k->out->has_element = true;
    k->out->row = at / k->width;
    k->out->column = at % k->width;
    k->out->got = k->y[at];
    k->out->expected = expected;
    k->out->bound = bound;
}

static const char *vacuous_because(const adamoe_yardstick *yardstick)
{
    for (size_t i = 0; i < yardstick->count; ++i) {
        if (yardstick->expected[i] != 0.0) {
            return "a bound overflows";
        }
    }
    return yardstick->count == 0 ? "there is nothing to compare" : "every expected value is 0";
}

static const char *failed_because(const adamoe_check_result *result)
{
    if (isnan(result->got)) {
        return "a NaN, or not written";
    }
    return result->largest_ratio > 1.0 ? "an element beyond its bound"
                                       : "errors too large on the whole, though each is within its bound";
}

static void judge_bound(checking *k)
{
    const adamoe_yardstick *yardstick = &k->yardstick;
    const double lambda = adamoe_bound_factor(yardstick->count, ADAMOE_FALSE_ALARM);
    const adamoe_verdict verdict = adamoe_judge(yardstick, k->y, 1.0);
    k->out->tier = "bound";
    k->out->largest_ratio = verdict.largest_ratio;
    k->out->rms_ratio = verdict.rms_ratio;
    if (yardstick->count > 0) {
        set_element(k, verdict.worst, yardstick->expected[verdict.worst],
                    lambda * yardstick->spread[verdict.worst] + yardstick->slack[verdict.worst]);
    }
    if (!verdict.passed) {
        k->out->status = ADAMOE_CHECK_FAILED;
        (void)snprintf(k->out->detail, sizeof k->out->detail, "%s", failed_because(k->out));
    } else if (verdict.vacuous) {
        k->out->status = ADAMOE_CHECK_VACUOUS;
        (void)snprintf(k->out->detail, sizeof k->out->detail, "%s", vacuous_because(yardstick));
    }
}

/* Equal rows of the matrix have bit-equal columns of y. */
static void judge_equal_rows(checking *k)
{
    for (size_t at = 0; at < k->c->tokens * k->width; ++at) {
        const size_t r = at % k->width;
        if (r >= k->data.distinct && memcmp(&k->y[at], &k->y[at - k->data.distinct], sizeof *k->y) != 0) {
            k->out->status = ADAMOE_CHECK_FAILED;
            k->out->tier = "bitwise";
            set_element(k, at, (double)k->y[at - k->data.distinct], 0.0);
            k->out->largest_ratio = HUGE_VAL;
            (void)snprintf(k->out->detail, sizeof k->out->detail,
                           "rows %zu and %zu of the matrix are equal, what they gave is not",
                           r - k->data.distinct, r);
            return;
        }
    }
}

static adamoe_status run_experts(checking *k)
{
    if (call_experts(k)) {
        ADAMOE_TRY(adamoe_layer_yardstick(&k->data.layer.layer, adamoe_kernel_arithmetic(k->kernel),
                                          k->data.x, k->data.plan, &k->yardstick));
        judge_bound(k);
    }
    return adamoe_ok();
}

static adamoe_status run_multiply(checking *k)
{
    if (call_multiply(k)) {
        ADAMOE_TRY(adamoe_matrix_yardstick(&k->data.matrix, adamoe_kernel_arithmetic(k->kernel), k->data.x,
                                           k->c->tokens, &k->yardstick));
        judge_bound(k);
        if (k->out->status != ADAMOE_CHECK_FAILED) {
            judge_equal_rows(k);
        }
    }
    return adamoe_ok();
}

static adamoe_status run_with_buffers(checking *k)
{
    const size_t count = k->c->tokens * k->width;
    k->y_memory = adamoe_heap_host.allocate(NULL, (count + 1) * sizeof *k->y_memory, 64);
    if (k->y_memory == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", adamoe_name_case(k->c).text);
    }
    k->y = k->y_memory + 1; /* the contract promises no more than a float's alignment */
    memset(k->y, 0xff, count * sizeof *k->y);
    ADAMOE_TRY(adamoe_yardstick_create(count, &k->yardstick));
    return k->c->kind == ADAMOE_CASE_EXPERTS ? run_experts(k) : run_multiply(k);
}

adamoe_status adamoe_check_run(const adamoe_kernel *kernel, const adamoe_case *c, uint64_t seed,
                               const adamoe_team *team, adamoe_check_result *out)
{
    *out = (adamoe_check_result){.status = ADAMOE_CHECK_PASSED, .tier = "bound"};
    if (c->kind == ADAMOE_CASE_MULTIPLY && kernel->multiply == NULL) {
        out->status = ADAMOE_CHECK_SKIPPED;
        (void)snprintf(out->detail, sizeof out->detail, "the kernel has no dense product");
        return adamoe_ok();
    }
    checking k = {.kernel = kernel,
                  .c = c,
                  .team = team,
                  .placement = adamoe_one_node(team->threads),
                  .width = c->kind == ADAMOE_CASE_EXPERTS ? c->hidden_size : c->rows,
                  .out = out};
    ADAMOE_TRY(adamoe_case_data_create(c, seed, &k.data));
    const adamoe_status status = run_with_buffers(&k);
    adamoe_case_data_free(&k.data);
    adamoe_yardstick_free(&k.yardstick);
    adamoe_heap_host.release(NULL, k.y_memory);
    adamoe_heap_host.release(NULL, k.work_memory);
    return status;
}
