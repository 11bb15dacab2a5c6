/*
 * Small plots as inline SVG: axes, lines, marks, and labels that stand clear of each other.
 */
#include "report/svg.h"
#include "report/html.h"

#include <math.h>
#include <string.h>

/* The frame within the view box: room for the numbers on the left and below, and for the last one's half. */
static const adamoe_box frame = {54.0, 12.0, 426.0, 252.0};

#define CHARACTER_WIDTH 7.4 /* of a text of size 12, on the wide side */
#define LINE_HEIGHT     13.0
#define MARK_RADIUS     4.5

/* ------------------------------------------------------------------------------------------------- places */

static double share(const adamoe_axis *axis, double value)
{
    return axis->logarithmic ? log(value / axis->low) / log(axis->high / axis->low)
                             : (value - axis->low) / (axis->high - axis->low);
}

static double place_x(const adamoe_plot *plot, double value)
{
    return frame.left + (frame.right - frame.left) * share(&plot->x, value);
}

static double place_y(const adamoe_plot *plot, double value)
{
    return frame.bottom - (frame.bottom - frame.top) * share(&plot->y, value);
}

static bool has_place(const adamoe_plot *plot, adamoe_point point)
{
    return isfinite(point.x) && isfinite(point.y) && (!plot->x.logarithmic || point.x > 0.0) &&
           (!plot->y.logarithmic || point.y > 0.0);
}

void adamoe_axis_pad(adamoe_axis *axis)
{
    const double ratio = axis->high / axis->low, air = ratio < 4.0 ? 2.0 : pow(ratio, 0.06);
    axis->low /= air;
    axis->high *= air;
}

/* -------------------------------------------------------------------------------------------------- ticks */

#define MOST_TICKS 16

/* Steps of 1, 2 or 5 times a power of ten, four to eight of them. */
static size_t linear_ticks(const adamoe_axis *axis, double tick[MOST_TICKS])
{
    const double range = axis->high - axis->low, power = pow(10.0, floor(log10(range / 4.0)));
    const double lead = range / 4.0 / power, step = power * (lead >= 5.0 ? 5.0 : lead >= 2.0 ? 2.0 : 1.0);
    size_t count = 0;
    for (double i = ceil(axis->low / step - 1e-9); i * step <= axis->high + 1e-9 * range; i += 1.0) {
        if (count < MOST_TICKS) {
            tick[count++] = i * step;
        }
    }
    return count;
}

/* Powers of ten, with 2 and 5 times of them where there are few. */
static size_t logarithmic_ticks(const adamoe_axis *axis, double tick[MOST_TICKS])
{
    static const double leads[] = {1.0, 2.0, 5.0};
    const double decades = log10(axis->high / axis->low);
    const size_t used = decades < 3.0 ? 3 : 1;
    size_t count = 0;
    for (double power = floor(log10(axis->low)); power <= log10(axis->high); power += 1.0) {
        for (size_t i = 0; i < used; ++i) {
            const double value = leads[i] * pow(10.0, power);
            if (value >= axis->low && value <= axis->high && count < MOST_TICKS) {
                tick[count++] = value;
            }
        }
    }
    return count;
}

static size_t find_ticks(const adamoe_axis *axis, double tick[MOST_TICKS])
{
    if (axis->tick != NULL) {
        const size_t count = axis->ticks < MOST_TICKS ? axis->ticks : MOST_TICKS;
        memcpy(tick, axis->tick, count * sizeof *tick);
        return count;
    }
    return axis->logarithmic ? logarithmic_ticks(axis, tick) : linear_ticks(axis, tick);
}

