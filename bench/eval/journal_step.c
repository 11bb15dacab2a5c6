/*
 * A step of an evaluation as a line of its journal: see journal_step.h.
 */
#include "eval/journal_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------------------------------------ numbers */

/* An array of counts. */
typedef struct numbers {
    const char *name;
    uint64_t *value;
    size_t count;
} numbers;

enum { WORK, EXPERT_ROWS, HISTOGRAM, SELECTIONS, ADAPTED_ROWS, NUMBERS };

/* Those of the scorer. Its work is copied to `work` [4]. */
static void list_numbers(adamoe_scorer *s, uint64_t *work, numbers *list)
{
    adamoe_route_counts *c = &s->counts;
    const uint64_t parts[4] = {s->work.tokens, s->work.expert_rows, s->work.visible_keys,
                               s->work.head_positions};
    memcpy(work, parts, sizeof parts);
    list[WORK] = (numbers){"work", work, 4};
    list[EXPERT_ROWS] = (numbers){"expert_rows", c->expert_rows, c->layers};
    list[HISTOGRAM] = (numbers){"histogram", c->histogram, c->layers * (c->top_k + 1)};
    list[SELECTIONS] = (numbers){"selections", c->selections, c->layers * c->experts};
    list[ADAPTED_ROWS] = (numbers){"adapted_rows", s->adapted_rows, ADAMOE_MAPS};
}

static json_t *numbers_json(const numbers *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->count; ++i) {
        (void)json_array_append_new(list, json_integer((json_int_t)n->value[i]));
    }
    return list;
}

static bool read_numbers(const json_t *line, const numbers *n)
{
    const json_t *list = json_object_get(line, n->name);
    bool good = json_array_size(list) == n->count;
    for (size_t i = 0; i < n->count && good; ++i) {
        const json_t *value = json_array_get(list, i);
        good = json_is_integer(value) && json_integer_value(value) >= 0;
        n->value[i] = (uint64_t)json_integer_value(value);
    }
    return good;
}

/* ------------------------------------------------------------------------------------------------- writing */

adamoe_status adamoe_journal_step_write(const adamoe_journal_subject *subject, size_t first, json_t **out)
{
    uint64_t work[4];
    numbers all[NUMBERS];
    json_t *logprob = json_array();
    for (size_t q = first; q < *subject->next; ++q) {
        json_t *list = json_array();
        for (size_t c = 0; c < subject->prompt[q].choices; ++c) {
            const double value = subject->outcome[q].logprob[c];
            if (!isfinite(value)) {
                json_decref(list);
                json_decref(logprob);
                return adamoe_error(
                    ADAMOE_BAD_INPUT,
                    "--resume: question %zu, choice %zu: log-probability %g: what is not finite is not kept",
                    q + 1, c + 1, value);
            }
            (void)json_array_append_new(list, json_real(value));
        }
        (void)json_array_append_new(logprob, list);
    }
    json_t *line = json_pack("{s:I,s:o,s:f}", "first", (json_int_t)first, "logprob", logprob, "seconds",
                             *subject->seconds);
    list_numbers(subject->scorer, work, all);
    for (size_t i = 0; i < NUMBERS; ++i) {
        (void)json_object_set_new(line, all[i].name, numbers_json(&all[i]));
    }
    *out = line;
    return line != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "--resume: out of memory");
}

/* ------------------------------------------------------------------------------------------------- reading */

/* A line's numbers, until all of them are known to be good. */
typedef struct step {
    const adamoe_journal_subject *subject;
    size_t first, count;
    double *logprob; /* of all choices, one question after the other */
    double seconds;
    numbers all[NUMBERS];
    uint64_t *memory; /* of their values */
} step;

static adamoe_status allocate(const adamoe_journal_subject *subject, size_t first, size_t count, step *out)
{
    uint64_t work[4];
    size_t values = 0, choices = 0;
    *out = (step){.subject = subject, .first = first, .count = count};
    list_numbers(subject->scorer, work, out->all);
    for (size_t i = 0; i < NUMBERS; ++i) {
        values += out->all[i].count;
    }
    for (size_t q = first; q < first + count; ++q) {
        choices += subject->prompt[q].choices;
    }
    out->memory = calloc(values, sizeof *out->memory);
    out->logprob = calloc(choices + 1, sizeof *out->logprob);
    uint64_t *next = out->memory;
    for (size_t i = 0; i < NUMBERS; ++i) {
        out->all[i].value = next;
        next = next == NULL ? NULL : next + out->all[i].count;
    }
    return out->memory != NULL && out->logprob != NULL
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "--resume: out of memory");
}

/* The logarithm of a probability, which is at most 1, and which a softmax of finite logits does not exceed by rounding
 * either: the sum has the largest term whole, so that its logarithm is none below the largest logit's. */
static bool is_logprob(const json_t *value)
{
    return json_is_number(value) && json_number_value(value) <= 0.0;
}

static bool read_logprobs(const json_t *lists, step *s)
{
    double *next = s->logprob;
    for (size_t i = 0; i < s->count; ++i) {
        const json_t *list = json_array_get(lists, i);
        if (json_array_size(list) != s->subject->prompt[s->first + i].choices) {
            return false;
        }
        for (size_t c = 0; c < json_array_size(list); ++c) {
            if (!is_logprob(json_array_get(list, c))) {
                return false;
            }
            *next++ = json_number_value(json_array_get(list, c));
        }
    }
    return true;
}

