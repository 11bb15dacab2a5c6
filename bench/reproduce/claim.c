/*
 * What the paper's own numbers, and a router without any model, say about its claim: what its %FLOPs counts,
 * how much five questions are, why settings collapse, and what its released loss computes.
 */
#include "reproduce/claim.h"
#include "flops.h"
#include "splitmix64.h"
#include "program/json_output.h"
#include "program/paper.h"
#include "router.h"
#include "balance_loss.h"
#include "statistics/statistics.h"
#include "reproduce/study/study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Mixtral-8x7B, as published. */
static const adamoe_config mixtral = {.vocab_size = 32000,
                                      .hidden_size = 4096,
                                      .intermediate_size = 14336,
                                      .layers = 32,
                                      .heads = 32,
                                      .key_value_heads = 8,
                                      .head_dim = 128,
                                      .experts = 8,
                                      .rule = {.top_k = 2},
                                      .context = 32768};

/* ------------------------------------------------------------------------------------------------- %FLOPs */

#define VISIBLE_KEYS 150.0

static double whole_model_reduction(double load)
{
    return 1.0 - adamoe_flops_per_token(&mixtral, 8, load, VISIBLE_KEYS, 1.0).total /
                     adamoe_flops_per_token(&mixtral, 0, 2.0, VISIBLE_KEYS, 1.0).total;
}

static void print_flops(void)
{
    printf("%%FLOPs is the whole model's, not the experts': Mixtral-8x7B, %g visible keys, head at every "
           "position; percent\n  %-12s %6s %8s %12s %14s\n",
           VISIBLE_KEYS, "", "load", "paper", "whole model", "experts alone");
    for (size_t i = 0; i < ADAMOE_PAPER_ROWS; ++i) {
        const adamoe_paper_row *row = &adamoe_paper[i];
        printf("  %-12s %6.2f %8.2f %12.2f %14.2f\n", row->dataset, row->load,
               100.0 * row->model_flops_reduction, 100.0 * whole_model_reduction(row->load),
               100.0 * (1.0 - row->load / 2.0));
    }
}

static json_t *flops_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ADAMOE_PAPER_ROWS; ++i) {
        const adamoe_paper_row *row = &adamoe_paper[i];
        (void)json_array_append_new(list, json_pack("{s:s,s:f,s:f,s:f,s:f}", "dataset", row->dataset, "load",
                                                    row->load, "paper", row->model_flops_reduction,
                                                    "model_flops_reduction", whole_model_reduction(row->load),
                                                    "expert_flops_reduction", 1.0 - row->load / 2.0));
    }
    return list;
}

/* ---------------------------------------------------------------------------------------------- accuracy */

/* Right answers of the ARC-C row, and what McNemar's test makes of them whatever the answers were: at the
 * least only the gained questions differ, at the most all that either model misses. */
typedef struct five_answers {
    size_t questions, top_2, adamoe, gained, most_lost, most_won;
    double standard_error, least_p, greatest_p;
} five_answers;

static five_answers count_answers(void)
{
    const adamoe_paper_row *row = ADAMOE_PAPER_ARC;
    const double n = (double)row->questions;
    five_answers a = {.questions = row->questions,
                      .top_2 = (size_t)lround(row->top_2_accuracy * n),
                      .adamoe = (size_t)lround(row->adamoe_accuracy * n)};
    a.gained = a.adamoe - a.top_2;
    a.most_lost = a.questions - a.adamoe;
    a.most_won = a.questions - a.top_2;
    a.standard_error = sqrt(row->top_2_accuracy * (1.0 - row->top_2_accuracy) / (n - 1.0));
    a.least_p = adamoe_mcnemar(0, a.gained);
    a.greatest_p = adamoe_mcnemar(a.most_lost, a.most_won);
    return a;
}

static void print_answers(const five_answers *a)
{
    printf("\nARC-C, %+.2f points: %zu right answers of %zu become %zu, %zu questions; the standard error of "
           "the "
           "accuracy is %.2f points\n"
           "  exact McNemar, whatever the answers were: from p = %.4f, no right answer lost (%zu questions "
           "differ), to p = %.2f, as many as possible (%zu lost, %zu won)\n",
           100.0 * (double)a->gained / (double)a->questions, a->top_2, a->questions, a->adamoe, a->gained,
           100.0 * a->standard_error, a->least_p, a->gained, a->greatest_p, a->most_lost, a->most_won);
}

static json_t *answers_json(const five_answers *a)
{
    return json_pack("{s:I,s:I,s:I,s:f,s:f,s:f}", "questions", (json_int_t)a->questions, "top_2_right",
                     (json_int_t)a->top_2, "adamoe_right", (json_int_t)a->adamoe, "standard_error",
                     a->standard_error, "least_mcnemar_p", a->least_p, "greatest_mcnemar_p", a->greatest_p);
}

/* ------------------------------------------------------------------------------------------------ routing */

#define TOKENS  4096
#define EXPERTS 8

/* Logits of random tokens; null ones are copies of the true ones, as in a converted model, or random too and
 * not alike, as after training. */
