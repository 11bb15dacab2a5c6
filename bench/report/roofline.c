/*
 * The roofline: executed FLOPs for each byte of touched weights against FLOPs for each second, beneath what
 * the machine can do. A panel has one limit of memory and, for each instruction path that its kernels were
 * measured against, one of arithmetic.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"

#include <math.h>
#include <string.h>

/* Limits of arithmetic that are nearer than this to each other are one measured several times. */
#define SAME_LIMIT 1.1

#define MOST_LIMITS 6

typedef struct limits {
    double gflops[MOST_LIMITS]; /* [count] the highest of each kind */
    size_t count;
    double gbytes_per_second; /* the highest; NaN where none was measured */
} limits;

static double intensity(const adamoe_timing *timing)
{
    return timing->executed_flops / timing->touched_bytes;
}

static void add_limit(limits *all, double gflops)
{
    for (size_t i = 0; i < all->count; ++i) {
        if (gflops < SAME_LIMIT * all->gflops[i] && all->gflops[i] < SAME_LIMIT * gflops) {
            all->gflops[i] = fmax(all->gflops[i], gflops);
            return;
        }
    }
    if (all->count < MOST_LIMITS && isfinite(gflops)) {
        all->gflops[all->count++] = gflops;
    }
}

static limits find_limits(const adamoe_timing *timing, size_t count)
{
    limits all = {.gbytes_per_second = NAN};
    for (size_t i = 0; i < count; ++i) {
        add_limit(&all, timing[i].peak_gflops);
        all.gbytes_per_second = fmax(all.gbytes_per_second, timing[i].peak_gbytes_per_second);
    }
    return all;
}

static adamoe_axis widen(adamoe_axis axis, double value)
{
    if (isfinite(value) && value > 0.0) {
        axis.low = fmin(axis.low, value);
        axis.high = fmax(axis.high, value);
    }
    return axis;
}

/* Axes around all points, and around the ridges where the limits meet. */
static void find_axes(const adamoe_timing *timing, size_t count, const limits *all, adamoe_axis *x,
                      adamoe_axis *y)
{
    *x = (adamoe_axis){"FLOPs executed for each byte of touched weights", HUGE_VAL, 0.0, true, NULL, 0};
    *y = (adamoe_axis){"GFLOP/s", HUGE_VAL, 0.0, true, NULL, 0};
    for (size_t i = 0; i < count; ++i) {
        if (isfinite(timing[i].gflops)) {
            *x = widen(*x, intensity(&timing[i]));
            *y = widen(*y, timing[i].gflops);
        }
    }
    for (size_t i = 0; i < all->count; ++i) {
        *x = widen(*x, all->gflops[i] / all->gbytes_per_second);
        *y = widen(*y, all->gflops[i]);
    }
    adamoe_axis_pad(x);
    adamoe_axis_pad(y);
    y->high *= 1.3; /* for the highest limit's label */
}

static void draw_limits(adamoe_plot *plot, const limits *all)
{
    double highest = 0.0;
    for (size_t i = 0; i < all->count; ++i) {
        const double ridge = all->gflops[i] / all->gbytes_per_second;
        const adamoe_point roof[] = {{isfinite(ridge) ? ridge : plot->x.low, all->gflops[i]},
                                     {plot->x.high, all->gflops[i]}};
        adamoe_plot_line(plot, roof, 2, 0, "limit");
        adamoe_plot_reserve_line(plot, roof[0], roof[1]);
        highest = fmax(highest, all->gflops[i]);
    }
    if (isfinite(all->gbytes_per_second)) {
        const double end = highest > 0.0 ? highest / all->gbytes_per_second : plot->x.high;
        const adamoe_point slope[] = {{plot->x.low, plot->x.low * all->gbytes_per_second},
                                      {end, end * all->gbytes_per_second}};
        adamoe_plot_line(plot, slope, 2, 0, "limit");
        adamoe_plot_reserve_line(plot, slope[0], slope[1]);
    }
}

/* The middle of a limit's visible part, on a logarithmic axis. */
static double between(double low, double high)
{
    return sqrt(low * high);
}

static void label_limits(adamoe_plot *plot, const limits *all)
{
    char text[64];
    double lowest = HUGE_VAL;
    for (size_t i = 0; i < all->count; ++i) {
        const double ridge = fmax(all->gflops[i] / all->gbytes_per_second, plot->x.low);
        (void)snprintf(text, sizeof text, "%.20s GFLOP/s", adamoe_number(all->gflops[i]).text);
        (void)adamoe_plot_label(plot, (adamoe_point){between(ridge, plot->x.high), all->gflops[i]}, text,
                                "quiet");
        lowest = fmin(lowest, all->gflops[i]);
    }
    if (isfinite(all->gbytes_per_second)) {
        const double from = fmax(plot->x.low, plot->y.low / all->gbytes_per_second);
        const double to = fmin(lowest / all->gbytes_per_second, plot->x.high), at = between(from, to);
        (void)snprintf(text, sizeof text, "%.20s GB/s", adamoe_number(all->gbytes_per_second).text);
        (void)adamoe_plot_label(plot, (adamoe_point){at, at * all->gbytes_per_second}, text, "quiet");
    }
}

