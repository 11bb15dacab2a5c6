/*
 * What many ranks would send and take, as `adamoe scale` predicts: efficiency and bytes against the number of ranks, with
 * null experts and at top-k0, and the numbers. Every heading says that these are predictions.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>

#define MOST_ROWS 64

/* A quantity of a row, with null experts and without. */
typedef struct quantity {
    const char *title, *axis;
    double (*value)(const json_t *side);
} quantity;

static double mean_in(const json_t *side, const char *key)
{
    return adamoe_number_in(json_object_get(side, key), "mean");
}

static double efficiency(const json_t *side)
{
    return adamoe_number_in(side, "efficiency");
}

static double kilobytes(const json_t *side)
{
    return 1e-3 * mean_in(side, "bytes_per_token");
}

static double seconds(const json_t *side)
{
    return mean_in(side, "layer_seconds");
}

static const quantity quantities[] = {
    {"Efficiency", "efficiency", efficiency},
    {"Bytes on the wire", "kB for a token and layer", kilobytes},
};

#define QUANTITIES (sizeof quantities / sizeof *quantities)

static const char *const sides[] = {"adaptive", "baseline"};
static const char *const side_names[] = {"with null experts", "top-k0, none"};
static const size_t side_styles[] = {0, 3};

/* --------------------------------------------------------------------------------------------------- plot */

static size_t find_points(const json_t *rows, const quantity *q, size_t side, adamoe_point points[MOST_ROWS])
{
    size_t i, count = 0;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (count < MOST_ROWS) {
            points[count++] =
                (adamoe_point){adamoe_number_in(row, "ranks"), q->value(json_object_get(row, sides[side]))};
        }
    }
    return count;
}

static void draw_side(adamoe_plot *plot, const json_t *rows, const quantity *q, size_t side)
{
    adamoe_point points[MOST_ROWS];
    const size_t count = find_points(rows, q, side, points);
    adamoe_plot_line(plot, points, count, side_styles[side], side == 0 ? "" : "dashed");
    for (size_t i = 0; i < count; ++i) {
        char tooltip[128];
        (void)snprintf(tooltip, sizeof tooltip, "%s, %.0f ranks: %.20s", side_names[side], points[i].x,
                       adamoe_number(points[i].y).text);
        adamoe_plot_mark(plot, points[i], side_styles[side], tooltip);
    }
}

/* False where no point has a place. */
static bool find_axes(const json_t *rows, const quantity *q, adamoe_axis *x, adamoe_axis *y)
{
    *x = (adamoe_axis){"ranks", (double)INFINITY, 0.0, true, NULL, 0};
    *y = (adamoe_axis){q->axis, 0.0, 0.0, false, NULL, 0};
    for (size_t side = 0; side < 2; ++side) {
        adamoe_point points[MOST_ROWS];
        const size_t count = find_points(rows, q, side, points);
        for (size_t i = 0; i < count; ++i) {
            if (points[i].x > 0.0 && isfinite(points[i].x) && isfinite(points[i].y)) {
                x->low = fmin(x->low, points[i].x);
                x->high = fmax(x->high, points[i].x);
                y->high = fmax(y->high, points[i].y);
            }
        }
    }
    y->high *= 1.08;
    if (!(y->high > 0.0)) {
        return false;
    }
    adamoe_axis_pad(x);
    return true;
}

static void draw(FILE *out, const json_t *rows, const quantity *q)
{
    static adamoe_plot plot;
    adamoe_axis x, y;
    char title[64];
    if (!find_axes(rows, q, &x, &y)) {
        return;
    }
    (void)snprintf(title, sizeof title, "%s, predicted", q->title);
    (void)fprintf(out, "<figure><figcaption>%s</figcaption>\n", title);
    adamoe_plot_begin(
        &plot, out, x, y, title,
        "Against the number of ranks, with null experts and at top-k0 without. The table below has the "
        "numbers.");
    draw_side(&plot, rows, q, 1);
    draw_side(&plot, rows, q, 0);
    adamoe_plot_end(&plot);
    adamoe_report_figure_end(out);
}

/* -------------------------------------------------------------------------------------------------- table */

