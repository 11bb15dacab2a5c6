/*
 * Two builds of the program, timed in turn.
 */
#include "gate/speed.h"
#include "program/child_process.h"
#include "program/options.h"
#include "splitmix64.h"
#include "program/json_output.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A kernel that takes longer for a call hangs. */
#define LONGEST_ANSWER 120.0

typedef struct worker {
    adamoe_child child;
    size_t *index; /* [count] the worker's number of each case */
    size_t opened;
} worker;

/* ------------------------------------------------------------------------------------------------ workers */

static adamoe_status start(const adamoe_speed_options *o, int side, adamoe_child *child)
{
    char threads[16], seed[32], line[256];
    const char *arguments[10 + 2 * ADAMOE_MOST_COMMANDS];
    size_t n = 0;
    const adamoe_gate_side *s = &o->side[side];
    (void)snprintf(threads, sizeof threads, "--threads=%" PRIu32, o->threads);
    (void)snprintf(seed, sizeof seed, "--seed=%" PRIu64, o->seed);
    arguments[n++] = "adamoe";
    arguments[n++] = "worker";
    arguments[n++] = threads;
    arguments[n++] = seed;
    if (s->plugin != NULL) {
        arguments[n++] = "--plugin";
        arguments[n++] = s->plugin;
    }
    for (size_t i = 0; i < o->commands; ++i) {
        arguments[n++] = "--command";
        arguments[n++] = o->command[i];
    }
    arguments[n] = NULL;
    adamoe_status status = adamoe_child_start(s->program, arguments, child);
    ADAMOE_TRY(status);
    status = adamoe_child_hear(child, LONGEST_ANSWER, line, sizeof line);
    if (status.code == ADAMOE_OK && strcmp(line, "adamoe worker 1") == 0) {
        return status;
    }
    char how[64];
    (void)adamoe_child_end(child, true, how, sizeof how);
    return adamoe_error(ADAMOE_BAD_INPUT,
                        "%s: it is no worker of this version's gate: is it older, or did it fail? (%.200s)",
                        s->program, status.code == ADAMOE_OK ? line : status.message);
}

/* The answer to a command: what follows `word`. `error` takes what the worker says of an error, and is empty
 * where there is none. */
static adamoe_status hear(adamoe_child *child, const char *word, char *line, size_t size, char *error,
                          size_t error_size)
{
    int code, place = 0;
    const size_t length = strlen(word);
    ADAMOE_TRY(adamoe_child_hear(child, LONGEST_ANSWER, line, size));
    error[0] = '\0';
    if (sscanf(line, "error %d %n", &code, &place) == 1 && place > 0) {
        (void)snprintf(error, error_size, "%s", line + place);
        return adamoe_ok();
    }
    if (strncmp(line, word, length) != 0 || line[length] != ' ') {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: an answer that is none: `%.100s'", child->name, line);
    }
    memmove(line, line + length + 1, strlen(line + length + 1) + 1);
    return adamoe_ok();
}

static adamoe_status open_case(const adamoe_speed_options *o, adamoe_child *child, const adamoe_speed_case *c,
                               adamoe_case_work *work)
{
    char line[512];
    *work = (adamoe_case_work){0};
    ADAMOE_TRY(adamoe_child_say(child, "open %s %s %zu\n", o->preset, c->kernel, c->tokens));
    ADAMOE_TRY(hear(child, "case", line, sizeof line, work->error, sizeof work->error));
    if (work->error[0] == '\0' &&
        sscanf(line, "%zu %zu %lf %lf %lf %31s", &work->rows, &work->products, &work->executed_flops,
               &work->touched_bytes, &work->load, work->bits) != 6) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: a case that is none: `%.100s'", child->name, line);
    }
    return adamoe_ok();
}

/* A worker that fails is said to be so already; one that is well ends with its input. */
static void end(adamoe_child *child, adamoe_status status)
{
    char how[64];
    (void)adamoe_child_end(child, status.code != ADAMOE_OK, how, sizeof how);
}