static void draw_x_axis(const adamoe_plot *plot)
{
    double tick[MOST_TICKS], free_from = -HUGE_VAL;
    const size_t count = find_ticks(&plot->x, tick);
    for (size_t i = 0; i < count; ++i) {
        const double x = place_x(plot, tick[i]);
        const adamoe_number_text text = adamoe_tick_number(tick[i]);
        const double half = 0.5 * CHARACTER_WIDTH * (double)strlen(text.text);
        (void)fprintf(plot->out, "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>", x, frame.top, frame.bottom);
        if (x - half > free_from) {
            (void)fprintf(plot->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x,
                          frame.bottom + 16.0, text.text);
            free_from = x + half + 3.0;
        }
    }
    (void)fprintf(plot->out, "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                  0.5 * (frame.left + frame.right), ADAMOE_PLOT_HEIGHT - 12.0);
    adamoe_html_text(plot->out, plot->x.title);
    (void)fputs("</text>\n", plot->out);
}

static void draw_y_axis(const adamoe_plot *plot)
{
    double tick[MOST_TICKS];
    const size_t count = find_ticks(&plot->y, tick);
    for (size_t i = 0; i < count; ++i) {
        const double y = place_y(plot, tick[i]);
        (void)fprintf(plot->out,
                      "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>"
                      "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                      frame.left, y, frame.right, frame.left - 6.0, y + 4.0,
                      adamoe_tick_number(tick[i]).text);
    }
    const double middle = 0.5 * (frame.top + frame.bottom);
    (void)fprintf(plot->out,
                  "<text class=\"axis\" transform=\"translate(14 %.1f) rotate(-90)\" text-anchor=\"middle\">",
                  middle);
    adamoe_html_text(plot->out, plot->y.title);
    (void)fputs("</text>\n", plot->out);
}

/* --------------------------------------------------------------------------------------------------- plot */

void adamoe_plot_begin(adamoe_plot *plot, FILE *out, adamoe_axis x, adamoe_axis y, const char *title,
                       const char *description)
{
    plot->out = out;
    plot->x = x;
    plot->y = y;
    plot->boxes = 0;
    (void)fprintf(out, "<svg class=\"plot\" role=\"img\" viewBox=\"0 0 %.0f %.0f\"><title>",
                  ADAMOE_PLOT_WIDTH, ADAMOE_PLOT_HEIGHT);
    adamoe_html_text(out, title);
    (void)fputs("</title><desc>", out);
    adamoe_html_text(out, description);
    (void)fputs("</desc>\n", out);
    draw_x_axis(plot);
    draw_y_axis(plot);
    (void)fprintf(out, "<rect class=\"frame\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                  frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top);
}

void adamoe_plot_end(adamoe_plot *plot)
{
    (void)fputs("</svg>\n", plot->out);
}

/* A nested <svg> clips to the frame without an id that would have to differ from plot to plot. */
void adamoe_plot_line(adamoe_plot *plot, const adamoe_point *points, size_t count, size_t style,
                      const char *classes)
{
    bool drawing = false;
    (void)fprintf(plot->out,
                  "<svg x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" viewBox=\"%.1f %.1f %.1f %.1f\">"
                  "<path class=\"line s%zu %s\" d=\"",
                  frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top, frame.left,
                  frame.top, frame.right - frame.left, frame.bottom - frame.top, style % ADAMOE_SVG_STYLES,
                  classes);
    for (size_t i = 0; i < count; ++i) {
        const bool here = has_place(plot, points[i]);
        if (here) {
            (void)fprintf(plot->out, "%c%.2f %.2f", drawing ? 'L' : 'M', place_x(plot, points[i].x),
                          place_y(plot, points[i].y));
        }
        drawing = here;
    }
    (void)fputs("\"/></svg>\n", plot->out);
}

/* Outlines of the marks, relative to their centre; each has about the same area. */
static const char *const outlines[ADAMOE_SVG_STYLES] = {
    "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",              /* disc */
    "m-4-4h8v8h-8z",                                             /* square */
    "m0-5.2l5 8.7h-10z",                                         /* triangle */
    "m0-5.6l5.6 5.6l-5.6 5.6l-5.6-5.6z",                         /* diamond */
    "m0 5.2l5-8.7h-10z",                                         /* triangle, downwards */
    "m-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z", /* plus */
    "m-5.2 0l2.6-4.5h5.2l2.6 4.5l-2.6 4.5h-5.2z",                /* hexagon */
    "m0-5.6l1.6 3.4l3.7.5l-2.7 2.6l.7 3.7l-3.3-1.8l-3.3 1.8l.7-3.7l-2.7-2.6l3.7-.5z", /* star */
};

static void draw_mark(FILE *out, double x, double y, size_t style, const char *tooltip)
{
    (void)fprintf(out, "<path class=\"mark s%zu\" d=\"M%.2f %.2f%s\">", style % ADAMOE_SVG_STYLES, x, y,
                  outlines[style % ADAMOE_SVG_STYLES]);
    if (tooltip != NULL) {
        (void)fputs("<title>", out);
        adamoe_html_text(out, tooltip);
        (void)fputs("</title>", out);
    }
    (void)fputs("</path>", out);
}

static void take(adamoe_plot *plot, adamoe_box box)
{
    if (plot->boxes < ADAMOE_SVG_BOXES) {
        plot->taken[plot->boxes++] = box;
    }
}

void adamoe_plot_reserve(adamoe_plot *plot, adamoe_point point)
{
    if (has_place(plot, point)) {
        const double x = place_x(plot, point.x), y = place_y(plot, point.y);
        take(plot, (adamoe_box){x - MARK_RADIUS, y - MARK_RADIUS, x + MARK_RADIUS, y + MARK_RADIUS});
    }
}

void adamoe_plot_reserve_line(adamoe_plot *plot, adamoe_point from, adamoe_point to)
{
    if (!has_place(plot, from) || !has_place(plot, to)) {
        return;
    }
    const double x = place_x(plot, from.x), y = place_y(plot, from.y);
    const double width = place_x(plot, to.x) - x, height = place_y(plot, to.y) - y;
    const double steps = ceil(hypot(width, height) / (2.0 * MARK_RADIUS));
    for (double i = 0.0; i <= steps; i += 1.0) {
        const double at_x = x + width * i / fmax(steps, 1.0), at_y = y + height * i / fmax(steps, 1.0);
        take(plot, (adamoe_box){at_x - 1.0, at_y - 1.0, at_x + 1.0, at_y + 1.0});
    }
}

void adamoe_plot_mark(adamoe_plot *plot, adamoe_point point, size_t style, const char *tooltip)
{
    if (has_place(plot, point)) {
        draw_mark(plot->out, place_x(plot, point.x), place_y(plot, point.y), style, tooltip);
        (void)fputc('\n', plot->out);
    }
}

void adamoe_plot_interval(adamoe_plot *plot, double x, double low, double high, size_t style)
{
    if (!isfinite(low) || !isfinite(high)) {
        return;
    }
    const double at = place_x(plot, x), top = place_y(plot, high), bottom = place_y(plot, low);
    (void)fprintf(plot->out,
                  "<path class=\"interval s%zu\" d=\"M%.2f %.2fV%.2fM%.2f %.2fh8M%.2f %.2fh8\"/>\n",
                  style % ADAMOE_SVG_STYLES, at, top, bottom, at - 4.0, top, at - 4.0, bottom);
}

static bool is_free(const adamoe_plot *plot, adamoe_box box)
{
    if (box.left < frame.left || box.right > frame.right || box.top < frame.top ||
        box.bottom > frame.bottom) {
        return false;
    }
    for (size_t i = 0; i < plot->boxes; ++i) {
        const adamoe_box other = plot->taken[i];
        if (box.left < other.right && other.left < box.right && box.top < other.bottom &&
            other.top < box.bottom) {
            return false;
        }
    }
    return true;
}

/* Writes the text where it is centred at x, y, unless something is there. */
static bool write_at(adamoe_plot *plot, double x, double y, const char *text, const char *classes)
{
    const double half_width = 0.5 * CHARACTER_WIDTH * (double)strlen(text), half_height = 0.5 * LINE_HEIGHT;
    const adamoe_box box = {x - half_width, y - half_height, x + half_width, y + half_height};
    if (!is_free(plot, box)) {
        return false;
    }
    take(plot, box);
    (void)fprintf(plot->out, "<text class=\"label %s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                  classes, x, y + 4.0);
    adamoe_html_text(plot->out, text);
    (void)fputs("</text>\n", plot->out);
    return true;
}

bool adamoe_plot_label(adamoe_plot *plot, adamoe_point point, const char *text, const char *classes)
{
    /* Above, below, right, left, then the corners: the label's centre, in its own half sizes and a gap. */
    static const double side[][2] = {{0, -1}, {0, 1}, {1, 0}, {-1, 0}, {1, -1}, {-1, -1}, {1, 1}, {-1, 1}};
    const double away_x = 0.5 * CHARACTER_WIDTH * (double)strlen(text) + MARK_RADIUS + 1.5;
    const double away_y = 0.5 * LINE_HEIGHT + MARK_RADIUS + 1.5;
    for (size_t i = 0; i < sizeof side / sizeof *side && has_place(plot, point); ++i) {
        if (write_at(plot, place_x(plot, point.x) + side[i][0] * away_x,
                     place_y(plot, point.y) + side[i][1] * away_y, text, classes)) {
            return true;
        }
    }
    return false;
}

void adamoe_svg_key(FILE *out, size_t style)
{
    (void)fputs("<svg class=\"key\" viewBox=\"0 0 24 14\" aria-hidden=\"true\">", out);
    (void)fprintf(out, "<path class=\"line s%zu\" d=\"M0 7h24\"/>", style % ADAMOE_SVG_STYLES);
    draw_mark(out, 12.0, 7.0, style, NULL);
    (void)fputs("</svg>", out);
}