static void write_row(FILE *out, const json_t *row)
{
    const json_t *adaptive = json_object_get(row, "adaptive"), *baseline = json_object_get(row, "baseline");
    const double deviation = adamoe_number_in(json_object_get(adaptive, "layer_seconds"), "deviation");
    (void)fprintf(out, "<tr><td class=\"n\">%.0f</td><td class=\"n\">%.0f</td>",
                  adamoe_number_in(row, "ranks"), adamoe_number_in(row, "group"));
    adamoe_html_number_cell(out, adamoe_number(mean_in(adaptive, "rows_sent_per_token")));
    adamoe_html_number_cell(out, adamoe_number(kilobytes(adaptive)));
    (void)fprintf(out, "<td class=\"n\">%s \xc2\xb1 %s</td>", adamoe_duration(seconds(adaptive)).text,
                  adamoe_duration(deviation).text);
    adamoe_html_number_cell(out, adamoe_percent(adamoe_number_in(adaptive, "communication_share"), 0));
    adamoe_html_number_cell(out, adamoe_number(efficiency(adaptive)));
    adamoe_html_number_cell(out, adamoe_number(kilobytes(baseline)));
    adamoe_html_number_cell(out, adamoe_duration(seconds(baseline)));
    adamoe_html_number_cell(out, adamoe_number(efficiency(baseline)));
    adamoe_html_number_cell(out, adamoe_percent(adamoe_number_in(row, "bytes_reduction"), 1));
    adamoe_html_number_cell(out, adamoe_percent(adamoe_number_in(row, "time_reduction"), 1));
    (void)fputs("</tr>\n", out);
}

static void write_table(FILE *out, const json_t *rows)
{
    static const char *const titles[] = {"ranks", "of a group", "rows sent",   "kB / token",
                                         "layer", "comm.",      "efficiency",  "kB, top-k0",
                                         "layer", "efficiency", "bytes saved", "time saved"};
    size_t i;
    const json_t *row;
    adamoe_html_table_begin(out, "Ranks, predicted");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 12);
    (void)fputs("<tbody>\n", out);
    json_array_foreach(rows, i, row)
    {
        write_row(out, row);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static void write_list(FILE *out, const json_t *texts)
{
    size_t i;
    const json_t *text;
    (void)fputs("<details><summary>What is assumed</summary>\n<ul>\n", out);
    json_array_foreach(texts, i, text)
    {
        (void)fputs("<li>", out);
        adamoe_html_text(out, json_is_string(text) ? json_string_value(text) : "?");
        (void)fputs("</li>\n", out);
    }
    (void)fputs("</ul>\n</details>\n", out);
}

/* How far the model was from what was measured, where something was. */
static void write_error(FILE *out, const json_t *document)
{
    const double error = adamoe_number_in(document, "largest_error");
    const json_t *judged = json_object_get(json_object_get(document, "calibration"), "judged");
    const double runs = adamoe_number_in(judged, "runs");
    if (isfinite(error)) {
        (void)fprintf(out, ". The model was within %s of the runs of its calibration",
                      adamoe_percent(error, 0).text);
        if (runs > 0.0) {
            (void)fprintf(out, ", %.0f of %.0f within 15 %%", adamoe_number_in(judged, "within_15_percent"),
                          runs);
        }
        (void)fputs(".</p>\n", out);
    } else if (json_is_true(json_object_get(judged, "disturbed"))) {
        (void)fputs(". The error of the model is unknown: its calibration was disturbed.</p>\n", out);
    } else {
        (void)fputs(". The error of the model is unknown: no run was made.</p>\n", out);
    }
}

static void write_file(const adamoe_source *source, FILE *out)
{
    const json_t *document = source->document, *rows = json_object_get(document, "scale");
    (void)fputs("<h3>", out);
    adamoe_html_text(out, adamoe_text_in(document, "subject", "?"));
    (void)fprintf(out, "</h3>\n<p>Load %s; %.0f tokens in one call of %s. Network ",
                  adamoe_number(adamoe_number_in(json_object_get(document, "adaptive"), "load")).text,
                  adamoe_number_in(document, "tokens"),
                  json_is_true(json_object_get(document, "tokens_of_all_ranks")) ? "all ranks" : "each rank");
    adamoe_html_text(out, adamoe_text_in(json_object_get(document, "network"), "text", "?"));
    (void)fputs(". Kernel ", out);
    adamoe_html_text(out, adamoe_text_in(document, "kernel", "?"));
    write_error(out, document);
    (void)fputs("<div class=\"panels\">\n", out);
    for (size_t q = 0; q < QUANTITIES; ++q) {
        draw(out, rows, &quantities[q]);
    }
    (void)fputs("</div>\n", out);
    write_table(out, rows);
    write_list(out, json_object_get(document, "assumptions"));
}

void adamoe_report_scale(const adamoe_report *report, FILE *out)
{
    bool any = false;
    for (size_t i = 0; i < report->sources; ++i) {
        if (report->source[i].kind != ADAMOE_RESULT_SCALE) {
            continue;
        }
        if (!any) {
            adamoe_report_section_begin(out, "scale", "Ranks, predicted");
            (void)fputs(
                "<p>Predictions of a cost model, not measurements: what a layer would send and take with its "
                "experts on so many ranks.</p>\n<ul class=\"legend\">",
                out);
            for (size_t side = 0; side < 2; ++side) {
                (void)fputs("<li>", out);
                adamoe_svg_key(out, side_styles[side]);
                (void)fprintf(out, "%s</li>", side_names[side]);
            }
            (void)fputs("</ul>\n", out);
        }
        any = true;
        write_file(&report->source[i], out);
    }
    if (any) {
        adamoe_report_section_end(out);
    }
}