adamoe_status adamoe_find_work(const adamoe_speed_options *o, int side, adamoe_speed_case *cases,
                               size_t count)
{
    adamoe_child child;
    adamoe_status status = start(o, side, &child);
    ADAMOE_TRY(status);
    for (size_t i = 0; i < count && status.code == ADAMOE_OK; ++i) {
        status = open_case(o, &child, &cases[i], &cases[i].work[side]);
    }
    end(&child, status);
    return status;
}

/* ------------------------------------------------------------------------------------------------- rounds */

/* The two workers of a round, and room for its measurements. */
typedef struct round {
    const adamoe_speed_options *options;
    adamoe_speed_case *cases;
    size_t count;
    adamoe_splitmix64 random;
    worker worker[ADAMOE_GATE_SIDES];
    double *pair; /* [count, pairs] */
} round_state;

static bool is_timed(const adamoe_speed_case *c)
{
    return c->work[ADAMOE_SIDE_BASE].error[0] == '\0' && c->work[ADAMOE_SIDE_NEW].error[0] == '\0';
}

static adamoe_status begin_side(round_state *r, int side)
{
    worker *w = &r->worker[side];
    ADAMOE_TRY(start(r->options, side, &w->child));
    w->opened = 0;
    for (size_t i = 0; i < r->count; ++i) {
        adamoe_case_work work;
        if (!is_timed(&r->cases[i])) {
            continue;
        }
        ADAMOE_TRY(open_case(r->options, &w->child, &r->cases[i], &work));
        if (work.error[0] != '\0') {
            return adamoe_error(ADAMOE_ENVIRONMENT, "%s: %s: it ran before, and now: %.200s", w->child.name,
                                r->cases[i].name, work.error);
        }
        w->index[i] = w->opened++;
    }
    return adamoe_ok();
}

static adamoe_status measure(round_state *r, int side, size_t i, size_t calls, double *seconds)
{
    worker *w = &r->worker[side];
    char line[256], error[256];
    ADAMOE_TRY(adamoe_child_say(&w->child, "time %zu %zu\n", w->index[i], calls));
    ADAMOE_TRY(hear(&w->child, "seconds", line, sizeof line, error, sizeof error));
    if (error[0] != '\0' || sscanf(line, "%lf", seconds) != 1 || !(*seconds > 0.0)) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: %s: %.200s", w->child.name, r->cases[i].name,
                            error[0] == '\0' ? line : error);
    }
    return adamoe_ok();
}

/* Of the least of a few calls on the base side, found once and kept for all rounds and both sides. */
static adamoe_status choose_calls(round_state *r, size_t i)
{
    double seconds, least = HUGE_VAL;
    for (int k = 0; k < 3 && r->cases[i].calls == 0; ++k) {
        ADAMOE_TRY(measure(r, ADAMOE_SIDE_BASE, i, 1, &seconds));
        least = fmin(least, seconds);
    }
    if (r->cases[i].calls == 0) {
        r->cases[i].calls = 1 + (size_t)fmin(1e6, r->options->seconds / least);
    }
    return adamoe_ok();
}

/* One measurement on each side, the first at random. */
static adamoe_status measure_pair(round_state *r, size_t i, double *log_ratio)
{
    double seconds[ADAMOE_GATE_SIDES];
    const int first = (int)(adamoe_splitmix64_next(&r->random) >> 63);
    ADAMOE_TRY(measure(r, first, i, r->cases[i].calls, &seconds[first]));
    ADAMOE_TRY(measure(r, 1 - first, i, r->cases[i].calls, &seconds[1 - first]));
    *log_ratio = log(seconds[ADAMOE_SIDE_NEW] / seconds[ADAMOE_SIDE_BASE]);
    return adamoe_ok();
}

