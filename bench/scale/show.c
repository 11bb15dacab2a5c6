/*
 * What `adamoe scale` found, for people and as JSON.
 */
#include "scale/show.h"
#include "program/json_output.h"

#include <math.h>
#include <stdio.h>

double adamoe_scale_reduction(double adaptive, double baseline)
{
    return baseline == 0.0 ? 0.0 : 1.0 - adaptive / baseline;
}

/* -------------------------------------------------------------------------------------------------- table */

static void print_head(const adamoe_scale_document *d)
{
    const adamoe_scale_setting *s = d->setting;
    printf(
        "PREDICTIONS of a cost model, no measurements: %s, %zu true and %zu null experts, top-%zu, load %.4g,\n"
        "against top-%zu without null experts\n",
        d->subject, d->adaptive->selections.mixture.experts, d->adaptive->selections.mixture.null_experts,
        d->adaptive->selections.mixture.top_k, d->adaptive->selections.load,
        d->baseline->selections.mixture.top_k);
    printf("network  %s\nkernel   %s\n", d->network.text, d->kernel.text);
    printf(
        "%zu tokens in one call of %s; experts on ranks by %s; mean ± deviation of %zu simulated calls\n\n",
        s->tokens, s->all_together ? "all ranks together" : "each rank", adamoe_expert_order_names[s->order],
        s->draws);
}

static void print_rows(const adamoe_scale_document *d)
{
    printf("%5s %5s | %-36s %-36s | %-27s\n", "", "", "with null experts", "", "top-k0 without");
    printf("%5s %5s | %9s %7s %9s %7s %17s %5s %6s %11s | %9s %9s %6s | %6s %6s\n", "ranks", "group", "rows",
           "inputs", "bytes", "busiest", "layer, ms", "comm.", "effic.", "tokens/s", "bytes", "layer, ms",
           "effic.", "bytes", "time");
    printf("%5s %5s | %9s %7s %9s %7s %17s %5s %6s %11s | %9s %9s %6s | %s\n", "", "", "sent for", "each",
           "token", "/ mean", "", "share", "", "", "", "", "", "reduction, %");
    for (size_t i = 0; i < d->rows; ++i) {
        const adamoe_scale_row *r = &d->row[i];
        const adamoe_scale_result *a = &r->adaptive, *b = &r->baseline;
        printf(
            "%5u %5u | %9.4f %7.4f %9.0f %7.3f %9.4g ± %-6.2g %4.0f%% %6.3f %11.4g | %9.0f %9.4g %6.3f | %6.2f "
            "%6.2f\n",
            r->ranks, r->group, a->rows.mean, a->inputs.mean, a->bytes.mean, a->largest_over_mean.mean,
            1e3 * a->layer_seconds.mean, 1e3 * a->layer_seconds.deviation, 100.0 * a->communication_share,
            a->efficiency, a->tokens_per_second, b->bytes.mean, 1e3 * b->layer_seconds.mean, b->efficiency,
            100.0 * adamoe_scale_reduction(a->bytes.mean, b->bytes.mean),
            100.0 * adamoe_scale_reduction(a->layer_seconds.mean, b->layer_seconds.mean));
    }
}

static double for_token(uint64_t value, const adamoe_scale_count *count)
{
    return count->tokens == 0 ? (double)NAN : (double)value / (double)count->tokens;
}

static double bytes_for_token(const adamoe_scale_count *count)
{
    return for_token(count->sum.request_bytes + count->sum.result_bytes, count);
}

/* Of the rows, those whose expert is where their token is; 0 without rows. */
static double kept_share(const adamoe_scale_count *count)
{
    return adamoe_scale_reduction((double)count->sum.rows_sent, (double)count->sum.rows);
}

static void print_orders(const adamoe_scale_document *d)
{
    if (d->orders == 0) {
        return;
    }
    printf("\nExperts on ranks, counted on the half of the recording that no order was made from: exact\n");
    printf("%5s %-9s %12s %8s %14s %15s %14s %16s\n", "ranks", "order", "rows sent", "kept, %", "inputs sent",
           "bytes / token", "busiest / mean", "bytes saved, %");
    for (size_t i = 0; i < d->orders; ++i) {
        const adamoe_scale_order_row *r = &d->order[i];
        printf("%5u %-9s %12llu %8.2f %14llu %15.1f %14.3f ", r->ranks, adamoe_expert_order_names[r->order],
               (unsigned long long)r->adaptive.sum.rows_sent, 100.0 * kept_share(&r->adaptive),
               (unsigned long long)r->adaptive.sum.inputs_sent, bytes_for_token(&r->adaptive),
               r->adaptive.sum.largest_over_mean);
        if (r->baseline.tokens == 0) {
            printf("%16s\n", "-");
        } else {
            printf("%16.2f\n", 100.0 * adamoe_scale_reduction(bytes_for_token(&r->adaptive),
                                                              bytes_for_token(&r->baseline)));
        }
    }
}

