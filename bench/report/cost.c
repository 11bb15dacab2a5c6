/*
 * What null experts save: FLOPs of the experts, of the whole model, and time, side by side, for evaluations
 * and for what `adamoe flops` computed.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>

static const char *const parts[] = {"experts", "router", "attention", "head", "total"};

#define PARTS (sizeof parts / sizeof *parts)

/* A cell with FLOPs in units of 10^9. */
static void write_parts(FILE *out, const json_t *flops)
{
    for (size_t i = 0; i < PARTS; ++i) {
        adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(flops, parts[i]) * 1e-9));
    }
}

/* Two rows: as executed, and the baseline. `time` is a fraction or NaN. */
static void write_rows(FILE *out, const json_t *cost, const char *executed, const char *baseline, double time)
{
    write_parts(out, json_object_get(cost, executed));
    adamoe_html_number_cell(out, adamoe_percent(adamoe_number_in(cost, "expert_flops_reduction"), 2));
    adamoe_html_number_cell(out, adamoe_percent(adamoe_number_in(cost, "model_flops_reduction"), 2));
    adamoe_html_number_cell(out, adamoe_percent(time, 1));
    (void)fprintf(out, "</tr>\n<tr class=\"quiet\"><th scope=\"row\">its baseline, top-%.0f</th>",
                  adamoe_number_in(cost, "baseline_k"));
    write_parts(out, json_object_get(cost, baseline));
    (void)fputs("<td></td><td></td><td></td></tr>\n", out);
}

/* Only reproduce runs both sides, and only for AdaMoE is there something saved. */
static double time_reduction(const adamoe_report *report, const adamoe_evaluated *e)
{
    const adamoe_source *source = &report->source[e->source];
    const json_t *both = json_object_get(source->document, "evaluation");
    return source->kind == ADAMOE_RESULT_REPRODUCE && e->document == json_object_get(both, "adamoe")
               ? adamoe_number_in(json_object_get(both, "time_reduction"), "median")
               : (double)NAN;
}

static void begin_table(FILE *out)
{
    static const char *const titles[] = {"GFLOP", "experts",       "router",      "attention", "head",
                                         "total", "experts saved", "model saved", "time saved"};
    adamoe_html_table_begin(out, "FLOPs by part, and what is saved");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 8);
    (void)fputs("<tbody>\n", out);
}

static bool has_flops(const adamoe_report *report)
{
    bool any = report->evaluations > 0;
    for (size_t i = 0; i < report->sources; ++i) {
        any = any || report->source[i].kind == ADAMOE_RESULT_FLOPS;
    }
    return any;
}

void adamoe_report_flops(const adamoe_report *report, FILE *out)
{
    if (!has_flops(report)) {
        return;
    }
    adamoe_report_section_begin(out, "flops", "FLOPs, and what is saved");
    (void)fputs(
        "<p>A multiply-add is 2 FLOPs; a null expert costs its router row. <em>Experts saved</em> is 1 "
        "\xe2\x88\x92 "
        "load / k<sub>0</sub>; <em>model saved</em> is over the whole model, as the paper's %FLOPs; <em>time "
        "saved</em> is measured, where both sides ran in turn.</p>\n",
        out);
    begin_table(out);
    for (size_t i = 0; i < report->evaluations; ++i) {
        const adamoe_evaluated *e = &report->evaluated[i];
        (void)fputs("<tr><th scope=\"row\">", out);
        adamoe_report_evaluated_name(report, e, out);
        (void)fputs("</th>", out);
        write_rows(out, json_object_get(e->document, "adamoe"), "executed_flops", "baseline_flops",
                   time_reduction(report, e));
    }
    for (size_t i = 0; i < report->sources; ++i) {
        const adamoe_source *source = &report->source[i];
        if (source->kind == ADAMOE_RESULT_FLOPS) {
            (void)fputs("<tr><th scope=\"row\">", out);
            adamoe_html_text(out, adamoe_base_name(source->path));
            (void)fprintf(out, ", a token at load %s</th>",
                          adamoe_number(adamoe_number_in(source->document, "load")).text);
            write_rows(out, source->document, "flops_per_token", "baseline_flops_per_token", NAN);
        }
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
    adamoe_report_section_end(out);
}
