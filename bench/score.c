/*
 * Scoring prompts: each becomes a segment for what its choices share and one for each choice that continues
 * it.
 */
#include "score.h"
#include "batch.h"
#include "router.h"

#include <stdlib.h>

static adamoe_status allocate_counts(const adamoe_config *config, adamoe_route_counts *counts)
{
    *counts = (adamoe_route_counts){.layers = config->layers,
                                    .top_k = config->rule.top_k,
                                    .experts = config->experts + config->null_experts};
    counts->expert_rows = calloc(config->layers + 1, sizeof *counts->expert_rows);
    counts->histogram = calloc(config->layers * (config->rule.top_k + 1) + 1, sizeof *counts->histogram);
    counts->selections = calloc(config->layers * counts->experts + 1, sizeof *counts->selections);
    if (counts->expert_rows == NULL || counts->histogram == NULL || counts->selections == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "score: out of memory");
    }
    return adamoe_ok();
}

adamoe_status adamoe_scorer_create(const adamoe_model *model, adamoe_forward *forward, bool record_routing,
                                   adamoe_scorer *out)
{
    *out = (adamoe_scorer){.model = model, .forward = forward};
    adamoe_status status = allocate_counts(&model->config, &out->counts);
    if (status.code == ADAMOE_OK && record_routing) {
        status = adamoe_routing_record_create(&model->config, &out->record);
    }
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

/* What a segment is for: the prompt that choices share (choice = NONE), or one choice. */
#define NONE SIZE_MAX

typedef struct purpose {
    size_t prompt, choice;
} purpose;

typedef struct scoring {
    adamoe_scorer *scorer;
    const adamoe_prompt *prompt;
    double *const *logprob;
    adamoe_segment *segment;
    purpose *purpose;
    uint32_t **joined; /* [segments] tokens of choices that are scored alone, else NULL */
    double *
        *score; /* [segments] what each wanted position adds: to its choice, or one value for each choice */
    size_t segments;
} scoring;

static void add_segment(scoring *s, const uint32_t *token, size_t count, size_t parent, size_t logits_from,
                        purpose what)
{
    s->segment[s->segments] =
        (adamoe_segment){.token = token, .count = count, .parent = parent, .logits_from = logits_from};
    s->purpose[s->segments++] = what;
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
    s->joined[s->segments] = joined;
    add_segment(s, joined, count, ADAMOE_NO_PARENT, context - 1, what);
    return adamoe_ok();
}

static bool shares(const adamoe_choice_tokens *choice)
{
    return choice->alone.count == 0;
}

static adamoe_status add_prompt(scoring *s, size_t p)
{
    const adamoe_prompt *prompt = &s->prompt[p];
    const size_t shared = s->segments;
    bool any_shares = false;
    for (size_t c = 0; c < prompt->choices; ++c) {
        any_shares = any_shares || shares(&prompt->choice[c]);
    }
    if (any_shares) {
        add_segment(s, prompt->shared.id, prompt->shared.count, ADAMOE_NO_PARENT, prompt->shared.count - 1,
                    (purpose){p, NONE});
    }
    for (size_t c = 0; c < prompt->choices; ++c) {
        const adamoe_choice_tokens *choice = &prompt->choice[c];
        if (!shares(choice)) {
            ADAMOE_TRY(add_alone(s, choice, (purpose){p, c}));
        } else if (choice->continuation.count > 1) {
            add_segment(s, choice->continuation.id, choice->continuation.count - 1, shared, 0,
                        (purpose){p, c});
        }
    }
    return adamoe_ok();
}

/* The logits after token `position` of a segment score the next token of its choice, or the first of every
 * choice that shares the prompt. Threads report positions in any order: each value has a place of its own,
 * and they are added up afterwards. */
static void take_logits(void *context, size_t segment, size_t position, const float *logits)
{
    const scoring *s = context;
    const purpose what = s->purpose[segment];
    const adamoe_prompt *prompt = &s->prompt[what.prompt];
    double *score = s->score[segment];
    const double norm = adamoe_log_sum_exp(logits, s->scorer->model->config.vocab_size);
    if (what.choice != NONE) {
        const adamoe_choice_tokens *choice = &prompt->choice[what.choice];
        const size_t next = position - s->segment[segment].logits_from + (shares(choice) ? 1 : 0);
        score[position - s->segment[segment].logits_from] =
            (double)logits[choice->continuation.id[next]] - norm;
        return;
    }
    for (size_t c = 0; c < prompt->choices; ++c) {
        score[c] = (double)logits[prompt->choice[c].continuation.id[0]] - norm;
    }
}

static adamoe_status allocate_scores(scoring *s)
{
    for (size_t i = 0; i < s->segments; ++i) {
        const adamoe_segment *segment = &s->segment[i];
        const size_t choices = s->prompt[s->purpose[i].prompt].choices;
        const size_t count = s->purpose[i].choice == NONE ? choices : segment->count - segment->logits_from;
        s->score[i] = calloc(count, sizeof **s->score);
        if (s->score[i] == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "score: out of memory");
        }
    }
    return adamoe_ok();
}

