/*
 * The head: logits of the positions that are wanted, or only the log-probabilities of some tokens. The
 * vocabulary is taken block by block.
 */
#include "model/forward_parts.h"
#include "model/products.h"
#include "machine/host.h"
#include "numbers.h"

#include <math.h>
#include <string.h>

size_t forward_head_blocks(const adamoe_config *config)
{
    return (config->vocab_size + FORWARD_HEAD_COLUMNS - 1) / FORWARD_HEAD_COLUMNS;
}

size_t forward_head_columns(const adamoe_config *config, size_t block)
{
    const size_t left = config->vocab_size - block * FORWARD_HEAD_COLUMNS;
    return left < FORWARD_HEAD_COLUMNS ? left : FORWARD_HEAD_COLUMNS;
}

adamoe_status forward_head_prepare(const adamoe_forward *forward, size_t block, adamoe_prepared_matrix **out)
{
    const adamoe_matrix *head = &forward->model->head;
    const size_t before = block * FORWARD_HEAD_COLUMNS * head->columns * adamoe_dtype_bytes(head->dtype);
    const adamoe_matrix rows = {.data = (const unsigned char *)head->data + before,
                                .dtype = head->dtype,
                                .rows = forward_head_columns(&forward->model->config, block),
                                .columns = head->columns};
    return forward->kernel->prepare_matrix(&forward->host, &rows, &forward->placement, out);
}

void forward_head_release(adamoe_forward *forward)
{
    const size_t blocks = forward->head == NULL ? 0 : forward_head_blocks(&forward->model->config);
    for (size_t block = 0; block < blocks; ++block) {
        if (forward->head[block] != NULL) {
            forward->kernel->release_matrix(forward->head[block]);
            forward->head[block] = NULL;
        }
    }
}

/* A block that is held, or prepares it for now. */
static adamoe_status take_block(const adamoe_forward *forward, size_t block, adamoe_prepared_matrix **out)
{
    *out = forward->head[block];
    return *out != NULL ? adamoe_ok() : forward_head_prepare(forward, block, out);
}

static void give_block_back(const adamoe_forward *forward, size_t block, adamoe_prepared_matrix *matrix)
{
    if (matrix != forward->head[block]) {
        forward->kernel->release_matrix(matrix);
    }
}

/* Some wanted positions, first .. first + count - 1, and one block of the vocabulary. */
typedef struct head_part {
    const adamoe_forward *forward;
    forward_crew *crew;
    size_t first, count, block;
    const adamoe_target *target; /* of all wanted positions, or NULL: hooks report the logits */
    double *log_probability;     /* of the targets: their logits, until the sum is complete */
    adamoe_log_sum *sum;         /* [wanted_count] of this block */
    const adamoe_batch_hooks *hooks;
} head_part;

static adamoe_status find_not_finite(const forward_wanted *at, const float *logits, size_t first,
                                     size_t count)
{
    size_t v = 0;
    while (v < count && isfinite(logits[v])) {
        ++v;
    }
    return v == count ? adamoe_ok()
                      : forward_not_finite("head: ", at->segment, at->position, "vocabulary entry", first + v,
                                           logits[v]);
}

/* ------------------------------------------------------------------------------------ log-probabilities */

/* The sum of one position's logits of the block, and those of its targets. NaN as the largest marks a position whose
 * logits are not finite. */
static void score_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const head_part *part = context;
    const forward_state *state = part->forward->state;
    const forward_wanted *wanted = &state->wanted[part->first + i];
    const size_t columns = forward_head_columns(&part->forward->model->config, part->block);
    const size_t first = part->block * FORWARD_HEAD_COLUMNS;
    const float *logits = part->crew->logits + i * columns;
    adamoe_log_sum *sum = &part->sum[part->first + i];
    *sum = adamoe_log_sum_empty;
    if (!part->forward->ops->log_sum_add(sum, logits, columns)) {
        sum->largest = NAN;
    }
    for (size_t t = wanted->first_target; t < wanted[1].first_target; ++t) {
        const size_t token = part->target[t].token;
        if (token >= first && token < first + columns) {
            part->log_probability[t] = (double)logits[token - first];
        }
    }
}

