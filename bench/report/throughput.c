/*
 * Speed in numbers: throughput and share of the roofline against tokens, and the table that all pictures of
 * speed are drawn from.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"

#include <math.h>
#include <string.h>

/* One way to draw a panel against tokens. */
typedef struct measure {
    const char *title, *axis, *description;
    double (*value)(const adamoe_timing *);
    double at_least; /* the axis goes at least so far up */
} measure;

static double gflops(const adamoe_timing *timing)
{
    return timing->gflops;
}

static double roofline_share(const adamoe_timing *timing)
{
    return 100.0 * timing->roofline_share;
}

static const measure throughput = {
    "Throughput", "GFLOP/s executed",
    "Executed GFLOP/s against tokens in one call, a line for each kernel. The table below has the numbers.",
    gflops, 0.0};
static const measure share = {"Share of the roofline", "% of the roofline",
                              "Share of the roofline in percent against tokens in one call, a line for each "
                              "kernel. The table below has the "
                              "numbers.",
                              roofline_share, 105.0};

static double largest(const adamoe_timing *timing, size_t count, const measure *m)
{
    double value = 0.0;
    for (size_t i = 0; i < count; ++i) {
        value = timing[i].saved ? value : fmax(value, m->value(&timing[i]));
    }
    return value;
}

static void draw_series(const adamoe_report *report, adamoe_plot *plot, const measure *m, size_t first,
                        size_t count)
{
    const size_t style = adamoe_report_style(report, report->timing[first].kernel);
    for (size_t i = first; i + 1 < first + count; ++i) {
        const adamoe_timing *a = &report->timing[i], *b = a + 1;
        const adamoe_point ends[] = {{(double)a->tokens, m->value(a)}, {(double)b->tokens, m->value(b)}};
        adamoe_plot_line(plot, ends, 2, style, "");
    }
    for (size_t i = first; i < first + count; ++i) {
        char tooltip[200];
        const adamoe_timing *t = &report->timing[i];
        (void)snprintf(tooltip, sizeof tooltip,
                       "%.80s, %zu tokens: %.20s GFLOP/s, %.20s GB/s, %.20s of the roofline", t->kernel,
                       t->tokens, adamoe_number(t->gflops).text, adamoe_number(t->gbytes_per_second).text,
                       adamoe_percent(t->roofline_share, 1).text);
        adamoe_plot_mark(plot, (adamoe_point){(double)t->tokens, m->value(t)}, style, tooltip);
    }
}

static void draw_panel(const adamoe_report *report, FILE *out, const measure *m, adamoe_panel panel)
{
    static adamoe_plot plot;
    double tokens[ADAMOE_REPORT_TICKS];
    const adamoe_timing *timing = &report->timing[panel.first];
    const size_t ticks = adamoe_report_tokens(timing, panel.count, tokens);
    const double top = 1.08 * largest(timing, panel.count, m);
    adamoe_axis x = {"tokens in one call", tokens[0], tokens[ticks - 1], true, tokens, ticks};
    const adamoe_axis y = {m->axis, 0.0, fmax(top, m->at_least), false, NULL, 0};
    char title[160];
    if (top == 0.0) {
        return;
    }
    adamoe_axis_pad(&x);
    (void)snprintf(title, sizeof title, "%s, %.100s", m->title, timing->preset);
    adamoe_report_figure_begin(out, report, panel);
    adamoe_plot_begin(&plot, out, x, y, title, m->description);
    if (m == &share) {
        const adamoe_point limit[] = {{x.low, 100.0}, {x.high, 100.0}};
        adamoe_plot_line(&plot, limit, 2, 0, "limit");
    }
    for (size_t i = panel.first, n; i < panel.first + panel.count; i += n) {
        n = adamoe_report_series(report, i, panel.first + panel.count - i);
        draw_series(report, &plot, m, i, n);
    }
    adamoe_plot_end(&plot);
    adamoe_report_figure_end(out);
}

