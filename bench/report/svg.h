/*
 * Small plots as inline SVG: axes, lines, marks, and labels that stand clear of each other. Colours and fonts
 * are classes that the page's style sheet defines, so that a plot follows light and dark. A mark tells its
 * numbers as its <title>. Left out: anything that needs a script, pie charts, a third dimension.
 */
#ifndef ADAMOE_REPORT_SVG_H
#define ADAMOE_REPORT_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Styles that can be told apart by shape as well as by colour; a larger number begins again. */
#define ADAMOE_SVG_STYLES 8

typedef struct adamoe_axis {
    const char *title;
    double low, high; /* low < high; both above 0 where the axis is logarithmic */
    bool logarithmic;
    const double *tick; /* [ticks] where they stand, or NULL: round numbers */
    size_t ticks;
} adamoe_axis;

typedef struct adamoe_point {
    double x, y; /* in units of the axes */
} adamoe_point;

typedef struct adamoe_box {
    double left, top, right, bottom;
} adamoe_box;

#define ADAMOE_SVG_BOXES 512

/* One plot while it is drawn. */
typedef struct adamoe_plot {
    FILE *out;
    adamoe_axis x, y;
    adamoe_box taken[ADAMOE_SVG_BOXES]; /* by labels and marks */
    size_t boxes;
} adamoe_plot;

/* Size of every plot, in units of the view box; text has 12 of them. */
#define ADAMOE_PLOT_WIDTH  440.0
#define ADAMOE_PLOT_HEIGHT 300.0

/* Begins a plot: frame, grid, ticks, titles. `title` and `description` are what is read out. */
void adamoe_plot_begin(adamoe_plot *plot, FILE *out, adamoe_axis x, adamoe_axis y, const char *title,
                       const char *description);
void adamoe_plot_end(adamoe_plot *plot);

/* A broken line through the points; points that are not finite interrupt it. `style` selects the colour;
 * `classes` are more classes, or "". What lies outside the axes is clipped. */
void adamoe_plot_line(adamoe_plot *plot, const adamoe_point *points, size_t count, size_t style,
                      const char *classes);

/* Keeps labels away from the place of a mark that will be drawn. */
void adamoe_plot_reserve(adamoe_plot *plot, adamoe_point point);

/* The same for a line. */
void adamoe_plot_reserve_line(adamoe_plot *plot, adamoe_point from, adamoe_point to);

/* A mark at the point, with a tooltip; nothing where the point is not finite. */
void adamoe_plot_mark(adamoe_plot *plot, adamoe_point point, size_t style, const char *tooltip);

/* A vertical bar from low to high with serifs, for an interval. */
void adamoe_plot_interval(adamoe_plot *plot, double x, double low, double high, size_t style);

/* A text beside the point, where there is room; false, and nothing drawn, where there is none. */
bool adamoe_plot_label(adamoe_plot *plot, adamoe_point point, const char *text, const char *classes);

/* A mark alone, for a legend. */
void adamoe_svg_key(FILE *out, size_t style);

/* Limits of a logarithmic axis with some air around low and high. */
void adamoe_axis_pad(adamoe_axis *axis);

#endif