static adamoe_status score_part(const head_part *part, adamoe_prepared_matrix *matrix)
{
    const adamoe_forward *forward = part->forward;
    const forward_state *state = forward->state;
    forward_crew *crew = part->crew;
    const size_t columns = forward_head_columns(&forward->model->config, part->block);
    ADAMOE_TRY(forward_multiply(forward, crew, matrix,
                                state->normed + part->first * forward->model->head.columns, part->count,
                                crew->logits));
    forward_end_stage(crew->clock, ADAMOE_FORWARD_HEAD);
    crew->run.team->run(crew->run.team->state, part->count, score_task, (void *)(uintptr_t)part);
    forward_end_stage(crew->clock, ADAMOE_FORWARD_LOG_SOFTMAX);
    for (size_t i = 0; i < part->count; ++i) {
        if (isnan(part->sum[part->first + i].largest)) {
            return find_not_finite(&state->wanted[part->first + i], crew->logits + i * columns,
                                   part->block * FORWARD_HEAD_COLUMNS, columns);
        }
    }
    return adamoe_ok();
}

/* All wanted positions, some at a time. */
static adamoe_status score_block(head_part *part)
{
    const size_t all = part->forward->state->wanted_count;
    const size_t most = (size_t)FORWARD_HEAD_ROWS * part->crew->run.team->threads;
    adamoe_prepared_matrix *matrix = NULL;
    ADAMOE_TRY(forward_reserve_logits(part->crew, most * FORWARD_HEAD_COLUMNS));
    ADAMOE_TRY(take_block(part->forward, part->block, &matrix));
    forward_end_stage(part->crew->clock, ADAMOE_FORWARD_PACKING);
    adamoe_status status = adamoe_ok();
    for (part->first = 0; part->first < all && status.code == ADAMOE_OK; part->first += most) {
        part->count = all - part->first < most ? all - part->first : most;
        status = score_part(part, matrix);
    }
    give_block_back(part->forward, part->block, matrix);
    return status;
}

static adamoe_status block_task(const void *context, forward_crew *crew, size_t block)
{
    head_part part = *(const head_part *)context;
    part.crew = crew;
    part.block = block;
    part.sum += block * part.forward->state->wanted_count;
    return score_block(&part);
}

/* log sum of what two sums have together. */
static void merge(adamoe_log_sum *sum, const adamoe_log_sum *more)
{
    if (more->largest > sum->largest) {
        sum->sum = sum->sum * exp((double)sum->largest - (double)more->largest) + more->sum;
        sum->largest = more->largest;
    } else {
        sum->sum += more->sum * exp((double)more->largest - (double)sum->largest);
    }
}

static void merge_block(forward_state *state, const adamoe_log_sum *sum)
{
    for (size_t i = 0; i < state->wanted_count; ++i) {
        merge(&state->log_sum[i], &sum[i]);
    }
}

/* Blocks are sums of their own, which are merged in order, so that it changes no bit who computes them. A prepared block
 * is used by one call at a time. */
static adamoe_status score_blocks(const adamoe_forward *forward, head_part *part)
{
    forward_state *state = forward->state;
    const size_t blocks = forward_head_blocks(&forward->model->config), wanted = state->wanted_count;
    const bool apart = forward_may_part(forward) && blocks >= 2 * (size_t)forward->team->threads;
    ADAMOE_TRY(forward_state_reserve_sums(state, apart ? blocks * wanted : wanted));
    part->sum = state->block_sum;
    if (!apart) {
        part->crew = &state->whole;
        for (part->block = 0; part->block < blocks; ++part->block) {
            ADAMOE_TRY(score_block(part));
            merge_block(state, part->sum);
        }
        return adamoe_ok();
    }
    ADAMOE_TRY(forward_each_alone(forward, blocks, block_task, part));
    for (size_t block = 0; block < blocks; ++block) {
        merge_block(state, state->block_sum + block * wanted);
    }
    return adamoe_ok();
}