/* In the order of segments and positions, whoever computed them. */
static void add_scores(scoring *s)
{
    for (size_t i = 0; i < s->segments; ++i) {
        const purpose what = s->purpose[i];
        double *logprob = s->logprob[what.prompt];
        const adamoe_prompt *prompt = &s->prompt[what.prompt];
        for (size_t c = 0; what.choice == NONE && c < prompt->choices; ++c) {
            logprob[c] += shares(&prompt->choice[c]) ? s->score[i][c] : 0.0;
        }
        for (size_t p = s->segment[i].logits_from; what.choice != NONE && p < s->segment[i].count; ++p) {
            logprob[what.choice] += s->score[i][p - s->segment[i].logits_from];
        }
    }
}

static void take_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    const scoring *s = context;
    adamoe_route_counts *counts = &s->scorer->counts;
    if (s->scorer->record != NULL) {
        adamoe_routing_record_add(s->scorer->record, layer, routing);
    }
    for (size_t t = 0; t < routing->tokens; ++t) {
        const size_t experts = adamoe_routing_true_experts(routing, t);
        counts->expert_rows[layer] += experts;
        ++counts->histogram[layer * (counts->top_k + 1) + experts];
        for (size_t j = 0; j < routing->rule.top_k; ++j) {
            ++counts->selections[layer * counts->experts + routing->id[t * routing->rule.top_k + j]];
        }
    }
}

/* A dense model has no routing: every token has its one expert in every layer. */
static void count_dense(adamoe_scorer *scorer, uint64_t tokens)
{
    for (size_t layer = 0; layer < scorer->counts.layers; ++layer) {
        scorer->counts.expert_rows[layer] += tokens;
        scorer->counts.histogram[layer * (scorer->counts.top_k + 1) + 1] += tokens;
        scorer->counts.selections[layer] += tokens;
    }
}

static void add_work(adamoe_scorer *scorer, const adamoe_segment *segment, size_t count)
{
    const adamoe_work work = adamoe_batch_work(&scorer->model->config, segment, count);
    if (scorer->model->config.dense) {
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

static adamoe_status run(scoring *s, size_t count)
{
    for (size_t p = 0; p < count; ++p) {
        ADAMOE_TRY(add_prompt(s, p));
        for (size_t c = 0; c < s->prompt[p].choices; ++c) {
            s->logprob[p][c] = 0.0;
        }
    }
    ADAMOE_TRY(allocate_scores(s));
    const adamoe_batch_hooks hooks = {.context = s, .routed = take_routing, .logits = take_logits};
    adamoe_scorer *scorer = s->scorer;
    ADAMOE_TRY(scorer->forward == NULL
                   ? adamoe_batch_forward(scorer->model, s->segment, s->segments, &hooks)
                   : adamoe_forward_batch(scorer->forward, s->segment, s->segments, &hooks));
    add_scores(s);
    add_work(scorer, s->segment, s->segments);
    return adamoe_ok();
}

adamoe_status adamoe_score(adamoe_scorer *scorer, const adamoe_prompt *prompt, size_t count,
                           double *const *logprob)
{
    size_t most = 0;
    for (size_t p = 0; p < count; ++p) {
        most += 1 + prompt[p].choices;
    }
    scoring s = {.scorer = scorer, .prompt = prompt, .logprob = logprob};
    s.segment = calloc(most + 1, sizeof *s.segment);
    s.purpose = calloc(most + 1, sizeof *s.purpose);
    s.joined = calloc(most + 1, sizeof *s.joined);
    s.score = calloc(most + 1, sizeof *s.score);
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "score: out of memory");
    if (s.segment != NULL && s.purpose != NULL && s.joined != NULL && s.score != NULL) {
        status = run(&s, count);
    }
    for (size_t i = 0; i < s.segments; ++i) {
        free(s.joined[i]);
        free(s.score[i]);
    }
    free(s.score);
    free(s.segment);
    free(s.purpose);
    free(s.joined);
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
