/*
 * The tier `model`: a small model on the kernel, kernels/model/forward.h, against reference/batch.h: the
 * log-probability of the next token after every position.
 *
 * How far an honest result may be off is estimated from the definition itself. A sum of K terms in float32 is
 * off by what bound.h allows, u sqrt(K (sum t^2 + s^2)); multiplying each of its weights by 1 + g sqrt(2 K)
 * u, g normal, moves the exact sum by as much: s^2 is at most K sum t^2, and about sum t^2 where terms do not
 * agree. So the reference runs on RUNS models with all weights perturbed in that way, independently; the root
 * mean square of how its log-probabilities respond is the spread of each, and not less than that of all of
 * them together. An honest kernel stays within lambda spreads, lambda from ADAMOE_FALSE_ALARM. This is an
 * estimate and no proof: it takes rounding errors to be independent. For the models here it is about 1e-5,
 * where a key too many or a wrong head moves log-probabilities by 1e-3 or more.
 *
 * Where the reference or a perturbed model selects other experts for some token there is no such spread, and
 * the case is vacuous. So it is where the kernel does, if the exact logits are no further apart than lambda
 * times what the perturbations moved logits; otherwise that is a failure. A kernel that rounds its operands
 * is compared on the models in which every expert is selected, and the roundoff of its operands comes on top,
 * once for each of the two.
 */
#include "check/cases/models.h"
#include "check/tiers/tiers.h"
#include "layers/random_layer.h"
#include "model/forward.h"
#include "machine/host.h"
#include "bound/bound.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RUNS    8
#define TOKENS  32
#define LONGEST 12

static const uint32_t ids[LONGEST] = {11, 22, 33, 44, 55, 6, 17, 28, 7, 14, 58, 36};

/* A sequence longer than every window, two that continue it, one that continues the first of those, one of
 * its own. */
static const adamoe_segment segments[] = {
    {ids, 12, ADAMOE_NO_PARENT, 0},    {ids + 3, 7, 0, 0}, {ids + 6, 1, 0, 0}, {ids + 1, 4, 1, 0},
    {ids + 4, 8, ADAMOE_NO_PARENT, 0},
};

#define SEGMENTS (sizeof segments / sizeof *segments)

/* What came of one run; arrays by token in the order of segments. */
typedef struct outcome {
    const adamoe_config *config;
    double *log_probability; /* [TOKENS, vocab] */
    uint32_t *selected;      /* [layers, TOKENS, k], each token's in ascending order */
    float *router_logits;    /* [layers, TOKENS, n + m] */
    size_t *routed;          /* [layers] tokens so far */
    atomic_size_t positions; /* reported */
} outcome;

static size_t row_of(size_t segment, size_t position)
{
    size_t row = position;
    for (size_t s = 0; s < segment; ++s) {
        row += segments[s].count;
    }
    return row;
}

static void see_logits(void *context, size_t segment, size_t position, const float *logits)
{
    outcome *o = context;
    const size_t vocab = o->config->vocab_size;
    const double whole = adamoe_log_sum_exp(logits, vocab);
    for (size_t v = 0; v < vocab; ++v) {
        o->log_probability[row_of(segment, position) * vocab + v] = (double)logits[v] - whole;
    }
    atomic_fetch_add(&o->positions, 1);
}

static int compare_ids(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Each token's ids in ascending order: in what order they were selected changes nothing. */
static void see_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    outcome *o = context;
    const size_t k = routing->rule.top_k, all = routing->experts + routing->null_experts;
    const size_t at = layer * TOKENS + o->routed[layer];
    if (o->routed[layer] + routing->tokens <= TOKENS) {
        memcpy(o->selected + at * k, routing->id, routing->tokens * k * sizeof *routing->id);
        for (size_t t = at; t < at + routing->tokens; ++t) {
            qsort(o->selected + t * k, k, sizeof *o->selected, compare_ids);
        }
        memcpy(o->router_logits + at * all, routing->logits, routing->tokens * all * sizeof *routing->logits);
    }
    o->routed[layer] += routing->tokens;
}

static void free_outcome(outcome *o)
{
    free(o->log_probability);
    free(o->selected);
    free(o->router_logits);
    free(o->routed);
}

