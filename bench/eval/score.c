/*
 * Scoring prompts: each becomes a segment for what its choices share and one for each choice that continues
 * it.
 */
#include "eval/score.h"
#include "batch.h"
#include "router.h"

#include <stdlib.h>

static adamoe_status allocate_counts(size_t layers, size_t top_k, size_t experts, size_t routers,
                                     adamoe_route_counts *counts)
{
    *counts = (adamoe_route_counts){.layers = layers, .top_k = top_k, .experts = experts, .routers = routers};
    counts->expert_rows = calloc(layers + 1, sizeof *counts->expert_rows);
    counts->histogram = calloc(layers * (top_k + 1) + 1, sizeof *counts->histogram);
    counts->selections = calloc(layers * experts + 1, sizeof *counts->selections);
    if (counts->expert_rows == NULL || counts->histogram == NULL || counts->selections == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "score: out of memory");
    }
    return adamoe_ok();
}

adamoe_status adamoe_scorer_create(const adamoe_model *model, adamoe_forward *forward, bool record_routing,
                                   bool routed, adamoe_scorer *out)
{
    *out = (adamoe_scorer){.model = model, .forward = forward};
    const adamoe_config *c = &model->config;
    adamoe_status status = allocate_counts(c->layers, routed ? c->experts : c->rule.top_k,
                                           c->experts + c->null_experts, 1, &out->counts);
    if (status.code == ADAMOE_OK && record_routing) {
        status = adamoe_routing_record_create(&model->config, &out->record);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_scorer_free(out);
    }
    return status;
}

adamoe_status adamoe_scorer_create_adapted(const adamoe_lora_model *model, adamoe_lora_network *network,
                                           adamoe_scorer *out)
{
    const adamoe_lora_sizes *s = &model->sizes;
    *out = (adamoe_scorer){.model = model->base, .adapted = model, .network = network};
    const adamoe_status status = allocate_counts(model->base->config.layers, s->rule.top_k,
                                                 s->experts + s->null_experts, ADAMOE_MAPS, &out->counts);
    if (status.code != ADAMOE_OK) {
        adamoe_scorer_free(out);
    }
    return status;
}

void adamoe_scorer_free(adamoe_scorer *scorer)
{
    free(scorer->counts.expert_rows);
    free(scorer->counts.histogram);
    free(scorer->counts.selections);
    adamoe_routing_record_free(scorer->record);
    *scorer = (adamoe_scorer){0};
}

typedef struct purpose {
    size_t prompt, choice;
} purpose;

typedef struct scoring {
    adamoe_scorer *scorer;
    const adamoe_prompt *prompt;
    double *const *logprob;
    adamoe_segment *segment;
    uint32_t **joined; /* [segments] tokens of choices that are scored alone, else NULL */
    size_t segments;
    adamoe_target *target; /* [targets] every token of every choice, by segment and position */
    purpose *purpose;      /* [targets] what it is a token of */
    double *score;         /* [targets] its log-probability */
    size_t *first_target;  /* [segments + 1] */
    size_t targets;
} scoring;

static void add_target(scoring *s, size_t segment, size_t position, uint32_t token, purpose what)
{
    s->target[s->targets] = (adamoe_target){segment, position, token};
    s->purpose[s->targets++] = what;
}

/* Its targets follow at once: the tokens after each of its own from logits_from on. */
static size_t add_segment(scoring *s, const uint32_t *token, size_t count, size_t parent, size_t logits_from)
{
    s->segment[s->segments] =
        (adamoe_segment){.token = token, .count = count, .parent = parent, .logits_from = logits_from};
    s->first_target[s->segments] = s->targets;
    return s->segments++;
}

/* Context and choice as one sequence, without its last token: nothing follows that. */
static adamoe_status add_alone(scoring *s, const adamoe_choice_tokens *choice, purpose what)
{
    const size_t context = choice->alone.count, count = context + choice->continuation.count - 1;
    uint32_t *joined = calloc(count + 1, sizeof *joined);
    if (joined == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "score: out of memory");
    }
    for (size_t i = 0; i < count; ++i) {
        joined[i] = i < context ? choice->alone.id[i] : choice->continuation.id[i - context];
    }
    const size_t segment = add_segment(s, joined, count, ADAMOE_NO_PARENT, context - 1);
    s->joined[segment] = joined;
    for (size_t i = 0; i < choice->continuation.count; ++i) {
        add_target(s, segment, context - 1 + i, choice->continuation.id[i], what);
    }
    return adamoe_ok();
}

static bool shares(const adamoe_choice_tokens *choice)
{
    return choice->alone.count == 0;
}

/* The prompt scores the first token of every choice that shares it; a choice's own tokens score the next
 * ones, and its last token need not be run. */