static void print_checks(const adamoe_calibration *c, bool fitted)
{
    for (size_t i = 0; i < c->checks; ++i) {
        const adamoe_calibration_check *k = &c->check[i];
        if (k->fitted == fitted) {
            printf("  %-58s predicted %9.4g ms, measured %9.4g ms, %+.0f %%", k->what, 1e3 * k->predicted,
                   1e3 * k->measured, 100.0 * (k->predicted / k->measured - 1.0));
            if (k->low != 0.0 && isfinite(k->low) && isfinite(k->high)) {
                printf(" [%+.0f, %+.0f]", 100.0 * (k->low - 1.0), 100.0 * (k->high - 1.0));
            }
            printf("\n");
        }
    }
}

static void print_reductions(const adamoe_calibration *c)
{
    for (size_t i = 0; i < c->reductions; ++i) {
        const adamoe_calibration_reduction *r = &c->reduction[i];
        printf(
            "%s%5zu tokens of each of %u ranks: bytes %.2f %% [%.2f, %.2f], time %.2f %% [%.2f, %.2f] saved, "
            "%.2f %% predicted, %zu pairs\n",
            i == 0 ? "Null experts against top-k0, MEASURED with overlap:\n" : "", r->tokens, c->ranks,
            100.0 * r->bytes.centre, 100.0 * r->bytes.low, 100.0 * r->bytes.high, 100.0 * r->seconds.centre,
            100.0 * r->seconds.low, 100.0 * r->seconds.high, 100.0 * r->predicted, r->rounds);
    }
    if (c->reductions > 0 && c->ranks_per_processor > 1.0) {
        printf("%.3g ranks share a processor, so that arithmetic counts for more than on as many machines\n",
               c->ranks_per_processor);
    }
}

void adamoe_calibration_print(const adamoe_calibration *c)
{
    const double error = adamoe_calibration_error(c, false), fitted = adamoe_calibration_error(c, true);
    size_t all;
    const size_t within = adamoe_calibration_within(c, 0.15, &all);
    if (c->disturbed) {
        printf("\nOf %zu rounds %zu were disturbed: all of them stand behind the figures\n", c->rounds,
               c->disturbed_rounds);
    } else {
        printf("\n%zu rounds count, %zu more were disturbed\n", c->rounds, c->disturbed_rounds);
    }
    if (c->disturbed && all > 0) {
        printf("The machine was disturbed in too many rounds: the model is not judged by these runs.\n");
        print_checks(c, false);
    } else if (isfinite(error)) {
        printf(
            "Error of the model on runs that it was not fitted to: at most %.0f %%, %zu of %zu within 15 %%\n",
            100.0 * error, within, all);
        print_checks(c, false);
    } else {
        printf("Error of the model: unknown, no run was made that it was not fitted to.\n");
    }
    if (isfinite(fitted)) {
        printf("On those that it was fitted to: at most %.0f %%\n", 100.0 * fitted);
        print_checks(c, true);
    }
    print_reductions(c);
}

void adamoe_scale_print(const adamoe_scale_document *d)
{
    print_head(d);
    print_rows(d);
    print_orders(d);
    if (d->calibration != NULL) {
        adamoe_calibration_print(d->calibration);
    } else {
        printf("\nError of the model: unknown, nothing was measured (--calibrate does).\n");
    }
    printf("\nAssumed:\n");
    for (size_t i = 0; i < d->assumptions; ++i) {
        printf("- %s\n", d->assumption[i].text);
    }
}

/* --------------------------------------------------------------------------------------------------- JSON */

static json_t *spread_json(adamoe_spread spread)
{
    return json_pack("{s:f,s:f}", "mean", spread.mean, "deviation", spread.deviation);
}

static json_t *result_json(const adamoe_scale_result *r, const adamoe_selections *selections, uint32_t group)
{
    json_t *object = json_pack("{s:f,s:o,s:o,s:o,s:o,s:o,s:f,s:f,s:f}", "load", r->load,
                               "rows_sent_per_token", spread_json(r->rows), "inputs_sent_per_token",
                               spread_json(r->inputs), "bytes_per_token", spread_json(r->bytes),
                               "largest_over_mean", spread_json(r->largest_over_mean), "layer_seconds",
                               spread_json(r->layer_seconds), "communication_share", r->communication_share,
                               "tokens_per_second", r->tokens_per_second, "efficiency", r->efficiency);
    if (selections->recorded == NULL) { /* a drawn token knows nothing of where it lives */
        (void)json_object_set_new(object, "rows_sent_per_token_expected",
                                  json_real(selections->load * (1.0 - 1.0 / (double)group)));
    }
    return object;
}

