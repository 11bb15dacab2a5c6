/*
 * Accuracy against FLOPs: what each evaluation scored and what it cost, with the paper's rows beside them.
 */
#include "report/html.h"
#include "program/paper.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>
#include <string.h>

/* The style of what is not ours. */
#define PAPER_STYLE 5

static size_t style_of(size_t evaluation)
{
    const size_t style = evaluation % (ADAMOE_SVG_STYLES - 1);
    return style < PAPER_STYLE ? style : style + 1;
}

/* One accuracy at one cost. */
typedef struct scored {
    double reduction, accuracy, standard_error;
} scored;

static scored score_of(const adamoe_evaluated *e)
{
    return (scored){adamoe_number_in(json_object_get(e->document, "adamoe"), "model_flops_reduction"),
                    adamoe_number_in(e->scores, "acc,none"), adamoe_number_in(e->scores, "acc_stderr,none")};
}

/* Of zeros and ones: the sample standard deviation (n - 1) over sqrt(n). */
static double paper_error(const adamoe_paper_row *row, double accuracy)
{
    return row->questions == 0 ? (double)NAN
                               : sqrt(accuracy * (1.0 - accuracy) / ((double)row->questions - 1.0));
}

static void widen(adamoe_axis *axis, double value)
{
    if (isfinite(value)) {
        axis->low = fmin(axis->low, value);
        axis->high = fmax(axis->high, value);
    }
}

static void find_axes(const adamoe_report *report, adamoe_axis *x, adamoe_axis *y)
{
    *x = (adamoe_axis){"FLOPs saved, % of the whole model's", 0.0, 20.0, false, NULL, 0};
    *y = (adamoe_axis){"accuracy, %", 70.0, 95.0, false, NULL, 0};
    for (size_t i = 0; i < report->evaluations; ++i) {
        const scored s = score_of(&report->evaluated[i]);
        const double error = isfinite(s.standard_error) ? s.standard_error : 0.0;
        widen(x, 100.0 * s.reduction);
        widen(y, 100.0 * (s.accuracy - error));
        widen(y, 100.0 * (s.accuracy + error));
    }
    x->low -= 1.5;
    x->high += 0.03 * (x->high - x->low) + 1.0;
    y->low = fmax(0.0, y->low - 0.05 * (y->high - y->low));
    y->high = fmin(100.0, y->high + 0.05 * (y->high - y->low));
}

static void draw_paper(adamoe_plot *plot)
{
    for (size_t i = 0; i < ADAMOE_PAPER_ROWS; ++i) {
        const adamoe_paper_row *row = &adamoe_paper[i];
        const adamoe_point ends[] = {{0.0, 100.0 * row->top_2_accuracy},
                                     {100.0 * row->model_flops_reduction, 100.0 * row->adamoe_accuracy}};
        adamoe_plot_line(plot, ends, 2, PAPER_STYLE, "thin");
        for (size_t end = 0; end < 2; ++end) {
            char tooltip[128];
            const double error = 100.0 * paper_error(row, ends[end].y / 100.0);
            adamoe_plot_interval(plot, ends[end].x, ends[end].y - error, ends[end].y + error, PAPER_STYLE);
            (void)snprintf(tooltip, sizeof tooltip, "the paper, %s, %s: %.2f %%", row->dataset,
                           end == 0 ? "top-2" : "AdaMoE", ends[end].y);
            adamoe_plot_mark(plot, ends[end], PAPER_STYLE, tooltip);
        }
    }
}

static void draw_ours(const adamoe_report *report, adamoe_plot *plot)
{
    for (size_t i = 0; i < report->evaluations; ++i) {
        char tooltip[200];
        const adamoe_evaluated *e = &report->evaluated[i];
        const scored s = score_of(e);
        adamoe_plot_interval(plot, 100.0 * s.reduction, 100.0 * (s.accuracy - s.standard_error),
                             100.0 * (s.accuracy + s.standard_error), style_of(i));
        (void)snprintf(tooltip, sizeof tooltip, "%.60s %.30s: %.2f %% (standard error %.20s)", e->task,
                       e->name, 100.0 * s.accuracy, adamoe_percent(s.standard_error, 2).text);
        adamoe_plot_mark(plot, (adamoe_point){100.0 * s.reduction, 100.0 * s.accuracy}, style_of(i), tooltip);
    }
}

