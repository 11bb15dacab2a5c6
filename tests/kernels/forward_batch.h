/*
 * What the tests of the batched forward pass have in common: a batch of sequences of different lengths that share
 * prefixes, what is seen of its results, and a kernel on a team.
 */
#ifndef ADAMOE_TESTS_FORWARD_BATCH_H
#define ADAMOE_TESTS_FORWARD_BATCH_H

#include "test.h"
#include "batch.h"
#include "model/forward.h"
#include "machine/host.h"
#include "machine/team.h"
#include "registry.h"

#define LONGEST 8

typedef struct seen {
    size_t vocab;
    _Atomic size_t count; /* threads report at the same time */
    float *logits;        /* [segments, LONGEST, vocab] */
    uint32_t *ids;        /* [layers, tokens, k] of the routings, where they are recorded */
    size_t ids_count;
} seen;

static inline void see_logits(void *context, size_t segment, size_t position, const float *logits)
{
    seen *s = context;
    memcpy(s->logits + (segment * LONGEST + position) * s->vocab, logits, s->vocab * sizeof *logits);
    ++s->count;
}

static inline void see_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    seen *s = context;
    (void)layer;
    const size_t count = routing->tokens * routing->rule.top_k;
    memcpy(s->ids + s->ids_count, routing->id, count * sizeof *s->ids);
    s->ids_count += count;
}

static const uint32_t ids[] = {11, 22, 33, 44, 55, 66, 77, 88, 7, 14, 28, 56};

/* Two questions and their choices, a choice of a choice, a sequence of its own. */
static const adamoe_segment segments[] = {
    {ids, 4, ADAMOE_NO_PARENT, 3},
    {ids + 4, 3, 0, 0},
    {ids + 7, 1, 0, 0},
    {ids + 2, 8, ADAMOE_NO_PARENT, 7},
    {ids + 2, 2, 1, 1},
    {ids + 5, 3, 3, 0},
    {ids + 1, 6, 3, 6},
    {ids + 9, 1, ADAMOE_NO_PARENT, 0},
};

#define SEGMENTS (sizeof segments / sizeof *segments)

static inline seen make_seen(const adamoe_model *model)
{
    seen s = {.vocab = model->config.vocab_size};
    s.logits = calloc(SEGMENTS * LONGEST * s.vocab, sizeof *s.logits);
    s.ids = calloc(4096, sizeof *s.ids);
    assert_non_null(s.logits);
    assert_non_null(s.ids);
    return s;
}

static inline void free_seen(seen *s)
{
    free(s->logits);
    free(s->ids);
}

static inline seen run_forward(const adamoe_kernel *kernel, const adamoe_model *model, uint32_t threads,
                               size_t memory)
{
    seen s = make_seen(model);
    adamoe_team *team = NULL;
    adamoe_forward *forward = NULL;
    const adamoe_placement placement = adamoe_one_node(threads);
    const adamoe_batch_hooks hooks = {.context = &s, .routed = see_routing, .logits = see_logits};
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(adamoe_forward_create(kernel, model, team, &placement, &adamoe_heap_host, memory, &forward));
    assert_int_equal(adamoe_forward_is_resident(forward), memory > 0);
    assert_ok(adamoe_forward_batch(forward, segments, SEGMENTS, &hooks));
    adamoe_forward_free(forward);
    adamoe_team_free(team);
    return s;
}

/* Every operation of the model is in float32 here and in double there: for 2 layers of width 32 with logits
 * of order 1, 1e-5 is a hundred units of float32. That holds for each kernel with float32 operands, whether
 * its sums are in double or in float32. One that rounds its operands further is not held to a number: where
 * two router logits are close it may choose another expert, and no bound follows a token from there. */
static inline bool is_float32(const adamoe_kernel *kernel)
{
    return kernel->x == ADAMOE_FLOAT32 && kernel->h == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
}

static inline void assert_close(const seen *got, const seen *expected, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (!(fabsf(got->logits[i] - expected->logits[i]) <= 1e-5f)) {
            fail_msg("logit %zu: %.9g, expected %.9g", i, (double)got->logits[i],
                     (double)expected->logits[i]);
        }
    }
}

/* What the tests below need beside a model. */
typedef struct machine {
    adamoe_registry *registry;
    adamoe_team *team;
    adamoe_forward *forward;
} machine;

static inline machine make_machine(const adamoe_kernel *kernel, const adamoe_model *model, size_t memory)
{
    machine m = {0};
    const adamoe_placement placement = adamoe_one_node(2);
    assert_ok(adamoe_registry_create(&m.registry));
    assert_ok(adamoe_team_create(2, &m.team));
    assert_ok(adamoe_forward_create(kernel == NULL ? adamoe_registry_default(m.registry) : kernel, model,
                                    m.team, &placement, &adamoe_heap_host, memory, &m.forward));
    return m;
}

static inline void free_machine(machine *m)
{
    adamoe_forward_free(m->forward);
    adamoe_team_free(m->team);
    adamoe_registry_free(m->registry);
}

#endif