static adamoe_status route(size_t null_experts, size_t top_k, bool copies, uint64_t seed,
                           adamoe_routing **out)
{
    const size_t all = EXPERTS + null_experts;
    adamoe_splitmix64 random = {seed};
    float *logits = malloc(TOKENS * all * sizeof *logits);
    if (logits == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "claim: out of memory");
    }
    for (size_t t = 0; t < TOKENS; ++t) {
        for (size_t i = 0; i < all; ++i) {
            const double apart = i < EXPERTS ? 0.0 : 0.25 * (double)(i - EXPERTS);
            logits[t * all + i] = copies && i >= EXPERTS ? logits[t * all + i % EXPERTS]
                                                         : (float)(adamoe_splitmix64_normal(&random) - apart);
        }
    }
    const adamoe_status status =
        adamoe_routing_create(logits, TOKENS, EXPERTS, null_experts, (adamoe_rule){.top_k = top_k}, out);
    free(logits);
    return status;
}

/* Load of a model that was converted and not trained yet. */
typedef struct converted_load {
    double lowest_first, random; /* by the rule among ties */
} converted_load;

static adamoe_status convert(const adamoe_study_setting *s, uint64_t seed, converted_load *out)
{
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(route(s->null_experts, s->top_k, true, seed, &routing));
    out->lowest_first = adamoe_routing_load(routing);
    /* Each true expert is as likely as each of its copies to be among the k. */
    out->random = (double)s->top_k * EXPERTS / (double)(EXPERTS + s->null_experts);
    adamoe_routing_free(routing);
    return adamoe_ok();
}

static void print_conversion(const adamoe_study_setting *s, const converted_load *load)
{
    char siqa[32] = "-", arc[32] = "-";
    if (s->siqa.accuracy > 0.0) {
        (void)snprintf(siqa, sizeof siqa, "%.2f / %.2f", 100.0 * s->siqa.accuracy, s->siqa.load);
    }
    if (s->arc.accuracy > 0.0) {
        (void)snprintf(arc, sizeof arc, "%.2f / %.2f", 100.0 * s->arc.accuracy, s->arc.load);
    }
    printf("  %4zu %3zu %14.3f %12.3f %10s   %14s %14s\n", s->null_experts, s->top_k, load->lowest_first,
           load->random, adamoe_study_keeps_top_k(s, EXPERTS) ? "yes" : "no", siqa, arc);
}

static adamoe_status find_conversions(uint64_t seed, bool prints, json_t *list)
{
    if (prints) {
        printf("\nConverted by copying the gate's rows, before training: true experts per token of %d, by "
               "the rule "
               "among ties, on %d random tokens\n  %4s %3s %14s %12s %10s   %14s %14s\n",
               EXPERTS, TOKENS, "m", "k", "lowest index", "random", "as top-2", "SIQA, paper",
               "ARC-C, paper");
    }
    for (size_t i = 1; i < ADAMOE_STUDY_SETTINGS; ++i) {
        const adamoe_study_setting *s = &adamoe_study_plan[i];
        converted_load load;
        if (s->table != ADAMOE_STUDY_SIZES) {
            continue;
        }
        ADAMOE_TRY(convert(s, seed, &load));
        if (prints) {
            print_conversion(s, &load);
        }
        (void)json_array_append_new(
            list,
            json_pack("{s:I,s:I,s:f,s:f,s:b}", "null_experts", (json_int_t)s->null_experts, "top_k",
                      (json_int_t)s->top_k, "load_lowest_index_first", load.lowest_first, "load_random_ties",
                      load.random, "keeps_top_2", (int)adamoe_study_keeps_top_k(s, EXPERTS)));
    }
    return adamoe_ok();
}

/* After training the null experts are not alike any more. */
static adamoe_status find_losses(uint64_t seed, bool prints, json_t **out)
{
    adamoe_routing *routing = NULL;
    ADAMOE_TRY(route(8, 3, false, seed, &routing));
    const adamoe_balance_loss loss = adamoe_routing_balance_loss(routing, NULL);
    if (prints) {
        printf(
            "\nBalance loss, m = 8, k = 3, alpha = 1, null experts that differ: switch %.9g, the paper's "
            "equation 6 (null_averaged) %.9g,\nwhat the released code computes %.9g: it does not average\n",
            loss.switch_form, loss.null_averaged, loss.released);
    }
    *out = json_pack("{s:f,s:f,s:f}", "switch", loss.switch_form, "null_averaged", loss.null_averaged,
                     "released", loss.released);
    adamoe_routing_free(routing);
    return adamoe_ok();
}

adamoe_status adamoe_claim(uint64_t seed, const char *json)
{
    const bool prints = adamoe_json_leaves_stdout(json);
    const five_answers answers = count_answers();
    json_t *conversions = json_array(), *losses = NULL;
    if (prints) {
        print_flops();
        print_answers(&answers);
    }
    adamoe_status status = find_conversions(seed, prints, conversions);
    if (status.code == ADAMOE_OK) {
        status = find_losses(seed, prints, &losses);
    }
    if (status.code == ADAMOE_OK && json != NULL) {
        status = adamoe_json_write(json, json_pack("{s:s,s:o,s:o,s:O,s:O}", "version", ADAMOE_VERSION,
                                                   "flops", flops_json(), "arc", answers_json(&answers),
                                                   "conversions", conversions, "balance_loss", losses));
    }
    json_decref(conversions);
    json_decref(losses);
    return status;
}