static void label_all(const adamoe_report *report, adamoe_plot *plot)
{
    for (size_t i = 0; i < report->evaluations; ++i) {
        const scored s = score_of(&report->evaluated[i]);
        (void)adamoe_plot_label(plot, (adamoe_point){100.0 * s.reduction, 100.0 * s.accuracy},
                                report->evaluated[i].name, "");
    }
    for (size_t i = 0; i < ADAMOE_PAPER_ROWS; ++i) {
        const adamoe_paper_row *row = &adamoe_paper[i];
        (void)adamoe_plot_label(
            plot, (adamoe_point){100.0 * row->model_flops_reduction, 100.0 * row->adamoe_accuracy},
            row->dataset, "quiet");
    }
}

/* Keeps labels away from a mark and from its interval. */
static void reserve(adamoe_plot *plot, scored s)
{
    const double x = 100.0 * s.reduction,
                 error = 100.0 * (isfinite(s.standard_error) ? s.standard_error : 0.0);
    adamoe_plot_reserve(plot, (adamoe_point){x, 100.0 * s.accuracy});
    adamoe_plot_reserve_line(plot, (adamoe_point){x, 100.0 * s.accuracy - error},
                             (adamoe_point){x, 100.0 * s.accuracy + error});
}

static void reserve_all(const adamoe_report *report, adamoe_plot *plot)
{
    for (size_t i = 0; i < report->evaluations; ++i) {
        reserve(plot, score_of(&report->evaluated[i]));
    }
    for (size_t i = 0; i < ADAMOE_PAPER_ROWS; ++i) {
        const adamoe_paper_row *row = &adamoe_paper[i];
        reserve(plot, (scored){0.0, row->top_2_accuracy, paper_error(row, row->top_2_accuracy)});
        reserve(plot, (scored){row->model_flops_reduction, row->adamoe_accuracy,
                               paper_error(row, row->adamoe_accuracy)});
    }
}

static void write_legend(const adamoe_report *report, FILE *out)
{
    (void)fputs("<ul class=\"legend\">", out);
    for (size_t i = 0; i < report->evaluations; ++i) {
        (void)fputs("<li>", out);
        adamoe_svg_key(out, style_of(i));
        adamoe_report_evaluated_name(report, &report->evaluated[i], out);
        (void)fputs("</li>", out);
    }
    (void)fputs("<li>", out);
    adamoe_svg_key(out, PAPER_STYLE);
    (void)fputs("the paper: top-2, and AdaMoE</li></ul>\n", out);
}

static void draw(const adamoe_report *report, FILE *out)
{
    static adamoe_plot plot;
    adamoe_axis x, y;
    find_axes(report, &x, &y);
    write_legend(report, out);
    (void)fputs("<div class=\"panels\"><figure class=\"wide\">\n", out);
    adamoe_plot_begin(
        &plot, out, x, y, "Accuracy against FLOPs saved",
        "Accuracy in percent, with its standard error, against the whole model's FLOPs saved in percent. "
        "A line joins the paper's two rows of a data set. The table below has the numbers.");
    reserve_all(report, &plot);
    draw_paper(&plot);
    draw_ours(report, &plot);
    label_all(report, &plot);
    adamoe_plot_end(&plot);
    (void)fputs("</figure></div>\n", out);
}

/* -------------------------------------------------------------------------------------------------- table */

static void write_scored(FILE *out, double accuracy, double error)
{
    (void)fprintf(out, "<td class=\"n\">%s</td><td class=\"n quiet\">%s%s</td>",
                  adamoe_percent(accuracy, 2).text, isnan(error) ? "" : "\xc2\xb1 ",
                  adamoe_percent(error, 2).text);
}