static adamoe_status create_outcome(const adamoe_config *config, outcome *o)
{
    const size_t tokens = config->layers * TOKENS;
    *o = (outcome){.config = config,
                   .log_probability = calloc(TOKENS * config->vocab_size, sizeof *o->log_probability),
                   .selected = calloc(tokens * config->rule.top_k, sizeof *o->selected),
                   .router_logits =
                       calloc(tokens * (config->experts + config->null_experts), sizeof *o->router_logits),
                   .routed = calloc(config->layers, sizeof *o->routed)};
    if (o->log_probability == NULL || o->selected == NULL || o->router_logits == NULL || o->routed == NULL) {
        free_outcome(o);
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    return adamoe_ok();
}

static adamoe_batch_hooks hooks_of(outcome *o)
{
    return (adamoe_batch_hooks){.context = o, .routed = see_routing, .logits = see_logits};
}

/* Everything of one case. */
typedef struct trial {
    const adamoe_checking *k;
    adamoe_check_model model;
    outcome expected, got;
    double *squares;       /* [TOKENS, vocab] of the responses, summed over the runs */
    double logit_response; /* the largest of a router's logit */
    bool unsteady;         /* a perturbation changed a selection */
} trial;

static size_t selected_count(const adamoe_config *c)
{
    return c->architecture.dense ? 0 : c->layers * TOKENS * c->rule.top_k;
}

/* Relative to the operand's own size: int8 steps are relative to the largest value, about three deviations,
 * and their rounding has the deviation 1 / sqrt(12). 0 where nothing is rounded beyond float32. */
static double operand_roundoff(const adamoe_kernel *kernel)
{
    const adamoe_arithmetic kinds[] = {kernel->x,  kernel->h,    kernel->weight,
                                       kernel->up, kernel->down, kernel->y};
    double roundoff = 0.0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        roundoff = fmax(roundoff, kinds[i] == ADAMOE_BFLOAT16 ? 0x1p-9
                                  : kinds[i] == ADAMOE_INT8   ? 3.0 / (127.0 * sqrt(12.0))
                                                              : 0.0);
    }
    return roundoff;
}

static adamoe_status perturb_once(trial *t, adamoe_splitmix64 *random)
{
    const adamoe_config *c = &t->model.weights.model.config;
    const adamoe_case *which = t->k->c;
    adamoe_check_model perturbed;
    outcome o;
    ADAMOE_TRY(adamoe_check_model_perturbed(which->model, &t->model, random, operand_roundoff(t->k->kernel),
                                            &perturbed));
    adamoe_status status = create_outcome(c, &o);
    if (status.code == ADAMOE_OK) {
        const adamoe_batch_hooks hooks = hooks_of(&o);
        status = adamoe_batch_forward(&perturbed.weights.model, segments, SEGMENTS, &hooks);
        for (size_t i = 0; i < TOKENS * c->vocab_size; ++i) {
            const double moved = o.log_probability[i] - t->expected.log_probability[i];
            t->squares[i] += moved * moved;
        }
        t->unsteady = t->unsteady ||
                      memcmp(o.selected, t->expected.selected, selected_count(c) * sizeof *o.selected) != 0;
        for (size_t i = 0; i < c->layers * TOKENS * (c->experts + c->null_experts); ++i) {
            t->logit_response = fmax(t->logit_response,
                                     fabs((double)o.router_logits[i] - (double)t->expected.router_logits[i]));
        }
        free_outcome(&o);
    }
    adamoe_check_model_free(&perturbed);
    return status;
}

static adamoe_status measure_sensitivity(trial *t)
{
    adamoe_splitmix64 random = adamoe_random_for("perturbation", t->k->seed);
    for (size_t i = 0; i < RUNS; ++i) {
        ADAMOE_TRY(perturb_once(t, &random));
    }
    return adamoe_ok();
}

/* The kernel's side: how the forward pass ended. Where that is for want of something, it is noted, and whoever runs
 * the case decides. */
static adamoe_status run_kernel(trial *t)
{
    const adamoe_batch_hooks hooks = hooks_of(&t->got);
    adamoe_forward *forward = NULL;
    adamoe_status ended = adamoe_forward_create(t->k->kernel, &t->model.weights.model, t->k->team,
                                                &t->k->placement, &adamoe_heap_host, SIZE_MAX, &forward);
    if (ended.code == ADAMOE_OK) {
        ended = adamoe_forward_batch(forward, segments, SEGMENTS, &hooks);
        adamoe_forward_free(forward);
    }
    t->k->out->shortage = ended.code == ADAMOE_ENVIRONMENT;
    return ended;
}

/* The first of ids[count] that is not among the others; UINT32_MAX where all are. */
static uint32_t first_not_among(const uint32_t *id, const uint32_t *others, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (bsearch(&id[i], others, count, sizeof *others, compare_ids) == NULL) {
            return id[i];
        }
    }
    return UINT32_MAX;
}

/* False where the kernel selected other experts, which then is the result. */
static bool selects_the_same(const trial *t)
{
    const adamoe_config *c = &t->model.weights.model.config;
    const size_t k = c->rule.top_k, all = c->experts + c->null_experts;
    const double lambda = adamoe_bound_factor(c->layers * TOKENS * all, ADAMOE_FALSE_ALARM);
    for (size_t i = 0; i < selected_count(c) / k; ++i) {
        const float *logits = t->expected.router_logits + i * all;
        const uint32_t mine = first_not_among(t->got.selected + i * k, t->expected.selected + i * k, k);
        const uint32_t theirs = first_not_among(t->expected.selected + i * k, t->got.selected + i * k, k);
        if (mine == UINT32_MAX && theirs == UINT32_MAX) {
            continue;
        }
        const bool possible = mine < all && theirs < all;
        const double distance = possible ? fabs((double)logits[mine] - (double)logits[theirs]) : HUGE_VAL;
        const bool near = distance > 0.0 && distance <= 2.0 * lambda * t->logit_response;
        adamoe_check_settle(t->k, near ? ADAMOE_CHECK_VACUOUS : ADAMOE_CHECK_FAILED,
                            "layer %zu, token %zu: expert %u was selected, not %u, with logits %.3g apart",
                            i / TOKENS, i % TOKENS, mine, theirs, distance);
        return false;
    }
    return true;
}