/* Seconds only grow, and nobody has computed for longer than the clock has run. */
static bool read_seconds(const json_t *value, step *s)
{
    s->seconds = json_number_value(value);
    return json_is_number(value) && s->seconds >= *s->subject->seconds && s->seconds <= (double)time(NULL);
}

static bool read_step(const json_t *line, step *s)
{
    bool good = read_logprobs(json_object_get(line, "logprob"), s) &&
                read_seconds(json_object_get(line, "seconds"), s);
    for (size_t i = 0; i < NUMBERS && good; ++i) {
        good = read_numbers(line, &s->all[i]);
    }
    return good;
}

/* -------------------------------------------------------------------------------------------------- sums */

/* Adds up; false where one is above `most`, which no sum of few overflows. */
static bool add_up(const uint64_t *value, size_t count, uint64_t most, uint64_t *sum)
{
    bool good = true;
    *sum = 0;
    for (size_t i = 0; i < count && good; ++i) {
        good = value[i] <= most;
        *sum += value[i];
    }
    return good;
}

/* Each of the layer's (token, router) is once in the histogram, which has the rows; and they are the selected true
 * experts. Those of null experts are the rest of top-k, or are not counted. */
static bool layer_adds_up(const step *s, size_t layer, uint64_t pairs)
{
    const adamoe_scorer *scorer = s->subject->scorer;
    const adamoe_route_counts *c = &scorer->counts;
    const size_t experts =
        scorer->adapted != NULL ? scorer->adapted->sizes.experts : scorer->model->config.experts;
    const uint64_t *histogram = s->all[HISTOGRAM].value + layer * (c->top_k + 1);
    const uint64_t *selections = s->all[SELECTIONS].value + layer * c->experts;
    uint64_t counted, selected, all, rows = 0;
    if (!add_up(histogram, c->top_k + 1, pairs, &counted) || !add_up(selections, experts, pairs, &selected) ||
        !add_up(selections, c->experts, pairs, &all)) {
        return false;
    }
    for (size_t k = 0; k <= c->top_k; ++k) {
        rows += k * histogram[k];
    }
    return counted == pairs && rows == s->all[EXPERT_ROWS].value[layer] && selected == rows &&
           (all == rows || all == pairs * c->top_k);
}

/* What a run of the questions up to here counts: what does not depend on the routing is known. */
static adamoe_status check_sums(const step *s, bool *good)
{
    const adamoe_scorer *scorer = s->subject->scorer;
    const uint64_t *work = s->all[WORK].value;
    adamoe_work added;
    uint64_t rows, adapted;
    ADAMOE_TRY(adamoe_prompts_work(&scorer->model->config, s->subject->prompt + s->first, s->count, &added));
    const uint64_t tokens = scorer->work.tokens + added.tokens;
    *good = work[0] == tokens && work[2] == scorer->work.visible_keys + added.visible_keys &&
            work[3] == scorer->work.head_positions + added.head_positions;
    for (size_t layer = 0; layer < scorer->counts.layers && *good; ++layer) {
        *good = layer_adds_up(s, layer, tokens * scorer->counts.routers);
    }
    *good = *good && add_up(s->all[EXPERT_ROWS].value, scorer->counts.layers, work[1], &rows) &&
            rows == work[1] && add_up(s->all[ADAPTED_ROWS].value, ADAMOE_MAPS, work[1], &adapted) &&
            (adapted == work[1] || (adapted == 0 && scorer->adapted == NULL));
    return adamoe_ok();
}

static void commit(const step *s)
{
    const adamoe_journal_subject *subject = s->subject;
    adamoe_scorer *scorer = subject->scorer;
    uint64_t work[4];
    numbers all[NUMBERS];
    const double *next = s->logprob;
    for (size_t q = s->first; q < s->first + s->count; ++q) {
        memcpy(subject->outcome[q].logprob, next, subject->prompt[q].choices * sizeof *next);
        next += subject->prompt[q].choices;
        adamoe_predict(&subject->prompt[q], &subject->outcome[q]);
    }
    list_numbers(scorer, work, all);
    for (size_t i = 0; i < NUMBERS; ++i) {
        memcpy(all[i].value, s->all[i].value, all[i].count * sizeof *all[i].value);
    }
    scorer->work = (adamoe_work){work[0], work[1], work[2], work[3]};
    *subject->seconds = s->seconds;
    *subject->next = s->first + s->count;
}

adamoe_status adamoe_journal_step_take(const adamoe_journal_subject *subject, const json_t *line, bool *taken)
{
    const json_t *number = json_object_get(line, "first");
    const size_t first = *subject->next, count = json_array_size(json_object_get(line, "logprob"));
    step s;
    *taken = json_is_integer(number) && json_integer_value(number) == (json_int_t)first && count > 0 &&
             count <= subject->count - first;
    if (!*taken) {
        return adamoe_ok();
    }
    adamoe_status status = allocate(subject, first, count, &s);
    *taken = status.code == ADAMOE_OK && read_step(line, &s);
    if (*taken) {
        status = check_sums(&s, taken);
    }
    if (status.code == ADAMOE_OK && *taken) {
        commit(&s);
    }
    free(s.memory);
    free(s.logprob);
    return status;
}