static void draw_panels(const adamoe_report *report, FILE *out, const measure *m)
{
    adamoe_report_legend(report, out);
    (void)fputs("<div class=\"panels\">\n", out);
    for (adamoe_panel panel = adamoe_report_panel(report, 0); panel.count > 0;
         panel = adamoe_report_panel(report, panel.first + panel.count)) {
        draw_panel(report, out, m, panel);
    }
    (void)fputs("</div>\n", out);
}

/* -------------------------------------------------------------------------------------------------- table */

static void write_share(FILE *out, double value)
{
    const adamoe_number_text text = adamoe_percent(value, 1);
    if (value > ADAMOE_LARGEST_SHARE) {
        (void)fprintf(out, "<td class=\"n bad\" title=\"above 102 %%: an error of measurement\">%s !</td>",
                      text.text);
    } else {
        adamoe_html_number_cell(out, text);
    }
}

static void write_row(const adamoe_timing *timing, FILE *out)
{
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_html_text(out, timing->kernel);
    (void)fprintf(out, "</th><td class=\"n\">%zu</td>", timing->tokens);
    if (timing->error != NULL) {
        (void)fputs("<td colspan=\"8\" class=\"quiet\">", out);
        adamoe_html_text(out, timing->error);
        (void)fputs("</td></tr>\n", out);
        return;
    }
    adamoe_html_number_cell(out, adamoe_duration(timing->seconds));
    if (timing->repetitions > 1) {
        (void)fprintf(out, "<td class=\"n quiet\">%s to %s</td>", adamoe_duration(timing->least).text,
                      adamoe_duration(timing->most).text);
    } else {
        (void)fputs("<td class=\"n quiet\">one run</td>", out);
    }
    adamoe_html_number_cell(out, adamoe_number(timing->gflops));
    adamoe_html_number_cell(out, adamoe_number(timing->gbytes_per_second));
    adamoe_html_number_cell(out, adamoe_number(timing->executed_flops / timing->touched_bytes));
    write_share(out, timing->roofline_share);
    write_share(out, timing->share_without_overlap);
    adamoe_html_number_cell(out, adamoe_number(timing->load));
    (void)fputs("</tr>\n", out);
}

static void write_table(const adamoe_report *report, FILE *out, adamoe_panel panel)
{
    static const char *const titles[] = {"kernel",          "tokens", "median time",    "interval",
                                         "GFLOP/s",         "GB/s",   "FLOPs per byte", "roofline",
                                         "without overlap", "load"};
    const adamoe_timing *first = &report->timing[panel.first];
    (void)fputs("<h4>", out);
    adamoe_html_text(out, first->preset);
    (void)fputs(" <span class=\"quiet\">", out);
    adamoe_html_text(out, first->setting);
    (void)fputs("</span></h4>\n", out);
    adamoe_html_table_begin(out, first->preset);
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 9);
    (void)fputs("<tbody>\n", out);
    for (size_t i = panel.first; i < panel.first + panel.count; ++i) {
        write_row(&report->timing[i], out);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

void adamoe_report_throughput(const adamoe_report *report, FILE *out)
{
    (void)fputs("<h3>Throughput against tokens</h3>\n<p>FLOPs are counted as executed: null experts cost "
                "nothing and count nothing.</p>\n",
                out);
    draw_panels(report, out, &throughput);
    if (largest(report->timing, report->timings, &share) > 0.0) {
        (void)fputs(
            "<h3>Share of the roofline</h3>\n<p>The time that the machine's own limits allow, over the time "
            "taken.</p>\n",
            out);
        draw_panels(report, out, &share);
    }
    (void)fputs("<h3>The numbers</h3>\n<p>Medians of the repetitions; the interval is that of the median at "
                "95 % where a "
                "result has one, else from the least to the most repetition. <em>Roofline</em> is the share "
                "of the limit, "
                "<em>without overlap</em> that of the limit when experts come one after the other.</p>\n",
                out);
    for (adamoe_panel panel = adamoe_report_panel(report, 0); panel.count > 0;
         panel = adamoe_report_panel(report, panel.first + panel.count)) {
        if (!report->timing[panel.first].saved) {
            write_table(report, out, panel);
        }
    }
}