/* Cases take turns within a round, so that none of them meets all of a disturbance. */
static adamoe_status run_round(round_state *r, size_t number)
{
    const size_t pairs = r->options->pairs;
    const int first = (int)(adamoe_splitmix64_next(&r->random) >> 63);
    ADAMOE_TRY(begin_side(r, first));
    ADAMOE_TRY(begin_side(r, 1 - first));
    for (size_t i = 0; i < r->count; ++i) {
        if (is_timed(&r->cases[i])) {
            ADAMOE_TRY(choose_calls(r, i));
        }
    }
    for (size_t p = 0; p < pairs; ++p) {
        for (size_t i = 0; i < r->count; ++i) {
            if (is_timed(&r->cases[i])) {
                ADAMOE_TRY(measure_pair(r, i, &r->pair[i * pairs + p]));
            }
        }
    }
    for (size_t i = 0; i < r->count; ++i) {
        adamoe_sort(r->pair + i * pairs, pairs);
        r->cases[i].log_ratio[number] = adamoe_median(r->pair + i * pairs, pairs);
    }
    return adamoe_ok();
}

static adamoe_status allocate(round_state *r)
{
    bool complete = true;
    r->pair = calloc(r->count * r->options->pairs + 1, sizeof *r->pair);
    for (int side = 0; side < ADAMOE_GATE_SIDES; ++side) {
        r->worker[side].index = calloc(r->count + 1, sizeof *r->worker[side].index);
        complete = complete && r->worker[side].index != NULL;
    }
    for (size_t i = 0; i < r->count; ++i) {
        r->cases[i].log_ratio = calloc(r->options->rounds + 1, sizeof *r->cases[i].log_ratio);
        complete = complete && r->cases[i].log_ratio != NULL;
    }
    return complete && r->pair != NULL ? adamoe_ok()
                                       : adamoe_error(ADAMOE_ENVIRONMENT, "gate: out of memory");
}

adamoe_status adamoe_time_cases(const adamoe_speed_options *options, adamoe_speed_case *cases, size_t count,
                                void (*progress)(size_t round, size_t rounds))
{
    round_state r = {.options = options, .cases = cases, .count = count, .random = {options->seed}};
    adamoe_status status = allocate(&r);
    for (size_t number = 0; number < options->rounds && status.code == ADAMOE_OK; ++number) {
        status = run_round(&r, number);
        end(&r.worker[ADAMOE_SIDE_BASE].child, status);
        end(&r.worker[ADAMOE_SIDE_NEW].child, status);
        progress(number + 1, options->rounds);
    }
    free(r.pair);
    free(r.worker[ADAMOE_SIDE_BASE].index);
    free(r.worker[ADAMOE_SIDE_NEW].index);
    return status;
}

/* ------------------------------------------------------------------------------------------------ results */

/* What runs on neither side is no result; the work of both tells what runs on one alone. */
adamoe_status adamoe_compare_speed(adamoe_result_comparison *comparison, const adamoe_speed_options *options,
                                   const adamoe_speed_case *cases, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (is_timed(&cases[i])) {
            ADAMOE_TRY(adamoe_compare_pairs(comparison, cases[i].name, cases[i].log_ratio, options->rounds));
        }
    }
    return adamoe_ok();
}

json_t *adamoe_case_work_json(const adamoe_speed_case *cases, size_t count, int side)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; ++i) {
        const adamoe_case_work *work = &cases[i].work[side];
        json_t *entry =
            work->error[0] != '\0'
                ? json_pack("{s:s,s:b,s:o}", "name", cases[i].name, "error_occurred", 1, "error_message",
                            adamoe_json_text(work->error))
                : json_pack("{s:s,s:f,s:f,s:I,s:I,s:f,s:s}", "name", cases[i].name, "executed_flops",
                            work->executed_flops, "touched_bytes", work->touched_bytes, "expert_rows",
                            (json_int_t)work->rows, "products", (json_int_t)work->products, "load",
                            work->load, "output_bits", work->bits);
        if (json_array_append_new(list, entry) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *adamoe_speed_json(const adamoe_speed_options *options, const adamoe_speed_case *cases, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; ++i) {
        json_t *ratios = json_array();
        for (size_t r = 0; r < options->rounds && is_timed(&cases[i]); ++r) {
            json_array_append_new(ratios, adamoe_json_number(exp(cases[i].log_ratio[r])));
        }
        json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:o}", "name", cases[i].name, "calls",
                                              (json_int_t)cases[i].calls, "pairs_per_round",
                                              (json_int_t)options->pairs, "time_ratio_by_round", ratios));
    }
    return list;
}