static adamoe_status add_prompt(scoring *s, size_t p)
{
    const adamoe_prompt *prompt = &s->prompt[p];
    size_t shared = ADAMOE_NO_PARENT;
    for (size_t c = 0; c < prompt->choices; ++c) {
        if (!shares(&prompt->choice[c])) {
            continue;
        }
        if (shared == ADAMOE_NO_PARENT) {
            shared = add_segment(s, prompt->shared.id, prompt->shared.count, ADAMOE_NO_PARENT,
                                 prompt->shared.count - 1);
        }
        add_target(s, shared, prompt->shared.count - 1, prompt->choice[c].continuation.id[0],
                   (purpose){p, c});
    }
    for (size_t c = 0; c < prompt->choices; ++c) {
        const adamoe_choice_tokens *choice = &prompt->choice[c];
        if (!shares(choice)) {
            ADAMOE_TRY(add_alone(s, choice, (purpose){p, c}));
            continue;
        }
        const size_t own = choice->continuation.count - 1;
        const size_t segment = own == 0 ? 0 : add_segment(s, choice->continuation.id, own, shared, 0);
        for (size_t i = 0; i < own; ++i) {
            add_target(s, segment, i, choice->continuation.id[i + 1], (purpose){p, c});
        }
    }
    return adamoe_ok();
}

/* For the naive model, whose logits come position by position. */
static void take_logits(void *context, size_t segment, size_t position, const float *logits)
{
    const scoring *s = context;
    const double log_sum = adamoe_log_sum_exp(logits, s->scorer->model->config.vocab_size);
    for (size_t t = s->first_target[segment]; t < s->first_target[segment + 1]; ++t) {
        if (s->target[t].position == position) {
            s->score[t] = (double)logits[s->target[t].token] - log_sum;
        }
    }
}

/* In the order of segments and positions. */
static void add_scores(scoring *s)
{
    for (size_t t = 0; t < s->targets; ++t) {
        s->logprob[s->purpose[t].prompt][s->purpose[t].choice] += s->score[t];
    }
}

/* Routers are numbered layer by layer. */
static void take_routing(void *context, size_t router, const adamoe_routing *routing)
{
    const scoring *s = context;
    adamoe_route_counts *counts = &s->scorer->counts;
    const size_t layer = router / counts->routers;
    if (s->scorer->record != NULL) {
        adamoe_routing_record_add(s->scorer->record, layer, routing);
    }
    if (s->scorer->wire != NULL) {
        adamoe_wire_count_routing(s->scorer->wire, layer, routing);
    }
    for (size_t t = 0; t < routing->tokens; ++t) {
        const size_t experts = adamoe_routing_true_experts(routing, t);
        counts->expert_rows[layer] += experts;
        s->scorer->adapted_rows[router % counts->routers] += experts;
        ++counts->histogram[layer * (counts->top_k + 1) + experts];
        for (size_t j = 0; j < routing->rule.top_k; ++j) {
            ++counts->selections[layer * counts->experts + routing->id[t * routing->rule.top_k + j]];
        }
    }
}

/* The same of a plan that a router of the table made. */
static void take_plan(void *context, size_t layer, const adamoe_plan *plan)
{
    const scoring *s = context;
    adamoe_route_counts *counts = &s->scorer->counts;
    if (s->scorer->wire != NULL) {
        adamoe_wire_count_plan(s->scorer->wire, layer, plan);
    }
    counts->expert_rows[layer] += plan->rows;
    for (size_t t = 0; t < plan->tokens; ++t) {
        ++counts->histogram[layer * (counts->top_k + 1) + plan->token_offset[t + 1] - plan->token_offset[t]];
    }
    for (size_t e = 0; e < plan->experts; ++e) {
        counts->selections[layer * counts->experts + e] += plan->offset[e + 1] - plan->offset[e];
    }
}

/* A dense model has no routing: every token has its one expert in every layer. Plain adapters have one in
 * every map. */
static void count_dense(adamoe_scorer *scorer, uint64_t tokens)
{
    for (size_t i = 0; i < scorer->counts.routers; ++i) {
        scorer->adapted_rows[i] += tokens * scorer->counts.layers;
    }
    tokens *= scorer->counts.routers;
    for (size_t layer = 0; layer < scorer->counts.layers; ++layer) {
        scorer->counts.expert_rows[layer] += tokens;
        scorer->counts.histogram[layer * (scorer->counts.top_k + 1) + 1] += tokens;
        scorer->counts.selections[layer] += tokens;
    }
}

