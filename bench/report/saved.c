/*
 * FLOPs saved against time saved: what null experts save of a layer at each number of tokens, in FLOPs, in
 * bytes of weights that are touched, in time, and in the time that the roofline predicts. Where memory bounds
 * and every expert is touched anyway, saved FLOPs save no time.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"

#include <math.h>

/* One line of a picture, and one column of its table. */
typedef struct quantity {
    const char *name;
    size_t style;
    double (*value)(const adamoe_timing *);
} quantity;

static double flops(const adamoe_timing *timing)
{
    return timing->flops_reduction;
}

static double bytes(const adamoe_timing *timing)
{
    return timing->bytes_reduction;
}

static double predicted(const adamoe_timing *timing)
{
    return timing->predicted_time_reduction;
}

static double measured(const adamoe_timing *timing)
{
    return timing->time_reduction;
}

static const quantity quantities[] = {{"FLOPs", 5, flops},
                                      {"bytes touched", 3, bytes},
                                      {"time, predicted", 2, predicted},
                                      {"time, measured", 0, measured}};

#define QUANTITIES (sizeof quantities / sizeof *quantities)

static adamoe_axis saved_axis(const adamoe_timing *timing, size_t count)
{
    adamoe_axis axis = {"saved, %", 0.0, 10.0, false, NULL, 0};
    for (size_t i = 0; i < count; ++i) {
        for (size_t q = 0; q < QUANTITIES; ++q) {
            const double value = 100.0 * quantities[q].value(&timing[i]);
            axis.low = fmin(axis.low, value); /* fmin and fmax pass over NaN */
            axis.high = fmax(axis.high, value);
        }
        axis.low = fmin(axis.low, 100.0 * timing[i].time_reduction_low);
        axis.high = fmax(axis.high, 100.0 * timing[i].time_reduction_high);
    }
    const double air = 0.06 * (axis.high - axis.low);
    axis.low -= axis.low < 0.0 ? air : 0.0;
    axis.high += air;
    return axis;
}

static void draw_quantity(adamoe_plot *plot, const adamoe_timing *timing, size_t count, const quantity *q)
{
    for (size_t i = 0; i + 1 < count; ++i) {
        const adamoe_point ends[] = {{(double)timing[i].tokens, 100.0 * q->value(&timing[i])},
                                     {(double)timing[i + 1].tokens, 100.0 * q->value(&timing[i + 1])}};
        adamoe_plot_line(plot, ends, 2, q->style, "");
    }
    for (size_t i = 0; i < count; ++i) {
        char tooltip[128];
        (void)snprintf(tooltip, sizeof tooltip, "%s, %zu tokens: %.20s", q->name, timing[i].tokens,
                       adamoe_percent(q->value(&timing[i]), 1).text);
        adamoe_plot_mark(plot, (adamoe_point){(double)timing[i].tokens, 100.0 * q->value(&timing[i])},
                         q->style, tooltip);
    }
}

static void draw(const adamoe_report *report, FILE *out, size_t first, size_t count)
{
    static adamoe_plot plot;
    double tokens[ADAMOE_REPORT_TICKS];
    const adamoe_timing *timing = &report->timing[first];
    const size_t ticks = adamoe_report_tokens(timing, count, tokens);
    adamoe_axis x = {"tokens in one call", tokens[0], tokens[ticks - 1], true, tokens, ticks};
    char title[160];
    adamoe_axis_pad(&x);
    (void)snprintf(title, sizeof title, "Saved, %.60s, %.60s", timing->preset, timing->kernel);
    (void)fputs("<figure><figcaption>", out);
    adamoe_html_text(out, timing->preset);
    (void)fputs(", ", out);
    adamoe_html_text(out, timing->kernel);
    (void)fputs(" <span class=\"quiet\">", out);
    adamoe_html_text(out, timing->setting);
    (void)fputs("</span></figcaption>\n", out);
    adamoe_plot_begin(
        &plot, out, x, saved_axis(timing, count), title,
        "Percent saved against tokens in one call: FLOPs, bytes touched, time as the roofline predicts "
        "it, and time as measured, with its interval. The table below has the numbers.");
    for (size_t i = 0; i < count; ++i) {
        adamoe_plot_interval(&plot, (double)timing[i].tokens, 100.0 * timing[i].time_reduction_low,
                             100.0 * timing[i].time_reduction_high, 0);
    }
    for (size_t q = 0; q < QUANTITIES; ++q) {
        draw_quantity(&plot, timing, count, &quantities[q]);
    }
    adamoe_plot_end(&plot);
    adamoe_report_figure_end(out);
}

