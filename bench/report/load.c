/*
 * Load: how many true experts tokens have in each layer, and which experts they select. Tables whose cells
 * are coloured, so that the picture and its numbers are one.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>

/* A cell whose colour is as strong as the value is near `most`. `text` false: only the colour, for wide
 * tables, with the number as a tooltip. */
static void write_heat(FILE *out, double value, double most, bool text)
{
    const double strength = isfinite(value) && most > 0.0 ? fmin(fmax(value / most, 0.0), 1.0) : 0.0;
    (void)fprintf(out, "<td class=\"heat%s\" style=\"--h:%.0f%%\"", strength > 0.85 ? " hot" : "",
                  100.0 * strength);
    if (text) {
        (void)fprintf(out, ">%s</td>", adamoe_percent(value, 1).text);
    } else {
        (void)fprintf(out, " title=\"%s\"><span class=\"read\">%s</span></td>", adamoe_percent(value, 1).text,
                      adamoe_percent(value, 1).text);
    }
}

/* Layers that a page can hold. */
#define MOST_LAYERS  256
#define MOST_COLUMNS 512

static size_t at_most(size_t count, size_t limit)
{
    return count < limit ? count : limit;
}

static void write_histogram(FILE *out, const json_t *layers, const json_t *loads)
{
    const size_t columns = at_most(json_array_size(json_array_get(layers, 0)), MOST_COLUMNS);
    (void)fputs("<h4>Tokens by their number of true experts</h4>\n", out);
    adamoe_html_table_begin(out, "Share of tokens by layer and number of true experts");
    (void)fputs("<thead><tr><th scope=\"col\">layer</th>", out);
    for (size_t i = 0; i < columns; ++i) {
        (void)fprintf(out, "<th scope=\"col\" class=\"n\">%zu</th>", i);
    }
    (void)fputs("<th scope=\"col\" class=\"n\">load</th></tr></thead><tbody>\n", out);
    for (size_t layer = 0; layer < at_most(json_array_size(layers), MOST_LAYERS); ++layer) {
        (void)fprintf(out, "<tr><th scope=\"row\">%zu</th>", layer);
        for (size_t i = 0; i < columns; ++i) {
            write_heat(out, adamoe_number_at(json_array_get(layers, layer), i), 1.0, true);
        }
        adamoe_html_number_cell(out, adamoe_number(adamoe_number_at(loads, layer)));
        (void)fputs("</tr>\n", out);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static double largest(const json_t *layers)
{
    double most = 0.0;
    for (size_t layer = 0; layer < json_array_size(layers); ++layer) {
        const json_t *row = json_array_get(layers, layer);
        for (size_t i = 0; i < json_array_size(row); ++i) {
            most = fmax(most, adamoe_number_at(row, i));
        }
    }
    return most;
}

/* The last `null_experts` columns are those of null experts. */
static void write_selections(FILE *out, const json_t *layers, size_t null_experts)
{
    const size_t all = at_most(json_array_size(json_array_get(layers, 0)), MOST_COLUMNS);
    const size_t experts = null_experts < all ? all - null_experts : all;
    const double most = largest(layers);
    (void)fprintf(out,
                  "<h4>Tokens that select an expert</h4>\n<p>%zu true experts%s; the strongest colour is "
                  "%s of a layer's tokens.</p>\n",
                  experts, experts < all ? ", and the null experts behind the gap" : "",
                  adamoe_percent(most, 1).text);
    adamoe_html_table_begin(out, "Share of tokens by layer and expert");
    (void)fputs("<thead><tr><th scope=\"col\">layer</th>", out);
    for (size_t i = 0; i < all; ++i) {
        (void)fprintf(out, "%s<th scope=\"col\" class=\"n\">%zu</th>",
                      i == experts ? "<th class=\"gap\"></th>" : "", i);
    }
    (void)fputs("</tr></thead><tbody>\n", out);
    for (size_t layer = 0; layer < at_most(json_array_size(layers), MOST_LAYERS); ++layer) {
        (void)fprintf(out, "<tr><th scope=\"row\">%zu</th>", layer);
        for (size_t i = 0; i < all; ++i) {
            (void)fputs(i == experts ? "<td class=\"gap\"></td>" : "", out);
            write_heat(out, adamoe_number_at(json_array_get(layers, layer), i), most, all <= 16);
        }
        (void)fputs("</tr>\n", out);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static void write_evaluated(const adamoe_report *report, const adamoe_evaluated *e, FILE *out)
{
    const json_t *cost = json_object_get(e->document, "adamoe");
    const json_t *histogram = json_object_get(cost, "true_expert_histogram_by_layer");
    const json_t *selections = json_object_get(cost, "selections_by_layer");
    const double null_experts = adamoe_number_in(json_object_get(e->document, "config"), "null_experts");
    (void)fputs("<h3>", out);
    adamoe_report_evaluated_name(report, e, out);
    (void)fprintf(out,
                  "</h3>\n<p>Load %s true experts per token and layer; %s of (token, layer) have none.</p>\n",
                  adamoe_number(adamoe_number_in(cost, "load")).text,
                  adamoe_percent(adamoe_number_in(cost, "all_null_share"), 2).text);
    if (json_array_size(histogram) > 0) {
        write_histogram(out, histogram, json_object_get(cost, "load_by_layer"));
    }
    if (json_array_size(selections) > 0) {
        write_selections(out, selections,
                         null_experts > 0.0 && null_experts < 1e6 ? (size_t)null_experts : 0);
    }
}

void adamoe_report_load(const adamoe_report *report, FILE *out)
{
    if (report->evaluations == 0) {
        return;
    }
    adamoe_report_section_begin(out, "load", "Load");
    for (size_t i = 0; i < report->evaluations; ++i) {
        write_evaluated(report, &report->evaluated[i], out);
    }
    adamoe_report_section_end(out);
}
