/*
 * adamoe scale: rows, bytes and time of a layer whose experts live on several ranks, predicted by a cost model.
 */
#include "program/environment.h"
#include "program/json_output.h"
#include "program/result_files.h"
#include "scale/calibrate.h"
#include "scale/show.h"
#include "mpi/partition.h"
#include "numbers.h"
#include "verbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ----------------------------------------------------------------------------------------------- setting */

static double given_or(double given, double otherwise)
{
    return isnan(given) ? otherwise : given;
}

static adamoe_status use_calibration(const adamoe_scale_options *o, const adamoe_scale_subject *subject,
                                     const adamoe_calibration *c, adamoe_scale_setting *setting)
{
    const bool has_rates = !isnan(o->gflops) && !isnan(o->gbytes);
    const bool has_network = !isnan(o->latency) && !isnan(o->bandwidth);
    if (c->compute.points == 0 && !has_rates) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--calibration: %.300s: no kernel was measured: give --gflops and --gbytes",
                            o->calibration);
    }
    if (c->ranks < 2 && !has_network) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--calibration: %.300s: no network was measured: give --latency and --bandwidth",
                            o->calibration);
    }
    if (c->compute.points > 0 && !has_rates &&
        (c->hidden_size != subject->hidden_size || c->intermediate_size != subject->intermediate_size)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--calibration: %.300s: experts of %zu x %zu were measured, these have %zu x %zu",
                            o->calibration, c->hidden_size, c->intermediate_size, subject->hidden_size,
                            subject->intermediate_size);
    }
    if (c->compute.points > 0) {
        setting->compute = c->compute;
    }
    if (c->ranks > 1) {
        setting->network = c->network;
    }
    return adamoe_ok();
}

/* As many calls of each of a recording's layers, which differ: the layer's time is to be their mean. */
static size_t calls_of_all_layers(size_t draws, const adamoe_selections *selections)
{
    const size_t layers = adamoe_selections_layers(selections);
    return (draws + layers - 1) / layers * layers;
}