/* -------------------------------------------------------------------------------------------------- table */

static void write_row(const adamoe_timing *timing, FILE *out)
{
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_html_text(out, timing->preset);
    (void)fputs(", ", out);
    adamoe_html_text(out, timing->kernel);
    (void)fputs("</th>", out);
    adamoe_html_text_cell(out, timing->setting);
    (void)fprintf(out, "<td class=\"n\">%zu</td>", timing->tokens);
    if (timing->error != NULL) {
        (void)fputs("<td colspan=\"6\" class=\"quiet\">", out);
        adamoe_html_text(out, timing->error);
        (void)fputs("</td></tr>\n", out);
        return;
    }
    for (size_t q = 0; q < QUANTITIES; ++q) {
        adamoe_html_number_cell(out, adamoe_percent(quantities[q].value(timing), 1));
    }
    (void)fprintf(out, "<td class=\"n quiet\">%s to %s</td>",
                  adamoe_percent(timing->time_reduction_low, 1).text,
                  adamoe_percent(timing->time_reduction_high, 1).text);
    adamoe_html_number_cell(out, adamoe_number(timing->time_reduction / timing->flops_reduction));
    (void)fputs("</tr>\n", out);
}

static void write_table(const adamoe_report *report, FILE *out)
{
    static const char *const titles[] = {"layer and kernel", "setting",         "tokens",         "FLOPs",
                                         "bytes touched",    "time, predicted", "time, measured", "interval",
                                         "time / FLOPs"};
    adamoe_html_table_begin(out, "FLOPs saved against time saved");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 7);
    (void)fputs("<tbody>\n", out);
    for (size_t i = 0; i < report->timings; ++i) {
        if (report->timing[i].saved) {
            write_row(&report->timing[i], out);
        }
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static bool has_measured(const adamoe_timing *timing, size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; ++i) {
        any = any || isfinite(timing[i].time_reduction);
    }
    return any;
}

void adamoe_report_saved(const adamoe_report *report, FILE *out)
{
    if (!adamoe_report_has_saved(report)) {
        return;
    }
    adamoe_report_section_begin(out, "saved", "FLOPs saved against time saved");
    (void)fputs(
        "<p>The same tokens with null experts and at top-k<sub>0</sub>, in turn. Where memory bounds and "
        "every "
        "expert is touched by some token anyway, saved FLOPs save no time; the roofline says how much they "
        "can.</p>\n<ul class=\"legend\">",
        out);
    for (size_t q = 0; q < QUANTITIES; ++q) {
        (void)fputs("<li>", out);
        adamoe_svg_key(out, quantities[q].style);
        (void)fprintf(out, "%s</li>", quantities[q].name);
    }
    (void)fputs("</ul>\n<div class=\"panels\">\n", out);
    for (adamoe_panel panel = adamoe_report_panel(report, 0); panel.count > 0;
         panel = adamoe_report_panel(report, panel.first + panel.count)) {
        for (size_t i = panel.first, n; i < panel.first + panel.count; i += n) {
            n = adamoe_report_series(report, i, panel.first + panel.count - i);
            if (report->timing[i].saved && has_measured(&report->timing[i], n)) {
                draw(report, out, i, n);
            }
        }
    }
    (void)fputs("</div>\n", out);
    write_table(report, out);
    adamoe_report_section_end(out);
}