adamoe_status forward_head_score(adamoe_forward *forward, const adamoe_target *target,
                                 double *log_probability)
{
    forward_state *state = forward->state;
    head_part part = {.forward = forward, .target = target, .log_probability = log_probability};
    forward_norm_wanted(forward, &forward->model->final_norm);
    forward_end_stage(forward->clock, ADAMOE_FORWARD_NORMS);
    for (size_t i = 0; i < state->wanted_count; ++i) {
        state->log_sum[i] = adamoe_log_sum_empty;
    }
    ADAMOE_TRY(score_blocks(forward, &part));
    for (size_t i = 0; i < state->wanted_count; ++i) {
        const double log_sum = (double)state->log_sum[i].largest + log(state->log_sum[i].sum);
        for (size_t t = state->wanted[i].first_target; t < state->wanted[i + 1].first_target; ++t) {
            log_probability[t] -= log_sum;
        }
    }
    forward_end_stage(forward->clock, ADAMOE_FORWARD_LOG_SOFTMAX);
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------- all logits */

static void report_task(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    const head_part *part = context;
    const forward_state *state = part->forward->state;
    const forward_wanted *wanted = &state->wanted[part->first + i];
    part->hooks->logits(part->hooks->context, wanted->segment, wanted->position,
                        state->whole.logits + i * part->forward->model->config.vocab_size);
}

/* Positions whose logits are held at a time. */
#define LOGITS_ROWS 64

/* A block's logits [count, columns] into their columns of [count, vocab_size]. */
static void spread(const head_part *part, const float *from)
{
    const adamoe_config *config = &part->forward->model->config;
    const size_t columns = forward_head_columns(config, part->block);
    float *to = part->forward->state->whole.logits + part->block * FORWARD_HEAD_COLUMNS;
    for (size_t i = 0; i < part->count; ++i) {
        memcpy(to + i * config->vocab_size, from + i * columns, columns * sizeof *to);
    }
}

static adamoe_status logits_of_part(head_part *part)
{
    const adamoe_forward *forward = part->forward;
    const adamoe_config *config = &forward->model->config;
    forward_state *state = forward->state;
    const float *states = state->normed + part->first * config->hidden_size;
    for (part->block = 0; part->block < forward_head_blocks(config); ++part->block) {
        const bool in_place = part->count == 1 || forward_head_blocks(config) == 1;
        float *to = state->whole.logits +
                    (in_place ? part->block * FORWARD_HEAD_COLUMNS : part->count * config->vocab_size);
        ADAMOE_TRY(
            forward_multiply(forward, &state->whole, forward->head[part->block], states, part->count, to));
        if (!in_place) {
            spread(part, to);
        }
    }
    forward_end_stage(forward->clock, ADAMOE_FORWARD_HEAD);
    for (size_t i = 0; i < part->count; ++i) {
        const float *logits = state->whole.logits + i * config->vocab_size;
        if (!forward->ops->all_finite(logits, config->vocab_size)) {
            return find_not_finite(&state->wanted[part->first + i], logits, 0, config->vocab_size);
        }
    }
    forward->team->run(forward->team->state, part->count, report_task, part);
    forward_end_stage(forward->clock, ADAMOE_FORWARD_LOG_SOFTMAX);
    return adamoe_ok();
}

static adamoe_status all_logits(const adamoe_forward *forward, const adamoe_batch_hooks *hooks)
{
    const adamoe_config *config = &forward->model->config;
    const size_t all = forward->state->wanted_count;
    const size_t most = all < LOGITS_ROWS ? all : LOGITS_ROWS;
    head_part part = {.forward = forward, .hooks = hooks};
    ADAMOE_TRY(forward_reserve_logits(&forward->state->whole,
                                      most * (config->vocab_size + forward_head_columns(config, 0))));
    forward_norm_wanted(forward, &forward->model->final_norm);
    forward_end_stage(forward->clock, ADAMOE_FORWARD_NORMS);
    for (; part.first < all; part.first += LOGITS_ROWS) {
        part.count = all - part.first < LOGITS_ROWS ? all - part.first : LOGITS_ROWS;
        ADAMOE_TRY(logits_of_part(&part));
    }
    return adamoe_ok();
}

static adamoe_status prepare_blocks(adamoe_forward *forward)
{
    for (size_t block = 0; block < forward_head_blocks(&forward->model->config); ++block) {
        ADAMOE_TRY(forward_head_prepare(forward, block, &forward->head[block]));
    }
    return adamoe_ok();
}

/* Every position needs every block: those that are not held are prepared for the time of the call. */
adamoe_status forward_head_logits(adamoe_forward *forward, const adamoe_batch_hooks *hooks)
{
    adamoe_status status = forward->resident ? adamoe_ok() : prepare_blocks(forward);
    forward_end_stage(forward->clock, ADAMOE_FORWARD_PACKING);
    if (status.code == ADAMOE_OK) {
        status = all_logits(forward, hooks);
    }
    if (!forward->resident) {
        forward_head_release(forward);
    }
    return status;
}