static double questions_of(const adamoe_evaluated *e)
{
    return adamoe_number_in(json_object_get(json_object_get(e->document, "n-samples"), e->task), "effective");
}

static void write_ours(const adamoe_report *report, const adamoe_evaluated *e, FILE *out)
{
    const json_t *cost = json_object_get(e->document, "adamoe");
    const scored s = score_of(e);
    const double questions = questions_of(e);
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_report_evaluated_name(report, e, out);
    (void)fputs("</th>", out);
    adamoe_html_text_cell(out, e->task);
    (void)fprintf(out, "<td class=\"n\">%.*f</td>", 0, isfinite(questions) ? questions : 0.0);
    write_scored(out, s.accuracy, s.standard_error);
    write_scored(out, adamoe_number_in(e->scores, "acc_norm,none"),
                 adamoe_number_in(e->scores, "acc_norm_stderr,none"));
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(cost, "load")));
    adamoe_html_number_cell(out, adamoe_percent(s.reduction, 2));
    (void)fputs("</tr>\n", out);
}

static void write_paper(const adamoe_paper_row *row, bool adaptive, FILE *out)
{
    const double accuracy = adaptive ? row->adamoe_accuracy : row->top_2_accuracy;
    (void)fprintf(out, "<tr class=\"quiet\"><th scope=\"row\">the paper, %s</th><td>%s</td>",
                  adaptive ? "AdaMoE" : "top-2", row->dataset);
    if (row->questions > 0) {
        (void)fprintf(out, "<td class=\"n\">%zu</td>", row->questions);
    } else {
        (void)fputs("<td class=\"n\">not given</td>", out);
    }
    write_scored(out, accuracy, paper_error(row, accuracy));
    (void)fprintf(out, "<td class=\"n\"></td><td class=\"n\"></td><td class=\"n\">%.2f</td>",
                  adaptive ? row->load : 2.0);
    adamoe_html_number_cell(out, adamoe_percent(adaptive ? row->model_flops_reduction : 0.0, 2));
    (void)fputs("</tr>\n", out);
}

static void write_table(const adamoe_report *report, FILE *out)
{
    static const char *const titles[] = {"result",   "data set", "questions", "acc",        "s.e.",
                                         "acc_norm", "s.e.",     "load",      "FLOPs saved"};
    adamoe_html_table_begin(out, "Accuracy, load and FLOPs");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 7);
    (void)fputs("<tbody>\n", out);
    for (size_t i = 0; i < report->evaluations; ++i) {
        write_ours(report, &report->evaluated[i], out);
    }
    for (size_t i = 0; i < ADAMOE_PAPER_ROWS; ++i) {
        write_paper(&adamoe_paper[i], false, out);
        write_paper(&adamoe_paper[i], true, out);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static bool any_random(const adamoe_report *report)
{
    for (size_t i = 0; i < report->evaluations; ++i) {
        const json_t *cost = json_object_get(report->evaluated[i].document, "adamoe");
        if (json_is_true(json_object_get(cost, "weights_are_random"))) {
            return true;
        }
    }
    return false;
}

void adamoe_report_accuracy(const adamoe_report *report, FILE *out)
{
    if (report->evaluations == 0) {
        return;
    }
    adamoe_report_section_begin(out, "accuracy", "Accuracy against FLOPs");
    (void)fputs("<p>Bars are one standard error each way. The paper's points are Mixtral-8x7B, fine-tuned; "
                "its numbers "
                "are all it gives: only for ARC-C do they tell how many questions there were.</p>\n",
                out);
    if (any_random(report)) {
        (void)fputs("<p class=\"note\">A model here has random weights: its accuracy is chance, and says "
                    "nothing about "
                    "AdaMoE.</p>\n",
                    out);
    }
    draw(report, out);
    write_table(report, out);
    adamoe_report_section_end(out);
}