static void add_work(adamoe_scorer *scorer, const adamoe_segment *segment, size_t count)
{
    const adamoe_work work = adamoe_batch_work(&scorer->model->config, segment, count);
    if (scorer->adapted != NULL ? !scorer->adapted->sizes.routed : scorer->model->config.architecture.dense) {
        count_dense(scorer, work.tokens);
    }
    scorer->work.tokens += work.tokens;
    scorer->work.visible_keys += work.visible_keys;
    scorer->work.head_positions += work.head_positions;
    scorer->work.expert_rows = 0;
    for (size_t layer = 0; layer < scorer->counts.layers; ++layer) {
        scorer->work.expert_rows += scorer->counts.expert_rows[layer];
    }
}

static adamoe_status run_segments(scoring *s, const adamoe_batch_hooks *hooks)
{
    const adamoe_scorer *scorer = s->scorer;
    if (scorer->network != NULL) {
        return adamoe_lora_network_score(scorer->network, s->segment, s->segments, hooks, s->target,
                                         s->targets, s->score);
    }
    if (scorer->adapted != NULL) {
        return adamoe_lora_model_batch(scorer->adapted, s->segment, s->segments, hooks);
    }
    return scorer->forward == NULL ? adamoe_batch_forward(scorer->model, s->segment, s->segments, hooks)
                                   : adamoe_forward_score(scorer->forward, s->segment, s->segments, hooks,
                                                          s->target, s->targets, s->score);
}

static adamoe_status add_prompts(scoring *s, size_t count)
{
    for (size_t p = 0; p < count; ++p) {
        ADAMOE_TRY(add_prompt(s, p));
    }
    s->first_target[s->segments] = s->targets;
    return adamoe_ok();
}

static adamoe_status run(scoring *s, size_t count)
{
    ADAMOE_TRY(add_prompts(s, count));
    for (size_t p = 0; p < count; ++p) {
        for (size_t c = 0; c < s->prompt[p].choices; ++c) {
            s->logprob[p][c] = 0.0;
        }
    }
    const adamoe_batch_hooks hooks = {
        .context = s, .routed = take_routing, .logits = take_logits, .planned = take_plan};
    adamoe_scorer *scorer = s->scorer;
    ADAMOE_TRY(run_segments(s, &hooks));
    add_scores(s);
    add_work(scorer, s->segment, s->segments);
    return adamoe_ok();
}

static adamoe_status allocate(scoring *s, size_t prompts)
{
    size_t segments = 0, targets = 0;
    for (size_t p = 0; p < prompts; ++p) {
        segments += 1 + s->prompt[p].choices;
        for (size_t c = 0; c < s->prompt[p].choices; ++c) {
            targets += s->prompt[p].choice[c].continuation.count;
        }
    }
    s->segment = calloc(segments + 1, sizeof *s->segment);
    s->joined = calloc(segments + 1, sizeof *s->joined);
    s->first_target = calloc(segments + 1, sizeof *s->first_target);
    s->target = calloc(targets + 1, sizeof *s->target);
    s->purpose = calloc(targets + 1, sizeof *s->purpose);
    s->score = calloc(targets + 1, sizeof *s->score);
    return s->segment != NULL && s->joined != NULL && s->first_target != NULL && s->target != NULL &&
                   s->purpose != NULL && s->score != NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "score: out of memory");
}

static void release(const scoring *s)
{
    for (size_t i = 0; i < s->segments; ++i) {
        free(s->joined[i]);
    }
    free(s->segment);
    free(s->joined);
    free(s->first_target);
    free(s->target);
    free(s->purpose);
    free(s->score);
}

adamoe_status adamoe_score(adamoe_scorer *scorer, const adamoe_prompt *prompt, size_t count,
                           double *const *logprob)
{
    scoring s = {.scorer = scorer, .prompt = prompt, .logprob = logprob};
    adamoe_status status = allocate(&s, count);
    if (status.code == ADAMOE_OK) {
        status = run(&s, count);
    }
    release(&s);
    return status;
}

adamoe_status adamoe_prompts_work(const adamoe_config *config, const adamoe_prompt *prompt, size_t count,
                                  adamoe_work *out)
{
    scoring s = {.prompt = prompt};
    adamoe_status status = allocate(&s, count);
    if (status.code == ADAMOE_OK) {
        status = add_prompts(&s, count);
    }
    *out = status.code == ADAMOE_OK ? adamoe_batch_work(config, s.segment, s.segments) : (adamoe_work){0};
    release(&s);
    return status;
}

size_t adamoe_prompt_tokens(const adamoe_prompt *prompt)
{
    size_t tokens = prompt->shared.count;
    for (size_t c = 0; c < prompt->choices; ++c) {
        tokens += prompt->choice[c].continuation.count - 1 + prompt->choice[c].alone.count;
    }
    return tokens;
}
