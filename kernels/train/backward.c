/*
 * The backward functions of adamoe_kernel on training's experts: the workspace becomes the arrays of a pass.
 */
#include "train/backward.h"
#include "train/experts.h"
#include "vector/vector_ops_tables.h"

typedef struct instruction_set {
    const packed_products *tiles;
    const adamoe_vector_ops *ops;
    const adamoe_train_ops *train_ops;
} instruction_set;

static const instruction_set avx2 = {&adamoe_products_f32_avx2, &adamoe_vector_ops_avx2,
                                     &adamoe_train_ops_avx2};
static const instruction_set avx512 = {&adamoe_products_f32_avx512, &adamoe_vector_ops_avx512,
                                       &adamoe_train_ops_avx512};

/* Offsets in bytes. */
typedef struct layout {
    size_t gate, up, hidden, dhidden; /* [rows, ff] */
    size_t slots;                     /* [rows, d] */
    size_t gemm, gemm_space;
    size_t total;
} layout;

static size_t add(layout *l, size_t bytes)
{
    const size_t at = l->total;
    l->total += (bytes + 63) / 64 * 64;
    return at;
}

static layout plan_layout(const instruction_set *set, const adamoe_backward_call *call, uint32_t threads)
{
    const size_t rows = call->plan->rows, most = 3 * call->plan->experts;
    const size_t inner = rows * call->intermediate_size * sizeof(float);
    layout l = {.total = 0};
    l.gate = add(&l, inner);
    l.up = add(&l, inner);
    l.hidden = add(&l, inner);
    l.dhidden = add(&l, inner);
    l.slots = add(&l, rows * call->hidden_size * sizeof(float));
    l.gemm = add(&l, most * sizeof(adamoe_gemm));
    l.gemm_space = add(&l, adamoe_gemm_space_bytes(set->tiles, threads, most));
    return l;
}

static adamoe_status backward(const instruction_set *set, const adamoe_run *run,
                              const adamoe_backward_call *call)
{
    const layout l = plan_layout(set, call, run->team->threads);
    char *work = run->work;
    if (run->work_bytes < l.total) {
        return adamoe_error(ADAMOE_BAD_INPUT, "backward: workspace too small");
    }
    const adamoe_experts_pass pass = {
        .hidden_size = call->hidden_size,
        .intermediate_size = call->intermediate_size,
        .team = run->team,
        .ops = set->ops,
        .train_ops = set->train_ops,
        .gemm_space =
            adamoe_gemm_space_place(set->tiles, run->team, 3 * call->plan->experts, work + l.gemm_space),
        .gemm = (adamoe_gemm *)(void *)(work + l.gemm),
        .expert = call->expert,
        .plan = call->plan,
        .x = call->x,
        .gate = (float *)(void *)(work + l.gate),
        .up = (float *)(void *)(work + l.up),
        .hidden = (float *)(void *)(work + l.hidden),
        .dhidden = (float *)(void *)(work + l.dhidden),
        .slots = (float *)(void *)(work + l.slots)};
    const adamoe_experts_gradient gradient = {
        .expert = call->dexpert, .dx = call->dx, .dcombine = call->dcombine, .dself = call->dself_scale};
    adamoe_experts_up(&pass);
    adamoe_experts_backward(&pass, call->dy, &gradient);
    return adamoe_ok();
}

size_t adamoe_backward_avx2_work_bytes(const adamoe_backward_call *call, uint32_t threads)
{
    return plan_layout(&avx2, call, threads).total;
}

adamoe_status adamoe_backward_avx2(const adamoe_run *run, const adamoe_backward_call *call)
{
    return backward(&avx2, run, call);
}

size_t adamoe_backward_avx512_work_bytes(const adamoe_backward_call *call, uint32_t threads)
{
    return plan_layout(&avx512, call, threads).total;
}

adamoe_status adamoe_backward_avx512(const adamoe_run *run, const adamoe_backward_call *call)
{
    return backward(&avx512, run, call);
}