static adamoe_point place(const adamoe_timing *timing)
{
    return (adamoe_point){intensity(timing), timing->gflops};
}

static void draw_series(const adamoe_report *report, adamoe_plot *plot, size_t first, size_t count)
{
    const size_t style = adamoe_report_style(report, report->timing[first].kernel);
    for (size_t i = first; i < first + count; ++i) {
        char tooltip[256];
        const adamoe_timing *t = &report->timing[i];
        const int length =
            snprintf(tooltip, sizeof tooltip,
                     "%.80s, %zu tokens: %.20s GFLOP/s at %.20s FLOPs per byte, %.20s of the roofline",
                     t->kernel, t->tokens, adamoe_number(t->gflops).text, adamoe_number(intensity(t)).text,
                     adamoe_percent(t->roofline_share, 1).text);
        if (t->peak_gflops > 0.0) {
            (void)snprintf(tooltip + length, sizeof tooltip - (size_t)length,
                           "; the limit of its arithmetic is %.20s GFLOP/s",
                           adamoe_number(t->peak_gflops).text);
        }
        adamoe_plot_mark(plot, place(t), style, tooltip);
    }
}

/* The highest series has room above it: its numbers of tokens are written there. */
static void label_tokens(const adamoe_report *report, adamoe_plot *plot, adamoe_panel panel)
{
    size_t best = panel.first, length = 0;
    double highest = -HUGE_VAL;
    for (size_t i = panel.first, n; i < panel.first + panel.count; i += n) {
        n = adamoe_report_series(report, i, panel.first + panel.count - i);
        for (size_t j = i; j < i + n; ++j) {
            if (report->timing[j].gflops > highest) {
                highest = report->timing[j].gflops;
                best = i;
                length = n;
            }
        }
    }
    for (size_t i = best; i < best + length; ++i) {
        char text[24];
        (void)snprintf(text, sizeof text, "%zu", report->timing[i].tokens);
        (void)adamoe_plot_label(plot, place(&report->timing[i]), text, "");
    }
}

static void draw_panel(const adamoe_report *report, FILE *out, adamoe_panel panel)
{
    static adamoe_plot plot;
    adamoe_axis x, y;
    const adamoe_timing *timing = &report->timing[panel.first];
    const limits all = find_limits(timing, panel.count);
    char title[160];
    (void)snprintf(title, sizeof title, "Roofline, %.100s", timing->preset);
    find_axes(timing, panel.count, &all, &x, &y);
    adamoe_report_figure_begin(out, report, panel);
    adamoe_plot_begin(
        &plot, out, x, y, title,
        "Both axes are logarithmic. Every mark is a kernel at a number of tokens; the rising line is "
        "the limit of memory, the level one the limit of arithmetic. The table below has the numbers.");
    draw_limits(&plot, &all);
    for (size_t i = panel.first; i < panel.first + panel.count; ++i) {
        adamoe_plot_reserve(&plot, place(&report->timing[i]));
    }
    for (size_t i = panel.first, n; i < panel.first + panel.count; i += n) {
        n = adamoe_report_series(report, i, panel.first + panel.count - i);
        draw_series(report, &plot, i, n);
    }
    label_limits(&plot, &all);
    label_tokens(report, &plot, panel);
    adamoe_plot_end(&plot);
    adamoe_report_figure_end(out);
}

static bool has_place(const adamoe_timing *timing)
{
    return !timing->saved && timing->gflops > 0.0 && intensity(timing) > 0.0 && isfinite(intensity(timing));
}

static bool panel_has_place(const adamoe_report *report, adamoe_panel panel)
{
    bool any = false;
    for (size_t i = panel.first; i < panel.first + panel.count; ++i) {
        any = any || has_place(&report->timing[i]);
    }
    return any;
}

void adamoe_report_roofline(const adamoe_report *report, FILE *out)
{
    bool measured = false;
    for (size_t i = 0; i < report->timings; ++i) {
        measured = measured || report->timing[i].peak_gflops > 0.0;
    }
    (void)fputs(
        "<h3>Roofline</h3>\n<p>A kernel can be no faster than memory brings weights (the rising line) and "
        "arithmetic uses them (the level one; one for each kind of operands, inputs as well as weights, "
        "where their limits differ). The numbers beside marks are tokens in one call.",
        out);
    if (!measured) {
        (void)fputs(" These results have no measured limits, so none is drawn.", out);
    }
    (void)fputs("</p>\n", out);
    adamoe_report_legend(report, out);
    (void)fputs("<div class=\"panels\">\n", out);
    for (adamoe_panel panel = adamoe_report_panel(report, 0); panel.count > 0;
         panel = adamoe_report_panel(report, panel.first + panel.count)) {
        if (panel_has_place(report, panel)) {
            draw_panel(report, out, panel);
        }
    }
    (void)fputs("</div>\n", out);
}