static adamoe_status make_setting(const adamoe_scale_options *o, const adamoe_scale_subject *subject,
                                  const adamoe_calibration *c, adamoe_scale_setting *out)
{
    *out = (adamoe_scale_setting){.hidden_size = subject->hidden_size,
                                  .network = {.hidden = 1.0, .chunks = 2, .overlap = true},
                                  .layers = subject->layers,
                                  .head_flops = subject->head_flops,
                                  .tokens = o->total != 0    ? o->total
                                            : o->tokens != 0 ? o->tokens
                                                             : 512,
                                  .all_together = o->total != 0,
                                  .order = o->order,
                                  .draws = calls_of_all_layers(o->draws, &subject->adaptive.selections),
                                  .seed = o->common.seed};
    if (c != NULL) {
        ADAMOE_TRY(use_calibration(o, subject, c, out));
    }
    const size_t input_bytes = o->wire == 2                                          ? 2
                               : o->wire == 1 || c == NULL || c->compute.points == 0 ? 4
                                                                                     : c->input_bytes;
    out->wire = (adamoe_wire){subject->hidden_size, input_bytes};
    out->network.latency = given_or(o->latency, out->network.latency);
    out->network.overhead = given_or(o->overhead, out->network.overhead);
    out->network.bandwidth = given_or(o->bandwidth, out->network.bandwidth);
    out->network.hidden = given_or(o->hidden, out->network.hidden);
    if (!isnan(o->gflops) || !isnan(o->gbytes)) {
        out->compute.points = 0; /* what was measured at every number of rows does not hold at other rates */
    }
    out->compute.flops = given_or(o->gflops, out->compute.flops);
    out->compute.bytes = given_or(o->gbytes, out->compute.bytes);
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------------- texts */

static void describe(const adamoe_scale_options *o, const adamoe_calibration *c,
                     const adamoe_scale_setting *s, adamoe_scale_document *d)
{
    const bool given = !isnan(o->latency) || !isnan(o->bandwidth) || !isnan(o->overhead);
    const bool measured = c != NULL && c->ranks > 1;
    const adamoe_cost_network *n = &s->network;
    (void)snprintf(
        d->network.text, sizeof d->network.text,
        "%.200s%s: latency %.4g us, %.4g us for each further message, %.4g Gbit/s each way, %.0f %% hidden",
        measured ? o->calibration : "given", measured && given ? ", changed by options" : "",
        1e6 * n->latency, 1e6 * n->overhead, 8e-9 * n->bandwidth, 100.0 * n->hidden);
    if (s->compute.points > 0) {
        (void)snprintf(
            d->kernel.text, sizeof d->kernel.text,
            "%.200s: %s, %u threads a rank, measured from 1 to %.0f rows of an expert: %.4g GFLOP/s, %.4g "
            "GB/s",
            o->calibration, c->kernel, c->threads, s->compute.point[s->compute.points - 1].rows,
            1e-9 * s->compute.flops, 1e-9 * s->compute.bytes);
    } else {
        (void)snprintf(d->kernel.text, sizeof d->kernel.text, "given: %.4g GFLOP/s, %.4g GB/s of a rank",
                       1e-9 * s->compute.flops, 1e-9 * s->compute.bytes);
    }
}

__attribute__((format(printf, 2, 3))) static void assume(adamoe_scale_document *d, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    adamoe_scale_text *to = &d->assumption[d->assumptions++];
    (void)vsnprintf(to->text, sizeof to->text, format, arguments);
    va_end(arguments);
}

static void assume_drawn(adamoe_scale_document *d, const adamoe_selections *selections, double skew)
{
    const size_t k = selections->mixture.top_k, sure = adamoe_selections_sure(selections->mixture);
    if (sure == k) {
        assume(d,
               "a token's %zu selections are all true experts; expert e is liked with weight 1 / (1 + e)^%g",
               k, skew);
        return;
    }
    assume(
        d,
        "of a token's %zu selections %zu are true experts for want of null ones, and each of the others with "
        "probability %.4g, independently; expert e is liked with weight 1 / (1 + e)^%g",
        k, sure, (selections->load - (double)sure) / (double)(k - sure), skew);
}

static void list_assumptions(const adamoe_scale_options *o, const adamoe_scale_subject *subject,
                             const adamoe_calibration *c, adamoe_scale_setting *s, adamoe_scale_document *d)
{
    assume(
        d,
        "ranks form groups that hold all experts of a layer once; tokens travel within their group, and groups "
        "do not wait for each other");
    assume(d, "tokens live on ranks in equal runs, wherever their experts are");
    if (o->subject.record != NULL) {
        assume(
            d,
            "selections are those of the second half of %.200s, %zu of %zu tokens of each layer; a call takes "
            "neighbours, and begins again where they end; calls are %zu of each of %zu layers",
            o->subject.record, subject->record.tokens - subject->record.tokens / 2, subject->record.tokens,
            s->draws / subject->record.layers, subject->record.layers);
    } else {
        assume_drawn(d, &subject->adaptive.selections, o->subject.skew);
    }
    if (o->subject.record != NULL && o->subject.baseline_record == NULL) {
        assume(d,
               "without null experts, tokens select %zu experts as often as the recording likes them, but "
               "independently: no recording of the baseline was given",
               subject->baseline.selections.mixture.top_k);
    }
    assume(
        d,
        "a rank gets a token once for all its experts there, inputs in %s; outputs come back in float32, one for "
        "each row, as the project's own exchange sends them",
        s->wire.input_bytes == 2 ? "bfloat16" : "float32");
    assume(d, "every rank has the whole latency and bandwidth for itself: no switch or link is shared");
    assume(d, "arithmetic overlaps with %.0f %% of a message's time; outputs leave in %u parts",
           100.0 * s->network.hidden, s->network.chunks);
    assume(d, "%s by the rate of the experts' arithmetic%s",
           subject->layers > 1 ? "router, attention and head" : "the router",
           subject->layers > 1 ? "" : "; no attention");
    const char *weights = o->subject.config == NULL ? adamoe_arithmetic_name(subject->weight)
                                                    : "bfloat16 whatever the config says of them";
    assume(
        d,
        "weights are in a rank's memory, %s; each expert with a row is read once for the rows of its own rank and "
        "once for those of others",
        weights);
    if (s->compute.points > 0) {
        assume(d, "weights are as cold as those of %zu experts in turn, %.4g MB, that were timed",
               c->experts_in_turn, 1e-6 * (double)c->experts_in_turn * c->expert_bytes);
    }
    if (s->compute.points > 0 && c->ranks > 1) {
        const adamoe_cost_point *p = &s->compute.point[0];
        assume(
            d,
            "ranks share processors and memory as the %u that were timed, %.3g of them on a processor: one alone is "
            "up to %.3g times as fast as all together",
            c->ranks, c->ranks_per_processor, p->seconds / p->alone);
    }
}

/* ------------------------------------------------------------------------------------------------------ run */

static adamoe_status predict_all(const adamoe_scale_options *o, const adamoe_scale_setting *setting,
                                 const adamoe_scale_subject *subject, adamoe_scale_row *rows)
{
    adamoe_scale_result alone[2];
    ADAMOE_TRY(adamoe_scale_predict(setting, &subject->adaptive, 1, NULL, &alone[0]));
    ADAMOE_TRY(adamoe_scale_predict(setting, &subject->baseline, 1, NULL, &alone[1]));
    const size_t experts = subject->adaptive.selections.mixture.experts;
    for (size_t i = 0; i < o->rank_counts; ++i) {
        adamoe_scale_row *r = &rows[i];
        r->ranks = o->ranks[i];
        r->group = adamoe_scale_group(r->ranks, experts);
        r->expert_bytes =
            (double)adamoe_experts_of_rank(experts, r->group) * subject->adaptive.layer.expert_bytes;
        ADAMOE_TRY(adamoe_scale_predict(setting, &subject->adaptive, r->ranks, &alone[0], &r->adaptive));
        ADAMOE_TRY(adamoe_scale_predict(setting, &subject->baseline, r->ranks, &alone[1], &r->baseline));
    }
    return adamoe_ok();
}

/* Every order for every group that differs. */
static adamoe_status count_orders(const adamoe_scale_options *o, const adamoe_scale_setting *setting,
                                  const adamoe_scale_subject *subject, adamoe_scale_order_row *rows,
                                  size_t *count)
{
    for (size_t i = 0; i < o->rank_counts && o->subject.record != NULL; ++i) {
        const uint32_t group = adamoe_scale_group(o->ranks[i], subject->adaptive.selections.mixture.experts);
        for (int order = 0; group == o->ranks[i] && order < ADAMOE_EXPERT_ORDERS; ++order) {
            if (order == ADAMOE_EXPERTS_TOGETHER && !adamoe_has_partitioner()) {
                continue;
            }
            adamoe_scale_order_row *r = &rows[(*count)++];
            *r = (adamoe_scale_order_row){.ranks = group, .order = (adamoe_expert_order)order};
            ADAMOE_TRY(adamoe_scale_count_recorded(setting, &subject->adaptive.selections, r->order, group,
                                                   &r->adaptive));
            if (subject->baseline.selections.recorded != NULL) {
                ADAMOE_TRY(adamoe_scale_count_recorded(setting, &subject->baseline.selections, r->order,
                                                       group, &r->baseline));
            }
        }
    }
    return adamoe_ok();
}

static adamoe_status show(const adamoe_scale_options *o, const adamoe_scale_document *document,
                          const adamoe_load_mark *before)
{
    if (adamoe_json_leaves_stdout(o->json)) {
        adamoe_scale_print(document);
    }
    if (o->json == NULL) {
        return adamoe_ok();
    }
    json_t *json = adamoe_scale_json(document);
    (void)json_object_set_new(json, "environment", adamoe_environment_json(before));
    return adamoe_json_write(o->json, json);
}

static adamoe_status run_on(const adamoe_scale_options *o, const adamoe_scale_subject *subject,
                            const adamoe_calibration *calibration)
{
    adamoe_scale_setting setting;
    static adamoe_scale_document document;
    adamoe_load_mark before;
    adamoe_mark_load(&before);
    ADAMOE_TRY(make_setting(o, subject, calibration, &setting));
    adamoe_scale_row *rows = calloc(o->rank_counts, sizeof *rows);
    adamoe_scale_order_row *orders = calloc(o->rank_counts * ADAMOE_EXPERT_ORDERS, sizeof *orders);
    adamoe_status status = rows == NULL || orders == NULL
                               ? adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory")
                               : predict_all(o, &setting, subject, rows);
    document = (adamoe_scale_document){.subject = subject->name,
                                       .setting = &setting,
                                       .adaptive = &subject->adaptive,
                                       .baseline = &subject->baseline,
                                       .calibration = calibration,
                                       .row = rows,
                                       .rows = o->rank_counts,
                                       .order = orders};
    if (status.code == ADAMOE_OK) {
        status = count_orders(o, &setting, subject, orders, &document.orders);
    }
    if (status.code == ADAMOE_OK) {
        describe(o, calibration, &setting, &document);
        list_assumptions(o, subject, calibration, &setting, &document);
        status = show(o, &document, &before);
    }
    free(rows);
    free(orders);
    return status;
}

static adamoe_status run(const adamoe_scale_options *o)
{
    const adamoe_result_file file = {"--json", o->json};
    const char *const inputs[] = {o->calibration, o->subject.config, o->subject.record,
                                  o->subject.baseline_record};
    static adamoe_calibration calibration;
    adamoe_scale_subject subject;
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, inputs, 4, NULL));
    if (o->calibration != NULL) {
        ADAMOE_TRY(adamoe_calibration_read(o->calibration, &calibration));
    }
    ADAMOE_TRY(adamoe_scale_subject_open(&o->subject, &subject));
    const adamoe_status status = run_on(o, &subject, o->calibration == NULL ? NULL : &calibration);
    adamoe_scale_subject_close(&subject);
    return status;
}

int adamoe_verb_scale(int count, char **arguments)
{
    adamoe_scale_options options;
    adamoe_scale_options_begin(&options);
    adamoe_parse(&adamoe_scale_argp, count, arguments, &options);
    if (options.calibrate != NULL) {
        return adamoe_scale_calibrate(&options, count, arguments);
    }
    if (adamoe_launch_of_process().ranks > 1) {
        return adamoe_finish_early("scale", adamoe_error(ADAMOE_BAD_INPUT,
                                                         "started as several ranks, which only --calibrate "
                                                         "asks for"));
    }
    return adamoe_finish("scale", run(&options));
}