static adamoe_status judge(const trial *t)
{
    const size_t vocab = t->model.weights.model.config.vocab_size, count = TOKENS * vocab;
    adamoe_yardstick yardstick;
    float *got = NULL;
    double all = 0.0;
    ADAMOE_TRY(adamoe_check_floats(count, &got));
    const adamoe_status status = adamoe_yardstick_create(count, &yardstick);
    for (size_t i = 0; i < count; ++i) {
        all += t->squares[i] / (double)(RUNS * count);
    }
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        yardstick.expected[i] = t->expected.log_probability[i];
        yardstick.spread[i] = sqrt(fmax(t->squares[i] / RUNS, all));
        yardstick.slack[i] =
            0x1p-22 * (1.0 + fabs(t->expected.log_probability[i])); /* stored as float32 twice */
        got[i] = (float)t->got.log_probability[i];
    }
    if (status.code == ADAMOE_OK) {
        (void)adamoe_check_judge(t->k, &yardstick, got, vocab, 1.0);
        adamoe_yardstick_free(&yardstick);
    }
    free(got);
    return status;
}

/* The weights of a router in layer 1 hold a NaN: both sides must say so, and where. */
static adamoe_status expect_refusal(trial *t)
{
    const adamoe_batch_hooks hooks = hooks_of(&t->expected);
    const adamoe_status reference = adamoe_batch_forward(&t->model.weights.model, segments, SEGMENTS, &hooks);
    const adamoe_status ended = run_kernel(t);
    const adamoe_status both[] = {reference, ended};
    for (size_t i = 0; i < 2; ++i) {
        if (both[i].code != ADAMOE_BAD_INPUT || strstr(both[i].message, "layer 1") == NULL ||
            strstr(both[i].message, "NaN") == NULL) {
            adamoe_check_settle(t->k, ADAMOE_CHECK_FAILED,
                                "a router's NaN in layer 1 was not reported by %s: %.200s",
                                i == 0 ? "the reference" : "the forward pass", both[i].message);
        }
    }
    return adamoe_ok();
}

static adamoe_status compare(trial *t)
{
    const adamoe_batch_hooks hooks = hooks_of(&t->expected);
    ADAMOE_TRY(adamoe_batch_forward(&t->model.weights.model, segments, SEGMENTS, &hooks));
    const adamoe_status ended = run_kernel(t);
    if (ended.code != ADAMOE_OK) {
        const bool cannot = ended.code == ADAMOE_NOT_SUPPORTED;
        adamoe_check_settle(t->k, cannot ? ADAMOE_CHECK_SKIPPED : ADAMOE_CHECK_FAILED, "forward: %.250s",
                            ended.message);
        return adamoe_ok();
    }
    if (t->got.positions != TOKENS) {
        adamoe_check_settle(t->k, ADAMOE_CHECK_FAILED, "logits of %zu positions were reported, not of %d",
                            (size_t)t->got.positions, TOKENS);
        return adamoe_ok();
    }
    ADAMOE_TRY(measure_sensitivity(t));
    if (!selects_the_same(t)) {
        return adamoe_ok();
    }
    if (t->unsteady) {
        adamoe_check_settle(t->k, ADAMOE_CHECK_VACUOUS,
                            "rounding alone can change which experts are selected");
        return adamoe_ok();
    }
    return judge(t);
}

static adamoe_status run(trial *t)
{
    const adamoe_config *c = &t->model.weights.model.config;
    ADAMOE_TRY(create_outcome(c, &t->expected));
    ADAMOE_TRY(create_outcome(c, &t->got));
    t->squares = calloc(TOKENS * c->vocab_size, sizeof *t->squares);
    if (t->squares == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    return t->k->c->model == ADAMOE_CHECK_MODELS - 1 ? expect_refusal(t) : compare(t);
}

adamoe_status adamoe_check_model_tier(const adamoe_checking *k)
{
    trial t = {.k = k};
    ADAMOE_TRY(adamoe_check_model_create(k->c->model, k->seed, &t.model));
    const adamoe_config *c = &t.model.weights.model.config;
    adamoe_status status = adamoe_ok();
    if (operand_roundoff(k->kernel) > 0.0 && c->rule.top_k < c->experts + c->null_experts &&
        k->c->model != ADAMOE_CHECK_MODELS - 1) {
        adamoe_check_settle(k, ADAMOE_CHECK_SKIPPED,
                            "which experts are selected depends on how the kernel rounds its operands");
    } else {
        status = run(&t);
    }
    free_outcome(&t.expected);
    free_outcome(&t.got);
    free(t.squares);
    adamoe_check_model_free(&t.model);
    return status;
}
