/*
 * Where the time of an evaluation went, stage by stage, for those that were asked: `eval --stages`, and both sides of
 * `reproduce`.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

static json_t *shares_of(const adamoe_evaluated *e)
{
    return json_object_get(json_object_get(e->document, "adamoe"), "stage_shares");
}

/* The first evaluation with stages, whose names are the columns; NULL where there is none. */
static json_t *first_shares(const adamoe_report *report)
{
    for (size_t i = 0; i < report->evaluations; ++i) {
        json_t *shares = shares_of(&report->evaluated[i]);
        if (json_object_size(shares) > 0) {
            return shares;
        }
    }
    return NULL;
}

bool adamoe_report_has_stages(const adamoe_report *report)
{
    return first_shares(report) != NULL;
}

static void begin_table(FILE *out, json_t *columns)
{
    const char *name = NULL;
    json_t *share = NULL;
    adamoe_html_table_begin(out, "Shares of the time by stage");
    (void)fputs("<thead><tr><th></th><th scope=\"col\" class=\"n\">time</th>", out);
    json_object_foreach(columns, name, share)
    {
        (void)fputs("<th scope=\"col\" class=\"n\">", out);
        adamoe_html_text(out, name);
        (void)fputs("</th>", out);
    }
    (void)fputs("</tr></thead>\n<tbody>\n", out);
}

static void write_row(const adamoe_report *report, const adamoe_evaluated *e, json_t *columns, FILE *out)
{
    const char *name = NULL;
    json_t *share = NULL;
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_report_evaluated_name(report, e, out);
    (void)fputs("</th>", out);
    adamoe_html_number_cell(
        out, adamoe_duration(adamoe_number_in(json_object_get(e->document, "adamoe"), "seconds")));
    json_object_foreach(columns, name, share)
    {
        adamoe_html_number_cell(out, adamoe_percent(adamoe_number_in(shares_of(e), name), 1));
    }
    (void)fputs("</tr>\n", out);
}

void adamoe_report_stages(const adamoe_report *report, FILE *out)
{
    json_t *columns = first_shares(report);
    if (columns == NULL) {
        return;
    }
    adamoe_report_section_begin(out, "stages", "Where the time goes");
    (void)fputs(
        "<p>Shares of each evaluation's own time. Only the experts follow the load: what the others take "
        "is what keeps the time from falling as the FLOPs do.</p>\n",
        out);
    begin_table(out, columns);
    for (size_t i = 0; i < report->evaluations; ++i) {
        if (shares_of(&report->evaluated[i]) != NULL) {
            write_row(report, &report->evaluated[i], columns, out);
        }
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
    adamoe_report_section_end(out);
}
