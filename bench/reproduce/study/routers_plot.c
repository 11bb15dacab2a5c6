/*
 * The plot of the study of routers: accuracy, with its interval over starts, against executed FLOPs of a token.
 */
#include "report/html.h"
#include "report/sections.h"
#include "report/svg.h"
#include "reproduce/study/study.h"

#include <math.h>

/* Limits with some air around all values; intervals of few starts may leave the page and are cut. */
static void find_axes(const adamoe_router_point *points, size_t count, adamoe_axis *x, adamoe_axis *y)
{
    double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {-HUGE_VAL, -HUGE_VAL};
    for (size_t i = 0; i < count; ++i) {
        const double value[2] = {points[i].flops, points[i].accuracy};
        for (size_t j = 0; j < 2; ++j) {
            low[j] = fmin(low[j], value[j]);
            high[j] = fmax(high[j], value[j]);
        }
    }
    const double air[2] = {0.1 * (high[0] - low[0]) + 1e-3, 0.25 * (high[1] - low[1]) + 1.0};
    *x = (adamoe_axis){.title = "executed MFLOP per token", .low = low[0] - air[0], .high = high[0] + air[0]};
    *y = (adamoe_axis){
        .title = "accuracy, %", .low = fmax(0.0, low[1] - air[1]), .high = fmin(100.0, high[1] + air[1])};
}

static void draw(const adamoe_router_point *points, size_t count, adamoe_plot *plot)
{
    for (size_t i = 0; i < count; ++i) {
        adamoe_plot_reserve(plot, (adamoe_point){points[i].flops, points[i].accuracy});
    }
    for (size_t i = 0; i < count; ++i) {
        const adamoe_router_point *p = &points[i];
        const adamoe_point at = {p->flops, p->accuracy};
        char tooltip[192];
        (void)snprintf(tooltip, sizeof tooltip, "%s: %.1f %% at %.3f MFLOP", p->name, p->accuracy, p->flops);
        if (isfinite(p->low) && isfinite(p->high)) {
            adamoe_plot_interval(plot, p->flops, fmax(p->low, plot->y.low), fmin(p->high, plot->y.high),
                                 p->style);
        }
        adamoe_plot_mark(plot, at, p->style, tooltip);
        (void)adamoe_plot_label(plot, at, p->name, "");
    }
}

void adamoe_study_plot_routers(FILE *out, const adamoe_router_point *points, size_t count)
{
    static const char *const tables[] = {"routers", "capacity swept", "wanted load swept"};
    static adamoe_plot plot;
    adamoe_axis x, y;
    find_axes(points, count, &x, &y);
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Routers</title>\n",
                out);
    adamoe_report_write_style(out);
    (void)fputs("</head><body><main>\n<ul class=\"legend\">", out);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; ++i) {
        (void)fputs("<li>", out);
        adamoe_svg_key(out, i);
        (void)fprintf(out, "%s</li>", tables[i]);
    }
    (void)fputs("</ul>\n<div class=\"panels\"><figure class=\"wide\">\n", out);
    adamoe_plot_begin(&plot, out, x, y, "Accuracy against executed FLOPs",
                      "Mean accuracy over starts with its 95 % t-interval, against the FLOPs of a token as "
                      "executed, for every router.");
    draw(points, count, &plot);
    adamoe_plot_end(&plot);
    (void)fputs("</figure></div>\n</main></body></html>\n", out);
}