static json_t *rows_json(const adamoe_scale_document *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->rows; ++i) {
        const adamoe_scale_row *r = &d->row[i];
        (void)json_array_append_new(
            list,
            json_pack(
                "{s:I,s:I,s:f,s:o,s:o,s:f,s:f}", "ranks", (json_int_t)r->ranks, "group", (json_int_t)r->group,
                "expert_bytes_of_rank", r->expert_bytes, "adaptive",
                result_json(&r->adaptive, &d->adaptive->selections, r->group), "baseline",
                result_json(&r->baseline, &d->baseline->selections, r->group), "bytes_reduction",
                adamoe_scale_reduction(r->adaptive.bytes.mean, r->baseline.bytes.mean), "time_reduction",
                adamoe_scale_reduction(r->adaptive.layer_seconds.mean, r->baseline.layer_seconds.mean)));
    }
    return list;
}

static json_t *count_json(const adamoe_scale_count *c)
{
    return c->tokens == 0
               ? json_null()
               : json_pack("{s:I,s:I,s:I,s:f,s:I,s:I,s:I,s:f}", "tokens", (json_int_t)c->tokens, "rows",
                           (json_int_t)c->sum.rows, "rows_sent", (json_int_t)c->sum.rows_sent, "kept_share",
                           kept_share(c), "inputs_sent", (json_int_t)c->sum.inputs_sent, "request_bytes",
                           (json_int_t)c->sum.request_bytes, "result_bytes", (json_int_t)c->sum.result_bytes,
                           "largest_over_mean", c->sum.largest_over_mean);
}

static json_t *orders_json(const adamoe_scale_document *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->orders; ++i) {
        const adamoe_scale_order_row *r = &d->order[i];
        (void)json_array_append_new(list, json_pack("{s:I,s:s,s:o,s:o}", "ranks", (json_int_t)r->ranks,
                                                    "order", adamoe_expert_order_names[r->order], "adaptive",
                                                    count_json(&r->adaptive), "baseline",
                                                    count_json(&r->baseline)));
    }
    return list;
}

static json_t *side_json(const adamoe_scale_side *side)
{
    const adamoe_mixture m = side->selections.mixture;
    return json_pack("{s:I,s:I,s:I,s:f,s:b}", "experts", (json_int_t)m.experts, "null_experts",
                     (json_int_t)m.null_experts, "top_k", (json_int_t)m.top_k, "load", side->selections.load,
                     "recorded", side->selections.recorded != NULL);
}

static json_t *assumptions_json(const adamoe_scale_document *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->assumptions; ++i) {
        (void)json_array_append_new(list, adamoe_json_text(d->assumption[i].text));
    }
    return list;
}

static json_t *network_json(const adamoe_scale_document *d)
{
    const adamoe_cost_network *n = &d->setting->network;
    return json_pack("{s:o,s:f,s:f,s:f,s:f,s:f,s:f,s:I}", "text", adamoe_json_text(d->network.text),
                     "latency_seconds", n->latency, "overhead_seconds", n->overhead, "rendezvous_seconds",
                     n->rendezvous, "eager_bytes", n->eager, "bytes_per_second", n->bandwidth, "hidden_share",
                     n->hidden, "chunks", (json_int_t)n->chunks);
}

json_t *adamoe_scale_json(const adamoe_scale_document *d)
{
    const adamoe_scale_setting *s = d->setting;
    const double error =
        d->calibration == NULL ? (double)NAN : adamoe_calibration_error(d->calibration, false);
    return json_pack(
        "{s:b,s:o,s:I,s:I,s:I,s:b,s:s,s:I,s:o,s:o,s:o,s:o,s:f,s:f,s:o,s:o,s:o,s:o,s:o}", "prediction", 1,
        "subject", adamoe_json_text(d->subject), "hidden_size", (json_int_t)s->hidden_size, "layers",
        (json_int_t)s->layers, "tokens", (json_int_t)s->tokens, "tokens_of_all_ranks",
        s->all_together ? 1 : 0, "order", adamoe_expert_order_names[s->order], "draws", (json_int_t)s->draws,
        "adaptive", side_json(d->adaptive), "baseline", side_json(d->baseline), "network", network_json(d),
        "kernel", adamoe_json_text(d->kernel.text), "flops_per_second", s->compute.flops,
        "memory_bytes_per_second", s->compute.bytes, "largest_error", adamoe_json_number(error), "scale",
        rows_json(d), "orders", orders_json(d), "assumptions", assumptions_json(d), "calibration",
        d->calibration == NULL ? json_null() : adamoe_calibration_json(d->calibration));
}
